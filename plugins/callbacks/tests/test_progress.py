from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import Loss, Progress
from artifact_torch_callbacks.wording import number, shown_scores

from artifact_torch import (
    ArtifactKind,
    Callback,
    DataLoader,
    EarlyStopper,
    IterableDataset,
    ScoreCallback,
    ScoreCollectionCallback,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader


class Constant(ScoreCallback):
    def reset(self) -> None:
        pass

    def update(self, batch: Any, model_output: Any) -> None:
        pass

    def compute(self) -> float:
        return 0.25


class PerColumn(ScoreCollectionCallback):
    def reset(self) -> None:
        pass

    def update(self, batch: Any, model_output: Any) -> None:
        pass

    def compute(self) -> Mapping[str, float]:
        return {"first": 1.0, "second": 2.0}


class At(Callback):
    """Does something after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step = step
        self.action = action

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            self.action()


class StopAfter(EarlyStopper):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def check(self, trainer: Trainer) -> str | None:
        return "enough" if trainer.state.epochs_completed >= self.epochs else None


class Samples(IterableDataset[Any]):
    """64 samples whose number nobody knows."""

    def __iter__(self) -> Iterator[Any]:
        for _ in range(64):
            features = torch.ones(3)
            yield {"features": features, "target": features.sum(dim=0, keepdim=True)}


class Terminal:
    """A real pseudo-terminal in the place of stderr.

    Attributes:
        text: everything that was written to it.
    """

    def __init__(self, columns: int) -> None:
        self._reading, self._writing = pty.openpty()
        fcntl.ioctl(self._writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read)

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode().replace("\r\n", "\n")

    @property
    def drawn(self) -> list[str]:
        """Every state of a line, in order."""
        return [state.rstrip() for state in re.split(r"[\r\n]", self.text) if state.strip()]

    @property
    def screen(self) -> list[str]:
        """The lines that one sees in the end: what is written after a carriage return replaces what stood there."""
        lines: list[str] = []
        for line in self.text.split("\n"):
            shown = ""
            for state in line.split("\r"):
                shown = state + shown[len(state) :]
            lines.append(shown.rstrip())
        return lines

    @contextmanager
    def as_stderr(self) -> Iterator[Terminal]:
        before = sys.stderr
        self._reader.start()
        try:
            with open(self._writing, "w", encoding="utf-8", closefd=False) as sys.stderr:
                yield self
        finally:
            sys.stderr = before
            os.close(self._writing)
            self._reader.join(timeout=10)
            os.close(self._reading)

    def _read(self) -> None:
        try:
            while chunk := os.read(self._reading, 65536):
                self._chunks.append(chunk)
        except OSError:  # the other end is closed
            return


@pytest.fixture(autouse=True)
def _runs_in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(tmp_path))


def new_trainer(
    *callbacks: Callback | str, epochs: int = 3, loader: Any = None, period: int = 1, **options: Any
) -> Trainer:
    loader = tiny_loader() if loader is None else loader
    validation = ValidationRoutine(period=period, val_loader=tiny_loader(16))
    options = {"validation": validation, "device": "cpu", **options}
    return Trainer(TinyModel(), loader, epochs=epochs, callbacks=callbacks, **options)


def on_terminal(trainer: Trainer, columns: int = 120) -> Terminal:
    with Terminal(columns).as_stderr() as terminal:
        trainer.train()
    return terminal


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def is_aligned(lines: Sequence[str], pattern: str) -> bool:
    return len({match.span() for line in lines for match in [re.search(pattern, line)] if match}) == 1


PACE = r"(, [\d,.]+ steps/s)?(, waits \d+% for data)?"


# Lines.


def test_is_found_by_name_and_writes_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert components.get("callbacks", "progress") is Progress
    trainer = new_trainer("progress", Constant("constant"))
    trainer.train()
    lines = lines_of(capsys)
    losses = [number(loss) for loss in trainer.epoch_scores["train/loss"]]
    assert len(lines) == 3
    for epoch, (line, loss) in enumerate(zip(lines, losses, strict=True), start=1):
        left = "" if epoch == 3 else r", \d+\.\d s left"
        beginning = rf"epoch {epoch}/3  loss +{loss}  \d+\.\d s{left} +[\d,]+ steps/s  validation/constant +0\.2500"
        assert re.fullmatch(beginning + r"(  waits \d+% for data)?", line)


def test_lines_are_aligned_and_blank_where_nothing_was_validated(capsys: pytest.CaptureFixture[str]) -> None:
    new_trainer(Progress(), Constant("constant"), epochs=10, period=4).train()
    lines = lines_of(capsys)
    assert [number for number, line in enumerate(lines, start=1) if "constant" in line] == [4, 8, 10]
    assert is_aligned(lines, r"epoch [ \d]\d/10  loss")
    assert is_aligned(lines[3:], r" \d+\.\d s(?=$|, )")


def test_only_three_scores_are_shown_and_none_of_a_collection(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d"]
    new_trainer("progress", PerColumn("per_column"), *(Constant(name) for name in names), epochs=1).train()
    (line,) = lines_of(capsys)
    assert "per_column" not in line
    assert len(re.findall(r"validation/[a-d] ", line)) == 3


def test_validation_scores_come_before_those_of_training() -> None:
    names = ["train/loss", "train/a", "train/b", "train/c", "validation/items/x", "validation/loss"]
    assert shown_scores(names) == ["validation/loss", "train/a", "train/b"]


def test_lines_go_on_where_a_resumed_training_stands(capsys: pytest.CaptureFixture[str]) -> None:
    first = new_trainer(epochs=2)
    first.train()
    resumed = new_trainer("progress", epochs=4)
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert [line[:9] for line in lines_of(capsys)] == ["epoch 3/4", "epoch 4/4"]


def test_the_time_left_is_that_of_the_steps_left(capsys: pytest.CaptureFixture[str]) -> None:
    pause = At(1, lambda: time.sleep(0.4))
    trainer = new_trainer("progress", pause, epochs=4)
    trainer.train()
    taken, left = map(float, re.findall(r"([\d.]+) s(?!t)", lines_of(capsys)[0]))
    assert left == pytest.approx(3 * taken, abs=0.25 if left < 10 else 0.7)  # what rounding may do


def test_a_complete_training_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    first = new_trainer(epochs=2)
    first.train()
    resumed = new_trainer(Progress(style="bar"), epochs=2)
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert lines_of(capsys) == []


def test_lines_are_written_to_a_terminal_on_request() -> None:
    terminal = on_terminal(new_trainer(Progress(style="lines"), epochs=2))
    assert [line[:9] for line in terminal.screen] == ["epoch 1/2", "epoch 2/2", ""]


# The bar.


def test_a_terminal_gets_one_bar_over_the_whole_training() -> None:
    trainer = new_trainer("progress", Loss(), Constant("constant"))
    terminal = on_terminal(trainer, columns=140)
    scores = trainer.epoch_scores.loc[3]
    bar, after = terminal.screen
    assert after == ""
    assert re.fullmatch(
        rf"epoch 3/3, step 12/12 100%\|█+\| after 00:0\d, loss {number(scores['train/loss'])}, "
        rf"validation/loss {number(scores['validation/loss'])}, constant 0\.2500{PACE}|"
        rf"epoch 3/3, step 12/12 100%\|█+\| after 00:0\d, loss {number(scores['train/loss'])}, "
        rf"constant 0\.2500, validation/loss {number(scores['validation/loss'])}{PACE}",
        bar,
    )


def test_the_bar_says_how_far_training_is_and_what_it_does() -> None:
    drawn = on_terminal(new_trainer("progress", Constant("constant"), epochs=4)).drawn
    assert drawn[0].startswith("epoch 1/4   0%|")
    assert drawn[0].endswith("| ? left")
    assert any(re.match(r"epoch 2/4, step  8/16  50%\|█+\S? +\| validating, loss ", state) for state in drawn)
    assert any(re.match(r"epoch 2/4, step  8/16  50%\|█+\S? +\| 00:0\d left, loss ", state) for state in drawn)


@pytest.mark.parametrize("columns", [0, 30, 60, 80, 100, 200])
def test_the_bar_fits_the_terminal(columns: int) -> None:
    scores = [Constant("a_score_of_some_length"), Constant("another_score_of_some_length")]
    terminal = on_terminal(new_trainer("progress", *scores), columns=columns)
    assert terminal.screen[0].startswith("epoch 3/3")
    assert len(terminal.screen) == 2
    assert all(len(state) < (columns or 80) for state in terminal.drawn)


def test_the_bar_is_drawn_ten_times_a_second_at_most() -> None:
    start = time.monotonic()
    terminal = on_terminal(new_trainer("progress", epochs=2, loader=tiny_loader(6400)))
    seconds = time.monotonic() - start
    assert len(terminal.drawn) <= 10 * seconds + 4  # the first, one an epoch, the last


def test_steps_between_two_drawings_are_counted() -> None:
    stop = At(11, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), Terminal(120).as_stderr() as terminal:
        new_trainer("progress", stop, epochs=5).train()
    assert "55%" in terminal.screen[0]  # 11 of 20 steps
    assert re.search(r"\| after 00:0\d, loss ", terminal.screen[0])


@pytest.mark.parametrize("error", [RuntimeError("no more"), KeyboardInterrupt()])
def test_the_bar_is_closed_when_training_fails(error: BaseException) -> None:
    def fail() -> None:
        raise error

    filters = list(logging.getLogger("artifact_torch").filters)
    with Terminal(120).as_stderr() as terminal:
        with pytest.raises(type(error)):
            new_trainer("progress", At(5, fail)).train()
        sys.stderr.write("what the program says about it\n")
    assert terminal.screen[0].startswith("epoch 2/3, step  5/12  42%|")
    assert terminal.screen[1:] == ["what the program says about it", ""]
    assert logging.getLogger("artifact_torch").filters == filters


def test_what_is_logged_stands_on_lines_of_its_own() -> None:
    log = logging.getLogger("artifact_torch")
    warn = At(5, lambda: log.warning("the disk is nearly full"))
    with Terminal(120).as_stderr() as terminal:
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
        log.addHandler(handler)
        try:
            new_trainer("progress", warn).train()
        finally:
            log.removeHandler(handler)
    assert terminal.screen[0] == "the disk is nearly full"
    assert terminal.screen[1].startswith("epoch 3/3, step 12/12 100%")
    assert terminal.screen[2:] == [""]


def test_the_bar_goes_on_where_a_resumed_training_stands() -> None:
    failing = new_trainer(At(6, lambda: (_ for _ in ()).throw(RuntimeError("power cut"))), epochs=4)
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    resumed = new_trainer("progress", epochs=4)
    resumed.load_checkpoint(failing.save_checkpoint())
    terminal = on_terminal(resumed)
    assert terminal.drawn[0].startswith("epoch 2/4  38%|")  # 6 of 16 steps
    assert terminal.screen[0].startswith("epoch 4/4, step 16/16 100%|")


def test_the_bar_ends_where_a_stopper_ends_training() -> None:
    terminal = on_terminal(new_trainer("progress", epochs=8, stoppers=[StopAfter(2)]))
    assert terminal.screen[0].startswith("epoch 2/8, step  8/32  25%|")


def test_a_loader_of_unknown_length_is_counted_without_a_total() -> None:
    terminal = on_terminal(new_trainer("progress", loader=DataLoader(Samples(), batch_size=16)))
    assert re.fullmatch(r"epoch 3/3, step 12, after 00:0\d, loss [\d.e+-]+" + PACE, terminal.screen[0])
    assert not any("%|" in state for state in terminal.drawn)


def test_the_bar_counts_steps_of_several_batches() -> None:
    terminal = on_terminal(new_trainer("progress", accumulate=3))  # four batches an epoch: two steps
    assert terminal.screen[0].startswith("epoch 3/3, step 6/6 100%|")


def test_waiting_for_data_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(Samples):
        def __iter__(self) -> Iterator[Any]:
            for sample in super().__iter__():
                time.sleep(0.002)  # a slow disk
                yield sample

    new_trainer("progress", loader=DataLoader(Slow(), batch_size=16), epochs=1).train()
    (line,) = lines_of(capsys)
    assert re.search(r"  [\d,.]+ steps/s  waits \d\d% for data$", line)


def test_a_bar_can_be_asked_for_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    new_trainer(Progress(style="bar")).train()
    assert "epoch 3/3, step 12/12 100%|" in capsys.readouterr().err


def test_one_object_can_show_two_trainings() -> None:
    progress = Progress()
    for _ in range(2):
        assert on_terminal(new_trainer(progress)).screen[0].startswith("epoch 3/3, step 12/12 100%|")


# A notebook.


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """What is displayed in a real shell of IPython that has a kernel, as that of a notebook has."""
    pytest.importorskip("IPython")
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        kernel = object()

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub = CapturingDisplayPublisher()
    try:
        yield shell.display_pub.outputs
    finally:
        shell.restore_sys_module_state()
        Shell.clear_instance()


@pytest.fixture
def no_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)


def texts_of(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [output["data"]["text/plain"] for output in outputs]


@pytest.mark.parametrize("style", ["auto", "notebook"])
@pytest.mark.usefixtures("no_widgets")
def test_a_notebook_without_widgets_gets_an_element_that_is_updated_in_place(
    notebook: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], style: Any
) -> None:
    trainer = new_trainer(Progress(style=style), Loss(), Constant("constant"))
    trainer.train()
    assert lines_of(capsys) == []
    first, *updates = notebook
    assert not first["update"]
    assert all(output["update"] for output in updates)
    assert len({output["transient"]["display_id"] for output in notebook}) == 1
    texts = texts_of(updates)
    assert texts[0] == "epoch 1/3, step 0/12, 0%"
    assert any(re.match(r"epoch 2/3, step 8/12, 67%, validating, loss ", text) for text in texts)
    assert any(re.match(r"epoch 2/3, step 8/12, 67%, \d+\.\d s left, loss ", text) for text in texts)
    scores = trainer.epoch_scores.loc[3]
    loss, validated = number(scores["train/loss"]), number(scores["validation/loss"])
    both = rf"(, (validation/loss {validated}|constant 0\.2500)){{2}}"
    last = rf"epoch 3/3, step 12/12, 100%, after \d+\.\d s, loss {loss}{both}{PACE}"
    assert re.fullmatch(last, texts[-1])
    shown = updates[-1]["data"]["text/html"]
    assert '<progress max="1" value="1.0000"></progress>' in shown
    assert f"loss {loss}" in shown


def test_a_notebook_with_widgets_gets_a_bar_of_them(
    notebook: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    widgets = pytest.importorskip("ipywidgets")
    trainer = new_trainer("progress", Constant("<constant>"), epochs=2)
    trainer.train()
    states = [each["state"] for each in widgets.Widget.get_manager_state()["state"].values()]
    widgets.Widget.close_all()
    assert lines_of(capsys) == []
    (output,) = notebook
    assert "application/vnd.jupyter.widget-view+json" in output["data"]
    (bar,) = [state for state in states if state.get("_model_name") == "FloatProgressModel"]
    assert (bar["value"], bar["bar_style"]) == (1.0, "success")
    left, right = [state["value"] for state in states if state.get("_model_name") == "HTMLModel"]
    assert left == "epoch 2/2, step 8/8, 100%"
    loss = number(trainer.epoch_scores["train/loss"][2])
    assert re.fullmatch(rf"after \d+\.\d s, loss {loss}, &lt;constant&gt; 0\.2500{PACE}", right)


@pytest.mark.usefixtures("no_widgets")
def test_a_notebook_shows_a_loader_of_unknown_length(notebook: list[dict[str, Any]]) -> None:
    new_trainer("progress", loader=DataLoader(Samples(), batch_size=16)).train()
    assert re.match(r"epoch 3/3, step 12, after \d+\.\d s, loss ", texts_of(notebook)[-1])
    assert '<progress max="1"></progress>' in notebook[-1]["data"]["text/html"]


@pytest.mark.usefixtures("no_widgets")
def test_a_notebook_keeps_what_it_showed_when_training_fails(notebook: list[dict[str, Any]]) -> None:
    stop = At(5, lambda: (_ for _ in ()).throw(RuntimeError("no more")))
    with pytest.raises(RuntimeError, match="no more"):
        new_trainer("progress", stop).train()
    assert re.match(r"epoch 2/3, step 5/12, 42%, after \d+\.\d s, loss ", texts_of(notebook)[-1])


@pytest.mark.usefixtures("no_widgets")
def test_a_notebook_goes_on_where_a_resumed_training_stands(notebook: list[dict[str, Any]]) -> None:
    first = new_trainer(epochs=2)
    first.train()
    resumed = new_trainer("progress", epochs=4)
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    texts = texts_of(notebook)[1:]
    assert texts[0].startswith("epoch 2/4, step 8/16, 50%")
    assert texts[-1].startswith("epoch 4/4, step 16/16, 100%, after ")


@pytest.mark.usefixtures("no_widgets")
def test_a_notebook_is_drawn_four_times_a_second_at_most(notebook: list[dict[str, Any]]) -> None:
    start = time.monotonic()
    new_trainer("progress", epochs=2, loader=tiny_loader(6400)).train()
    assert (
        len(notebook) <= 4 * (time.monotonic() - start) + 5
    )  # what is displayed first, the start, two epochs, the end


@pytest.mark.usefixtures("notebook")
def test_lines_are_written_in_a_notebook_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    new_trainer(Progress(style="lines"), epochs=1).train()
    assert [line[:9] for line in lines_of(capsys)] == ["epoch 1/1"]


def test_without_a_notebook_its_style_writes_lines_and_imports_nothing_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("IPython", "ipywidgets")]:
        monkeypatch.delitem(sys.modules, name)
    new_trainer(Progress(style="notebook"), epochs=2).train()
    assert [line[:9] for line in lines_of(capsys)] == ["epoch 1/2", "epoch 2/2"]
    assert not {"IPython", "ipywidgets"} & sys.modules.keys()


# The rest.


def test_validating_outside_of_training_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    new_trainer("progress", Constant("constant")).validate()
    assert lines_of(capsys) == []


def test_another_style_is_refused() -> None:
    with pytest.raises(UsageError, match="'auto', 'bar', 'notebook' or 'lines', not 'dots'"):
        Progress(style="dots")  # type: ignore[arg-type]


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = validated_parameters(Progress, {"style": "lines"}, source="test", section="callbacks.progress")
    assert Progress(**parameters).style == "lines"


# Artifacts that are computed in the background.


def late() -> ValidationRoutine:
    """Its scores come when the training, which takes milliseconds, has ended."""
    return ValidationRoutine(plans=[TinyPlan(kinds=[ArtifactKind.SCORE])], mode="background", rounds_in_flight=9)


def test_scores_that_come_late_stand_on_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = new_trainer(Progress(), validation=late())
    trainer.train()
    *epochs, last = lines_of(capsys)
    assert [line[:9] for line in epochs if line.startswith("epoch")] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert not any("weight_norm" in line for line in epochs)
    assert last.split() == ["epoch", "3/3", "validation/weight_norm", number(trainer.epoch_scores.iloc[-1, -1])]


def test_the_bar_says_how_many_artifacts_are_left() -> None:
    terminal = on_terminal(new_trainer(Progress(), validation=late()))
    assert any("computing 3 artifacts" in state for state in terminal.drawn)
