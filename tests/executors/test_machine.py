"""Memory, the kernel's kills, threads: with control groups of both versions, made up and real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import deadly
import psutil
import pytest

from ztxexp_core import available_cores
from ztxexp_executors import _machine, _process

pytestmark = pytest.mark.slow

PARALLEL = ["process_pool", "joblib", "dynamic"]
GIB = 2**30


@pytest.fixture
def tree(tmp_path):
    """Write files of a made-up /proc and /sys."""

    def write(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return write


V2 = {
    "proc/self/cgroup": "0::/user/app\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/user/app/memory.max": "max\n",
    "sys/fs/cgroup/user/app/memory.current": f"{2 * GIB}\n",
    "sys/fs/cgroup/user/memory.max": f"{3 * GIB}\n",
    "sys/fs/cgroup/user/memory.current": f"{2 * GIB + GIB // 2}\n",
    "sys/fs/cgroup/user/memory.stat": f"anon 5\ninactive_file {GIB // 4}\n",
    "sys/fs/cgroup/user/app/memory.events": "low 0\noom 3\noom_kill 2\n",
    "proc/vmstat": "nr_free_pages 3\noom_kill 9\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n",
    "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/box/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
    "sys/fs/cgroup/memory/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
}


def test_memory_is_that_of_the_narrowest_control_group_of_version_2(tree):
    assert _machine.memory(tree(V2)) == (3 * GIB, GIB // 2 + GIB // 4)


def test_memory_is_that_of_the_narrowest_control_group_of_version_1(tree):
    assert _machine.memory(tree(V1)) == (2 * GIB, GIB + GIB // 2)


def test_memory_without_control_groups_is_the_machines(tmp_path):
    total, free = _machine.memory(tmp_path)
    assert total == psutil.virtual_memory().total
    assert 0 < free < total


@pytest.mark.parametrize(
    ("named", "mounted", "suffix"),
    [("0::/docker/5f3", "", "max"), ("4:memory:/docker/5f3", "memory/", "limit_in_bytes")],
)
def test_a_container_that_is_told_the_hosts_path_uses_what_is_mounted(tree, named, mounted, suffix):
    used = "current" if suffix == "max" else "usage_in_bytes"
    files = {
        "proc/self/cgroup": named + "\n",
        f"sys/fs/cgroup/{mounted}memory.{suffix}": f"{GIB}\n",
        f"sys/fs/cgroup/{mounted}memory.{used}": f"{GIB // 4}\n",
    }
    if suffix == "max":
        files["sys/fs/cgroup/cgroup.controllers"] = "memory\n"
    assert _machine.memory(tree(files)) == (GIB, GIB - GIB // 4)


def test_kills_are_counted_by_the_control_group_or_else_by_the_machine(tree, tmp_path):
    assert _machine.MemoryKills(tree(V2)).count_now() == 2
    assert _machine.MemoryKills(tree(V1)).count_now() == 4
    (tmp_path / "sys/fs/cgroup/memory/box/memory.oom_control").unlink()
    assert _machine.MemoryKills(tmp_path).count_now() == 9
    (tmp_path / "proc/vmstat").unlink()
    assert _machine.MemoryKills(tmp_path).count_now() == 0


# ---- memory of runs --------------------------------------------------------------------------


@pytest.fixture(params=["the kernel can reset it", "it cannot"])
def looked_at_often(request, monkeypatch, tmp_path):
    """Let the memory of runs be looked at ten times a second, in both ways."""
    monkeypatch.setattr(_process, "_SAMPLE_SEC", 0.1)
    if request.param == "it cannot":
        monkeypatch.setattr(_machine, "PEAK_RESET", str(tmp_path / "missing"))


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_death_tells_the_most_memory_that_was_seen(mode, spec, drive, looked_at_often):
    config = {"bytes": 300 * 2**20, "seconds": 1.3, "middle": "sigkill"}
    outcome = drive(mode, [spec("a", config)])["a"]
    assert (outcome.reason, outcome.signal) == ("killed", 9)
    assert 300 * 2**20 < outcome.peak_memory < GIB


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_is_not_said_to_have_held_the_memory_of_the_one_before(
    mode, spec, drive, looked_at_often
):
    specs = [spec("large", {"bytes": 300 * 2**20})]
    specs.append(spec("small", {"seconds": 1.3, "middle": "sigkill"}))
    outcomes = drive(mode, specs, workers=1)
    assert outcomes["large"].status == "succeeded"
    assert 0 < outcomes["small"].peak_memory < 200 * 2**20


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_kill_for_want_of_memory_long_before_a_death_is_not_its_cause(
    mode, spec, drive, monkeypatch, tmp_path
):
    counted, enough = [], tmp_path / "enough"

    def count(self):
        # Somebody else's process is killed once the run has begun, and lies some looks back then.
        counted.append(len(counted) > 0)
        if len(counted) == 5:
            enough.touch()
        return int(counted[-1])

    monkeypatch.setattr(_process, "_SAMPLE_SEC", 0.1)
    monkeypatch.setattr(_machine.MemoryKills, "count", count)
    monkeypatch.setattr(_machine.MemoryKills, "count_now", lambda self: 1)
    config = {"wait_for": str(enough), "middle": "sigkill"}
    assert drive(mode, [spec("a", config, timeout=30)])["a"].reason == "killed"


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_kill_for_want_of_memory_since_the_last_looks_is_the_cause_of_a_death(
    mode, spec, drive, monkeypatch
):
    monkeypatch.setattr(_process, "_SAMPLE_SEC", 0.1)
    monkeypatch.setattr(_machine.MemoryKills, "count", lambda self: 0)
    monkeypatch.setattr(_machine.MemoryKills, "count_now", lambda self: 1)
    outcome = drive(mode, [spec("a", {"seconds": 0.5, "middle": "sigkill"})])["a"]
    assert outcome.reason == "oom"


@pytest.fixture
def small_group():
    """A real control group with little memory; where none can be made, the test is skipped."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    root = Path("/sys/fs/cgroup")
    if "memory" in found:
        own, limit = root / "memory" / found["memory"], "memory.limit_in_bytes"
    else:
        own, limit = root / found.get("", ""), "memory.max"
    group = own / f"ztxexp-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as exc:
        pytest.skip(f"control groups cannot be made here: {exc}")
    try:
        try:
            (group / limit).write_text(str(400 * 2**20))
        except OSError as exc:
            pytest.skip(f"control groups cannot be limited here: {exc}")
        yield group
    finally:
        deadline = time.monotonic() + 5  # the last processes are on their way out
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        group.rmdir()


