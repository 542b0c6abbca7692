"""What the tests of a submitting executor are written with: small jobs, and what they have seen."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp.results.code_folders import FOLDER
from ztxexp.results.submissions import read_submissions
from ztxexp_core.records import JobRequest
from ztxexp_core.store.jobs import GONE, PENDING, RUNNING, STATES, job_of
from ztxexp_testing._launch_base import LaunchBase
from ztxexp_testing._processes import remaining, run_in_time
from ztxexp_testing._suite import Ability

AGAIN = 75
"""Exit code of a pilot whose job is to be queued again."""

# What a job runs in the place of a pilot. It knows the standard library only.
PROGRAM = """
import json, os, pathlib, signal, sys, time

folder, wait, *codes = sys.argv[1:4]
folder, number = pathlib.Path(folder), os.environ.get("ZTXEXP_PILOT", "")
codes = json.loads(codes[0])
start = len(list(folder.glob(f"job-{number}-*.json")))
path = folder / f"job-{number}-{start}.json"

def told(signum, frame):
    path.with_suffix(".told").touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, told)
seen = {"arguments": sys.argv[4:], "environment": dict(os.environ), "folder": os.getcwd(),
        "pid": os.getpid(), "at": time.time()}
path.with_suffix(".new").write_text(json.dumps(seen))
path.with_suffix(".new").rename(path)
print(f"job {number} has begun", flush=True)
print(f"job {number} complains", file=sys.stderr, flush=True)
until = time.time() + float(wait)
while time.time() < until and not (folder / f"go-{number}").exists():
    time.sleep(0.02)
