"""What a results root knows of each configuration: which run of it counts, and how that one ended.

Nothing is written here, dead runs are recognised and not closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.columns import Object, Objects
from ztxexp.results.index import Kind, no_garbage_collection, read_all
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)
from ztxexp_core.store.liveness import as_it_is, owner_is_dead
from ztxexp_core.store.run_folder import attempt_of, is_ours, run_names
from ztxexp_core.values.identity import VERSION, config_identity

_log = logging.getLogger("ztxexp")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run on disk, as far as it matters for what is to be run next.

    Attributes:
        root: the results root as it was given (it may be relative).
        run_id: name of its folder.
        status: ``succeeded``, ``failed``, ``skipped`` or ``running``; a run whose process has gone
            without a word is ``failed``.
        attempt: number of its last attempt, 1 where the record does not say.
        reason: finer cause of a failure, such as ``exception``, ``timeout``, ``lost``.
        error_type: name of the exception's class.
        error_message: its text.
        started_at: ISO 8601, empty where the record does not say.
        owner_alive: of a ``running`` one, whether its process lives; ``None`` where that cannot be
            told from here.
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

    @classmethod
    def of(cls, root: Path, name: str, run: dict[str, Any]) -> PastRun:
        """Make one of a root, the name of the run's folder, and its ``run.json``."""
        status, alive = str(run.get("status")), None
        if status == RUN_STATUS_RUNNING:
            folder = root / name
            run = as_it_is(run, folder)
            status = str(run.get("status"))
            if status == RUN_STATUS_RUNNING and owner_is_dead(run, folder) is False:
                alive = True
        error_type = _text(run, "error_type")
        reason = _text(run, "reason")
        if status == RUN_STATUS_FAILED and not reason:  # 1.0.3 wrote none
            reason = "interrupted" if error_type == "KeyboardInterrupt" else "exception"
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
        """Tell whether this one stands for its configuration; ``other`` has the smaller name."""
        if self.succeeded or other.succeeded:
            return not other.succeeded
        if self.owner_alive is not other.owner_alive:
            return self.owner_alive is True
        known = self.started_at and other.started_at
        return not known or self.started_at >= other.started_at


class History(Mapping[str, PastRun]):
    """For the identity of each configuration that has been run, the run that counts.

    A :class:`PastRun` is made when it is asked for.
    """

    def __init__(self, root: Path, names: Sequence[str], runs: Objects):
        self._root = root
        self._names = names
        self._run_at = runs.getter()
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
        return PastRun.of(self._root, self._names[place], self._run_at(place) or {})

    def count_succeeded(self, identity: str, place: int) -> None:
        """Let a run that has succeeded count, unless an earlier one does."""
        self._places.setdefault(identity, place)

    def count_other(self, identity: str, place: int) -> None:
        """Let another run count if it counts more than the one before."""
        known = self._places.get(identity)
        past = None if known is not None and self[identity].succeeded else self._past(place)
        if past and (known is None or past._counts_more_than(self[identity])):
            self._places[identity], self._made[identity] = place, past


def read_history(
    root: str | Path,
    ignore_keys: Collection[str] = (),
    statuses: Collection[str] = VALID_RUN_STATUSES,
    told: Callable[[int, int], None] | None = None,
) -> Mapping[str, PastRun]:
    """Return, for each configuration that has been run below a root, the run that counts.

    That is the first one that succeeded; else one that is under way by a living process; else the
    last one. Damaged records are left out and named in the log; a root that does not exist has no
    history.

    Args:
        root: folder of runs.
        ignore_keys: keys that do not count, as in
            :func:`~ztxexp_core.values.identity.config_identity`.
        statuses: look only at records that say one of these.
        told: called every now and then with how many files of a kind were read, and have to be.

    Returns:
        Identity to run.

    Example:
        >>> read_history("./results")[config_identity({"lr": 0.1})].status
        'succeeded'
    """
    with no_garbage_collection():
        names = run_names(root)
        kinds = [Kind("run.json")]
        (runs,) = read_all(str(root), names, kinds, told) if names else (Objects(0),)
        found = History(Path(root), names, runs)
        said = runs.column("status")
        places = _places_of(str(root), names, runs, said, statuses)
        identities = _identities(str(root), names, runs, places, ignore_keys, told)
        others = []
        for place, identity in zip(places, identities, strict=True):
            if identity is not None:
                if said[place] == RUN_STATUS_SUCCEEDED:
                    found.count_succeeded(identity, place)
                else:
                    others.append((identity, place))
        for identity, place in others:
            found.count_other(identity, place)
    return found


def _places_of(
    root: str, names: Sequence[str], runs: Objects, said: list[Any], statuses: Collection[str]
) -> list[int]:
    """Return the positions of the records of this schema that say one of some statuses."""
    versions = runs.column("schema_version")
    return [
        place
        for place, status in enumerate(said)
        # A damaged status may be a list, which no set can be asked about.
        if isinstance(status, str)
        and status in statuses
        and is_ours(versions[place], f"{root}/{names[place]}/run.json")
    ]


def _identities(
    root: str,
    names: Sequence[str],
    runs: Objects,
    places: Sequence[int],
    ignore_keys: Collection[str],
    told: Callable[[int, int], None] | None,
) -> list[str | None]:
    """Return the identities of the configurations of some runs; ``None`` where there is none."""
    stored: list[Any] = [None] * len(names) if ignore_keys else runs.column("identity")
    found = [_if_known(stored[place]) for place in places]
    unknown = [number for number, identity in enumerate(found) if identity is None]
    of_names = _found(root, [names[places[number]] for number in unknown], ignore_keys, told)
    for number in unknown:
        found[number] = of_names.get(names[places[number]])
    return found


def _if_known(stored: Any) -> str | None:
    return stored if isinstance(stored, str) and stored.startswith(_VERSION) else None


def _found(
    root: str,
    names: list[str],
    ignore_keys: Collection[str],
    told: Callable[[int, int], None] | None,
) -> dict[str, str | None]:
    """Return the identities of configurations whose runs do not say them, by the runs' names."""
    if not names:
        return {}
    if not ignore_keys:  # as for all the runs of 1.0.3
        kind = Kind("config.json", _identity_alone, f"identity-{VERSION}")
        (of_names,) = read_all(root, names, [kind], told)
        return dict(zip(names, of_names.column("identity"), strict=True))
    (configs,) = read_all(root, names, [Kind("config.json")], told)
    return {
        name: _identity(f"{root}/{name}/config.json", config, ignore_keys)
        for name, config in zip(names, configs.all(), strict=True)
        if config is not None
    }


def _identity_alone(path: str, config: Object) -> Object | None:
    identity = _identity(path, config, ())
    return None if identity is None else {"identity": identity}


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
