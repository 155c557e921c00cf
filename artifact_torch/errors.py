"""The project's exceptions: one base class, and one subclass for each documented exit code."""

from __future__ import annotations


class ArtifactTorchError(Exception):
    """Base of every error raised on purpose; its message says what happened, where and what to do."""

    exit_code = 1


class UsageError(ArtifactTorchError):
    """The user's input cannot be used: a file, a table, an option or an argument."""

    exit_code = 2


class ConfigError(UsageError):
    """An experiment description is wrong: an unknown key, a value of the wrong type, a missing section."""


class DataError(UsageError):
    """A table or data set cannot be read or modelled as it is."""


class MissingLossError(ArtifactTorchError):
    """A model's output in training holds no scalar ``loss`` to differentiate."""


class DivergedError(ArtifactTorchError):
    """The training loss became NaN or infinite."""

    exit_code = 3


class ValidationError(ArtifactTorchError):
    """A score that training depends on could not be computed."""


class OutOfMemoryError(ArtifactTorchError):
    """The memory of a device is exhausted."""


class PluginError(ArtifactTorchError):
    """A plugin is missing, cannot be imported, or does not keep its contract."""

    exit_code = 4


class CheckpointError(ArtifactTorchError):
    """A saved model or checkpoint is absent, damaged, or does not fit what it is loaded into."""
