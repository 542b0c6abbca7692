"""The live page beside a real sweep."""

from __future__ import annotations

import json
import time

import pytest
from launches import at_work, launched, records, until
from live_pages import served

pytestmark = pytest.mark.slow


def first(events, wanted, seconds=30):
    """The first delta of which something is so; a page that must read anew is told so here."""
    began = time.monotonic()
    for name, delta in events:
        assert time.monotonic() - began < seconds
        if name == "delta" and wanted(delta):
            return delta
    raise AssertionError("the stream has ended")


def statuses(delta):
    runs = delta.get("runs") or {"name": [], "status": []}
    return dict(zip(runs["name"], runs["status"], strict=True))


def test_a_run_is_seen_to_log_and_is_stopped_and_the_launch_too(tmp_path):
    with launched(tmp_path, "process_pool", 2) as launch, served(tmp_path / "results") as page:
        run, other = (one["run_id"] for one in at_work(tmp_path, 2))
        page.open()
        data = page.data()
        assert data["live"] and data["state"] > 0
        assert [(one["alive"], one["total"]) for one in data["launches"]] == [(True, 3)]
        with page.events(data["state"]) as events:
            delta = first(
                events, lambda delta: any(one["run"] == 0 for one in delta.get("curves", ()))
            )
            (curve,) = (one for one in delta["curves"] if one["run"] == 0)
            again = first(events, lambda delta: delta.get("curves"))
            longer = [one for one in again["curves"] if one["metric"] == curve["metric"]]
            assert max(one["of"] for one in longer) > curve["of"]
            tagged = page.post("/api/tag", {"run": run, "tags": {"stage": "odd", "word": ""}})
            assert tagged.json() == {"ok": True, "said": "tags: stage=odd, word"}
            delta = first(
                events, lambda delta: run in statuses(delta) and any(delta["runs"]["tags"])
            )
            assert delta["runs"]["tags"][delta["runs"]["name"].index(run)] == ["stage=odd", "word"]

            stopped = page.post("/api/stop", {"run": run})
            assert stopped.status == 200, stopped.text
            assert stopped.json()["said"] == f"run {run}: it has ended: failed (stopped)"
            first(events, lambda delta: statuses(delta).get(run) == "failed")
            by_id = {record["run_id"]: record for record in records(tmp_path)}
            assert (by_id[run]["status"], by_id[run]["reason"]) == ("failed", "stopped")
            assert by_id[other]["status"] == "running"
            about = page.ask("GET", f"/api/run/{run}").json()
            assert about["run"]["reason"] == "stopped" and about["config"]["lr"] in (1, 2, 3)

            ended = page.post("/api/stop", {"run": run})
            assert ended.status == 409
            assert ended.json() == {"error": "nothing to stop: it has ended (failed)"}
            launch_id = data["launches"][0]["id"]
            answer = page.post("/api/stop", {"launch": launch_id})
            assert (
                answer.status == 200 and f"launch {launch_id} has stopped" in answer.json()["said"]
            )
            assert launch.wait(20) == 130
            first(events, lambda delta: any(not one["alive"] for one in delta.get("launches", ())))
        nothing = page.post("/api/stop", {"launch": launch_id})
        assert nothing.status == 409 and "nothing to stop" in nothing.json()["error"]


def test_a_sweep_is_seen_from_its_start_to_its_end(tmp_path):
    with served(tmp_path / "results") as page:
        page.open()
        state = page.data()["state"]
        seen = set()
        with page.events(state) as events, launched(tmp_path, "process_pool", 3):
            for name, delta in events:
                if name == "reload":  # the first run has brought its columns
                    data = page.data()
                    now = dict(zip(data["runs"]["name"], data["runs"]["status"], strict=True))
                else:
                    now = statuses(delta)
                seen |= set(now.items())
                if sum(status == "running" for _, status in seen) == 3:
                    (tmp_path / "go").touch()
                if sum(status == "succeeded" for _, status in seen) == 3:
                    break
        assert {status for _, status in seen} == {"running", "succeeded"}
        until(lambda: len(page.data()["best"]) > 0)
        data = page.data()
        assert data["runs"]["status"] == ["succeeded"] * 3
        best = data["best"][0]
        assert data["runs"]["name"][best["runs"][0]]


def test_a_run_of_a_launch_without_workers_cannot_be_stopped_alone(tmp_path):
    with launched(tmp_path, "sequential", 1), served(tmp_path / "results") as page:
        (record,) = at_work(tmp_path, 1)
        answer = page.open().post("/api/stop", {"run": record["run_id"]})
        assert answer.status == 409 and "stop the launch: ztxexp stop" in answer.json()["error"]
        assert at_work(tmp_path, 1)


def test_a_run_that_ends_while_it_is_tagged_keeps_its_end_and_its_tags(tmp_path):
    with launched(tmp_path, "process_pool", 3), served(tmp_path / "results") as page:
        runs = [one["run_id"] for one in at_work(tmp_path, 3)]
        page.open()
        for number in range(60):
            if number == 10:
                (tmp_path / "go").touch()
            for run in runs:
                assert (
                    page.post("/api/tag", {"run": run, "tags": {f"t{number}": "x"}}).status == 200
                )
        until(lambda: all(one["status"] == "succeeded" for one in records(tmp_path)))
        until(lambda: page.data()["runs"]["status"] == ["succeeded"] * 3)
        expected = [f"t{number}=x" for number in range(60)]
        assert page.data()["runs"]["tags"] == [expected] * 3
        for run in runs:
            record = json.loads((tmp_path / "results" / run / "run.json").read_text())
            assert record["status"] == "succeeded" and not record["tags"]
