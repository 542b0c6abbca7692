"""One call of an executor: the stream that it pulls from, and the thread that pulls it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as LateError
from pathlib import Path
from typing import Any

from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_testing._apart import Apart

_MOST_TAKEN = 2000  # of a stream without end


def spec(folder: Path, run_id: str, config: dict[str, Any] | None = None, **more: Any) -> RunSpec:
    """Return a spec for a stand-in of ``run_one``."""
    return RunSpec(run_id, folder / run_id, config or {}, f"identity of {run_id}", **more)


class Stream(Iterator[Any]):
    """Specs for an executor, which remembers how they were pulled.

    Args:
        specs: what it gives; may be endless.

    Attributes:
        taken: the specs that were given, in order, without ``None``.
        returned: outcomes that have come back.
        most_held: the largest number of specs that were taken and had no outcome yet.
        at_once: whether it was pulled while another pull was going on.
    """

    def __init__(self, specs: Iterable[RunSpec | None]):
        self.taken: list[RunSpec] = []
        self.returned = 0
        self.most_held = 0
        self.at_once = False
        self._specs = iter(specs)
        self._lock = threading.Lock()

    def __next__(self) -> RunSpec | None:
        if not self._lock.acquire(blocking=False):
            self.at_once = True
            self._lock.acquire()
        try:
            found = next(self._specs)
            if found is not None:
                self.taken.append(found)
                self.most_held = max(self.most_held, len(self.taken) - self.returned)
            if len(self.taken) > _MOST_TAKEN:
                raise AssertionError(f"it pulled {_MOST_TAKEN} specs of a stream without end")
            return found
        finally:
            self._lock.release()


class Call:
    """A call of an executor; its generator lives in a thread of its own.

    Args:
        plugin: the executor.
        specs: what it is to carry out.
        run_one: how.
        workers: at a time.
        options: checked settings.
        patience: seconds after which what does not come is a failure.

    Attributes:
        stream: what it pulls from.
        outcomes: that have come so far.
    """

    def __init__(
        self,
        plugin: Plugin,
        specs: Iterable[RunSpec | None],
        run_one: Callable[[RunSpec], RunOutcome],
        workers: int,
        options: dict[str, Any],
        patience: float,
    ):
        self.stream = Stream(specs)
        self.outcomes: list[RunOutcome] = []
        self._patience = patience
        self._hangs = False
        self._apart = Apart()
        arguments = {"specs": self.stream, "run_one": run_one, "workers": workers}
        self._made = self._do(lambda: plugin.call(**arguments, options=options))
        assert self._made is not None, "its hook returned None, not a generator of outcomes"
        self._iterator = self._do(iter, self._made)

    def next(self) -> RunOutcome | None:
        """Return the next outcome, ``None`` at the end.

        Raises:
            AssertionError: it does not come, or is none.
            Exception: what the generator raises.
        """
        found = self._do(self._next)
        assert found is None or isinstance(found, RunOutcome), (
            f"it yielded {found!r}, not a RunOutcome"
        )
        return found

    def rest(self) -> list[RunOutcome]:
        """Return all outcomes, those that had come before too."""
        while self.next() is not None:
            pass
        return self.outcomes

    def close(self) -> float:
        """Close the generator; returns the seconds that took."""
        began = time.monotonic()
        self._do(getattr(self._made, "close", lambda: None))
        return time.monotonic() - began

    def end(self) -> None:
        """Close the generator without waiting for ever, and let its thread end."""
        closing = self._apart.post(getattr(self._made, "close", lambda: None))
        self._apart.end()
        try:
            closing.result(0 if self._hangs else self._patience)
        except BaseException:  # a test that cares calls close()
            return

    def _next(self) -> RunOutcome | None:
        found: RunOutcome | None = next(self._iterator, None)
        if found is not None:
            self.stream.returned += 1
            self.outcomes.append(found)
        return found

    def _do(self, do: Callable[..., Any], *args: Any) -> Any:
        job = self._apart.post(do, *args)
        try:
            return job.result(self._patience)
        except LateError:
            if job.done():  # raised by the plugin itself
                raise
        except (KeyboardInterrupt, SystemExit) as exc:  # would end the test run
            raise AssertionError(f"it raised {type(exc).__name__}") from exc
        self._hangs = True
        taken, came = len(self.stream.taken), len(self.outcomes)
        raise AssertionError(
            f"nothing came of it for {self._patience:g} s; it had taken {taken} specs and yielded "
            f"{came} outcomes"
        )
