"""What training changes in the process and in the model for its time, and puts back whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["kept_surroundings"]

_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


@contextmanager
def kept_surroundings(model: nn.Module, *, deterministic: bool, tell: Callable[[str], None]) -> Generator[None]:
    """Training mode, with gradients; afterwards the modes, hooks and global switches of torch are as before.

    Args:
        model: what is trained.
        deterministic: have torch use deterministic algorithms only, which raises where an operation has none.
        tell: takes a sentence if hooks were left on the model, which are removed.
    """
    modes = [(module, module.training) for module in model.modules()]
    hooks = _hooks_of(model)
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    exact = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses without it
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
        torch.set_grad_enabled(True)
        model.train()
        yield
    finally:
        for module, training in modes:
            module.training = training
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if deterministic:
            torch.use_deterministic_algorithms(exact, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
        if removed := _remove_others(model, hooks):
            tell(f"{removed} hooks of torch were left on the model when training ended, and were removed.")


def _hooks_of(model: nn.Module) -> list[tuple[MutableMapping[int, Any], set[int]]]:
    """The registries of hooks that a module or a parameter has, with the keys of the hooks in each."""
    registries = [getattr(module, name) for module in model.modules() for name in _MODULE_HOOKS]
    registries += [getattr(parameter, name, None) for parameter in model.parameters() for name in _TENSOR_HOOKS]
    return [(registry, set(registry)) for registry in registries if registry is not None]


def _remove_others(model: nn.Module, before: list[tuple[MutableMapping[int, Any], set[int]]]) -> int:
    known = {id(registry): keys for registry, keys in before}
    removed = 0
    for registry, keys in _hooks_of(model):
        for key in keys - known.get(id(registry), set()):
            registry.pop(key)
            removed += 1
    return removed
