"""Pickle by value, and the refusal of launches while a worker imports modules.

:mod:`ztxexp_core.pickling.pickler` pickles, :mod:`ztxexp_core.pickling.restoring` is called in
workers, :mod:`ztxexp_core.pickling.culprit` finds what cannot be pickled.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ztxexp_core.errors import ExecutorError, OptionError


def pickle_by_value(thing: Any) -> bytes:
    """Return anything as bytes for ``pickle.loads`` in another process.

    Objects of ``__main__``, of a notebook or of a function are pickled by value, objects of a
    module by name.

    Raises:
        Exception: as pickle or cloudpickle raise for what cannot be sent.

    Example:
        >>> import pickle
        >>> pickle.loads(pickle_by_value(lambda x: x + 1))(1)
        2
    """
    from ztxexp_core.pickling.pickler import Pickler  # it needs cloudpickle, workers do not

    with io.BytesIO() as file:
        Pickler(file).dump(thing)
        return file.getvalue()


def pickle_launch(launch: Any) -> bytes:
    """Return as bytes what :func:`load_by_value` gives back as the second of two objects.

    The first one is what modules of the user's take from the script (``from __main__ import x``);
    it is loaded before them.

    Raises:
        Exception: as :func:`pickle_by_value`.
    """
    from ztxexp_core.pickling.pickler import for_own_modules

    return pickle_by_value((for_own_modules(), launch))


def refuse_unsendable(what: str, thing: Any) -> None:
    """Refuse a thing that cannot be pickled; ``what`` is its name for the message.

    Raises:
        OptionError: it cannot; the message names the object in it, and the functions that use it.
    """
    try:
        pickle_by_value(thing)
    except Exception as exc:
        from ztxexp_core.pickling.culprit import explain

        text = f"{what} cannot be sent to worker processes: {explain(thing, exc)}"
        raise OptionError(text) from exc


def can_be_sent(thing: Any) -> bool:
    """Return whether a thing can be pickled by value."""
    try:
        pickle_by_value(thing)
    except Exception:
        return False
    return True


def load_by_value(data: bytes) -> Any:
    """Return what :func:`pickle_by_value` was given; no launch can start meanwhile.

    Raises:
        Exception: as raised by the imported modules.
    """
    import pickle

    with no_launches():
        return pickle.loads(data)


@contextlib.contextmanager
def no_launches() -> Iterator[None]:
    """Refuse to start a launch meanwhile, as a module does that is imported; in any thread."""
    mark = object()
    _loading.add(mark)
    try:
        yield
    finally:
        _loading.discard(mark)


_loading: set[object] = set()  # one entry for each import or copy that is under way


def refuse_while_loading() -> None:
    """Refuse to start a launch from a module that a worker process imports.

    Every worker would start the launch again, with workers of its own, without end.

    Raises:
        ExecutorError: it is such a module; the message names it.
    """
    # Another thread may be importing multiprocessing at this moment: then it lacks the function.
    process = getattr(sys.modules.get("multiprocessing.process"), "current_process", None)
    # multiprocessing sets _inheriting while it imports the script in a new process.
    spawned = process is not None and hasattr(process(), "_inheriting")
    if _loading or spawned:
        raise ExecutorError(
            f"{_importing_module()} starts a launch when it is imported, and every worker process "
            "imports it to find what it has to do; put the launch into a function, or under "
            "`if __name__ == '__main__':`"
        )


def _importing_module() -> str:
    """Name the innermost module that is being imported."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    if frame is None:
        return "something that belongs to the experiment"
    name = frame.f_globals.get("__name__")
    return f"the script {frame.f_code.co_filename}" if name == "__mp_main__" else f"module {name!r}"
