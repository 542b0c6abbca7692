"""A failure of every single call that a launch or a reader makes to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import read_faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


def rounds(scenario: str, root) -> list[dict[str, Any]]:
    """Let one call after the other fail; each must be survived, or end with an error of a file."""
    out = subprocess.run(
        [sys.executable, read_faults.__file__, scenario, root],
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert out.returncode == 0, out.stderr
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(rows) > 60
    for row in rows:
        assert row["error"] is None or str(root) in row["error"], row
        if row["errno"] == "EIO":  # it passes, so nobody sees it
            assert row["error"] is None, row
    return rows


def test_a_table_lacks_no_run_that_is_not_named(tmp_path):
    for row in rounds("read", tmp_path / "results"):
        if row["error"] is None:
            whole = [[i, i] for i in range(3)]
            left = [each for each in whole if each in row["rows"]]
            assert row["rows"] == left, row  # no number is missing from a row
            assert len(left) == 3 or "left out" in row["told"], row
            assert len(left) == 3 or row["errno"] == "EACCES", row


def test_what_has_succeeded_is_not_executed_again(tmp_path):
    for row in rounds("relaunch", tmp_path / "results"):
        assert "0" not in row["began"], row
        assert row["status"].count("succeeded") == 1 + len(row["began"]), row
        assert row["began"] == ["1"] or row["error"] or "failed" in row["told"], row


def test_what_a_living_process_is_at_work_on_is_neither_closed_nor_executed_beside_it(tmp_path):
    for row in rounds("beside", tmp_path / "results"):
        assert row["began"] == [], row
        assert row["status"] == ["running"], row
