"""Time limits, processes of a run's own, environments, refilled streams, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import deadly
import psutil
import pytest

from ztxexp import ExpRunner
from ztxexp_core import ExecutorError
from ztxexp_core.plugins.registry import executors
from ztxexp_executors import _process

pytestmark = pytest.mark.slow

PARALLEL = ["process_pool", "joblib", "dynamic"]


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(_process, "GRACE_SEC", 1.5)  # time enough for a handler


@pytest.fixture
def long_grace(monkeypatch):
    monkeypatch.setattr(_process, "GRACE_SEC", 60)


@pytest.mark.parametrize("mode", PARALLEL)
def test_parallel_executors_declare_what_they_can_do(mode):
    assert executors().load(mode).supports == {"refill", "timeout", "gpus", "fresh_process"}


def test_the_sequential_executor_declares_none_of_it():
    assert executors().load("sequential").supports == {"in_process"}


# ---- time limits -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_over_its_time_is_ended_and_the_others_go_on(mode, spec, drive):
    specs = [spec("slow", {"seconds": 60}, timeout=0.2)]
    specs += [spec(f"well{i}", {"seconds": 0.02}, timeout=30) for i in range(10)]
    outcomes = drive(mode, specs)
    slow = outcomes.pop("slow")
    assert (slow.status, slow.reason, slow.error_type) == ("failed", "timeout", "Timeout")
    assert slow.signal == signal.SIGTERM
    assert "0.2 s" in slow.error_message
    assert {o.status for o in outcomes.values()} == {"succeeded"}
    assert len({deadly.pid_of(o) for o in outcomes.values()}) <= 2


@pytest.mark.parametrize("mode", PARALLEL)
def test_whatever_a_run_has_started_dies_with_it(mode, spec, drive, tmp_path, short_grace):
    path = tmp_path / "pids"
    outcomes = drive(mode, [spec("a", {"children": str(path), "seconds": 60}, timeout=2)])
    assert outcomes["a"].reason == "timeout"
    pids = [int(pid) for pid in path.read_text().split()]
    assert len(pids) == 3
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid, within=5.0):
    deadline = time.monotonic() + within  # SIGKILL takes a moment; so does leaving the list
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize(
    ("at_term", "signum", "exit_code"),
    [("ignore", signal.SIGKILL, None), ("exit", None, 7), ("raise", None, None)],
)
def test_a_run_may_heed_sigterm_but_not_live_on(
    mode, at_term, signum, exit_code, spec, drive, tmp_path, short_grace
):
    path = str(tmp_path / "note")
    config = {"at_term": at_term, "note": path, "seconds": 60}
    outcome = drive(mode, [spec("a", config, timeout=2)])["a"]
    assert (outcome.reason, outcome.error_type) == ("timeout", "Timeout")
    assert (outcome.signal, outcome.exit_code) == (signum, exit_code)
    if at_term != "ignore":
        assert "SIGTERM" in (tmp_path / "note").read_text()


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_that_succeeds_within_the_grace_has_succeeded(mode, spec, drive, tmp_path):
    path = str(tmp_path / "note")
    config = {"at_term": "succeed", "note": path, "wait_for": path + ".succeed"}
    outcomes = drive(mode, [spec("a", config, timeout=1.5), spec("b")], workers=1)
    assert (outcomes["a"].status, outcomes["b"].status) == ("succeeded", "succeeded")
    assert deadly.pid_of(outcomes["a"]) != deadly.pid_of(outcomes["b"])


@pytest.mark.parametrize("mode", PARALLEL)
def test_during_the_grace_of_one_run_others_are_started_and_end(
    mode, spec, start, tmp_path, long_grace
):
    stubborn = {"at_term": "ignore", "note": str(tmp_path / "note"), "seconds": 120}
    specs = [spec("slow", stubborn, timeout=1.5)]
    specs += [spec(f"well{i}", {"seconds": 0.3}) for i in range(10)]
    order = []
    for outcome in start(mode, specs):
        order.append(outcome.run_id)
        if len(order) == 10:
            break
    assert "slow" not in order  # it has a minute from SIGTERM on


@pytest.mark.parametrize("mode", PARALLEL)
def test_closing_during_a_grace_leaves_nothing_within_five_seconds(mode, spec, start, tmp_path):
    path = tmp_path / "note"
    stubborn = {"at_term": "ignore", "note": str(path), "seconds": 60}
    well = {"seconds": 2, "wait_for": str(path)}
    outcomes = start(mode, [spec("slow", stubborn, timeout=1), spec("well", well)])
    assert next(outcomes).run_id == "well"
    started = time.monotonic()
    outcomes.close()
    assert time.monotonic() - started < 5
    assert not alive(int(path.read_text()))


@pytest.mark.parametrize("mode", PARALLEL)
def test_the_start_of_a_worker_does_not_count(mode, spec, drive):
    outcomes = drive(mode, [spec("a", timeout=1.5)], SlowToLoad())
    assert outcomes["a"].status == "succeeded"


class SlowToLoad:
    """A run_one that takes a while until a worker has loaded it."""

    def __reduce__(self):
        return load_slowly, ()


def load_slowly():
    time.sleep(2)
    return deadly.RunsAnything()


@pytest.mark.parametrize("mode", PARALLEL)
def test_sigterm_means_what_it_means_to_the_run_at_work_not_to_one_before(
    mode, spec, drive, tmp_path
):
    handled = {"at_term": "raise", "note": str(tmp_path / "note")}
    specs = [spec("first", handled), spec("second", {"seconds": 60}, timeout=0.2)]
    outcomes = drive(mode, specs, workers=1)
    assert outcomes["second"].signal == signal.SIGTERM


# ---- a run's process -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_sees_its_environment_and_workers_are_used_again_for_equal_ones(mode, spec, drive):
    shown = {"show": ["CUDA_VISIBLE_DEVICES", "HOME"]}
    specs = [
        spec(f"run{i}", shown, environment={"CUDA_VISIBLE_DEVICES": str(i % 2)}) for i in range(8)
    ]
    outcomes = drive(mode, specs, workers=1)
    pids = set()
    for i in range(8):
        assert f"CUDA_VISIBLE_DEVICES={i % 2}" in outcomes[f"run{i}"].notices
        assert f"HOME={os.environ.get('HOME')}" in outcomes[f"run{i}"].notices
        pids.add((i % 2, deadly.pid_of(outcomes[f"run{i}"])))
    assert len(pids) == 8  # with one worker each change takes a new process
    outcomes = drive(mode, sorted(specs, key=lambda s: s.environment["CUDA_VISIBLE_DEVICES"]))
    pids = [deadly.pid_of(outcome) for outcome in outcomes.values()]
    assert len(set(pids)) <= 4


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_fresh_process_is_gone_before_its_outcome_is_told(mode, spec, start):
    for outcome in start(mode, [spec(f"run{i}", fresh_process=True) for i in range(3)]):
        assert not alive(deadly.pid_of(outcome))


# ---- refill ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARALLEL)
def test_none_means_to_ask_again_after_the_next_outcome(mode, spec, start):
    ended, asked = [], []

    def specs():
        for i in range(4):
            yield spec(f"run{i}")
            while len(ended) <= i:
                asked.append(len(ended))
                yield None

    for outcome in start(mode, specs()):
        ended.append(outcome.run_id)
    assert ended == ["run0", "run1", "run2", "run3"]
    assert sorted(set(asked)) == [0, 1, 2, 3]  # on a slow machine more than once


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_free_worker_is_used_when_there_is_something_to_start_at_last(
    mode, spec, drive, tmp_path
):
    begun = tmp_path / "begun"

    def specs():
        yield spec("first", {"wait_for": str(begun)}, timeout=30)  # ends after the other began
        yield None
        yield None
        yield spec("second", {"note": str(begun)})

    outcomes = drive(mode, specs())
    assert [o.status for o in outcomes.values()] == 2 * ["succeeded"]


def test_a_retry_that_is_due_does_not_wait_for_the_end_of_other_runs(root, tmp_path):
    tried_again = tmp_path / "tried again"

    def experiment(ctx):
        if ctx.config["i"] == 0:
            while not tried_again.exists():
                time.sleep(0.01)
        elif ctx.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            tried_again.touch()

    summary = ExpRunner([{"i": 0}, {"i": 1}], root.path).run(
        experiment,
        mode="process_pool",
        workers=2,
        max_attempts=2,
        retry_on=("WorkerDied",),
        retry_delay=0.3,
        timeout=30,
    )
    assert summary.succeeded == 2, [run["error_message"] for run in root.runs()]


def test_a_stream_with_nothing_to_start_is_asked_now_and_then_but_not_all_the_time(spec, start):
    asked, ended = [], []

    def specs():
        yield spec("long", {"seconds": 1.5})
        while not ended:
            asked.append(time.monotonic())
            yield None

    for outcome in start("process_pool", specs()):
        ended.append(outcome.run_id)
    assert 2 <= len(asked) <= 2 + (asked[-1] - asked[0]) / 0.4


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_stream_that_stalls_with_nothing_under_way_is_an_error_not_a_hang(mode, start):
    with pytest.raises(ExecutorError, match="nothing to start"):
        list(start(mode, [None]))


# ---- Ctrl-C ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_even_stubborn_runs_and_a_second_one_at_once(mode, times, tmp_path):
    note = tmp_path / "pids"
    script = tmp_path / "launch.py"
    script.write_text(
        "import sys, deadly, contextlib\n"
        "from ztxexp_core.plugins.registry import executors\n"
        "mode, note = sys.argv[1:]\n"
        "config = {'at_term': 'ignore', 'note': note, 'seconds': 60}\n"
        "specs = [deadly.spec('/nowhere', f'run{i}', config) for i in range(2)]\n"
        "plugin = executors().load(mode)\n"
        "free = {'cpu_threshold': 100, 'min_free_memory': 0}\n"
        "options = free if mode == 'dynamic' else {}\n"
        "with contextlib.closing(plugin.call(specs=iter(specs), run_one=deadly.RunsAnything(),\n"
        "        workers=2, options=plugin.check_options(options))) as outcomes:\n"
        "    next(outcomes)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.path.dirname(deadly.__file__), "TMPDIR": str(tmp_path)}
    launcher = subprocess.Popen(
        [sys.executable, script, mode, note], env=env, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while len(pids := note.read_text().split() if note.exists() else []) < 2:
            assert time.monotonic() < deadline, f"only {len(pids)} of the runs have begun"
            time.sleep(0.01)
        started = time.monotonic()
        launcher.send_signal(signal.SIGINT)
        if times == 2:
            time.sleep(0.3)  # it is waiting for the runs to leave
            launcher.send_signal(signal.SIGINT)
        launcher.wait(20)
        # A second one: without the pauses before and after SIGTERM, of a second and a half each.
        assert time.monotonic() - started < (5 if times == 1 else 2.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            launcher.kill()
    assert [pid for pid in pids if alive(int(pid))] == []