path.with_suffix(".ended").touch()
sys.exit(codes[min(start, len(codes) - 1)])
"""


@dataclass(frozen=True)
class Began:
    """What a job saw when it was started.

    Attributes:
        number: its number among the jobs of the launch.
        job: its id, as it knows itself.
        start: which start of the job it is, as it knows itself.
        environment: its variables.
        arguments: of its command.
        folder: its working folder.
        pid: its process.
        path: of the file with all this.
    """

    number: int
    job: str
    start: str
    environment: Mapping[str, str]
    arguments: Sequence[str]
    folder: str
    pid: int
    path: Path

    @property
    def was_told(self) -> bool:
        """Whether it has got SIGTERM."""
        return self.path.with_suffix(".told").exists()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.path.with_suffix(".ended").exists()


class SubmittingBase(LaunchBase):
    """The author's part, and calls of the three hooks; see :class:`SubmittingSuite`."""

    observes_at_once: ClassVar[Ability] = True
    passes_sigterm: ClassVar[Ability] = True
    queues_again: ClassVar[Ability] = True
    runs_here: ClassVar[Ability] = True
    refused_options: ClassVar[Mapping[str, Any] | None] = None
    asks_every: ClassVar[float] = 0.05

    @functools.cached_property
    def submitted(self) -> list[str]:
        """Ids of the jobs that the test has submitted by itself."""
        return []

    @pytest.fixture(autouse=True)
    def code_setting(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the code of launches lie in the test's own folder."""
        monkeypatch.setenv(FOLDER, str(tmp_path / "state"))

    # ---- calls of the hooks ------------------------------------------------------------------

    def request(
        self,
        count: int = 1,
        *arguments: str,
        wait: float = 0.0,
        codes: Sequence[int] = (0,),
        **fields: Any,
    ) -> JobRequest:
        """Return a request for small jobs that note what they see.

        Args:
            count: how many.
            arguments: further ones of their command.
            wait: seconds that they go on, if :meth:`let_go` does not end them.
            codes: exit codes of the first start, the second and so on; the last one of the rest.
            fields: of the request.
        """
        for folder in ("work here", "prints", "seen"):
            (self.place / folder).mkdir(exist_ok=True)
        program = self.place / "program.py"
        program.write_text(PROGRAM, encoding="utf-8")
        words = (str(program), str(self.place / "seen"), str(wait), json.dumps(list(codes)))
        given: dict[str, Any] = {
            "name": "suite",
            "folder": self.place / "prints",
            "workdir": self.place / "work here",
            **fields,
        }
        return JobRequest(command=(sys.executable, *words, *arguments), count=count, **given)

    def submit(self, request: JobRequest, options: Mapping[str, Any] | None = None) -> list[str]:
        """Submit jobs, which are cancelled at the end of the test; returns their ids."""
        plugin = self.load()
        checked = plugin.check_options(self.options if options is None else options)
        ids = self._ask("ztxexp_submit", request=request, options=checked)
        assert isinstance(ids, Sequence) and not isinstance(ids, str), (
            f"ztxexp_submit returned {ids!r}, not a list of ids"
        )
        self.submitted.extend(job for job in ids if isinstance(job, str))
        return list(ids)

    def states(self, ids: Iterable[str]) -> dict[str, str]:
        """Ask for the states of jobs; one that is not known counts as gone."""
        asked = tuple(ids)
        states = self._ask("ztxexp_jobs", ids=asked)
        assert isinstance(states, Mapping), f"ztxexp_jobs returned {states!r}, not a mapping"
        states = {
            job: PENDING if str(state).startswith(f"{PENDING}: ") else state
            for job, state in states.items()
        }
        odd = {job: state for job, state in states.items() if state not in STATES}
        assert not odd, f"ztxexp_jobs has states that are none of {sorted(STATES)}: {odd}"
        return {job: states.get(job, GONE) for job in asked}

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel jobs."""
        self._ask("ztxexp_cancel", ids=tuple(ids))

    def _ask(self, hook: str, **arguments: Any) -> Any:
        plugin = self.load()
        late = f"{hook} has not returned"
        return run_in_time(lambda: plugin.ask(hook, **arguments), self.patience, late)

    # ---- what becomes of jobs ------------------------------------------------------------------

    def began(self, number: int | None = None) -> list[Began]:
        """Return what jobs saw when they were started, in the order of numbers and starts."""
        paths = (self.place / "seen").glob("job-*.json")
        order = sorted(paths, key=lambda path: [int(n) for n in path.stem.split("-")[1:]])
        jobs = [_began(path) for path in order]
        return [job for job in jobs if number is None or job.number == number]

    def only_began(self) -> Began:
        """Return what the only job saw."""
        jobs = self.began()
        assert len(jobs) == 1, f"{len(jobs)} jobs have begun, not 1"
        return jobs[0]

    def wait_begun(self, *numbers: int) -> None:
        """Wait until jobs have begun."""
        for number in numbers:
            has_begun = functools.partial(self.began, number)
            self.wait_for(has_begun, f"job {number} has not begun")

    def wait_state(self, job: str, *wanted: str) -> None:
        """Wait until a job is in one of some states."""
        until = time.monotonic() + self.patience
        while (state := self.states([job])[job]) not in wanted:
            late = f"job {job} is {state}, and not {' or '.join(wanted)}, after {self.patience:g} s"
            assert time.monotonic() < until, late
            time.sleep(self.asks_every)

    def wait_gone(self, ids: Iterable[str]) -> None:
        """Wait until no job is pending, running or suspended."""
        left = list(ids)
        until = time.monotonic() + self.patience
        while left := [job for job, state in self.states(left).items() if state != GONE]:
            assert time.monotonic() < until, f"jobs are not gone after {self.patience:g} s: {left}"
            time.sleep(self.asks_every)

    def let_go(self, *numbers: int) -> None:
        """Let jobs that wait end by themselves."""
        for number in numbers:
            (self.place / "seen" / f"go-{number}").touch()

    def end_what_goes_on(self) -> None:
        """Cancel the jobs of the test, and those of its launches."""
        ids = [*self.submitted, *self.jobs_of_launches()]
        if not ids:
            return
        with contextlib.suppress(Exception):  # a bad executor; a test that cares cancels itself
            self.cancel(ids)
            alive = (PENDING, RUNNING)
            remaining(
                lambda: [s for s in self.states(ids).values() if s in alive], self.gone_sec + 5
            )

    def jobs_of_launches(self) -> list[str]:
        """Return the ids of all jobs that launches of this test have submitted."""
        if not self.results.exists():
            return []
        plans = read_submissions(self.results)
        jobs = [job_of({"job": job}) for plan in plans for job in plan.jobs()]
        return [job.id for job in jobs if job is not None]


def _began(path: Path) -> Began:
    seen = json.loads(path.read_text(encoding="utf-8"))
    environment, number = seen["environment"], int(path.stem.split("-")[1])
    own = job_of({"job": environment.get("ZTXEXP_JOB", "")})
    job, start = (own.id, own.start) if own else ("", "")
    arguments, folder, pid = seen["arguments"], seen["folder"], seen["pid"]
    return Began(number, job, start, environment, arguments, folder, pid, path)
