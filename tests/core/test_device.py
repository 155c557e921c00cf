"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from artifact_torch import UsageError
from artifact_torch.core.device import resolve_device


def test_auto_takes_an_accelerator_if_there_is_one():
    expected = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    assert resolve_device("auto") == expected


def test_auto_is_the_cpu_where_torch_was_built_for_an_accelerator_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_may_be_a_name_or_a_device(device):
    assert resolve_device(device) == torch.device("cpu")


@pytest.mark.parametrize("device", ["toaster", "cuda:99", ""])
def test_a_device_that_is_not_here_is_refused_with_advice(device):
    with pytest.raises(UsageError, match=r"cannot be used here: .* Use 'cpu' or 'auto'"):
        resolve_device(device)
