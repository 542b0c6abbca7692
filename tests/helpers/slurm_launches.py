"""Launches on a Slurm cluster, and what is asked of them afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time

import pilot_experiments as experiments
import psutil
from launches import until
from submitted import hurry, notes, sweep, times

from ztxexp.results.submissions import read_submissions

PAUSE = {"pause": 0.7}  # ten steps of so many seconds


@contextlib.contextmanager
def alone_on(cluster, folder, monkeypatch):
    """Keep code in the folder of the test; leave no job to the next test."""
    monkeypatch.setenv("ZTXEXP_STATE", str(folder / "state"))
    hurry(monkeypatch.setattr)
    yield
    subprocess.run(["scancel", "--me"], check=False)
    living = ("-t", "pending,running,suspended,completing")
    until(lambda: not cluster.ask("squeue", "-h", *living))


def launch(root, function=experiments.counting, count=4, workers=2, values=None, **options):
    """Run a sweep on the cluster, in the partition that others preempt."""
    settings = {"partition": "spare", **options.pop("options", {})}
    pipeline = sweep(root.path, count, **(PAUSE if values is None else values))
    if "retry" in options:
        pipeline = pipeline.retry(options.pop("retry"), "WorkerDied")
    return pipeline.run(function, mode="slurm", workers=workers, options=settings, **options)


def jobs_of(root):
    """The ids of the jobs of a root's only submission."""
    (plan,) = read_submissions(root.path)
    return [name.partition(":")[2] for name in plan.jobs()]


def checked(root, summary, count):
    """Check that all have succeeded, each configuration in one folder; returns the records."""
    records = root.runs()
    assert len(records) == len({record["config"]["i"] for record in records}) == count
    assert {record["status"] for record in records} == {"succeeded"}
    assert (summary.total, summary.succeeded + summary.reused) == (count, count)
    return records


def first_steps(records):
    """From which step the last attempt of each run has gone on, by its number of attempts."""
    steps = {}
    for record in records:
        metrics = json.loads((record["dir"] / "metrics.json").read_text())
        steps.setdefault(record["attempt"], []).append(metrics["first"])
    return steps


def reasons(records):
    """Why earlier attempts have ended."""
    earlier = [attempt for record in records for attempt in record.get("earlier_attempts", ())]
    return {attempt["reason"] for attempt in earlier}


def lose_a_node(cluster, root, beside, lives_on, after):
    """Lose a node under four runs on four jobs; nothing is run twice that lives on.

    Args:
        cluster: the cluster.
        root: the results root.
        beside: the launch.
        lives_on: whether the processes of the node's jobs do.
        after: seconds from the beginning of all runs.
    """
    until(lambda: len(notes(root.path)) >= 4)
    time.sleep(after)
    at = cluster.ask("squeue", "-h", "-r", "-o", "%N").split()
    cluster.kill(at[0], jobs=not lives_on)
    try:
        cluster.wait_for_node(at[0], "down", "down*")
        summary = beside.wait(200)
    finally:
        cluster.start(at[0])
    records = checked(root, summary, 4)
    if lives_on:
        assert times(root.path) == dict.fromkeys(range(4), 1)
    else:
        steps = first_steps(records)[2]
        assert len(steps) == at.count(at[0]) and min(steps) > 0


def pilots():
    """The processes of pilots of this cluster."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "ztxexp.launch.pilot" in (process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SLURM_CONF") == os.environ["SLURM_CONF"]:
                    found.append(process)
    return found
