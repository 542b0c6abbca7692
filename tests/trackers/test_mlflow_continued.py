"""Runs that the mlflow tracker has met before: resumed, replayed, or told of twice.

Against a database in the process, and against a real server.
"""

import mlflow_reading
import pytest
from mlflow_reading import curve, files, follow, history, mlflow, stored, write_record

from ztxexp_core import RunMetadata
from ztxexp_trackers.mlflow import MlflowTracker

empty_store, uri = mlflow_reading.empty_store, mlflow_reading.uri
process_unchanged = mlflow_reading.process_unchanged
shared_server = mlflow_reading.shared_server
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("process_unchanged")]


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def store(request):
    return request.getfixturevalue("uri" if request.param == "database" else "shared_server")


@pytest.fixture
def experiment(request):
    """Name an experiment of its own for each test: they share a server."""
    return request.node.name


@pytest.fixture
def make_try(make_ctx, experiment):
    """Return a maker of the contexts that the attempts of one run have, each in its process."""

    def make(attempt=1, replayed=False, config=None, run_id="run-1"):
        meta = RunMetadata(experiment_name=experiment, attempt=attempt)
        ctx = make_ctx(run_id, config, meta)
        ctx.replayed = replayed
        return ctx

    return make


def test_a_resumed_run_goes_on_in_the_same_run(store, experiment, make_try, make_event):
    failed = {"reason": "oom", "error_type": "MemoryError", "error_message": "no more"}
    first = [make_event(1, {"loss": 4.0}), make_event(2, {"loss": 3.0})]
    follow(MlflowTracker(store), make_try(), first, status="failed", **failed)
    before = stored(store, experiment)["run-1"]
    assert (before.info.status, before.data.tags["reason"]) == ("KILLED", "oom")

    event = make_event(3, {"loss": 2.0})
    event.attempt = 2
    inside = []

    def body():
        inside.append(stored(store, experiment)["run-1"])
        mlflow.log_metric("mine", 1.0)

    follow(MlflowTracker(store), make_try(attempt=2), [event], body, attempt=2, retry_count=1)
    (between,) = inside
    assert between.info.status == between.data.tags["status"].upper() == "RUNNING"
    run = stored(store, experiment)["run-1"]
    assert run.info.run_id == before.info.run_id
    assert run.info.start_time == before.info.start_time
    assert run.info.status == "FINISHED"
    assert curve(store, run, "loss") == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert run.data.metrics["mine"] == 1.0
    assert (run.data.tags["attempt"], run.data.tags["attempt_2_since"]) == ("2", event.timestamp)
    for tags in (between.data.tags, run.data.tags):
        assert not tags.keys() & failed.keys()


def test_a_try_that_was_killed_is_found_again(store, experiment, make_try, make_event):
    ctx, killed = make_try(), MlflowTracker(store)
    killed.on_run_start(ctx, ctx.meta)
    killed.on_metrics(ctx, [make_event(1, {"loss": 2.0})])
    assert stored(store, experiment)["run-1"].info.status == "RUNNING"
    follow(MlflowTracker(store), make_try(attempt=2), [make_event(2, {"loss": 1.0})])
    (run,) = stored(store, experiment).values()
    assert run.info.status == "FINISHED"
    assert curve(store, run, "loss") == [(1, 2.0), (2, 1.0)]


def test_a_run_that_mlflow_never_met_is_replayed_with_its_own_times(
    store, experiment, make_try, make_event
):
    ctx = make_try(replayed=True)
    write_record(
        ctx,
        status="failed",
        started_at="2025-03-01T10:00:00+00:00",
        finished_at="2025-03-01T12:30:00.250000+00:00",
    )
    events = [make_event(step, {"loss": 1.0 / step}) for step in (1, 2)]
    ending = {"status": "failed", "reason": "lost", "metrics": {"best": 0.5}}
    follow(MlflowTracker(store), ctx, events, **ending)
    (run,) = stored(store, experiment).values()
    assert (run.info.start_time, run.info.end_time) == (1740823200000, 1740832200250)
    assert run.info.status == "KILLED"
    assert [m.timestamp for m in history(store, run, "loss")] == [1767323041500, 1767323042500]
    assert [m.timestamp for m in history(store, run, "best")] == [1740832200250]


