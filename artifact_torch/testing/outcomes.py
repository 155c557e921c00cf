"""How a check of a plugin's contract may end, other than well."""

from __future__ import annotations

from artifact_torch.errors import ArtifactTorchError, PluginError

__all__ = ["ContractError", "NotApplicable", "NotJudged"]


class ContractError(PluginError):
    """A plugin does not do what is asked of it; the message says what, where and what to do."""


class NotJudged(ArtifactTorchError):  # noqa: N818 - it is no error of anybody's
    """A check cannot be judged as things are; the message says why, and what would let it."""


class NotApplicable(NotJudged):
    """A check asks for what this plugin says it does not do, or what its sort of plugin has no part in."""
