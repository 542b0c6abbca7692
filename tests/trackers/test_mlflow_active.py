"""The user's own calls of MLflow while the experiment function runs."""

import inspect
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import mlflow_reading
import pytest
from mlflow_reading import curve, files, follow, mlflow, stored, telling

from ztxexp_core import SkipRun
from ztxexp_trackers._mlflow_server import calls
from ztxexp_trackers.mlflow import MlflowTracker

empty_store, uri = mlflow_reading.empty_store, mlflow_reading.uri
process_unchanged = mlflow_reading.process_unchanged
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("process_unchanged")]


def test_calls_of_the_user_land_in_the_run(uri, make_ctx, make_event):
    def body():
        assert mlflow.get_tracking_uri() == uri
        mlflow.log_metric("mine", 1.5, step=3)
        mlflow.log_param("theirs", "x")
        mlflow.set_tag("note", "y")
        mlflow.log_text("hello", "notes/hello.txt")

    follow(MlflowTracker(uri, "exp"), make_ctx(), [make_event(1, {"ours": 1.0})], body)
    (run,) = stored(uri, "exp").values()
    assert run.data.metrics == {"mine": 1.5, "ours": 1.0}
    assert curve(uri, run, "mine") == [(3, 1.5)]
    assert run.data.params == {"lr": "0.1", "theirs": "x"}
    assert run.data.tags["note"] == "y"
    assert files(uri, run) == ["notes/hello.txt"]


@pytest.mark.slow
def test_automatic_logging_lands_in_the_run(uri, tmp_path):
    code = """
        import logging, pathlib, sys
        import mlflow
        from mlflow_reading import follow
        from sklearn.linear_model import LogisticRegression
        from ztxexp_core import RunContext
        from ztxexp_trackers.mlflow import MlflowTracker

        def body():
            mlflow.sklearn.autolog(log_models=False, log_datasets=False)
            LogisticRegression(C=0.25).fit([[0.0], [1.0]], [0, 1])

        ctx = RunContext("run-1", pathlib.Path("."), {"lr": 0.1}, logging.getLogger("x"))
        follow(MlflowTracker(sys.argv[1]), ctx, body=body)
    """
    pytest.importorskip("sklearn")
    here = os.path.dirname(mlflow_reading.__file__)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), uri],
        check=True,
        timeout=150,
        env={**os.environ, "PYTHONPATH": here},
        cwd=tmp_path,
    )
    (run,) = stored(uri).values()
    assert (run.data.params["C"], run.data.params["lr"]) == ("0.25", "0.1")
    assert run.data.metrics["training_score"] == 1.0
    assert run.info.status == "FINISHED"


