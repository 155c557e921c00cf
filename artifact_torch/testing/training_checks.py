"""The checks that train: state in checkpoints, time, and that training stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd

from artifact_torch.core.checkpoint import read_state
from artifact_torch.testing.outcomes import ContractError, NotApplicable, NotJudged
from artifact_torch.testing.subject import Subject
from artifact_torch.testing.trials import LOSSES, Snapshot, TrialTrainer, first_difference

__all__ = ["check_neutrality", "check_state", "check_time_budget"]

_LOOP_HOOKS = ("execute_batch_preprocessing", "on_before_optimizer_step", "execute_batch_postprocessing")
_TIME_TRIALS = 3
_TOO_SOON = "{subject} ends training in the first epoch: give contract_tests parameters with which it goes on longer."


def check_state(subject: Subject) -> None:
    """Train, go on from a checkpoint with everything new, and compare the state and what comes of it."""
    whole = TrialTrainer(subject.fresh())
    whole_result = whole.train()
    if whole.checkpoint is None:  # it is written in the middle of the first epoch
        raise NotJudged(_TOO_SOON.format(subject=subject))
    # A hook plugin is one object in this process, and still has what it had at the end. The first training has gone on
    # after the checkpoint, so that this does not pass for what it loads.
    resumed = TrialTrainer(subject.fresh())
    resumed.load_checkpoint(whole.checkpoint)
    saved, loaded = _plugin_state(whole, whole.checkpoint), _plugin_state(resumed, resumed.save_checkpoint())
    if difference := first_difference(saved, loaded):
        raise ContractError(
            f"{subject} does not take back the state that it saved: {difference.where} was {difference.one}, and after "
            f"loading is {difference.other}. Restore in on_load_checkpoint all that on_save_checkpoint returns."
        )
    resumed_result = resumed.train()
    if difference := first_difference(_end(whole, whole_result.reason), _end(resumed, resumed_result.reason)):
        raise ContractError(
            f"{subject} goes on from a checkpoint otherwise than without a break: {difference.where} is "
            f"{difference.other}, and without a break {difference.one}. Return what it depends on from "
            "on_save_checkpoint, and restore it in on_load_checkpoint."
        )


def check_time_budget(subject: Subject) -> None:
    """Hold the mean time of a call of each hook of the loop against the budget."""
    slowest: list[tuple[float, str]] = []
    for _ in range(_TIME_TRIALS):  # the best one counts: others may use the machine meanwhile
        trainer = TrialTrainer(subject.fresh(), epochs=2, batch_size=4)
        trainer.train()
        slowest.append(_slowest(trainer))
        if slowest[-1][0] <= subject.time_budget:
            return
    seconds, hook = min(slowest)
    raise ContractError(
        f"{subject} takes {seconds * 1e3:.3g} ms a call in {hook}, and its budget is {subject.time_budget * 1e3:.3g} "
        "ms: do less there, or only every so many steps, or give contract_tests another time_budget."
    )


def check_neutrality(subject: Subject) -> None:
    """Train with it and without it, and compare what is learnt and what is global after each epoch."""
    component = subject.fresh()
    if getattr(component, "changes_training", False):
        raise NotApplicable("It declares changes_training = True.")
    without = TrialTrainer()
    without.train()
    trained = TrialTrainer(component)
    try:
        trained.train()
    except Exception:
        _compare_epochs(subject, trained, without)  # what differed before says more than the failure that came of it
        raise
    _compare_epochs(subject, trained, without)
    if trained.state.batch_in_epoch:  # of an epoch that it has ended there is nothing to compare with
        if not trained.snapshots:
            raise NotJudged(_TOO_SOON.format(subject=subject))
        return
    if len(trained.snapshots) > len(without.snapshots):
        raise ContractError(
            f"{subject} trains for more epochs than the trainer was told to: leave trainer.epochs alone."
        )
    last = without.snapshots[len(trained.snapshots) - 1]
    _compare(subject, Snapshot.of(trained), last)  # nothing may change once the last epoch is done


def _compare_epochs(subject: Subject, trained: TrialTrainer, without: TrialTrainer) -> None:
    if trained.plugins.warnings:
        raise ContractError(" ".join(trained.plugins.warnings))
    for ours, theirs in zip(trained.snapshots, without.snapshots, strict=False):  # a stopper may end training sooner
        _compare(subject, ours, theirs)


def _compare(subject: Subject, ours: Snapshot, theirs: Snapshot) -> None:
    """Refuse a plugin with which training stands elsewhere than without it."""
    difference = first_difference(ours.surroundings, theirs.surroundings) or first_difference(
        ours.learnt(theirs), theirs.learnt(ours)
    )
    if difference:
        raise ContractError(
            f"{subject} changes training: after epoch {ours.epoch}, {difference.where} is {difference.one} with it and "
            f"{difference.other} without it. Leave batches, gradients, weights and global state alone and draw from a "
            "generator of its own, or declare changes_training = True."
        )


def _plugin_state(trainer: TrialTrainer, checkpoint: Path) -> object:
    return read_state(checkpoint)["plugins"].get(trainer.component_name)


def _end(trainer: TrialTrainer, reason: str) -> dict[str, Any]:
    """What training came to: the losses of each epoch, the weights, when it stopped and why."""
    losses = {
        f"{name} of epoch {epoch}": value
        for epoch in range(1, trainer.state.epochs_completed + 1)
        for name, value in trainer.metrics.of_epoch(epoch).items()
        if name in LOSSES
    }
    stopped = {"the number of epochs": trainer.state.epochs_completed, "the reason to stop": reason}
    return {**losses, **trainer.model.state_dict(), **stopped}


def _slowest(trainer: TrialTrainer) -> tuple[float, str]:
    """The seconds a call of the slowest hook of the loop, and its name."""
    times = trainer.plugin_times
    times = times[(times["plugin"] == trainer.component_name) & times["hook"].isin(_LOOP_HOOKS)]
    warm = times[times["epoch"] > 1]  # in the first epoch, something may have been imported
    times = times if warm.empty else warm
    if times.empty:
        return 0.0, ""
    summed = times.groupby("hook")[["seconds", "calls"]].sum()
    means = cast("pd.Series[float]", summed["seconds"] / summed["calls"])
    return float(means.max()), str(means.idxmax())
