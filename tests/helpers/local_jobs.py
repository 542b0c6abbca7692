"""A stand-in for a batch system: :class:`LocalJobs`, with the executor ``local_jobs``.

See :mod:`local_jobs_engine` for how it works.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import local_jobs_engine as engine
import psutil

from ztxexp.results import jobs as asked
from ztxexp_testing import FakeDistribution

NAME = "local_jobs"


class LocalJobs:
    """Jobs in processes of this machine, while a ``with`` block lasts.

    The executor ``local_jobs`` is installed, also for processes that are started meanwhile, such as
    those of the command line. The code of launches goes to ``folder/state``. At the end no process
    is left.

    Args:
        folder: for everything that the engine writes; made where it is missing.
        slots: how many jobs run at a time; the others are pending.

    Example:
        >>> with LocalJobs(tmp_path / "jobs", slots=2) as jobs:
        ...     ExpRunner(configs, root).run(train, mode="local_jobs", workers=4)
        ...     jobs.states()
        {'101_0': 'gone', '101_1': 'gone', '101_2': 'gone', '101_3': 'gone'}
    """

    def __init__(self, folder: Path, slots: int = 2):
        self.folder = folder
        self._slots = slots
        source = Path(engine.__file__).read_text()
        modules = {"local_jobs_engine_installed": source}
        executors = {NAME: "local_jobs_engine_installed"}
        self._plugin = FakeDistribution("ztxexp-local-jobs", modules, executors=executors)
        self._variables: dict[str, str | None] = {}

    def __enter__(self) -> LocalJobs:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.slots(self._slots)
        wanted = {engine.FOLDER: str(self.folder), "ZTXEXP_STATE": str(self.folder / "state")}
        self._variables = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        self._plugin.__enter__()
        for known in (asked._answers, asked._silent):  # of another engine, with jobs of these ids
            known.clear()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.end()
        finally:
            self._plugin.__exit__(*exc)
            for name, value in self._variables.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def slots(self, count: int) -> None:
        """Let so many jobs run at a time; those that run go on."""
        (self.folder / "slots.new").write_text(str(count))
        (self.folder / "slots.new").replace(self.folder / "slots")

    # ---- what is known of the jobs -----------------------------------------------------------

    def ids(self) -> list[str]:
        """All jobs, in the order in which they were submitted."""
        ids = [path.parent.name for path in self.folder.glob("*/request.json")]
        return sorted(ids, key=lambda job: [int(part) for part in job.split("_")])

    def states(self) -> dict[str, str]:
        """The state of each job, by id; this is no call of the hook."""
        return {job: engine._state(self.folder, job) for job in self.ids()}

    def living(self) -> list[str]:
        """The jobs that are not gone."""
        return [job for job, state in self.states().items() if state != "gone"]

    def request(self, job: str) -> dict:
        """What a job was submitted with: command, environment, needs, workdir, name, at_once."""
        return json.loads((self.folder / job / "request.json").read_text())

    def log(self, job: str) -> str:
        """What a job has printed."""
        return Path(self.request(job)["log"]).read_text()

    def exits(self, job: str) -> list[int]:
        """The exit codes of a job's program, one for each start."""
        return engine.now(self.folder, job)["exits"]

    def program(self, job: str) -> int:
        """Process id of the program of a job that is running."""
        return engine.now(self.folder, job)["program"]

    def calls(self, hook: str) -> list:
        """What a hook was called with, once for each call: ``submit``, ``jobs`` or ``cancel``."""
        try:
            lines = (self.folder / "calls").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [what for name, what, *_ in map(json.loads, lines) if name == hook]

    # ---- what happens to jobs ----------------------------------------------------------------

    def cancel(self, *jobs: str) -> None:
        """Cancel jobs from outside; all by default."""
        self._tell("cancel", jobs)

    def preempt(self, *jobs: str) -> None:
        """End the programs of jobs by SIGTERM, and let these queue again."""
        self._tell("preempt", jobs)

    def kill(self, *jobs: str) -> None:
        """End jobs by SIGKILL; they do not queue again."""
        self._tell("kill", jobs)

    def fail(self, *jobs: str) -> None:
        """End the programs of jobs by SIGKILL, and let these queue again."""
        self._tell("fail", jobs)

    def freeze(self, *jobs: str) -> None:
        """Suspend jobs, until :meth:`thaw`."""
        self._tell("freeze", jobs)

    def thaw(self, *jobs: str) -> None:
        """Let suspended jobs go on."""
        for job in jobs or self.ids():
            (self.folder / job / "freeze").unlink(missing_ok=True)

    def take_at_most(self, jobs: int) -> None:
        """Let the engine accept so many further jobs."""
        (self.folder / "most").write_text(str(jobs))

    def say_why(self, reason: str) -> None:
        """Say of pending jobs why they do not start."""
        (self.folder / "why").write_text(reason)

    def be_slow(self, seconds: float) -> None:
        """Tell the ids of new jobs later."""
        (self.folder / "delay").write_text(str(seconds))

    def go_down(self) -> None:
        """Let every call of a hook fail, until :meth:`come_back`."""
        (self.folder / "down").touch()

    def come_back(self) -> None:
        """Answer again."""
        (self.folder / "down").unlink(missing_ok=True)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until all jobs are gone."""
        until = time.monotonic() + seconds
        while living := self.living():
            assert time.monotonic() < until, f"still there: {living}"
            time.sleep(0.02)

    def _tell(self, word: str, jobs: tuple[str, ...]) -> None:
        living = set(self.living())
        for job in jobs or self.ids():
            if job in living:
                engine.tell(self.folder, job, word)

    # ---- the end -----------------------------------------------------------------------------

    def end(self) -> None:
        """End all jobs, and all processes that they have started."""
        self.thaw()
        self._tell("kill", ())
        until = time.monotonic() + 10
        while time.monotonic() < until and (self.living() or self._processes()):
            time.sleep(0.02)
        left = self._processes()
        for process in left:
            process.kill()
        psutil.wait_procs(left, 5)
        errors = [path.read_text() for path in self.folder.glob("*/keeper.err")]
        assert not any(errors), errors
        assert not left, f"these had to be killed: {left}"

    def _processes(self) -> list[psutil.Process]:
        """Processes that belong to the jobs, by their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                variables = process.environ()
            except (psutil.Error, OSError):
                continue
            ours = variables.get(engine.FOLDER) == str(self.folder) and "ZTXEXP_JOB" in variables
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found
