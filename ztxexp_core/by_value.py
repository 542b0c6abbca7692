"""Functions, classes and values as bytes that a process can load which knows none of their modules.

By cloudpickle, but code keeps the name of its file: since 3.1.3 cloudpickle leaves it out, and a
traceback from a worker would name no file and show no source line.
"""

from __future__ import annotations

import functools
import io
from types import CodeType
from typing import Any


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
