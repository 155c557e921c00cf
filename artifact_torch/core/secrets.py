"""Keeps secrets out of what is written down."""

from __future__ import annotations

import os
import re

__all__ = ["masked"]

_SECRET_NAME = re.compile(r"key|token|secret|password|passwd|credential", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(\w+://)[^/@\s]+@")
_SHORTEST = 6


def masked(text: str) -> str:
    """A text without the values of environment variables that look secret, and without logins in addresses."""
    text = _IN_ADDRESS.sub(r"\1***@", text)
    secrets = {value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
