"""The mlflow tracker and its server: a real one, a dead one, and one that never answers."""

import socket
import time
import traceback

import mlflow_reading
import pytest
from mlflow_reading import curve, end_group, follow, free_port, mlflow, stored

from ztxexp_core import MetricEvent, RunMetadata
from ztxexp_trackers.mlflow import MlflowTracker

mortal_server = mlflow_reading.mortal_server
process_unchanged = mlflow_reading.process_unchanged
pytestmark = pytest.mark.usefixtures("process_unchanged")

# With MLflow's own patience one call takes minutes; a busy machine may make ours some seconds more.
_SECONDS, _MINUTES = 30, 60


def test_a_dead_server_costs_seconds_and_the_next_run_nothing(make_ctx):
    tracker = MlflowTracker(f"http://user:secret@127.0.0.1:{free_port()}", "exp")
    ctx = make_ctx()
    said = []
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(ConnectionError, match=r"MLflow at http://127\.0\.0\.1") as caught:
            tracker.on_run_start(ctx, ctx.meta)
        said.append("".join(traceback.format_exception(caught.value)))
    assert time.monotonic() - began < _SECONDS
    assert "does not answer; start the server" in said[0]
    assert "is not asked again yet" in said[-1]
    assert "secret" not in "".join(said)


def test_a_proxy_that_is_in_the_way_is_named_without_its_login(make_ctx, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError) as caught:
        MlflowTracker("http://mlflow.invalid:5000").on_run_start(make_ctx(), RunMetadata())
    for said in ("proxy http://127.0.0.1", "NO_PROXY=mlflow.invalid", "HTTP_PROXY"):
        assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("./mlruns", "plain folder"),
        ("localhost:5000", "no address like"),
        ("http://", "names no host"),
        ("sqlite:///missing/mlflow.db", "no folder"),
        ("postgres://me:secret@host/db", "'postgres://host/db'"),
    ],
)
def test_an_address_that_cannot_work_is_refused_before_anything_runs(uri, text):
    with pytest.raises(ValueError, match=text) as caught:
        MlflowTracker.check_options(tracking_uri=uri, experiment_name="digits")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", [None, "http://host", "sqlite:///mlflow.db", "databricks"])
def test_an_address_that_may_work_is_not_connected_to(uri):
    MlflowTracker.check_options(tracking_uri=uri)


@pytest.mark.slow
def test_a_server_that_takes_calls_and_never_answers_costs_seconds(make_ctx):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracker = MlflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}", "exp")
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                tracker.on_run_start(make_ctx(), RunMetadata())
    assert time.monotonic() - began < _SECONDS


@pytest.mark.slow
def test_a_real_server_gets_the_run_and_its_death_is_contained(
    mortal_server, make_ctx, make_event, caplog, capfd
):
    address, process = mortal_server
    config = {f"p{i}": i for i in range(150)} | {f"long{i}": "漢" * 6000 for i in range(20)}
    events = [make_event(s, {"loss": 1.0 / (s + 1), "nan": float("nan")}) for s in range(5)]
    large = [
        MetricEvent(
            step, "2026-01-02T03:04:05+00:00", {"漢" * 200 + str(i): 0.1 for i in range(10)}
        )
        for step in range(100)
    ]
    tracker = MlflowTracker(address, "exp")
    follow(tracker, make_ctx("whole", {**config, "empty": ""}), [*events, *large])
    ctx = make_ctx("orphan")
    tracker.on_run_start(ctx, ctx.meta)

    run = stored(address, "exp")["whole"]
    assert (run.info.status, len(run.data.params)) == ("FINISHED", 171)
    assert curve(address, run, "loss") == [(s, 1.0 / (s + 1)) for s in range(5)]
    assert len(run.data.metrics) == 12
    assert len(curve(address, run, "漢" * 200 + "9")) == 100

    began = time.monotonic()
    with tracker.in_run(ctx):
        mlflow.start_run(nested=True)
        mlflow.start_run(nested=True)
        end_group(process)
        for step in range(20):
            with pytest.raises(ConnectionError):
                tracker.on_metrics(ctx, [make_event(step, {"loss": 1.0})])
    with pytest.raises(ConnectionError):
        tracker.on_artifact(ctx, ctx.run_dir, "folder")
    with pytest.raises(ConnectionError):
        tracker.on_run_end(ctx, {"status": "succeeded", "metrics": {}})
    assert time.monotonic() - began < _MINUTES
    assert mlflow.active_run() is None
    assert "left open, could not be ended" in caplog.text
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_run_that_met_a_dead_server_is_complete_after_a_replay(
    mortal_server, make_ctx, make_event
):
    address, _ = mortal_server
    events = [make_event(step, {"loss": 1.0 / step}) for step in (1, 2, 3)]
    tracker, ctx = MlflowTracker(address, "exp"), make_ctx()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_metrics(ctx, events[:2])  # the process dies here; the event after it is in the file
    replayed = make_ctx()
    replayed.replayed = True
    ending = {"status": "failed", "reason": "lost"}
    follow(MlflowTracker(address, "exp"), replayed, events[1:], **ending)
    (run,) = stored(address, "exp").values()
    assert run.info.status == "KILLED"
    assert curve(address, run, "loss") == [(1, 1.0), (2, 0.5), (3, 1.0 / 3)]