def in_group(group, script, *args):
    """Run a script in a control group; returns what it printed."""
    code = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n" + script
    env = {**os.environ, "PYTHONPATH": os.path.dirname(deadly.__file__)}
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LAUNCH = """
import sys, deadly
from ztxexp_core.plugins.registry import executors
specs = [deadly.spec("/nowhere", "hog", {"bytes": 2**29}),
         deadly.spec("/nowhere", "shot", {"middle": "sigkill"}),
         deadly.spec("/nowhere", "well", {})]
plugin = executors().load(sys.argv[1])
for o in plugin.call(specs=iter(specs), run_one=deadly.RunsAnything(), workers=1,
                     options=plugin.check_options({})):
    print(o.run_id, o.status, o.reason, o.signal)
"""


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_that_the_kernel_kills_for_want_of_memory_is_told_from_others(mode, small_group):
    told = in_group(small_group, LAUNCH, mode).splitlines()
    assert told == [
        f"hog failed oom {signal.SIGKILL:d}",
        f"shot failed killed {signal.SIGKILL:d}",
        "well succeeded None None",
    ]


# ---- threads ---------------------------------------------------------------------------------

VARIABLES = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
]


@pytest.fixture
def no_limits(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("workers", [1, 2, 64])
def test_workers_share_the_cores(mode, workers, spec, drive, no_limits):
    outcome = drive(mode, [spec("a", {"show": VARIABLES})], workers=workers)["a"]
    share = max(1, available_cores() // workers)
    assert {f"{name}={share}" for name in VARIABLES} <= set(outcome.notices)


@pytest.mark.parametrize("mode", PARALLEL)
def test_what_the_user_has_set_stays(mode, spec, drive, no_limits, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    config = {"show": ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]}
    outcome = drive(mode, [spec("a", config, environment={"MKL_NUM_THREADS": "5"})])["a"]
    assert {"OMP_NUM_THREADS=7", "MKL_NUM_THREADS=5"} <= set(outcome.notices)


@pytest.mark.parametrize("mode", PARALLEL)
def test_torch_uses_no_more_threads_than_a_workers_share(mode, spec, drive, no_limits):
    pytest.importorskip("torch")
    for workers in (1, 2):
        outcome = drive(mode, [spec("a")], CountsThreads(), workers=workers)["a"]
        share = max(1, available_cores() // workers)
        assert outcome.notices == (f"torch={share}",), outcome


class CountsThreads:
    """A run_one that reports how many threads torch uses."""

    def __call__(self, spec):
        import torch

        notices = (f"torch={torch.get_num_threads()}",)
        return deadly.RunOutcome(spec.run_id, "succeeded", notices=notices)


@pytest.mark.parametrize("mode", ["process_pool", "dynamic"])
def test_the_fork_server_imports_nothing_heavy(mode, spec, drive):
    outcome = drive(mode, [spec("a")], ShowsModules())["a"]
    assert set(outcome.notices) & {"numpy", "torch", "pandas", "joblib", "sklearn"} == set()


class ShowsModules:
    """A run_one that reports what is imported in a worker."""

    def __call__(self, spec):
        return deadly.RunOutcome(spec.run_id, "succeeded", notices=tuple(sys.modules))
