"""Functions and classes of the user's script, which a worker knows by value only.

A worker does not import the script (see :mod:`ztxexp_executors._workers`), so pickle finds nothing
of it by name. Two remedies: ``__main__`` in a worker is a module that finds what has arrived, so
that ``torch.save(model)`` writes what the script can load; and processes that a run starts by
spawn or forkserver, such as data loaders, get what is the script's by value too.
"""

from __future__ import annotations

import gc
import pickle
import sys
from multiprocessing.reduction import ForkingPickler
from types import FunctionType, ModuleType
from typing import Any

from ztxexp_core import pickle_by_value


def stand_in_for_script() -> None:
    """Make this process one in which the script's functions and classes can be pickled."""
    sys.modules["__main__"] = _Script("__main__")
    _send_by_value()


class _Script(ModuleType):
    """Has as attributes the script's functions and classes that came to this process."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            gc.collect()  # cloudpickle makes classes that it throws away again
            for thing in gc.get_objects():
                if _is_of_script(thing) and thing.__qualname__ == name:
                    setattr(self, name, thing)
                    return thing
        raise AttributeError(f"module '__main__' has no attribute {name!r}")


def _is_of_script(thing: Any) -> bool:
    kind = type(thing)  # not isinstance, which would ask every proxy there is for its class
    return (kind is FunctionType or issubclass(kind, type)) and (
        getattr(thing, "__module__", None) == "__main__"
    )


def _send_by_value() -> None:
    setattr(ForkingPickler, "reducer_override", _reduce)  # noqa: B010 (mypy)


def _reduce(pickler: ForkingPickler, thing: Any) -> Any:
    if not _is_of_script(thing):
        return NotImplemented
    return _restore, (pickle_by_value(thing),)


def _restore(data: bytes) -> Any:
    _send_by_value()  # what this process sends back is by value as well
    return pickle.loads(data)
