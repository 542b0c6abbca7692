"""The torch example, killed again and again, ends with the figures of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "resume_torch.py"
CONFIGURATIONS = 4
EPOCHS = 40
MOST_KILLS = 8
PATIENCE_SEC = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
pytest.importorskip("torch")
pytest.importorskip("sklearn")


class Example:
    """The script, started over and over on one results root."""

    def __init__(self, folder: Path):
        self.root = folder / "results"
        self.output = folder / "output.txt"
        self.env = {**os.environ, "TMPDIR": str(folder)}  # what killed processes leave
        self.touched: set[psutil.Process] = set()

    def start(self) -> subprocess.Popen:
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, SCRIPT, self.root], stdout=output, stderr=output, env=self.env
            )

    def finish(self) -> str:
        """Start it until it reports that all is done; returns what it said last."""
        for _ in range(CONFIGURATIONS + 1):
            self.output.write_bytes(b"")
            if self.start().wait(PATIENCE_SEC) == 0:
                break
        return self.output.read_text()

    def epochs(self) -> int:
        """How many epochs have been logged by all runs and attempts."""
        return sum(path.read_bytes().count(b"\n") for path in self.root.glob("*/metrics.jsonl"))

    def workers(self) -> set[int]:
        """The processes at work on a run, as the runs' records tell."""
        records = [json.loads(path.read_bytes()) for path in self.root.glob("2*/run.json")]
        return {r["owner"]["pid"] for r in records if r["status"] == "running"}

    def figures(self) -> dict[str, dict[str, float]]:
        """Final metrics by configuration."""
        return {
            (path.parent / "config.json").read_text(): json.loads(path.read_bytes())
            for path in self.root.glob("*/metrics.json")
        }


def disturb(example: Example, dice: random.Random) -> bool:
    """Start the example, and kill it or one of its workers somewhere; tells whether it was hit."""
    early = dice.random() < 0.2  # while it is being set up; later ones need an epoch to begin with
    before = -1 if early else example.epochs()
    launcher = example.start()
    process = psutil.Process(launcher.pid)
    moment, family = None, set()
    while moment is None or time.monotonic() < moment:
        if launcher.poll() is not None:
            return False
        if moment is None and example.epochs() > before:
            moment = time.monotonic() + dice.uniform(0, 2.0 if early else 0.5)
        with contextlib.suppress(psutil.NoSuchProcess):
            family = set(process.children(recursive=True))
            example.touched |= family
        time.sleep(0.01)
    workers = sorted(example.workers() & {member.pid for member in family})
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice([launcher.pid, *workers]), signal.SIGKILL)
    launcher.wait(PATIENCE_SEC)
    return True


def test_killed_at_random_and_relaunched_until_done_it_ends_with_the_same_figures(tmp_path):
    undisturbed, disturbed = Example(tmp_path / "a"), Example(tmp_path / "b")
    for example in (undisturbed, disturbed):
        example.root.mkdir(parents=True)
    assert "all done" in undisturbed.finish()

    seed = random.randrange(10**6)
    dice = random.Random(seed)
    print("seed of the kills:", seed)
    kills = 0
    while kills < MOST_KILLS and disturb(disturbed, dice):
        kills += 1
    said = disturbed.finish()
    assert "all done" in said

    print(f"{kills} kills\n{said}")
    assert len(undisturbed.figures()) == CONFIGURATIONS
    assert disturbed.figures() == undisturbed.figures()
    starts = re.findall(
        r"attempt (\d+) starts after epoch (\d+)",
        "".join(path.read_text() for path in disturbed.root.glob("*/run.log")),
    )
    went_on = [(attempt, epoch) for attempt, epoch in starts if int(attempt) > 1 and int(epoch) > 0]
    assert kills >= 2 and went_on, starts  # or nothing was tested
    assert disturbed.epochs() < 2 * CONFIGURATIONS * EPOCHS  # they did not begin anew each time
    assert not psutil.wait_procs(disturbed.touched, timeout=20)[1]