def test_what_is_told_again_is_not_doubled(store, experiment, make_try, make_event):
    nan = float("nan")
    events = [make_event(step, {"loss": 1.0 / step, "nan": nan}) for step in (1, 2, 3)]
    result = {"metrics": {"loss": 0.25, "odd": "NaN", "inf": "Infinity", "n": 3}}
    follow(MlflowTracker(store), make_try(), [*events, *events[1:]], **result)

    def counts():
        (run,) = stored(store, experiment).values()
        return run.info.run_id, {n: len(history(store, run, n)) for n in run.data.metrics}

    once = counts()
    assert once[1] == {"loss": 4, "nan": 3, "odd": 1, "inf": 1, "n": 1}
    for _ in range(2):
        follow(MlflowTracker(store), make_try(replayed=True), events, **result)
        assert counts() == once


def test_a_replay_changes_nothing_of_how_a_run_ended_until_it_tells_the_end(
    store, experiment, make_try
):
    follow(MlflowTracker(store), make_try(), status="failed", reason="exception")
    before = stored(store, experiment)["run-1"]
    ctx, tracker = make_try(replayed=True), MlflowTracker(store)
    tracker.on_run_start(ctx, ctx.meta)
    between = stored(store, experiment)["run-1"]
    assert between.info == before.info
    assert between.data.tags == before.data.tags
    tracker.on_run_end(ctx, {"status": "succeeded", "attempt": 2})
    run = stored(store, experiment)["run-1"]
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "succeeded")
    assert "reason" not in run.data.tags


def test_a_value_that_was_changed_for_the_resumed_run_is_told_and_not_taken(
    store, experiment, make_try, caplog
):
    follow(MlflowTracker(store), make_try(config={"lr": 0.1, "device": "cpu"}))
    changed = {"lr": 0.1, "device": "cuda", "extra": 1}
    follow(MlflowTracker(store), make_try(attempt=2, config=changed))
    (run,) = stored(store, experiment).values()
    assert run.data.params == {"lr": "0.1", "device": "cpu", "extra": "1"}
    assert "keeps the parameter device = 'cpu' and does not take 'cuda'" in caplog.text


def test_the_final_figure_counts_where_an_earlier_attempt_went_further(
    store, experiment, make_try, make_event
):
    further = [make_event(step, {"loss": 9.0}) for step in (1, 20)]
    follow(MlflowTracker(store), make_try(), further, status="failed", reason="killed")
    events = [make_event(30, {"loss": 2.0})]
    events[0].step = 1
    follow(MlflowTracker(store), make_try(attempt=2), events, metrics={"loss": 1.5})
    (run,) = stored(store, experiment).values()
    assert run.data.metrics == {"loss": 1.5}
    assert sorted(curve(store, run, "loss")) == [(1, 2.0), (1, 9.0), (20, 1.5), (20, 9.0)]


def test_artifacts_go_under_their_names(store, experiment, make_try):
    ctx, tracker = make_try(), MlflowTracker(store)
    kept = ctx.artifacts_dir
    (kept / "figures" / "more").mkdir(parents=True)
    for name in ("model.pt", "figures/loss.png", "figures/more/a.txt", "left.txt"):
        (kept / name).write_text(name)
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_artifact(ctx, kept / "model.pt", "model.pt")
    tracker.on_artifact(ctx, kept / "figures" / "loss.png", "figures/loss.png")
    tracker.on_artifact(ctx, kept / "figures" / "more", "figures/more")
    tracker.on_run_end(ctx, {"status": "succeeded"})
    (run,) = stored(store, experiment).values()
    assert files(store, run) == ["figures/loss.png", "figures/more/a.txt", "model.pt"]
    assert _text(store, run, "figures/loss.png") == "figures/loss.png"


