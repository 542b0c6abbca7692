"""The executor ``local_jobs``, and the engine behind it: jobs are processes of this machine.

A job is a process that belongs to no launcher, its keeper: ``python local_jobs_engine.py FOLDER
JOB``. It waits for a slot, carries out the program, and lets it queue again where it ends with 75.
There is no scheduler: a slot is a lock on a file, and a job whose own lock is free is gone. So any
process that knows the folder, by the variable ``LOCAL_JOBS``, can ask.

Files in the folder, by job: ``request.json`` what it is to do; ``lock`` held while it is not gone;
``now.json`` its present state; ``cancel``, ``preempt``, ``kill``, ``fail``, ``freeze`` what it is
told by others, as empty files. ``slots`` holds how many programs run at a time, ``calls`` each call
of a hook, ``most`` how many further jobs are taken, ``delay`` after how many seconds the ids of new
ones are told; while ``down`` is there, every call fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = "LOCAL_JOBS"
AGAIN = 75  # exit code: the job queues again
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", FOLDER)
_POLL_SEC = 0.03
_KEPT_WAITING_SEC = 0.2  # before a job that queues again may start: others come first

if __name__ != "__main__":  # the keeper knows the standard library only
    from dataclasses import dataclass

    from ztxexp_core import ExecutorError, hookimpl

    needs = frozenset({"cpus", "gpus", "memory", "time"})
    supports = frozenset({"timeout", "fresh_process"})

    @dataclass(frozen=True)
    class Options:
        """Settings of the executor.

        Attributes:
            runs_per_job: after so many runs a job ends.
            runs_at_once: so many runs at a time in a job.
            code_folder: where the code of launches lies.
            grace: seconds between SIGTERM and the end of a job's time, and before SIGKILL.
        """

        runs_per_job: int | None = None
        runs_at_once: int = 1
        code_folder: str | None = None
        grace: float = 5.0

    @hookimpl
    def ztxexp_submit(request, options):
        """Start a keeper for each job."""
        folder = _folder("submit", request.count)
        count = request.count
        with contextlib.suppress(FileNotFoundError):
            most = int((folder / "most").read_text())
            count = min(count, most)
            (folder / "most").write_text(str(most - count))
        if not count:
            raise ExecutorError("local_jobs takes no more jobs")
        array = _next_number(folder)
        ids = [f"{array}_{k}" for k in range(count)]
        for number, job in enumerate(ids, start=request.first):
            _start_keeper(folder, job, number, request, options)
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float((folder / "delay").read_text()))
        return ids

    @hookimpl
    def ztxexp_cancel(ids):
        """Tell keepers to end their programs."""
        folder = _folder("cancel", list(ids))
        for job in ids:
            if _state(folder, job) != "gone":
                tell(folder, job, "cancel")

    @hookimpl
    def ztxexp_jobs(ids):
        """Say how it is with jobs."""
        folder = _folder("jobs", list(ids))
        if (folder / "why").exists():
            return {job: _with_reason(folder, job) for job in ids}
        return {job: _state(folder, job) for job in ids if (folder / job).is_dir()}


def _folder(hook: str, what: object) -> Path:
    folder = Path(os.environ[FOLDER])
    with open(folder / "calls", "a") as calls:
        calls.write(json.dumps([hook, what, time.time(), os.getpid()]) + "\n")
    if (folder / "down").exists():
        raise ConnectionError("the controller of local_jobs does not answer")
    return folder


def _with_reason(folder: Path, job: str) -> str:
    state = _state(folder, job)
    return f"{state}: {(folder / 'why').read_text()}" if state == "pending" else state


def _next_number(folder: Path) -> int:
    with open(folder / "number", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = int(file.read() or 100) + 1
        file.truncate(0)
        file.write(str(number))
    return number


def _start_keeper(folder, job, number, request, options):
    (folder / job).mkdir()
    variables = {name: os.environ[name] for name in _KEPT if name in os.environ}
    needs = dict(request.needs)
    content = {
        "command": request.command,
        "workdir": str(request.workdir),
        "log": str(request.folder / f"{job}.out"),
        "environment": {**variables, **request.environment, "ZTXEXP_PILOT": str(number)},
        "needs": needs,
        "at_once": request.at_once,
        "grace": options["grace"],
        "name": request.name,
    }
    (folder / job / "request.json").write_text(json.dumps(content))
    lock = os.open(folder / job / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the keeper inherits it: there is no moment without
    try:
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(folder), job],
            pass_fds=[lock],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(folder / job / "keeper.err", "wb"),  # noqa: SIM115
        )
    finally:
        os.close(lock)


def tell(folder: Path, job: str, word: str) -> None:
    """Tell a job's keeper something."""
    (folder / job / word).touch()


