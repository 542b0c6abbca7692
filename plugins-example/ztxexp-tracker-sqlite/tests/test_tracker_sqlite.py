"""The suite that every tracker passes, and what only this one promises."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import re
import sqlite3
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from ztxexp import ExperimentPipeline, sync
from ztxexp_testing import Contents, TrackerSuite
from ztxexp_tracker_sqlite import SqliteTracker, number

README = Path(__file__).parent.parent / "README.md"


def rows(path, sql, *values):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql, values).fetchall()


@pytest.mark.slow
class TestSqlite(TrackerSuite):
    @property
    def database(self):
        return self.place / "runs.db"

    def make(self):
        return "sqlite", {"path": str(self.database)}

    def contents(self):
        if not self.database.exists():
            return
        points, params, artifacts = defaultdict(list), defaultdict(dict), defaultdict(dict)
        for run_id, split, name, step, value in rows(
            self.database, "SELECT run_id, split, name, step, value FROM metrics"
        ):
            points[run_id].append((split, name, step, number(value)))
        for run_id, name, value in rows(self.database, "SELECT * FROM params"):
            params[run_id][name] = json.loads(value)
        for run_id, name, path in rows(self.database, "SELECT run_id, name, path FROM artifacts"):
            with open(path, "rb") as file:
                artifacts[run_id][name] = file.read()
        for run_id, status, config, figures in rows(
            self.database, "SELECT run_id, status, config, figures FROM runs"
        ):
            told = {**json.loads(config), **params[run_id]}
            yield Contents(
                run_id, points[run_id], status, told, json.loads(figures), artifacts[run_id]
            )


# ---- what the README says ------------------------------------------------------------------------


def train(ctx):
    for step in range(3):
        ctx.log_metric(step, {"loss": ctx.config["lr"] / (step + 1), "odd": math.nan})
    ctx.log_params(device="cpu")
    if ctx.config["lr"] > 1:
        raise ValueError("too fast")
    return {"score": 1 - ctx.config["lr"]}


def sweep(tmp_path, *rates, mode="sequential"):
    pipeline = ExperimentPipeline(tmp_path / "results").grid({"lr": list(rates)})
    pipeline.track("sqlite", path=tmp_path / "runs.db")
    return pipeline.run(train, mode=mode, workers=2, progress=False)


def test_the_queries_of_the_readme_answer(tmp_path):
    sweep(tmp_path, 0.5, 0.25, 2.0)
    best, curve = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert rows(tmp_path / "runs.db", best) == [(0.25, 0.75), (0.5, 0.5)]
    assert rows(tmp_path / "runs.db", curve, "%")[:2] == [(0, 0.25), (0, 0.5)]
    assert rows(tmp_path / "runs.db", "SELECT error FROM runs WHERE status = 'failed'") == [
        ("ValueError: too fast",)
    ]


def test_nan_is_null_and_infinities_are_numbers(tmp_path):
    def odd(ctx):
        ctx.log_metric(1, {"a": math.nan, "b": math.inf, "c": -math.inf})

    tracker = SqliteTracker(tmp_path / "runs.db")
    ExperimentPipeline(tmp_path / "results").track(tracker).run(odd, progress=False)
    found = dict(rows(tmp_path / "runs.db", "SELECT name, value FROM metrics"))
    assert found == {"a": None, "b": math.inf, "c": -math.inf}
    assert math.isnan(number(found["a"]))


# ---- several processes ---------------------------------------------------------------------------


def write_runs(folder, first):
    tracker = SqliteTracker(folder / "runs.db")
    for number_ in range(first, first + 5):
        pipeline = ExperimentPipeline(folder / f"results{first}", {"lr": 0.5, "n": number_})
        pipeline.track(tracker).run(train, progress=False)


@pytest.mark.slow
def test_several_launches_write_into_one_new_database_at_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_runs, args=(tmp_path, 10 * i)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert rows(tmp_path / "runs.db", "SELECT status, count(*) FROM runs GROUP BY status") == [
        ("succeeded", 15)
    ]
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM metrics") == [(15 * 3 * 2,)]
    (integrity,) = rows(tmp_path / "runs.db", "PRAGMA integrity_check")
    assert integrity == ("ok",)


def test_a_call_waits_while_another_process_writes(tmp_path):
    assert sweep(tmp_path, 0.5).succeeded == 1
    writer = sqlite3.connect(tmp_path / "runs.db", isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, writer.execute, ["COMMIT"]).start()
    assert sweep(tmp_path, 0.25).succeeded == 1
    writer.close()
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs") == [(2,)]


def test_a_database_that_stays_locked_costs_no_run_and_is_brought_up_to_date_later(tmp_path):
    assert sweep(tmp_path, 0.5).succeeded == 1
    writer = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    pipeline = ExperimentPipeline(tmp_path / "results", {"lr": 0.25})
    pipeline.track("sqlite", path=tmp_path / "runs.db", lock_timeout=0.1)
    assert pipeline.run(train, progress=False).succeeded == 1
    writer.close()
    report = sync(tmp_path / "results", "sqlite", path=tmp_path / "runs.db")
    assert len(report.sent) == 1 and report.events == 3 and not report.failed
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM metrics") == [(12,)]


# ---- one call, one transaction -------------------------------------------------------------------


def test_of_a_call_that_fails_nothing_is_there(tmp_path, caplog):
    class Half(SqliteTracker):
        def on_metrics(self, ctx, events):
            events[-1].metrics["text"] = object()
            super().on_metrics(ctx, events)

    tracker = Half(tmp_path / "runs.db")
    pipeline = ExperimentPipeline(tmp_path / "results", {"lr": 0.5}).track(tracker)
    assert pipeline.run(train, progress=False).succeeded == 1
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM metrics") == [(0,)]
    assert rows(tmp_path / "runs.db", "SELECT status FROM runs") == [("succeeded",)]
    assert "tracker 'Half' failed in on_metrics" in caplog.text


def test_a_database_that_was_deleted_is_filled_again(tmp_path):
    sweep(tmp_path, 0.5, 0.25)
    (tmp_path / "runs.db").unlink()
    report = sync(tmp_path / "results", "sqlite", path=tmp_path / "runs.db")
    assert len(report.sent) == 2
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM metrics") == [(12,)]
    assert rows(tmp_path / "runs.db", "SELECT name, value FROM params") == [("device", '"cpu"')] * 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_nothing_but_the_database_is_left(tmp_path, mode):
    sweep(tmp_path, 0.5, mode=mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "runs.db"]
