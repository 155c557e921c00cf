"""Starts runs of wandb that keep to themselves: nothing printed, asked, hooked or captured."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Run, Settings

__all__ = ["started", "wait_until_safe"]

_FLUSH_SECONDS = 0.05
"""How often wandb's own process writes to its file; by default it does every 15 seconds."""

_starting = threading.Lock()


def started(
    *,
    folder: Path,
    run_id: str,
    name: str,
    project: str,
    entity: str | None,
    mode: str,
    config: Mapping[str, Any],
    tags: Sequence[str],
    upload_seconds: float,
) -> Run:
    """Begin a run, or go on with it.

    Args:
        folder: where wandb's own folder ``wandb`` is made.
        run_id: the id; a run that has it already goes on.
        name: what the run is called.
        project: its project.
        entity: whose project; the user's if it is None.
        mode: ``online`` or ``offline``.
        config: what stands in the run's config.
        tags: short texts.
        upload_seconds: how long the end of the run waits for uploads.

    Raises:
        Exception: whatever wandb raises, such as when the service cannot be reached.
    """
    # Reports of its own failures go to the service, also in offline mode.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # A process that has used wandb leaves its service to those it starts. There, a run that was killed stays in use for
    # as long as the other process lives, and could not go on; so each process has a service of its own.
    if f"-{os.getpid()}-" not in os.environ.get("WANDB_SERVICE", ""):
        os.environ.pop("WANDB_SERVICE", None)
    import wandb

    settings = _settings(upload_seconds)
    with _starting, _unnoticed(settings):
        try:
            return wandb.init(
                dir=str(folder),
                id=run_id,
                name=name,
                project=project,
                entity=entity,
                mode="online" if mode == "online" else "offline",
                config=dict(config),
                allow_val_change=True,
                tags=tags,
                resume="allow",
                reinit="create_new",
                save_code=False,
                settings=settings,
            )
        except Exception as error:
            if isinstance(error, ConnectionError) or type(error).__name__ == "MailboxClosedError":
                # wandb's own process is gone, and with it all runs of this process; the next try starts another one.
                with contextlib.suppress(Exception):
                    wandb.teardown()
            raise


def wait_until_safe(run: Run) -> None:
    """Wait until everything that was logged is in the run's file.

    wandb only puts what is logged on its way to a process of its own, and says nothing if that has died.

    Raises:
        Exception: that process is gone.
    """
    run.status()  # answered once all that came before has been taken
    time.sleep(2 * _FLUSH_SECONDS)
    run.status()  # it has lived to write it


def _settings(upload_seconds: float) -> Settings:
    """Settings, as far as the installed version has them."""
    import wandb

    wanted: dict[str, Any] = {
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "disable_job_creation": True,
        "finish_timeout": upload_seconds,
        "finish_timeout_raises": True,
        "init_timeout": 20.0,
        "quiet": True,
        "silent": True,
        "show_errors": False,
        "show_warnings": False,
        "use_dot_wandb": False,
        # The run directory says what the machine and its packages are; wandb would look again, at each start.
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
        "x_graphql_retry_max": 1,
        "x_graphql_timeout_seconds": 10.0,
        "x_transaction_log_flush_interval": _FLUSH_SECONDS,
    }
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in wandb.Settings.model_fields})


@contextlib.contextmanager
def _unnoticed(settings: Settings) -> Generator[None]:
    """Keep wandb's messages back, and take back what it puts in place of the interpreter's ways out."""
    import wandb

    leave, excepthook = sys.exit, sys.excepthook
    users = wandb.setup().settings
    wandb.termsetup(settings, None)
    try:
        yield
    finally:
        wandb.termsetup(users, None)
        sys.exit, sys.excepthook = leave, excepthook
