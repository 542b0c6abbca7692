"""The ``mlflow`` tracker: every run of a sweep becomes a run of MLflow.

Everything is sent with explicit run ids. While the experiment function runs, the same run is also
the active one of its thread, so ``mlflow.log_artifact(...)`` in user code lands in it. Afterwards
thread and process are as they were before.
"""

from __future__ import annotations

import functools
import getpass
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ztxexp_core import MetricEvent, RunContext, RunMetadata, without_secrets
from ztxexp_trackers._common import Runs, run_record
from ztxexp_trackers._mlflow_active import EXPERIMENT, EXPERIMENT_NAME, URI, active, process
from ztxexp_trackers._mlflow_run import (
    RUN_ID,
    Names,
    RemoteRun,
    checked_tags,
    find,
    milliseconds,
    param_texts,
)
from ztxexp_trackers._mlflow_server import (
    calls,
    check_uri,
    experiment_id,
    import_mlflow,
    is_network,
    make_client,
    resolved_uri,
)

_ENDS = {"succeeded": "FINISHED", "skipped": "FINISHED", "failed": "FAILED"}
_KILLED = ("killed", "oom", "timeout", "lost", "interrupted")  # reasons that are no exception
_ENDING = ("status", "reason", "error_type", "error_message", "attempt", "retry_count")
_DEFAULT_EXPERIMENT = "0"


