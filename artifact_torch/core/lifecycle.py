"""From the start of a run to its end, whatever happens in between."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifact_torch.core.surroundings import kept_surroundings
from artifact_torch.plugin.loading import reason_of
from artifact_torch.plugin.specs import RunHooks, TrackingHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

logger = logging.getLogger("artifact_torch")


@contextmanager
def guarded_run(trainer: Trainer) -> Generator[None]:
    """Record the run, call the hooks around it, and put the model's modes back.

    Every ``on_exception`` and ``on_train_end`` runs, whatever another of them raises; the first error is the one that
    reaches the caller, and the run's record says how it ended.
    """
    trainer.run.begin(_plugin_records(trainer), seed=trainer.seed, warnings=trainer.plugins.warnings)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    logger.info(
        "Training %s: %s parameters on %s.", type(trainer.model).__qualname__, f"{parameters:,}", trainer.device
    )
    error: BaseException | None = None
    surroundings = kept_surroundings(trainer.model, deterministic=trainer.deterministic, tell=trainer.plugins.warn)
    try:
        with surroundings, trainer.random_state.in_force(), _teardown(trainer):
            trainer.hooks.notify(TrackingHooks.track_params, params=trainer.params)
            trainer.tracking.begin()
            trainer.hooks.notify(RunHooks.on_train_start, trainer=trainer)
            record_times(trainer)
            yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        reason = trainer.stop_reason if error is None else reason_of(error)
        logger.info("Training ended after %d epochs: %s.", trainer.state.epochs_completed, reason)
        _close_record(trainer, reason, error)


@contextmanager
def _teardown(trainer: Trainer) -> Generator[None]:
    """Run every ``on_exception`` and ``on_train_end``, and raise the first error."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raised.artifact_torch_run = trainer.run.path / "run.json"  # type: ignore[attr-defined]
        _report(trainer.hooks.teardown(RunHooks.on_exception, trainer=trainer, error=raised), error)
        raise
    finally:
        reason = trainer.stop_reason if error is None else reason_of(error)
        failures = trainer.hooks.teardown(RunHooks.on_train_end, trainer=trainer, reason=reason)
        _report(failures, error)
        failures += _lost_checkpoints(trainer)
        record_times(trainer)
        if failures and error is None:
            raise failures[0]


def _close_record(trainer: Trainer, reason: str, error: BaseException | None) -> None:
    status = "stopped" if trainer.stops_early else "finished"
    if error is not None:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    counters = {"epochs": trainer.state.epochs_completed, "steps": trainer.state.step}
    seconds = {
        "seconds": round(trainer.seconds, 3),
        "seconds_waited_for_validation": round(trainer.validating.seconds_waited, 3),
    }
    try:
        trainer.run.finish(status, reason, error, **seconds, **counters)
    except OSError as failure:
        if error is None:
            raise
        logger.error("The run's record could not be written: %s", failure)  # noqa: TRY400 - the first error is raised
    finally:
        trainer.tracking.end()


def record_times(trainer: Trainer) -> None:
    """Write down what plugins took since the last time; that it cannot be written is no reason to end."""
    try:
        trainer.run.record_plugin_times(trainer.plugins.close_ledger(trainer.state.epoch))
    except OSError as failure:
        logger.warning("What plugins took could not be written: %s", failure)


def _report(failures: list[BaseException], error: BaseException | None) -> None:
    for failure in failures:
        if failure is not error:
            failed = getattr(failure, "artifact_torch_plugin", "of the core failed")
            logger.error("While the run was ending, the plugin %s: %s.", failed, reason_of(failure))


def _lost_checkpoints(trainer: Trainer) -> list[BaseException]:
    """Wait until checkpoints are written; what kept one from it is logged and returned."""
    try:
        trainer.wait_for_checkpoints()
    except BaseException as failure:
        logger.error("%s", reason_of(failure))  # noqa: TRY400 - the cause is in the message
        return [failure]
    return []


def _plugin_records(trainer: Trainer) -> list[dict[str, str | None]]:
    """Who takes part, in calling order, and after them who was left out, with the reason."""
    left_out: list[dict[str, str | None]] = [
        {
            "name": entry.name,
            "source": "left out",
            "distribution": entry.distribution,
            "version": entry.version,
            "reason": reason,
        }
        for entry, reason in trainer.plugins.left_out
    ]
    return [*trainer.plugins.plugin_set(), *left_out]
