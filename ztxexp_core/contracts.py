"""The three contracts that plugins fulfil: read this page to write a tracker, executor or expander.

Tracker (a protocol, registered in the entry-point group ``ztxexp.trackers``)
    A class or factory whose product has the three methods of :class:`Tracker`. It is made by name
    and keyword arguments in the process that runs the experiment, once for each run. A tracker
    cannot change a run's status: whatever it raises is contained, told once and recorded. The local
    files are the truth; a tracker is a replica of them, brought up to date from what is on disk: a
    moment later while the run goes on, or a year later by :func:`ztxexp.sync`.

    - It is made, and all its calls for a run are made one after the other, in a thread of their
      own, which is not that of the experiment. A call that takes longer than the launch's
      ``tracker_timeout`` (10 seconds by default) is given up, and the tracker left alone for the
      rest of the launch.
    - ``on_run_start`` may come for a run that the tracker has met before: where the run is resumed
      (``ctx.attempt`` is over 1) or replayed (``ctx.replayed``). Go on then with what is there,
      found by ``ctx.run_id``. Calls that were successful are not made again, but for
      ``on_run_start`` and ``on_run_end``.
    - A call that has returned means that what it brought is safe with the tracker.
    - What a tracker is given it leaves as it is.
    - An event that it was told when a process died, or that it raised for, may be told once more:
      ``event.position`` is the same then.

    May carry, all of them optional:

    ``requires``
        names of the packages without which it cannot work: a missing one is an error before
        anything runs;
    ``Options``
        a dataclass of its keyword arguments, held against those given before anything runs; where
        it has none, the annotations of its constructor are;
    ``local = True``
        it only writes into the run's folder: its calls are made where the experiment runs, and are
        not watched;
    ``destination``
        a text that says where it sends to, and never changes. What it has got is remembered by
        this; by its keyword arguments where it has none;
    ``on_metrics(ctx, events)``
        called in place of ``on_metric``, with a list of all events that wait (1000 at the most);
    ``on_params(ctx, params)``
        for every ``ctx.log_params``: a dict from names to plain values;
    ``on_artifact(ctx, path, name)``
        for every ``ctx.log_artifact``: the path of a file or folder, and its name;
    ``in_run(ctx)``
        returns a context manager in which the experiment function is called, in its thread; for
        what a client library keeps per thread. It must not wait for anything;
    ``received(ctx)``
        returns what it can show that it has got of a run, as a :class:`Received`; asked before a
        replay.

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
    A module or instance with :func:`ztxexp_expand`. May carry ``Options`` likewise, and
    ``supports`` with ``"independent"``: what it makes shares nothing, so the core need not copy it.

Authors write ``from ztxexp_core import hookimpl``; an implementation may ask for fewer of the
arguments by leaving them out.

What is written against this page goes on working (since 2.0): a hook grows by arguments, which an
older implementation does not ask for, and a tracker by methods that it may have. An argument on its
way out stands in :data:`LEAVING` for at least one minor version before it goes. Which versions of
ztxexp a plugin works with is said by its own requirement, ``ztxexp>=2,<3``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pluggy

from ztxexp_core.context import RunContext
from ztxexp_core.records import Config, MetricEvent, RunMetadata, RunOutcome, RunSpec

PROJECT_NAME = "ztxexp"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)

# For each hook: its arguments on their way out, and the warning for an implementation that asks for
# one, given when that is loaded. A DeprecationWarning says what to do instead and since when; it is
# for authors, whose tests show it, and not for users, who cannot mend the plugin.
LEAVING: dict[str, dict[str, Warning]] = {"ztxexp_execute": {}, "ztxexp_expand": {}}


class Tracker(Protocol):
    """Follows a run through three calls, always in this order.

    The calls of one run never overlap. After ``on_run_start`` raised, the tracker is left out for
    the rest of that run.

    Example:
        >>> class PrintTracker:
        ...     def on_run_start(self, ctx, meta): print("start", ctx.run_id)
        ...     def on_metric(self, ctx, event): print(event.step, event.metrics)
        ...     def on_run_end(self, ctx, summary): print("end", summary["status"])
    """

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Called once before the first attempt that a process makes of a run."""

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Called for every ``ctx.log_metric``, after the event is in the local file."""

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Called once, whatever ended the run.

        Args:
            ctx: the run.
            summary: ``run_id``, ``status``, ``error_type``, ``error_message``, ``retry_count``,
                ``attempt``, ``reason`` (finer cause of a failure, as in ``run.json``), and
                ``metrics``, the returned figures (empty where there are none).
        """


class Received(NamedTuple):
    """What a tracker can show that it has got of a run.

    Attributes:
        events: as they were told, in any order.
        ended: whether it has been told the end of the last attempt.
        started: whether it has been told of the run at all.
    """

    events: Sequence[MetricEvent]
    ended: bool
    started: bool = True


@hookspec(firstresult=True, warn_on_impl_args=LEAVING["ztxexp_execute"])
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


@hookspec(firstresult=True, warn_on_impl_args=LEAVING["ztxexp_expand"])
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
