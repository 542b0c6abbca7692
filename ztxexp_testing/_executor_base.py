"""What the tests of an executor's hook are written with: calls whose generators live in threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import pytest

from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_testing._launch_base import LaunchBase
from ztxexp_testing._processes import JobThread, result_in_time
from ztxexp_testing._run_one import FakeRun, stop_file
from ztxexp_testing._suite import Ability

_MAX_TAKEN = 2000  # of a stream without end


class Stream(Iterator[Any]):
    """Specs for an executor, which records how they are pulled.

    Attributes:
        taken: the specs that were given, in order, without ``None``.
        returned: how many outcomes have come back.
        most_held: the largest number of specs that were taken and had no outcome yet.
        at_once: it was pulled while another pull was going on.
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
            spec = next(self._specs)
            if spec is not None:
                self.taken.append(spec)
                self.most_held = max(self.most_held, len(self.taken) - self.returned)
            if len(self.taken) > _MAX_TAKEN:
                raise AssertionError(f"it pulled {_MAX_TAKEN} specs of a stream without end")
            return spec
        finally:
            self._lock.release()


class Call:
    """A call of an executor, whose generator lives in a thread of its own.

    Args:
        execute: calls the hook with a stream.
        specs: of the stream.
        seconds: after which what does not come is a failure.
    """

    def __init__(
        self, execute: Callable[[Stream], Any], specs: Iterable[RunSpec | None], seconds: float
    ):
        self.stream = Stream(specs)
        self.outcomes: list[RunOutcome] = []  # those that have come
        self._seconds = seconds
        self._hangs = False
        self._thread = JobThread()
        self._generator = self._do(execute, self.stream)
        assert self._generator is not None, "its hook returned None, not a generator of outcomes"
        self._iterator = self._do(iter, self._generator)

    def next(self) -> RunOutcome | None:
        """Return the next outcome, ``None`` at the end; raises what the generator raises."""
        outcome: RunOutcome | None = self._do(self._next)
        is_outcome = outcome is None or isinstance(outcome, RunOutcome)
        assert is_outcome, f"it yielded {outcome!r}, not a RunOutcome"
        return outcome

    def rest(self) -> list[RunOutcome]:
        """Return all outcomes, including those that had come before."""
        while self.next() is not None:
            pass
        return self.outcomes

    def close(self) -> float:
        """Close the generator; returns the seconds that took."""
        began = time.monotonic()
        self._do(self._close)
        return time.monotonic() - began

    def end(self) -> None:
        """Close the generator without waiting forever, and let its thread end."""
        closing = self._thread.submit(self._close)
        self._thread.end()
        with contextlib.suppress(BaseException):  # a test that cares calls close()
            closing.result(0 if self._hangs else self._seconds)

    def _close(self) -> None:
        getattr(self._generator, "close", lambda: None)()

    def _next(self) -> RunOutcome | None:
        outcome: RunOutcome | None = next(self._iterator, None)
        if outcome is not None:
            self.stream.returned += 1
            self.outcomes.append(outcome)
        return outcome

    def _do(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return result_in_time(self._thread.submit(function, *args), self._seconds, self._late)
        except (KeyboardInterrupt, SystemExit) as exc:  # would end the test run
            raise AssertionError(f"it raised {type(exc).__name__}") from exc

    def _late(self) -> str:
        self._hangs = True
        taken, yielded = len(self.stream.taken), len(self.outcomes)
        counts = f"it had taken {taken} specs and yielded {yielded} outcomes"
        return f"nothing came of it for {self._seconds:g} s; {counts}"


class ExecutorBase(LaunchBase):
    """The author's part, and what the tests are written with; see :class:`ExecutorSuite`."""

    runs_at_once: ClassVar[Ability] = True
    is_lazy: ClassVar[Ability] = True
    survives_dead_worker: ClassVar[Ability] = True
    tells_how_a_worker_died: ClassVar[Ability] = True
    survives_what_cannot_be_sent: ClassVar[Ability] = True
    ends_with_its_launcher: ClassVar[Ability] = True
    lets_runs_start_processes: ClassVar[Ability] = True
    tells_each_end: ClassVar[Ability] = True
    sees_the_environment: ClassVar[Ability] = True
    takes_ahead: ClassVar[int] = 0
    most_workers: ClassVar[int | None] = None

    @property
    def is_distant(self) -> bool:
        """Whether workers may be on other machines."""
        return "distant" in self.supports

    def at_most(self, workers: int) -> int:
        """Return so many workers, or as many as the executor has in this suite."""
        return workers if self.most_workers is None else min(workers, self.most_workers)

    def needs_workers(self) -> None:
        """Skip a test in which a process of a run dies."""
        if self.in_process:
            pytest.skip("in_process: a run that dies takes the launcher along")

    def end_what_goes_on(self) -> None:
        """Let runs that still wait end: those in threads that a bad executor has left, say."""
        stop = stop_file(self.spec("none").run_dir)
        stop.parent.mkdir(exist_ok=True)
        stop.touch()

    # ---- direct calls --------------------------------------------------------------------------

    def spec(self, run_id: str, config: dict[str, Any] | None = None, **more: Any) -> RunSpec:
        """Return a spec for :class:`FakeRun`."""
        folder = self.place / "runs" / run_id
        return RunSpec(run_id, folder, config or {}, f"identity of {run_id}", **more)

    def specs(self, count: int, name: str = "run", /, **config: Any) -> list[RunSpec]:
        """Return so many specs of equal configurations, ``run0`` to ``run6`` say."""
        return [self.spec(f"{name}{number}", dict(config)) for number in range(count)]

    def call(
        self,
        specs: Iterable[RunSpec | None],
        run_one: Callable[[RunSpec], RunOutcome] | None = None,
        workers: int = 2,
        options: dict[str, Any] | None = None,
    ) -> Call:
        """Call the executor; the result's methods ask for what it yields."""
        plugin = self.load()
        arguments = {"run_one": run_one or FakeRun(), "workers": workers}
        arguments["options"] = options or plugin.check_options(self.options)
        call = Call(lambda stream: plugin.call(specs=stream, **arguments), specs, self.patience)
        self._stack.callback(call.end)
        return call

    def outcomes(
        self,
        specs: Iterable[RunSpec | None],
        run_one: Callable[[RunSpec], RunOutcome] | None = None,
        workers: int = 2,
    ) -> dict[str, RunOutcome]:
        """Call the executor; returns all outcomes by run id, exactly one for each spec."""
        call = self.call(specs, run_one, workers)
        ids = [outcome.run_id for outcome in call.rest()]
        taken = [spec.run_id for spec in call.stream.taken]
        missing = [run_id for run_id in taken if run_id not in ids]
        assert not missing, f"{len(missing)} of {len(taken)} specs got no outcome: {missing[:5]}"
        twice = sorted({run_id for run_id in ids if ids.count(run_id) > 1})
        assert not twice, f"it yielded more than one outcome for {twice[:5]}"
        foreign = [run_id for run_id in ids if run_id not in taken]
        assert not foreign, f"it yielded outcomes of runs that it was not given: {foreign[:5]}"
        return {outcome.run_id: outcome for outcome in call.outcomes}
