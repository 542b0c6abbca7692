"""What a results root says at one moment: which run of each configuration counts, which are dead.

Nothing is written here but the index; dead runs are recognised and not closed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.columns import ColumnTable, Object
from ztxexp.results.functions import functions_of, is_same_function
from ztxexp.results.index import RECORDS, Kind, read_all, warn_unread
from ztxexp.results.jobs import look_at, use_engines
from ztxexp_core.errors import ConfigError, OptionError, closest
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)
from ztxexp_core.store.files import is_folder
from ztxexp_core.store.heartbeat import stamp
from ztxexp_core.store.liveness import owner_is_dead
from ztxexp_core.store.run_folder import (
    attempt_of,
    effective_record,
    is_known_schema,
    list_root,
)
from ztxexp_core.values.identity import VERSION, config_identity

_log = logging.getLogger("ztxexp")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run on disk, as far as it matters for what is to be run next.

    Attributes:
        root: the results root as it was given (it may be relative).
        run_id: name of its folder.
        status: ``succeeded``, ``failed``, ``skipped`` or ``running``; a run whose process died
            without recording its end is ``failed``.
        attempt: number of its last attempt, 1 where the record does not say.
        reason: finer cause of a failure, such as ``exception``, ``timeout``, ``lost``.
        error_type: name of the exception's class.
        error_message: its text.
        started_at: ISO 8601, empty where the record does not say.
        owner_alive: of a ``running`` one, whether its process lives; ``None`` where that cannot be
            told from here.
        code_hash: of the code that it ran; ``None`` where that is not known.
    """

    root: Path
    run_id: str
    status: str
    attempt: int = 1
    reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    started_at: str = ""
    owner_alive: bool | None = None
    code_hash: str | None = None

    @classmethod
    def of(cls, root: Path, name: str, run: dict[str, Any]) -> PastRun:
        """Make one of a root, the name of the run's folder, and its ``run.json``."""
        status, alive = str(run.get("status")), None
        if status == RUN_STATUS_RUNNING:
            folder = root / name
            run = effective_record(run, folder)
            status = str(run.get("status"))
            if status == RUN_STATUS_RUNNING and owner_is_dead(run, folder) is False:
                alive = True
        error_type = _text(run, "error_type")
        reason = _text(run, "reason")
        if status == RUN_STATUS_FAILED:
            reason = reason_of(reason, error_type)
        return cls(
            root,
            name,
            status,
            attempt_of(run),
            reason,
            error_type,
            _text(run, "error_message"),
            _text(run, "started_at") or "",
            alive,
            _text(run, "code_hash"),
        )

    @property
    def folder(self) -> Path:
        """The run's folder, below the root as that was given."""
        return self.root / self.run_id

    @property
    def succeeded(self) -> bool:
        """Whether it stands for its configuration for good."""
        return self.status == RUN_STATUS_SUCCEEDED

    def _counts_more_than(self, other: PastRun) -> bool:
        """Return whether this one stands for its configuration; ``other`` has the smaller name."""
        if self.succeeded or other.succeeded:
            return not other.succeeded
        if self.owner_alive is not other.owner_alive:
            return self.owner_alive is True
        known = self.started_at and other.started_at
        return not known or self.started_at >= other.started_at


