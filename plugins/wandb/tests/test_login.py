"""Runs go to the service only if there is a login, and what is wrong with the parameters is said at once."""

from __future__ import annotations

import importlib.util

import pytest
from artifact_torch_wandb import WandbTracker
from artifact_torch_wandb.login import has_login, wants_offline

from artifact_torch import UsageError


def test_without_a_login_there_is_none():
    assert not has_login()
    assert not wants_offline()


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_a_login_in_the_environment_is_found(monkeypatch, name):
    monkeypatch.setenv(name, "something")
    assert has_login()


def test_a_login_that_wandb_has_written_down_is_found(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    assert has_login()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not has_login()
    file.write_text("machine wandb.example.org:8080\n  login user\n  password secret\n")
    assert has_login()
    file.write_text("this is no netrc")
    assert not has_login()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "onlin"}, "The mode 'onlin' of WandbTracker is none"),
        ({"mode": "online"}, "WandbTracker has no login for https://api.wandb.ai: run `wandb login`"),
        ({"project": "a/b"}, "The project 'a/b' of WandbTracker cannot be one"),
        ({"project": ""}, "The project '' of WandbTracker cannot be one"),
        ({"upload_seconds": 0}, "upload_seconds above 0, and not 0"),
        ({"upload_seconds": float("nan")}, "upload_seconds above 0, and not nan"),
    ],
    ids=str,
)
def test_a_parameter_that_is_wrong_is_refused(parameters, message):
    with pytest.raises(UsageError, match=message.replace("\\", r"\\")):
        WandbTracker(**parameters)


def test_a_login_within_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://user:secret@wandb.example.org")
    with pytest.raises(UsageError, match="set WANDB_API_KEY") as caught:
        WandbTracker()
    assert "secret" not in str(caught.value)


def test_that_wandb_is_missing_is_said_at_once(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(UsageError, match="pip install wandb"):
        WandbTracker()
