"""The slurm executor: what it submits, and on a real cluster of two nodes what becomes of it."""

from __future__ import annotations

import ast
import dataclasses
import os
import subprocess
import sys
import time

import pytest
import slurm_cluster

from ztxexp_core import ExecutorError, JobRequest, OptionError
from ztxexp_executors import slurm

# What a job does: it notes its variables and how SIGTERM reaches it, and ends with a code.
PILOT = """
import os, signal, sys, time
def note(*things):
    print("NOTE", *things, flush=True)
def end(number, frame):
    note("signal", number, round(float(os.environ.get("ZTXEXP_JOB_ENDS", 0)) - time.time()))
    sys.exit(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
signal.signal(signal.SIGTERM, end)
note(dict(os.environ))
time.sleep(float(sys.argv[1]))
job, _, start = os.environ["ZTXEXP_JOB"].rpartition(":")
sys.exit(int(sys.argv[2]) if start == "0" else 0)
"""


def options(**given):
    return dataclasses.asdict(slurm.Options(**given))


def request(folder, *arguments, **given):
    logs = folder / "logs of 100%"
    logs.mkdir(exist_ok=True)
    command = (sys.executable, "-c", PILOT, *(arguments or ("0", "0")))
    fields = {"count": 1, "name": "train", "folder": logs, "workdir": folder, **given}
    return JobRequest(command=command, **fields)


def notes(asked, job):
    """Return what a job has noted."""
    log = asked.folder / f"{job}.log"
    text = log.read_text() if log.exists() else ""
    lines = [line[5:] for line in text.splitlines() if line.startswith("NOTE ")]
    return [ast.literal_eval(line) if line.startswith("{") else line for line in lines]


def wait_until(condition, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not seen in time"
        time.sleep(0.1)


# ---- without a cluster -----------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs into the place of Slurm's; each writes its arguments into the file ``calls``."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(**scripts):
        texts = {"sbatch": "", "squeue": "", "scancel": "", "scontrol": "", **scripts}
        for name, text in texts.items():
            head = f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n'
            (folder / name).write_text(f"{head}{text}\n")
            (folder / name).chmod(0o755)
        return lambda: (tmp_path / "calls").read_text().splitlines()

    return put


@pytest.mark.parametrize(
    ("given", "minutes"),
    [
        (None, None),
        (1, 1),
        (90, 2),
        ("90", 90),
        ("2:30", 3),
        ("2:00:00", 120),
        ("1-0", 1440),
        ("1-2:30", 1590),
        ("1-00:00:30", 1441),
    ],
)
def test_times_are_minutes_rounded_up(given, minutes):
    assert slurm._minutes(given) == minutes


@pytest.mark.parametrize(
    "given",
    [
        {"time": "soon"},
        {"time": 0},
        {"time": "0:00"},
        {"runs_per_job": 0},
        {"runs_at_once": 0},
        {"grace": -1.0},
        {"extra": {"array": "0-3"}},
        {"extra": {"open_mode": "truncate"}},
    ],
)
def test_options_that_cannot_work_are_refused(given):
    with pytest.raises(OptionError):
        slurm.Options(**given)


def test_jobs_are_named_in_short_where_they_are_cancelled(programs):
    calls = programs()
    slurm.ztxexp_cancel(["12_0", "12_1", "12_2", "13_5", "12_7", "14", "--user=me"])
    assert calls() == ["scancel 12_[0-2,7] 13_[5] 14"]
    slurm.ztxexp_cancel([])
    assert len(calls()) == 1


def test_why_a_job_is_pending_is_told_where_it_is_news(programs):
    lines = [
        "12_0 PENDING PartitionTimeLimit",
        "12_1 PENDING Priority",
        "12_2 RUNNING None",
        "12_3 PENDING ReqNodeNotAvail, UnavailableNodes:n1",
    ]
    answer = "\\n".join(lines)
    programs(squeue=f"printf '{answer}\\n'")
    assert list(slurm.ztxexp_jobs([f"12_{i}" for i in range(4)]).values()) == [
        "pending: PartitionTimeLimit",
        "pending",
        "running",
        "pending: ReqNodeNotAvail, UnavailableNodes:n1",
    ]


def test_one_question_is_about_all_jobs_and_names_arrays_only(programs):
    answer = "12_0 RUNNING\\n12_1 COMPLETING\\n12_2 PENDING\\n12_3 SUSPENDED\\n12_4 NODE_FAIL\\n"
    calls = programs(squeue=f"printf '{answer}12_5 SIGNALING\\n14_0 CONFIGURING\\n'")
    states = slurm.ztxexp_jobs([*(f"12_{i}" for i in range(7)), "13_0", "14_0", "--help"])
    assert list(states.values()) == [
        *("running", "running", "pending", "suspended", "gone", "running", "gone", "gone"),
        "running",
    ]
    assert [call.rpartition(" ")[2] for call in calls()] == ["12,13,14"]


def test_a_controller_that_does_not_answer_is_no_end_of_a_job(programs):
    programs(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ExecutorError, match="Unable to contact"):
        slurm.ztxexp_jobs(["1_0"])


def test_a_machine_without_slurm_is_told_before_anything_is_submitted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match=r"sbatch .*login node"):
        slurm.ztxexp_submit(request(tmp_path), options())


