"""What looks like a secret is masked in messages."""

from __future__ import annotations

from artifact_torch.core.secrets import masked


def test_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "abc123xyz")
    monkeypatch.setenv("ACME_PASSWORD", "short")
    text = "401 for abc123xyz at https://user:hunter2@host.example/path, short of it"
    assert masked(text) == "401 for *** at https://***@host.example/path, short of it"
