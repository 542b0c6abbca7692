"""by_value: what a process can load that knows none of the modules it comes from."""

from __future__ import annotations

import functools
import pickle
import textwrap
import threading
import traceback
from typing import Any

import pytest

from ztxexp_core import ExecutorError, OptionError, pickle_by_value
from ztxexp_core.pickling import load_by_value, refuse_unsendable, refuse_while_loading


def _copy(thing):
    return pickle.loads(pickle_by_value(thing))


def test_functions_and_classes_made_in_functions_are_sent() -> None:
    factor = 3

    class Model:
        def times(self, x):
            return x * factor

    assert _copy(lambda x: x + 1)(1) == 2
    assert _copy(Model)().times(2) == 6


def test_a_traceback_of_what_was_sent_names_the_file_and_shows_the_line() -> None:
    def outer():
        def inner():
            raise ValueError("inside")  # shown

        inner()

    try:
        _copy(outer)()
    except ValueError as exc:
        frames = traceback.extract_tb(exc.__traceback__)[1:]
    assert [frame.filename for frame in frames] == [__file__] * 2
    assert frames[-1].line == 'raise ValueError("inside")  # shown'


class LaunchesWhenLoaded:
    def __reduce__(self):
        return refuse_while_loading, ()


def test_no_launch_starts_while_something_is_loaded_but_afterwards_it_may() -> None:
    for _ in range(2):
        with pytest.raises(ExecutorError, match="starts a launch when it is imported"):
            load_by_value(pickle_by_value(LaunchesWhenLoaded()))
        refuse_while_loading()


def _namespace(code: str) -> dict[str, Any]:
    """Return what a script defines; its functions are pickled by value."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    variables.update(threading=threading, functools=functools)
    exec(textwrap.dedent(code), variables)
    return variables


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("lock = Lock()\ndef train(ctx): lock", "global 'lock' of train() cannot"),
        (
            "lock = Lock()\ndef helper(): train\ndef train(ctx): helper(); lock",
            "global 'lock' of train() cannot",
        ),
        (
            "class Data:\n    guard = Lock()\ndef train(ctx): Data",
            "attribute 'guard' of class Data cannot",
        ),
        (
            "settings = {'deep': [1, Lock()]}\ndef train(ctx): settings",
            "item 1 of item 'deep' of global 'settings' of train() cannot",
        ),
        ("def train(ctx, a=1, b=Lock()): pass", "default value of 'b' of train() cannot"),
        (
            "class M:\n    def fit(self, ctx): pass\nm = M()\nm.lock = Lock()\ntrain = m.fit",
            "attribute 'lock' of the object of M.fit() cannot",
        ),
        (
            "lock = Lock()\n@functools.cache\ndef load(): return lock\ndef train(ctx): load()",
            "used by train() -> load(); make it inside",
        ),
    ],
)
def test_what_cannot_be_pickled_is_named_with_what_uses_it(code: str, named: str) -> None:
    train = _namespace(code.replace("Lock()", "threading.Lock()"))["train"]
    with pytest.raises(OptionError) as caught:
        refuse_unsendable("the experiment function", train)
    assert str(caught.value).startswith("the experiment function cannot be sent to worker")
    assert named in str(caught.value)


def test_what_can_be_pickled_is_not_refused() -> None:
    refuse_unsendable("the experiment function", _namespace("def train(ctx): pass")["train"])
