"""What the tests of the mlflow tracker share: stores to write to, and what arrived in them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from ztxexp_trackers import _mlflow_server

mlflow = pytest.importorskip("mlflow")


# ---- stores ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Make the tables once: MLflow takes seconds for them."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where its default experiment keeps artifacts
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


@pytest.fixture
def uri(tmp_path, empty_store):
    shutil.copyfile(empty_store, tmp_path / "store.db")
    return f"sqlite:///{tmp_path / 'store.db'}"


@contextlib.contextmanager
def started_server(folder, port=None):
    """Run a real server; gives its address and process."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    variables = {name: value for name, value in os.environ.items() if name[:7] != "MLFLOW_"}
    variables["MLFLOW_DISABLE_TELEMETRY"] = "true"
    variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=variables
        )
    semaphores = set()
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health", process, folder / "server.log")
        semaphores = _semaphores_of(process.pid)
        yield address, process
    finally:
        end_group(process)
        for path in semaphores:  # killed, it cannot do so itself
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _semaphores_of(group):
    """Return the files of the semaphores that the processes of a group have mapped."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        with contextlib.suppress(OSError):
            if os.getpgid(int(pid)) == group:
                with open(f"/proc/{pid}/maps") as maps:
                    found |= {line.split()[5] for line in maps if "/dev/shm/sem.mp-" in line}
    return found


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """Give the address of a real server that tests share."""
    if os.name == "nt":
        pytest.skip("ends the server as a process group")
    with started_server(tmp_path_factory.mktemp("mlflow-server")) as (address, _):
        yield address


@pytest.fixture
def mortal_server(tmp_path):
    """Give a real server, and its process, to a test that ends it."""
    if os.name == "nt":
        pytest.skip("ends the server as a process group")
    with started_server(tmp_path) as started:
        yield started


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url, process, log):
    give_up = time.monotonic() + 150
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.2)


def end_group(process):
    """Kill a process group and wait until nothing of it lives."""
    if process.poll() is None or _group_lives(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    give_up = time.monotonic() + 20
    while _group_lives(process.pid):
        assert time.monotonic() < give_up, "a process of the server is left"
        time.sleep(0.05)


def _group_lives(group):
    import psutil

    for process in psutil.process_iter(["pid", "status"]):
        try:
            mine = os.getpgid(process.info["pid"]) == group
        except ProcessLookupError:
            continue
        if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            return True
    return False


# ---- the process -------------------------------------------------------------------------------


@pytest.fixture
def process_unchanged(tmp_path):
    """Whatever a test does, the process is afterwards as it was, and no lock is left."""
    before = mlflow_variables()
    yield
    assert mlflow.active_run() is None
    assert not mlflow.is_tracking_uri_set()
    give_up = time.monotonic() + 30  # a call that was left behind may be about to put them back
    while mlflow_variables() != before and time.monotonic() < give_up:
        time.sleep(0.05)
    after = mlflow_variables()
    assert after == before, (before, after)
    assert not list(tmp_path.rglob("*lock*"))
    _mlflow_server._down_until.clear()


def mlflow_variables():
    return {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}


# ---- telling and reading -----------------------------------------------------------------------


def follow(tracker, ctx, events=(), body=lambda: None, **summary):
    """Follow a run as the core does: the tracker is told in one thread, the run is in another."""
    with telling(tracker, ctx) as tell:
        tell("on_run_start", ctx.meta)
        with tracker.in_run(ctx):
            body()
        if events:
            tell("on_metrics", list(events))
        tell("on_run_end", {"status": "succeeded", "metrics": {}, **summary})


@contextlib.contextmanager
def telling(tracker, ctx):
    """Give a function that calls the tracker in a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda call, *args: thread.submit(getattr(tracker, call), ctx, *args).result()


def stored(uri, experiment="Default"):
    """Return the runs of an experiment by their tag ``run_id``; each may be there only once."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    by_id = {run.data.tags["run_id"]: run for run in runs}
    assert len(by_id) == len(runs)
    return by_id


def history(uri, run, name):
    client = mlflow.MlflowClient(tracking_uri=uri)
    return client.get_metric_history(run.info.run_id, name)


def curve(uri, run, name):
    return [(metric.step, metric.value) for metric in history(uri, run, name)]


def files(uri, run, path=None):
    """Return the paths of all files that were uploaded, sorted."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = []
    for entry in client.list_artifacts(run.info.run_id, path):
        found += files(uri, run, entry.path) if entry.is_dir else [entry.path]
    return sorted(found)


def write_record(ctx, **fields):
    """Write what ``run.json`` says of a run."""
    (ctx.run_dir / "run.json").write_text(json.dumps({"run_id": ctx.run_id, **fields}))
