"""The suite that every executor which submits jobs passes: :class:`SubmittingSuite`."""

from __future__ import annotations

from ztxexp_testing._submitting_hooks import SubmittingHooks
from ztxexp_testing._submitting_launches import SubmittingLaunches

__all__ = ["SubmittingSuite"]


class SubmittingSuite(SubmittingHooks, SubmittingLaunches):
    """Promises of an executor that submits jobs, each a test; inherit it as ``ExecutorSuite``.

    Set ``name``, and ``plugin`` where the executor is not installed. What it cannot do is declared
    by an attribute that holds the reason. Jobs must see the temporary folder of pytest: set
    ``--basetemp`` where that of this machine is not seen by the nodes.

    Attributes:
        name: the name of the executor.
        plugin: a module or instance, which is installed under that name while a test runs.
        options: settings for every call; values that JSON knows.
        observes_at_once: no more jobs of a request are under way than its ``at_once``.
        passes_sigterm: a command gets SIGTERM when its job is cancelled.
        queues_again: a job whose command ends with 75 is queued again.
        runs_here: jobs run on this machine, in this suite.
        ends_runs: cancelling the jobs ends their runs.
        leaves_nothing: no process and no thread is left when a call has ended.
        needs_no_main_guard: a script that starts a launch at its top level, and a notebook, work.
        refused_options: options with which the system refuses a job, so that it can be seen how.
        asks_every: seconds between two questions for the state of a job.
        lasting_threads: beginnings of the names of threads that the engine's library keeps.
        engine_says: a regular expression for lines that the engine's library writes to the standard
            error of a script, and that nobody can silence.
        gone_sec: seconds within which what is cancelled has ended.
        patience: seconds after which what does not come is taken for hanging.

    Example:
        >>> class TestPbs(SubmittingSuite):
        ...     name = "pbs"
        ...     patience = 300.0
    """
