"""How numbers and times are shown, in tables and in progress. Nothing here imports torch."""

from __future__ import annotations

import math

__all__ = ["duration", "number"]


def number(value: float) -> str:
    """A number in 4 to 8 characters (one more if it is negative), with at least three digits that count."""
    size = abs(value)
    if not math.isfinite(value):
        return str(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.2e}"
    decimals = 4 if size < 100 else 2 if size < 10_000 else 0
    return f"{value:.{6 if 0 < size < 0.01 else decimals}f}"


def duration(seconds: float) -> str:
    """A time in the units that suit it: ``1.2 s``, ``26 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
