"""The mlflow tracker, against a real database and a real server: what arrived is read back."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from ztxexp_core import ConfigError, RunMetadata
from ztxexp_trackers import mlflow as module
from ztxexp_trackers.mlflow import MlflowTracker

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Make the tables once: MLflow takes seconds for them."""
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'empty.db'}").get_experiment("0")
    return folder / "empty.db"


@pytest.fixture
def uri(tmp_path, empty_store):
    shutil.copyfile(empty_store, tmp_path / "store.db")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(autouse=True)
def process_unchanged():
    """Whatever a test does, the process is afterwards as it was."""
    before = mlflow_variables()
    yield
    assert mlflow.active_run() is None
    assert not mlflow.is_tracking_uri_set()
    assert mlflow_variables() == before
    module._down_until.clear()


def mlflow_variables():
    return {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}


def stored(uri, experiment="Default"):
    """Return the runs of an experiment by their tag ``run_id``."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return {run.data.tags["run_id"]: run for run in runs}


def curve(uri, run, name):
    client = mlflow.MlflowClient(tracking_uri=uri)
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]


def follow(tracker, ctx, events=(), **summary):
    tracker.on_run_start(ctx, ctx.meta)
    for event in events:
        tracker.on_metric(ctx, event)
    tracker.on_run_end(ctx, {"status": "succeeded", "metrics": {}, **summary})


def test_a_run_arrives_whole(uri, make_ctx, make_event):
    meta = RunMetadata(experiment_name="exp", group="g", parent_run_id="p", tags={"team": "t"})
    config = {"lr": 1e-05, "net": {"depth": 2, "sizes": (3, 4)}, "on": True, "none": None, "e": {}}
    ctx = make_ctx(config=config, meta=meta)
    events = [make_event(step, {"loss": 1.0 / step}) for step in (1, 2)]
    follow(MlflowTracker(uri), ctx, events, metrics={"score": 0.5, "sub": {"n": 2}, "text": "x"})

    run = stored(uri, "exp")["run-1"]
    assert run.info.run_name == "run-1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "lr": "1e-05",
        "net.depth": "2",
        "net.sizes": "[3,4]",
        "on": "True",
        "none": "None",
        "e": "{}",
    }
    tags = {"run_id": "run-1", "group": "g", "parent_run_id": "p", "team": "t"}
    assert {**tags, "status": "succeeded"}.items() <= run.data.tags.items()
    assert run.data.metrics == {"loss": 0.5, "score": 0.5, "sub.n": 2.0}
    assert curve(uri, run, "loss") == [(1, 1.0), (2, 0.5)]
    assert curve(uri, run, "score") == [(2, 0.5)]


def test_a_metric_keeps_the_time_of_its_event(uri, make_ctx, make_event):
    follow(MlflowTracker(uri), make_ctx(), [make_event(7, {"loss": 1.0})])
    run_id = stored(uri)["run-1"].info.run_id
    (metric,) = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(run_id, "loss")
    assert (metric.step, metric.timestamp) == (7, 1767323047500)


def test_splits_have_curves_of_their_own(uri, make_ctx, make_event):
    events = [make_event(2, {"loss": 1.0}), make_event(1, {"loss": 3.0}, split="valid")]
    follow(MlflowTracker(uri), make_ctx(), events)
    run = stored(uri)["run-1"]
    assert curve(uri, run, "loss") == [(2, 1.0)]
    assert curve(uri, run, "valid/loss") == [(1, 3.0)]


@pytest.mark.parametrize(
    ("status", "stands"),
    [("succeeded", "FINISHED"), ("skipped", "FINISHED"), ("failed", "FAILED")],
)
def test_the_status_arrives(uri, make_ctx, status, stands):
    follow(MlflowTracker(uri), make_ctx(), status=status)
    run = stored(uri)["run-1"]
    assert (run.info.status, run.data.tags["status"]) == (stands, status)


def test_names_that_mlflow_refuses_are_made_to_fit_and_stay_apart(uri, make_ctx, make_event):
    ctx = make_ctx(config={"a@b": 1, "a#b": 2, "/x": 3, "k" * 300: 4, "k" * 299: 5, "../up": 6})
    follow(MlflowTracker(uri), ctx, [make_event(1, {"acc@1": 0.5, "acc#1": 0.25, "": 1.0})])
    run = stored(uri)["run-1"]
    long = {key: value for key, value in run.data.params.items() if key[0] == "k"}
    assert sorted(long.values()) == ["4", "5"]
    assert all(len(key) <= 250 for key in long)
    rest = {key: value for key, value in run.data.params.items() if key not in long}
    assert rest == {"a_b": "1", "a_b_2": "2", "x": "3", "up": "6"}
    assert run.data.metrics == {"acc_1": 0.5, "acc_1_2": 0.25, "_": 1.0}


def test_long_values_and_many_parameters_arrive(uri, make_ctx, caplog):
    config = {f"p{i}": i for i in range(250)} | {f"long{i}": "é" * 7000 for i in range(25)}
    follow(MlflowTracker(uri), make_ctx(config=config))
    params = stored(uri)["run-1"].data.params
    assert len(params) == 275
    assert params["long3"] == "é" * 5997 + "..."
    assert "beginning of the long value of long3" in caplog.text


def test_non_finite_figures_arrive(uri, make_ctx, make_event):
    nan, inf = float("nan"), float("inf")
    events = [make_event(1, {"a": nan, "b": inf})]
    follow(MlflowTracker(uri), make_ctx(), events, metrics={"c": nan, "flag": True})
    metrics = stored(uri)["run-1"].data.metrics
    assert metrics["a"] != metrics["a"] and metrics["c"] != metrics["c"]
    assert metrics["b"] > 1e300
    assert set(metrics) == {"a", "b", "c"}


def test_a_run_id_in_the_environment_does_not_make_one_run_of_a_sweep(uri, make_ctx, monkeypatch):
    mine = mlflow.MlflowClient(uri).create_run("0").info.run_id
    for name in ("a", "b"):
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_RUN_ID", mine)
            ctx, tracker = make_ctx(name, {"name": name}), MlflowTracker(uri)
            follow(tracker, ctx)
    runs = mlflow.MlflowClient(uri).search_runs(["0"])
    params = {run.info.run_id: run.data.params for run in runs}
    assert params.pop(mine) == {}
    assert sorted(p["name"] for p in params.values()) == ["a", "b"]


def test_runs_one_after_the_other_and_at_once_do_not_mix(uri, make_ctx, make_event):
    tracker = MlflowTracker(uri)
    contexts = [make_ctx(f"run-{i}", {"i": i}) for i in range(4)]
    for ctx in contexts[:2]:
        follow(tracker, ctx, [make_event(1, {"v": float(ctx.config["i"])})])

    def in_a_thread(ctx):
        barrier.wait(30)
        tracker.on_run_start(ctx, ctx.meta)
        barrier.wait(30)
        mlflow.log_metric("mine", ctx.config["i"])
        tracker.on_metric(ctx, make_event(1, {"v": float(ctx.config["i"])}))
        barrier.wait(30)
        tracker.on_run_end(ctx, {"status": "succeeded"})
        left.append(mlflow.active_run())

    barrier, left = threading.Barrier(2), []
    threads = [threading.Thread(target=in_a_thread, args=(ctx,)) for ctx in contexts[2:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [None, None]
    runs = stored(uri)
    assert len(runs) == 4
    for ctx in contexts:
        run, i = runs[ctx.run_id], ctx.config["i"]
        assert run.data.params == {"i": str(i)}
        assert run.data.metrics == ({"v": i} if i < 2 else {"v": i, "mine": i})
        assert "mlflow.parentRunId" not in run.data.tags


def test_calls_of_the_user_land_in_the_run(uri, make_ctx):
    ctx, tracker = make_ctx(), MlflowTracker(uri, "exp", "nice name")
    tracker.on_run_start(ctx, ctx.meta)
    assert mlflow.get_tracking_uri() == uri
    mlflow.log_metric("mine", 1.5)
    mlflow.start_run(nested=True, run_name="left open", tags={"run_id": "nested"})
    tracker.on_run_end(ctx, {"status": "failed"})
    runs = stored(uri, "exp")
    assert runs["run-1"].data.metrics == {"mine": 1.5}
    assert runs["run-1"].info.run_name == "nice name"
    assert {run.info.status for run in runs.values()} == {"FAILED"}


def test_a_run_that_the_user_ended_still_gets_its_true_status(uri, make_ctx, make_event):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    mlflow.end_run()
    tracker.on_metric(ctx, make_event(1, {"late": 1.0}))
    tracker.on_run_end(ctx, {"status": "failed"})
    run = stored(uri)["run-1"]
    assert (run.info.status, run.data.metrics) == ("FAILED", {"late": 1.0})


def test_a_run_of_the_user_around_the_sweep_stays_active(uri, make_ctx, tmp_path):
    outside = f"sqlite:///{tmp_path / 'outside.db'}"
    mlflow.set_tracking_uri(outside)
    try:
        with mlflow.start_run() as outer:
            follow(MlflowTracker(uri), make_ctx())
            assert mlflow.active_run() is outer
            assert mlflow.get_tracking_uri() == outside
            mlflow.log_metric("around", 1.0)
        run = mlflow.MlflowClient(outside).get_run(outer.info.run_id)
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"around": 1.0})
    finally:
        mlflow.set_tracking_uri(None)
    assert stored(uri)["run-1"].info.status == "FINISHED"


def test_an_experiment_of_the_user_is_no_obstacle_and_stays(uri, make_ctx):
    mlflow.set_tracking_uri(uri)
    try:
        theirs = mlflow.set_experiment("theirs")
        follow(MlflowTracker(experiment_name="ours"), make_ctx("a"))
        follow(MlflowTracker(), make_ctx("b"))
        assert os.environ["MLFLOW_EXPERIMENT_ID"] == theirs.experiment_id
    finally:
        mlflow.tracking.fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        mlflow.set_tracking_uri(None)
    assert (list(stored(uri, "ours")), list(stored(uri, "theirs"))) == (["a"], ["b"])


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_store_that_is_not_there_yet(tmp_path):
    code = (
        "import logging, pathlib, sys\n"
        "from ztxexp_core import RunContext, RunMetadata\n"
        "from ztxexp_trackers.mlflow import MlflowTracker\n"
        "ctx = RunContext(sys.argv[1], pathlib.Path('.'), {}, logging.getLogger('x'))\n"
        "tracker = MlflowTracker('sqlite:///store.db', 'new')\n"
        "tracker.on_run_start(ctx, RunMetadata())\n"
        "tracker.on_run_end(ctx, {'status': 'succeeded', 'metrics': {'v': 1}})\n"
    )
    names = ["a", "b", "c"]
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", code, name]))
            for name in names
        ]
        assert [process.wait(120) for process in started] == [0, 0, 0]
    runs = stored(f"sqlite:///{tmp_path / 'store.db'}", "new")
    assert sorted(runs) == names
    assert all(run.data.metrics == {"v": 1.0} for run in runs.values())


def test_the_end_may_come_from_another_thread(uri, make_ctx):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    starter = threading.Thread(target=tracker.on_run_start, args=(ctx, ctx.meta))
    starter.start()
    starter.join()
    tracker.on_run_end(ctx, {"status": "failed"})
    assert stored(uri)["run-1"].info.status == "FAILED"


def test_a_start_that_fails_halfway_leaves_no_run_open(uri, make_ctx):
    ctx = make_ctx(config={"bad": lambda: 1})
    with pytest.raises(ConfigError, match="bad"):
        MlflowTracker(uri).on_run_start(ctx, ctx.meta)
    assert stored(uri)["run-1"].info.status == "FAILED"


def test_without_any_setting_the_store_is_a_database_in_the_working_folder(make_ctx, tmp_path):
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: an old store of MLflow 2\n")
    follow(MlflowTracker(), make_ctx())
    assert list(stored(f"sqlite:///{tmp_path / 'mlflow.db'}")) == ["run-1"]


def test_mlflows_own_setting_counts(uri, make_ctx, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        follow(MlflowTracker(), make_ctx())
        assert os.environ["MLFLOW_TRACKING_URI"] == uri
    assert list(stored(uri)) == ["run-1"]


@pytest.mark.parametrize("kind", [str, os.fspath, lambda path: path, lambda path: path.as_uri()])
def test_a_plain_folder_is_explained(make_ctx, tmp_path, kind):
    ctx, tracker = make_ctx(), MlflowTracker(kind(tmp_path / "mlruns"))
    with pytest.raises(ConfigError, match=r"plain folder.*sqlite:///mlflow\.db"):
        tracker.on_run_start(ctx, ctx.meta)


def test_calls_without_a_start_do_nothing(make_ctx, make_event, tmp_path):
    ctx, tracker = make_ctx(), MlflowTracker(f"sqlite:///{tmp_path / 'store.db'}")
    tracker.on_metric(ctx, make_event(1, {"a": 1.0}))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert not (tmp_path / "store.db").exists()


def test_the_arguments_are_public_attributes():
    tracker = MlflowTracker("u", "e", "r")
    assert (tracker.tracking_uri, tracker.experiment_name, tracker.run_name) == ("u", "e", "r")
    assert vars(MlflowTracker())["tracking_uri"] is None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_dead_server_costs_seconds_and_the_next_run_less(make_ctx):
    tracker = MlflowTracker(f"http://user:secret@127.0.0.1:{free_port()}", "exp")
    ctx = make_ctx()
    for limit in (8.0, 0.5):
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=r"MLflow at http://127\.0\.0\.1") as caught:
            tracker.on_run_start(ctx, ctx.meta)
        assert time.monotonic() - began < limit
        assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_takes_calls_and_never_answers_costs_seconds(make_ctx):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracker = MlflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}", "exp")
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            tracker.on_run_start(make_ctx(), RunMetadata())
    assert time.monotonic() - began < 25


def end_group(process):
    """Kill a process group and wait until nothing of it lives."""
    if process.poll() is None or group_lives(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    give_up = time.monotonic() + 20
    while group_lives(process.pid):
        assert time.monotonic() < give_up, "a process of the server is left"
        time.sleep(0.05)


def group_lives(group):
    import psutil

    for process in psutil.process_iter(["pid", "status"]):
        try:
            mine = os.getpgid(process.info["pid"]) == group
        except ProcessLookupError:
            continue
        if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            return True
    return False


@pytest.fixture
def server(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health", process, tmp_path / "server.log")
        yield address, process
    finally:
        end_group(process)


def wait_for(url, process, log):
    give_up = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="ends the server as a process group")
def test_a_real_server_gets_the_run_and_its_death_is_contained(server, make_ctx, make_event, capfd):
    address, process = server
    config = {f"p{i}": i for i in range(150)} | {f"long{i}": "漢" * 6000 for i in range(20)}
    ctx = make_ctx("whole", config)
    events = [make_event(s, {"loss": 1.0 / (s + 1), "nan": float("nan")}) for s in range(5)]
    tracker = MlflowTracker(address, "exp")
    follow(tracker, ctx, events, metrics={"score": 0.5})
    run = stored(address, "exp")["whole"]
    assert (run.info.status, len(run.data.params)) == ("FINISHED", 170)
    assert run.data.metrics["score"] == 0.5
    assert curve(address, run, "loss") == [(s, 1.0 / (s + 1)) for s in range(5)]

    orphan = make_ctx("orphan")
    tracker.on_run_start(orphan, orphan.meta)
    end_group(process)
    began = time.monotonic()
    for step in range(20):
        with pytest.raises(ConnectionError):
            tracker.on_metric(orphan, make_event(step, {"loss": 1.0}))
    with pytest.raises((ConnectionError, mlflow.MlflowException)):
        tracker.on_run_end(orphan, {"status": "succeeded", "metrics": {}})
    assert time.monotonic() - began < 20
    assert mlflow.active_run() is None
    assert capfd.readouterr().out == ""


def test_without_mlflow_the_module_imports_and_the_error_tells_what_to_install(without):
    said = without(
        "mlflow",
        """
        import logging, pathlib
        from ztxexp_core import PluginImportError, RunContext, RunMetadata
        from ztxexp_trackers.mlflow import MlflowTracker

        print(MlflowTracker.requires)
        ctx = RunContext("r", pathlib.Path("."), {}, logging.getLogger("x"))
        try:
            MlflowTracker().on_run_start(ctx, RunMetadata())
        except PluginImportError as exc:
            assert isinstance(exc, ImportError)
            print(exc, exc.kind, exc.plugin)
        """,
    )
    assert "('mlflow',)" in said
    assert 'pip install "ztxexp[mlflow]" tracker mlflow' in said
