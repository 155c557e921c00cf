"""The hooks through which results leave the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    import numpy as np

    from artifact_torch.core.artifacts import Plot
    from artifact_torch.core.split import DataSplit


class TrackingHooks:
    """Results on their way out of the loop. The run directory is the first implementation of all but ``track_file``.

    ``name`` is the artifact's name; it may hold any character, ``/`` too. ``epoch`` is the epoch and ``step`` the
    optimizer step that it was computed after; both are 0 before training.
    """

    @hookspec
    def track_params(self, params: Mapping[str, Any]) -> None:
        """Called once at the start of training, with the experiment's parameters.

        Order:
            Before ``on_train_start``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            params: dotted name, such as ``model.width``, -> JSON value; empty if the trainer was given none.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import json
            import os
            from pathlib import Path

            from artifact_torch import hookimpl

            @hookimpl
            def track_params(params):
                with Path(os.environ["ARTIFACT_TORCH_HOME"], "params.jsonl").open("a", encoding="utf-8") as file:
                    print(json.dumps(dict(params)), file=file)
        """

    @hookspec
    def track_score(self, name: str, value: float, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every number: the loss, metrics, validation scores.

        Order:
            As soon as the number is known: in a step that is logged, after an epoch's last batch, after
            ``on_validation_end`` and after ``log_epoch_metrics``. All implementations run, the run directory's first;
            the first error ends training.

        Args:
            name: the number's name; those of a single batch begin with ``batch/``.
            value: the number; it may be NaN or infinite.
            split: the part of the data it was computed on.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import csv
            import os
            from pathlib import Path

            from artifact_torch import hookimpl

            @hookimpl
            def track_score(name, value, split, epoch, step):
                with Path(os.environ["ARTIFACT_TORCH_HOME"], "scores.csv").open("a", newline="") as file:
                    csv.writer(file).writerow([name, split, epoch, step, value])
        """

    @hookspec
    def track_score_collection(
        self, name: str, value: Mapping[str, float], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of numbers, for example one number a column.

        Order:
            After ``on_validation_end``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            name: the collection's name.
            value: item, such as a column's name, -> number; a number may be NaN or infinite.
            split: the part of the data it was computed on.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            worst_columns = []

            @hookimpl
            def track_score_collection(name, value, epoch):
                if value:
                    worst_columns.append((epoch, name, max(value, key=value.get)))
        """

    @hookspec
    def track_array(self, name: str, value: np.ndarray, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every array.

        Order:
            After ``on_validation_end``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            name: the array's name.
            value: the array, of any shape; copy it to change it, because the others get the same one.
            split: the part of the data it was computed on.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            history = {}

            @hookimpl
            def track_array(name, value, split, epoch):
                history.setdefault((name, split), {})[epoch] = value.copy()
        """

    @hookspec
    def track_array_collection(
        self, name: str, value: Mapping[str, np.ndarray], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of arrays.

        Order:
            After ``on_validation_end``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            name: the collection's name.
            value: item, such as a column's name, -> array, of any shape; the others get the same arrays.
            split: the part of the data it was computed on.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import logging

            import numpy as np

            from artifact_torch import hookimpl

            @hookimpl
            def track_array_collection(name, value, epoch):
                for item, array in value.items():
                    if not np.isfinite(array).all():
                        logging.getLogger("artifact_torch").warning("NaN in %s of %s, epoch %d.", item, name, epoch)
        """

    @hookspec
    def track_plot(self, name: str, value: Plot, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every plot.

        Order:
            After ``on_validation_end``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            name: the plot's name.
            value: the plot, drawn: ``value.path`` is a PNG file in the run directory, ``value.png()`` its bytes and
                ``value.image()`` the picture.
            split: the part of the data it was drawn from.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import os
            from pathlib import Path

            from artifact_torch import hookimpl

            @hookimpl
            def track_plot(name, value, split):
                file_name = f"latest-{split}-{name.replace('/', '-')}.png"
                Path(os.environ["ARTIFACT_TORCH_HOME"], file_name).write_bytes(value.png())
        """

    @hookspec
    def track_plot_collection(
        self, name: str, value: Mapping[str, Plot], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of plots.

        Order:
            After ``on_validation_end``. All implementations run, the run directory's first; the first error ends
            training.

        Args:
            name: the collection's name.
            value: item, such as a column's name, -> plot, as ``track_plot`` gets it.
            split: the part of the data they were drawn from.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            from artifact_torch import hookimpl

            thumbnails = {}

            @hookimpl
            def track_plot_collection(name, value):
                for item, plot in value.items():
                    thumbnails[f"{name}/{item}"] = plot.image().reduce(4)
        """

    @hookspec
    def track_file(self, name: str, path: Path, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every file or folder that belongs to the run's results: the trained model, generated samples.

        Order:
            As soon as the file is written: the model's after the last validation and before ``on_train_end``, generated
            samples' after it. All implementations run; the first error is raised, and ends training if it goes on.

        Args:
            name: what the file is, such as ``model``.
            path: the file or folder, inside the run directory; read it or copy it, and leave it where it is.
            split: the part of the data it was made from.
            epoch: the epoch, counted from 1; 0 before training.
            step: optimizer steps done, counted from 1; 0 before training.

        Returns:
            Nothing.

        .. versionadded:: 1.0

        Example::

            import os
            from pathlib import Path

            from artifact_torch import hookimpl

            @hookimpl
            def track_file(name, path):
                latest = Path(os.environ["ARTIFACT_TORCH_HOME"], f"latest-{name}")
                latest.unlink(missing_ok=True)
                latest.symlink_to(path.resolve())
        """
