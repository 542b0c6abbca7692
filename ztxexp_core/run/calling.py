"""Calling the experiment function, and what becomes of processes that it has forked."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def call_in_own_process(function: Callable[[Any], _T], argument: Any) -> _T:
    """Call a function; a child that it forks with ``os.fork`` never comes back from here.

    Otherwise a child that returns or raises would write the end of its parent's run, and go on with
    the sweep. It ends as a child of any script does: with code 0 where it returns, with that of
    ``sys.exit``, with a traceback and 1 where it raises.
    """
    pid = os.getpid()
    try:
        returned = function(argument)
    except BaseException as exc:
        if os.getpid() != pid:
            _end_child(exc)
        raise
    if os.getpid() != pid:
        _end_child(None)
    return returned


def _end_child(exc: BaseException | None) -> None:
    code = 0
    try:
        if isinstance(exc, SystemExit):
            code = _exit_code(exc.code)
        elif exc is not None:
            code = 1
            traceback.print_exception(exc)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    print(code, file=sys.stderr)  # noqa: T201  as sys.exit does
    return 1
