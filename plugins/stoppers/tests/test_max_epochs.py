from __future__ import annotations

from pathlib import Path

import pytest
from artifact_torch_stoppers import MaxEpochs

from artifact_torch import EarlyStopper, RunDirectory, Trainer, UsageError, registry
from artifact_torch.testing import TinyModel, tiny_loader


def trained(root: Path, *, epochs: int, stoppers: list[EarlyStopper | str]) -> Trainer:
    run = RunDirectory.create(root=root)
    trainer = Trainer(TinyModel(), tiny_loader(), epochs=epochs, stoppers=stoppers, run=run, device="cpu")
    trainer.train()
    return trainer


def test_is_found_by_name() -> None:
    assert registry.get("stoppers", "max_epochs") is MaxEpochs


def test_training_stops_when_the_epochs_are_done(tmp_path: Path) -> None:
    trainer = trained(tmp_path, epochs=10, stoppers=[MaxEpochs(epochs=3)])
    assert trainer.state.epochs_completed == 3
    assert trainer.stop_reason == "MaxEpochs: 3 epochs are done"


def test_one_epoch_is_worded_as_one(tmp_path: Path) -> None:
    assert trained(tmp_path, epochs=10, stoppers=[MaxEpochs(epochs=1)]).stop_reason == "MaxEpochs: 1 epoch is done"


def test_the_bound_of_the_trainer_stays_in_force(tmp_path: Path) -> None:
    trainer = trained(tmp_path, epochs=2, stoppers=[MaxEpochs(epochs=3)])
    assert trainer.state.epochs_completed == 2
    assert trainer.stop_reason == "all 2 epochs are done"


@pytest.mark.parametrize("epochs", [0, -1])
def test_a_bound_below_one_is_refused(epochs: int) -> None:
    with pytest.raises(UsageError, match=rf"at least 1 epoch, not {epochs}\."):
        MaxEpochs(epochs=epochs)
