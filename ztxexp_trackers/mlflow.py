"""The ``mlflow`` tracker: every run of a sweep becomes a run of MLflow.

Everything is sent with explicit run ids. While the experiment function runs, the same run is also
the active one of its thread, so ``mlflow.log_metric(...)`` in user code lands in it; afterwards the
process is as it was before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ztxexp_core import (
    ConfigError,
    MetricEvent,
    PluginImportError,
    RunContext,
    RunMetadata,
    encode_json,
    plain,
)

# Limits of MLflow (mlflow.utils.validation): 100 parameters or 1000 metrics a batch, and 1 MB, in
# which a character takes up to 12 bytes.
_CHARS_PER_BATCH, _METRICS_PER_BATCH = 80_000, 1000
_VALUE_LENGTH, _NAME_LENGTH = 6000, 250
_BAD_CHARACTERS = re.compile(r"[^/\w.\- ]" if os.name == "nt" else r"[^/\w.\- :]")
_NON_FINITE = ("NaN", "Infinity", "-Infinity")

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_DOWN_SEC = 30.0  # so long a server that did not answer is not asked again
_CALL_DEFAULTS = {
    # MLflow's own (7 retries of 120 seconds) hold a run up for minutes when the server is dead.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowTracker:
    """Sends runs to MLflow: parameters, metrics over their steps, tags, how the run ended.

    Nested configurations become parameters with dotted names. Metrics of a split other than
    ``train`` are named ``<split>/<metric>``. Names with characters that MLflow refuses get ``_`` in
    their place. A failed run ends as FAILED, any other as FINISHED with the tag ``status``.

    Args:
        tracking_uri: address of the server or database. ``None`` takes MLflow's own setting
            (``MLFLOW_TRACKING_URI``), else ``mlflow.db`` in the working folder.
        experiment_name: ``None`` takes the experiment of the run's metadata, else MLflow's own.
        run_name: ``None`` takes the run id.

    Example:
        >>> pipeline.track("mlflow", tracking_uri="sqlite:///mlflow.db", experiment_name="digits")
    """

    requires = ("mlflow",)

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str | None = None,
        run_name: str | None = None,
    ):
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self._runs: dict[Path, _MlflowRun] = {}

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Start an MLflow run and log the configuration.

        Raises:
            ImportError: mlflow is not installed.
            ConfigError: ``tracking_uri`` is a plain folder, which MLflow no longer writes to.
            ConnectionError: the server does not answer.
        """
        mlflow = _mlflow()
        uri = _resolved_uri(mlflow, self.tracking_uri)
        experiment = self.experiment_name or meta.experiment_name
        with _calls(uri):
            run = _MlflowRun(mlflow, uri)
            run.open(experiment, self.run_name or ctx.run_id, _tags(ctx, meta))
            try:
                run.log_params(ctx)
            except BaseException:  # nobody will end a run that did not start
                run.close("FAILED")
                raise
        self._runs[ctx.run_dir] = run

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Log one event with its own step and time; nothing where the run did not start."""
        run = self._runs.get(ctx.run_dir)
        if run is not None:
            with _calls(run.uri):
                run.log_event(event)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Log the returned figures and the status, and end the run."""
        run = self._runs.pop(ctx.run_dir, None)
        if run is None:
            return
        status = str(summary.get("status"))
        try:
            with _calls(run.uri):
                run.log_result(status, summary.get("metrics"))
        finally:
            run.close("FAILED" if status == "failed" else "FINISHED")


