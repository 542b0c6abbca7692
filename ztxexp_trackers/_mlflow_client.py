"""Where the ``mlflow`` tracker sends to, and how it calls: short of patience, and one at a time."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ztxexp_core import ConfigError, importing

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"  # seconds
_DOWN_SEC = 30.0  # so long a server that did not answer is not asked again
_LOCK_SEC = 60.0  # MLflow takes seconds to make the tables of a database

# MLflow's own (7 retries of 120 seconds) wait for minutes when the server is dead.
_IN_A_HURRY = {
    RETRIES: 1,  # for a connection that the server closed while it was idle
    TIMEOUT: 4,
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": True,
}
# Where MLflow asks for these settings.
_ASKED_IN = ("mlflow.utils.rest_utils", "mlflow.tracking._tracking_service.client")


def import_mlflow() -> Any:
    """Import the package.

    Raises:
        PluginImportError: it is not installed.
    """
    with importing("mlflow", "tracker", "mlflow", 'pip install "ztxexp[mlflow]"'):
        import mlflow
    return mlflow


# ---- where to ----------------------------------------------------------------------------------


def resolved_uri(given: str | Path | None, setting: str | None) -> str:
    """Return where to send to: a database in the working folder unless something is said.

    Args:
        given: to the tracker.
        setting: MLflow's own.
    """
    if given:
        return _whole(given.resolve().as_uri() if isinstance(given, Path) else given)
    if setting:
        return _whole(setting)
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return str(import_mlflow().get_tracking_uri())
    # Where a folder mlruns lies about, MLflow 3 takes it and then refuses it.
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def shown(uri: str) -> str:
    """Return an address, or a text with one in it, without its user name and password."""
    return re.sub(r"//[^/\s]*@", "//", uri)


def _whole(uri: str) -> str:
    """Return the address of a database file so that it holds in any working folder."""
    scheme, found, rest = uri.partition(":///")
    path, mark, options = rest.partition("?")
    if not (found and scheme.startswith("sqlite")) or path in ("", ":memory:"):
        return uri
    return f"{scheme}:///{os.path.abspath(path)}{mark}{options}"


def make_client(mlflow: Any, uri: str) -> Any:
    """Return a client, and make the tables of a database that has none.

    Raises:
        ConfigError: the address is a plain folder, or that of a database in no folder.
    """
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


def experiment_id(client: Any, name: str) -> str:
    """Return the id of an experiment, which another worker may be making at this moment.

    Raises:
        ConfigError: it was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except Exception:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise ConfigError(
            f"MlflowTracker: the experiment {name!r} was deleted; restore it "
            f"(mlflow experiments restore --experiment-id {found.experiment_id}) "
            "or give another experiment_name"
        )
    return str(found.experiment_id)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time make the tables of a database file: two at once spoil it.

    The lock is a file beside the database, there only as long as there are no tables.
    """
    path = _database_file(uri)
    while path is not None and not _has_tables(path):
        with _locked(f"{path}.ztxexp-lock") as mine:
            if mine:
                yield
                return
    yield


@contextlib.contextmanager
def _locked(file: str) -> Iterator[bool]:
    """Lock a file, and remove it in the end; false where another process has removed it."""
    Path(file).touch()
    before = os.stat(file)
    # A lock of SQLite works on every system and ends with the process that held it.
    lock = sqlite3.connect(file, timeout=_LOCK_SEC, isolation_level=None)
    with contextlib.closing(lock):
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            if _is_still(file, before):
                raise
        mine = _is_still(file, before)
        try:
            yield mine
        finally:
            if mine:
                with contextlib.suppress(OSError):  # Windows: others have it open
                    os.unlink(file)


def _database_file(uri: str) -> str | None:
    scheme, _, rest = uri.partition(":///")
    path = rest.partition("?")[0]
    if not scheme.startswith("sqlite") or path in ("", ":memory:"):
        return None
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(
            f"MlflowTracker: there is no folder {os.path.dirname(path)!r} for the database of "
            f"tracking_uri {uri!r}; make the folder or correct tracking_uri"
        )
    return path


def _has_tables(path: str) -> bool:
    """Tell whether MLflow is done with a database: its default experiment is made last."""
    if not os.path.exists(path):
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def _is_still(file: str, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(before, os.stat(file))
    except FileNotFoundError:
        return False


# ---- how to call -------------------------------------------------------------------------------

_own = threading.local()
_down_until: dict[str, float] = {}


@contextlib.contextmanager
def calls(uri: str, *, in_any_case: bool = False) -> Iterator[None]:
    """Make calls in a hurry, and refuse them for a while after the server did not answer.

    Args:
        uri: of the server.
        in_any_case: do not refuse them.

    Raises:
        ConnectionError: the server does not answer.
    """
    where = f"MLflow at {shown(uri)}"
    if not in_any_case and time.monotonic() < _down_until.get(uri, 0.0):
        raise ConnectionError(f"{where} did not answer a moment ago; left alone")
    try:
        with in_a_hurry():
            yield
    except Exception as exc:
        if uri.startswith("http") and is_network(exc):
            _down_until[uri] = time.monotonic() + _DOWN_SEC
            # Without its cause: MLflow's text holds the address with the password.
            raise ConnectionError(
                f"{where} does not answer; start the server or correct tracking_uri. "
                "The run's own files are complete without it"
            ) from None
        if shown(str(exc)) != str(exc):
            raise RuntimeError(f"{where}: {shown(str(exc))}") from None
        raise
    _down_until.pop(uri, None)


@contextlib.contextmanager
def in_a_hurry(**others: int) -> Iterator[None]:
    """Give MLflow's calls of this thread little time, unless the user has set how much.

    Args:
        others: further settings, by the names of their environment variables.
    """
    _listen()
    before = getattr(_own, "settings", {})
    _own.settings = {**_IN_A_HURRY, **others}
    try:
        yield
    finally:
        _own.settings = before


class _Setting:
    """Stands for a setting of MLflow's where that is asked for.

    Only the threads of trackers get another answer. Variables of the environment would count for
    the user's own calls too, which are made at the same time in another thread.
    """

    def __init__(self, setting: Any):
        self._setting = setting

    def get(self) -> Any:
        settings = getattr(_own, "settings", {})
        name = self._setting.name
        ours = name in settings and name not in os.environ
        return settings[name] if ours else self._setting.get()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._setting, name)

    def __str__(self) -> str:
        return str(self._setting)


def _listen() -> None:
    for name in _ASKED_IN:
        module = importlib.import_module(name)
        for variable in _IN_A_HURRY:
            setting = getattr(module, variable, None)  # versions differ in what they ask where
            if setting is not None and not isinstance(setting, _Setting):
                setattr(module, variable, _Setting(setting))


def is_network(exc: BaseException | None) -> bool:
    """Tell whether an error of the network stands behind an error."""
    requests: Any = importlib.import_module("requests")
    network = (ConnectionError, TimeoutError, requests.ConnectionError, requests.Timeout)
    while exc is not None:
        if isinstance(exc, network):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
