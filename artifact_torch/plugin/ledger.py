"""What plugins cost: seconds and calls by plugin, hook and epoch, always counted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from artifact_torch.plugin.calling import HookFunction

DEFAULT_TIME_SHARE = 0.1

_SHORTEST_EPOCH = 1.0


class PluginTime(NamedTuple):
    """What one plugin's implementation of one hook took in one epoch.

    Attributes:
        plugin: the plugin's name.
        hook: the hook's name.
        epoch: counted from 1; 0 is before the first.
        calls: how often it was called.
        seconds: how long that took altogether, what it called in turn included.
    """

    plugin: str
    hook: str
    epoch: int
    calls: int
    seconds: float


class TimeLedger:
    """The times of a whole training, epoch by epoch.

    Args:
        time_share: the share of an epoch's time above which a plugin is warned about.

    Attributes:
        rows: everything that was counted so far, in the order of the epochs.
    """

    def __init__(self, time_share: float = DEFAULT_TIME_SHARE) -> None:
        self.rows: list[PluginTime] = []
        self._time_share = time_share
        self._epoch_began: float | None = None
        self._warned: set[str] = set()

    def begin_epoch(self) -> None:
        """Take the time of which plugins take a share; what comes before an epoch or after it is no part of one."""
        self._epoch_began = time.perf_counter()

    def close(self, functions: Iterable[HookFunction], epoch: int) -> list[PluginTime]:
        """Take what was counted since the last time, for an epoch, and begin to count anew."""
        rows: list[PluginTime] = []
        for each in functions:
            if each.calls:
                rows.append(PluginTime(each.plugin.name, each.hook, epoch, each.calls, round(each.seconds, 9)))
                each.calls, each.seconds = 0, 0.0
        self.rows.extend(rows)
        return rows

    def warnings(self, rows: Iterable[PluginTime], exempt: Iterable[str] = ()) -> list[str]:
        """A sentence for each plugin that took too large a share of the epoch that these rows are of.

        Each is told once. Epochs of less than a second are left alone: whatever costs something costs a large share.
        """
        began, self._epoch_began = self._epoch_began, None
        seconds = 0.0 if began is None else time.perf_counter() - began
        if seconds < _SHORTEST_EPOCH:
            return []
        exempt = set(exempt)
        spent: dict[str, dict[str, float]] = {}
        epoch = 0
        for row in rows:
            epoch = row.epoch
            spent.setdefault(row.plugin, {})[row.hook] = row.seconds
        sentences: list[str] = []
        for plugin, by_hook in spent.items():
            share = sum(by_hook.values()) / seconds
            if share > self._time_share and plugin not in self._warned and plugin not in exempt:
                self._warned.add(plugin)
                hook = max(by_hook, key=lambda name: by_hook[name])
                sentences.append(
                    f"The plugin {plugin!r} took {share:.0%} of epoch {epoch} ({sum(by_hook.values()):.1f} of "
                    f"{seconds:.1f} s), most of it in {hook}. trainer.plugin_times has all times."
                )
        return sentences
