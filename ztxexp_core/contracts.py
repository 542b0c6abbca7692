"""The three contracts that plugins fulfil: read this page to write a tracker, executor or expander.

Tracker (a protocol, registered in the entry-point group ``ztxexp.trackers``)
    A class or factory whose product has the three methods of :class:`Tracker`. It is made by name
    and keyword arguments in the process that runs the experiment, once for each run. A tracker
    cannot change a run's status: whatever it raises is contained, told once and recorded. The local
    files are the truth; a tracker is a replica of them. A call that takes longer than 10 seconds is
    interrupted, and the tracker left alone for the rest of the launch; one with ``local = True``
    only writes into the run's folder and is not watched. May carry ``requires``, a tuple of import
    names without which it cannot work: a missing one is an error before anything runs.

Executor (a hook implementation, group ``ztxexp.executors``)
    A module with one function decorated with :data:`hookimpl`, or an instance with such a method:
    :func:`ztxexp_execute`. May carry ``Options``, a dataclass of its settings, and ``supports``, a
    set of capability names:

    ``"in_process"``
        runs happen in the launching process, so tracker instances of the user can be used and a
        ``KeyboardInterrupt`` inside a run is the user's Ctrl-C;
    ``"refill"``
        ``specs`` may yield ``None``, see below;
    ``"timeout"``
        observes ``RunSpec.timeout``;
    ``"gpus"``
        observes ``RunSpec.environment``, and never holds more than ``workers`` specs for which it
        has yielded no outcome yet;
    ``"fresh_process"``
        observes ``RunSpec.fresh_process``.

    What a user asks for and the executor does not declare is an error before the first run.

Expander (a hook implementation, group ``ztxexp.expanders``)
    A module or instance with :func:`ztxexp_expand`. May carry ``Options`` likewise.

Authors write ``from ztxexp_core import hookimpl``; an implementation may ask for fewer of the
arguments by leaving them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import pluggy

from ztxexp_core.specs import RunOutcome, RunSpec
from ztxexp_core.types import Config, MetricEvent, RunContext, RunMetadata

PROJECT_NAME = "ztxexp"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class Tracker(Protocol):
    """Follows a run through three calls, always in this order, in the process that runs it.

    The calls of one run never overlap. After ``on_run_start`` raised, the tracker is left out for
    the rest of that run.

    Example:
        >>> class PrintTracker:
        ...     def on_run_start(self, ctx, meta): print("start", ctx.run_id)
        ...     def on_metric(self, ctx, event): print(event.step, event.metrics)
        ...     def on_run_end(self, ctx, summary): print("end", summary["status"])
    """

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Called once before the first attempt of a run."""

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Called for every ``ctx.log_metric``, after the event is in the local file."""

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Called once, whatever ended the run.

        Args:
            ctx: the run.
            summary: ``run_id``, ``status``, ``error_type``, ``error_message``, ``retry_count``,
                ``attempt``, and ``metrics``, the returned figures (empty where there are none).
        """


@hookspec(firstresult=True)
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome] | None:
    """Carry out runs; the whole executor is ``for spec in specs: yield run_one(spec)``, elsewhere.

    Called once per launch, and again for what could not be done the first time.

    - Take a spec only when a worker is free for it: pull ``specs`` lazily, from any thread, one at
      a time.
    - ``specs`` is finite and holds no ``None``, unless the plugin declares ``"refill"``: then
      ``None`` means "nothing to start now, ask again after the next outcome", or sooner; it is
      never given while nothing is under way.
    - ``run_one`` can be pickled, never raises, and does everything: folder, files, trackers,
      status.
    - Yield one outcome for each spec taken, in the order in which they end. For a process that died
      yield ``RunOutcome.lost(spec, ...)``; the core closes the record on disk.
    - Closing the generator means cancel: within 5 seconds no worker process is left.
    - Worker processes are not daemonic: runs start processes of their own. Nothing may be expected
      to be inherited by fork.
    - If the generator itself raises, the core reconciles with the disk, closes what died, and calls
      again with the rest, as long as that makes progress.

    Args:
        specs: the runs.
        run_one: carries out one run, in whichever process it is called.
        workers: how many runs at a time, at least 1.
        options: the plugin's checked settings, defaults filled in.

    Returns:
        A generator of outcomes.
    """


@hookspec(firstresult=True)
def ztxexp_expand(configs: Iterable[Config], options: Mapping[str, Any]) -> Iterable[Config] | None:
    """Turn each configuration into any number of configurations.

    Called when a sweep is built, in the order in which the steps were written down.

    - Pure and deterministic: equal options give equal results; randomness takes its seed from the
      options.
    - The configurations that come in are not modified; copy before changing.
    - Lazy in, finite out.

    Args:
        configs: what the steps before have made.
        options: the keyword arguments of ``expand(name, **options)``, checked and completed where
            the plugin carries ``Options``.

    Returns:
        The expanded configurations.
    """
