"""Random SIGKILLs of launchers and workers until the work is done: nothing is lost or half done."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
import storm
from reading import strict

KILLS = 25


def _start(root, mode):
    return subprocess.Popen(
        [sys.executable, storm.__file__, str(root), mode],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(root.parent)},  # what killed processes leave
    )


def _workers(launcher):
    """The processes that carry out runs for a launcher."""
    try:
        below = psutil.Process(launcher.pid).children(recursive=True)
        return [p for p in below if os.getsid(p.pid) == p.pid]  # a session of their own
    except (psutil.Error, ProcessLookupError):
        return []


def _strike(rng, launchers):
    """Kill one launcher, or one worker, at random."""
    launcher = rng.choice(launchers)
    workers = _workers(launcher)
    victim = rng.choice(workers).pid if workers and rng.random() < 0.6 else launcher.pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)


def _storm(root, mode, launchers_at_once, rng):
    """Keep some launchers going, and strike, until one ends by itself with everything done."""
    launchers, kills, ended = [], 0, []
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        launchers = [p for p in launchers if p.poll() is None or ended.append(p)]
        if any(p.returncode == 0 for p in ended):
            break
        while len(launchers) < launchers_at_once:
            launchers.append(_start(root, mode))
        time.sleep(rng.uniform(0.15, 0.4))
        if kills < KILLS:
            kills += 1
            _strike(rng, launchers)
    for process in launchers:
        process.wait(60)
    crashed = [p for p in [*ended, *launchers] if p.returncode not in (0, -signal.SIGKILL, 3)]
    said = [p.stderr.read().decode() for p in crashed]
    for process in [*ended, *launchers]:
        process.stderr.close()
    return kills, said


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("mode", "launchers"), [("process_pool", 1), ("joblib", 1), ("process_pool", 2)]
)
def test_after_a_storm_of_kills_every_configuration_has_succeeded_once(tmp_path, mode, launchers):
    root, rng = tmp_path / "results", random.Random(f"{mode}{launchers}")
    kills, crashed = _storm(root, mode, launchers, rng)
    assert kills >= 5
    assert crashed == []
    final = _start(root, mode)
    assert final.wait(60) == 0, final.stderr.read()
    final.stderr.close()

    runs = [strict(folder / "run.json") for folder in root.iterdir() if folder.name[0] != "."]
    assert "running" not in {run["status"] for run in runs}
    done = Counter()
    for run in runs:
        folder = root / run["run_id"]
        config = strict(folder / "config.json")
        if run["status"] == "succeeded":
            done[config["i"]] += 1
            assert strict(folder / "metrics.json") == {"score": config["i"], "steps": storm.STEPS}
            assert [r["step"] for r in lines_of(folder / "metrics.jsonl")][-1] == storm.STEPS
    assert done == Counter(range(storm.RUNS))
    for path in root.rglob("*.json"):
        strict(path)
    noted = [line.split() for line in (tmp_path / "results.log").read_text().splitlines()]
    ended = Counter(int(i) for what, i, _ in noted if what == "end")
    assert sum(ended.values()) - storm.RUNS <= kills  # only what a kill hit is executed again


def lines_of(path):
    """The whole lines of a file that kills may have torn."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
