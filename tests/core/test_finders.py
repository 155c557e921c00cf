"""The search for a learning rate and for a batch size: what is found, and that nothing of it stays."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from artifact_torch import (
    BatchLoader,
    DataLoader,
    Dataset,
    InMemoryDataLoader,
    IterableDataset,
    MissingLossError,
    Model,
    OutOfMemoryError,
    UsageError,
    find_batch_size,
    find_learning_rate,
    make_optimizer,
)
from artifact_torch.core.batch_size import BatchSizeRow, BatchSizeTable, _is_no_faster
from artifact_torch.core.learning_rate import LearningRateCurve
from artifact_torch.core.random_state import capture_random_state
from artifact_torch.testing import HookRecorder, TinyModel, tiny_loader

FINDERS = [find_learning_rate, find_batch_size]


class Remembering(TinyModel):
    """Has everything that a step changes: statistics, a buffer that is not saved, a counter, a replaced buffer."""

    def __init__(self):
        super().__init__(dropout=0.2)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.register_buffer("last", torch.zeros(()))
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        self.seen += 1
        self.last = batch["features"].mean()
        self.cache = batch["features"]
        return super().forward({**batch, "features": self.norm(batch["features"])})


class Narrow(TinyModel):
    """Memory that takes no more than so many samples."""

    def __init__(self, most):
        super().__init__(dropout=0.0)
        self.most = most

    def forward(self, batch):
        if len(batch["features"]) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(batch)


class Sizes(TinyModel):
    """Writes down how many samples each batch has."""

    def __init__(self):
        super().__init__(dropout=0.0)
        self.sizes = []

    def forward(self, batch):
        self.sizes.append(len(batch["features"]))
        return super().forward(batch)


class Samples(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        features = torch.randn(3)
        return {"features": features, "target": features.sum(dim=0, keepdim=True)}


class Stream(IterableDataset):
    def __iter__(self):
        for _ in range(100):
            features = torch.randn(3)
            yield {"features": features, "target": features.sum(dim=0, keepdim=True)}


class Watched(torch.optim.SGD):
    """Writes down the learning rates of each step."""

    def __init__(self, groups, **options):
        super().__init__(groups, **options)
        self.seen = []

    def step(self, closure=None):
        self.seen.append([group["lr"] for group in self.param_groups])
        return super().step(closure)


class Perceptron(Model):
    """A regression with one hidden layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, batch):
        return {"loss": nn.functional.mse_loss(self.layers(batch["features"]), batch["target"])}


def regression(name, learning_rate, make_trainer, **options):
    """A regression whose best learning rate is a hundred times higher for one optimizer than for the other."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1024, 4, generator=generator)
    target = (
        features[:, :1] * features[:, 1:2] + features[:, 2:3].sin() + 0.1 * torch.randn(1024, 1, generator=generator)
    )
    torch.manual_seed(0)
    model = Perceptron()
    loader = InMemoryDataLoader({"features": features, "target": target}, batch_size=32, shuffle=True)
    optimizer = make_optimizer(model, name, learning_rate=learning_rate)
    return make_trainer(model, loader, optimizer=optimizer, epochs=5, **options)


def numbers(value):
    """The same without tensors, to be compared."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [numbers(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def everything_of(trainer):
    model = trainer.model
    return copy.deepcopy(
        numbers(
            {
                "model": dict(model.named_parameters()) | dict(model.named_buffers()),
                "identities": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
                "gradients": [(id(p.grad), p.grad) for p in model.parameters()],
                "modes": [module.training for module in model.modules()],
                "attributes": sorted(vars(model)),
                "calls": getattr(model, "calls", None),
                "optimization": trainer.optimization.state_dict(),
                "group": {name: value for name, value in trainer.optimizer.param_groups[0].items() if name != "params"},
                "random": capture_random_state(),
                "counters": [getattr(trainer.state, name) for name in trainer.state.__slots__],
                "batches": trainer.throughput.batches,
                "scores": trainer.epoch_scores.to_dict(),
                "times of plugins": trainer.plugin_times.to_dict(),
            }
        )
    )


