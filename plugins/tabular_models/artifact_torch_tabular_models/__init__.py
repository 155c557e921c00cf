"""Generative models of tables.

Names are imported when they are first used, so listing this plugin imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_tabular_models.encoding import TableEncoder as TableEncoder
    from artifact_torch_tabular_models.vae import TableInput as TableInput
    from artifact_torch_tabular_models.vae import TableOutput as TableOutput
    from artifact_torch_tabular_models.vae import TableVAE as TableVAE

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "TableEncoder": "artifact_torch_tabular_models.encoding",
        "TableInput": "artifact_torch_tabular_models.vae",
        "TableOutput": "artifact_torch_tabular_models.vae",
        "TableVAE": "artifact_torch_tabular_models.vae",
    },
)
