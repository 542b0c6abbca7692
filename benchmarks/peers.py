"""Do the same work with other tools, as their users would; same protocol as work.py.

exca keeps results of function calls in a cache, signac keeps jobs in a workspace, MLflow tracks
runs in a database. None of them does all that a run of ztxexp does, nor the other way round. The
figures show what the bookkeeping costs a user of each tool.
"""

import logging
import os
import time
import typing as tp
from pathlib import Path

from roots import config_of
from work import Measured, main


def exca_runs(scratch: Path, count: int) -> Measured:
    """Carry out empty calls through exca's MapInfra, one after the other."""
    import exca
    import pydantic

    class Work(pydantic.BaseModel):
        infra: exca.MapInfra = exca.MapInfra(version="1")

        @infra.apply(item_uid=str)
        def process(self, items: tp.Iterable[int]) -> tp.Iterator[dict[str, float]]:
            for _ in items:
                yield {"score": 1.0}

    work = Work(infra={"folder": str(scratch / "exca"), "cluster": None})  # type: ignore[arg-type]
    began = time.perf_counter()
    found = list(work.process(range(count)))
    assert len(found) == count
    return time.perf_counter() - began, count


def signac_runs(scratch: Path, count: int) -> Measured:
    """Open a job for each configuration, and keep its result and status in its document."""
    import signac

    project = signac.init_project(str(scratch))
    began = time.perf_counter()
    for number in range(count):
        job = project.open_job(config_of(number)).init()
        job.doc["score"] = 1.0
        job.doc["status"] = "succeeded"
    return time.perf_counter() - began, count


def signac_read(scratch: Path, count: int) -> Measured:
    """Read all jobs back into a frame, in a project that was just opened."""
    import signac

    signac_runs(scratch, count)
    project = signac.get_project(str(scratch))
    began = time.perf_counter()
    frame = project.to_dataframe()
    assert len(frame) == count
    return time.perf_counter() - began, count


def _client(scratch: Path) -> tp.Any:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    logging.disable(logging.INFO)
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{scratch}/mlflow.db")


def mlflow_runs(scratch: Path, count: int) -> Measured:
    """Make a run with its parameters and one metric, in MLflow's SQLite store."""
    from mlflow.entities import Metric, Param

    client = _client(scratch)
    experiment = client.create_experiment("bench", artifact_location=str(scratch))
    params = [Param(key, str(value)) for key, value in config_of(0).items()]
    client.set_terminated(client.create_run(experiment).info.run_id)
    began = time.perf_counter()
    for _ in range(count):
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, metrics=[Metric("score", 1.0, 0, 0)], params=params)
        client.set_terminated(run)
    return time.perf_counter() - began, count


def mlflow_steps(scratch: Path, count: int) -> Measured:
    """Log two metrics a step, in MLflow's SQLite store."""
    from mlflow.entities import Metric

    client = _client(scratch)
    run = client.create_run(client.create_experiment("bench", artifact_location=str(scratch)))
    began = time.perf_counter()
    for step in range(count):
        metrics = [Metric("loss", 0.5, 0, step), Metric("acc", 0.25, 0, step)]
        client.log_batch(run.info.run_id, metrics=metrics)
    return time.perf_counter() - began, count


def mlflow_read(scratch: Path, count: int) -> Measured:
    """Read all runs back into a frame."""
    import mlflow

    mlflow_runs(scratch, count)
    mlflow.set_tracking_uri(f"sqlite:///{scratch}/mlflow.db")
    began = time.perf_counter()
    frame = mlflow.search_runs(experiment_names=["bench"], max_results=50_000)
    assert len(frame) == count + 1
    return time.perf_counter() - began, count


if __name__ == "__main__":
    main(globals())
