"""What a results root knows of each configuration: which run of it counts, and how that one ended.

Nothing is written here, dead runs are recognised and not closed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp_core.errors import ConfigError
from ztxexp_core.identity import VERSION, config_identity
from ztxexp_core.storage.index import Kind, no_garbage_collection, read_all
from ztxexp_core.storage.liveness import as_it_is, owner_is_dead
from ztxexp_core.storage.objects import Object, Objects
from ztxexp_core.storage.store import attempt_of, is_ours, run_names
from ztxexp_core.types import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)

_log = logging.getLogger("ztxexp")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run on disk, as far as it matters for what is to be run next.

    Attributes:
        run_id: name of its folder.
        folder: the folder, below the root as that was given (it may be relative).
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

    run_id: str
    folder: Path
    status: str
    attempt: int = 1
    reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    started_at: str = ""
    owner_alive: bool | None = None

    @classmethod
    def of(cls, folder: Path, run: dict[str, Any]) -> PastRun:
        """Make one of a folder and its ``run.json``."""
        status, alive = str(run.get("status")), None
        if status == RUN_STATUS_RUNNING:
            run = as_it_is(run, folder)
            status = str(run.get("status"))
            if status == RUN_STATUS_RUNNING and owner_is_dead(run, folder) is False:
                alive = True
        error_type = _text(run, "error_type")
        reason = _text(run, "reason")
        if status == RUN_STATUS_FAILED and not reason:  # 1.0.3 wrote none
            reason = "interrupted" if error_type == "KeyboardInterrupt" else "exception"
        return cls(
            folder.name,
            folder,
            status,
            attempt_of(run),
            reason,
            error_type,
            _text(run, "error_message"),
            _text(run, "started_at") or "",
            alive,
        )

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


def read_history(
    root: str | Path,
    ignore_keys: Collection[str] = (),
    statuses: Collection[str] = VALID_RUN_STATUSES,
) -> dict[str, PastRun]:
    """Return, for each configuration that has been run below a root, the run that counts.

    That is the first one that succeeded; else one that is under way by a living process; else the
    last one. Damaged records are left out and named in the log; a root that does not exist has no
    history.

    Args:
        root: folder of runs.
        ignore_keys: keys that do not count, as in :func:`ztxexp_core.identity.config_identity`.
        statuses: look only at records that say one of these.

    Returns:
        Identity to run.

    Example:
        >>> read_history("./results")[config_identity({"lr": 0.1})].status
        'succeeded'
    """
    found: dict[str, PastRun] = {}
    with no_garbage_collection():
        for name, run, identity in _identified(str(root), ignore_keys, tuple(statuses)):
            past = PastRun.of(Path(root, name), run)
            earlier = found.get(identity)
            if earlier is None or past._counts_more_than(earlier):
                found[identity] = past
    return found


def _identified(
    root: str, ignore_keys: Collection[str], statuses: Collection[str]
) -> Iterator[tuple[str, Object, str]]:
    """Yield name, record and identity of the runs that have one of some statuses."""
    names = run_names(root)
    (runs,) = read_all(root, names, [Kind("run.json")]) if names else (Objects(0),)
    known = zip(names, runs.all(), strict=True)
    records = {
        name: run
        for name, run in known
        # A damaged status may be a list, which no set can be asked about.
        if run
        and is_ours(run.get("schema_version"), f"{root}/{name}/run.json")
        and run.get("status") in statuses
    }
    identities = {} if ignore_keys else {name: _stored(run) for name, run in records.items()}
    unknown = [name for name in records if not identities.get(name)]
    identities.update(_found(root, unknown, ignore_keys))
    for name, run in records.items():
        identity = identities.get(name)
        if identity is not None:
            yield name, run, identity


def _stored(run: Mapping[str, Any]) -> str | None:
    stored = run.get("identity")
    return stored if isinstance(stored, str) and stored.startswith(_VERSION) else None


def _found(root: str, names: list[str], ignore_keys: Collection[str]) -> dict[str, str | None]:
    """Return the identities of configurations whose runs do not say them, by the runs' names."""
    if not names:
        return {}
    if not ignore_keys:  # as for all the runs of 1.0.3
        kind = Kind("config.json", _identity_alone, f"identity-{VERSION}")
        (of_names,) = read_all(root, names, [kind])
        return dict(zip(names, of_names.column("identity"), strict=True))
    (configs,) = read_all(root, names, [Kind("config.json")])
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
