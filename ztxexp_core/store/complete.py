"""Whether the files of a success are as long as its ``run.json`` says.

After a power cut a file system may hold the record of a success and none of its metrics. So the
record carries the size, and a checksum, of what belongs to it. A success whose files are shorter,
or hold zeros, counts as not done: it is shown as failed, named, and run again.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Mapping
from typing import Any

from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED
from ztxexp_core.store.files import RunFiles, asked_again, known_record, open_regular, warn_once

FILES = "files"
"""The field of ``run.json``: by name of a file, its size in bytes and, of whole files, a CRC-32."""

INCOMPLETE = "incomplete"
"""The ``reason`` of a success that lacks a part of its files."""

WHOLE_FILES = ("config.json", "metrics.json")
GROWING_FILES = ("metrics.jsonl", "extras.jsonl")  # a process that the run has left may add lines


def mark_of(data: bytes) -> list[int]:
    """Return the size of a file's content and its checksum, as ``run.json`` holds them."""
    return [len(data), zlib.crc32(data)]


def sizes_of_lines(run_dir: str) -> dict[str, list[int]]:
    """Return the sizes of a run's files of lines, by name, where there are any."""
    sizes = {}
    for name in GROWING_FILES:
        with contextlib.suppress(OSError):  # then a part that is lacking is not noticed
            size = _size(f"{run_dir}/{name}")
            if size:
                sizes[name] = [size]
    return sizes


def lacking_part(run: Mapping[str, Any], run_dir: str | os.PathLike[str]) -> str | None:
    """Return what the files of a success lack; ``None`` where nothing is known to be lacking.

    Args:
        run: its ``run.json``; one of an earlier version does not say what belongs to it.
        run_dir: its folder.

    Example:
        >>> lacking_part(run, run_dir)
        'metrics.json has 0 of 57 bytes'
    """
    files = run.get(FILES)
    if not isinstance(files, dict) or run.get("status") != RUN_STATUS_SUCCEEDED:
        return None
    for name in (*WHOLE_FILES, *GROWING_FILES):
        mark = files.get(name)
        wanted = mark[0] if isinstance(mark, list) and mark else None
        if not isinstance(wanted, int):
            continue
        try:
            size = _size(f"{run_dir}/{name}")
            if size < wanted:
                return f"{name} has {size} of {wanted} bytes"
            if name in WHOLE_FILES and _begins_with_zero(f"{run_dir}/{name}"):
                return f"{name} holds zeros in the place of its {wanted} bytes"
        except (OSError, ValueError):  # it is there and cannot be asked
            continue
    return None


def as_complete(run: dict[str, Any], run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Return ``run.json``; a success that lacks a part of its files is shown as ``failed``."""
    lacks = lacking_part(run, run_dir)
    if lacks is None:
        return run
    problem = f"{lacks} (a power cut?); the run counts as not done"
    warn_once(os.fspath(run_dir), problem, "incomplete %s: %s")
    fields = {"error_type": "RunIncomplete", "error_message": lacks, "reason": INCOMPLETE}
    return {**run, **fields, "status": RUN_STATUS_FAILED}


def known_run(run_dir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read a run's record, see :func:`as_complete`; ``None`` if it is missing or damaged.

    Raises:
        OSError: it cannot be read, so nobody knows what it says.
    """
    run = known_record(RunFiles(os.fspath(run_dir)).run)
    return None if run is None else as_complete(run, run_dir)


def _size(path: str) -> int:
    try:
        return asked_again(os.stat, path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _begins_with_zero(path: str) -> bool:
    """Return whether a file was given its length and not its content, as some file systems do."""
    with open(open_regular(path), "rb", buffering=0) as file:
        return file.read(1) == b"\0"
