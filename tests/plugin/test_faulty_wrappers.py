"""Wrappers run once around all implementations; what is wrong with one is told of it and of no other plugin."""

from __future__ import annotations

import pytest

from artifact_torch import PluginError, hookimpl

# A hook of the hot loop, one of an epoch, one that tracks, one of which the first answer counts, one that joins.
HOOKS = {
    "execute_batch_preprocessing": ", epoch 1, step 0",
    "on_before_optimizer_step": ", epoch 1, step 0",
    "execute_batch_postprocessing": ", epoch 1, step 1",
    "execute_epoch_preprocessing": ", epoch 1, step 0",
    "track_score": ", epoch 1, step 4",
    "execute_validation": ", epoch 1, step 4",
    "log_epoch_metrics": ", epoch 1, step 4",
    "should_stop": ", epoch 1, step 4",
}

RAISING = """
from artifact_torch import hookimpl

@hookimpl
def {hook}():
    raise ValueError("inside")
"""

WRAPPER = """
from artifact_torch import hookimpl

@hookimpl(wrapper=True)
def {hook}():
    {body}
"""

OTHER = "'other' (beta-other 1.0)"
FAULTY = "'faulty' (acme-faulty 1.0)"


def notes(error):
    return getattr(error.value, "__notes__", [])


@pytest.fixture
def failing(install_plugin, make_trainer):
    """Trains with a faulty wrapper of a hook, and gives the error that ends it."""

    def train(hook, body):
        install_plugin(WRAPPER.format(hook=hook, body=body))
        trainer = make_trainer(use_installed_plugins=True)
        if hook == "execute_validation":  # a wrapper alone is no reason to validate
            trainer.plugins.register(type("Inner", (), {hook: hookimpl(lambda _self: None)})())
        with pytest.raises(Exception) as error:  # noqa: PT011 - the tests look at it
            trainer.train()
        return error

    return train


@pytest.mark.parametrize(("hook", "place"), HOOKS.items(), ids=HOOKS)
def test_a_wrapper_that_yields_twice_is_named(failing, hook, place):
    error = failing(hook, "answer = yield; yield; return answer")
    assert type(error.value) is PluginError
    assert str(error.value) == (
        f"The plugin {FAULTY} wraps {hook} and yielded a second time: a wrapper yields once, where the other "
        "implementations run."
    )
    assert notes(error) == [f"In the plugin {FAULTY}, hook {hook}{place}."]


@pytest.mark.parametrize(("hook", "place"), HOOKS.items(), ids=HOOKS)
def test_a_wrapper_that_does_not_reach_its_yield_is_named(failing, hook, place):
    error = failing(hook, "return (yield) if __name__ == 'never' else None")
    assert type(error.value) is PluginError
    assert str(error.value) == (
        f"The plugin {FAULTY} wraps {hook} and returned before its yield: a wrapper yields once, whatever it finds."
    )
    assert notes(error) == [f"In the plugin {FAULTY}, hook {hook}{place}."]


@pytest.mark.parametrize("hook", ["should_stop", "log_epoch_metrics"])
@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("yield", "None (NoneType)"),
        ("return {'all': (yield)}", "{'all': []} (dict)"),
        ("yield; return 'a'", "'a' (str)"),
    ],
)
def test_a_wrapper_that_loses_the_answers_is_named(failing, hook, body, shown):
    error = failing(hook, body)
    assert type(error.value) is PluginError
    assert str(error.value) == (
        f"The plugin {FAULTY} wraps {hook} and returned {shown}: return the list that its yield gives, or another list "
        "of answers."
    )
    assert notes(error) == [f"In the plugin {FAULTY}, hook {hook}, epoch 1, step 4."]


@pytest.mark.parametrize("hook", ["execute_epoch_preprocessing", "track_score", "execute_batch_postprocessing"])
def test_a_wrapper_of_a_hook_without_answers_need_not_return_any(install_plugin, warned, hook):
    install_plugin(WRAPPER.format(hook=hook, body="yield"))
    assert warned() == []


