"""When a run ends, every plugin's teardown runs, whatever another's raises; the first error is the one raised."""

from __future__ import annotations

import pytest

from artifact_torch import hookimpl
from artifact_torch.testing import HookRecorder

RAISING = """
from artifact_torch import hookimpl

{mark}
def {hook}():
    {body}
"""

ENDS = ["on_exception", "on_train_end"]
FAULTY = "'faulty' (acme-faulty 1.0)"


class Failing:
    """Fails in the sixth step, the second of epoch 2."""

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        if trainer.state.step == 6:
            raise ValueError("the first error")


def note(hook, epoch=2, step=8, plugin=FAULTY):
    return f"In the plugin {plugin}, hook {hook}, epoch {epoch}, step {step}."


def notes(error):
    return getattr(error, "__notes__", [])


def errors_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def failing_in(hook, body, mark="@hookimpl"):
    return RAISING.format(mark=mark, hook=hook, body=body)


WAYS = {
    "plain": ("@hookimpl", "raise RuntimeError('of the teardown')"),
    "first": ("@hookimpl(tryfirst=True)", "raise RuntimeError('of the teardown')"),
    "wrapper begins": ("@hookimpl(wrapper=True)", "raise RuntimeError('of the teardown'); yield"),
    "wrapper ends": ("@hookimpl(wrapper=True)", "yield; raise RuntimeError('of the teardown')"),
}


@pytest.mark.parametrize("hook", ENDS)
@pytest.mark.parametrize(("mark", "body"), WAYS.values(), ids=WAYS)
def test_after_a_failure_every_teardown_runs_and_the_failure_is_raised(
    install_plugin, make_trainer, caplog, hook, mark, body
):
    install_plugin(failing_in(hook, body, mark))
    before, after = HookRecorder(), HookRecorder()
    trainer = make_trainer(callbacks=[before, Failing(), after], use_installed_plugins=True)
    with pytest.raises(ValueError, match="the first error") as error:
        trainer.train()
    assert [recorder.names[-2:] for recorder in (before, after)] == [ENDS, ENDS]
    assert notes(error.value) == [note("execute_batch_postprocessing", 2, 6, "'Failing'")]
    assert errors_in(caplog) == [
        f"While the run was ending, the plugin {FAULTY} failed in {hook}, epoch 2, step 6: RuntimeError: of the "
        "teardown."
    ]
    log = (trainer.run.path / "log.txt").read_text(encoding="utf-8")
    assert f" ERROR {errors_in(caplog)[0]}\n" in log
    record = trainer.run.record
    assert (record["status"], record["reason"]) == ("failed", "ValueError: the first error")
    assert [dict(recorder.calls)["on_train_end"]["reason"] for recorder in (before, after)] == [record["reason"]] * 2


@pytest.mark.parametrize(("mark", "body"), WAYS.values(), ids=WAYS)
def test_after_a_good_training_an_error_of_the_teardown_is_raised_once_all_have_run(
    install_plugin, make_trainer, mark, body
):
    install_plugin(failing_in("on_train_end", body, mark))
    before, after = HookRecorder(), type("After", (), {"on_train_end": hookimpl(lambda _self: ended.append(1))})()
    ended = []
    trainer = make_trainer(callbacks=[before, after], use_installed_plugins=True)
    with pytest.raises(RuntimeError, match="of the teardown") as error:
        trainer.train()
    assert (before.names[-1], ended) == ("on_train_end", [1])
    assert notes(error.value) == [note("on_train_end")]
    assert (trainer.run.record["status"], trainer.run.record["epochs"]) == ("failed", 2)
    assert trainer.run.model_path.is_dir()


@pytest.mark.parametrize("kind", ["@hookimpl", "@hookimpl(wrapper=True)"])
def test_of_several_errors_the_first_is_raised_and_the_others_are_told(install_plugin, make_trainer, caplog, kind):
    body = "yield; raise {}" if "wrapper" in kind else "raise {}"
    for number, name in enumerate(("one", "two", "three")):
        source = failing_in("on_train_end", body.format(f"RuntimeError({number})"), kind)
        install_plugin(source, f"acme-{name}", name=name)
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(RuntimeError) as error:
        trainer.train()
    # By distribution one, three, two; what wraps the others ends last.
    order = ["two", "three", "one"] if "wrapper" in kind else ["one", "three", "two"]
    numbers = {"one": 0, "two": 1, "three": 2}
    assert error.value.args == (numbers[order[0]],)
    assert notes(error.value) == [note("on_train_end", plugin=f"'{order[0]}' (acme-{order[0]} 1.0)")]
    told = [
        f"While the run was ending, the plugin '{name}' (acme-{name} 1.0) failed in on_train_end, epoch 2, step 8: "
        f"RuntimeError: {numbers[name]}."
        for name in order
    ]
    assert errors_in(caplog) == told


@pytest.mark.parametrize("hook", ENDS)
def test_an_interruption_while_a_failed_run_ends_does_not_hide_the_failure(install_plugin, make_trainer, caplog, hook):
    install_plugin(failing_in(hook, "raise KeyboardInterrupt"))
    recorder = HookRecorder()
    trainer = make_trainer(callbacks=[Failing(), recorder], use_installed_plugins=True)
    with pytest.raises(ValueError, match="the first error"):
        trainer.train()
    assert recorder.names[-2:] == ENDS
    assert trainer.run.record["status"] == "failed"
    assert errors_in(caplog) == [
        f"While the run was ending, the plugin {FAULTY} failed in {hook}, epoch 2, step 6: KeyboardInterrupt."
    ]


def test_an_interruption_while_a_good_run_ends_interrupts_it(install_plugin, make_trainer):
    install_plugin(failing_in("on_train_end", "raise KeyboardInterrupt"))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.run.record["status"] == "interrupted"


def test_the_error_that_a_teardown_raises_again_is_told_once(install_plugin, make_trainer, caplog):
    source = failing_in("on_exception", "raise error").replace("on_exception()", "on_exception(error)")
    install_plugin(source)
    wrapper = source.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("raise", "yield; raise")
    install_plugin(wrapper, "acme-wrapper", name="wrapper")
    trainer = make_trainer(callbacks=[Failing()], use_installed_plugins=True)
    with pytest.raises(ValueError, match="the first error") as error:
        trainer.train()
    assert notes(error.value) == [note("execute_batch_postprocessing", 2, 6, "'Failing'")]
    assert errors_in(caplog) == []


@pytest.mark.parametrize("hook", ["on_train_start", "track_params", "execute_epoch_preprocessing"])
def test_a_failure_at_the_very_start_has_its_teardown_too(install_plugin, make_trainer, hook):
    install_plugin(failing_in(hook, "raise RuntimeError('no licence')"))
    recorder = HookRecorder()
    trainer = make_trainer(callbacks=[recorder], use_installed_plugins=True)
    with pytest.raises(RuntimeError, match="no licence"):
        trainer.train()
    assert recorder.names[-2:] == ENDS
    assert trainer.run.record["status"] == "failed"


def test_a_plugin_can_be_torn_down_after_each_of_two_trainings(install_plugin, make_trainer):
    install_plugin(failing_in("on_train_end", "raise RuntimeError('again')"))
    trainer = make_trainer(use_installed_plugins=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="again") as error:
            trainer.train()
        assert notes(error.value) == [note("on_train_end")]