@pytest.mark.parametrize("find", FINDERS)
def test_nothing_stays_before_training(find, make_trainer, tmp_path):
    recorder = HookRecorder()
    trainer = make_trainer(Remembering(), callbacks=[recorder])
    trainer.model.eval()
    random.random(), np.random.rand(), torch.rand(1)
    before, calls = everything_of(trainer), list(recorder.names)
    find(trainer)
    assert everything_of(trainer) == before
    assert recorder.names == calls
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("find", FINDERS)
def test_nothing_stays_after_training_and_training_goes_on_as_without(find, make_trainer):
    trainers = []
    for search in (False, True):
        torch.manual_seed(3)
        model = Remembering()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        schedule = OneCycleLR(optimizer, 0.01, total_steps=16)
        trainer = make_trainer(model, optimizer=optimizer, scheduler=schedule, scheduler_interval="step", epochs=2)
        trainer.train()
        if search:
            before = everything_of(trainer)
            find(trainer)
            assert everything_of(trainer) == before
        trainer.train(epochs=4)
        trainers.append(trainer)
    first, second = (numbers({**t.model.state_dict(), **t.optimization.state_dict()}) for t in trainers)
    assert first == second


@pytest.mark.parametrize("find", FINDERS)
def test_nothing_stays_after_an_error(find, make_trainer):
    class Failing(Remembering):
        def forward(self, batch):
            output = super().forward(batch)
            return output if self.calls < 8 else {"prediction": output["prediction"]}

    trainer = make_trainer(Failing())
    before = everything_of(trainer)
    with pytest.raises(MissingLossError):
        find(trainer)
    assert everything_of(trainer) == before


def test_extra_state_of_modules_is_put_back(make_trainer):
    class Counting(TinyModel):
        def __init__(self):
            super().__init__()
            self.steps = [0]

        def get_extra_state(self):
            return {"steps": self.steps}

        def set_extra_state(self, state):
            self.steps = state["steps"]

        def forward(self, batch):
            self.steps[0] += 1
            return super().forward(batch)

    trainer = make_trainer(Counting())
    find_learning_rate(trainer, steps=20)
    assert trainer.model.steps == [0]


def test_the_same_is_found_again(make_trainer):
    trainer = make_trainer(Remembering())
    first = find_learning_rate(trainer)
    torch.rand(5)
    assert find_learning_rate(trainer) == first


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_suggestion_trains_well(name, make_trainer):
    def loss_with(rate):
        trainer = regression(name, rate, make_trainer, on_nonfinite="skip", skip_limit=10_000)
        trainer.train()
        return trainer.epoch_scores["train/loss"].iloc[-1]

    curve = find_learning_rate(regression(name, 1e-3, make_trainer))
    assert curve.suggestion is not None
    best = min(loss_with(rate) for rate in (1e-4, 1e-3, 1e-2, 3e-2, 1e-1))
    assert loss_with(curve.suggestion) < 1.5 * best


def test_the_rate_rises_exponentially_and_the_loss_is_that_of_training(make_trainer):
    model = TinyModel(dropout=0.0)
    curve = find_learning_rate(
        make_trainer(model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0)), lowest=1e-4, highest=1e-2, steps=21
    )
    assert curve.rates == pytest.approx(np.geomspace(1e-4, 1e-2, 21))
    by_hand = TinyModel(dropout=0.0)
    losses, untrained = [], []
    for rate, batch in zip(
        curve.rates, (b for epoch in range(1, 7) for b in tiny_loader().batches(epoch)), strict=False
    ):
        untrained.append(model(batch)["loss"].item())
        loss = by_hand(batch)["loss"]
        by_hand.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in by_hand.parameters():
                parameter -= rate * parameter.grad
        losses.append(loss.item())
    corrected = np.array(losses) - untrained + np.mean(untrained)
    weights = [0.9 ** np.arange(n, -1, -1) for n in range(21)]
    expected = [float(w @ corrected[: len(w)] / w.sum()) for w in weights]
    assert curve.losses == pytest.approx(expected, rel=1e-5)


