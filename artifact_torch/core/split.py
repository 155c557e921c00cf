"""The parts of the data."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DataSplit"]


class DataSplit(StrEnum):
    """Which part of the data a result belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    ALL = "all"
