"""The server or database of the ``mlflow`` tracker: its address, its client, whether it answers."""

from __future__ import annotations

import contextlib
import importlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ztxexp_core import ConfigError, importing, without_secrets

_ANSWER_SEC = 4.0
_DOWN_SEC = 30.0  # how long a server that did not answer is not asked again
_CONNECTED = ("postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc")
_UNREACHED = (407, 502, 503, 504)  # answers of a proxy that does not reach the server
_LOCK_SEC = 60.0  # MLflow takes seconds to make the tables of a database
_QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"

_down_until: dict[str, float] = {}
_lock = threading.Lock()
_quiet_calls = 0


def import_mlflow() -> Any:
    """Import the package.

    Raises:
        PluginImportError: it is not installed.
    """
    with importing("mlflow", "tracker", "mlflow", 'pip install "ztxexp[mlflow]"'):
        import mlflow
    return mlflow


# ---- the address -------------------------------------------------------------------------------


def resolved_uri(given: str | Path | None, setting: str | None) -> str:
    """Return where to send to; by default a database in the working folder.

    Args:
        given: to the tracker.
        setting: MLflow's own.
    """
    if given:
        return _absolute(
            given.expanduser().resolve().as_uri() if isinstance(given, Path) else given
        )
    if setting:
        return _absolute(setting)
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return str(import_mlflow().get_tracking_uri())
    # MLflow 3 would take a folder "mlruns" if there is one, and then refuse it.
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def _absolute(uri: str) -> str:
    """Return the address of a database file so that it holds in any working folder."""
    path = _database_file(uri)
    if path is None:
        return uri
    scheme, slashes, rest = uri.partition(":///")
    return f"{scheme}{slashes}{os.path.abspath(os.path.expanduser(path))}{rest[len(path) :]}"


def _database_file(uri: str) -> str | None:
    scheme, _, rest = uri.partition(":///")
    path = rest.partition("?")[0]
    return path if scheme.startswith("sqlite") and path not in ("", ":memory:") else None


def check_uri(uri: str) -> None:
    """Refuse an address that cannot work, without connecting to anything.

    Raises:
        ConfigError: a plain folder, a database in no folder, no host, an unknown kind of address.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            raise ConfigError(
                f"MlflowTracker: tracking_uri {without_secrets(uri)!r} names no host; write for "
                "example tracking_uri='http://127.0.0.1:5000'"
            )
    elif parts.scheme.partition("+")[0] == "sqlite":
        _check_folder(uri)
    elif parts.scheme.partition("+")[0] not in _CONNECTED:
        make_client(import_mlflow(), uri)  # a folder, or of a kind that a plugin of MLflow knows


def _check_folder(uri: str) -> None:
    path = _database_file(uri)
    if path is not None and not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(
            f"MlflowTracker: there is no folder {os.path.dirname(path)!r} for the database of "
            f"tracking_uri {uri!r}; make the folder or correct tracking_uri"
        )


# ---- the client --------------------------------------------------------------------------------


def make_client(mlflow: Any, uri: str) -> Any:
    """Return a client, and make the tables of a database that has none.

    Raises:
        ConfigError: the address is a plain folder, or that of a database in no folder.
    """
    try:
        with _making_tables(uri):
            return mlflow.MlflowClient(tracking_uri=uri)
    except mlflow.MlflowException as exc:
        if "unsupported URI" in str(exc):
            raise ConfigError(
                "MlflowTracker: MLflow knows no address like tracking_uri "
                f"{without_secrets(uri)!r}; write for example 'http://127.0.0.1:5000' or "
                "'sqlite:///mlflow.db'"
            ) from None
        if "MLFLOW_ALLOW_FILE_STORE" not in str(exc):
            raise
        raise ConfigError(
            f"MlflowTracker: tracking_uri {uri!r} is a plain folder, which MLflow "
            f"{mlflow.__version__} refuses; give a database (tracking_uri='sqlite:///mlflow.db') "
            "or the address of a server, or set MLFLOW_ALLOW_FILE_STORE=true"
        ) from exc


def experiment_id(client: Any, name: str) -> str:
    """Return the id of an experiment; it is made if there is none.

    Raises:
        ConfigError: it was deleted.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except Exception:  # another worker may have made it just now
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise ConfigError(
            f"MlflowTracker: the experiment {name!r} was deleted; restore it "
            f"(mlflow experiments restore --experiment-id {experiment.experiment_id}) "
            "or give another experiment_name"
        )
    return str(experiment.experiment_id)