def test_an_answer_that_a_wrapper_has_put_in_place_is_the_wrappers(failing):
    error = failing("should_stop", "yield; return [3]")
    assert str(error.value) == (
        f"The plugin {FAULTY} returned 3 (int) from should_stop: return a reason in words, or None."
    )


def test_an_answer_of_none_in_the_list_of_a_wrapper_is_no_answer(install_plugin, warned):
    install_plugin(WRAPPER.format(hook="should_stop", body="yield; return [None]"))
    assert warned() == []


@pytest.mark.parametrize(("hook", "place"), HOOKS.items(), ids=HOOKS)
@pytest.mark.parametrize("body", ["raise ValueError('own'); yield", "yield; raise ValueError('own')"])
def test_an_error_of_a_wrapper_is_noted_as_its_own(failing, hook, place, body):
    error = failing(hook, body)
    assert (type(error.value), str(error.value)) == (ValueError, "own")
    assert notes(error) == [f"In the plugin {FAULTY}, hook {hook}{place}."]


PASSING = {
    "plain": "return (yield)",
    "finally": "try:\n        return (yield)\n    finally:\n        pass",
    "raised again": "try:\n        return (yield)\n    except ValueError as error:\n        raise error",
}


@pytest.mark.parametrize(("hook", "place"), HOOKS.items(), ids=HOOKS)
@pytest.mark.parametrize("body", PASSING.values(), ids=PASSING)
def test_an_error_that_passes_through_a_wrapper_is_not_blamed_on_it(install_plugin, failing, hook, place, body):
    install_plugin(RAISING.format(hook=hook), "beta-other", name="other")
    error = failing(hook, body)
    assert (type(error.value), str(error.value)) == (ValueError, "inside")
    assert notes(error) == [f"In the plugin {OTHER}, hook {hook}{place}."]


@pytest.mark.parametrize(("hook", "place"), HOOKS.items(), ids=HOOKS)
def test_an_error_that_a_wrapper_makes_of_another_has_a_note_for_each(install_plugin, failing, hook, place):
    install_plugin(RAISING.format(hook=hook), "beta-other", name="other")
    error = failing(
        hook, "try:\n        yield\n    except ValueError as error:\n        raise KeyError('mine') from error"
    )
    assert type(error.value) is KeyError
    assert notes(error) == [f"In the plugin {FAULTY}, hook {hook}{place}."]
    assert error.value.__cause__.__notes__ == [f"In the plugin {OTHER}, hook {hook}{place}."]


def test_an_error_that_a_wrapper_swallows_does_not_end_training(install_plugin, warned):
    install_plugin(RAISING.format(hook="should_stop"), "beta-other", name="other")
    body = "try:\n        return (yield)\n    except ValueError:\n        return []"
    install_plugin(WRAPPER.format(hook="should_stop", body=body))
    assert warned() == []


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("mark", ["wrapper", "hookwrapper"])
def test_a_wrapper_runs_once_around_all_others(make_trainer, hook, mark):
    events = []

    def wrap(name):
        def around(_self):
            events.append(f"{name} begins")
            answer = yield
            events.append(f"{name} ends")
            return answer

        return type(name, (), {hook: hookimpl(around, **{mark: True})})()

    def plain(name):
        return type(name, (), {hook: hookimpl(lambda _self: events.append(name))})()

    make_trainer(epochs=1, callbacks=[plain("a"), wrap("outer"), plain("b"), wrap("inner"), plain("c")]).train()
    once = ["outer begins", "inner begins", "a", "b", "c", "inner ends", "outer ends"]
    calls = len(events) // len(once)
    assert events == once * calls
    assert calls == {"track_score": 1, "should_stop": 1}.get(hook, 4 if "batch" in hook or "optimizer" in hook else 1)
