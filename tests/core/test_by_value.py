"""by_value: what a process can load that knows none of the modules it comes from."""

from __future__ import annotations

import pickle
import traceback

from ztxexp_core import pickle_by_value


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
