"""The table that demonstrations and tests learn from; ``SOURCE.md`` beside it tells where it comes from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

PORTAL = "portal.csv.xz"
"""The name of the Portal Project teaching table: 35,549 rodents and other animals, 12 columns, values missing."""


def portal_path() -> Path:
    """The path of the Portal Project teaching table, to be given to ``read_csv``."""
    return Path(str(resources.files(__name__) / PORTAL))
