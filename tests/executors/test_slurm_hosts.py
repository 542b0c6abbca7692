"""Jobs on a Slurm cluster whose processes cannot be looked up, as on other hosts.

Each pilot has a host name and process ids of its own, so that only heartbeats and Slurm say whether
it is alive.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pilot_experiments as experiments
import pytest
import slurm_cluster
from launches import until
from slurm_launches import checked, first_steps, jobs_of, launch, lose_a_node, pilots, reasons
from submitted import Beside, launcher, notes, sweep, times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("alone")]

APART = (
    "unshare --map-root-user --uts --pid --fork --kill-child --mount-proc "
    'sh -c \'hostname "$SLURMD_NODENAME"; exec {} "$@"\' sh'
)


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    """Skip where no process can be set apart."""
    command = APART.format("true")
    can = (
        shutil.which("unshare")
        and not subprocess.run(
            command, shell=True, check=False, env={"SLURMD_NODENAME": "node1"}
        ).returncode
    )
    if not can:
        pytest.skip("no namespaces can be made here")


def apart(root, function=experiments.counting, count=4, **given):
    python = APART.format(sys.executable)
    return launch(root, function, count, options={"python": python}, **given)


def hosts(root):
    return {record["owner"]["host"] for record in root.runs()}


def test_a_pilot_that_is_killed_leaves_its_run_to_another(cluster, root):
    with Beside(lambda: apart(root)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        time.sleep(2)
        pilots()[-1].kill()
        summary = beside.wait(120)
    records = checked(root, summary, 4)
    steps = first_steps(records)
    assert len(steps[2]) == 1 and steps[2][0] > 0
    assert hosts(root) <= set(slurm_cluster.NODES)


def test_jobs_that_are_queued_again_go_on_at_once(cluster, root):
    with Beside(lambda: apart(root, count=2)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        time.sleep(3)
        for job in jobs_of(root):
            cluster.ask("scontrol", "requeue", job)
        summary = beside.wait(90)
    records = checked(root, summary, 2)
    assert min(first_steps(records)[2]) > 0
    assert reasons(records) == {"preempted"}
    assert summary.duration_sec < 60


@pytest.mark.parametrize("lives_on", [True, False])
def test_a_node_that_is_lost(cluster, root, lives_on):
    with Beside(lambda: apart(root, values={"pause": 5.0}, workers=4)) as beside:
        lose_a_node(cluster, root, beside, lives_on, after=8)


def test_a_launcher_that_is_killed_is_followed_at_once_and_nothing_runs_twice(root, tmp_path):
    values = {"pause": 1.5}
    with Beside(lambda: apart(root, count=8, values=values, detach=True)) as beside:
        beside.wait()
    until(lambda: len(notes(root.path)) >= 2)
    summary = apart(root, count=8, values=values)
    checked(root, summary, 8)
    assert times(root.path) == dict.fromkeys(range(8), 1)


def test_jobs_that_are_suspended_are_waited_for_by_another_launch(
    cluster, root, tmp_path, monkeypatch
):
    """A launch in this process does not take over what is silent, as Slurm says that it lives."""
    from ztxexp_core.store import liveness

    values = {"pause": 3.0}
    apart(root, count=2, values=values, detach=True)
    until(lambda: len(notes(root.path)) == 2)
    time.sleep(12)  # so that there is a heartbeat
    jobs = jobs_of(root)
    for job in jobs:
        cluster.ask("scontrol", "suspend", job)
    monkeypatch.setattr(liveness, "SILENT_SEC", 10.0)
    time.sleep(12)
    local = lambda: sweep(root.path, 2, **values).run(experiments.counting, workers=2)  # noqa: E731
    with Beside(local) as beside:
        time.sleep(6)
        assert len(notes(root.path)) == 2
        for job in jobs:
            cluster.ask("scontrol", "resume", job)
        beside.wait()
    assert times(root.path) == {0: 1, 1: 1}
    assert root.statuses() == ["succeeded"] * 2


def test_ctrl_c_ends_runs_elsewhere(cluster, root, tmp_path):
    import signal

    script = "mode=slurm", "workers=2"
    with launcher(tmp_path, "slow", 3, *script) as process:
        until(lambda: len(notes(root.path)) == 2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert "2 interrupted" in output
    until(lambda: not cluster.ask("squeue", "-h"))
    assert pilots() == []
