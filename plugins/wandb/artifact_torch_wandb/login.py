"""Whether this machine has a login for Weights & Biases; wandb is not imported, and nobody is asked."""

from __future__ import annotations

import contextlib
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["address", "has_login", "wants_offline"]

_ADDRESS = "https://api.wandb.ai"


def address() -> str:
    """Where the service is: what the environment variable ``WANDB_BASE_URL`` says, or that of the public one."""
    return os.environ.get("WANDB_BASE_URL") or _ADDRESS


def has_login() -> bool:
    """Whether there is an API key or an identity token in the environment, or ``wandb login`` has written one down."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    named = os.environ.get("NETRC")
    for path in [named] if named else ["~/.netrc", "~/_netrc"]:
        with contextlib.suppress(OSError, netrc.NetrcParseError, RuntimeError):
            if netrc.netrc(str(Path(path).expanduser())).authenticators(urlsplit(address()).netloc):
                return True
    return False


def wants_offline() -> bool:
    """Whether the environment variable ``WANDB_MODE`` asks for runs that are kept here."""
    return os.environ.get("WANDB_MODE", "").lower() in ("offline", "dryrun", "disabled")
