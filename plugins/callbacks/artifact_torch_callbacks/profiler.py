"""What the operations of a few steps take."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact_torch import Callback, UsageError, hookimpl

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEventAvg
    from torch.profiler import profile

    from artifact_torch import Trainer

__all__ = ["Profiler"]

_NEVER = 2**63
_TABLE_ROWS = 100
_NAME_WIDTH = 60
_DEVICES = ("cuda", "xpu")  # which the profiler knows
_STEP = "ProfilerStep"

logger = logging.getLogger("artifact_torch")


class Profiler(Callback):
    """Records what each operation of a few steps takes, with ``torch.profiler``, once in a training.

    After the window there is a folder ``profile`` in the run directory, with

    - ``steps-8-12.json``, the trace, for https://ui.perfetto.dev or ``chrome://tracing``: every operation on its
      thread or device, at its time;
    - ``steps-8-12.txt``, a table of the operations, the most expensive ones first;

    and the first lines of the table, shortened, are in the log::

        Steps 8 to 12 took 99.5 ms; of that, these operations took most (profile/steps-8-12.txt has all):
           share       a step  calls  operation
           31.2%     6.204 ms     30  aten::addmm
           12.9%     2.571 ms      5  Optimizer.step#Adam.step
            9.6%     1.913 ms      5  outside of operations

    A step is all from the end of one optimizer step to the end of the next: loading, hooks, what is logged, and a
    validation if one is due. On an accelerator, the times are those on it. While the profiler is warm or records, steps
    are slower, and each costs some megabytes of memory; in all others it is one comparison of two numbers a batch. If
    training ends or fails within the window, what was recorded until then is written. A training that is resumed after
    the window is not profiled again.

    Args:
        wait: how many steps to let pass first, when training begins or is resumed: the first ones are unlike others.
        warmup: for how many steps, at least 1, the profiler then runs without recording, because its own start takes
            time.
        active: how many steps are recorded.
        start: the step, counted from 1 over the whole training, before which the warm-up does not begin.
        rows: how many operations are listed in the log; 0 for none.
        shapes: whether the shapes of inputs are recorded, and operations listed by them.
        memory: whether the memory that operations allocate and free is recorded.
        stack: whether the line of Python that called an operation is recorded; it makes steps much slower.

    Raises:
        UsageError: a number is out of range.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[Profiler(wait=2, warmup=1, active=4)])
        trainer.train()
        print((trainer.run.path / "profile" / "steps-4-7.txt").read_text())
    """

    def __init__(
        self,
        *,
        wait: int = 5,
        warmup: int = 2,
        active: int = 5,
        start: int = 1,
        rows: int = 10,
        shapes: bool = False,
        memory: bool = False,
        stack: bool = False,
    ) -> None:
        for name, number, least in (
            ("wait", wait, 0),
            ("warmup", warmup, 1),
            ("active", active, 1),
            ("start", start, 1),
            ("rows", rows, 0),
        ):
            if number < least:
                raise UsageError(f"{name} of Profiler must be at least {least}, not {number}.")
        self.wait = wait
        self.warmup = warmup
        self.active = active
        self.start = start
        self.rows = rows
        self.shapes = shapes
        self.memory = memory
        self.stack = stack
        self._is_done = False
        self._next = _NEVER  # completed steps from which on there is something to do
        self._first = 0  # the first step that is recorded
        self._running: profile | None = None
        self._device = "cpu"

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        step = trainer.state.step
        self._is_done = self._is_done and step > 0  # another training
        self._next = _NEVER
        if not self._is_done:
            self._next = max(self.start - 1, step + self.wait)
            self._first = self._next + self.warmup + 1
            self._device = trainer.device.type
            if self._next == step:
                self._begin()

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if step < self._next:  # so it is in a batch too that completes no step: its step was dealt with
            return
        if self._running is None:
            self._begin()
        else:
            self._next = step + 1
            self._running.step()
            if step == self._first + self.active - 1:
                self._end(trainer, step)

    @hookimpl
    def on_train_end(self, trainer: Trainer) -> None:
        waited, self._next = self._next < _NEVER, _NEVER
        step = trainer.state.step
        if self._running is not None:
            self._end(trainer, step)
        elif waited:
            self._tell_nothing(step)

    @hookimpl
    def on_save_checkpoint(self) -> Mapping[str, Any]:
        return {"is_done": self._is_done}

    @hookimpl
    def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
        self._is_done = state["is_done"]

    def _begin(self) -> None:
        from torch.profiler import ProfilerActivity, profile, schedule

        of_device = [getattr(ProfilerActivity, self._device.upper())] if self._on_device else []
        self._running = profile(
            activities=[ProfilerActivity.CPU, *of_device],
            schedule=schedule(wait=0, warmup=self.warmup, active=self.active, repeat=1),
            record_shapes=self.shapes,
            profile_memory=self.memory,
            with_stack=self.stack,
        )
        self._next += 1
        self._running.__enter__()

    def _end(self, trainer: Trainer, last: int) -> None:
        """Stop, and write what was recorded of the steps up to ``last``, be it all or not."""
        running, self._running, self._next = self._running, None, _NEVER
        assert running is not None  # it was begun
        running.__exit__(None, None, None)
        if last < self._first:
            self._tell_nothing(last)
            return
        self._is_done = True
        folder = trainer.run.path / "profile"
        name = f"steps-{self._first}-{last}"
        try:
            folder.mkdir(exist_ok=True)
            self._write(running, folder, name)
        except (OSError, RuntimeError) as error:
            logger.warning("The profile of %s cannot be written to %s: %s. Training goes on.", name, folder, error)
            return
        trainer.track_file("profile", folder)
        if self.rows:
            logger.info("%s", self._summary(running, last))

    def _write(self, running: profile, folder: Path, name: str) -> None:
        working = folder / f".{name}.json"
        try:
            running.export_chrome_trace(str(working))
            working.replace(folder / f"{name}.json")
        finally:
            with contextlib.suppress(OSError):
                working.unlink()
        averages = running.key_averages(group_by_input_shape=self.shapes)
        table = averages.table(sort_by=self._time, row_limit=_TABLE_ROWS, max_name_column_width=_NAME_WIDTH)
        (folder / f"{name}.txt").write_text(table, encoding="utf-8")

    @property
    def _on_device(self) -> bool:
        return self._device in _DEVICES

    @property
    def _time(self) -> str:
        """What operations are ordered by: time on the accelerator, if there is one."""
        return "self_device_time_total" if self._on_device else "self_cpu_time_total"

    def _summary(self, running: profile, last: int) -> str:
        steps = last - self._first + 1
        averages = list(running.key_averages())
        whole = sum(each.cpu_time_total for each in averages if each.key.startswith(_STEP))
        lines: list[str] = []
        for each in sorted(averages, key=self._microseconds, reverse=True)[: self.rows]:
            time = self._microseconds(each)
            name = "outside of operations" if each.key.startswith(_STEP) else each.key
            lines.append(f"  {time / max(whole, 1e-9):>6.1%}  {time / steps / 1e3:>8.3f} ms  {each.count:>5}  {name}")
        return "\n".join(
            [
                f"Steps {self._first} to {last} took {whole / 1e3:.3g} ms; of that, these operations took most "
                f"(profile/steps-{self._first}-{last}.txt has all):",
                f"  {'share':>6}  {'a step':>11}  calls  operation",
                *lines,
            ]
        )

    def _microseconds(self, average: FunctionEventAvg) -> float:
        """What an operation took, without those that it called."""
        is_mark = getattr(average, "is_user_annotation", False)  # which spans operations on the device
        return 0.0 if is_mark and self._on_device else float(getattr(average, self._time))

    def _tell_nothing(self, last: int) -> None:
        logger.warning(
            "Nothing was profiled: training ended after step %d, and step %d is the first to be recorded. Give the "
            "profiler a smaller start, wait or warmup.",
            last,
            self._first,
        )
