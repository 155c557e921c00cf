"""Metrics, statistics, averages of weights, checkpoints, progress, logs, finders.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_callbacks.activation_statistics import ActivationStatistics as ActivationStatistics
    from artifact_torch_callbacks.batch_size_finder import BatchSizeFinder as BatchSizeFinder
    from artifact_torch_callbacks.checkpoint import Checkpoint as Checkpoint
    from artifact_torch_callbacks.csv_log import CSVLog as CSVLog
    from artifact_torch_callbacks.determinism_report import DeterminismReport as DeterminismReport
    from artifact_torch_callbacks.ema import EMA as EMA
    from artifact_torch_callbacks.freezing import Freezing as Freezing
    from artifact_torch_callbacks.function import FunctionCallback as FunctionCallback
    from artifact_torch_callbacks.gradient_clipping import GradientClipping as GradientClipping
    from artifact_torch_callbacks.gradient_statistics import GradientStatistics as GradientStatistics
    from artifact_torch_callbacks.jsonl_log import JSONLinesLog as JSONLinesLog
    from artifact_torch_callbacks.learning_rate_finder import LearningRateFinder as LearningRateFinder
    from artifact_torch_callbacks.learning_rate_monitor import LearningRateMonitor as LearningRateMonitor
    from artifact_torch_callbacks.loss import Loss as Loss
    from artifact_torch_callbacks.metric import Metric as Metric
    from artifact_torch_callbacks.model_summary import ModelSummary as ModelSummary
    from artifact_torch_callbacks.profiler import Profiler as Profiler
    from artifact_torch_callbacks.progress import Progress as Progress
    from artifact_torch_callbacks.sample_preview import SamplePreview as SamplePreview
    from artifact_torch_callbacks.swa import SWA as SWA
    from artifact_torch_callbacks.throughput_monitor import ThroughputMonitor as ThroughputMonitor
    from artifact_torch_callbacks.timer import Timer as Timer
    from artifact_torch_callbacks.weight_statistics import WeightStatistics as WeightStatistics

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "ActivationStatistics": "artifact_torch_callbacks.activation_statistics",
        "BatchSizeFinder": "artifact_torch_callbacks.batch_size_finder",
        "CSVLog": "artifact_torch_callbacks.csv_log",
        "Checkpoint": "artifact_torch_callbacks.checkpoint",
        "DeterminismReport": "artifact_torch_callbacks.determinism_report",
        "EMA": "artifact_torch_callbacks.ema",
        "Freezing": "artifact_torch_callbacks.freezing",
        "FunctionCallback": "artifact_torch_callbacks.function",
        "GradientClipping": "artifact_torch_callbacks.gradient_clipping",
        "GradientStatistics": "artifact_torch_callbacks.gradient_statistics",
        "JSONLinesLog": "artifact_torch_callbacks.jsonl_log",
        "LearningRateFinder": "artifact_torch_callbacks.learning_rate_finder",
        "LearningRateMonitor": "artifact_torch_callbacks.learning_rate_monitor",
        "Loss": "artifact_torch_callbacks.loss",
        "Metric": "artifact_torch_callbacks.metric",
        "ModelSummary": "artifact_torch_callbacks.model_summary",
        "Profiler": "artifact_torch_callbacks.profiler",
        "Progress": "artifact_torch_callbacks.progress",
        "SWA": "artifact_torch_callbacks.swa",
        "SamplePreview": "artifact_torch_callbacks.sample_preview",
        "ThroughputMonitor": "artifact_torch_callbacks.throughput_monitor",
        "Timer": "artifact_torch_callbacks.timer",
        "WeightStatistics": "artifact_torch_callbacks.weight_statistics",
    },
)
