"""The fluent entry point: :class:`ExperimentPipeline`."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ztxexp.configs.builder import ConfigBuilder
from ztxexp.launch.interrupts import interruptible
from ztxexp.launch.launch import launch
from ztxexp.launch.options import LaunchOptions, Mode, TimeLimit
from ztxexp.launch.other_code import CodeRule
from ztxexp.launch.plan import Plan
from ztxexp.launch.planning import plan_sweep
from ztxexp.provenance.code_version import version_of
from ztxexp.results.history import check_reason
from ztxexp.results.summary import RunSummary
from ztxexp.targets import base_of, check_configs, experiment
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import OptionError, closest
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import check_instance
from ztxexp_core.records import Config, RunMetadata
from ztxexp_core.run.launch import TRACKER_TIMEOUT_SEC, ExperimentFn, RetryRule
from ztxexp_core.run.printed import METRIC_LINE
from ztxexp_core.store.run_folder import root_path
from ztxexp_core.values.copying import copy_config

if TYPE_CHECKING:
    from typing_extensions import Self


_log = logging.getLogger("ztxexp")


class ExperimentPipeline(ConfigBuilder):
    """Describes a sweep and runs it; :class:`ConfigBuilder` says how configurations are made.

    Args:
        results_root: folder that holds a folder for every run.
        base_config: what every configuration starts from.
        code: for ``exclude_completed`` and ``resume``: ``"same"`` reuses only results of the
            present version of the function and of what it calls in your own files, and goes on in
            folders of no other; ``"function"`` only those of the same function or command, of
            another version with a warning; ``"any"`` reuses all; ``None`` does so with a warning
            (since 2.0).

    Example:
        >>> summary = (
        ...     ExperimentPipeline("./results", base_config={"seed": 42})
        ...     .grid({"lr": [1e-3, 1e-2]})
        ...     .exclude_completed()
        ...     .run(exp_fn, mode="process_pool", workers=2)
        ... )
    """

    def __init__(
        self, results_root: str | Path, base_config: Any = None, code: CodeRule | None = None
    ):
        super().__init__(base_config)
        self._code_rule: CodeRule | None = None
        self._set_code_rule(code)
        self.results_root = root_path(results_root)
        self._metadata: dict[str, Any] = {}
        self._retry: dict[str, Any] = {}
        self._tracker_specs: list[dict[str, Any]] = []
        self._trackers: list[Tracker] = []
        self._resume = False
        self._only_failed: frozenset[str] | None = None
        self._sweep: Mapping[str, Any] | None = None  # what ``ztxexp run`` was asked for

    # -- which configurations

    def _set_code_rule(self, code: CodeRule | None) -> None:
        rules = get_args(CodeRule)
        if code not in (None, *rules):
            near = closest(code, rules)
            raise OptionError(f'code must be "same", "function" or "any", got {code!r}{near}')
        self._code_rule = code or self._code_rule

    def version(self, version: str) -> Self:
        """State a version of the code by hand; it is part of every configuration's identity.

        Results of another version, or of none, are not reused from then on (since 2.0).

        Raises:
            OptionError: it is not 1 to 32 letters, digits, dots, hyphens or underscores.

        Example:
            >>> pipeline.version("2").exclude_completed().run(train)
        """
        if not isinstance(version, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", version):
            raise OptionError(
                "version must be a string of 1 to 32 letters, digits, dots, hyphens or "
                f'underscores, such as "2", got {version!r}'
            )
        self._code_version = version
        return self

    def exclude_completed(
        self, ignore_keys: Sequence[str] | None = None, code: CodeRule | None = None
    ) -> Self:
        """Leave out configurations that have succeeded under this results root.

        What failed or ended with ``SkipRun`` is run again.

        Launches that do so at the same time, from any number of processes or hosts on one shared
        folder, share the work: each configuration is run by one of them.

        Args:
            ignore_keys: keys that do not count in the comparison, dotted for nested ones; the log
                names one that no configuration has.
            code: whether results of another version of the code count, as for the pipeline.

        Raises:
            TypeError: ``ignore_keys`` is a string or a path.
        """
        if isinstance(ignore_keys, (str, Path)):
            raise TypeError(
                "exclude_completed of a pipeline looks under its own results root; "
                f'give a list of keys to ignore, such as ["note"], not {ignore_keys!r}'
            )
        self._set_code_rule(code)
        return self.exclude_root(None, ignore_keys)

    def resume(
        self, ignore_keys: Sequence[str] | None = None, code: CodeRule | None = None
    ) -> Self:
        """Continue where earlier launches ended; includes :meth:`exclude_completed`.

        Configurations whose last run failed, was interrupted or died are run again in their own
        folder: ``ctx.attempt`` is one more, and ``ctx.checkpoints_dir`` holds what earlier attempts
        have written there.

        Args:
            ignore_keys: keys that do not count in the comparison, dotted for nested ones.
            code: whether runs of another version of the code count, as for the pipeline. With
                ``"same"`` its failures are run anew, in folders of their own.

        Example:
            >>> pipeline.grid({"lr": [0.1, 0.01]}).resume().run(train)
        """
        self._resume = True
        return self.exclude_completed(ignore_keys, code)

    def retry_failed(self, *reasons: str) -> Self:
        """Run only configurations whose last run failed, each in its own folder.

        Args:
            *reasons: only these, as ``reason`` or ``error_type`` of ``run.json`` has them, such as
                ``"timeout"``, ``"killed"``, ``"OSError"``; none for all.

        Raises:
            TypeError: a reason is not a string.
            OptionError: a reason is misspelt.

        Example:
            >>> pipeline.grid({"lr": [0.1, 0.01]}).retry_failed("timeout").run(train, timeout=600)
        """
        if not all(isinstance(reason, str) for reason in reasons):
            raise TypeError(f"retry_failed takes reasons such as 'timeout', got {reasons!r}")
        for reason in reasons:
            check_reason(reason)
        self._only_failed = frozenset(reasons)
        return self.resume()

    def build(self) -> list[Config]:
        """Return the final list of configurations, duplicates included.

        ``code="same"`` has no effect here, and a warning says so: only a function has a version.
        ``plan(exp_fn)`` and ``run(exp_fn)`` know it.
        """
        if self._code_rule in ("same", "function"):
            _log.warning(
                'build() knows no function, so code="%s" has no effect on its list; '
                "plan(exp_fn).to_run has what would run",
                self._code_rule,
            )
        if self._only_failed is None:
            return super().build()
        return [item.config for item in self._planned(allow_duplicates=True).to_run]

    # -- what is recorded with each run

    def name(self, experiment_name: str) -> Self:
        """Set the name of the experiment."""
        self._metadata["experiment_name"] = experiment_name
        return self

    def group(self, group_name: str) -> Self:
        """Set the group within the experiment."""
        self._metadata["group"] = group_name
        return self

    def tags(self, tags: dict[str, str] | list[str]) -> Self:
        """Set the tags, a mapping or a list of words."""
        self._metadata["tags"] = copy.copy(tags)
        return self

    def lineage(self, parent_run_id: str | None) -> Self:
        """Set the run that these runs descend from."""
        self._metadata["parent_run_id"] = parent_run_id
        return self

    def note_sweep(self, sweep: Mapping[str, Any]) -> Self:
        """Keep what a command line asked for in the record of the launch; `ztxexp run` does so."""
        self._sweep = sweep
        return self

    # -- how they run

    def retry(
        self,
        max_attempts: int = 1,
        retry_on: Sequence[str | type[BaseException]] = ("Exception",),
        delay: float = 0.0,
        backoff: float = 1.0,
    ) -> Self:
        """Try failures again.

        Args:
            max_attempts: attempts in one launch; below 1 counts as 1.
            retry_on: names of exceptions, with or without their module (a parent's covers its
                children), or exception classes; ``"WorkerDied"`` and ``"Timeout"`` for runs whose
                process died, or was stopped.
            delay: seconds before the second attempt.
            backoff: factor by which the delay grows before each further attempt.

        Raises:
            ValueError, TypeError: an argument is not a number, a name or an exception class.
        """
        attempts = max(1, int(max_attempts))
        RetryRule.of(attempts, retry_on, delay, backoff)  # an error belongs to this line
        self._retry = {
            "max_attempts": attempts,
            "retry_on": retry_on,
            "retry_delay": delay,
            "retry_backoff": backoff,
        }
        return self

    def track(self, tracker: Tracker | str, **kwargs: Any) -> Self:
        """Send the runs to a tracker as well.

        Args:
            tracker: the name of an installed tracker, or an instance of one.
            **kwargs: arguments of a tracker given by name.

        Raises:
            PluginError: no such tracker, or one that cannot be used here.
            OptionError: arguments that the tracker does not take.

        Example:
            >>> pipeline.track("mlflow", experiment_name="digits")
        """
        if isinstance(tracker, str):
            registry.tracker_spec(tracker.lower(), kwargs)  # an error belongs to this line
            self._tracker_specs.append({"type": tracker.lower(), "kwargs": kwargs})
            return self
        if kwargs:
            raise OptionError(
                f"arguments ({', '.join(kwargs)}) are for a tracker given by name; "
                f"this {type(tracker).__name__} exists already"
            )
        check_instance(tracker)
        self._trackers.append(tracker)
        return self

    # -- what would happen, and letting it happen

    def plan(
        self,
        exp_fn: ExperimentFn | None = None,
        allow_duplicates: bool = False,
        *,
        command: Sequence[str] | None = None,
    ) -> Plan:
        """Print what :meth:`run` would do with each configuration, and why; nothing is run.

        Args:
            exp_fn: the function, to be told which results come from another version of it.
            allow_duplicates: as for :meth:`run`.
            command: instead of the function, as for :meth:`run`.

        Returns:
            The plan: new, resumed, reused (by which run), duplicate, filtered out (by which rule).

        Raises:
            OptionError: ``code="same"`` was asked for, and no function is given.
            ConfigError: a configuration that the function or command cannot take.

        Example:
            >>> plan = pipeline.plan(train)
            >>> len(plan.to_run)
            12
        """
        exp_fn = experiment(exp_fn, command, METRIC_LINE)
        plan = self._planned(allow_duplicates, exp_fn)
        check_configs(exp_fn, [item.config for item in plan.to_run])
        if self._code_rule in ("same", "function") and exp_fn is None:
            rule = f'code="{self._code_rule}"'
            raise OptionError(f"{rule} compares versions of the function; write plan(exp_fn)")
        plan.show()
        return plan

    def run(
        self,
        exp_fn: ExperimentFn | None = None,
        mode: Mode = "sequential",
        workers: int = 1,
        cpu_threshold: int = 80,
        options: Mapping[str, Any] | None = None,
        allow_duplicates: bool = False,
        timeout: TimeLimit = None,
        fresh_process: bool = False,
        gpus: Literal["auto"] | Sequence[int | str] | None = None,
        runs_per_gpu: int = 1,
        gpus_per_run: int = 1,
        gpu_memory_free: float | None = None,
        max_failures: int | None = None,
        max_failures_in_a_row: int | None = None,
        progress: bool | None = None,
        tracker_timeout: float = TRACKER_TIMEOUT_SEC,
        record_diff: bool | None = None,
        workdir: Literal["run"] | None = None,
        initializer: Callable[[], object] | None = None,
        flush_sec: float | None = 1.0,
        *,
        pass_env: Sequence[str] = (),
        needs: Mapping[str, Any] | None = None,
        detach: bool = False,
        command: Sequence[str] | None = None,
        metric_pattern: str | None = METRIC_LINE,
    ) -> RunSummary:
        """Build the configurations and run them.

        Args:
            exp_fn: ``exp_fn(ctx) -> dict | None``; for a plain function
                ``call_by_name(function)``.
            mode: name of an executor: ``sequential``, ``process_pool``, ``joblib``, ``dynamic``,
                for clusters ``slurm``, ``dask``, ``ray``, or any installed one.
            workers: runs at a time; -1 for one per available core, or per slot of ``gpus``; where
                the executor's workers are on other machines, it says how many.
            cpu_threshold: per cent of CPU use above which ``dynamic`` starts nothing more.
            options: settings of the executor.
            allow_duplicates: run a configuration as often as it is in the list; by default it runs
                once.
            timeout: seconds after which a run is stopped: SIGTERM to its process group, SIGKILL 5
                seconds later. Or the key of each configuration that holds the number, or a function
                of the configuration; ``None`` for no limit. It covers all attempts that one process
                makes and the pauses between them. If ``exp_fn`` handles SIGTERM and returns in
                time, its result counts.
            fresh_process: give every run a new process.
            gpus: ``"auto"`` for all that this process may use, or a list such as ``[0, 1]``,
                numbered as ``CUDA_VISIBLE_DEVICES`` leaves them. Each run sees only its own.
            runs_per_gpu: how many runs share a GPU.
            gpus_per_run: how many GPUs a run gets.
            gpu_memory_free: GiB that must be free on a GPU before a run gets it.
            max_failures: stop the launch when so many runs have failed; runs under way finish.
            max_failures_in_a_row: stop it when so many have failed without a success between them.
            progress: show how far the launch is; ``None`` asks ``ZTXEXP_PROGRESS`` (0 for no).
            tracker_timeout: seconds that a run waits for a tracker, once at its start and once at
                its end. A tracker that takes longer is tried again after a pause. What trackers
                lack at the end is sent then, for six times as long at most.
            record_diff: keep what is not committed to git, as a patch in the results root; ``None``
                asks ``ZTXEXP_RECORD_DIFF`` (0 for no).
            workdir: ``"run"`` makes ``ctx.artifacts_dir`` the working folder while a run's function
                is executed, so that no run sees relative paths of another; ``None`` leaves all runs
                in the folder of the script.
            initializer: called without arguments once in each worker process before its first run,
                and once in sequential mode: for what a script sets at its top and workers do not
                take over.
            flush_sec: after so many seconds a run that has ended is on the disk, so that a power
                cut does not cost it; 0 brings each there before its end is told, ``None`` leaves it
                to the system (about half a minute), for sweeps of tiny runs.
            pass_env: names of environment variables that runs on other machines see as this process
                does, such as ``["HF_HOME"]``; runs on this machine see all of them. One that is not
                set here is left out. (Since 2.0.)
            needs: what each run needs where the executor places runs on machines:
                ``{"cpus": 4, "gpus": 1, "memory": "16GiB", "time": 3600}``, and others that the
                executor knows. Each a value, the key of each configuration that holds it, or a
                function of the configuration, or of it and the number of the attempt. Attempts that
                one process makes share what the first one was given. (Since 2.0.)
            detach: return as soon as the jobs are submitted, with their names in ``summary.jobs``;
                only where the executor submits jobs. ``ztxexp status`` says how far they are. The
                same script again waits for them, or adds some where they are missing; no run is
                made twice. (Since 2.0.)
            command: instead of ``exp_fn`` a program and its arguments, as a list; ``{key}`` stands
                for a value of the configuration, ``{{`` and ``}}`` for braces. No shell reads it.
                Each run is a process of its own; it fails unless the exit code is 0. (Since 2.0.)
            metric_pattern: of lines printed by the command that are metrics: a regular expression
                with the groups ``name`` and ``value``, perhaps ``step``. By default lines such as
                ``accuracy: 0.93``; ``None`` for none.

        Returns:
            Counts, duration, what failed and why.

        Raises:
            ValueError, TypeError, ZtxexpError: as :meth:`ExpRunner.run`; nothing was started.
        """
        settings = {
            **locals(),
            **self._retry,
            "metadata": RunMetadata(**self._metadata),
            "tracker_specs": self._tracker_specs,
            "trackers": self._trackers,
            "code_version": self._code_version,
            "sweep": self._sweep,
        }
        with interruptible():
            exp_fn = experiment(exp_fn, command, metric_pattern)
            plan = self._planned(allow_duplicates, exp_fn)
            return launch(plan, self.results_root, exp_fn, LaunchOptions.of(settings))

    def _planned(self, allow_duplicates: bool, exp_fn: ExperimentFn | None = None) -> Plan:
        builder = self
        if base := base_of(exp_fn):
            builder = self.copy()
            builder._base = {**copy_config(base), **self._base}
        return plan_sweep(
            builder,
            self.results_root,
            self._resume,
            self._only_failed,
            allow_duplicates,
            code=None if exp_fn is None else version_of(exp_fn),
            code_rule=None if exp_fn is None else self._code_rule,
            stated_version=self._code_version,
            from_shell=self._sweep is not None,
        )