def test_runs_that_go_on_at_once_do_not_mix(uri, make_ctx, make_event):
    tracker = MlflowTracker(uri)
    contexts = [make_ctx(f"run-{i}", {"i": i}) for i in range(4)]
    barrier, left = threading.Barrier(len(contexts)), []

    def experiment(ctx):
        i = ctx.config["i"]

        def body():
            for step in range(5):
                barrier.wait(60)
                mlflow.log_metric("mine", i, step=step)
            mlflow.log_text(str(i), "which.txt")

        follow(tracker, ctx, [make_event(s, {"v": float(i)}) for s in range(5)], body)
        left.append(mlflow.active_run())

    threads = [threading.Thread(target=experiment, args=(ctx,)) for ctx in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [None] * 4
    runs = stored(uri)
    for ctx in contexts:
        run, i = runs.pop(ctx.run_id), ctx.config["i"]
        assert run.data.params == {"i": str(i)}
        for name in ("mine", "v"):
            assert sorted(curve(uri, run, name)) == [(step, float(i)) for step in range(5)]
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/which.txt") == str(i)
        assert "mlflow.parentRunId" not in run.data.tags
    assert runs == {}


def test_a_run_that_the_user_starts_within_ours_lies_below_it(uri, make_ctx):
    def body():
        with mlflow.start_run(nested=True, tags={"run_id": "fold"}):
            mlflow.log_metric("score", 0.5)
        mlflow.log_metric("mean", 0.5)

    follow(MlflowTracker(uri, "exp"), make_ctx(), body=body)
    runs = stored(uri, "exp")
    assert runs["fold"].data.tags["mlflow.parentRunId"] == runs["run-1"].info.run_id
    assert runs["fold"].data.metrics == {"score": 0.5}
    assert runs["run-1"].data.metrics == {"mean": 0.5}


@pytest.mark.parametrize(
    ("raised", "stands"),
    [(None, "FINISHED"), (SkipRun("no"), "FINISHED"), (ValueError("bad"), "FAILED")],
)
def test_what_the_user_left_open_is_ended(uri, make_ctx, raised, stands):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    try:
        with tracker.in_run(ctx):
            mlflow.start_run(nested=True, tags={"run_id": "a"})
            mlflow.start_run(nested=True, tags={"run_id": "b"})
            if raised is not None:
                raise raised
    except (SkipRun, ValueError) as exc:
        assert exc is raised
    assert mlflow.active_run() is None
    statuses = {name: run.info.status for name, run in stored(uri).items()}
    assert statuses == {"a": stands, "b": stands, "run-1": "RUNNING"}
    tracker.on_run_end(ctx, {"status": "succeeded"})


def test_what_cannot_be_ended_is_told_and_left(uri, make_ctx, caplog):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    with tracker.in_run(ctx):
        gone = mlflow.start_run(nested=True).info.run_id
        mlflow.set_tracking_uri(f"http://127.0.0.1:{mlflow_reading.free_port()}")
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert f"MLflow run {gone}, left open, could not be ended" in caplog.text
    client = mlflow.MlflowClient(uri)
    client.set_tag(gone, "run_id", "gone")
    assert stored(uri)["run-1"].info.status == "FINISHED"


def test_a_run_that_the_user_ended_still_gets_its_true_status(uri, make_ctx, make_event):
    events = [make_event(1, {"late": 1.0})]
    follow(MlflowTracker(uri), make_ctx(), events, mlflow.end_run, status="failed")
    run = stored(uri)["run-1"]
    assert (run.info.status, run.data.metrics) == ("FAILED", {"late": 1.0})


def test_a_run_of_the_user_around_the_sweep_stays_active(uri, make_ctx, tmp_path):
    outside = f"sqlite:///{tmp_path / 'outside.db'}"
    mlflow.set_tracking_uri(outside)
    try:
        with mlflow.start_run() as outer:
            follow(MlflowTracker(uri), make_ctx(), body=lambda: mlflow.log_metric("mine", 1.0))
            assert mlflow.active_run() is outer
            assert mlflow.get_tracking_uri() == outside
            mlflow.log_metric("around", 1.0)
        run = mlflow.MlflowClient(outside).get_run(outer.info.run_id)
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"around": 1.0})
    finally:
        mlflow.set_tracking_uri(None)
    run = stored(uri)["run-1"]
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"mine": 1.0})


def test_variables_of_the_user_are_put_back(uri, make_ctx, monkeypatch):
    mine = {
        "MLFLOW_TRACKING_URI": "http://host:1",
        "MLFLOW_EXPERIMENT_NAME": "theirs",
        "MLFLOW_RUN_ID": "abc",
    }
    with monkeypatch.context() as patch:
        for name, value in mine.items():
            patch.setenv(name, value)
        ctx, tracker = make_ctx(), MlflowTracker(uri, "exp")
        tracker.on_run_start(ctx, ctx.meta)
        with tracker.in_run(ctx):
            inside = {name: os.environ.get(name) for name in mine}
            number = os.environ["MLFLOW_EXPERIMENT_ID"]
        tracker.on_run_end(ctx, {"status": "succeeded"})
        assert {name: os.environ.get(name) for name in mine} == mine
        assert "MLFLOW_EXPERIMENT_ID" not in os.environ
    assert inside == {**dict.fromkeys(mine), "MLFLOW_TRACKING_URI": uri}
    assert stored(uri, "exp")["run-1"].info.experiment_id == number


def test_where_the_start_failed_nothing_of_the_user_stays_active(make_ctx, tmp_path):
    ctx, tracker = make_ctx(), MlflowTracker("http://127.0.0.1:1")
    with pytest.raises(ConnectionError):
        tracker.on_run_start(ctx, ctx.meta)
    with tracker.in_run(ctx):
        mlflow.log_metric("mine", 1.0)  # MLflow starts a run for it
        assert mlflow.active_run() is not None
    assert mlflow.active_run() is None


def test_two_trackers_give_the_process_back(uri, make_ctx, tmp_path):
    ctx, first, second = make_ctx(), MlflowTracker(uri, "one"), MlflowTracker(uri, "two")
    for tracker in (first, second):
        tracker.on_run_start(ctx, ctx.meta)
    with first.in_run(ctx), second.in_run(ctx):
        mlflow.log_metric("mine", 1.0)
    for tracker in (first, second):
        tracker.on_run_end(ctx, {"status": "succeeded"})
    metrics = [stored(uri, name)["run-1"].data.metrics for name in ("one", "two")]
    assert metrics == [{}, {"mine": 1.0}]


