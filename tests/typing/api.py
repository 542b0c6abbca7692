"""User code under mypy --strict: the public types are part of the product. Never executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

from ztxexp import (
    ExperimentPipeline,
    ExpManager,
    ExpRunner,
    JsonlTracker,
    MetricEvent,
    ResultAnalyzer,
    RunContext,
    RunMetadata,
    RunSummary,
    SkipRun,
    Tracker,
    call_by_name,
    log,
    loguniform,
)
from ztxexp.constants import RUN_STATUS_FAILED


def train(ctx: RunContext) -> dict[str, float]:
    if ctx.config["lr"] > 1:
        raise SkipRun("too large")
    ctx.log_metric(step=1, metrics={"loss": 0.5}, split="valid")
    (ctx.run_dir / "artifacts" / "note.txt").write_text(ctx.run_id)
    return {"score": 0.9}


def evaluate(ctx: RunContext) -> None:
    ctx.logger.info("nothing to return")


def counts(ctx: RunContext) -> Mapping[str, SupportsFloat]:
    metrics: dict[str, int] = {"n": 3}
    ctx.log_metric(step=1, metrics=metrics)
    return metrics


@dataclass
class Scores:
    accuracy: float


def scores(ctx: RunContext) -> Scores:
    return Scores(0.9)


def loss(ctx: RunContext) -> float:
    return 0.1


def plain(lr: float, hidden: int = 32) -> dict[str, float]:
    log(3, loss=lr, accuracy=0.9)
    log({"top-1": 0.9}, split="valid", step=4)
    return {"score": lr * hidden}


def steps(lr: float) -> Iterator[dict[str, float]]:
    yield {"loss": lr}


def pairs(ctx: RunContext) -> list[float]:
    return [0.1, 0.2]


class MyTracker:
    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None: ...

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None: ...

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None: ...


tracker: Tracker = MyTracker()
summary: RunSummary = (
    ExperimentPipeline("./results", base_config={"seed": 1})
    .grid({"lr": [0.1, 0.01]})
    .random_search({"wd": loguniform(1e-5, 1e-2)}, n_trials=3)
    .chain(ExpManager({"opt": "sgd"}).zip({"a": [1], "b": [2]}), {"c": [1, 2]})
    .expand("grid", param_grid={"d": [1]})
    .where(lambda c: c["lr"] < 1)
    .modify(lambda c: None)
    .track(tracker)
    .track(JsonlTracker())
    .track("mlflow", experiment_name="x")
    .retry(3, retry_on=(OSError, "ValueError"))
    .exclude_completed(ignore_keys=["note"])
    .run(train, mode="process_pool", workers=2)
)
base = ExperimentPipeline("./results").grid({"lr": [0.1, 0.01]})
branch: ExperimentPipeline = base.copy().zip({"a": [1], "b": [2]}).name("branch").resume()
manager: ExpManager = ExpManager().add_grid_search({"lr": [0.1]}).where(lambda c: c["lr"] > 0)
manager = manager.exclude_completed("./results").add_filter(lambda c: True).copy().shuffle(seed=1)
configs: list[dict[str, object]] = manager.get_configs()
ExpRunner([{"a": 1}], Path("results"), evaluate).run(max_attempts=2)
for function in (counts, scores, loss, pairs):
    ExperimentPipeline("./results").run(function, mode="an_installed_executor", gpus=[0, "1"])
ExperimentPipeline("./results").run(lambda ctx: {"nested": {"a": 1}}, mode="joblib", gpus="auto")
ExperimentPipeline("./results").run(call_by_name(plain), mode="process_pool").succeeded
ExperimentPipeline("./results").run(command=["python", "train.py", "{lr}"], metric_pattern=None)
ExperimentPipeline("./results").plan(command=["python", "train.py"])
ExpRunner([{"lr": 1}], "results").run(call_by_name(steps))
analyzer = ResultAnalyzer("results")
analyzer.best("loss", mode="min", over=["seed", "fold"], group="g", statuses=["failed"])
analyzer.aggregate("lr", statuses=None, tags=["t"]), analyzer.failures(experiment_name="e")
analyzer.to_dataframe(statuses="failed"), analyzer.to_records((RUN_STATUS_FAILED,))
analyzer.gc(keep_best=1, metric="loss", mode="min", only="checkpoints")
analyzer.best("loss", mode="smallest")  # type: ignore[arg-type]
analyzer.to_dataframe(statuses="interrupted")  # type: ignore[arg-type]
analyzer.varying(grup="g")  # type: ignore[call-arg]
frame = analyzer.to_curve_dataframe("loss", split="train", config=["lr"])
frame = analyzer.to_dataframe()
mean: float = float(frame["score"].mean())
