"""The three contracts of plugins: read this page to write a tracker, executor or expander.

Tracker (a protocol, entry-point group ``ztxexp.trackers``)
    A class or factory of objects with the three methods of :class:`Tracker`. For each run one
    object is made, from its name and keyword arguments, in the process that runs the experiment.
    A tracker cannot change the status of a run: its exceptions are caught, reported once and
    recorded. The run's files are the truth; a tracker receives what is in them, during the run or
    later, when :func:`ztxexp.sync` is called.

    - It is made and called in a thread of its own, one call after the other. A call that takes
      longer than the ``tracker_timeout`` of the launch (10 seconds by default; 60 for the first
      use in a process) is abandoned, and the tracker is called again after a pause.
    - ``on_run_start`` may be called for a run that the tracker already knows: a run that is resumed
      (``ctx.attempt`` is over 1) or replayed (``ctx.replayed``). Find its record by ``ctx.run_id``
      and continue it. Other calls that succeeded are not repeated, except ``on_run_end``.
    - When a call returns, its data must be safe with the tracker.
    - Do not modify the arguments.
    - An event may be sent twice if the process died or the tracker raised; ``event.position`` is
      the same both times.

    Optional attributes:

    ``requires``
        names of packages that it needs; a missing one is an error before anything runs;
    ``Options``
        a dataclass of its keyword arguments, which are checked against it before anything runs; by
        default they are checked against the annotations of the constructor;
    ``check_options(**options)``
        a static or class method that raises a ``ValueError`` for keyword arguments that cannot
        work, such as a file where a folder is needed; called at the line of ``.track``, without
        connecting to anything; for an instance with its attributes that are named as the arguments
        of its constructor, if it has them all;
    ``local = True``
        it only writes into the run's folder; it is then called in the thread of the experiment,
        without a time limit;
    ``destination``
        a string, always the same, that names where it sends the data. What has been sent is
        recorded under this name; by default under its keyword arguments;
    ``on_metrics(ctx, events)``
        called instead of ``on_metric``, with a list of waiting events (1000 at most);
    ``on_params(ctx, params)``
        called for every ``ctx.log_params``, with a dict from names to plain values;
    ``on_artifact(ctx, path, name)``
        called for every ``ctx.log_artifact``, with the path of a file or folder and its name;
    ``in_run(ctx)``
        returns a context manager around the experiment function, entered in its thread; for state
        that a client library keeps per thread or process. It must not block. It is also entered
        for a run that the tracker does not know, because ``on_run_start`` failed or took too long;
    ``received(ctx)``
        returns what it has stored of a run, as a :class:`Received`; called before a replay;
    ``knows(ctx)``
        returns whether it has the run at all; called before a replay, so that what was deleted
        there is sent again.

Executor (a hook implementation, group ``ztxexp.executors``)
    A module with a function :func:`ztxexp_execute` decorated with :data:`hookimpl`, or an instance
    with such a method. Optional: ``Options``, a dataclass of its settings, and ``supports``, a set
    of capabilities:

    ``"in_process"``
        runs happen in the launching process, so tracker instances of the user work, and a
        ``KeyboardInterrupt`` inside a run is the user's Ctrl-C;
    ``"refill"``
        ``specs`` may yield ``None``, see below;
    ``"timeout"``
        obeys ``RunSpec.timeout``;
    ``"gpus"``
        obeys ``RunSpec.environment``, and never holds more than ``workers`` specs without an
        outcome;
    ``"fresh_process"``
        obeys ``RunSpec.fresh_process``;
    ``"distant"``
        workers may be on other machines. Before the first run the hook is called once with a single
        spec and a ``run_one`` that looks whether a worker sees the results root, can load the
        experiment and has the same versions; if not, the launch ends. A worker that lacks one of
        them later gives its run back.

    Asking for a capability that the executor does not declare is an error before the first run.

    An executor whose jobs go on without their launcher, such as those of a batch system, has
    :func:`ztxexp_submit`, :func:`ztxexp_jobs` and :func:`ztxexp_cancel` in the place of
    ``ztxexp_execute``. Its jobs are pilots: each carries out one run after the other, as a launch
    on one machine does. ``Options`` may have ``runs_per_job``, ``runs_at_once``, ``code_folder``
    and ``grace``, seconds before the end of a job's time at which it gets SIGTERM, which the core
    reads.

    An executor that places runs on machines may have ``needs``, a set of the names in
    ``RunSpec.needs`` that it observes: ``"cpus"``, ``"gpus"``, ``"memory"``, ``"time"``; ``"*"``
    for any other. It may also implement :func:`ztxexp_capacity` and
    :func:`ztxexp_jobs`.

Expander (a hook implementation, group ``ztxexp.expanders``)
    A module or instance with :func:`ztxexp_expand`. Optional: ``Options`` as above, and
    ``supports`` with ``"independent"``: its configurations share no objects, so the core need not
    copy them.

Write ``from ztxexp_core import hookimpl``. An implementation may leave out arguments that it does
not need.

Compatibility (since 2.0): a hook may gain arguments, and a tracker may gain optional methods. An
argument is listed in :data:`DEPRECATED_ARGS` for at least one minor version before it is removed. A
plugin states the versions of ztxexp it works with in its requirement, ``ztxexp>=2,<3``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pluggy

from ztxexp_core.context import RunContext
from ztxexp_core.records import (
    Config,
    JobRequest,
    MetricEvent,
    RunMetadata,
    RunOutcome,
    RunSpec,
)

PROJECT_NAME = "ztxexp"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)

# For each hook: deprecated arguments, and the warning given when an implementation that uses one is
# loaded. A DeprecationWarning, because it is meant for authors, whose tests show it, and not for
# users, who cannot correct the plugin. It says what to do instead and since when.
DEPRECATED_ARGS: dict[str, dict[str, Warning]] = {"ztxexp_execute": {}, "ztxexp_expand": {}}


class Tracker(Protocol):
    """Follows a run through three calls, always in this order.

    The calls of one run never overlap. If ``on_run_start`` raises, the tracker is not called again
    for that run.

    Example:
        >>> class PrintTracker:
        ...     def on_run_start(self, ctx, meta): print("start", ctx.run_id)
        ...     def on_metric(self, ctx, event): print(event.step, event.metrics)
        ...     def on_run_end(self, ctx, summary): print("end", summary["status"])
    """

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Called once, before the first attempt of a run in this process."""

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Called for every ``ctx.log_metric``, after the event is in the local file."""

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Called once, however the run ended.

        Args:
            ctx: the run.
            summary: ``run_id``, ``status``, ``error_type``, ``error_message``, ``retry_count``,
                ``attempt``, ``reason`` (finer cause of a failure, as in ``run.json``), and
                ``metrics``, the final metrics (may be empty).
        """


