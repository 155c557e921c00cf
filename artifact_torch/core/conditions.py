"""What training depends on, so that a change of it is named before a checkpoint is gone on with."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import CheckpointError

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["check_conditions", "conditions_of"]


def conditions_of(trainer: Trainer) -> dict[str, JsonDict]:
    """What the numbers of a training depend on, as JSON values.

    ``settings`` is what the user chooses: with another value, training would go on differently from how it would have
    gone on. ``surroundings`` is what can change the last bits only.
    """
    loader = {f"train_loader.{name}": value for name, value in trainer.train_loader.description().items()}
    frozen = [name for name, parameter in trainer.model.named_parameters() if not parameter.requires_grad]
    return {
        "settings": {
            "seed": trainer.seed,
            "device": trainer.device.type,
            **trainer.optimization.conditions(),
            "frozen parameters": hashlib.sha256("\n".join(frozen).encode()).hexdigest()[:16] if frozen else None,
            **loader,
        },
        "surroundings": {
            "torch": torch.__version__,
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "compile": trainer.is_compiled,
            "deterministic": trainer.deterministic,
        },
    }


def check_conditions(saved: Mapping[str, JsonDict], now: Mapping[str, JsonDict], *, allow: bool) -> list[str]:
    """Compare the conditions of a checkpoint with those of the trainer that is to go on from it.

    Returns:
        A sentence on what differs and is let pass; empty if all is as it was.

    Raises:
        CheckpointError: a setting differs, and that is not allowed; all differences are told at once.
    """
    changed = _differences(saved["settings"], now["settings"])
    if changed and not allow:
        raise CheckpointError(
            f"Training would not go on as it would have gone on without the interruption: {'; '.join(changed)}. Put "
            "these back, or go on all the same with allow_changes=True (on the command line: --force)."
        )
    sentences: list[str] = []
    if changed:
        sentences.append(f"Going on with what has changed since the checkpoint: {'; '.join(changed)}.")
    if surroundings := _differences(saved["surroundings"], now["surroundings"]):
        sentences.append(
            "The last bits of the results may differ from those of an uninterrupted training, for these have changed "
            f"since the checkpoint: {'; '.join(surroundings)}."
        )
    return sentences


def _differences(saved: JsonDict, now: JsonDict) -> list[str]:
    names = dict.fromkeys([*saved, *now])
    pairs = ((name, saved.get(name), now.get(name)) for name in names)
    return [f"{name} was {before} and is {after}" for name, before, after in pairs if before != after]
