"""A launch reduced to its claims, for tests that let many of them race and die.

Run as a script: ``python claiming.py ROOT SEED IDENTITIES``. Carries out every identity that it can
get, in an order of its own, until all are done, and appends what it does to ``ROOT/../log``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from ztxexp.results.claims import Claimed, Claims, Completed
from ztxexp_core.records import RUN_SCHEMA_VERSION
from ztxexp_core.store.files import write_json
from ztxexp_core.store.liveness import this_process
from ztxexp_core.store.run_folder import create_run, new_run_id


def record(run_id: str, status: str) -> dict[str, object]:
    """Return a run.json of this process."""
    fields = {"schema_version": RUN_SCHEMA_VERSION, "run_id": run_id, "status": status}
    return {**fields, "owner": this_process(), "reason": None}


def carry_out(root: Path, identity: str, run_id: str, log: int) -> None:
    """Do what a run does to the disk, and tell the log when it begins and ends."""
    os.write(log, f"begin {identity} {os.getpid()}\n".encode())
    create_run(root / run_id, {"identity": identity}, record(run_id, "running"), {})
    time.sleep(random.random() * 0.002)
    write_json(root / run_id / "run.json", record(run_id, "succeeded"))
    os.write(log, f"end {identity} {os.getpid()}\n".encode())


def main(root: Path, seed: str, count: int) -> None:
    """Carry out what can be had until everything is done."""
    random.seed(seed)
    left = [f"1:{i:04x}" for i in range(count)]
    log = os.open(root.parent / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Claims(root, {}) as claims:
        while left:
            random.shuffle(left)
            for identity in list(left):
                run_id = new_run_id()
                verdict = claims.claim(identity, run_id)
                if isinstance(verdict, Claimed):
                    carry_out(root, identity, run_id, log)
                    claims.release(identity, run_id, "succeeded")
                if isinstance(verdict, Claimed | Completed):
                    left.remove(identity)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
