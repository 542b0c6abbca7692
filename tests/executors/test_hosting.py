"""Runs hosted in a child of a worker of an engine, for which a process stands here."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import deadly
import pytest

from ztxexp_executors import hosting
from ztxexp_executors._engine import NoOutcome, drive
from ztxexp_executors.hosting import host
from ztxexp_testing._processes import alive, remaining
from ztxexp_testing._run_one import FakeRun, UnloadableRun, fact, pids_in

SAMPLE = ("exit3", "sigkill", "segfault")


@pytest.fixture(autouse=True)
def children_end(monkeypatch):
    """Idle children end soon, and with the test."""
    monkeypatch.setattr(hosting, "_IDLE_SEC", 5.0)
    yield
    hosting._end_all()
    hosting._children.clear()


def pid_of(outcome):
    assert outcome.status == "succeeded", outcome
    return int(fact(outcome, "pid"))


def test_a_run_happens_in_a_child_which_is_kept_for_the_next(spec):
    hosted = pickle.loads(pickle.dumps(host(FakeRun())))
    pids = [pid_of(hosted(hosted.seal(spec(name)))) for name in "abc"]
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()


def test_children_of_two_launches_differ(spec):
    assert pid_of(host(FakeRun())(spec("a"))) != pid_of(host(FakeRun())(spec("a")))


def test_an_idle_child_ends(spec, monkeypatch):
    monkeypatch.setattr(hosting, "_IDLE_SEC", 0.2)
    hosted = host(FakeRun())
    pid = pid_of(hosted(spec("a")))
    assert remaining(lambda: alive([pid])) == []
    assert remaining(lambda: list(hosting._children)) == []
    assert pid_of(hosted(spec("b"))) != pid


@pytest.mark.parametrize("how", SAMPLE)
def test_how_a_run_died_is_told_and_the_next_one_goes_on(spec, how):
    hosted = host(deadly.RunsAnything())
    dead = hosted(spec("dead", {"first": how}))
    assert (dead.reason, dead.signal, dead.exit_code) == deadly.DEATHS[how]
    assert hosted(spec("well")).status == "succeeded"


def test_several_threads_may_call_it_at_once(spec, tmp_path):
    hosted = host(FakeRun())
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    specs = [spec(f"run{n}", {"meet": (str(meeting), 3)}) for n in range(3)]
    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(hosted, map(hosted.seal, specs)))
    assert len({pid_of(outcome) for outcome in outcomes}) == 3


def test_limits_of_a_run_are_obeyed(spec):
    hosted = host(FakeRun())
    late = hosted(hosted.seal(spec("late", {"seconds": 60}, timeout=0.3)))
    assert (late.reason, late.error_type) == ("timeout", "Timeout")
    own = {"ZTXEXP_TEST": "yes"}
    shown = hosted(hosted.seal(spec("shown", {"show": ["ZTXEXP_TEST"]}, environment=own)))
    assert fact(shown, "ZTXEXP_TEST") == "yes"
    fresh = [pid_of(hosted(hosted.seal(spec(n, fresh_process=True)))) for n in "ab"]
    assert len({*fresh, pid_of(shown)}) == 3


@pytest.mark.parametrize("heeds", [True, False])
def test_a_cancelled_run_is_ended_within_five_seconds(spec, tmp_path, heeds):
    hosted, path = host(FakeRun()), tmp_path / "pids"
    config = {"pid_file": str(path), "seconds": 60, **({} if heeds else {"at_term": "ignore"})}
    asked = []

    def cancelled():
        if pids_in(path):
            asked.append(time.monotonic())
        return bool(asked)

    outcome = hosted(hosted.seal(spec("long", config)), cancelled)
    assert time.monotonic() - asked[0] < 5
    assert (outcome.status, outcome.reason) == ("failed", "interrupted")
    assert alive(pids_in(path)) == []


def test_what_is_raised_into_the_calling_thread_ends_the_run(spec, tmp_path):
    """As Ray cancels a task."""
    hosted, path = host(FakeRun()), tmp_path / "pids"

    def cancelled():
        if pids_in(path):
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        hosted(spec("long", {"pid_file": str(path), "seconds": 60}), cancelled)
    assert alive(pids_in(path)) == []


class RunsSignal:
    """Sends a signal to its whole group, having asked for it or not."""

    def __call__(self, spec):
        from ztxexp_core import RunOutcome

        notices = []
        if spec.config.get("handles"):
            signal.signal(signal.SIGUSR2, lambda *args: notices.append("told"))
        os.killpg(0, getattr(signal, spec.config["sends"]))
        subprocess.run([sys.executable, "-c", "import os, signal; os.killpg(0, signal.SIGUSR2)"])
        time.sleep(0.05)
        return RunOutcome(spec.run_id, "succeeded", notices=tuple(notices[:1]))


@pytest.mark.parametrize("sends", ["SIGUSR1", "SIGUSR2"])
def test_signals_that_an_engine_sends_to_a_whole_job_are_ignored(spec, sends):
    assert host(RunsSignal())(spec("a", {"sends": sends})).status == "succeeded"


def test_a_run_may_ask_for_them(spec):
    outcome = host(RunsSignal())(spec("a", {"sends": "SIGUSR2", "handles": True}))
    assert (outcome.status, outcome.notices) == ("succeeded", ("told",))


def test_a_run_that_no_child_can_load_has_not_begun(spec):
    outcome = host(UnloadableRun())(spec("a"))
    assert (outcome.status, outcome.reason) == ("failed", "not_begun")
    assert "an unsendable value cannot be loaded here" in outcome.error_message


def test_a_configuration_that_no_child_can_load_costs_its_run(spec):
    from ztxexp_testing._run_one import Unsendable

    hosted = host(FakeRun())
    with pytest.raises(TypeError, match="unsendable"):
        hosted.seal(spec("a", {"value": Unsendable("pickled")}))
    outcome = hosted(hosted.seal(spec("b", {"value": Unsendable("loaded")})))
    assert (outcome.status, outcome.reason) == ("failed", "lost")
    assert pid_of(hosted(spec("c")))


# ---- in a process that stands for an engine's worker ---------------------------------------------

ENGINE = """
import multiprocessing, os, pickle, sys, time
from pathlib import Path

