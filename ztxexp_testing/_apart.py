"""A thread that does what it is told, so that a plugin which hangs does not hang the tests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Any, TypeVar

T = TypeVar("T")
NAME = "ztxexp-suite"


class Apart:
    """Does one thing after the other, all in one thread; left behind where one of them hangs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        # A daemon: one that hangs must not keep the test run from ending.
        threading.Thread(target=self._work, name=NAME, daemon=True).start()

    def post(self, do: Callable[..., T], *args: Any) -> Future[T]:
        """Let something be done, without waiting for it; the future raises what it raises."""
        future: Future[T] = Future()
        self._jobs.put((future, lambda: do(*args)))
        return future

    def end(self) -> None:
        """Let the thread end after what it was told."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, do = job
            try:
                future.set_result(do())
            except BaseException as exc:  # the test's to judge
                future.set_exception(exc)
            del job, future, do  # a generator is not to be kept alive from here


def in_time(do: Callable[[], T], seconds: float, what: str) -> T:
    """Do something in a thread of its own and return what it returns; what it raises is raised.

    Raises:
        AssertionError: it has not come to an end after some seconds; ``what`` says what that means.
    """
    apart = Apart()
    job = apart.post(do)
    apart.end()
    try:
        return job.result(seconds)
    except LateError:
        if job.done():  # raised by what was done
            raise
    raise AssertionError(f"{what} for {seconds:g} s")
