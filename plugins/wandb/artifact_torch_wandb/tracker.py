"""The tracker: a run of artifact-torch as a run of Weights & Biases."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from artifact_torch import MirrorTracker, TrackedItem, TrackedKind, TrackedRun, UsageError
from artifact_torch_wandb.login import address, has_login, wants_offline
from artifact_torch_wandb.names import artifact_name, is_cut, key_of, plain_id, plain_project

if TYPE_CHECKING:
    from wandb import Run

    from artifact_torch_wandb.transaction_log import Key

__all__ = ["WandbTracker"]

_SUCCESSES = ("finished", "stopped")


class WandbTracker(MirrorTracker):
    """Mirrors runs in Weights & Biases, online or offline.

    A run's parameters, seed, revision, environment and plugins are in the config; scores, plots and arrays in the
    history, over ``trainer/step`` and with ``epoch``; files and models are artifacts with the aliases ``latest``,
    ``step-N`` and, for the best model, ``best``; the status and the best model's score are in the summary, and the exit
    code is 1 unless training has finished or was stopped. A resumed training goes on in the same run.

    wandb's files are in the folder ``wandb`` of the run directory. What is there but not with the service, because the
    run is offline or the network was slow, ``wandb sync`` brings there. Sign in with ``wandb login`` or the environment
    variable ``WANDB_API_KEY``; the address of a server of one's own is ``WANDB_BASE_URL``.

    Args:
        project: the project; by default the experiment of the run.
        entity: the user or team whose project it is; by default the one that the login says.
        mode: ``"online"`` sends everything at once, ``"offline"`` keeps it here; ``"auto"`` is online if there is a
            login and the environment variable ``WANDB_MODE`` does not say ``offline``.
        checkpoints: whether checkpoints are sent too.
        upload_seconds: how long the end of training may wait for uploads; what takes longer stays for ``wandb sync``.

    Raises:
        UsageError: wandb is not installed, a parameter is not possible, or there is no login for ``"online"``.

    Example::

        trainer = Trainer(model, train_loader, epochs=2, trackers=[WandbTracker(project="tables", mode="offline")])
        result = trainer.train()
        print(list(trainer.run.path.glob("wandb/offline-run-*")))
    """

    def __init__(
        self,
        *,
        project: str | None = None,
        entity: str | None = None,
        mode: Literal["auto", "online", "offline"] = "auto",
        checkpoints: bool = False,
        upload_seconds: float = 30.0,
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise UsageError("WandbTracker needs wandb, which is not installed: pip install wandb.")
        if mode not in ("auto", "online", "offline"):
            raise UsageError(f"The mode {mode!r} of WandbTracker is none: use 'auto', 'online' or 'offline'.")
        if project is not None and project != plain_project(project):
            raise UsageError(
                f"The project {project!r} of WandbTracker cannot be one: it has 1 to 128 characters, none of /\\#?%:."
            )
        if not upload_seconds > 0:
            raise UsageError(f"WandbTracker needs upload_seconds above 0, and not {upload_seconds}.")
        if "@" in address():
            raise UsageError("WANDB_BASE_URL holds a login: leave it out of the address and set WANDB_API_KEY.")
        if mode == "online" and not has_login():
            raise UsageError(
                f"WandbTracker has no login for {address()}: run `wandb login`, set WANDB_API_KEY, "
                "or use mode = 'offline'."
            )
        self.project = project
        self.entity = entity
        self.mode = mode
        self.checkpoints = checkpoints
        self.upload_seconds = upload_seconds
        self.close_seconds = upload_seconds + 10.0
        self._run: Run | None = None
        self._of: TrackedRun | None = None
        self._remembered: dict[str, Any] = {}
        self._there: set[Key] = set()
        self._cut: dict[str, str] = {}

    def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
        self._of = run
        self._remembered = {
            "id": remembered.get("id") or plain_id(run.run_id),
            "project": self.project or remembered.get("project") or plain_project(run.experiment),
        }
        self._start()
        return self._remembered

    def write(self, items: Sequence[TrackedItem]) -> None:
        from artifact_torch_wandb.session import wait_until_safe

        run = self._run or self._start()
        wanted = [item for item in items if self.checkpoints or item.kind is not TrackedKind.CHECKPOINT]
        rows, files = self._rows_and_files(wanted)
        try:
            self._name_those_cut(run, wanted)
            for row in rows:
                run.log(row)
            for item in files:
                self._log_artifact(run, item)
            wait_until_safe(run)
        except BaseException:
            # wandb's own process may be gone. The next call starts another, and reads what this one has written.
            self._run = None
            with contextlib.suppress(Exception):
                run.finish(exit_code=1)
            raise

    def close(self, run: TrackedRun) -> None:
        self._of = run
        mirror, self._run = self._run or self._start(), None
        mirror.config.update(self._config(run), allow_val_change=True)
        mirror.tags = tuple(run.tags)
        mirror.summary.update({"run/status": run.status, "run/reason": run.reason, **_best(run)})
        mirror.finish(exit_code=0 if run.status in _SUCCESSES else 1)
        self._there = set()

    # The parts.

    @property
    def _is_online(self) -> bool:
        return self.mode == "online" or (self.mode == "auto" and has_login() and not wants_offline())

    def _start(self) -> Run:
        """Begin a run of wandb or go on with it; what its files hold already is not written twice."""
        from artifact_torch_wandb.session import started
        from artifact_torch_wandb.transaction_log import STEP, keys_in

        assert self._of is not None
        self._there = keys_in(self._of.path / "wandb")
        run = started(
            folder=self._of.path,
            run_id=self._remembered["id"],
            name=self._of.run_id,
            project=self._remembered["project"],
            entity=self.entity,
            mode="online" if self._is_online else "offline",
            config=self._config(self._of),
            tags=self._of.tags,
            upload_seconds=self.upload_seconds,
        )
        run.define_metric(STEP, hidden=True)
        run.define_metric("*", step_metric=STEP)
        self._run = run
        return run

    def _config(self, run: TrackedRun) -> dict[str, Any]:
        about = {
            "run_id": run.run_id,
            "experiment": run.experiment,
            "created": run.created,
            "seed": run.seed,
            "revision": run.revision,
            "environment": dict(run.environment),
            "plugins": list(run.plugins),
        }
        return {**run.params, "artifact_torch": about, **{f"name of {key}": name for key, name in self._cut.items()}}

    def _name_those_cut(self, run: Run, items: Sequence[TrackedItem]) -> None:
        keys = {key: item.full_name for item in items if is_cut(key := key_of(item))}
        if keys.keys() - self._cut.keys():
            self._cut |= keys
            run.config.update({f"name of {key}": name for key, name in keys.items()}, allow_val_change=True)

    def _rows_and_files(self, items: Sequence[TrackedItem]) -> tuple[list[dict[str, Any]], list[TrackedItem]]:
        """The rows of the history, one for each step unless a name is there twice, and what belongs into artifacts."""
        from artifact_torch_wandb.transaction_log import EPOCH, STEP, TIME, score_key
        from artifact_torch_wandb.values import value_of

        rows: dict[tuple[int, int, int], dict[str, Any]] = {}
        files: list[TrackedItem] = []
        for item in items:
            key = key_of(item)
            if score_key(key, item.step, item.value) in self._there:
                continue
            value = value_of(item)
            if value is None:
                files.append(item)
                continue
            number = 0
            while key in (row := rows.setdefault((item.step, item.epoch, number), {})):
                number += 1
            row.update({STEP: item.step, EPOCH: item.epoch, TIME: row.get(TIME, item.time), key: value})
        return list(rows.values()), files

    def _log_artifact(self, run: Run, item: TrackedItem) -> None:
        import wandb

        from artifact_torch_wandb.transaction_log import version_key

        assert item.path is not None
        name = artifact_name(item.name if item.kind is not TrackedKind.ARRAY else item.full_name, run.id)
        if version_key(name, item.step) in self._there:
            return
        metadata = {"name": item.name, "split": item.split, "epoch": item.epoch, "step": item.step}
        artifact = wandb.Artifact(name, type=_type_of(item), metadata=metadata)
        if item.path.is_dir():
            for path in sorted(item.path.rglob("*")):  # add_dir prints
                if path.is_file():
                    artifact.add_file(str(path), name=path.relative_to(item.path).as_posix())
        else:
            artifact.add_file(str(item.path))
        aliases = ["latest", f"step-{item.step}", *(["best"] if item.name == "best_model" else [])]
        run.log_artifact(artifact, aliases=aliases)


def _type_of(item: TrackedItem) -> str:
    return "model" if item.kind is TrackedKind.FILE and item.name in ("model", "best_model") else str(item.kind)


def _best(run: TrackedRun) -> dict[str, Any]:
    """The best of the models that a model tracker has kept."""
    kept = run.record.get("best_models") or []
    return {f"best/{field}": kept[0][field] for field in ("score", "epoch", "step")} if kept else {}
