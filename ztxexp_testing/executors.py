"""The suite that every executor passes: :class:`ExecutorSuite`."""

from __future__ import annotations

from ztxexp_testing._executor_behaviour import ExecutorBehaviour
from ztxexp_testing._executor_faults import ExecutorFaults
from ztxexp_testing._executor_limits import ExecutorLimits
from ztxexp_testing._executor_sweeps import ExecutorSweeps

__all__ = ["ExecutorSuite"]


class ExecutorSuite(ExecutorBehaviour, ExecutorFaults, ExecutorLimits, ExecutorSweeps):
    """Promises of an executor, each a test; inherit it in a class whose name begins with ``Test``.

    It needs to know which executor: one that is installed by its name, or one that is not as a
    module or instance. What an executor cannot do is said by an attribute that holds the reason;
    the tests of it are skipped, and the reason is shown. A single test can be overridden, with a
    reason, where it asks for more than this executor should do. What is declared in ``supports`` is
    tested, and of what is not, that it is refused.

    Attributes:
        name: what users type, of an installed executor; or what ``plugin`` is to be called.
        plugin: a module or instance, which is installed while a test runs.
        options: settings that are passed in every call; kinds that JSON knows.
        runs_at_once: several runs go on at the same time, where there are several workers.
        is_lazy: a spec is taken when a worker is free for it.
        takes_ahead: so many specs are taken before there is a worker for them. None where
            ``supports`` has ``"gpus"``.
        survives_dead_worker: a process that dies costs the run that it carried out, and no other.
        tells_how_a_worker_died: its outcome says by which signal or exit code.
        survives_what_cannot_be_sent: a configuration or outcome that cannot be pickled costs its
            run only; otherwise it ends the launch with an error.
        ends_runs: closing the generator ends runs that are under way.
        ends_with_its_launcher: no worker outlives a launcher that was killed.
        leaves_nothing: no process and no thread of it is left when a call has ended.
        needs_no_main_guard: a script that starts a launch at its top level, and a notebook, work.
        lets_runs_start_processes: runs may start processes of their own.
        patience: seconds after which what does not come is taken for hanging.

    Example:
        >>> class TestThreads(ExecutorSuite):
        ...     name = "threads"
        ...     ends_runs = "a thread cannot be ended from outside"
    """
