"""Trackers: components that take results where the user wants to see them."""

from __future__ import annotations

from artifact_torch.plugin.registry import registry

__all__ = ["Tracker"]


class Tracker:
    """Base of the components of kind ``trackers``: its ``track_*`` hooks receive everything that leaves the loop.

    Whatever trackers are chosen, the run directory has it all; a tracker is a second place::

        class Console(Tracker):
            @hookimpl
            def track_score(self, name: str, value: float, epoch: int) -> None:
                print(epoch, name, value)
    """

    priority: int = 0
    """See ``Callback.priority``."""


registry.require("trackers", Tracker)