def test_what_a_link_leads_out_of_the_artifacts_is_not_sent(
    store, experiment, make_try, tmp_path, caplog
):
    ctx, tracker = make_try(), MlflowTracker(store, log_artifacts=True)
    kept, secret = ctx.artifacts_dir, tmp_path / "secret"
    for folder in (kept / "folder", secret):
        folder.mkdir(parents=True)
    (secret / "key").write_text("k")
    (kept / "folder" / "model.pt").write_text("m")
    (kept / "key").symlink_to(secret / "key")
    (kept / "others").symlink_to(secret)
    (kept / "folder" / "key").symlink_to(secret / "key")
    (kept / "same.pt").symlink_to("folder/model.pt")
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    (run,) = stored(store, experiment).values()
    assert files(store, run) == ["folder/model.pt", "same.pt"]
    assert "folder/key was not uploaded: it leads out of" in caplog.text


def test_everything_kept_is_uploaded_at_the_end_where_asked_for_and_nothing_twice(
    store, experiment, make_try, monkeypatch
):
    ctx, tracker = make_try(), MlflowTracker(store, log_artifacts=True)
    kept = ctx.artifacts_dir
    (kept / "folder").mkdir(parents=True)
    for name in ("told.txt", "changed.txt", "folder/told.txt", "own.txt", "folder/own.txt"):
        (kept / name).write_text("old")
    uploaded = []
    upload = mlflow.MlflowClient.log_artifact

    def noted(client, run_id, local_path, artifact_path=None):
        uploaded.append(local_path)
        upload(client, run_id, local_path, artifact_path)

    tracker.on_run_start(ctx, ctx.meta)
    for name in ("told.txt", "changed.txt"):
        tracker.on_artifact(ctx, kept / name, name)
    (kept / "folder" / "own.txt").unlink()
    tracker.on_artifact(ctx, kept / "folder", "folder")
    for name in ("changed.txt", "folder/own.txt"):
        (kept / name).write_text("a new text")
    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", noted)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    (run,) = stored(store, experiment).values()
    assert uploaded == [str(kept / name) for name in ("changed.txt", "own.txt", "folder/own.txt")]
    names = ["changed.txt", "folder/own.txt", "folder/told.txt", "own.txt", "told.txt"]
    assert files(store, run) == names
    assert _text(store, run, "changed.txt") == "a new text"


def _text(store, run, name):
    client = mlflow.MlflowClient(store)
    with open(client.download_artifacts(run.info.run_id, name)) as file:
        return file.read()


# ---- finding it --------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", ["it's mine", 'say "hi"', "a.b-c d%", "ünï_*"])
def test_any_name_of_a_run_is_found_again(uri, experiment, make_try, run_id):
    for attempt in (1, 2):
        follow(MlflowTracker(uri), make_try(attempt, run_id=run_id), attempt=attempt)
    (run,) = stored(uri, experiment).values()
    assert (run.data.tags["run_id"], run.data.tags["attempt"]) == (run_id, "2")


def test_a_run_that_version_1_logged_is_found(uri, make_ctx):
    old = mlflow.MlflowClient(uri).create_run("0", tags={"run_id": "run-1", "group": ""})
    ctx = make_ctx()
    ctx.replayed = True
    follow(MlflowTracker(uri), ctx)
    assert stored(uri)["run-1"].info.run_id == old.info.run_id


def test_a_first_attempt_is_a_new_run_whatever_there_is(uri, make_ctx):
    mlflow.MlflowClient(uri).create_run("0", tags={"run_id": "run-2"})
    follow(MlflowTracker(uri), make_ctx())
    assert sorted(stored(uri)) == ["run-1", "run-2"]


def test_a_resumed_run_that_was_never_sent_is_made(uri, experiment, make_try):
    follow(MlflowTracker(uri), make_try(attempt=3), attempt=3)
    (run,) = stored(uri, experiment).values()
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "3")
