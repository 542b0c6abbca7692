"""A kill, or a full disk, at every single change that a launch makes to files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import write_faults


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
@pytest.mark.parametrize("kind", ["kill", "enospc"])
def test_whatever_change_fails_the_next_launch_does_exactly_the_rest(kind, mode, tmp_path):
    out = subprocess.run(
        [sys.executable, write_faults.__file__, kind, mode, tmp_path / "results"],
        capture_output=True,
        text=True,
        timeout=580,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what killed processes leave
    )
    assert out.returncode == 0, out.stderr
    rounds = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(rounds) > 12  # a run makes about fifteen changes
    assert rounds[-1]["ended"] == "undisturbed"
    for row in rounds:
        assert not row["ended"].startswith("exit"), (row, out.stderr)
        assert row["repaired"] == "undisturbed", row
        kept = {run for run, status in row["before"].items() if status == "succeeded"}
        after = row["after"]
        assert "running" not in after.values(), row
        done = sum(status == "succeeded" for status in after.values())
        assert done == len(write_faults.CONFIGS), row
        assert kept <= after.keys(), row
    if kind == "kill" and mode == "sequential":
        assert {row["ended"] for row in rounds[:-1]} == {"killed"}
