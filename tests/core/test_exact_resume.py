"""Resuming from any batch: the end is that of a training that was left alone, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from artifact_torch import (
    Callback,
    DataLoader,
    Dataset,
    EarlyStopper,
    InMemoryDataLoader,
    Model,
    RunDirectory,
    ScoreCallback,
    Trainer,
    ValidationRoutine,
    hookimpl,
)

SAMPLES, EPOCHS, BATCHES = 26, 3, 7
FEATURES = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    """Dropout, batch norm, two groups of parameters and one that is frozen."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
            self.frozen = nn.Linear(8, 8).requires_grad_(False)
            self.decoder = nn.Linear(8, 4)

    def forward(self, batch):
        output = self.decoder(self.frozen(self.encoder(batch["features"])))
        noise = 0.1 * torch.randn_like(output)
        return {"loss": (output + noise - batch["features"]).square().mean()}


class Samples(Dataset):
    """Augments with each of the global generators."""

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return {"index": index, "features": FEATURES[index] + 0.1 * torch.randn(4)}


class Seen(Callback):
    """Writes down the samples of each batch, and keeps them in checkpoints."""

    def __init__(self):
        self.samples = []

    @hookimpl
    def execute_batch_postprocessing(self, batch):
        self.samples.append(batch["index"].tolist())

    @hookimpl
    def on_save_checkpoint(self):
        return {"samples": self.samples}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.samples = list(state["samples"])


class SavingEverywhere(Callback):
    """Saves after each batch and each epoch, each time into a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = []

    def save(self, trainer):
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer):
        self.save(trainer)

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer):
        self.save(trainer)


class MeanLoss(ScoreCallback):
    def reset(self):
        self.losses = []

    def update(self, batch, model_output):
        self.losses.append(model_output["loss"].item())

    def compute(self):
        return sum(self.losses) / len(self.losses)


class Patient(EarlyStopper):
    """Ends training after two epochs without improvement by a lot, unless it forgets what it has seen."""

    def __init__(self):
        self.best, self.waited = None, 0

    def check(self, trainer):
        loss = trainer.latest_score("validation/mean_loss")
        if self.best is None or loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        return "it waited" if self.waited == 2 else None

    @hookimpl
    def on_save_checkpoint(self):
        return {"best": self.best, "waited": self.waited}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.best, self.waited = state["best"], state["waited"]


def adam(model):
    groups = [{"params": model.encoder.parameters(), "lr": 3e-2}, {"params": model.decoder.parameters(), "lr": 1e-2}]
    return torch.optim.Adam(groups, fused=True)


def sgd(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2, momentum=0.9)


SCHEDULES = {
    "none": {},
    "one cycle": {
        "scheduler": lambda optimizer, steps: OneCycleLR(optimizer, [3e-2] * len(optimizer.param_groups), steps),
        "scheduler_interval": "step",
    },
    "by epoch": {"scheduler": lambda optimizer, _: StepLR(optimizer, 1, 0.5)},
    "plateau": {
        "scheduler": lambda optimizer, _: ReduceLROnPlateau(optimizer, patience=0),
        "scheduler_metric": "validation/mean_loss",
    },
}

CASES = {
    "plain": ("none", adam, {}),
    "one cycle": ("one cycle", adam, {}),
    "accumulated by three": ("one cycle", adam, {"accumulate": 3}),
    "accumulated by two, by epoch, sgd": ("by epoch", sgd, {"accumulate": 2, "clip_gradient_value": 0.05}),
    "plateau, clipped": ("plateau", sgd, {"clip_gradient_norm": 0.1}),
    "bf16": ("one cycle", adam, {"precision": "bf16"}),
    "bf16, accumulated": ("plateau", adam, {"precision": "bf16", "accumulate": 3, "clip_gradient_norm": 0.5}),
    "fp16": ("one cycle", adam, {"precision": "fp16", "accumulate": 2}),
    "a data set that draws": ("one cycle", adam, {"accumulate": 3, "loader": "data set"}),
    "bf16, a data set that draws": ("one cycle", adam, {"loader": "data set", "precision": "bf16"}),
    "bf16, two workers": ("one cycle", adam, {"loader": "workers", "precision": "bf16"}),
    "two workers": ("one cycle", adam, {"accumulate": 3, "loader": "workers", "precision": "bf16"}),
}


def loader_of(kind):
    if kind == "memory":
        tensors = {"features": FEATURES, "index": torch.arange(SAMPLES)}
        return InMemoryDataLoader(tensors, batch_size=4, shuffle=True)
    return DataLoader(Samples(), batch_size=4, shuffle=True, num_workers=2 if kind == "workers" else 0)


def trainer_of(case, folder, *callbacks, run=None):
    schedule, optimizer, options = CASES[case]
    options = dict(options)
    held_out = InMemoryDataLoader({"features": FEATURES[:9], "index": torch.arange(9)}, batch_size=4)
    model = Net()
    return Trainer(
        model,
        loader_of(options.pop("loader", "memory")),
        epochs=EPOCHS,
        optimizer=optimizer(model),
        validation=ValidationRoutine(val_loader=held_out),
        callbacks=[Seen(), MeanLoss("mean_loss"), *callbacks],
        stoppers=[Patient()],
        device="cpu",
        seed=3,
        log_every=1,
        run=run or RunDirectory.create(root=folder),
        use_installed_plugins=False,
        **SCHEDULES[schedule],
        **options,
    )


def samples_of(trainer):
    return next(trainer.plugins._plugins[name] for name in trainer.plugins.names() if name == "Seen").implementation


def end_of(trainer):
    """Everything that a training leaves behind, as something that can be compared."""
    reason = trainer.train().reason
    optimization = trainer.optimization.state_dict()
    return {
        "reason": reason,
        "model": {name: tensor.tolist() for name, tensor in trainer.model.state_dict().items()},
        "optimizer": repr(optimization["optimizer"]),
        "scheduler": repr(optimization["scheduler"]),
        "scaler": repr(optimization["scaler"]),
        "epoch scores": trainer.epoch_scores.to_dict(),
        "batch metrics": trainer.batch_metrics.to_dict(),
        "samples": samples_of(trainer).samples,
        "random state": repr(trainer.random_state.state()["torch"].tolist()),
    }


def check_every_stop(case, folder, every):
    saving = SavingEverywhere(folder)
    expected = end_of(trainer_of(case, folder, saving))
    epochs = len(expected["epoch scores"]["train/loss"])
    assert len(saving.paths) == epochs * (BATCHES + 1)
    for epoch in range(epochs):
        seen = expected["samples"][epoch * BATCHES : (epoch + 1) * BATCHES]
        assert sorted(sample for batch in seen for sample in batch) == list(range(SAMPLES))
    for path in saving.paths[::every]:
        torch.manual_seed(1234)
        resumed = trainer_of(case, folder)
        # The trainer that saved had a plugin more, without state: that is told and does not matter.
        resumed.load_checkpoint(path)
        assert end_of(resumed) == expected, path


@pytest.mark.parametrize("case", [case for case in CASES if "workers" not in case])
def test_resumed_after_any_batch_training_ends_as_it_would_have(tmp_path, case):
    check_every_stop(case, tmp_path, 1 if case in ("plain", "accumulated by three") else 5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_resumed_after_every_batch_training_ends_as_it_would_have(tmp_path, case):
    check_every_stop(case, tmp_path, 1)


@pytest.mark.lengthy
def test_resumed_with_workers_training_ends_as_it_would_have(tmp_path):
    check_every_stop("two workers", tmp_path, 11)