# Takes no more than 5 jobs, and counts them in the file "taken".
LIMITED = r"""
for word; do case $word in --array=0-*) last=${word#--array=0-} ;; esac; done
taken=$(cat taken 2>/dev/null || echo 0)
if [ $((taken + last + 1)) -gt 5 ]; then
    echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2
    exit 1
fi
echo $((taken + last + 1)) > taken
echo $((100 + taken))
"""


def test_fewer_jobs_are_submitted_where_slurm_takes_no_more(
    programs, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    programs(sbatch=LIMITED, scontrol="echo MaxArraySize = 1001")
    ids = slurm.ztxexp_submit(request(tmp_path, count=8), options())
    assert ids == ["100_0", "100_1", "100_2", "100_3", "104_0"]
    assert "takes 5 of 8 jobs" in caplog.text
    with pytest.raises(ExecutorError, match="refused the jobs: QOSMaxSubmitJobPerUserLimit"):
        slurm.ztxexp_submit(request(tmp_path, count=8), options())


def test_a_refusal_for_another_reason_is_told_at_once(programs, tmp_path):
    text = "sbatch: error: invalid partition specified: nix"
    calls = programs(sbatch=f"echo '{text}' >&2; exit 1", scontrol="echo MaxArraySize = 1001")
    with pytest.raises(ExecutorError, match="refused the jobs: invalid partition specified: nix"):
        slurm.ztxexp_submit(request(tmp_path, count=8), options())
    assert len([call for call in calls() if call.startswith("sbatch")]) == 1


def test_no_more_jobs_at_once_than_asked_for(programs, tmp_path):
    calls = programs(sbatch="echo 7", scontrol="echo MaxArraySize = 10")
    slurm.ztxexp_submit(request(tmp_path, count=20, at_once=4), options())
    arrays = [word for call in calls() for word in call.split() if word.startswith("--array")]
    assert arrays == ["--array=0-9%2", "--array=0-9%2"]


def run_script(asked, folder, opts=None, signal_after=None, **variables):
    """Run the text of a job as Slurm would; returns its exit code and what it prints."""
    known = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "9"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **known, **variables}
    script = slurm._script(asked, opts or options(), asked.first)
    (folder / "job").write_text(script)
    command = ["bash", "--noprofile", str(folder / "job")]
    with open(folder / "out", "wb") as out:
        job = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    if signal_after is not None:
        wait_until(lambda: signal_after in (folder / "out").read_text())
        job.terminate()
    return job.wait(60), (folder / "out").read_text()


def test_a_job_knows_which_it_is_and_when_it_ends(programs, tmp_path):
    programs(squeue="echo 2030-01-01T00:00:00")
    asked = request(tmp_path, first=40, environment={"TEXT": "it's $HOME\nnow"})
    code, text = run_script(asked, tmp_path, SLURM_RESTART_COUNT="3", TZ="UTC")
    (variables,) = (ast.literal_eval(x[5:]) for x in text.splitlines() if x.startswith("NOTE "))
    assert code == 0
    assert variables["ZTXEXP_JOB"] == "slurm:7_2:3"
    assert variables["ZTXEXP_PILOT"] == "42"
    assert variables["ZTXEXP_JOB_ENDS"] == "1893456000"
    assert variables["TEXT"] == "it's $HOME\nnow"


@pytest.mark.parametrize(
    ("squeue", "given", "variables", "seconds"),
    [
        ("exit 1", {}, {}, None),
        ("exit 1", {"time": 90}, {}, 120),
        ("echo NONE", {}, {}, None),
        ("exit 1", {"time": 90}, {"SLURM_JOB_END_TIME": "1893456000"}, "as told"),
    ],
)
def test_the_end_of_a_job_is_found_out_or_left_open(
    programs, tmp_path, squeue, given, variables, seconds
):
    programs(squeue=squeue)
    code, text = run_script(request(tmp_path), tmp_path, options(**given), **variables)
    ends = ast.literal_eval(text.splitlines()[0][5:]).get("ZTXEXP_JOB_ENDS")
    assert code == 0
    assert (ends is None) == (seconds is None)
    if seconds == "as told":
        assert ends == variables["SLURM_JOB_END_TIME"]
    elif ends is not None:
        assert float(ends) - time.time() == pytest.approx(seconds, abs=30)


