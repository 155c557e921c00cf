"""Small real parts for the tests of plugins: a model that trains in milliseconds, its data, a recorder of hooks."""

from artifact_torch.testing.parts import HookRecorder, TinyInput, TinyModel, TinyOutput, tiny_loader

__all__ = ["HookRecorder", "TinyInput", "TinyModel", "TinyOutput", "tiny_loader"]
