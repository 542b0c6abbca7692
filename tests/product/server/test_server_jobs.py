"""The live page beside a launch whose jobs go on without it."""

from __future__ import annotations

import os

import pytest
from launches import at_work, launched, records, until
from live_pages import served
from local_jobs import NAME, LocalJobs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="POSIX")]


@pytest.fixture
def jobs(tmp_path):
    with LocalJobs(tmp_path / "engine", slots=2) as jobs:
        yield jobs


def test_its_runs_are_seen_and_stopped_and_its_jobs_too(jobs, tmp_path):
    with launched(tmp_path, NAME, 2, "detach") as launch:
        assert launch.wait(60) == 0
    with served(tmp_path / "results") as page:
        run, other = (one["run_id"] for one in at_work(tmp_path, 2))
        page.open()
        data = page.data()
        (known,) = data["launches"]
        assert (known["alive"], known["state"], known["total"]) == (True, "alive", 3)
        until(lambda: sorted(page.data()["runs"]["status"]) == ["running"] * 2)

        stopped = page.post("/api/stop", {"run": run})
        assert stopped.status == 200, stopped.text
        assert stopped.json()["said"] == f"run {run}: it has ended: failed (stopped)"
        by_id = {record["run_id"]: record for record in records(tmp_path)}
        assert (by_id[run]["status"], by_id[run]["reason"]) == ("failed", "stopped")
        assert by_id[other]["status"] == "running"

        answer = page.post("/api/stop", {"launch": known["id"]})
        assert answer.status == 200, answer.text
        assert f"launch {known['id']} has stopped, 2 jobs gone: " in answer.json()["said"]
        assert jobs.living() == []
        until(lambda: not page.data()["launches"][0]["alive"])
        nothing = page.post("/api/stop", {"launch": known["id"]})
        assert nothing.status == 409 and "nothing to stop" in nothing.json()["error"]
    assert {record["reason"] for record in records(tmp_path)} == {"stopped", "interrupted"}