class Snapshot:
    """The runs below a results root at one moment: their names, and what each ``run.json`` says.

    Read once per launch; the history of each configuration and the dead runs are taken from it.

    Args:
        root: folder of runs; one that does not exist holds none.
        on_progress: called every now and then with how many files have been read, of how many.
        make_index: whether an index is made where there is none.

    Attributes:
        root: the folder as it was given.
        taken_at: when it was taken, by the clock of the file system; now, where there is no root.
        names: of the runs' folders, sorted.
        staged: of staging folders, in which runs are being made or have not been made to the end.
    """

    def __init__(
        self,
        root: str | Path,
        on_progress: Callable[[int, int], None] | None = None,
        make_index: bool = True,
    ):
        self.root = Path(root)
        self.taken_at = stamp(root) if is_folder(root) else time.time()
        self.names, self.staged = list_root(root)
        self._on_progress = on_progress
        self._make_index = make_index
        self._histories: dict[Any, History] = {}
        self._runs = self._read(self.names, RECORDS) if self.names else ColumnTable(0)
        self._statuses = self._runs.column("status")
        self._versions = self._runs.column("schema_version")
        self._record_at = self._runs.getter()
        self._asked = False

    def _read(self, names: Sequence[str], kind: Kind) -> ColumnTable:
        root = str(self.root)
        (table,) = read_all(root, names, [kind], self._on_progress, self._make_index)
        unread = {names[at]: why for at, why in table.unread.items()}
        warn_unread(root, unread, ", so what it ran is not known and may run again")
        return table

    def _places(self, statuses: Collection[str]) -> list[int]:
        """Return the positions of the records of this schema that have one of some statuses."""
        versions = self._versions
        return [
            place
            for place, status in enumerate(self._statuses)
            # A damaged status may be a list, which no set can be asked about.
            if isinstance(status, str)
            and status in statuses
            and (
                versions[place] == RUN_SCHEMA_VERSION
                or is_known_schema(versions[place], f"{self.root}/{self.names[place]}/run.json")
            )
        ]

    def identities(self) -> list[str]:
        """Return the identities of the runs' configurations, as far as their records hold them."""
        return [one for one in self._runs.column("identity") if isinstance(one, str)]

    def _ask_engines(self) -> None:
        """Ask in one call about all jobs that runs are said to be under way in."""
        use_engines()
        if not self._asked and RUN_STATUS_RUNNING in self._statuses:
            self._asked = True
            places = self._places({RUN_STATUS_RUNNING})
            look_at((self._record_at(place) or {}).get("owner") for place in places)

    def dead_runs(self) -> list[Path]:
        """Return the folders of runs that say ``running`` although their process has ended."""
        if RUN_STATUS_RUNNING not in self._statuses:
            return []
        self._ask_engines()
        dead = []
        for place in self._places({RUN_STATUS_RUNNING}):
            folder = self.root / self.names[place]
            if owner_is_dead(self._record_at(place) or {}, folder):
                dead.append(folder)
        return dead

    def history(
        self,
        ignore_keys: Collection[str] = (),
        code_hash: str | None = None,
        same_code: bool = False,
        function: str | None = None,
    ) -> History:
        """Return, for each configuration that has been run, the run that counts.

        That is the first one that succeeded; else one that is under way by a living process; else
        the last one. Damaged records are left out and named in the log.

        Args:
            ignore_keys: keys that do not count, as in
                :func:`~ztxexp_core.values.identity.config_identity`.
            code_hash: successes of this version of the code count before those of others.
            same_code: leave out the runs of other versions. One whose version is not known is left
                out where it has succeeded only: nothing says that it is of another version.
            function: leave out the runs that another function or command has made, as far as that
                is known; runs of this very version count whatever their function is called.
        """
        key = (tuple(ignore_keys), code_hash, same_code, function)
        if key in self._histories:
            return self._histories[key]
        self._ask_engines()
        history = self._histories[key] = History(self.root, self.names, self._record_at)
        places = self._places(VALID_RUN_STATUSES)
        codes = self._runs.column("code_hash") if same_code or code_hash is not None else []
        if same_code:
            places = [
                place
                for place in places
                if codes[place] == code_hash
                or (codes[place] is None and self._statuses[place] != RUN_STATUS_SUCCEEDED)
            ]
        elif code_hash is not None:  # the first one counts
            places.sort(key=lambda place: codes[place] != code_hash)
        if function is not None:
            places = self._made_by(function, code_hash, places)
        identities = self._identities(places, ignore_keys)
        others = []
        for place, identity in zip(places, identities, strict=True):
            if identity is None:
                continue
            if self._statuses[place] == RUN_STATUS_SUCCEEDED:
                history.count_succeeded(identity, place)
            else:
                others.append((place, identity))
        for place, identity in sorted(others):
            history.count_other(identity, place)
        return history

    def _made_by(self, function: str, code_hash: str | None, places: list[int]) -> list[int]:
        """Return those of some places whose runs no other function has made."""
        codes = self._runs.column("code_hash")
        if all(code_hash is not None and codes[place] == code_hash for place in places):
            return places
        made_by = functions_of(str(self.root), self.names)
        kept = []
        for place in places:
            name = made_by[place]
            same = name is None or is_same_function(name, function)
            if same or (code_hash is not None and codes[place] == code_hash):
                kept.append(place)
        return kept

    def _identities(self, places: Sequence[int], ignore_keys: Collection[str]) -> list[str | None]:
        """Return the identity of each run's configuration, ``None`` where it has none."""
        if ignore_keys:
            identities: list[str | None] = [None] * len(places)
        else:
            stored = self._runs.column("identity")
            known = (stored[place] for place in places)
            identities = [
                one if isinstance(one, str) and one.startswith(_VERSION) else None for one in known
            ]
        unknown = [number for number, identity in enumerate(identities) if identity is None]
        names = [self.names[places[number]] for number in unknown]
        by_name = self._identities_of_configs(names, ignore_keys) if names else {}
        versions = self._runs.column("code_version") if names else []
        for number, name in zip(unknown, names, strict=True):
            identity, version = by_name.get(name), versions[places[number]]
            identities[number] = f"{identity}@{version}" if identity and version else identity
        return identities

    def _identities_of_configs(
        self, names: list[str], ignore_keys: Collection[str]
    ) -> dict[str, str | None]:
        """Return the identities of configurations whose records do not hold them, by run name."""
        if not ignore_keys:  # as for all runs of 1.0.3
            derived = self._read(names, IDENTITIES)
            return dict(zip(names, derived.column("identity"), strict=True))
        configs = self._read(names, Kind("config.json"))
        return {
            name: _identity(f"{self.root}/{name}/config.json", config, ignore_keys)
            for name, config in zip(names, configs.all(), strict=True)
            if config is not None
        }


