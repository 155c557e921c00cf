"""TensorBoard's messages (https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto).

Their classes are made while they are imported, so type checkers know nothing of them: here they are told that these are
classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "DT_STRING",
    "STATUS_FAILURE",
    "STATUS_SUCCESS",
    "Event",
    "HParamsPluginData",
    "HistogramProto",
    "SessionEndInfo",
    "SessionLog",
    "SessionStartInfo",
    "Summary",
    "SummaryMetadata",
    "TensorProto",
    "TensorShapeProto",
]

if TYPE_CHECKING:

    class Event(Any): ...

    class SessionLog(Any): ...

    class Summary(Any): ...

    class SummaryMetadata(Any): ...

    class HistogramProto(Any): ...

    class TensorProto(Any): ...

    class TensorShapeProto(Any): ...

    class HParamsPluginData(Any): ...

    class SessionStartInfo(Any): ...

    class SessionEndInfo(Any): ...

    DT_STRING: int
    STATUS_SUCCESS: int
    STATUS_FAILURE: int
else:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
