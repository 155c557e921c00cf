"""Validation plans, whose artifacts are computed inline or in other processes: the results are the same."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from artifact_torch import (
    Artifact,
    ArtifactKind,
    Callback,
    EarlyStopper,
    UsageError,
    ValidationError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.testing import HookRecorder

MODES = ["inline", "background"]


@pytest.fixture(autouse=True)
def judging(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import judging

    return judging


@pytest.fixture
def validated(make_trainer):
    """Builds a trainer that validates plans."""

    def make(*plans, mode="background", period=1, seconds=60.0, rounds=2, **options):
        routine = ValidationRoutine(
            plans=plans, mode=mode, period=period, artifact_seconds=seconds, rounds_in_flight=rounds
        )
        return make_trainer(validation=routine, **options)

    return make


@pytest.mark.parametrize("mode", MODES)
def test_artifacts_of_every_kind_are_recorded_tracked_and_kept_in_files(validated, judging, mode):
    plan, recorder = judging.JudgingPlan(judging.EVERY_KIND, offset=2.0, rows=3, seed=7), HookRecorder()
    trainer = validated(plan, mode=mode, epochs=1)
    trainer.plugins.register(recorder, "recorder")
    trainer.train()
    names = [name for name, _ in recorder.calls if name.startswith("track_") and "epoch" in dict(_)]
    assert {f"track_{kind}" for kind in ArtifactKind} <= set(names)
    weights = sum(float(parameter.detach().double().sum()) for parameter in trainer.model.parameters())
    scores = trainer.epoch_scores.loc[1]
    assert scores["validation/all"] == scores["validation/all/a"] == scores["validation/all/b/ü"]
    assert scores["validation/all"] == pytest.approx(weights + 2.0, abs=1e-12)
    history = trainer.validation_results
    assert history.scores[["name", "split", "plan", "epoch", "step", "rows", "seed"]].values.tolist() == [
        [name, "validation", "judging", 1, 4, 3, 7] for name in ("all", "all/a", "all/b/ü")
    ]
    assert history.scores["value"].tolist() == [scores["validation/all"]] * 3
    assert [plot.name for plot in history.plots] == ["all", "all/a", "all/b/ü"]
    assert all(plot.open().size[0] > 100 and plot.path.is_relative_to(trainer.run.path) for plot in history.plots)
    assert history.arrays[0].open().tolist() == [scores["validation/all"], 3]
    assert {path.name for path in (trainer.run.path / "validation/epoch-1-step-4-validation-judging").iterdir()} == {
        "results.json"
    }


@pytest.mark.parametrize("mode", MODES)
def test_torch_is_not_imported_where_artifacts_are_computed_in_the_background(validated, judging, mode):
    trainer = validated(judging.JudgingPlan(judging.scores("torch")), mode=mode, epochs=1)
    trainer.train()
    assert trainer.epoch_scores.loc[1, "validation/torch"] == (mode == "inline")


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
        return "it has grown" if self.seen[-1] > 0.05 else None


def test_a_score_that_something_depends_on_is_waited_for_and_plots_are_not(validated, judging):
    seen = {}
    for mode in MODES:
        stopper = Deciding()
        plan = judging.JudgingPlan([*judging.scores("slow"), Artifact(judging.PLOT, "slow")])
        trainer = validated(plan, mode=mode, epochs=12, stoppers=[stopper], rounds=20)
        result = trainer.train()
        seen[mode] = stopper.seen, result.epochs, trainer.epoch_scores.to_dict()
        assert len(trainer.validation_results.plots) == result.epochs
    assert seen["inline"] == seen["background"]
    assert 1 < seen["inline"][1] < 12


def test_nothing_waits_for_an_artifact_that_is_not_asked_for(validated, judging):
    at_the_end = []

    class Look(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            at_the_end.append(trainer.metrics.latest("validation/slow"))

    plan = judging.JudgingPlan(judging.scores("slow"), parameters={"seconds": 1.0})
    trainer = validated(plan, callbacks=[Look()], rounds=9)
    trainer.train()
    assert at_the_end == [None, None]
    assert trainer.epoch_scores["validation/slow"].notna().all()


def test_training_waits_when_too_many_rounds_are_under_way(validated, judging, caplog):
    recorder = HookRecorder()
    plan = judging.JudgingPlan(judging.scores("slow"), parameters={"seconds": 0.1})
    trainer = validated(plan, rounds=1, epochs=4)
    trainer.plugins.register(recorder, "recorder")
    with caplog.at_level(logging.INFO):
        trainer.train()
    assert "Training waits because 1 rounds of judging are not complete" in caplog.text
    awaited = [arguments["left"] for name, arguments in recorder.calls if name == "on_artifacts_awaited"]
    assert set(awaited) == {0, 1}
    assert trainer.run.record["seconds_waited_for_validation"] > 0
    assert trainer.epoch_scores["validation/slow"].notna().sum() == 4


@pytest.mark.parametrize("mode", MODES)
def test_an_artifact_that_raises_is_a_warning_with_its_traceback_in_the_record(validated, judging, mode, caplog):
    plan = judging.JudgingPlan([Artifact(judging.PLOT, "raises"), *judging.scores("x", "raises")])
    trainer = validated(plan, mode=mode, epochs=1)
    trainer.train()
    message = "The plot raises of validation after epoch 1, step 4 could not be computed: ValueError: there is nothing"
    assert message in caplog.text
    (failed, _) = trainer.run.record["failed_artifacts"]
    assert "compute" in failed["traceback"]
    assert "there is nothing to draw" in failed["traceback"]
    scores = trainer.epoch_scores
    assert scores["validation/x"].notna().all()
    assert "validation/raises" not in scores
    with pytest.raises(ValidationError, match=r"score raises of validation .* could not be computed.*depends on it"):
        trainer.latest_score("validation/raises")


@pytest.mark.parametrize("mode", MODES)
def test_training_ends_if_it_depends_on_a_score_that_cannot_be_computed(validated, judging, mode):
    trainer = validated(
        judging.JudgingPlan(judging.scores("raises")), mode=mode, stoppers=[Deciding("validation/raises")]
    )
    with pytest.raises(ValidationError, match="there is nothing to draw"):
        trainer.train()
    assert trainer.run.record["status"] == "failed"


def test_a_process_that_dies_is_replaced_and_its_artifact_tried_again(validated, judging, tmp_path, caplog):
    plan = judging.JudgingPlan(judging.scores("once dies", "x"), parameters={"folder": str(tmp_path)})
    trainer = validated(plan)
    trainer.train()
    assert (tmp_path / "once dies-was-tried").exists()
    assert trainer.epoch_scores[["validation/once dies", "validation/x"]].notna().all(axis=None)
    assert "could not" not in caplog.text


def test_a_process_that_dies_each_time_is_told_and_the_rest_is_computed(validated, judging, caplog):
    trainer = validated(judging.JudgingPlan([Artifact(judging.PLOT, "dies"), *judging.scores("x")]), epochs=1)
    trainer.train()
    assert (
        "The plot dies of validation after epoch 1, step 4 could not be computed: the process that computed it was "
        "killed by SIGKILL."
    ) in caplog.text
    assert trainer.epoch_scores["validation/x"].notna().all()


def test_an_artifact_that_takes_too_long_is_ended(validated, judging, caplog):
    plan = judging.JudgingPlan([Artifact(judging.ARRAY, "hangs"), *judging.scores("x")])
    trainer = validated(plan, epochs=1, seconds=3.0)
    trainer.train()
    assert "The array hangs of validation after epoch 1, step 4 could not be computed: it took longer than 3 s." in (
        caplog.text
    )
    assert trainer.epoch_scores["validation/x"].notna().all()


@pytest.mark.parametrize("mode", MODES)
def test_a_large_result_arrives(validated, judging, mode):
    trainer = validated(judging.JudgingPlan([Artifact(judging.ARRAY, "large")]), mode=mode, epochs=1)
    trainer.train()
    (found,) = trainer.validation_results.arrays
    assert found.path.stat().st_size > 100_000_000
    assert found.open().sum() == 13_000_000


@pytest.mark.parametrize("mode", MODES)
def test_what_a_computation_warns_of_and_prints_is_told_with_its_name(validated, judging, mode, caplog, capsys):
    trainer = validated(judging.JudgingPlan(judging.scores("warns", "nan")), mode=mode, epochs=1)
    trainer.train()
    where = "The score warns of validation after epoch 1, step 4: "
    assert f"{where}this is worth knowing" in caplog.text
    assert f"{where}and this was printed" in caplog.text
    assert "The score validation/nan of epoch 1 is nan" in caplog.text
    assert "printed" not in capsys.readouterr().out


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
    plan = judging.JudgingPlan([*judging.scores("slow"), Artifact(judging.PLOT, "x")])
    trainer = validated(plan, mode=mode, callbacks=[Adding()], stoppers=[stopper], epochs=2)
    trainer.train()
    scores = trainer.epoch_scores
    assert (scores["validation/twice"] == 2 * scores["validation/slow"]).all()
    assert stopper.seen == scores["validation/twice"].tolist()
    assert set(trainer.validation_results.scores["name"]) == {"slow", "twice"}


def test_a_checkpoint_keeps_what_is_under_way_and_it_is_computed_afterwards(validated, judging, tmp_path):
    def trainer_of(run=None):
        plan = judging.JudgingPlan(
            [*judging.scores("slow", "x"), Artifact(judging.PLOT, "slow")], parameters={"seconds": 0.5}
        )
        return validated(plan, epochs=3, rounds=9, run=run)

    class Interrupting(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    whole = trainer_of()
    whole.train()
    stopped = trainer_of()
    stopped.plugins.register(Interrupting(), "interrupting")
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert stopped.metrics.latest("validation/slow") is None
    resumed = trainer_of(stopped.run)
    resumed.load_checkpoint()
    resumed.train()
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    drop = ["plan"]
    assert resumed.validation_results.scores.drop(columns=drop).equals(
        whole.validation_results.scores.drop(columns=drop)
    )
    assert [plot.epoch for plot in resumed.validation_results.plots] == [1, 2, 3]
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


@pytest.mark.parametrize("mode", MODES)
def test_validation_leaves_no_trace_in_what_is_trained(validated, judging, mode):
    weights = []
    for plans in ([], [judging.JudgingPlan(judging.EVERY_KIND)]):
        trainer = validated(*plans, mode=mode, epochs=3)
        trainer.train()
        weights.append(np.concatenate([p.detach().flatten().numpy() for p in trainer.model.parameters()]))
    assert np.array_equal(*weights)


def test_what_is_left_at_the_end_gets_the_cores_that_are_free(validated, judging, monkeypatch):
    monkeypatch.setattr("artifact_torch.core.artifact_work._cores", lambda: 2)
    workers = []

    class Look(Callback):
        @hookimpl
        def on_artifacts_awaited(self, trainer):
            workers.append(len(children_of(os.getpid())))

    plan = judging.JudgingPlan([Artifact(judging.ARRAY, f"{n}") for n in range(11)] + judging.scores("slow"))
    trainer = validated(plan, epochs=1, callbacks=[Look()])
    trainer.train()
    assert max(workers) == 2
    assert len(trainer.validation_results.arrays) == 11


def children_of(process):
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():  # a process is the child of the thread that has started it
        with contextlib.suppress(OSError):  # the thread has ended
            found += list((thread / "children").read_text().split())
    return found
