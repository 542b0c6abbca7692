"""What the built-in executors promise beyond the suite that every executor passes.

That suite is applied to them in ``test_conformance.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import experiments
import psutil
import pytest
from reading import lines, strict

from ztxexp import ExpRunner
from ztxexp_core import ExecutorError, available_cores

ALL = ["sequential", "process_pool", "joblib", "dynamic"]
PARALLEL = ALL[1:]


def launch(root, function, configs, mode, **kwargs):
    return ExpRunner(configs, root.path).run(
        function, mode=mode, workers=2, cpu_threshold=100, **kwargs
    )


@pytest.mark.parametrize("mode", PARALLEL)
def test_an_experiment_that_workers_cannot_load_is_an_error_and_runs_nothing(root, mode):
    with pytest.raises(ExecutorError, match="load the experiment"):
        ExpRunner([{}], root.path).run(experiments.LoadsHere(), mode=mode)
    assert root.runs() == []


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize(
    ("how", "exit_code", "signum"),
    [("exit0", 0, None), ("exit3", 3, None), ("sigkill", None, 9), ("segfault", None, 11)],
)
def test_a_death_costs_exactly_its_run_and_says_how(root, mode, how, exit_code, signum):
    configs = [{"i": i, **({"how": how} if i == 3 else {})} for i in range(8)]
    summary = launch(root, experiments.dies, configs, mode)
    assert (summary.succeeded, summary.failed) == (7, 1)
    (failed,) = [r for r in root.runs() if r["status"] == "failed"]
    assert failed["config"]["i"] == 3
    assert summary.failed_run_ids == [failed["run_id"]]
    assert failed["error_type"] == "WorkerDied"
    assert (failed["exit_code"], failed["signal"]) == (exit_code, signum)
    assert (failed["dir"] / "error.log").read_text().startswith(failed["error_message"])


@pytest.mark.slow
def test_processes_that_a_dead_run_leaves_neither_hold_up_the_launch_nor_survive_it(root):
    marker = str(root.path)  # among the arguments of the orphan, and of no other process
    started = time.monotonic()
    configs = [{"how": "orphan", "marker": marker}, {}]
    summary = launch(root, experiments.dies, configs, "process_pool")
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert time.monotonic() - started < 30  # the orphan sleeps for 60
    assert [process for process in psutil.process_iter() if marker in _arguments(process)] == []


def _arguments(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _wait_for_pids(root, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = list(root.path.glob("2*/artifacts/begun")) if root.path.exists() else []
        pids = [int(p.read_text() or 0) for p in found]
        if len(pids) == count and all(pids):
            return pids
        time.sleep(0.05)
    raise AssertionError("the runs did not begin")


def _alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_dynamic_always_has_one_run_under_way_however_busy_the_machine(root):
    summary = ExpRunner([{"i": i} for i in range(3)], root.path).run(
        experiments.score, mode="dynamic", workers=2, cpu_threshold=0.0001
    )
    assert summary.succeeded == 3


@pytest.mark.slow
def test_minus_one_worker_means_a_run_at_a_time_for_each_core(root):
    cores = available_cores()
    configs = [{"i": i, "others": cores} for i in range(cores + 2)]
    summary = ExpRunner(configs, root.path).run(
        experiments.waits_for_others, mode="process_pool", workers=-1, timeout=60
    )
    assert summary.succeeded == cores + 2
    assert len({strict(run["dir"] / "metrics.json")["pid"] for run in root.runs()}) == cores


@pytest.mark.slow
def test_joblib_with_one_worker_runs_in_a_worker_too(root):
    configs = [{"i": 0}, {"i": 1, "how": "exit3"}, {"i": 2}]
    summary = ExpRunner(configs, root.path).run(experiments.dies, mode="joblib", workers=1)
    assert (summary.succeeded, summary.failed) == (2, 1)


@pytest.mark.slow
def test_launches_from_several_threads_leave_the_script_where_it_was(root):
    import threading

    script = sys.modules["__main__"]
    summaries = []

    def launch_one(n):
        configs = [{"n": n, "i": i} for i in range(3)]
        summaries.append(
            ExpRunner(configs, root.path).run(experiments.nothing, mode="process_pool", workers=2)
        )

    threads = [threading.Thread(target=launch_one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.modules["__main__"] is script
    assert [s.succeeded for s in summaries] == [3, 3, 3, 3]


@pytest.mark.parametrize("mode", ALL)
def test_sigterm_ends_a_launch_by_that_signal_and_leaves_nothing_running(root, mode, tmp_path):
    script = tmp_path / "long.py"
    script.write_text(
        "import sys, experiments\n"
        "from ztxexp import ExpRunner\n"
        "configs = [{'i': i, 'seconds': 60} for i in range(4)]\n"
        "ExpRunner(configs, sys.argv[1]).run(\n"
        "    experiments.sleeps, mode=sys.argv[2], workers=2, cpu_threshold=100)\n"
    )
    here = os.path.dirname(experiments.__file__)
    env = {**os.environ, "PYTHONPATH": here, "TMPDIR": str(tmp_path)}
    under_way = 1 if mode == "sequential" else 2
    launcher = subprocess.Popen(
        [sys.executable, script, root.path, mode], env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        pids = _wait_for_pids(root, under_way)
        started = time.monotonic()
        launcher.terminate()
        said = launcher.communicate(timeout=20)[1]
        assert time.monotonic() - started < 5
    finally:
        launcher.kill()
    assert launcher.returncode == -signal.SIGTERM
    counts = f"{under_way} interrupted, {4 - under_way} not started"
    assert f"interrupted: 0 of 4 runs succeeded, {counts}" in said
    assert root.statuses() == under_way * ["failed"]
    assert {run["reason"] for run in root.runs()} == {"interrupted"}
    assert [pid for pid in pids if _alive(pid)] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigterm_to_a_child_that_a_run_forked_is_the_childs_own(root):
    ExpRunner([{}], root.path).run(experiments.forks)
    folder = root.only()["dir"]
    assert strict(folder / "metrics.json") == {"score": -signal.SIGTERM}
    assert not (folder / "error.log").exists()
    assert len([r for r in lines(folder / "events.jsonl") if r["event"] == "end"]) == 1


@pytest.mark.parametrize("mode", PARALLEL)
def test_what_runs_print_goes_to_their_logs_and_not_to_the_console(root, mode, tmp_path):
    script = tmp_path / "prints.py"
    script.write_text(
        "from ztxexp import ExpRunner\n"
        f"ExpRunner([{{'i': i}} for i in range(3)], {str(root.path)!r}).run(\n"
        f"    lambda ctx: print('hello', ctx.config['i']), mode={mode!r}, workers=2)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env["ZTXEXP_PROGRESS"] = "0"  # told where the sweep takes long, as on a busy machine
    out = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert (out.stdout, out.stderr) == ("", "")
    logs = {run["config"]["i"]: (run["dir"] / "run.log").read_text() for run in root.runs()}
    assert logs == {i: f"hello {i}\n" for i in range(3)}


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_configuration_that_no_worker_can_load_costs_its_run_only(root, mode, tmp_path):
    # Its class travels by value and refuses to be made in the worker.
    script = tmp_path / "poison.py"
    script.write_text(
        "import os, sys\n"
        "from ztxexp import ExpRunner\n"
        "home = os.getpid()\n"
        "def make():\n"
        "    if os.getpid() != home: raise ImportError('not here')\n"
        "    return Odd()\n"
        "class Odd(dict):\n"
        "    def __reduce__(self): return make, ()\n"
        "    def __deepcopy__(self, memo): return Odd()\n"
        "configs = [{'i': i, 'v': Odd() if i == 5 else 1} for i in range(9)]\n"
        "s = ExpRunner(configs, sys.argv[1]).run(\n"
        "    lambda ctx: None, mode=sys.argv[2], workers=2, cpu_threshold=100)\n"
        "print(s.succeeded, s.failed)\n"
    )
    out = subprocess.run(
        [sys.executable, script, root.path, mode], capture_output=True, text=True, check=False
    )
    assert out.stdout.split() == ["8", "1"], out.stderr
    (failed,) = [r for r in root.runs() if r["status"] == "failed"]
    assert failed["config"]["i"] == 5
    assert "cannot be sent to a worker" in failed["error_message"]