@contextlib.contextmanager
def _making_tables(uri: str) -> Iterator[None]:
    """Let one process at a time make the tables of a database file: two at once damage it."""
    _check_folder(uri)
    path = _database_file(uri)
    if path is None or _has_tables(path):
        yield
        return
    from filelock import FileLock

    with FileLock(f"{path}.ztxexp-lock", timeout=_LOCK_SEC):
        yield
    # Whoever waits for this very file finds the tables made.
    with contextlib.suppress(OSError):
        os.unlink(f"{path}.ztxexp-lock")


def _has_tables(path: str) -> bool:
    """Return whether the tables are made: MLflow makes its default experiment last."""
    if not os.path.exists(path):
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


# ---- calls -------------------------------------------------------------------------------------


@contextlib.contextmanager
def calls(uri: str, *, always: bool = False) -> Iterator[None]:
    """Make calls of MLflow's, if its server answers.

    MLflow itself waits minutes for a dead server. Its settings for that would count for the user's
    own calls too, which are made at the same time in another thread, so the server is asked first.

    Args:
        uri: of the server or database.
        always: ask also a server that did not answer a moment ago.

    Raises:
        ConnectionError: the server does not answer.
    """
    where = f"MLflow at {without_secrets(uri)}"
    if uri.startswith("http") and not always and time.monotonic() < _down_until.get(uri, 0.0):
        raise ConnectionError(f"{where} did not answer a moment ago and is not asked again yet")
    try:
        if uri.startswith("http"):
            _ask(uri)
        with _quiet():
            yield
    except Exception as exc:
        if uri.startswith("http") and is_network(exc):
            _down_until[uri] = time.monotonic() + _DOWN_SEC
            # Without its cause: MLflow's text holds the address with the password.
            raise ConnectionError(
                f"{where} does not answer{_way_out(uri)}. The run's own files are complete "
                "without it"
            ) from None
        if without_secrets(str(exc)) != str(exc):
            raise RuntimeError(f"{where}: {without_secrets(str(exc))}") from None
        raise
    _down_until.pop(uri, None)


def _ask(uri: str) -> None:
    """Ask a server for anything; whatever it answers itself, it answers."""
    requests: Any = importlib.import_module("requests")
    with contextlib.suppress(requests.exceptions.SSLError):  # MLflow may be told to accept it
        answer = requests.get(uri, timeout=_ANSWER_SEC, allow_redirects=False, stream=True)
        answer.close()
        if answer.status_code in _UNREACHED:
            raise ConnectionError(f"{answer.status_code} {answer.reason}")


def _way_out(uri: str) -> str:
    """Return what to do about a server that does not answer, for the end of a sentence."""
    utils: Any = importlib.import_module("requests.utils")
    proxy = utils.select_proxy(uri, utils.get_environ_proxies(uri))
    if proxy is None:
        return "; start the server or correct tracking_uri"
    host = urlsplit(uri).hostname
    return (
        f" through the proxy {without_secrets(proxy)} of the environment; set NO_PROXY={host}, "
        "or correct HTTP_PROXY or tracking_uri"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from printing addresses, unless the user has said whether it does."""
    global _quiet_calls
    with _lock:
        mine = _quiet_calls > 0 or _QUIET not in os.environ
        if mine:
            _quiet_calls += 1
            os.environ[_QUIET] = "true"
    try:
        yield
    finally:
        with _lock:
            _quiet_calls -= int(mine)
            if mine and _quiet_calls == 0:
                os.environ.pop(_QUIET, None)


def is_network(exc: BaseException | None) -> bool:
    """Return whether an error of the network stands behind an error."""
    requests: Any = importlib.import_module("requests")
    network = (ConnectionError, TimeoutError, requests.ConnectionError, requests.Timeout)
    while exc is not None:
        if isinstance(exc, network):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