class MlflowTracker:
    """Sends runs to MLflow: parameters, metrics over their steps, tags, files, how the run ended.

    Nested configurations become parameters with dotted names. Metrics of a split other than
    ``train`` are named ``<split>/<metric>``. Names with characters that MLflow refuses get ``_`` in
    their place and a mark (``acc@1`` becomes ``acc_1-`` and eight characters, in every run the
    same), values that are too long lose their end; the run's log says which.

    A run ends as FINISHED, also where it was skipped, as KILLED where its process was killed or
    interrupted, timed out or ran out of memory, else as FAILED; the tags ``status`` and ``reason``
    say it in the words of ``run.json``. A run that is resumed or replayed goes on in the same run
    of MLflow, found by its tag ``run_id``; the tag ``attempt_2_since`` tells from when on points
    are those of the second attempt.

    Args:
        tracking_uri: address of the server or database. ``None`` takes MLflow's own setting
            (``MLFLOW_TRACKING_URI``), else ``mlflow.db`` in the working folder.
        experiment_name: ``None`` takes the experiment of the run's metadata, else MLflow's own.
        run_name: ``None`` takes that of the run's metadata, such as ``3f2a lr=0.1 seed=2``: what
            differs in the sweep; else the run id, which is also the tag ``run_id``.
        log_artifacts: upload everything in ``ctx.artifacts_dir`` at the end; otherwise only what
            ``ctx.log_artifact`` was given, at once (since 2.0).

    Example:
        >>> pipeline.track("mlflow", tracking_uri="sqlite:///mlflow.db", experiment_name="digits")
    """

    requires = ("mlflow",)

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str | None = None,
        run_name: str | None = None,
        log_artifacts: bool = False,
    ):
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.log_artifacts = log_artifacts
        self._runs: Runs[RemoteRun] = Runs()

    @staticmethod
    def check_options(tracking_uri: str | None = None, **others: Any) -> None:
        """Refuse an address that MLflow cannot use; nothing is connected to."""
        check_uri(resolved_uri(tracking_uri, process.users()[URI]))

    @property
    def destination(self) -> str:
        """Where runs are sent to: the address without a password, and the experiment if given."""
        uri = without_secrets(resolved_uri(self.tracking_uri, process.users()[URI]))
        if not uri.startswith("sqlite"):
            uri = uri.partition("?")[0]  # the options of a database may hold a password too
        return f"{uri} experiment {self.experiment_name}" if self.experiment_name else uri

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Start an MLflow run, or go on with the one there is, and log the configuration.

        Raises:
            ImportError: mlflow is not installed.
            ConfigError: ``tracking_uri`` is a plain folder, which MLflow no longer writes to.
            ConnectionError: the server does not answer.
        """
        with self._runs.starting(ctx.run_dir):
            self._start(ctx, meta)

    def _start(self, ctx: RunContext, meta: RunMetadata) -> None:
        mlflow = import_mlflow()
        uri = resolved_uri(self.tracking_uri, process.users()[URI])
        param_texts(ctx.config)  # what has no plain form is an error before there is a run
        with calls(uri, always=ctx.replayed):  # who sends again asks anew
            client = make_client(mlflow, uri)
            run = RemoteRun(client, uri, ctx.logger)
            self._open(run, client, self._experiment(client, meta), ctx, meta)
            try:
                run.log_params(ctx.config)
            except Exception as exc:  # nobody will end a run that did not start
                if not is_network(exc) and (run.is_new or not ctx.replayed):
                    run.end("FAILED")
                raise
        self._runs[ctx.run_dir] = run

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Log one event with its own step and time; nothing where the run did not start."""
        self.on_metrics(ctx, [event])

    def on_metrics(self, ctx: RunContext, events: list[MetricEvent]) -> None:
        """Log several events, each with its own step and time (since 2.0)."""
        self._send(ctx, RemoteRun.log_events, events)

    def on_params(self, ctx: RunContext, params: dict[str, Any]) -> None:
        """Log further parameters (since 2.0)."""
        self._send(ctx, RemoteRun.log_params, params)

    def on_artifact(self, ctx: RunContext, path: Path, name: str) -> None:
        """Upload a file or folder under its name (since 2.0)."""
        self._send(ctx, RemoteRun.upload, path, name)

    def _send(self, ctx: RunContext, call: Callable[..., None], *args: Any) -> None:
        run = self._runs.get(ctx.run_dir)
        if run is not None:
            with calls(run.uri):
                call(run, *args)

    def in_run(self, ctx: RunContext) -> AbstractContextManager[None]:
        """Make the run the active one of this thread (since 2.0).

        What the user's function leaves open above it is ended.
        """
        return active(functools.partial(self._runs.find, ctx.run_dir), ctx.logger)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Log the final figures and the status, and end the run."""
        run = self._runs.pop(ctx.run_dir, None)
        if run is None:
            return
        when = milliseconds(run_record(ctx).get("finished_at"))
        # A server that was down a moment ago is asked once more: a run should not stay open.
        with calls(run.uri, always=True):
            try:
                run.set_ending(_ending_tags(ctx, summary))
                run.log_result(summary.get("metrics") or {}, when)
            except Exception as exc:
                if not is_network(exc):
                    run.end(_end(summary), when)
                raise
            run.end(_end(summary), when)
            if self.log_artifacts:  # last, as it may take long
                run.upload_rest(ctx.artifacts_dir)

    def knows(self, ctx: RunContext) -> bool:
        """Return whether MLflow has the run; one that was deleted on its pages stays deleted."""
        mlflow = import_mlflow()
        uri = resolved_uri(self.tracking_uri, process.users()[URI])
        with calls(uri, always=True):
            client = make_client(mlflow, uri)
            experiment = self._experiment(client, ctx.meta)
            return find(client, experiment, ctx.run_id, deleted_too=True) is not None

    def _experiment(self, client: Any, meta: RunMetadata) -> str:
        users = process.users()
        name = self.experiment_name or meta.experiment_name or users[EXPERIMENT_NAME]
        return experiment_id(client, name) if name else users[EXPERIMENT] or _DEFAULT_EXPERIMENT

    def _open(
        self, run: RemoteRun, client: Any, experiment: str, ctx: RunContext, meta: RunMetadata
    ) -> None:
        tags = _tags(ctx, meta)
        parent = meta.parent_run_id and find(client, experiment, meta.parent_run_id)
        if parent and meta.parent_run_id != ctx.run_id:
            tags["mlflow.parentRunId"] = parent.info.run_id  # MLflow's pages show it below that one
        known = ctx.attempt > 1 or ctx.replayed
        there = find(client, experiment, ctx.run_id) if known else None
        if there is not None:
            del tags["mlflow.user"]  # who made it, which may have been a colleague
            if ctx.replayed:
                del tags["status"]  # told at the end; until then the old one holds
            run.reopen(there, tags, running=not ctx.replayed)
        else:
            start = milliseconds(run_record(ctx).get("started_at"))
            run.open(experiment, self.run_name or meta.run_name or ctx.run_id, tags, start)


def _end(summary: dict[str, object]) -> str | None:
    """Return how MLflow says that a run ended; ``None`` for one that has not."""
    status = str(summary.get("status"))
    killed = status == "failed" and summary.get("reason") in _KILLED
    return "KILLED" if killed else _ENDS.get(status)


def _tags(ctx: RunContext, meta: RunMetadata) -> dict[str, str]:
    defaults = {
        "mlflow.source.git.commit": meta.git_commit,
        "mlflow.user": _user(),
        "mlflow.source.name": _program(meta.started_cmd) if meta.started_cmd else None,
        "mlflow.source.type": "LOCAL" if meta.started_cmd else None,
    }
    ours = {
        RUN_ID: ctx.run_id,
        "group": meta.group or "",
        "parent_run_id": meta.parent_run_id or "",
        "attempt": str(ctx.attempt),
        "status": "running",
        "experiment_name": meta.experiment_name,
        "dataset_version": meta.dataset_version,
        "hostname": meta.hostname,
    }
    given = meta.tags or {}
    given = given if isinstance(given, dict) else dict.fromkeys(given, "true")
    theirs = {str(key): str(value) for key, value in given.items()}
    names = Names("tag", ctx.logger, taken=[*ours, *_ENDING])
    tags = {**defaults, **checked_tags(theirs, names, ctx.logger), **ours}
    return {name: text for name, text in tags.items() if text is not None}


def _ending_tags(ctx: RunContext, summary: dict[str, object]) -> dict[str, str]:
    texts = {name: str(summary[name]) for name in _ENDING if summary.get(name) is not None}
    return checked_tags(texts, Names("tag", ctx.logger), ctx.logger)


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container without names of users
        return "unknown"  # as MLflow has it


def _program(command: str) -> str:
    try:
        return shlex.split(command)[0]
    except (ValueError, IndexError):
        return command
