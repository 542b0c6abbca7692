"""Functions, classes and values as bytes that a process can load which knows none of their modules.

By cloudpickle, but code keeps the name of its file: since 3.1.3 cloudpickle leaves it out, and a
traceback from a worker would name no file and show no source line.

Loading them may import modules of the user's. One that starts a launch when it is imported would
start another one in every worker, which would have workers of its own, and so on without end:
:func:`refuse_while_loading`.
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

    What belongs to ``__main__``, a notebook or a function comes by value; what belongs to a module
    by its name.

    Raises:
        Exception: whatever pickle or cloudpickle raise for what cannot be sent.

    Example:
        >>> import pickle
        >>> pickle.loads(pickle_by_value(lambda x: x + 1))(1)
        2
    """
    with io.BytesIO() as file:
        _pickler()(file).dump(thing)
        return file.getvalue()


def load_by_value(data: bytes) -> Any:
    """Return what :func:`pickle_by_value` was given; no launch can be started meanwhile.

    Raises:
        Exception: whatever is raised by what is imported and made.
    """
    import pickle

    mark = object()
    _under_way.add(mark)
    try:
        return pickle.loads(data)
    finally:
        _under_way.discard(mark)


_under_way: set[object] = set()  # one entry for each call of load_by_value, whichever the thread


def refuse_while_loading() -> None:
    """See to it that a process starts no launch while it is loading what it has to do.

    Raises:
        ExecutorError: it would; the message names the module that starts the launch.
    """
    if _under_way or _is_being_spawned():
        raise ExecutorError(
            f"{_importing()} starts a launch when it is imported, and every worker process "
            "imports it to find what it has to do; put the launch into a function, or under "
            "`if __name__ == '__main__':`"
        )


def _is_being_spawned() -> bool:
    """Tell whether multiprocessing has this process import what it needs, such as the script."""
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and hasattr(process.current_process(), "_inheriting")


def _importing() -> str:
    """Name the module at whose top level the caller was called."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    if frame is None:
        return "something that belongs to the experiment"
    name = frame.f_globals.get("__name__")
    return f"the script {frame.f_code.co_filename}" if name == "__mp_main__" else f"module {name!r}"


@functools.cache
def _pickler() -> Any:  # made when it is first needed: importing ztxexp stays light
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