def test_a_run_in_another_thread_keeps_its_address_when_one_ends(uri, make_ctx, tmp_path):
    tracker, contexts = MlflowTracker(uri), [make_ctx("a"), make_ctx("b")]
    for ctx in contexts:
        tracker.on_run_start(ctx, ctx.meta)
    inside, leave = threading.Event(), threading.Event()

    def experiment():
        with tracker.in_run(contexts[0]):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=experiment)
    thread.start()
    assert inside.wait(60)
    with tracker.in_run(contexts[1]):
        leave.set()
        thread.join()
        mlflow.log_metric("mine", 1.0)
    for ctx in contexts:
        tracker.on_run_end(ctx, {"status": "succeeded"})
    assert {name: run.data.metrics for name, run in stored(uri).items()} == {
        "a": {},
        "b": {"mine": 1.0},
    }


def test_the_users_own_calls_keep_mlflows_patience_while_the_tracker_calls(uri):
    from mlflow.utils import rest_utils

    before = rest_utils.MLFLOW_HTTP_REQUEST_TIMEOUT
    with calls(uri):
        assert rest_utils.MLFLOW_HTTP_REQUEST_TIMEOUT is before
        assert before.get() == 120


# ---- as in every tutorial ------------------------------------------------------------------------


def test_start_run_gives_the_trackers_run_and_end_run_leaves_it(uri, make_ctx, make_event):
    def body():
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("tutorial")
        with mlflow.start_run(run_name="mine", tags={"kind": "x"}, description="text") as run:
            mlflow.log_metric("inside", 1.0)
            assert mlflow.active_run() is run
        mlflow.end_run()
        mlflow.log_metric("after", 2.0)
        mlflow.start_run()
        mlflow.log_metric("again", 3.0)

    before = mlflow.start_run, mlflow.end_run, mlflow.set_tracking_uri
    follow(MlflowTracker(uri, "exp"), make_ctx(), [make_event(1, {"ours": 1.0})], body)
    assert (mlflow.start_run, mlflow.end_run, mlflow.set_tracking_uri) == before
    (run,) = stored(uri, "exp").values()
    assert run.data.metrics == {"inside": 1.0, "after": 2.0, "again": 3.0, "ours": 1.0}
    expected = {"kind": "x", "mlflow.note.content": "text", "mlflow.runName": "mine"}
    assert expected.items() <= run.data.tags.items()
    assert run.info.status == "FINISHED"
    assert stored(uri, "tutorial") == {}


def test_names_bound_before_the_run_do_the_same(uri, make_ctx, make_event, tmp_path):
    from mlflow import end_run, log_metric, set_experiment, set_tracking_uri, start_run

    def body():
        set_tracking_uri(uri)
        set_experiment("tutorial")
        with start_run(run_name="mine") as run:
            log_metric("inside", 1.0)
            assert mlflow.active_run() is run
        end_run()
        log_metric("after", 2.0)
        set_tracking_uri(f"sqlite:///{tmp_path / 'elsewhere.db'}")
        assert mlflow.active_run() is None

    before = inspect.signature(start_run)
    follow(MlflowTracker(uri, "exp"), make_ctx(), [make_event(1, {"ours": 1.0})], body)
    assert inspect.signature(start_run) == before
    (run,) = stored(uri, "exp").values()
    assert run.data.metrics == {"inside": 1.0, "after": 2.0, "ours": 1.0}
    assert (run.data.tags["mlflow.runName"], run.info.status) == ("mine", "FINISHED")
    with start_run() as own:  # MLflow's again
        assert own.info.run_id != run.info.run_id


