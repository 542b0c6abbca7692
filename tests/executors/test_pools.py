"""A pool of workers that cannot grow: it goes on with those it has, and tries again."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys

import experiments
import pytest

from ztxexp_executors import _starting, _workers

PARALLEL = ["process_pool", "joblib", "dynamic"]


@pytest.mark.slow
def test_a_pool_goes_on_with_fewer_workers_where_there_is_no_room_for_more(root):
    code = (
        "import resource, sys, experiments\n"
        "from ztxexp import ExpRunner\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "configs = [{'i': i, 'seconds': 0.3} for i in range(20)]\n"
        "s = ExpRunner(configs, sys.argv[1]).run(\n"
        "    experiments.sleeps, mode='process_pool', workers=32)\n"
        "print(s.succeeded, s.failed)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.path.dirname(experiments.__file__)}
    out = subprocess.run(
        [sys.executable, "-c", code, root.path], env=env, capture_output=True, text=True
    )
    assert out.stdout.split() == ["20", "0"], out.stderr


@pytest.mark.parametrize("mode", PARALLEL)
def test_temporary_files_may_lie_where_no_socket_can(root, tmp_path, mode):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    code = (
        "import sys, experiments\n"
        "from ztxexp import ExpRunner\n"
        "s = ExpRunner([{'i': 1}, {'i': 2}], sys.argv[1]).run(\n"
        "    experiments.score, mode=sys.argv[2], workers=2)\n"
        "print(s.succeeded)\n"
    )
    tests = os.path.dirname(experiments.__file__)
    env = {**os.environ, "PYTHONPATH": tests, "TMPDIR": str(folder)}
    out = subprocess.run(
        [sys.executable, "-c", code, root.path, mode], env=env, capture_output=True, text=True
    )
    assert out.stdout.split() == ["2"], out.stderr


@pytest.fixture
def refused(monkeypatch):
    """Let starts of workers fail for want of processes: those with the numbers that are given."""

    def refuse(*numbers):
        starts = []
        check_room = _starting._check_room

        def check():
            starts.append(len(starts) + 1)
            if starts[-1] in numbers:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            check_room()

        monkeypatch.setattr(_starting, "_check_room", check)
        return starts

    return refuse


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_pool_that_could_not_grow_does_so_later_and_tells_it_once(
    mode, spec, drive, refused, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(_workers, "_GROW_AGAIN_SEC", 0.05)
    starts = refused(2, 3, 4)
    begun = str(tmp_path / "begun")
    specs = [spec("first", {"wait_for": begun}, timeout=30), spec("second", {"note": begun})]
    with caplog.at_level(logging.WARNING, "ztxexp"):
        outcomes = drive(mode, specs)  # the first one ends only after the other began
    assert [o.status for o in outcomes.values()] == 2 * ["succeeded"]
    assert starts == [1, 2, 3, 4, 5]
    (told,) = caplog.messages
    assert os.strerror(errno.EAGAIN) in told
    assert "going on with 1 of 2 workers" in told


def test_while_a_pool_cannot_grow_its_workers_are_used(spec, drive, refused):
    starts = refused(*range(2, 100))
    outcomes = drive("process_pool", [spec(f"run{i}", {"seconds": 0.01}) for i in range(50)])
    assert [o.status for o in outcomes.values()] == 50 * ["succeeded"]
    assert len(starts) < 25  # by far not one for each run