def is_gone(folder: Path, job: str) -> bool:
    """Return whether nobody holds the lock of a job."""
    try:
        lock = os.open(folder / job / "lock", os.O_RDWR)
    except FileNotFoundError:
        return not (folder / job / "request.json").exists()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def now(folder: Path, job: str) -> dict:
    """Return what a job's keeper has said last."""
    try:
        return json.loads((folder / job / "now.json").read_text())
    except FileNotFoundError:
        return {"state": "pending", "start": 0, "exits": []}


def _state(folder: Path, job: str) -> str:
    return "gone" if is_gone(folder, job) else now(folder, job)["state"]


# ---- the keeper ----------------------------------------------------------------------------------


class Keeper:
    """Carries out one job."""

    def __init__(self, folder: Path, job: str):
        self.folder, self.job = folder, job
        self.request = json.loads((folder / job / "request.json").read_text())
        self.start, self.exits = 0, []
        self.program: subprocess.Popen | None = None
        self.slots: list[int] = []

    def keep(self) -> None:
        """Start the program, as often as it queues again."""
        while self.wait_for_slot():
            again = self.carry_out()
            for slot in self.slots:
                os.close(slot)
            self.start += 1
            if not again:
                break
            self.say("pending")
            time.sleep(_KEPT_WAITING_SEC)
        self.say("gone")

    def wait_for_slot(self) -> bool:
        self.say("pending")
        own = self.job.partition("_")[0]
        while not self.told("cancel") and not self.told("kill"):
            slots = int((self.folder / "slots").read_text())
            at_once = self.request["at_once"]
            kinds = [("slot", slots)] + ([(f"of-{own}", at_once)] if at_once else [])
            self.slots = []
            for kind, count in kinds:
                taken = self.take(kind, count)
                if taken is None:
                    break
                self.slots.append(taken)
            else:
                return True
            for slot in self.slots:
                os.close(slot)
            time.sleep(_POLL_SEC)
        return False

    def take(self, kind: str, count: int) -> int | None:
        for number in range(count):
            slot = os.open(self.folder / f"{kind}-{number}", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot
            except BlockingIOError:
                os.close(slot)
        return None

    def carry_out(self) -> bool:
        """Run the program once; returns whether the job queues again."""
        limit = self.request["needs"].get("time")
        ends = time.time() + limit if limit else None
        environment = dict(self.request["environment"])
        environment["ZTXEXP_JOB"] = f"local_jobs:{self.job}:{self.start}"
        if ends:
            environment["ZTXEXP_JOB_ENDS"] = str(ends)
        with open(self.request["log"], "ab") as log:
            self.program = subprocess.Popen(
                self.request["command"],
                cwd=self.request["workdir"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.say("running")
        try:
            return self.watch(ends)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what the program has left behind
                os.killpg(self.program.pid, signal.SIGKILL)

    def watch(self, ends: float | None) -> bool:
        grace, kill_at, queues = self.request["grace"], None, None
        frozen = False
        while self.program.poll() is None:
            time.sleep(_POLL_SEC)
            if self.told("freeze") != frozen:
                frozen = not frozen
                os.killpg(self.program.pid, signal.SIGSTOP if frozen else signal.SIGCONT)
                self.say("suspended" if frozen else "running")
            if self.told("kill") or self.told("fail"):  # as when a node is lost
                queues = self.told("fail")
                os.killpg(self.program.pid, signal.SIGKILL)
            elif kill_at is None and (self.told("cancel") or self.told("preempt")):
                queues = self.told("preempt") and not self.told("cancel")
                kill_at = time.time() + grace
                self.program.terminate()
            elif kill_at is None and ends and time.time() >= ends - grace:
                kill_at = ends
                self.program.terminate()
            if kill_at is not None and time.time() >= kill_at:
                os.killpg(self.program.pid, signal.SIGKILL)
        code = self.program.wait()
        self.exits.append(code)
        for word in ("preempt", "fail"):
            (self.folder / self.job / word).unlink(missing_ok=True)
        return code == AGAIN and not self.told("cancel") if queues is None else queues

    def told(self, word: str) -> bool:
        return (self.folder / self.job / word).exists()

    def say(self, state: str) -> None:
        content = {
            "state": state,
            "start": self.start,
            "exits": self.exits,
            "keeper": os.getpid(),
            "program": self.program.pid if self.program and state != "pending" else None,
        }
        path = self.folder / self.job / "now.json"
        path.with_suffix(".new").write_text(json.dumps(content))
        path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    Keeper(Path(sys.argv[1]), sys.argv[2]).keep()
