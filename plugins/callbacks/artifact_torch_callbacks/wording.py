"""How numbers, times and scores are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from artifact_torch.core.wording import duration, number

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["duration", "epoch_of", "newest_scores", "number", "pace", "shown_scores", "total_steps"]

_ORDER = {"validation": 0, "test": 1, "all": 2}
_MAX_SCORES = 3
_WORTH_TELLING = 0.1


def shown_scores(names: Iterable[str]) -> list[str]:
    """At most three of the names of ``epoch_scores``, those of validation first.

    Left out are the training loss, which is shown in any case, and the items of collections (``split/name/item``).
    """
    top_level = [name for name in names if name.count("/") == 1 and name != "train/loss"]
    return sorted(top_level, key=lambda name: _ORDER.get(name.partition("/")[0], len(_ORDER)))[:_MAX_SCORES]


def epoch_of(trainer: Trainer) -> str:
    """Which epoch of how many is in progress or was the last, for example ``epoch  3/25``."""
    return f"epoch {max(trainer.state.epoch, 1):>{len(str(trainer.epochs))}}/{trainer.epochs}"


def pace(trainer: Trainer) -> list[str]:
    """How fast the epoch goes that is in progress or was the last, and its share of waiting for data if that is much.

    Empty before the first batch.
    """
    throughput = trainer.throughput
    rate = throughput.batches_per_second / trainer.optimization.settings.accumulate
    if not rate:
        return []
    texts = [f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s"]
    if throughput.data_wait_share >= _WORTH_TELLING:
        texts.append(f"waits {throughput.data_wait_share:.0%} for data")
    return texts


def total_steps(trainer: Trainer) -> int | None:
    """The steps of the whole training, from the first epoch on; None if the loader does not know its length."""
    try:
        batches_per_epoch = len(trainer.train_loader)
    except TypeError:
        return None
    state, accumulate = trainer.state, trainer.optimization.settings.accumulate
    steps_per_epoch = -(-batches_per_epoch // accumulate)
    over = state.batch_in_epoch >= batches_per_epoch  # whose last step may have had fewer batches
    steps_in_epoch = steps_per_epoch if over else state.batch_in_epoch // accumulate
    epochs_left = trainer.epochs - state.epochs_completed
    return max(state.step, state.step - steps_in_epoch + epochs_left * steps_per_epoch)


def newest_scores(trainer: Trainer) -> list[str]:
    """The scores in short; ``validation/`` is left out unless that would make a score look like the training loss."""
    texts: list[str] = []
    for name in shown_scores(trainer.metrics.epoch_names):
        split, _, short = name.partition("/")
        value = trainer.metrics.latest(name)  # as far as it is there: what is only shown is not waited for
        if value is not None:
            texts.append(f"{short if split == 'validation' and short != 'loss' else name} {number(value)}")
    return texts