class _MlflowRun:
    """One run of ours: explicit ids for all we send, and the active run of its thread."""

    def __init__(self, mlflow: Any, uri: str):
        self.uri, self.run_id = uri, ""
        self._mlflow, self._client = mlflow, _client(mlflow, uri)
        self._names, self._last_step = _Names(), 0
        self._thread, self._outer = threading.get_ident(), _active_id(mlflow)

    def open(self, experiment: str | None, name: str, tags: dict[str, str]) -> None:
        experiment_id = _experiment_id(self._client, experiment) if experiment else None
        _process_uri.enter(self._mlflow)
        os.environ.pop("MLFLOW_RUN_ID", None)  # it would make one run of a whole sweep
        try:
            self._mlflow.set_tracking_uri(self.uri)
            active = self._mlflow.start_run(
                experiment_id=experiment_id, run_name=name, nested=True, tags=tags
            )
        except BaseException:
            _process_uri.leave()
            raise
        self.run_id = active.info.run_id

    def log_params(self, ctx: RunContext) -> None:
        names, make = _Names(), self._mlflow.entities.Param
        texts = {key: _param_text(value) for key, value in _leaves(plain(ctx.config))}
        for key in [key for key, text in texts.items() if len(text) > _VALUE_LENGTH]:
            ctx.logger.warning("MLflow gets only the beginning of the long value of %s", key)
            texts[key] = texts[key][: _VALUE_LENGTH - 3] + "..."
        params = [make(names[key], text) for key, text in texts.items()]
        size = 100 if sum(map(len, texts.values())) < _CHARS_PER_BATCH else 10
        for start in range(0, len(params), size):
            self._send(params=params[start : start + size])

    def log_event(self, event: MetricEvent) -> None:
        prefix = "" if event.split == "train" else f"{event.split}/"
        named = {prefix + name: value for name, value in event.metrics.items()}
        self._last_step = max(self._last_step, event.step)
        self._log_metrics(named, _milliseconds(event.timestamp), event.step)

    def log_result(self, status: str, figures: object) -> None:
        self._send(tags=[self._mlflow.entities.RunTag("status", status)])
        found = {key: _figure(value) for key, value in _leaves(plain(figures or {}))}
        numbers = {key: value for key, value in found.items() if value is not None}
        self._log_metrics(numbers, int(time.time() * 1000), self._last_step)

    def _log_metrics(self, values: Mapping[str, float], when: int, step: int) -> None:
        make = self._mlflow.entities.Metric
        rows = [make(self._names[name], float(v), when, step) for name, v in values.items()]
        for start in range(0, len(rows), _METRICS_PER_BATCH):
            self._send(metrics=rows[start : start + _METRICS_PER_BATCH])

    def _send(self, **batch: Any) -> None:
        self._client.log_batch(self.run_id, synchronous=True, **batch)

    def close(self, status: str) -> None:
        """End the run and leave the process as it was, whatever a call raises."""
        with contextlib.ExitStack() as last:
            _patience.enter()
            last.callback(_patience.leave)
            last.callback(_process_uri.leave)
            if self._thread == threading.get_ident():
                self._mlflow.set_tracking_uri(self.uri)
                last.callback(self._end_active, status)
            self._client.set_terminated(self.run_id, status)

    def _end_active(self, status: str) -> None:
        """Take ours, and what the user's function left open above it, off the thread's stack."""
        if _active_id(self._mlflow) not in (None, self._outer):
            try:
                self._mlflow.end_run(status)
            finally:
                self._end_active(status)


class _Names(dict[str, str]):
    """Names as MLflow takes them: allowed characters only, not too long, one for each name."""

    def __missing__(self, name: str) -> str:
        parts = _BAD_CHARACTERS.sub("_", name).split("/")
        # MLflow reads names as paths and refuses those that lead elsewhere.
        safe = "/".join(part for part in parts if part not in ("", ".", ".."))[:_NAME_LENGTH] or "_"
        chosen, number = safe, 1
        while chosen in self.values():
            number += 1
            chosen = f"{safe[: _NAME_LENGTH - 5]}_{number}"
        self[name] = chosen
        return chosen


class _Shared:
    """A change of the whole process: made for its first user, undone after its last one."""

    def __init__(self, change: Callable[..., contextlib.AbstractContextManager[None]]):
        self._change, self._undo = change, contextlib.ExitStack()
        self._lock, self._users = threading.Lock(), 0

    def enter(self, *args: Any) -> None:
        with self._lock:
            if self._users == 0:
                self._undo.enter_context(self._change(*args))
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._undo.close()


