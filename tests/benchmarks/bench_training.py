"""What a step of training costs beside a loop written by hand; run by ``make bench``.

A VAE of about 100,000 parameters and a small net, 50,000 rows of 20 columns, batches of 256 and 512. All contenders
take turns in one process, an epoch each, so that their ratios hold on a busy machine too. CPU time of the process, by
step: the median over the rounds, and the lowest decile, which is what is left when nothing else runs.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from artifact_torch_callbacks import Progress
from artifact_torch_stoppers import Patience
from torch import Tensor, nn
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset as TorchDataset

from artifact_torch import Callback, InMemoryDataLoader, Model, ModelInput, ModelOutput, RunDirectory, Trainer, hookimpl

ROWS, COLUMNS, ROUNDS = 50_000, 20, 15
clock = time.process_time


class Features(ModelInput):
    features: Tensor


class VAE(Model[Features, ModelOutput]):
    """A Gaussian VAE; with a width of 200 it has about 100,000 parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        latent = max(2, width // 12)
        self.encoder = nn.Sequential(nn.Linear(COLUMNS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.moments = nn.Linear(width, 2 * latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, COLUMNS)
        )

    def forward(self, batch: Features) -> ModelOutput:
        features = batch["features"]
        mean, log_variance = self.moments(self.encoder(features)).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        error = nn.functional.mse_loss(self.decoder(latent), features)
        divergence = -0.5 * torch.mean(1 + log_variance - mean.square() - log_variance.exp())
        return {"loss": error + 0.1 * divergence}


class PerSample(TorchDataset[dict[str, Tensor]]):
    """The data set that everyone writes."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index]}


class EpochClock(Callback):
    """Takes the CPU time of an epoch, from before its first batch until everything about it is recorded."""

    seconds = 0.0

    @hookimpl(tryfirst=True)
    def execute_epoch_preprocessing(self) -> None:
        self._start = clock()

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self) -> None:
        self.seconds = clock() - self._start


class Idle(Callback):
    """Does nothing, for every batch."""

    @hookimpl
    def execute_batch_postprocessing(self) -> None:
        pass


@dataclass(frozen=True)
class Setting:
    """What is trained, and on batches of which size."""

    name: str
    width: int
    batch_size: int

    def model(self) -> VAE:
        torch.manual_seed(0)
        return VAE(self.width)


@dataclass(frozen=True)
class Figure:
    """Microseconds of CPU time a step.

    Attributes:
        median: over the rounds.
        decile: the lowest of ten.
        added: the median of what it took more than the first contender in the same round.
    """

    setting: str
    contender: str
    median: float
    decile: float
    added: float


def bare(setting: Setting, batches: Callable[[int], Any], *, fused: bool) -> Callable[[], float]:
    model = setting.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    epochs: Iterator[int] = iter(range(1, 10**9))

    def epoch() -> float:
        start = clock()
        for batch in batches(next(epochs)):
            loss = model(batch)["loss"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return clock() - start

    return epoch


def ours(setting: Setting, features: Tensor, folder: Path, **options: Any) -> Callable[[], float]:
    timer = EpochClock()
    loader = InMemoryDataLoader(Features(features=features), batch_size=setting.batch_size, shuffle=True)
    callbacks = [timer, *options.pop("callbacks", ())]
    trainer = Trainer(
        setting.model(),
        loader,
        epochs=1,
        device="cpu",
        run=RunDirectory.create(root=folder),
        use_installed_plugins=False,
        callbacks=callbacks,
        **options,
    )

    def epoch() -> float:
        with contextlib.redirect_stderr(io.StringIO()):  # where the bar is drawn
            trainer.train(epochs=trainer.state.epochs_completed + 1)
        return timer.seconds

    return epoch


def lightning(setting: Setting, features: Tensor, folder: Path) -> Callable[[], float] | None:
    """Lightning with its defaults off, where it is installed."""
    try:
        import lightning
    except ImportError:
        return None

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = setting.model()
            self.seconds = 0.0

        def training_step(self, batch: Any, _number: int) -> Tensor:
            return self.model(batch)["loss"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

        def on_train_epoch_start(self) -> None:
            self.start = clock()

        def on_train_epoch_end(self) -> None:
            self.seconds = clock() - self.start

    loader = InMemoryDataLoader(Features(features=features), batch_size=setting.batch_size, shuffle=True)
    module = Module()

    def epoch() -> float:
        off: dict[str, Any] = dict.fromkeys(
            ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
        )
        trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, **off)
        trainer.fit(module, loader)
        return module.seconds

    return epoch


def contenders(setting: Setting, features: Tensor, folder: Path) -> dict[str, Callable[[], float]]:
    loader = InMemoryDataLoader(Features(features=features), batch_size=setting.batch_size, shuffle=True)
    collated = TorchDataLoader(PerSample(features), batch_size=setting.batch_size, shuffle=True)
    ways = {
        "a loop by hand, on our loader, fused Adam": bare(setting, loader.batches, fused=True),
        "a loop by hand, as everyone writes it": bare(setting, lambda _: collated, fused=False),
        "ours, everything off": ours(setting, features, folder, log_every=10**9),
        "ours, bar and two callbacks": ours(
            setting, features, folder, log_every=10**9, callbacks=[Progress(style="bar"), Idle(), Idle()]
        ),
        "ours, with all defaults": ours(
            setting, features, folder, callbacks=[Progress(style="bar")], stoppers=[Patience(score="train/loss")]
        ),
        "ours, with all defaults and an idle callback more": ours(
            setting,
            features,
            folder,
            callbacks=[Progress(style="bar"), Idle()],
            stoppers=[Patience(score="train/loss")],
        ),
    }
    if (other := lightning(setting, features, folder)) is not None:
        ways["Lightning, everything off"] = other
    return ways


def measured(setting: Setting, features: Tensor, folder: Path, rounds: int) -> list[Figure]:
    ways = contenders(setting, features, folder)
    steps = -(-ROWS // setting.batch_size)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, epoch in ways.items():
            gc.collect()
            taken = epoch()
            if number:  # the first round warms up
                seconds[name].append(taken / steps * 1e6)
    baseline = next(iter(seconds.values()))
    return [
        Figure(
            setting.name,
            name,
            statistics.median(taken),
            sorted(taken)[len(taken) // 10],
            statistics.median(ours - theirs for ours, theirs in zip(taken, baseline, strict=True)),
        )
        for name, taken in seconds.items()
    ]


def shown(figures: list[Figure]) -> None:
    baseline, everyone = figures[0], figures[1]
    print(f"\n{baseline.setting}: CPU time a step in us")
    print(f"{'':<54}{'median':>10}{'ratio':>7}{'added':>9}{'decile':>10}{'added':>9}")
    for each in figures:
        print(
            f"  {each.contender:<52}{each.median:>10.1f}{each.median / baseline.median:>7.2f}{each.added:>9.1f}"
            f"{each.decile:>10.1f}{each.decile - baseline.decile:>9.1f}"
        )
    defaults = next(each for each in figures if each.contender == "ours, with all defaults")
    print(f"  ours with all defaults against the loop that everyone writes: {defaults.median / everyone.median:.2f}")


def start_and_end(features: Tensor, folder: Path) -> float:
    """Milliseconds that ``train()`` takes when there is nothing left to train: its start and its end."""
    loader = InMemoryDataLoader(Features(features=features), batch_size=256)
    trainer = Trainer(
        VAE(200), loader, epochs=1, device="cpu", run=RunDirectory.create(root=folder), use_installed_plugins=False
    )
    trainer.train()
    taken: list[float] = []
    for _ in range(20):
        start = time.perf_counter()
        trainer.train()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    settings = [
        Setting("VAE, batch 256", 200, 256),
        Setting("VAE, batch 512", 200, 512),
        Setting("small, batch 256", 24, 256),
    ]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(
            f"VAE: {sum(p.numel() for p in VAE(200).parameters()):,} parameters; small: "
            f"{sum(p.numel() for p in VAE(24).parameters()):,}"
        )
        for setting in settings:
            found = measured(setting, features, folder, rounds)
            shown(found)
            figures += found
        milliseconds = start_and_end(features, folder)
        print(f"\nstart and end of train(): {milliseconds:.1f} ms")
    if len(sys.argv) > 1:
        record = {"steps": [asdict(each) for each in figures], "start and end of train(), ms": milliseconds}
        (Path(sys.argv[1]) / "benchmark-training.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
