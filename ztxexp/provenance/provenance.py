"""Where a launch comes from: commit, what is not committed, packages, code, machine, command line.

Found once per launch, not per run. What is large is kept once per root: in ``.provenance`` below
it, in files named after the hash of what they hold, so that launches share what they have in
common; the runs name them in ``meta.json``. The environment is never recorded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import platform
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.provenance.code_identity import CodeIdentity, code_of
from ztxexp.provenance.git_state import Looking, Place, Uncommitted, find_place
from ztxexp.provenance.masking import command_line, masked_command
from ztxexp.provenance.packages import from_requirements, installed, to_requirements
from ztxexp.text.terminal import switched_off
from ztxexp_core.records import RunMetadata
from ztxexp_core.store.run_folder import open_regular, write_bytes

_log = logging.getLogger("ztxexp")

FOLDER = ".provenance"
VARIABLE = "ZTXEXP_RECORD_DIFF"
PATCH, PACKAGES = ".patch", ".txt"

_NAME = re.compile(r"[0-9a-f]{64}")
_READ_LIMIT = 64 * 2**20


def describe_launch(
    template: RunMetadata | None,
    function: Any = None,
    root: str | Path | None = None,
    record_diff: bool | None = None,
) -> RunMetadata:
    """Return the metadata that all runs of a launch share; what the template says is kept.

    Args:
        template: given by the user; ``None`` for nothing. Where it names a commit, git is not
            asked for anything.
        function: the experiment function; it is not called.
        root: the results root, in which the uncommitted diff and the packages are kept; ``None``
            for nowhere, and then neither is looked for.
        record_diff: whether the diff is kept; ``None`` asks ``ZTXEXP_RECORD_DIFF`` (0 for no).
    """
    given = template or RunMetadata()
    place = None if given.git_commit else find_place()
    found: dict[str, Any] = {
        "git_commit": place and place.commit,
        "git_branch": place and place.branch,
        "git_folder": place and place.folder if place and place.top else None,
        "python_version": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "started_cmd": masked_command(sys.argv),
        "command": command_line(sys.orig_argv),
        "extras": {},
    }
    code = CodeIdentity()
    if root is None:
        pass
    elif place is None or place.top is None:
        code = code_of(function)
        found.update(_packages(root))
    else:
        with Looking(place, root) as looking:  # git works meanwhile
            code = code_of(function)
            found.update(_packages(root))
            found.update(_diff(looking.found(), root, record_diff))
    found.update(_code(code, place))
    missing = {name: value for name, value in found.items() if getattr(given, name) is None}
    return dataclasses.replace(given, **missing)


def _code(code: CodeIdentity, place: Place | None) -> dict[str, Any]:
    file = code.file
    if file is not None and place is not None and place.top is not None:
        real = Path(os.path.realpath(file))
        file = real.relative_to(place.top).as_posix() if real.is_relative_to(place.top) else file
    return {
        "function": code.name,
        "function_file": file,
        "function_hash": code.hash,
        "module_hash": code.module_hash,
    }


def _packages(root: str | Path) -> dict[str, Any]:
    return {"packages": _kept(root, PACKAGES, to_requirements(installed()).encode())}


def _diff(changes: Uncommitted, root: str | Path, record: bool | None) -> dict[str, Any]:
    name, note = None, changes.note
    if not is_recorded(record):
        note = None if changes.dirty is False else "not recorded: switched off"
    elif changes.patch:
        name = _kept(root, PATCH, changes.patch)
        note = note if name else "not recorded: it could not be written"
    return {"git_dirty": changes.dirty, "git_diff": name, "git_diff_note": note}


def is_recorded(asked: bool | None = None) -> bool:
    """Tell whether the uncommitted diff is recorded.

    Args:
        asked: what the launch says; ``None`` leaves it to the environment variable
            ``ZTXEXP_RECORD_DIFF`` (``0``, ``off``, ``false`` and ``no`` mean none).
    """
    return not switched_off(VARIABLE) if asked is None else asked


# ---- kept once for all runs ------------------------------------------------------------------


def _kept(root: str | Path, ending: str, data: bytes) -> str | None:
    """Keep something under a root, once; returns its name, ``None`` where that failed."""
    name = content_name(data)
    path = _path(root, name, ending)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) != len(data):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_bytes(path, data)
        else:
            os.utime(path)  # gc() leaves alone what may be about to be named
    except OSError as exc:  # no launch is worth less because of it
        _log.warning("%s could not be written (%s); going on without it", path, exc.strerror)
        return None
    return name


def content_name(data: bytes) -> str:
    """Return the name under which something is kept: the SHA-256 of what it holds."""
    return hashlib.sha256(data).hexdigest()


def _path(root: str | Path, name: str, ending: str) -> str:
    return os.path.join(root, FOLDER, name + ending)


def kept(root: str | Path, name: Any, ending: str) -> tuple[Path, bytes] | None:
    """Return the file that a run names and what it holds; ``None`` where it is not there, whole.

    Args:
        root: the results root.
        name: as ``meta.json`` has it; anybody may have written it.
        ending: ``PATCH`` or ``PACKAGES``.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    path = _path(root, name, ending)
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(_READ_LIMIT)
    except (OSError, ValueError):
        return None
    return (Path(path), data) if content_name(data) == name else None


def packages_of(root: str | Path, meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages that were installed when a run was launched, and their versions.

    Args:
        root: the results root.
        meta: what the run's ``meta.json`` says.

    Returns:
        Version by normalised name; empty where it was not recorded, or is gone or damaged.

    Example:
        >>> packages_of("./results", meta)["numpy"]
        '2.1.0'
    """
    found = kept(root, meta.get("packages"), PACKAGES)
    return from_requirements(found[1].decode(errors="replace")) if found else {}