def test_lines_before_come_first_and_may_end_the_job(programs, tmp_path):
    programs()
    opts = options(setup=["A=1", "export B=${A}2"])
    _, text = run_script(request(tmp_path), tmp_path, opts)
    assert ast.literal_eval(text.splitlines()[0][5:])["B"] == "12"
    code, text = run_script(request(tmp_path), tmp_path, options(setup="set -eu\nfalse"))
    assert (code, text) == (1, "")
    code, text = run_script(request(tmp_path), tmp_path, options(setup="set -eu"))
    assert code == 0


def test_python_may_be_a_command_with_arguments(programs, tmp_path):
    programs()
    opts = options(python=f"env IN_CONTAINER=1 '{sys.executable}'")
    _, text = run_script(request(tmp_path), tmp_path, opts)
    assert ast.literal_eval(text.splitlines()[0][5:])["IN_CONTAINER"] == "1"


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING"])
def test_a_job_whose_pilot_asks_for_it_is_queued_again_unless_it_was_cancelled(
    programs, tmp_path, state
):
    calls = programs(squeue=f"echo {state}", scontrol="exit 0")
    code, _ = run_script(request(tmp_path, "0", "75"), tmp_path)
    asked_for = [call for call in calls() if call.startswith("scontrol")]
    assert asked_for == (["scontrol requeue 7_2"] if state == "RUNNING" else [])
    assert code == (0 if state == "RUNNING" else 75)


def test_sigterm_is_passed_on_and_the_pilots_exit_code_counts(programs, tmp_path):
    calls = programs(squeue="echo COMPLETING")
    code, text = run_script(request(tmp_path, "60", "0", "75"), tmp_path, signal_after="NOTE")
    assert code == 75
    assert "NOTE signal 15" in text
    assert not [call for call in calls() if call.startswith("scontrol")]


def test_ctrl_c_is_not_ignored_in_pilots(programs, tmp_path):
    programs()
    text = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    asked = dataclasses.replace(request(tmp_path), command=(sys.executable, "-c", text))
    assert run_script(asked, tmp_path) == (0, "True\n")


# ---- on a cluster ----------------------------------------------------------------------------


