"""Compares the plugins that a checkpoint was written with and those that read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from artifact_torch.errors import CheckpointError

PluginRecord = Mapping[str, str | None]
"""A plugin as ``Plugins.plugin_set`` records it: name, source, distribution, version."""


def check_plugin_set(
    saved: Sequence[PluginRecord], with_state: Collection[str], present: Sequence[PluginRecord], *, allow: bool
) -> list[str]:
    """A sentence for each difference between the plugins of a checkpoint and those that are here.

    Args:
        saved: the plugins that took part when the checkpoint was written, in calling order.
        with_state: the names of those that have state in it.
        present: the plugins that take part now, in calling order.
        allow: whether the state of a plugin that is not here may be left out.

    Raises:
        CheckpointError: a plugin that has state in the checkpoint is not here, and that is not allowed.
    """
    # The core's own are no plugins to a user, and one of them is registered late.
    before = {str(each["name"]): each for each in saved if each["source"] != "core"}
    now = {str(each["name"]): each for each in present if each["source"] != "core"}
    missing = [name for name in before if name not in now]
    added = [name for name in now if name not in before]
    lost = [name for name in missing if name in with_state]
    sentences: list[str] = []
    if missing:
        sentences.append(f"with plugins that are not here: {_listed(missing, before)}")
    if added:
        sentences.append(f"without plugins that are here: {_listed(added, now)}")
    for name, record in before.items():
        if name in now and _release(record) != _release(now[name]):
            sentences.append(f"with {name!r} of {_named(record)}, and here it is of {_named(now[name])}")
    common = [name for name in before if name in now]
    order = [name for name in now if name in before]
    if common != order:
        sentences.append(f"with plugins in the order {', '.join(common)}, and here they run as {', '.join(order)}")
    if lost and not allow:
        raise CheckpointError(
            f"The checkpoint holds state of plugins that are not here: {_listed(lost, before)}. Install or choose "
            "them, or go on without their state (--allow-plugin-drift, allow_plugin_drift=True)."
        )
    if lost:
        sentences.append(f"with state of plugins that is left out here: {_listed(lost, before)}")
    return [f"The checkpoint was written {sentence}." for sentence in sentences]


def _release(record: PluginRecord) -> tuple[str | None, str | None]:
    return record["distribution"], record["version"]


def _named(record: PluginRecord) -> str:
    distribution, version = _release(record)
    return f"{distribution} {version}" if distribution else "no distribution"


def _listed(names: Sequence[str], records: Mapping[str, PluginRecord]) -> str:
    return ", ".join(f"{name!r} ({_named(records[name])})" for name in names)
