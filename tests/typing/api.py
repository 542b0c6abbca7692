"""User code under mypy --strict: the public types are part of the product. Never executed."""

from __future__ import annotations

from pathlib import Path

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
    loguniform,
)


def train(ctx: RunContext) -> dict[str, float]:
    if ctx.config["lr"] > 1:
        raise SkipRun("too large")
    ctx.log_metric(step=1, metrics={"loss": 0.5}, split="valid")
    (ctx.run_dir / "artifacts" / "note.txt").write_text(ctx.run_id)
    return {"score": 0.9}


def evaluate(ctx: RunContext) -> None:
    ctx.logger.info("nothing to return")


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
frame = ResultAnalyzer("results").to_dataframe()
mean: float = float(frame["score"].mean())
