"""The trackers of one trainer, from the start of its training to what comes after the end."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from artifact_torch.core.mirror import Mirror
from artifact_torch.core.mirror_process import MirrorProcess, recipe_of
from artifact_torch.core.tracker import MirrorTracker, Tracker
from artifact_torch.plugin.registry import registry

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["Tracking"]

logger = logging.getLogger("artifact_torch")


class Tracking:
    """Mirrors a trainer's run while it trains.

    Args:
        trainer: the trainer.
        trackers: those that were chosen; the others than mirrors act by their hooks alone.
    """

    def __init__(self, trainer: Trainer, trackers: Iterable[Tracker]) -> None:
        self._trainer = trainer
        self._trackers = _named(tracker for tracker in trackers if isinstance(tracker, MirrorTracker))
        self._mirrors: list[Mirror | MirrorProcess] = []
        self._is_kept_open = False

    def begin(self) -> None:
        """Begin to bring there what is recorded; without trackers, nothing is done."""
        if not self._mirrors and self._trackers:
            run = self._trainer.run.path
            self._mirrors = [_mirror(tracker, name, run) for name, tracker in self._trackers.items()]
            for mirror in self._mirrors:
                mirror.start()

    def end(self) -> None:
        """Bring there what is left, once the record says how the run has ended."""
        if self._is_kept_open:
            return
        mirrors, self._mirrors = self._mirrors, []
        for mirror in mirrors:
            mirror.ask_to_end()
        left = {mirror.name: mirror.end() for mirror in mirrors}
        if any(left.values()):
            try:
                self._trainer.run.update(untracked=left)
            except OSError as error:
                logger.warning("What has not reached its tracker cannot be written down: %s.", error.strerror or error)

    @contextmanager
    def kept_open(self) -> Generator[None]:
        """While more is recorded after training, such as generated samples, which trackers are to get too."""
        self._is_kept_open = True
        try:
            yield
        finally:
            self._is_kept_open = False
            self.end()


def _mirror(tracker: MirrorTracker, name: str, run: Path) -> Mirror | MirrorProcess:
    recipe = recipe_of(tracker)
    if recipe is None:
        return Mirror(tracker, name, run)
    return MirrorProcess(recipe, name, run, seconds=tracker.close_seconds)


def _named(trackers: Iterable[MirrorTracker]) -> dict[str, MirrorTracker]:
    """Trackers by the name of their class, numbered if there are several of one."""
    named: dict[str, MirrorTracker] = {}
    for tracker in trackers:
        name = registry.name_of("trackers", type(tracker)) or type(tracker).__name__
        number = 1
        while (found := name if number == 1 else f"{name}_{number}") in named:
            number += 1
        named[found] = tracker
    return named
