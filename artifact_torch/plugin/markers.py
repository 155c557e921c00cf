"""The two pluggy markers: ``hookspec`` for the project's specifications, ``hookimpl`` for implementations."""

import pluggy

PROJECT = "artifact_torch"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
