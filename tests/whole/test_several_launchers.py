"""Several launchers on one folder: they share the work, and none waits for a dead one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import sharing
from reading import Root

pytestmark = pytest.mark.slow


class Launchers:
    """Launchers of one sweep, begun at the same moment."""

    def __init__(self, path, count, mode, runs=30, seconds=0.05, how=""):
        self.root = Root(path)
        self.log = path.with_name(path.name + ".log")
        command = [sys.executable, sharing.__file__, path, mode, str(runs), str(seconds), how]
        self.all = [
            subprocess.Popen(
                [word for word in command if word != ""],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": str(path.parent)},  # what killed processes leave
            )
            for _ in range(count)
        ]
        for launcher in self.all:
            assert launcher.stdout.readline() == "ready\n", launcher.stderr.read()
        path.with_name(path.name + ".go").touch()

    def wait_for_starts(self, count):
        deadline = time.monotonic() + 30
        while sum(self.starts().values()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def starts(self) -> Counter:
        if not self.log.exists():
            return Counter()
        return Counter(int(line.split()[0]) for line in self.log.read_text().splitlines())

    def results(self, launchers=None):
        """What each launcher said at its end: succeeded, failed, reused."""
        found = []
        for launcher in launchers or self.all:
            out, err = launcher.communicate(timeout=60)
            assert launcher.returncode == 0, err
            found.append(tuple(map(int, out.split())))
        return found


@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib", "dynamic"])
def test_every_configuration_is_executed_once_and_everybody_knows_of_all(tmp_path, mode):
    launchers = Launchers(tmp_path / "results", 3, mode)
    results = launchers.results()
    assert launchers.starts() == Counter(range(30))
    assert sum(succeeded for succeeded, _, _ in results) == 30
    assert [sum(result) for result in results] == [30, 30, 30]
    assert launchers.root.statuses() == ["succeeded"] * 30


def test_what_fails_in_one_launcher_is_not_tried_again_by_the_others(tmp_path):
    launchers = Launchers(tmp_path / "results", 3, "sequential", runs=12, how="fails")
    results = launchers.results()
    assert launchers.starts() == Counter(range(12))
    assert sum(failed for _, failed, _ in results) == 12
    later = Launchers(tmp_path / "results", 1, "sequential", runs=12, how="fails")
    later.results()
    assert later.starts() == Counter(2 * list(range(12)))  # the next launch tries again


@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_the_death_of_a_launcher_holds_up_nobody_and_loses_nothing(tmp_path, mode):
    launchers = Launchers(tmp_path / "results", 2, mode, runs=20, seconds=0.2)
    launchers.wait_for_starts(5)
    victim, other = launchers.all
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    launchers.results([other])
    starts = launchers.starts()
    assert set(starts) == set(range(20))
    assert sum(starts.values()) <= 20 + 2  # what the dead one was at
    done = [run for run in launchers.root.runs() if run["status"] == "succeeded"]
    assert sorted(run["config"]["i"] for run in done) == list(range(20))


def test_a_stopped_launcher_keeps_what_it_is_at_and_the_others_do_the_rest(tmp_path):
    launchers = Launchers(tmp_path / "results", 2, "sequential", runs=10, seconds=0.2)
    launchers.wait_for_starts(2)
    stopped, other = launchers.all
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        launchers.wait_for_starts(10)
        time.sleep(1.5)  # time enough to take away what is not to be taken
        assert launchers.starts() == Counter(range(10))
        assert other.poll() is None  # it waits: the stopped one may still die
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    results = launchers.results()
    assert launchers.starts() == Counter(range(10))
    assert [sum(result) for result in results] == [10, 10]


def test_resume_shares_the_work_as_well(tmp_path):
    launchers = Launchers(tmp_path / "results", 2, "process_pool", runs=16, how="resume")
    launchers.results()
    assert launchers.starts() == Counter(range(16))


def test_what_an_interrupted_launcher_leaves_is_taken_up_by_the_others(tmp_path):
    launchers = Launchers(tmp_path / "results", 2, "sequential", runs=12, seconds=0.2)
    launchers.wait_for_starts(4)
    interrupted, other = launchers.all
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=10)
    launchers.results([other])
    done = [run for run in launchers.root.runs() if run["status"] == "succeeded"]
    assert sorted(run["config"]["i"] for run in done) == list(range(12))
    assert sum(launchers.starts().values()) <= 13