def test_groups_keep_the_ratio_of_their_rates(make_trainer):
    model = TinyModel(dropout=0.0)
    linear = model.layers[1]
    optimizer = Watched([{"params": [linear.weight], "lr": 0.01}, {"params": [linear.bias], "lr": 0.1}])
    curve = find_learning_rate(make_trainer(model, optimizer=optimizer), steps=20)
    assert [high for _, high in optimizer.seen] == pytest.approx(curve.rates)
    assert [low for low, _ in optimizer.seen] == pytest.approx([rate / 10 for rate in curve.rates])
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]


def test_a_learning_rate_in_a_tensor_stays_the_same_tensor(make_trainer):
    model = TinyModel(dropout=0.0)
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, foreach=False)
    assert find_learning_rate(make_trainer(model, optimizer=optimizer)).suggestion is not None
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


def test_accumulated_batches_make_one_step(make_trainer):
    model = Sizes()
    optimizer = Watched(model.parameters(), lr=0.1)
    find_learning_rate(make_trainer(model, optimizer=optimizer, accumulate=3), steps=20)
    assert len(optimizer.seen) == 20
    assert len(model.sizes) == 2 * 60  # once before any step, and once with the steps


def test_it_ends_when_the_loss_explodes(make_trainer):
    model = TinyModel(dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    curve = find_learning_rate(make_trainer(model, optimizer=optimizer), highest=1e9)
    assert len(curve.rates) == len(curve.losses) < 100
    assert curve.losses[-1] > 4 * min(curve.losses)
    assert curve.losses[-2] <= 4 * min(curve.losses)
    assert curve.suggestion is not None
    assert 1e-4 < curve.suggestion < 1


def test_a_loss_that_is_not_finite_ends_it(make_trainer):
    class Broken(TinyModel):
        def forward(self, batch):
            output = super().forward(batch)
            with torch.no_grad():
                moved = self.layers[1].weight.abs().sum() > 0.5
            return {**output, "loss": output["loss"] * (math.nan if moved else 1.0)}

    curve = find_learning_rate(make_trainer(Broken()))
    assert 0 < len(curve.losses) < 100
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_a_loss_that_never_falls_suggests_nothing(make_trainer):
    class Unmoved(TinyModel):
        def forward(self, batch):
            output = super().forward(batch)
            return {**output, "loss": 0.0 * output["loss"] + 1.0}

    curve = find_learning_rate(make_trainer(Unmoved()))
    assert curve.suggestion is None
    assert len(curve.plot().axes[0].lines) == 1


def test_the_curve_is_a_frame_and_a_plot_with_the_suggestion():
    curve = LearningRateCurve((0.1, 0.2, 0.4), (3.0, 2.0, 1.0), 0.2)
    assert curve.frame().to_dict("list") == {"learning_rate": [0.1, 0.2, 0.4], "loss": [3.0, 2.0, 1.0]}
    axes = curve.plot().axes[0]
    assert axes.get_xscale() == "log"
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.1, 0.2, 0.4], [0.2]]
    assert axes.get_legend().get_texts()[0].get_text() == "suggestion: 0.2"


def test_the_sizes_double_up_to_the_samples_and_every_batch_is_full(make_trainer):
    model = Sizes()
    table = find_batch_size(make_trainer(model, tiny_loader(70)), lowest=8, steps=3)
    assert [row.batch_size for row in table.rows] == [8, 16, 32, 64]
    assert model.sizes == [8] * 5 + [16] * 5 + [32] * 5 + [64] * 5
    assert table.too_large is None
    assert all(row.peak_memory is None and row.seconds_per_step > 0 for row in table.rows)
    assert table.rows[1].samples_per_second == pytest.approx(16 / table.rows[1].seconds_per_step)


def test_the_sizes_stay_within_the_bound(make_trainer):
    table = find_batch_size(make_trainer(), lowest=5, highest=39, steps=1)
    assert [row.batch_size for row in table.rows] == [5, 10, 20]


def test_fewer_samples_than_the_lowest_size_make_one_batch(make_trainer):
    assert find_batch_size(make_trainer(loader=tiny_loader(9)), steps=1).largest == 9


def test_it_ends_when_the_memory_is_exhausted(make_trainer):
    trainer = make_trainer(Narrow(40), tiny_loader(1000))
    before = everything_of(trainer)
    table = find_batch_size(trainer, steps=1)
    assert (table.largest, table.too_large) == (32, 64)
    assert everything_of(trainer) == before