def work(place):
    sys.path.insert(0, str(place))
    for name in sys.argv[2:]:
        while not (place / name).exists():
            time.sleep(0.02)
        hosted, run = pickle.loads((place / name).read_bytes())
        outcome = hosted(run)
        imported = sorted({"theirs", "deadly"} & set(sys.modules))
        (place / f"{name}.tmp").write_bytes(pickle.dumps((outcome, imported)))
        (place / f"{name}.tmp").rename(place / f"{name}.out")
    print("over", flush=True)

if __name__ == "__main__":
    place = Path(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=work, args=(place,), daemon=True)
    worker.start()
    (place / "worker").write_text(str(worker.pid))
    worker.join()
"""


@pytest.fixture
def engine(tmp_path):
    """Start an engine with one daemonic worker, which carries out tasks by their names."""
    (tmp_path / "engine.py").write_text(ENGINE)
    with contextlib.ExitStack() as stack:

        def start(*names):
            command = [sys.executable, str(tmp_path / "engine.py"), str(tmp_path), *names]
            path = os.pathsep.join([str(tmp_path), *sys.path])
            process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.stdout.close)
            stack.callback(process.kill)
            return process

        yield start


def submit(place, name, hosted, run):
    (place / f"{name}.in").write_bytes(pickle.dumps((hosted, run)))
    (place / f"{name}.in").rename(place / name)


def result(place, name):
    until = time.monotonic() + 60
    while not (place / f"{name}.out").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return pickle.loads((place / f"{name}.out").read_bytes())


def test_a_daemonic_worker_hosts_runs_imports_nothing_of_the_user_and_can_end(
    engine, spec, tmp_path
):
    process = engine("a", "b")
    hosted = host(deadly.RunsAnything())
    for name in "ab":
        submit(tmp_path, name, hosted, hosted.seal(spec(name)))
    outcomes = [result(tmp_path, name) for name in "ab"]
    assert [outcome.status for outcome, _ in outcomes] == 2 * ["succeeded"]
    assert [imported for _, imported in outcomes] == [[], []]
    began = time.monotonic()
    assert process.communicate(timeout=30)[0] == "over\n"
    assert time.monotonic() - began < 4, "the worker waits for its idle children"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends them")
def test_runs_end_with_a_worker_that_is_killed(engine, spec, tmp_path):
    engine("a")
    hosted, path = host(FakeRun()), tmp_path / "pids"
    submit(tmp_path, "a", hosted, hosted.seal(spec("a", {"pid_file": str(path), "seconds": 60})))
    remaining(lambda: [] if pids_in(path) else ["not begun"], 60)
    os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)
    assert remaining(lambda: alive(pids_in(path)), 5) == []
    assert len(pids_in(path)) == 1


def test_a_module_that_was_edited_between_two_launches_is_imported_anew(
    engine, spec, tmp_path, monkeypatch
):
    engine("a", "b")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = textwrap.dedent(
        """
        from ztxexp_core import RunOutcome
        def run(spec):
            return RunOutcome(spec.run_id, "succeeded", notices=("{}",))
        """
    )
    versions = []
    for name in "ab":
        (tmp_path / "theirs.py").write_text(source.format("version " + name + " " * ord(name)))
        sys.modules.pop("theirs", None)
        import theirs

        hosted = host(theirs.run)
        submit(tmp_path, name, hosted, hosted.seal(spec(name)))
        outcome, _ = result(tmp_path, name)
        versions.append(outcome.notices[0].strip())
    sys.modules.pop("theirs", None)
    assert versions == ["version a", "version b"]


def test_starting_and_ending_children_from_many_threads_mixes_up_no_exit_code(spec):
    hosted = host(deadly.RunsAnything())
    barrier = threading.Barrier(4)

    def die(number):
        barrier.wait(30)
        return [hosted(spec(f"{number}-{n}", {"first": "exit3"})).exit_code for n in range(3)]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(die, range(4))) == 4 * [[3, 3, 3]]


class Ends:
    """An engine whose tasks come to no result."""

    def __init__(self, end):
        self.end = end

    def submit(self, run, done):
        done(self.end)

    def cancel(self, tasks): ...


@pytest.mark.parametrize("reason", ["lost", "interrupted"])
def test_a_task_without_result_is_given_back_or_has_ended_so(spec, reason):
    engine = Ends(NoOutcome("its task was cancelled", reason))
    one = spec("one")
    (outcome,) = drive(iter([one]), 1, engine)
    assert (outcome.reason, outcome.error_message) == ("not_begun", "its task was cancelled")
    one.run_dir.mkdir(parents=True)
    (one.run_dir / "run.json").write_text('{"status": "running", "attempt": 1}')
    (outcome,) = drive(iter([one]), 1, engine)
    assert (outcome.reason, outcome.error_message) == (reason, "its task was cancelled")
    assert (outcome.error_type == "WorkerDied") == (reason == "lost")  # which may be tried again
