"""Names and values as MLflow takes them: within its limits, and nothing dropped without a word."""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ztxexp_core import encode_json, flat, plain

# Limits of MLflow (mlflow.utils.validation), the lowest of the versions that this works with.
PARAM_LENGTH, TAG_LENGTH, _NAME_LENGTH = 6000, 5000, 250
_BYTES_PER_BATCH = 900_000  # of 1 MB
_ROW_BYTES = 150  # of a row besides its name and value
_BAD_CHARACTERS = re.compile(r"[^/\w.\- ]" if os.name == "nt" else r"[^/\w.\- :]")
_NON_FINITE = ("NaN", "Infinity", "-Infinity")


class Names(dict[str, str]):
    """Names as MLflow takes them: allowed characters only, not too long, one for each name.

    Args:
        kind: what they name.
        logger: told which ones are changed.
        taken: names that are not free.
    """

    def __init__(self, kind: str, logger: logging.Logger, taken: Iterable[str] = ()):
        super().__init__()
        self._kind, self._logger, self._taken = kind, logger, set(taken)

    def __missing__(self, name: str) -> str:
        parts = _BAD_CHARACTERS.sub("_", name).split("/")
        # MLflow reads names as paths and refuses those that lead elsewhere.
        safe = "/".join(part for part in parts if part not in ("", ".", "..")) or "_"
        if len(safe) > _NAME_LENGTH:
            safe = safe[:_NAME_LENGTH].rstrip("/.")
        chosen, number = safe, 1
        while chosen in self._taken:
            number += 1
            chosen = f"{safe[: _NAME_LENGTH - 5]}_{number}"
        if chosen != name:
            self._logger.warning("MLflow gets the %s %r as %r", self._kind, name, chosen)
        self._taken.add(chosen)
        self[name] = chosen
        return chosen


def checked_tags(tags: Mapping[str, str], names: Names, logger: logging.Logger) -> dict[str, str]:
    """Return tags as MLflow takes them."""
    for name, text in tags.items():
        if len(text) > TAG_LENGTH:
            logger.warning("MLflow gets only the beginning of the long tag %s", name)
    return {names[name]: cut(text, TAG_LENGTH) for name, text in tags.items()}


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested parameters as dotted names and texts.

    Raises:
        ConfigError: a value has no plain form.
    """
    return {name: text_of(value) for name, value in flat(plain(params))}


def cut(text: str, length: int) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= length else text[: length - 3] + "..."


def milliseconds(timestamp: object) -> int | None:
    """Return an ISO 8601 time as MLflow has it; ``None`` for what is none."""
    try:
        moment = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    except ValueError:
        return None
    return int(moment.timestamp() * 1000)


def now() -> int:
    """Return the present time, in milliseconds."""
    return int(time.time() * 1000)


def text_of(value: Any) -> str:
    """Return a plain value as the text of a parameter."""
    return encode_json(value).decode() if isinstance(value, (list, dict)) else str(value)


def is_number(value: Any) -> bool:
    """Tell whether a plain value is a figure; NaN and infinities come as texts."""
    return (isinstance(value, (int, float)) or value in _NON_FINITE) and not isinstance(value, bool)


def as_float(value: float | str) -> float:
    """Return a figure as a float."""
    try:
        return float(value)
    except OverflowError:  # an integer larger than any float
        return float("-inf" if str(value).startswith("-") else "inf")


def same_figure(figure: float, stands: float | None) -> bool:
    """Tell whether a figure is the one that stands in MLflow."""
    largest = sys.float_info.max  # as which databases keep infinity
    return stands is not None and (
        (figure != figure and stands != stands)
        or max(min(figure, largest), -largest) == max(min(stands, largest), -largest)
    )


def batches(rows: Sequence[Any], most: int) -> Iterator[list[Any]]:
    """Split rows with a ``key`` and a ``value`` into lists that MLflow takes in one request."""
    batch: list[Any] = []
    size = 0
    for row in rows:
        more = len(json.dumps([row.key, row.value])) + _ROW_BYTES
        if batch and (len(batch) == most or size + more > _BYTES_PER_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def files_below(path: Path, name: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Give the files at or below a path by their names, each with what changes when it does."""
    walk = ((folder, file) for folder, _, files in os.walk(path) for file in sorted(files))
    for place in [path] if path.is_file() else (Path(*found) for found in walk):
        if place.is_file():  # no link that leads nowhere
            known = place.stat()
            below = posixpath.join(name, place.relative_to(path).as_posix())
            yield posixpath.normpath(below), (known.st_size, known.st_mtime_ns)
