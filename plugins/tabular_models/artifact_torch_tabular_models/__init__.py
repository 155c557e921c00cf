"""Generative models of tables.

Names are imported when they are first used, so listing this plugin imports neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifact_torch_tabular_models.encoding import TableEncoder as TableEncoder
    from artifact_torch_tabular_models.vae import TableInput as TableInput
    from artifact_torch_tabular_models.vae import TableOutput as TableOutput
    from artifact_torch_tabular_models.vae import TableVAE as TableVAE

_MODULE_OF = {
    "TableEncoder": "artifact_torch_tabular_models.encoding",
    "TableInput": "artifact_torch_tabular_models.vae",
    "TableOutput": "artifact_torch_tabular_models.vae",
    "TableVAE": "artifact_torch_tabular_models.vae",
}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value
