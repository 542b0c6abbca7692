"""Pilots in processes of this machine: :class:`Pilots`."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

from reading import Root, lines, strict

from ztxexp.launch.work import Work
from ztxexp.results.code_folders import code_folder
from ztxexp.results.submissions import Submission
from ztxexp_core import RunSpec
from ztxexp_core.records import RunMetadata
from ztxexp_core.run.distant import mark_root
from ztxexp_core.run.launch import Launch, RetryRule
from ztxexp_core.run.place import present_place
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.heartbeat import stamp
from ztxexp_core.store.run_folder import new_run_id
from ztxexp_core.values.identity import config_identity


class Pilots:
    """A submission, and the pilots that carry it out.

    Args:
        folder: for the root, the code and the notes of experiments.
        function: the experiment.
        configs: a number for ``{"i": 0}``, ``{"i": 1}``, ..., or the configurations.
        launch: fields of ``Launch``.
        workers: how many jobs are said to be submitted.
        work: fields of ``Work``, such as ``runs_per_job``.
    """

    def __init__(self, folder, function, configs=4, launch=None, workers=2, spec=None, **work):
        if isinstance(configs, int):
            configs = [{"i": i} for i in range(configs)]
        self.folder, self.root = folder, Root(folder / "results")
        self.root.path.mkdir(exist_ok=True)
        self.id = new_run_id()
        self.specs = [self._spec(config, spec or {}) for config in configs]
        keys = {each.run_id: each.identity for each in self.specs}
        self.code = code_folder(self.id, str(folder / "code"))
        self.plan = Submission.write(
            self.root.path, self.id, "pretended", "f", workers, list(keys), list(keys.values()),
            self.code,
        )  # fmt: skip
        shared = Launch(
            function,
            RunMetadata(),
            own_process=True,
            place=present_place(),
            mark=mark_root(self.root.path),
            **{"retry": RetryRule(), **(launch or {})},
        )
        groups = tuple({tuple(s.needs.items()): s.needs for s in self.specs}.values())
        fields = {
            "ended": {},
            "since": stamp(self.root.path),
            "busy": {},
            "retry": shared.retry,
            "grace": 0.0,
            "flush_sec": None,
            **work,
        }
        self.work = Work(
            self.root.path, self.plan.folder, tuple(self.specs), groups, keys,
            run_one=RunOne(shared).distant(), launch=shared, **fields,
        )  # fmt: skip
        self.work.save(self.code)
        self.started: list[subprocess.Popen] = []

    def _spec(self, config, fields) -> RunSpec:
        run_id = new_run_id()
        identity = config_identity(config)
        made = RunSpec(run_id, self.root.path / run_id, config, identity)
        return dataclasses.replace(made, **fields)

    def start(self, job="1", start="0", number=None, group=0, ends=None, **env):
        """Start a pilot; its output goes to a file."""
        variables = {**os.environ, "ZTXEXP_JOB": f"pretended:{job}:{start}", **env}
        variables.pop("ZTXEXP_PILOT", None)
        if number is not None:
            variables["ZTXEXP_PILOT"] = str(number)
        if ends is not None:
            variables["ZTXEXP_JOB_ENDS"] = str(ends)
        with open(self.plan.logs / f"{job}-{start}.out", "w") as out:
            made = subprocess.Popen(
                [sys.executable, "-m", "ztxexp.launch.pilot", str(self.code), str(group)],
                env=variables, stdout=out, stderr=out, cwd=self.folder,
            )  # fmt: skip
        self.started.append(made)
        return made

    def run(self, *args, timeout=60, **kwargs) -> int:
        """Start a pilot, wait for its end, return its exit code."""
        return self.start(*args, **kwargs).wait(timeout)

    def end(self):
        """Leave no process."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()

    def output(self, job="1", start="0") -> str:
        return (self.plan.logs / f"{job}-{start}.out").read_text()

    def journal(self, job="1", start="0") -> list[dict]:
        return lines(self.plan.journal(f"pretended:{job}", start))

    def journals(self) -> list[dict]:
        """The lines of all journals."""
        return [row for path in self.plan.journals() for row in lines(path)]

    def outcomes(self) -> list[dict]:
        return [row["outcome"] for row in self.journals() if "outcome" in row]

    def ended(self, job="1", start="0") -> tuple[str, int]:
        last = self.journal(job, start)[-1]
        return last["end"], last["left"]

    def state(self, job="1", start="0") -> dict:
        return strict(self.plan.folder / f"{job}-{start}.now.json")

    def notes(self) -> list[dict]:
        """What experiments have noted."""
        path = self.folder / "notes"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def times(self) -> Counter:
        """How often each configuration was begun."""
        return Counter(note["i"] for note in self.notes())

    def wait_for_notes(self, count: int, seconds: float = 30):
        until = time.monotonic() + seconds
        while len(self.notes()) < count:
            assert time.monotonic() < until, [p.read_text() for p in self.plan.logs.iterdir()]
            time.sleep(0.02)

    def records(self) -> dict[int, dict]:
        """run.json by ``i``."""
        return {run["config"]["i"]: run for run in self.root.runs()}
