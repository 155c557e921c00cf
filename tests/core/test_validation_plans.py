"""Validation plans, whose artifacts are computed inline or in other processes: the results are the same."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from artifact_torch import (
    Artifact,
    ArtifactKind,
    Callback,
    EarlyStopper,
    RunDirectory,
    Tracker,
    Trainer,
    UsageError,
    ValidationError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.testing import TinyModel, tiny_loader

MODES = ["inline", "background"]


@pytest.fixture(scope="module")
def surroundings():
    """What trainings of this module find; one process each is enough, except where the test is about more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setenv("MPLBACKEND", "Agg")
        patch.setattr("artifact_torch.core.artifact_work._cores", lambda: 1)
        yield patch


@pytest.fixture(scope="module")
def judging(surroundings):
    import judging

    return judging


@pytest.fixture(scope="module")
def validated(judging, tmp_path_factory):
    """Builds a trainer that validates plans; several tests may look at what one training did."""

    def make(*plans, mode="background", period=1, seconds=60.0, rounds=2, run=None, **options):
        routine = ValidationRoutine(
            plans=plans, mode=mode, period=period, artifact_seconds=seconds, rounds_in_flight=rounds
        )
        run = run or RunDirectory.create(root=tmp_path_factory.mktemp("runs"))
        options = {"epochs": 2, "device": "cpu", "use_installed_plugins": False, **options}
        return Trainer(TinyModel(), tiny_loader(), validation=routine, run=run, **options)

    return make


def told(trainer):
    """What the user was told, which is in the log of the run too."""
    return (trainer.run.path / "log.txt").read_text(encoding="utf-8")


class Noting(Tracker):
    """Notes what it is handed."""

    def __init__(self):
        self.noted = set()


def _noting(kind):
    @hookimpl
    def note(self, name, epoch):
        self.noted.add((kind, name, epoch))

    return note


for _kind in ArtifactKind:
    setattr(Noting, f"track_{_kind}", _noting(_kind))


class Judged(NamedTuple):
    """A training that is over."""

    mode: str
    trainer: Trainer
    tracker: Noting
    printed: str


