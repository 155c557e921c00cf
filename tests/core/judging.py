"""Plans for the tests of validation, whose artifacts other processes compute too: it imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from artifact_torch import Artifact, ArtifactKind, ArtifactWarning, Computation, DataSplit, Recipe, ValidationPlan

SCORE, ARRAY, PLOT = ArtifactKind.SCORE, ArtifactKind.ARRAY, ArtifactKind.PLOT
EVERY_KIND = [Artifact(kind, "all") for kind in ArtifactKind]


class Judging(Computation):
    """Computes artifacts of the model's weights; what an artifact does besides is in its name."""

    def __init__(self, parameters, data):
        self.parameters = parameters
        self.offset = data["offset"][0] if data else 0.0

    def prepare(self, inputs):
        return inputs["weights"].sum() + self.offset, inputs["table"]

    def compute(self, artifact, prepared):
        number, table = prepared
        kind, name = artifact
        if name.startswith("once"):
            marker = Path(self.parameters["folder"], f"{name}-was-tried")
            if not marker.exists():
                marker.touch()
                name = name.removeprefix("once ")
        if name == "raises":
            raise ValueError("there is nothing to draw")
        if name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hangs":
            time.sleep(1000)
        if name == "slow":
            time.sleep(self.parameters.get("seconds", 0.3))
        if name == "warns":
            warnings.warn("this is worth knowing", ArtifactWarning, stacklevel=1)
            print("and this was printed")
        if name == "nan":
            return float("nan")
        if name == "torch":
            return float("torch" in sys.modules)
        if name == "large":
            return np.ones(13_000_000)
        value = self._single(kind, number, table)
        return {"a": value, "b/ü": value} if kind.endswith("collection") else value

    def _single(self, kind, number, table):
        if kind.startswith("score"):
            return number
        if kind.startswith("array"):
            return np.array([number, len(table)])
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(2, 1))
        axes.plot([0, number])
        return figure


class JudgingPlan(ValidationPlan):
    """Judges the weights of the tiny model; counts how often it gathers."""

    def __init__(
        self, artifacts, *, name="judging", split=DataSplit.VALIDATION, offset=0.0, parameters=None, **options
    ):
        super().__init__(name, split, artifacts, **options)
        self.offset = offset
        self.parameters = parameters or {}
        self.gathered = []

    def recipe(self):
        return Recipe("judging:Judging", self.parameters, {"offset": np.array([self.offset])})

    def gather(self, trainer):
        self.gathered.append((trainer.state.epoch, trainer.state.step))
        weights = [parameter.detach().flatten().double().numpy() for parameter in trainer.model.parameters()]
        return {"weights": np.concatenate(weights), "table": pd.DataFrame({"text": ["a", None, "b"], "n": [1, 2, 3]})}


def scores(*names):
    return [Artifact(SCORE, name) for name in names]
