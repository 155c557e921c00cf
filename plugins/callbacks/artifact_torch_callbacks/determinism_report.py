"""What it rests on that a training can be repeated to the bit."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from artifact_torch import Callback, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["DeterminismReport", "differences", "digest"]

_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
)

logger = logging.getLogger("artifact_torch")


class DeterminismReport(Callback):
    """Records what the numbers of a run depend on, and says what would make two runs differ.

    ``determinism`` in ``run.json`` has the seeds, the settings of torch, CUDA and cuDNN, the number of threads, the
    variables of the environment that matter, and hashes (SHA-256) of the weights with which training began and with
    which it ended. Each thing that would make two such runs differ is one sentence there, and in the log. They are no
    errors: whether the last bits matter is for you to say.

    Two runs whose initial hashes differ did not begin with the same model: seed torch before it is built. Two whose
    initial hashes and settings are the same, and whose final ones differ, had one of the causes that are told, other
    data or other code.

    It copies the weights to the CPU once at the start and once at the end, and takes nothing in between. A resumed
    training keeps the initial hash of the one that it goes on with.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, seed=7, callbacks=[DeterminismReport()])
        trainer.train()
        print(trainer.run.record["determinism"]["final_weights"])
    """

    def __init__(self) -> None:
        self._initial: str | None = None
        self._report: dict[str, Any] = {}

    @hookimpl(trylast=True)  # others may set what is reported
    def on_train_start(self, trainer: Trainer) -> None:
        if trainer.state.step == 0 and trainer.state.batch_in_epoch == 0:
            self._initial = digest(trainer.model)
        facts = _facts(trainer)
        sentences = differences(facts)
        self._report = {
            **facts,
            "differences": sentences,
            "begun_at_step": trainer.state.step,
            "initial_weights": self._initial,
            "final_weights": None,
        }
        trainer.run.update(determinism=self._report)
        logger.info("The seed is %d; the initial weights are %s.", trainer.seed, _short(self._initial))
        for sentence in sentences:
            logger.info("Two runs would differ: %s", sentence)

    @hookimpl
    def on_train_end(self, trainer: Trainer) -> None:
        if not self._report:
            return  # it never began
        self._report["final_weights"] = digest(trainer.model)
        trainer.run.update(determinism=self._report)
        logger.info("The weights after step %d are %s.", trainer.state.step, _short(self._report["final_weights"]))
        self._report = {}

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {"initial_weights": self._initial}

    @hookimpl
    def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
        self._initial = state["initial_weights"]


def digest(model: nn.Module) -> str:
    """The SHA-256 of a model's tensors: their names, types, shapes and bits."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            numbers = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
            found.update(numbers.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def differences(facts: Mapping[str, Any]) -> list[str]:
    """A sentence on each of these facts that would make two runs differ."""
    device, settings, variables = facts["device"], facts["torch"], facts["environment"]
    sentences: list[str] = []
    if device != "cpu" and not settings["deterministic_algorithms"]:
        sentences.append(
            f"some operations on {device} add numbers in another order each time, which changes their last bits; train "
            "with deterministic=True."
        )
    if device == "cuda":
        if facts["cudnn"]["benchmark"]:
            sentences.append(
                "cuDNN times its algorithms and takes the fastest, which may be another one each time; set "
                "torch.backends.cudnn.benchmark = False, or train with deterministic=True."
            )
        if variables["CUBLAS_WORKSPACE_CONFIG"] not in (":4096:8", ":16:8"):
            sentences.append(
                "cuBLAS may share its workspace between streams and add in another order; set the environment variable "
                "CUBLAS_WORKSPACE_CONFIG=:4096:8, or train with deterministic=True."
            )
        if facts["cuda"]["allow_tf32"] or facts["cuda"]["fp32_precision"] == "tf32" or facts["cudnn"]["allow_tf32"]:
            sentences.append(
                "float32 products are made in TF32 where the GPU has it, so another kind of GPU gives other numbers; "
                "switch allow_tf32 off in torch.backends.cuda.matmul and torch.backends.cudnn."
            )
    if device == "cpu" and settings["threads"] > 1 and variables["OMP_NUM_THREADS"] is None:
        sentences.append(
            f"sums are split over {settings['threads']} threads, as many as the machine gives, and other parts have "
            "other last bits; set the environment variable OMP_NUM_THREADS."
        )
    if variables["PYTHONHASHSEED"] in (None, "random"):
        sentences.append(
            "Python orders sets of texts differently in each process, which matters if the data or the model depend on "
            "such an order; set the environment variable PYTHONHASHSEED."
        )
    sentences += [
        f"the plugin {name!r} changes training by how fast the machine is; give what it chooses, or a period of steps."
        for name in facts["plugins_by_the_clock"]
    ]
    return sentences


def _facts(trainer: Trainer) -> dict[str, Any]:
    loader: Any = trainer.train_loader
    while not hasattr(loader, "num_workers") and hasattr(loader, "loader"):  # one around another
        loader = loader.loader
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "seed": trainer.seed,
        "loader_seed": trainer.train_loader.description().get("seed"),
        "loader_workers": getattr(loader, "num_workers", None),
        "deterministic": trainer.deterministic,
        "device": trainer.device.type,
        "compile": trainer.is_compiled,
        "torch": {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "float32_matmul_precision": _setting(torch.get_float32_matmul_precision),
        },
        "cuda": {
            "version": torch.version.cuda,
            "allow_tf32": _setting(lambda: cuda.allow_tf32),
            "fp32_precision": getattr(cuda, "fp32_precision", None),  # since torch 2.9
        },
        "cudnn": {
            "version": cudnn.version(),
            "benchmark": cudnn.benchmark,
            "deterministic": cudnn.deterministic,
            "allow_tf32": _setting(lambda: cudnn.allow_tf32),
        },
        "environment": {name: os.environ.get(name) for name in _VARIABLES},
        "plugins_by_the_clock": _by_the_clock(trainer),
    }


def _setting(read: Callable[[], Any]) -> Any:
    """A setting of torch; None if it was set by another interface of torch, with which this one refuses to be mixed."""
    try:
        return read()
    except RuntimeError:
        return None


def _by_the_clock(trainer: Trainer) -> list[str]:
    """The plugins that change training and decide by time."""
    from artifact_torch_callbacks.batch_size_finder import BatchSizeFinder

    plugins = {each.plugin.name: each.plugin for each in trainer.hooks.all_functions() if each.plugin.changes_training}
    return sorted(
        name
        for name, plugin in plugins.items()
        if isinstance(plugin.implementation, BatchSizeFinder)
        or (plugin.batch_period is not None and plugin.batch_period.unit == "seconds")
    )


def _short(hashed: str | None) -> str:
    return "not known" if hashed is None else hashed[:16]
