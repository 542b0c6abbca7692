"""Workers end with a launcher that was killed, whatever they are doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

PARALLEL = ["process_pool", "joblib", "dynamic"]
LAUNCH = """
import os, signal, subprocess, sys, time
from ztxexp import ExpRunner

def train(ctx):
    child = subprocess.Popen(["sleep", "60"])
    with open(sys.argv[1], "a") as file:
        print(os.getpid(), child.pid, file=file, flush=True)
    if sys.argv[3] == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif sys.argv[3] == "computing":
        sum(range(10**11))  # one call, in which no other thread of Python runs
    time.sleep(60)

ExpRunner([{"i": 0}, {"i": 1}], sys.argv[2]).run(
    train, mode=sys.argv[4], workers=2, cpu_threshold=100  # however busy this machine is
)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there the kernel sees to it")
@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("doing", ["stopped", "computing", "sleeping"])
def test_a_worker_ends_with_a_killed_launcher(tmp_path, mode, doing):
    told = tmp_path / "told"
    words = [told, tmp_path / "results", doing, mode]
    env = {**os.environ, "ZTXEXP_PROGRESS": "0"}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCH, *map(str, words)], env=env)
    try:
        deadline = time.monotonic() + 60
        while not told.exists() or len(told.read_text().split()) < 4:
            assert time.monotonic() < deadline and launcher.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
    finally:
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    processes = told.read_text().split()
    deadline = time.monotonic() + 3
    while any(map(_lives, processes)):
        assert time.monotonic() < deadline, [pid for pid in processes if _lives(pid)]
        time.sleep(0.02)


def _lives(pid):
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
