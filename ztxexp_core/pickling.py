"""Pickle by value with cloudpickle, and the refusal of launches while a worker imports modules.

Code keeps the name of its file, which cloudpickle leaves out since 3.1.3: without it a traceback
from a worker would show no source lines.
"""

from __future__ import annotations

import functools
import io
import sys
from types import CodeType, FrameType
from typing import Any

from ztxexp_core.errors import ExecutorError


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
    with io.BytesIO() as file:
        _pickler()(file).dump(thing)
        return file.getvalue()


def load_by_value(data: bytes) -> Any:
    """Return what :func:`pickle_by_value` was given; no launch can start meanwhile.

    Raises:
        Exception: as raised by the imported modules.
    """
    import pickle

    mark = object()
    _loading.add(mark)
    try:
        return pickle.loads(data)
    finally:
        _loading.discard(mark)


_loading: set[object] = set()  # one entry for each call of load_by_value, in any thread


def refuse_while_loading() -> None:
    """Refuse to start a launch from a module that a worker process imports.

    Every worker would start the launch again, with workers of its own, without end.

    Raises:
        ExecutorError: it is such a module; the message names it.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    # multiprocessing sets _inheriting while it imports the script in a new process.
    spawned = process is not None and hasattr(process.current_process(), "_inheriting")
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


@functools.cache
def _pickler() -> Any:  # a function, so that importing ztxexp stays light
    from collections import ChainMap

    import cloudpickle

    reduce = cloudpickle.Pickler.dispatch_table[CodeType]

    def with_file(code: CodeType) -> Any:
        return _restore_code, (reduce(code), code.co_filename)

    table = ChainMap({CodeType: with_file}, cloudpickle.Pickler.dispatch_table)
    return type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": table})


def _restore_code(reduced: tuple[Any, tuple[Any, ...]], filename: str) -> CodeType:
    make, arguments = reduced
    code: CodeType = make(*arguments)
    return code.replace(co_filename=filename)