@pytest.mark.slow
class TestOnACluster:
    def test_options_and_needs_become_parameters(self, cluster, tmp_path):
        asked = request(
            tmp_path,
            *("30", "0"),
            count=2,
            needs={"cpus": 2, "gpus": 1, "memory": 150e6, "time": 100},
        )
        given = {"partition": "spare", "time": "5:00:00", "extra": {"comment": "a b", "nice": 7}}
        first, second = slurm.ztxexp_submit(asked, options(**given))
        cluster.wait_for_state(first, "RUNNING")
        shown = cluster.ask("scontrol", "show", "job", first)
        for text in (
            *("JobName=train", "Partition=spare", "TimeLimit=00:02:00", "CPUs/Task=2", "Nice=7"),
            *(
                "gres:gpu:1",
                "MinMemoryNode=144M",
                "Requeue=1",
                "Comment=a b",
                f"WorkDir={tmp_path}",
            ),
        ):
            assert text in shown
        wait_until(lambda: notes(asked, first) and notes(asked, second))
        gpus = [notes(asked, job)[0]["CUDA_VISIBLE_DEVICES"] for job in (first, second)]
        nodes = [notes(asked, job)[0]["SLURMD_NODENAME"] for job in (first, second)]
        assert len({*zip(nodes, gpus, strict=True)}) == 2
        slurm.ztxexp_cancel([first, second])

    def test_a_job_has_no_variables_of_the_caller(self, cluster, tmp_path, monkeypatch):
        monkeypatch.setenv("SLURM_NTASKS", "7")  # as in a job that submits jobs
        monkeypatch.setenv("SLURM_MEM_PER_CPU", "1")
        monkeypatch.setenv("SBATCH_EXPORT", "NONE")
        monkeypatch.setenv("SQUEUE_STATES", "PENDING")
        monkeypatch.setenv("MINE", "1")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
        asked = request(tmp_path, environment={"GIVEN": "it's"})
        (job,) = slurm.ztxexp_submit(asked, options())
        cluster.wait_for_state(job, "COMPLETED")
        (variables,) = notes(asked, job)
        assert variables["SLURM_NTASKS"] == "1"
        assert variables["GIVEN"] == "it's"
        assert variables["ZTXEXP_JOB"] == f"slurm:{job}:0"
        assert not {"MINE", "SBATCH_EXPORT", "CUDA_VISIBLE_DEVICES"} & set(variables)
        assert slurm.ztxexp_jobs([job]) == {job: "gone"}

    def test_large_arrays_are_split(self, cluster, tmp_path):
        asked = request(tmp_path, "0", "0", count=slurm_cluster.MAX_ARRAY_SIZE + 3, first=5)
        ids = slurm.ztxexp_submit(asked, options(partition="spare"))
        assert len(ids) == len(set(ids)) == asked.count
        assert len({job.partition("_")[0] for job in ids}) == 2
        for job in ids:
            cluster.wait_for_state(job, "COMPLETED", "")
        pilots = [int(notes(asked, job)[0]["ZTXEXP_PILOT"]) for job in ids]
        assert pilots == [*range(5, 5 + asked.count)]

    def test_states_and_cancelling(self, cluster, tmp_path):
        asked = request(tmp_path, "60", "0", count=3, at_once=2)
        ids = slurm.ztxexp_submit(asked, options())
        wait_until(lambda: all(notes(asked, job) for job in ids[:2]))
        states = slurm.ztxexp_jobs([*ids, "999999_0"])
        assert list(states.values()) == ["running", "running", "pending", "gone"]
        cluster.ask("scontrol", "suspend", ids[0])
        assert slurm.ztxexp_jobs(ids)[ids[0]] == "suspended"
        cluster.ask("scontrol", "resume", ids[0])
        slurm.ztxexp_cancel([*ids[1:], "999999_0"])
        wait_until(lambda: [*slurm.ztxexp_jobs(ids).values()] == ["running", "gone", "gone"])
        assert notes(asked, ids[1])[1].startswith("signal 15")
        assert notes(asked, ids[2]) == []
        slurm.ztxexp_cancel(ids)
        wait_until(lambda: slurm.ztxexp_jobs(ids)[ids[0]] == "gone")

    def test_a_pilot_that_asks_for_it_is_started_again(self, cluster, tmp_path):
        asked = request(tmp_path, "0", "75", count=2)
        ids = slurm.ztxexp_submit(asked, options())
        for job in ids:
            wait_until(lambda job=job: len(notes(asked, job)) == 2)
            cluster.wait_for_state(job, "COMPLETED")
            starts = [variables["ZTXEXP_JOB"] for variables in notes(asked, job)]
            assert starts == [f"slurm:{job}:0", f"slurm:{job}:1"]

    def test_sigterm_comes_before_the_limit(self, cluster, tmp_path):
        asked = request(tmp_path, "120", "0", "75")
        (job,) = slurm.ztxexp_submit(asked, options(time=60))
        wait_until(lambda: len(notes(asked, job)) >= 3, 150)
        _, told, variables = notes(asked, job)[:3]
        assert 0 < int(told.split()[2]) <= 60  # Slurm counts in steps of half a minute or so
        assert variables["ZTXEXP_JOB"] == f"slurm:{job}:1"
        slurm.ztxexp_cancel([job])

    def test_a_pilot_that_is_preempted_comes_again(self, cluster, tmp_path):
        asked = request(tmp_path, "30", "0", count=2)
        ids = slurm.ztxexp_submit(asked, options(partition="spare"))
        wait_until(lambda: all(notes(asked, job) for job in ids))
        urgent = cluster.submit("sleep 2", "--partition=urgent", "--nodes=2", "--exclusive")
        wait_until(lambda: all(len(notes(asked, job)) >= 3 for job in ids))
        for job in ids:
            assert notes(asked, job)[1].startswith("signal 15")
            assert notes(asked, job)[-1]["ZTXEXP_JOB"] == f"slurm:{job}:1"
        slurm.ztxexp_cancel([*ids, urgent])

    def test_what_slurm_refuses_is_told(self, cluster, tmp_path):
        with pytest.raises(ExecutorError, match="invalid partition specified: nix"):
            slurm.ztxexp_submit(request(tmp_path), options(partition="nix"))
        with pytest.raises(ExecutorError, match="Requested node configuration is not available"):
            slurm.ztxexp_submit(request(tmp_path, needs={"gpus": 3}), options())
        with pytest.raises(ExecutorError, match=r"whole GPUs, not 0\.5"):
            slurm.ztxexp_submit(request(tmp_path, needs={"gpus": 0.5}), options())

    def test_without_a_controller_nothing_is_said_of_jobs(self, cluster, tmp_path):
        asked = request(tmp_path, "60", "0")
        (job,) = slurm.ztxexp_submit(asked, options())
        cluster.wait_for_state(job, "RUNNING")
        cluster.kill("slurmctld")
        try:
            for call in (
                lambda: slurm.ztxexp_jobs([job]),
                lambda: slurm.ztxexp_cancel([job]),
                lambda: slurm.ztxexp_submit(asked, options()),
            ):
                with pytest.raises(ExecutorError, match="Unable to contact slurm controller"):
                    call()
        finally:
            cluster.start("slurmctld")
        assert slurm.ztxexp_jobs([job]) == {job: "running"}
        slurm.ztxexp_cancel([job])