def test_a_memory_that_takes_nothing_is_told(make_trainer):
    with pytest.raises(OutOfMemoryError, match="exhausted with batches of 16 samples already: start with a lower"):
        find_batch_size(make_trainer(Narrow(15)))


def test_limits_of_the_trainer_do_not_limit_the_sizes(make_trainer):
    trainer = make_trainer(fast_dev_run=True)
    assert find_batch_size(trainer, highest=64, steps=1).largest == 64


@pytest.mark.parametrize("accumulate", [1, 2])
def test_data_sets_of_either_kind_work(accumulate, make_trainer):
    options = {"accumulate": accumulate}
    known = find_batch_size(
        make_trainer(loader=DataLoader(Samples(100), batch_size=4), **options), highest=512, steps=1
    )
    assert known.largest == 64
    stream = find_batch_size(make_trainer(loader=DataLoader(Stream(), batch_size=4), **options), highest=512, steps=1)
    assert stream.largest == 64
    assert find_learning_rate(make_trainer(loader=DataLoader(Stream(), batch_size=4), **options)).suggestion is not None


def test_an_exception_that_is_none_of_memory_comes_through(make_trainer):
    class Wrong(TinyModel):
        def forward(self, batch):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        find_batch_size(make_trainer(Wrong()))


def row(batch_size, samples_per_second):
    return BatchSizeRow(batch_size, batch_size / samples_per_second, samples_per_second, None)


def test_the_suggestion_is_the_smallest_size_that_is_nearly_the_fastest():
    table = BatchSizeTable((row(16, 500.0), row(32, 905.0), row(64, 1000.0), row(128, 980.0)), 256)
    assert (table.suggestion, table.largest) == (32, 128)
    frame = table.frame()
    assert list(frame.columns) == ["batch_size", "seconds_per_step", "samples_per_second", "peak_memory"]
    assert frame["batch_size"].tolist() == [16, 32, 64, 128]


@pytest.mark.parametrize(
    ("speeds", "ended"),
    [([9, 8, 8], False), ([9, 8, 8, 9], True), ([9, 8, 8, 10], False), ([5, 9, 8, 7], False), ([5, 9, 8, 7, 6], True)],
)
def test_on_the_cpu_it_ends_after_three_sizes_that_are_no_faster(speeds, ended):
    assert _is_no_faster([row(16 * 2**n, float(speed)) for n, speed in enumerate(speeds)], 3) == ended


@pytest.mark.parametrize(
    ("find", "options", "message"),
    [
        (find_learning_rate, {"lowest": 0.0}, "must rise from above 0, not from 0.0 to 1.0"),
        (find_learning_rate, {"lowest": 2.0}, "must rise from above 0, not from 2.0 to 1.0"),
        (find_learning_rate, {"highest": math.inf}, "must rise"),
        (find_learning_rate, {"steps": 19}, "steps must be at least 20, not 19"),
        (find_batch_size, {"lowest": 0}, "lowest must be at least 1 sample, not 0"),
        (find_batch_size, {"highest": 15}, "highest must be at least lowest, 16 samples, not 15"),
        (find_batch_size, {"steps": 0}, "steps must be at least 1, not 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(find, options, message, make_trainer):
    with pytest.raises(UsageError, match=message):
        find(make_trainer(), **options)


class Fixed(BatchLoader):
    """Gives its batches only."""

    def __init__(self, *batches):
        self.given = batches

    def batches(self, epoch, *, start=0, device=None):
        return iter(self.given[start:])

    def __len__(self):
        return len(self.given)


def test_loaders_that_do_not_suffice_are_told(make_trainer):
    with pytest.raises(UsageError, match="Fixed cannot change the size of its batches"):
        find_batch_size(make_trainer(loader=Fixed(*tiny_loader())))
    assert find_learning_rate(make_trainer(loader=Fixed(*tiny_loader()))).suggestion is not None
    with pytest.raises(UsageError, match="gave no batch"):
        find_learning_rate(make_trainer(loader=Fixed()))
    with pytest.raises(UsageError, match="has no samples"):
        find_batch_size(make_trainer(loader=DataLoader(Samples(0), batch_size=4)))
