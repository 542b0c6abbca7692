"""Which configurations below a results root are done."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from ztxexp_core.errors import ConfigError
from ztxexp_core.identity import VERSION, config_identity
from ztxexp_core.store import iter_runs, read_record
from ztxexp_core.types import RUN_STATUS_SUCCEEDED

_log = logging.getLogger("ztxexp")


def completed_identities(root: str | Path, ignore_keys: Collection[str] = ()) -> set[str]:
    """Return the identities of all configurations below a root that have succeeded.

    Damaged records are left out and named in the log; a root that does not exist has none.

    Args:
        root: folder of runs.
        ignore_keys: keys that do not count, as in :func:`ztxexp_core.identity.config_identity`.
    """
    done = set()
    for folder, run in iter_runs(root):
        if run.get("status") == RUN_STATUS_SUCCEEDED:
            stored = None if ignore_keys else run.get("identity")
            if not (isinstance(stored, str) and stored.startswith(f"{VERSION}:")):
                stored = _computed_identity(f"{folder}/config.json", ignore_keys)
            if stored is not None:
                done.add(stored)
    return done


def _computed_identity(path: str, ignore_keys: Collection[str]) -> str | None:
    config = read_record(path)
    if config is None:
        return None
    try:
        return config_identity(config, ignore_keys)
    except ConfigError as exc:  # a hostile file: nested without end
        _log.warning("left out %s: %s", path, exc)
        return None