class Received(NamedTuple):
    """What a tracker has stored of a run.

    Attributes:
        events: the events, in any order.
        ended: whether it has the end of the last attempt.
        started: whether it knows the run at all.
    """

    events: Sequence[MetricEvent]
    ended: bool
    started: bool = True


@hookspec(firstresult=True, warn_on_impl_args=DEPRECATED_ARGS["ztxexp_execute"])
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome] | None:
    """Carry out runs; in essence ``for spec in specs: yield run_one(spec)``, in other processes.

    Called once per launch, and again for runs that could not be done the first time.

    - Pull ``specs`` lazily, from any thread, one at a time: take a spec only when a worker is free.
    - ``specs`` is finite and holds no ``None``, unless the plugin declares ``"refill"``: then
      ``None`` means "nothing to start now; ask again after the next outcome, or sooner". It is
      never yielded while no run is under way.
    - ``run_one`` can be pickled, never raises, and does everything: folder, files, trackers,
      status. Loaded in a worker, it brings the script's ``sys.path``, working folder and named
      variables (``pass_env``) along.
    - Yield one outcome for each spec, in the order in which the runs end. For a process that died
      yield ``RunOutcome.lost(spec, ...)``; the core completes the record on disk. For one whose
      outcome is only on disk yield ``RunOutcome.recorded(spec)``. For a run that did not begin
      yield ``RunOutcome.not_begun(spec, because)``: it is handed out again, three times in all, and
      costs no attempt.
    - ``run_one`` may be given a spec again, as when an engine queues a job once more: the run goes
      on in its folder once the process before has ended, and what has ended is not run again. See
      ``RunSpec.restarted``.
    - When the generator is closed, cancel: within 5 seconds no worker process is left. A run whose
      process lives on, also one that was told as lost, stays ``running`` and is named.
    - Worker processes are not daemonic, because runs start processes of their own. Do not rely on
      anything inherited by fork.
    - If the generator itself raises, the core reconciles with the disk, closes the dead runs, and
      calls again with the rest, as long as that makes progress.

    Args:
        specs: the runs.
        run_one: executes one run in the process that calls it.
        workers: how many runs at a time, at least 1.
        options: the plugin's checked settings, defaults filled in.

    Where runs happen in workers of an engine, ``ztxexp_executors.hosting.host(run_one)`` carries
    each of them out in a child of the worker.

    Returns:
        A generator of outcomes.
    """


