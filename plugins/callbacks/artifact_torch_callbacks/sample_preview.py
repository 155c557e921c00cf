"""A look at what a generative model makes, while it learns."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
import pandas as pd
import torch

from artifact_torch import ArtifactKind, Callback, GenerationParams, GenerativeModel, Period, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["SamplePreview"]

_NEVER = Period(2**62)
_MAX_COLUMNS = 10
_MAX_WIDTH = 20
_MAX_TEXT = 200

logger = logging.getLogger("artifact_torch")


class SamplePreview(Callback):
    """Shows a few samples that the model generates, at each validation.

    The seed is the same each time, so that one sees what becomes of the same latents as training goes on:

    - rows of a data frame are a table in the log, and a file such as ``samples/epoch-3-step-120.csv`` in the run
      directory, which trackers get as ``samples``;
    - texts are lines in the log, and a file of JSON lines;
    - arrays, images among them, are tracked as the array ``batch/samples``; several of them as a collection.

    The model is in evaluation mode, without gradients, and with averaged weights if there are any. Random state and
    modes are as before afterwards. It costs what generating so many samples costs, in the loop.

    Args:
        num_samples: how many samples (for tables: rows).
        seed: of the samples; see ``GenerationParams``.
        period: how often: a number of epochs, or a text such as ``"500 steps"`` or ``"10 minutes"``. By default at each
            validation, and where nothing is validated after each epoch.

    Raises:
        UsageError: a number is out of range or the period is none; when training begins, the model does not generate;
            and then, that what it generates cannot be shown.

    Example::

        import torch


        class Normal(GenerativeModel):
            def __init__(self):
                super().__init__()
                self.mean = torch.nn.Parameter(torch.zeros(3))

            def forward(self, batch):
                return {"loss": (batch["features"] - self.mean).square().mean()}

            def generate(self, params):
                generator = torch.Generator().manual_seed(params.seed)
                return self.mean + torch.randn(params.num_samples, 3, generator=generator)


        trainer = Trainer(Normal(), train_loader, epochs=3, callbacks=[SamplePreview(num_samples=4)])
        trainer.train()
        print(*trainer.run.path.glob("artifacts/array/*/*.npy"))
    """

    def __init__(self, *, num_samples: int = 5, seed: int = 0, period: int | str | Period | None = None) -> None:
        if num_samples < 1:
            raise UsageError(f"SamplePreview must show at least 1 sample, not {num_samples}.")
        self.params = GenerationParams(num_samples=num_samples, seed=seed)
        self.period = None if period is None else Period.of(period)
        within_epochs = self.period is not None and self.period.unit != "epochs"
        self.batch_period = self.period if within_epochs else _NEVER
        self._shown_step = -1
        self._trains = False

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        _generative(trainer)
        self._shown_step = -1
        self._trains = True

    @hookimpl
    def on_train_end(self) -> None:
        self._trains = False

    @hookimpl
    def on_validation_start(self, trainer: Trainer) -> None:
        if self.period is None:
            self._show(trainer, quietly=self._trains and trainer.state.step == 0)  # a rehearsal

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.optimization.accumulated == 0:
            self._show(trainer)

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        period = self.period
        if period is None:
            period = Period(1) if not trainer.validation.parts else _NEVER
        if period.unit == "epochs" and trainer.state.epoch % period.number == 0:
            self._show(trainer)

    def _show(self, trainer: Trainer, *, quietly: bool = False) -> None:
        state = trainer.state
        if state.step == self._shown_step:  # parts of a validation may be due one after the other
            return
        with _aside(trainer):
            samples: object = _generative(trainer).generate(self.params)
        if quietly:
            return
        self._shown_step = state.step
        if isinstance(samples, pd.DataFrame):
            table = samples.to_string(index=False, max_cols=_MAX_COLUMNS, max_colwidth=_MAX_WIDTH)
            self._write(trainer, ".csv", samples.to_csv(index=False), table)
        elif _is_texts(samples):
            lines = [json.dumps(text, ensure_ascii=False) for text in samples]
            shown = [line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}..." for line in lines]
            self._write(trainer, ".jsonl", "".join(f"{line}\n" for line in lines), "\n".join(shown))
        else:
            kind, value = _arrays(samples)
            trainer.track(kind, "samples", value)

    def _write(self, trainer: Trainer, suffix: str, content: str, shown: str) -> None:
        state = trainer.state
        logger.info("Samples after epoch %d, step %d:\n%s", state.epoch, state.step, shown)
        path = trainer.run.path / "samples" / f"epoch-{state.epoch}-step-{state.step}{suffix}"
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            logger.warning("The samples cannot be written to %s: %s. Training goes on.", path, error)
        else:
            trainer.track_file("samples", path)


def _generative(trainer: Trainer) -> GenerativeModel:
    if not isinstance(trainer.model, GenerativeModel):
        raise UsageError(
            f"SamplePreview shows what a model generates, and {type(trainer.model).__qualname__} does not: derive it "
            "from artifact_torch.GenerativeModel, or leave the callback out."
        )
    return cast("GenerativeModel", trainer.model)


@contextmanager
def _aside(trainer: Trainer) -> Generator[None]:
    """Evaluation without gradients; afterwards the modes and the random state are as before."""
    modes = [(module, module.training) for module in trainer.model.modules()]
    devices = [trainer.device] if trainer.device.type == "cuda" else []
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with trainer.evaluating(), torch.no_grad(), torch.random.fork_rng(devices):
            trainer.model.eval()
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for module, training in modes:
            module.training = training


def _is_texts(samples: object) -> TypeGuard[Sequence[str]]:
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        return False
    return all(isinstance(each, str) for each in cast("Sequence[object]", samples))


def _arrays(samples: object) -> tuple[ArtifactKind, Any]:
    """An array, or a collection of arrays, from what a model has generated."""
    if isinstance(samples, Mapping):
        collection = {str(name): _array(value) for name, value in cast("Mapping[object, object]", samples).items()}
        return ArtifactKind.ARRAY_COLLECTION, collection
    if isinstance(samples, Sequence):
        numbered = enumerate(cast("Sequence[object]", samples), start=1)
        return ArtifactKind.ARRAY_COLLECTION, {str(number): _array(value) for number, value in numbered}
    return ArtifactKind.ARRAY, _array(samples)


def _array(value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if hasattr(value, "__array__"):  # an array, or something like it, such as an image
        array = np.asarray(value)
        if not array.dtype.hasobject:
            return array
    raise UsageError(
        f"SamplePreview cannot show what the model generates ({type(value).__name__}): it knows data frames, texts, "
        "arrays, tensors, and lists and mappings of these."
    )
