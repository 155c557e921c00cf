"""Classifiers of two classes: learn a table's label, predict it, judge the predictions with artifact-core.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_binary_classification.artifacts import ClassificationArtifacts as ClassificationArtifacts
    from artifact_torch_binary_classification.computation import (
        BinaryClassificationComputation as BinaryClassificationComputation,
    )
    from artifact_torch_binary_classification.labels import Classes as Classes
    from artifact_torch_binary_classification.labels import LabelledTable as LabelledTable
    from artifact_torch_binary_classification.labels import labelled_table as labelled_table
    from artifact_torch_binary_classification.mlp import TabularClassifier as TabularClassifier
    from artifact_torch_binary_classification.mlp import TabularInput as TabularInput
    from artifact_torch_binary_classification.model import BinaryClassifier as BinaryClassifier
    from artifact_torch_binary_classification.model import ClassifierInput as ClassifierInput
    from artifact_torch_binary_classification.model import ClassifierOutput as ClassifierOutput
    from artifact_torch_binary_classification.plan import (
        BinaryClassificationValidationPlan as BinaryClassificationValidationPlan,
    )
    from artifact_torch_binary_classification.trainer import BinaryClassificationTrainer as BinaryClassificationTrainer
    from artifact_torch_binary_classification.validation import (
        BinaryClassificationValidationRoutine as BinaryClassificationValidationRoutine,
    )

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "BinaryClassificationComputation": "artifact_torch_binary_classification.computation",
        "BinaryClassificationTrainer": "artifact_torch_binary_classification.trainer",
        "BinaryClassificationValidationRoutine": "artifact_torch_binary_classification.validation",
        "BinaryClassificationValidationPlan": "artifact_torch_binary_classification.plan",
        "BinaryClassifier": "artifact_torch_binary_classification.model",
        "ClassificationArtifacts": "artifact_torch_binary_classification.artifacts",
        "Classes": "artifact_torch_binary_classification.labels",
        "ClassifierInput": "artifact_torch_binary_classification.model",
        "ClassifierOutput": "artifact_torch_binary_classification.model",
        "LabelledTable": "artifact_torch_binary_classification.labels",
        "TabularClassifier": "artifact_torch_binary_classification.mlp",
        "TabularInput": "artifact_torch_binary_classification.mlp",
        "labelled_table": "artifact_torch_binary_classification.labels",
    },
)
