"""Whole sweeps with a real MLflow server: nothing mixed, nothing lost, nothing doubled."""

from __future__ import annotations

import os

import pytest
from mlflow_reading import free_port, started_server

from ztxexp import ExperimentPipeline, sync

pytest.importorskip("mlflow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(os.name == "nt", reason="ends the server as a process group"),
]

STEPS = 8


def train(ctx):
    """Logs figures that no other run logs."""
    i = ctx.config["model"]["i"]
    for step in range(STEPS):
        ctx.log_metric(step, {"loss": i + step / 100}, split="valid" if step % 4 == 3 else "train")
    return {"score": i * 1.5}


def expected(i):
    """What the run of a configuration holds: metric, step, value."""
    found = {
        ("valid/loss" if step % 4 == 3 else "loss", step, i + step / 100) for step in range(STEPS)
    }
    return found | {("score", STEPS - 1, i * 1.5)}


def held_by(address):
    """Return what the server holds of each run: its ``model.i``, metrics with steps, status."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("sweep")
    found, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=100, page_token=token)
        for run in page:
            rows = [
                (name, point.step, point.value)
                for name in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, name)
            ]
            found.append((int(run.data.params["model.i"]), rows, run.info.status))
        token = page.token
        if not token:
            return found


def pipeline(root, address, count):
    return (
        ExperimentPipeline(root.path, {"model": {"i": 0}})
        .grid({"model.i": list(range(count))})
        .name("sweep")
        .track("mlflow", tracking_uri=address, experiment_name="sweep")
    )


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No setting of the machine reaches MLflow."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_two_hundred_runs_four_at_a_time_arrive_each_in_a_run_of_its_own(root, tmp_path):
    with started_server(tmp_path) as (address, _):
        summary = pipeline(root, address, 200).run(train, mode="process_pool", workers=4)
        assert summary.succeeded == 200
        held = held_by(address)
    assert sorted(i for i, _, _ in held) == list(range(200))
    for i, rows, status in held:
        assert (set(rows), len(rows), status) == (expected(i), STEPS + 1, "FINISHED")


def test_after_the_server_was_killed_in_the_middle_a_sync_completes_it(root, tmp_path):
    count = 24

    def kills(ctx):
        figures = train(ctx)
        if ctx.config["model"]["i"] == count // 3:
            os.killpg(ctx.config["server"], 9)
        return figures

    port = free_port()
    with started_server(tmp_path, port) as (address, server):
        sweep = pipeline(root, address, count).modify(lambda c: {**c, "server": server.pid})
        summary = sweep.run(kills, mode="process_pool", workers=2, tracker_timeout=20)
        assert summary.succeeded == count
        server.wait(30)
    with started_server(tmp_path, port) as (again, _):
        assert again == address
        report = sync(root.path, "mlflow", tracking_uri=address, experiment_name="sweep")
        assert (report.failed, report.not_tried, report.busy) == ({}, 0, [])
        assert 0 < len(report.sent) < count  # what had arrived before is not sent again
        again = sync(root.path, "mlflow", tracking_uri=address, experiment_name="sweep")
        assert again.sent == []
        held = held_by(address)
    assert sorted(i for i, _, _ in held) == list(range(count))
    for i, rows, status in held:
        assert (set(rows), len(rows), status) == (expected(i), STEPS + 1, "FINISHED")
