"""What pilots are given to do: :class:`Work`, pickled by value into a folder outside the root.

Outside, because a pickle is a program, and results are passed around; private, because others could
put theirs in its place.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp_core.errors import StoreError
from ztxexp_core.records import RunSpec
from ztxexp_core.run.distant import DistantRun
from ztxexp_core.run.launch import RetryRule
from ztxexp_core.store.files import write_bytes

FOLDER = "ZTXEXP_STATE"
"""Variable with the folder for code; by default ``~/.local/state/ztxexp``."""

_FILE = "work.pkl"


@dataclass(frozen=True)
class Work:
    """All that pilots of one launch need to know.

    Attributes:
        root: the results root.
        plan: folder of the submission below it.
        specs: the runs; each pilot takes those whose ``needs`` are those of its group.
        groups: the different needs, by the number that a pilot is given.
        keys: claim keys, by run id.
        ended: claim key to the id of the last run that had ended before the launch, as for
            ``Claims``.
        since: when the root was looked at, as for ``Claims``.
        busy: as for ``RunQueue``.
        run_one: carries out one run; loaded when the pilot has looked around.
        retry: which deaths are tried again.
        max_failures: so many failed runs of all pilots end the work.
        max_failures_in_a_row: so many of one pilot end the work.
        needs: what runs need, as the user has given it.
        function: the function whose runs alone count, if so.
        flush_sec: as in ``run``.
        tracker_timeout: as in ``run``.
        runs_per_job: after so many runs a pilot ends; ``None`` for any number.
        runs_at_once: how many runs a pilot has under way at a time.
        grace: seconds before the end of a job's time at which it gets SIGTERM.
    """

    root: Path
    plan: Path
    specs: tuple[RunSpec, ...]
    groups: tuple[Mapping[str, float], ...]
    keys: Mapping[str, str]
    ended: Mapping[str, str]
    since: float
    busy: Mapping[str, Path]
    run_one: DistantRun
    retry: RetryRule
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None
    needs: Mapping[str, Any] | None = None
    function: str | None = None
    flush_sec: float | None = 1.0
    tracker_timeout: float = 10.0
    runs_per_job: int | None = None
    runs_at_once: int = 1
    grace: float = 60.0

    def save(self, folder: Path) -> None:
        """Write it into a folder that nobody else can write.

        Raises:
            StoreError: the folder belongs to somebody else.
            OSError: it cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        write_bytes(str(folder / _FILE), pickle.dumps(self))

    @staticmethod
    def load(folder: Path) -> Work:
        """Read what :meth:`save` has written.

        Raises:
            StoreError: it belongs to another user, or others can write it.
            OSError: it cannot be read.
        """
        _refuse_foreign(folder)
        work: Work = pickle.loads((folder / _FILE).read_bytes())
        return work


def code_folder(launch_id: str, given: str | None = None) -> Path:
    """Return the folder for the code of a launch; it need not exist."""
    base = given or os.environ.get(FOLDER) or "~/.local/state/ztxexp"
    return Path(base).expanduser().absolute() / launch_id


def _refuse_foreign(folder: Path) -> None:
    if not hasattr(os, "getuid"):  # Windows
        return
    with contextlib.suppress(FileNotFoundError):
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise StoreError(
                f"{folder} belongs to somebody else, or others can write it: what lies there is "
                f"executed. Remove it, or set {FOLDER} to a folder of your own"
            )