@contextlib.contextmanager
def _call_defaults() -> Iterator[None]:
    added = [name for name in _CALL_DEFAULTS if name not in os.environ]
    os.environ.update({name: _CALL_DEFAULTS[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _tracking_uri(mlflow: Any) -> Iterator[None]:
    # Without the variable MLflow tells what was set by a call; it sets the variable itself too.
    variable = os.environ.pop(_URI_VARIABLE, None)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    _put_variable(variable)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        _put_variable(variable)


def _put_variable(value: str | None) -> None:
    os.environ.pop(_URI_VARIABLE, None)
    if value is not None:
        os.environ[_URI_VARIABLE] = value


_patience, _process_uri = _Shared(_call_defaults), _Shared(_tracking_uri)
_down_until: dict[str, float] = {}


@contextlib.contextmanager
def _calls(uri: str) -> Iterator[None]:
    """Make calls impatient, and refuse them for a while after the server did not answer."""
    shown = re.sub(r"//[^/@]*@", "//", uri)  # without a password
    if time.monotonic() < _down_until.get(uri, 0.0):
        raise ConnectionError(f"MLflow at {shown} did not answer a moment ago; left alone")
    _patience.enter()
    try:
        yield
    except Exception as exc:
        if not (uri.startswith("http") and _is_network(exc)):
            raise
        _down_until[uri] = time.monotonic() + _DOWN_SEC
        raise ConnectionError(
            f"MLflow at {shown} does not answer; start the server or correct tracking_uri. "
            "The run's own files are complete without it"
        ) from exc
    finally:
        _patience.leave()


def _is_network(exc: BaseException | None) -> bool:
    """Tell whether an error of the network (an OSError, with requests) stands behind an error."""
    while exc is not None:
        if isinstance(exc, OSError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as exc:
        hint = 'install it with: pip install "ztxexp[mlflow]"'
        raise PluginImportError(
            f"tracker 'mlflow' needs the package mlflow; {hint}", "tracker", "mlflow"
        ) from exc
    return mlflow


def _active_id(mlflow: Any) -> str | None:
    run = mlflow.active_run()
    return run.info.run_id if run else None


def _resolved_uri(mlflow: Any, uri: str | Path | None) -> str:
    """Return the tracker's own URI, else MLflow's, which is a database unless the user asked."""
    if uri:
        return uri.resolve().as_uri() if isinstance(uri, Path) else uri
    found = str(mlflow.get_tracking_uri())
    # Where a folder mlruns lies about, MLflow 3 takes it and then refuses it.
    folder = not mlflow.is_tracking_uri_set() and found.startswith(("file:", "/"))
    allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}" if folder and not allowed else found


def _client(mlflow: Any, uri: str) -> Any:
    try:
        with _alone(uri):
            return mlflow.MlflowClient(tracking_uri=uri)
    except mlflow.MlflowException as exc:
        if "MLFLOW_ALLOW_FILE_STORE" not in str(exc):
            raise
        raise ConfigError(
            f"MlflowTracker: tracking_uri {uri!r} is a plain folder, which MLflow "
            f"{mlflow.__version__} refuses; give a database (tracking_uri='sqlite:///mlflow.db') "
            "or the address of a server, or set MLFLOW_ALLOW_FILE_STORE=true"
        ) from exc


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time open a database file: two that make its tables spoil it."""
    if not uri.startswith("sqlite:"):
        yield
        return
    import sqlite3

    key = f"{Path.home()} {os.path.abspath(uri.removeprefix('sqlite:///'))}"
    name = f"ztxexp-mlflow-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.lock"
    # A lock of SQLite works on every system and ends with the process that held it.
    lock = sqlite3.connect(Path(tempfile.gettempdir(), name), timeout=60, isolation_level=None)
    with contextlib.closing(lock):
        lock.execute("BEGIN EXCLUSIVE")
        yield


def _experiment_id(client: Any, name: str) -> str:
    """Return the id of an experiment, which another worker may be making at this moment."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except Exception:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _tags(ctx: RunContext, meta: RunMetadata) -> dict[str, str]:
    own = (
        {key: str(value) for key, value in meta.tags.items()} if isinstance(meta.tags, dict) else {}
    )
    return {
        **own,
        "run_id": ctx.run_id,
        "group": meta.group or "",
        "parent_run_id": meta.parent_run_id or "",
    }


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _param_text(value: Any) -> str:
    return encode_json(value).decode() if isinstance(value, (list, dict)) else str(value)


def _figure(value: Any) -> float | None:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or value in _NON_FINITE):
        return None
    return float(value)


def _milliseconds(timestamp: str) -> int:
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:  # an event made by hand
        return int(time.time() * 1000)
    return int(moment.timestamp() * 1000)
