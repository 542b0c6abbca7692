"""Ways to die, times moments to die: each costs at most its own run, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

import deadly
import psutil
import pytest

from ztxexp import ExpRunner
from ztxexp_core import ExecutorError

pytestmark = pytest.mark.slow

PARALLEL = ["process_pool", "joblib", "dynamic"]


def mixed(spec, moment, ways):
    """Specs of runs that go wrong in that moment, each with one beside it that does not."""
    for number, how in enumerate(ways):
        yield spec(how, {moment: deadly.Bomb(how) if moment == "unpickling" else how})
        yield spec(f"well{number}", {"seconds": 0.005})


def told(outcome):
    return outcome.reason, outcome.signal, outcome.exit_code


def all_well(outcomes):
    return all(o.status == "succeeded" for name, o in outcomes.items() if name.startswith("well"))


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("moment", ["unpickling", "first", "middle", "sending"])
def test_each_death_costs_its_run_only_and_says_how(mode, moment, spec, drive):
    outcomes = drive(mode, mixed(spec, moment, deadly.DEATHS))
    assert len(outcomes) == 2 * len(deadly.DEATHS)
    assert all_well(outcomes)
    assert {how: told(outcomes[how]) for how in deadly.DEATHS} == deadly.DEATHS


@pytest.mark.parametrize("mode", PARALLEL)
def test_what_is_no_death_is_taken_for_none(mode, spec, drive):
    outcomes = drive(mode, mixed(spec, "middle", ["thread", "memory", "sys.exit", "twins"]))
    assert all_well(outcomes)
    assert outcomes["thread"].status == outcomes["twins"].status == "succeeded"
    assert outcomes["memory"].error_type == "MemoryError"
    assert outcomes["sys.exit"].error_type == "SystemExit"


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_that_closes_its_workers_files_is_ended_and_costs_no_other(mode, spec, drive):
    outcomes = drive(mode, mixed(spec, "middle", ["files"]))
    assert all_well(outcomes)
    assert told(outcomes["files"]) == ("lost", None, None)


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("how", ["exit0", "sigkill", "segfault"])
def test_a_worker_that_dies_while_idle_costs_no_run(mode, how, spec, start, tmp_path):
    outcomes, dead = {}, tmp_path / "dead"

    def specs():
        yield spec("sets the fuse", {"idle": how})
        yield spec("lasts", {"wait_for": str(dead)})
        while "lasts" not in outcomes:
            yield None
        yield spec("well1")
        yield spec("well2")

    for outcome in start(mode, specs()):
        outcomes[outcome.run_id] = outcome
        if outcome.run_id == "sets the fuse":
            wait_for = (psutil.Process(deadly.pid_of(outcome)), dead)
            threading.Thread(target=touch_after, args=wait_for).start()
    assert {o.status for o in outcomes.values()} == {"succeeded"}
    assert {"well1", "well2"} <= set(outcomes)


def touch_after(process, path):
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
    path.touch()


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_death_when_the_worker_ends_costs_no_run(mode, spec, drive):
    outcomes = drive(mode, [spec(f"run{i}", {"atexit": "segfault"}) for i in range(4)])
    assert [o.status for o in outcomes.values()] == 4 * ["succeeded"]


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("how", ["exit0", "exit3", "sigkill", "segfault"])
def test_a_death_while_the_worker_is_set_up_costs_no_run(mode, how, spec, drive, tmp_path):
    run_one = deadly.DiesWhenLoaded(how, tmp_path)
    outcomes = drive(mode, [spec(f"run{i}") for i in range(4)], run_one)
    assert [o.status for o in outcomes.values()] == 4 * ["succeeded"]


@pytest.mark.parametrize("mode", PARALLEL)
def test_workers_that_never_get_ready_are_an_error_with_what_they_printed(
    mode, spec, start, tmp_path
):
    run_one = deadly.DiesWhenLoaded("segfault", tmp_path, times=20)
    with pytest.raises(ExecutorError, match=r"(?s)11 .* before.*loading goes wrong.*Segmentat"):
        list(start(mode, [spec(f"run{i}") for i in range(4)], run_one))


@pytest.mark.parametrize("mode", PARALLEL)
def test_an_exception_while_the_worker_is_set_up_is_an_error_with_its_traceback(
    mode, spec, start, tmp_path
):
    run_one = deadly.DiesWhenLoaded("sys.exit", tmp_path, times=20)
    with pytest.raises(ExecutorError, match=r"(?s)could not load.*SystemExit.*loading goes wrong"):
        list(start(mode, [spec(f"run{i}") for i in range(4)], run_one))


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_new_worker_that_cannot_be_set_up_any_more_costs_its_run_only(
    mode, spec, drive, tmp_path
):
    specs = [spec("well0"), spec("dies", {"first": "sigkill"}), spec("too late")]
    outcomes = drive(mode, specs, LoadsOnce(tmp_path), workers=1)
    assert outcomes["well0"].status == "succeeded"
    assert told(outcomes["dies"]) == ("killed", 9, None)
    assert "could not load the experiment" in outcomes["too late"].error_message


class LoadsOnce:
    """A run_one that one worker can load, and no other; ``how`` says what becomes of others."""

    def __init__(self, folder, how="raise"):
        self.folder, self.how = str(folder), how

    def __reduce__(self):
        return load_once, (self.folder, self.how)


def load_once(folder, how):
    try:
        os.close(os.open(f"{folder}/loaded", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        if how != "raise":
            deadly.die(how)
        raise ImportError("not a second time") from None
    return deadly.RunsAnything()


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("how", ["raise", "exit3"])
def test_a_worker_that_cannot_be_set_up_costs_no_run_that_is_at_work(
    mode, how, spec, start, tmp_path
):
    begun, over = tmp_path / "begun", tmp_path / "over"

    def specs():
        yield spec("at work", {"note": str(begun), "wait_for": str(over)}, timeout=60)
        while not begun.exists():
            yield None
        yield spec("unlucky")

    outcomes = {}
    for outcome in start(mode, specs(), LoadsOnce(tmp_path, how)):
        outcomes[outcome.run_id] = outcome
        over.touch()
    assert list(outcomes) == ["unlucky", "at work"]
    assert outcomes["at work"].status == "succeeded"
    assert outcomes["unlucky"].status == "failed"


def test_the_death_of_the_fork_server_costs_no_run(spec, start):
    from multiprocessing import forkserver

    specs = [spec(f"run{i}", {"seconds": 0.2}, fresh_process=True) for i in range(4)]
    statuses = []
    for outcome in start("process_pool", specs):
        if not statuses:
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        statuses.append(outcome.status)
    assert statuses == 4 * ["succeeded"]


def test_no_exit_code_is_made_up_for_a_worker_whose_fork_server_has_gone(root):
    def dies(ctx):
        if ctx.config["how"] == "after its fork server":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.3)  # it is not this that is waited for, but the end of the server
        os._exit(255)

    runner = ExpRunner([{"how": "255"}, {"how": "after its fork server"}], root.path)
    assert runner.run(dies, mode="process_pool").failed == 2
    codes = {run["config"]["how"]: run["exit_code"] for run in root.runs()}
    assert codes == {"255": 255, "after its fork server": None}


def test_a_run_that_could_not_be_sent_is_given_to_another_worker(root, monkeypatch):
    fails, send = [OSError(5, "Input/output error")], Connection.send_bytes

    def sends(connection, *args):
        if fails:
            raise fails.pop()
        send(connection, *args)

    monkeypatch.setattr(Connection, "send_bytes", sends)
    runner = ExpRunner([{"i": i} for i in range(3)], root.path)
    assert runner.run(lambda ctx: None, mode="process_pool", workers=2).succeeded == 3
    assert not fails