class History(Mapping[str, PastRun]):
    """For the identity of each configuration that has been run, the run that counts.

    A :class:`PastRun` is made when it is asked for.
    """

    def __init__(self, root: Path, names: Sequence[str], record_at: Callable[[int], Object | None]):
        self._root = root
        self._names = names
        self._record_at = record_at
        self._places: dict[str, int] = {}
        self._made: dict[str, PastRun] = {}

    def __getitem__(self, identity: str) -> PastRun:
        past = self._made.get(identity)
        if past is None:
            past = self._made[identity] = self._past(self._places[identity])
        return past

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _past(self, place: int) -> PastRun:
        return PastRun.of(self._root, self._names[place], self._record_at(place) or {})

    def count_succeeded(self, identity: str, place: int) -> None:
        """Let a run that has succeeded count, unless an earlier one does."""
        self._places.setdefault(identity, place)

    def count_other(self, identity: str, place: int) -> None:
        """Use this run if it takes precedence over the one before."""
        known = self._places.get(identity)
        past = None if known is not None and self[identity].succeeded else self._past(place)
        if past and (known is None or past._counts_more_than(self[identity])):
            self._places[identity], self._made[identity] = place, past


REASONS = (
    "exception", "killed", "oom", "timeout", "lost", "interrupted", "preempted", "stopped",
    "unrecorded",
)  # fmt: skip
"""Why a run failed, as ``run.json`` has it; beside these there are classes of exceptions."""


def check_reason(word: str) -> None:
    """Refuse a status, and a misspelt reason; other words may be names of exceptions.

    Raises:
        OptionError: it is one of these.
    """
    if word in VALID_RUN_STATUSES:
        raise OptionError(f"{word!r} is a status; retry_failed() alone runs whatever has failed")
    near = closest(word.lower(), REASONS) if word.islower() or word.isupper() else ""
    if near and word not in REASONS:
        raise OptionError(
            f"retry_failed: no run fails with the reason {word!r}{near}; reasons are "
            f"{', '.join(REASONS)}, or classes of exceptions"
        )


def reason_of(reason: str | None, error_type: str | None) -> str:
    """Return the reason of a failure; version 1.0.3 recorded none."""
    return reason or ("interrupted" if error_type == "KeyboardInterrupt" else "exception")


def _identity_alone(path: str, config: Object) -> Object | None:
    identity = _identity(path, config, ())
    return None if identity is None else {"identity": identity}


IDENTITIES = Kind("config.json", _identity_alone, f"identity-{VERSION}")
"""The identities of configurations, for records that do not hold them."""


def _identity(path: str, config: Object, ignore_keys: Collection[str]) -> str | None:
    try:
        return config_identity(config, ignore_keys)
    except ConfigError as exc:  # a hostile file: nested without end
        _log.warning("left out %s: %s", path, exc)
        return None


_VERSION = f"{VERSION}:"


def _text(run: Mapping[str, Any], name: str) -> str | None:
    value = run.get(name)
    return value if isinstance(value, str) else None