@pytest.mark.parametrize("call", ["start_run", "log_metric", "set_experiment", "set_tracking_uri"])
def test_calls_of_the_function_wait_for_a_start_that_takes_long(
    uri, make_ctx, monkeypatch, tmp_path, call
):
    tracker, ctx = MlflowTracker(uri, "exp"), make_ctx()
    start, begun, goes_on = tracker._start, threading.Event(), threading.Event()

    def slow_start(*args):
        begun.set()
        assert goes_on.wait(60)
        start(*args)

    monkeypatch.setattr(tracker, "_start", slow_start)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    arguments = {"log_metric": ["first", 1.0], "set_tracking_uri": [elsewhere]}
    with telling(tracker, ctx) as tell, ThreadPoolExecutor(1) as other:
        starting = other.submit(tracker.on_run_start, ctx, ctx.meta)
        assert begun.wait(60)
        with tracker.in_run(ctx):
            threading.Timer(0.2, goes_on.set).start()
            getattr(mlflow, call)(*arguments.get(call, ["x"] if call == "set_experiment" else []))
            if call == "set_tracking_uri":
                assert mlflow.active_run() is None
                mlflow.set_tracking_uri(uri)
            else:
                mlflow.log_metric("mine", 1.0)
                assert mlflow.active_run().data.tags["run_id"] == ctx.run_id
        starting.result()
        tell("on_run_end", {"status": "succeeded", "metrics": {}})
    (run,) = stored(uri, "exp").values()
    assert run.data.metrics.get("mine") == (None if call == "set_tracking_uri" else 1.0)
    assert stored(uri) == {}


def test_an_error_within_start_run_reaches_the_run(uri, make_ctx):
    def body():
        with mlflow.start_run():
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        follow(MlflowTracker(uri), make_ctx(), body=body)
    assert mlflow.active_run() is None


def test_runs_beside_the_trackers_can_be_started(uri, make_ctx):
    ended = mlflow.MlflowClient(uri).create_run("0", tags={"run_id": "earlier"})

    def body():
        with mlflow.start_run(run_id=ended.info.run_id):
            mlflow.log_metric("of earlier", 1.0)
        own = mlflow.active_run().info.run_id
        with mlflow.start_run(parent_run_id=own, tags={"run_id": "child"}):
            mlflow.log_metric("of child", 1.0)
        mlflow.log_metric("mine", 1.0)

    follow(MlflowTracker(uri), make_ctx(), body=body)
    runs = stored(uri)
    assert {name: run.data.metrics for name, run in runs.items()} == {
        "earlier": {"of earlier": 1.0},
        "child": {"of child": 1.0},
        "run-1": {"mine": 1.0},
    }
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["run-1"].info.run_id


def test_a_function_that_sends_to_another_server_has_its_own_runs_there(
    uri, make_ctx, make_event, tmp_path, empty_store
):
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.write_bytes(empty_store.read_bytes())

    def body():
        mlflow.set_tracking_uri(f"sqlite:///{elsewhere}")
        mlflow.set_experiment("tutorial")
        with mlflow.start_run(tags={"run_id": "mine"}):
            mlflow.log_metric("own", 1.0)
        mlflow.log_metric("stray", 1.0)
        mlflow.set_tag("run_id", "left open")

    follow(MlflowTracker(uri, "exp"), make_ctx(), [make_event(1, {"ours": 1.0})], body)
    assert stored(uri, "exp")["run-1"].data.metrics == {"ours": 1.0}
    runs = stored(f"sqlite:///{elsewhere}", "tutorial")
    assert {name: run.data.metrics for name, run in runs.items()} == {
        "mine": {"own": 1.0},
        "left open": {"stray": 1.0},
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.parametrize("known", [True, False])
def test_what_the_function_has_set_is_put_back(uri, make_ctx, tmp_path, known):
    from mlflow.tracking import fluent

    mlflow.set_tracking_uri(uri)
    mine = mlflow.set_experiment("mine").experiment_id
    try:
        ctx, tracker = make_ctx(), MlflowTracker(uri, "exp")
        if known:  # else its start has failed, or takes too long
            tracker.on_run_start(ctx, ctx.meta)
        with tracker.in_run(ctx):
            mlflow.set_experiment("theirs")
            with mlflow.start_run(nested=True):
                pass
        assert fluent._active_experiment_id == os.environ["MLFLOW_EXPERIMENT_ID"] == mine
        with tracker.in_run(ctx):
            mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'never.db'}")
        assert mlflow.get_tracking_uri() == uri
        tracker.on_run_end(ctx, {"status": "succeeded"})
    finally:
        fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID")
        mlflow.set_tracking_uri(None)


def test_a_nested_run_lies_in_the_experiment_of_its_parent(uri, make_ctx):
    from mlflow.tracking import fluent

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("mine")
    try:
        follow(MlflowTracker(uri, "exp"), make_ctx(), body=lambda: _child(nested=True))
    finally:
        fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID")
        mlflow.set_tracking_uri(None)
    assert set(stored(uri, "exp")) == {"run-1", "child"}
    assert stored(uri, "mine") == {}


def _child(**arguments):
    with mlflow.start_run(tags={"run_id": "child"}, **arguments):
        pass
