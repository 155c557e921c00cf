"""Tables: read, learn, generate and compare them with artifact-core.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_table_comparison.artifacts import ComparisonArtifacts as ComparisonArtifacts
    from artifact_torch_table_comparison.model import TabularGenerativeModel as TabularGenerativeModel
    from artifact_torch_table_comparison.plan import (
        TableComparisonValidationPlan as TableComparisonValidationPlan,
    )
    from artifact_torch_table_comparison.reading import read_csv as read_csv
    from artifact_torch_table_comparison.reading import table_from_frame as table_from_frame
    from artifact_torch_table_comparison.schema import ColumnSchema as ColumnSchema
    from artifact_torch_table_comparison.schema import Table as Table
    from artifact_torch_table_comparison.schema import TableSchema as TableSchema
    from artifact_torch_table_comparison.trainer import TableComparisonTrainer as TableComparisonTrainer
    from artifact_torch_table_comparison.validation import (
        TableComparisonValidationRoutine as TableComparisonValidationRoutine,
    )

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "ComparisonArtifacts": "artifact_torch_table_comparison.artifacts",
        "ColumnSchema": "artifact_torch_table_comparison.schema",
        "Table": "artifact_torch_table_comparison.schema",
        "TableComparisonTrainer": "artifact_torch_table_comparison.trainer",
        "TableComparisonValidationPlan": "artifact_torch_table_comparison.plan",
        "TableComparisonValidationRoutine": "artifact_torch_table_comparison.validation",
        "TableSchema": "artifact_torch_table_comparison.schema",
        "TabularGenerativeModel": "artifact_torch_table_comparison.model",
        "read_csv": "artifact_torch_table_comparison.reading",
        "table_from_frame": "artifact_torch_table_comparison.reading",
    },
)
