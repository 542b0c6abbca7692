"""What a run finds in its process, and what is put back when its function has ended."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ztxexp_core.run.settings import named_loggers, present_settings, put_back_settings

_SIGNALS = [
    int(getattr(signal, name))
    for name in (
        "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM",
        "SIGPROF", "SIGCHLD", "SIGPIPE", "SIGTSTP", "SIGWINCH", "SIGXCPU",
    )
    if hasattr(signal, name)
]  # fmt: skip
# Below the wrapper, which looks for an enum member: a run asks for 28 handlers.
_handler_of: Callable[[int], Any] = getattr(
    sys.modules.get("_signal"), "getsignal", signal.getsignal
)
_TIMERS = [
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
]


@contextlib.contextmanager
def put_back_after(folder: str | None = None) -> Iterator[None]:
    """Put back what a run changes in its process, so that the next one starts like it.

    Working folder, environment, umask, signal handlers and timers, ``sys.path``, handlers and
    levels of loggers, and the settings of :mod:`ztxexp_core.run.settings`. Outside of the main
    thread nothing is put back: other runs may be under way in other threads.

    Args:
        folder: the working folder meanwhile.

    Raises:
        RuntimeError: a folder is given, and this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        if folder is not None:
            raise RuntimeError('workdir="run" needs the main thread of a process')
        yield
        return
    before = _Surroundings()
    try:
        if folder is not None:
            os.chdir(folder)
        yield
    finally:
        before.put_back()


def working_folder() -> str | None:
    """Return the working folder; ``None`` if it has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None


def left_threads() -> list[str]:
    """Return names of threads that keep this process from ending, without their numbers.

    Idle threads of ``concurrent.futures`` are left out: they end with the process.
    """
    pools: Any = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    names = [
        re.sub(r"[-_\d]+(?= |$)", "", thread.name)
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread() and thread not in pools
    ]
    return list(dict.fromkeys(names))


def _environment() -> dict[Any, Any]:
    """Return a copy of the environment as it is stored: decoding it would take longer."""
    return dict(getattr(os.environ, "_data", os.environ))


class _Surroundings:
    def __init__(self) -> None:
        self._pid = os.getpid()
        self._folder = working_folder()
        self._environment = _environment()
        self._path, self._path_list = list(sys.path), sys.path
        self._handlers = {number: _handler_of(number) for number in _SIGNALS}
        self._timers = [which for which in _TIMERS if signal.getitimer(which)[0] == 0.0]
        self._loggers = {
            name: (logger.level, list(logger.handlers)) for name, logger in named_loggers().items()
        }
        self._modules = set(sys.modules)
        self._settings = present_settings()
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def put_back(self) -> None:
        if os.getpid() != self._pid:  # a child that the run has forked
            return
        for which in self._timers:
            if signal.getitimer(which)[0]:
                signal.setitimer(which, 0.0)
        for number, handler in self._handlers.items():
            present = _handler_of(number)
            # To ignore none and handle none is no concern of the next run.
            if present is not handler and present != handler and present != signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.umask(self._umask)
        if working_folder() != self._folder and self._folder is not None:
            with contextlib.suppress(OSError):  # it has been deleted
                os.chdir(self._folder)
        if _environment() != self._environment:
            self._put_back_environment()
        if sys.path is not self._path_list or sys.path != self._path:
            sys.path = self._path_list
            sys.path[:] = self._path
        self._put_back_loggers()
        put_back_settings(self._settings)

    def _put_back_environment(self) -> None:
        before = {os.fsdecode(name): os.fsdecode(v) for name, v in self._environment.items()}
        for name in list(os.environ):
            if name not in before:
                os.environ.pop(name, None)
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    def _put_back_loggers(self) -> None:
        for name, logger in named_loggers().items():
            if name not in self._loggers:
                home = name.partition(".")[0]
                if home in sys.modules and home not in self._modules:
                    continue  # of a module that the run has imported, which happens once
            level, handlers = self._loggers.get(name, (logging.NOTSET, []))
            if logger.level != level:
                logger.setLevel(level)
            for handler in [each for each in logger.handlers if each not in handlers]:
                logger.removeHandler(handler)
                with contextlib.suppress(Exception):  # a handler of the user's
                    handler.close()