@pytest.fixture(scope="module", params=MODES)
def judged(judging, validated, request):
    """Two epochs with artifacts of every kind after each, and odd ones after the last."""
    odd = [
        Artifact(judging.PLOT, "raises"),
        Artifact(judging.ARRAY, "large"),
        *judging.scores("x", "torch", "raises", "warns", "nan"),
    ]
    trainer = validated(
        judging.JudgingPlan(judging.EVERY_KIND, offset=2.0, rows=3, seed=7),
        judging.JudgingPlan(odd, name="odd", period=100),
        mode=request.param,
        trackers=[tracker := Noting()],
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        trainer.train()
    return Judged(request.param, trainer, tracker, printed.getvalue())


def test_artifacts_of_every_kind_are_recorded_tracked_and_kept_in_files(judged):
    trainer = judged.trainer
    assert {(kind, "all", epoch) for kind in ArtifactKind for epoch in (1, 2)} <= judged.tracker.noted
    weights = sum(float(parameter.detach().double().sum()) for parameter in trainer.model.parameters())
    scores = trainer.epoch_scores
    assert scores["validation/all"].equals(scores["validation/all/a"].rename("validation/all"))
    assert scores["validation/all"].equals(scores["validation/all/b/ü"].rename("validation/all"))
    assert scores["validation/all"].is_unique
    assert scores.loc[2, "validation/all"] == pytest.approx(weights + 2.0, abs=1e-12)
    history = trainer.validation_results
    found = history.scores[history.scores["plan"] == "judging"]
    assert found[["name", "split", "plan", "epoch", "step", "rows", "seed"]].values.tolist() == [
        [name, "validation", "judging", epoch, 4 * epoch, 3, 7]
        for epoch in (1, 2)
        for name in ("all", "all/a", "all/b/ü")
    ]
    assert found["value"].tolist() == [scores.loc[epoch, "validation/all"] for epoch in (1, 2) for _ in range(3)]
    assert [(plot.name, plot.epoch) for plot in history.plots] == [
        (name, epoch) for epoch in (1, 2) for name in ("all", "all/a", "all/b/ü")
    ]
    assert all(plot.open().size[0] > 100 and plot.path.is_relative_to(trainer.run.path) for plot in history.plots)
    arrays = {(array.name, array.epoch): array for array in history.arrays}
    assert all(arrays["all", epoch].open().tolist() == [scores.loc[epoch, "validation/all"], 3] for epoch in (1, 2))
    for round in ("epoch-1-step-4-validation-judging", "epoch-2-step-8-validation-odd"):
        assert [path.name for path in (trainer.run.path / "validation" / round).iterdir()] == ["results.json"]


def test_torch_is_not_imported_where_artifacts_are_computed_in_the_background(judged):
    assert judged.trainer.epoch_scores.loc[2, "validation/torch"] == (judged.mode == "inline")


def test_an_artifact_that_raises_is_a_warning_with_its_traceback_in_the_record(judged):
    trainer = judged.trainer
    message = "The plot raises of validation after epoch 2, step 8 could not be computed: ValueError: there is nothing"
    assert message in told(trainer)
    failed = {failure["artifact"].partition(" of ")[0]: failure for failure in trainer.run.record["failed_artifacts"]}
    assert failed.keys() == {"The plot raises", "The score raises"}
    assert "compute" in failed["The plot raises"]["traceback"]
    assert "there is nothing to draw" in failed["The plot raises"]["traceback"]
    scores = trainer.epoch_scores
    assert scores["validation/x"].notna().tolist() == [False, True]
    assert "validation/raises" not in scores
    with pytest.raises(ValidationError, match=r"score raises of validation .* could not be computed.*depends on it"):
        trainer.latest_score("validation/raises")


def test_a_large_result_arrives(judged):
    (found,) = [array for array in judged.trainer.validation_results.arrays if array.name == "large"]
    assert found.path.stat().st_size > 100_000_000
    assert found.open().sum() == 13_000_000


def test_what_a_computation_warns_of_and_prints_is_told_with_its_name(judged):
    where = "The score warns of validation after epoch 2, step 8: "
    assert f"{where}this is worth knowing" in told(judged.trainer)
    assert f"{where}and this was printed" in told(judged.trainer)
    assert "The score validation/nan of epoch 2 is nan" in told(judged.trainer)
    assert "printed" not in judged.printed


def test_validation_leaves_no_trace_in_what_is_trained(judged, validated):
    alone = validated()
    alone.train()
    weights, others = alone.model.state_dict(), judged.trainer.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_each_plan_has_a_period_of_its_own_in_epochs_or_steps(validated, judging):
    often, seldom = (
        judging.JudgingPlan(judging.scores("x"), name="often", period="3 steps"),
        judging.JudgingPlan(judging.scores("y"), name="seldom"),
    )
    trainer = validated(often, seldom, mode="inline", period=2, epochs=5)
    trainer.train()
    assert often.gathered == [(1, 3), (2, 6), (3, 9), (3, 12), (4, 15), (5, 18), (5, 20)]
    assert seldom.gathered == [(2, 8), (4, 16), (5, 20)]


def test_nothing_is_gathered_when_nothing_is_due(validated, judging):
    plan = judging.JudgingPlan(judging.scores("x"), period=100)
    trainer = validated(plan, mode="inline", epochs=3)
    trainer.train()
    assert plan.gathered == [(3, 12)]


class Deciding(EarlyStopper):
    """Stops when the weights have grown; remembers what it saw."""

    def __init__(self, score="validation/slow"):
        self.score = score
        self.seen = []

    def check(self, trainer):
        self.seen.append(trainer.latest_score(self.score))
        return "it has grown" if (self.seen[-1] or 0.0) > 0.05 else None


def test_a_score_that_something_depends_on_is_waited_for(validated, judging):
    seen = {}
    for mode in MODES:
        stopper = Deciding()
        artifacts = [*judging.scores("slow"), Artifact(judging.ARRAY, "slow")]
        plan = judging.JudgingPlan(artifacts, parameters={"seconds": 0.1})
        trainer = validated(plan, mode=mode, epochs=12, stoppers=[stopper], rounds=20)
        result = trainer.train()
        seen[mode] = stopper.seen, result.epochs, trainer.epoch_scores.to_dict()
        assert len(trainer.validation_results.arrays) == result.epochs
    assert seen["inline"] == seen["background"]
    assert 1 < seen["inline"][1] < 12


@pytest.fixture(scope="module")
def outrun(judging, validated):
    """Training that is over long before its artifacts are: what it knew after each epoch, and who worked at the end."""

    class Look(Callback):
        known, processes = [], []

        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            self.known.append(trainer.metrics.latest("validation/slow"))

        @hookimpl
        def on_artifacts_awaited(self, trainer):
            self.processes.append(len(workers_of(os.getpid())))

    arrays = [Artifact(judging.ARRAY, f"{n}") for n in range(6)]
    trainer = validated(judging.JudgingPlan([*arrays, *judging.scores("slow")]), rounds=9, callbacks=[Look()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artifact_torch.core.artifact_work._cores", lambda: 2)
        trainer.train()
    return trainer, Look


def children_of(process):
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():  # a process is the child of the thread that has started it
        with contextlib.suppress(OSError):  # the thread has ended
            found += list((thread / "children").read_text().split())
    return found


def workers_of(process):
    """Its children that compute artifacts; other tests of this process may have left a service of their own."""
    found = []
    for child in children_of(process):
        with contextlib.suppress(OSError):  # it has ended
            if b"artifact_torch.core.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def test_nothing_waits_for_an_artifact_that_is_not_asked_for(outrun):
    trainer, look = outrun
    assert look.known == [None, None]
    assert trainer.epoch_scores["validation/slow"].notna().tolist() == [True, True]


def test_what_is_left_at_the_end_gets_the_cores_that_are_free(outrun):
    trainer, look = outrun
    assert max(look.processes) == 2
    assert len(trainer.validation_results.arrays) == 12


class Ended(NamedTuple):
    """A training that has ended with an error."""

    mode: str
    trainer: Trainer
    error: Exception
    left: set[int]


@pytest.fixture(scope="module", params=MODES)
def ended(judging, validated, request):
    """Five epochs with one round under way at most, and after the fourth a score that raises and decides."""

    class Look(Callback):
        left = set()

        @hookimpl
        def on_artifacts_awaited(self, left):
            self.left.add(left)

    trainer = validated(
        judging.JudgingPlan(judging.scores("slow"), parameters={"seconds": 0.1}),
        judging.JudgingPlan(judging.scores("raises"), name="odd", period=4),
        mode=request.param,
        rounds=1,
        epochs=5,
        stoppers=[Deciding("validation/raises")],
        callbacks=[Look()],
    )
    with pytest.raises(ValidationError) as caught:
        trainer.train()
    return Ended(request.param, trainer, caught.value, Look.left)


def test_training_ends_if_it_depends_on_a_score_that_cannot_be_computed(ended):
    assert "there is nothing to draw" in str(ended.error)
    assert ended.trainer.run.record["status"] == "failed"
    assert ended.trainer.state.epochs_completed == 4


def test_training_waits_when_too_many_rounds_are_under_way(ended):
    in_background = ended.mode == "background"
    assert ("Training waits because 1 rounds of judging are not complete" in told(ended.trainer)) == in_background
    assert ended.left >= {0, 1} if in_background else not ended.left
    assert (ended.trainer.run.record["seconds_waited_for_validation"] > 0) == in_background
    assert ended.trainer.epoch_scores["validation/slow"].notna().sum() == 4


@pytest.fixture(scope="module")
def misbehaving(judging, validated, tmp_path_factory):
    """A training with artifacts that kill their process, or take longer than they may, and one that does neither."""
    folder = tmp_path_factory.mktemp("misbehaving")
    artifacts = [
        *judging.scores("once dies", "x"),
        Artifact(judging.PLOT, "dies"),
        Artifact(judging.ARRAY, "hangs"),
    ]
    trainer = validated(judging.JudgingPlan(artifacts, parameters={"folder": str(folder)}), epochs=1, seconds=3.0)
    trainer.train()
    assert (folder / "once dies-was-tried").exists()
    return trainer


def test_a_process_that_dies_is_replaced_and_its_artifact_tried_again(misbehaving):
    assert misbehaving.epoch_scores["validation/once dies"].notna().all()
    assert "once dies" not in told(misbehaving)


def test_a_process_that_dies_each_time_is_told_and_the_rest_is_computed(misbehaving):
    assert (
        "The plot dies of validation after epoch 1, step 4 could not be computed: the process that computed it was "
        "killed by SIGKILL."
    ) in told(misbehaving)
    assert misbehaving.epoch_scores["validation/x"].notna().all()


def test_an_artifact_that_takes_too_long_is_ended(misbehaving):
    assert "The array hangs of validation after epoch 1, step 4 could not be computed: it took longer than 3 s." in (
        told(misbehaving)
    )
    assert told(misbehaving).count("could not be computed") == 2


def test_validating_by_hand_gives_everything_at_once(validated, judging):
    trainer = validated(judging.JudgingPlan(judging.EVERY_KIND))
    artifacts = trainer.validate().of_split(judging.DataSplit.VALIDATION)
    assert artifacts.scores == {"all": 0.0}
    assert artifacts.plots["all"].png().startswith(b"\x89PNG")
    assert trainer.validation_results.scores["epoch"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_results_may_be_edited_before_they_count(validated, judging, mode):
    class Adding(Callback):
        @hookimpl
        def on_validation_end(self, results):
            scores = results.of_split(judging.DataSplit.VALIDATION).scores
            scores["twice"] = 2 * scores["slow"]

    stopper = Deciding("validation/twice")
    plan = judging.JudgingPlan([*judging.scores("slow"), Artifact(judging.ARRAY, "x")], parameters={"seconds": 0.1})
    trainer = validated(plan, mode=mode, callbacks=[Adding()], stoppers=[stopper], epochs=2)
    trainer.train()
    scores = trainer.epoch_scores
    assert (scores["validation/twice"] == 2 * scores["validation/slow"]).all()
    assert stopper.seen == scores["validation/twice"].tolist()
    assert set(trainer.validation_results.scores["name"]) == {"slow", "twice"}


def test_a_checkpoint_keeps_what_is_under_way_and_it_is_computed_afterwards(validated, judging):
    def trainer_of(mode, seconds, run=None):
        artifacts = [*judging.scores("slow", "x"), Artifact(judging.ARRAY, "slow")]
        plan = judging.JudgingPlan(artifacts, parameters={"seconds": seconds})
        return validated(plan, mode=mode, epochs=3, rounds=9, run=run)

    class Interrupting(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    whole = trainer_of("inline", 0.0)
    whole.train()
    stopped = trainer_of("background", 0.5)
    stopped.plugins.register(Interrupting(), "interrupting")
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert stopped.metrics.latest("validation/slow") is None
    resumed = trainer_of("background", 0.0, stopped.run)
    resumed.load_checkpoint()
    resumed.train()
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    assert resumed.validation_results.scores.equals(whole.validation_results.scores)
    assert [array.epoch for array in resumed.validation_results.arrays] == [1, 2, 3]
    lines = [json.loads(line) for line in (resumed.run.path / "metrics.jsonl").read_text().splitlines()]
    tracked = [(line["name"], line["epoch"]) for line in lines if line["split"] == "validation"]
    assert sorted(tracked) == sorted((name, epoch) for name in ("slow", "x") for epoch in (1, 2, 3))


def test_training_that_goes_on_in_the_same_process_takes_up_what_was_under_way(validated, judging):
    class Interrupting(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == 1:
                raise KeyboardInterrupt

    plan = judging.JudgingPlan(judging.scores("slow"), parameters={"seconds": 0.2})
    trainer = validated(plan, epochs=2, callbacks=[Interrupting()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.metrics.latest("validation/slow") is None
    trainer.train()
    assert trainer.score_history("validation/slow").keys() == {1, 2}


def test_two_parts_that_compute_one_artifact_are_refused(validated, judging):
    with pytest.raises(
        UsageError, match="The validation plan 'a' and the validation plan 'b' both compute the score x"
    ):
        validated(
            judging.JudgingPlan(judging.scores("x"), name="a"), judging.JudgingPlan(judging.scores("x"), name="b")
        )
    with pytest.raises(UsageError, match="has the score x twice"):
        judging.JudgingPlan(judging.scores("x", "x"))
    with pytest.raises(UsageError, match="has no artifact"):
        judging.JudgingPlan([])
