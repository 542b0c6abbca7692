"""Tags that a run gets after its start.

The tags of its launch stand in ``run.json``, which belongs to the process that carries the run out:
it replaces the record when the run ends, and again when the run is resumed. So what is set later
stands beside it, in ``tags.jsonl``: a line each time, ``{"at": ..., "set": {"stage": "final",
"good": null}, "removed": ["draft"]}``, where ``null`` is a word without a value. Lines are only
appended, so two processes that tag one run at once lose nothing, and no end is overwritten.

Readers see the record with these tags in it. Its cache goes by the dates of ``run.json``; so that
it notices, whoever has appended a line renews the date of that file's last *change* (``ctime``),
not the one of its content, which is a sign of life. The record of a run under way is not touched:
readers look at the tags of such runs each time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.files import CLOEXEC, RunFiles, known_record, refuse_link, utc_now
from ztxexp_core.store.lines import JsonlWriter, read_jsonl

Tags = dict[str, str | None]
"""A tag's name to its value; ``None`` for a word."""

_MOST = 500  # characters of a name or a value


def as_tags(recorded: Any) -> Tags:
    """Return what a record holds as ``tags``: a mapping, or a list of texts.

    Example:
        >>> as_tags(["good", "stage=final"])
        {'good': None, 'stage': 'final'}
    """
    if isinstance(recorded, dict):
        return {
            str(name): str(value) if value not in ("", None) else None
            for name, value in recorded.items()
        }
    tags: Tags = {}
    for text in recorded if isinstance(recorded, list) else ():
        if isinstance(text, str):
            name, is_pair, value = text.partition("=")
            tags[name] = value if is_pair else None
    return tags


def tag_texts(recorded: Any) -> list[str]:
    """Return tags as people write them, ``key=value`` or ``word``."""
    tags = as_tags(recorded)
    return [name if value is None else f"{name}={value}" for name, value in tags.items()]


def with_tags(run: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a run's record with the tags that were set later; the same where there are none.

    They are a list while all are words, and a mapping as soon as one has a value; there a word is
    a key with an empty text.

    Args:
        run: its ``run.json``.
        folder: its folder.
    """
    path = f"{folder}/tags.jsonl"
    if not os.path.lexists(path) or os.path.islink(path):
        return run
    recorded = run.get("tags")
    tags = as_tags(recorded)
    for row in read_jsonl(path):
        set_now, removed = row.get("set"), row.get("removed")
        for name in removed if isinstance(removed, list) else ():
            tags.pop(name, None) if isinstance(name, str) else None
        for name, value in (set_now if isinstance(set_now, dict) else {}).items():
            tags[name] = None if value is None else str(value)
    if isinstance(recorded, dict) or any(value is not None for value in tags.values()):
        return {**run, "tags": {name: value or "" for name, value in tags.items()}}
    return {**run, "tags": list(tags)}


def checked_tags(tags: Mapping[str, Any]) -> Tags:
    """Return tags to be set, their values as texts.

    Raises:
        ConfigError: a name or a value that no tag can have.
    """
    checked: Tags = {}
    for name, value in tags.items():
        if value is not None and not isinstance(value, (str, int, float)):
            raise ConfigError(f"tag {name!r}: its value must be a text or a number, got {value!r}")
        checked[_checked(name, "a tag", "=")] = None if value is None else _value(name, value)
    return checked


def _value(name: str, value: str | float) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _checked(text, f"the value of tag {name!r}")


def _checked(text: Any, what: str, without: str = "") -> str:
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{what} must be a text that is not empty, got {text!r}")
    if len(text) > _MOST:
        raise ConfigError(f"{what} has {len(text)} characters; {_MOST} at most")
    if not text.isprintable() or any(sign in text for sign in without):
        odd = f"{without!r}, " if without else ""
        raise ConfigError(f"{what} must not hold {odd}line breaks or control characters: {text!r}")
    return text


def change_tags(folder: str, tags: Mapping[str, Any], removed: Sequence[str] = ()) -> list[str]:
    """Set and remove tags of a run, whether it is under way or has ended.

    Args:
        folder: the run's folder.
        tags: name to value, ``None`` for a word.
        removed: names to remove; one that is not there is no error.

    Returns:
        The run's tags, as texts.

    Raises:
        ConfigError: a name or a value that no tag can have; or there is no run.
        StoreError: it cannot be written.
    """
    new = checked_tags(tags)
    names = [_checked(name, "a tag to remove") for name in removed]
    files = RunFiles(folder)
    try:
        if known_record(files.run) is None:
            raise ConfigError(f"{folder} holds no run that can be read")
        for path in (folder, files.tags):
            refuse_link(path)
        _renew(files.run)  # first: where that is forbidden, nothing is written
        if new or names:
            with JsonlWriter(files.tags) as lines:
                lines.append({"at": utc_now(), "set": new, "removed": names})
            _renew(files.run)
        return tag_texts(with_tags(known_record(files.run) or {}, folder).get("tags"))
    except OSError as exc:
        problem = exc.strerror or str(exc)
        raise StoreError(exc.errno, f"the run cannot be tagged ({problem})", folder) from exc


def _renew(path: str) -> None:
    """Let caches of a record notice that something beside it has changed.

    A record that says that the run is under way is left alone. When it is replaced by one that says
    how the run has ended, the tags are there already, so whoever reads that one sees them.
    """
    if (known_record(path) or {}).get("status") == RUN_STATUS_RUNNING:
        return
    fd = os.open(path, os.O_RDONLY | CLOEXEC)
    try:
        status = os.fstat(fd)
        try:
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        except PermissionError:  # another user's file that this one may write
            os.utime(fd)
    finally:
        os.close(fd)


def split_tags(words: Iterable[str]) -> tuple[Tags, list[str]]:
    """Return what is to be set and to be removed, of texts as they are typed.

    Example:
        >>> split_tags(["stage=final", "good", "-draft"])
        ({'stage': 'final', 'good': None}, ['draft'])
    """
    tags: Tags = {}
    removed: list[str] = []
    for word in words:
        if word.startswith("-"):
            name = word[1:].partition("=")[0]
            removed.append(name)
            tags.pop(name, None)
            continue
        name, is_pair, value = word.removeprefix("+").partition("=")
        tags[name] = value if is_pair else None
        with contextlib.suppress(ValueError):
            removed.remove(name)
    return checked_tags(tags), removed
