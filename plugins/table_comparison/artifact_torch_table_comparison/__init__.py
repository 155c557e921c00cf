"""Tables: read, learn, generate and compare them with artifact-core.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifact_torch_table_comparison.model import TabularGenerativeModel as TabularGenerativeModel
    from artifact_torch_table_comparison.reading import read_csv as read_csv
    from artifact_torch_table_comparison.reading import table_from_frame as table_from_frame
    from artifact_torch_table_comparison.schema import ColumnSchema as ColumnSchema
    from artifact_torch_table_comparison.schema import Table as Table
    from artifact_torch_table_comparison.schema import TableSchema as TableSchema
    from artifact_torch_table_comparison.trainer import TableComparisonTrainer as TableComparisonTrainer
    from artifact_torch_table_comparison.validation import (
        TableComparisonValidationRoutine as TableComparisonValidationRoutine,
    )

_MODULE_OF = {
    "ColumnSchema": "schema",
    "Table": "schema",
    "TableComparisonTrainer": "trainer",
    "TableComparisonValidationRoutine": "validation",
    "TableSchema": "schema",
    "TabularGenerativeModel": "model",
    "read_csv": "reading",
    "table_from_frame": "reading",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
