"""Where a model and its batches are placed."""

from __future__ import annotations

import torch

from artifact_torch.errors import UsageError


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that a name means; ``"auto"`` takes the first accelerator, else the CPU.

    Raises:
        UsageError: the name is unknown, or this machine has no such device.
    """
    if device == "auto":
        # A build of torch for CUDA names an accelerator on machines that have none, too.
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"The device {str(device)!r} cannot be used here: {reason}. Use 'cpu' or 'auto'.") from error
    return resolved
