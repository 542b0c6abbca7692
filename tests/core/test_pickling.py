"""by_value: what a process can load that knows none of the modules it comes from."""

from __future__ import annotations

import pickle
import traceback

import pytest

from ztxexp_core import ExecutorError, pickle_by_value
from ztxexp_core.pickling import load_by_value, refuse_while_loading


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