@hookspec(firstresult=True)
def ztxexp_capacity(options: Mapping[str, Any]) -> int | None:
    """Return for how many runs there is room: what ``workers=-1`` stands for. Optional.

    Args:
        options: as for :func:`ztxexp_execute`.
    """


@hookspec(firstresult=True)
def ztxexp_submit(request: JobRequest, options: Mapping[str, Any]) -> Sequence[str] | None:
    """Submit jobs that go on without this process, and return their ids.

    In the place of :func:`ztxexp_execute`. Each job runs ``request.command``, a pilot, with

    - ``ZTXEXP_JOB``: ``name:id:start``, see :func:`ztxexp_jobs`;
    - ``ZTXEXP_PILOT``: its number, from ``request.first``;
    - ``ZTXEXP_JOB_ENDS``: when its time is up, in seconds since 1970, where that is known.

    A pilot that gets SIGTERM closes its runs and ends within seconds. Its exit code says how to go
    on: with 75 the same job is to be queued again, with a new start. A job that the system queues
    again by itself, as when a node is lost, goes on likewise.

    Args:
        request: what to submit.
        options: as for :func:`ztxexp_execute`.

    Returns:
        The ids of the jobs, in the order of their numbers; fewer where the system takes no more.

    Raises:
        ExecutorError: none could be submitted.
    """


@hookspec(firstresult=True)
def ztxexp_cancel(ids: Sequence[str]) -> None:
    """Cancel jobs, pending ones too, in as few calls as the system allows.

    Args:
        ids: of the jobs; one that has ended is left out in silence.
    """


@hookspec(firstresult=True)
def ztxexp_jobs(ids: Sequence[str]) -> Mapping[str, str] | None:
    """Return the state of jobs: ``pending``, ``running``, ``suspended`` or ``gone``. Optional.

    For an executor whose jobs outlive their launcher. Such a job has the variable ``ZTXEXP_JOB``,
    ``name:id:start``: the executor's name, the job's id, and a number that differs each time the
    same job is started. Then the owner records of its runs name the job, and the engine is asked
    about it, in one call and at most twice a minute, where they give no sign of life.

    Args:
        ids: of the jobs.

    Returns:
        By id. One that is left out is not known. A pending one may come with why it does not
        start, ``pending: PartitionTimeLimit``; leave out what is no news, as that others come
        first.
    """


@hookspec(firstresult=True, warn_on_impl_args=DEPRECATED_ARGS["ztxexp_expand"])
def ztxexp_expand(configs: Iterable[Config], options: Mapping[str, Any]) -> Iterable[Config] | None:
    """Turn each configuration into any number of configurations.

    Called when a sweep is built, in the order of its steps.

    - Be pure and deterministic: equal options give equal results. Use only randomness seeded by an
      option.
    - Do not modify the incoming configurations; copy before changing.
    - Read ``configs`` lazily; end after a finite number.

    Args:
        configs: the configurations that the earlier steps made.
        options: the keyword arguments of ``expand(name, **options)``; checked, and completed with
            defaults, if the plugin has ``Options``.

    Returns:
        The expanded configurations.
    """
