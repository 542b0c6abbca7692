"""Which versions of the user's code have made some runs: short names, and a warning of mixtures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ztxexp.results.functions import functions_at
from ztxexp.results.selection import RunSet
from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp.text.wording import either

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")


_WIDTH = 60  # of a function's name
_IN_PYTHON = "to_dataframe(code=True) shows which"
_CHOSEN = "ztxexp list shows which, code= and function= choose"
_IN_SHELL = "ztxexp list shows which, --code and --function choose"
_RECORDED = ("code_hash", "code_version", "started_at")  # of run.json


def code_names(runs: RunSet) -> list[str | None]:
    """Return ``v1``, ``v2``, ... for each run, numbered by first use; ``None`` where not known.

    Two hashes of the code are two versions, and so is one hash under two versions that the user has
    stated.
    """
    return runs.code if runs.code is not None else _names(*map(runs.run.column, _RECORDED))


def _names(
    hashes: Iterable[Any], stated: Iterable[Any], started: Iterable[Any]
) -> list[str | None]:
    versions = [
        (code, str(version)) if isinstance(code, str) else None
        for code, version in zip(hashes, stated, strict=True)
    ]
    if len(set(versions)) == 1:  # as in most roots
        return [None if version is None else "v1" for version in versions]
    times = [str(time or "") for time in started]
    order = sorted(range(len(versions)), key=lambda at: (times[at], at))
    names: dict[tuple[str, str], str] = {}
    for at in order:
        version = versions[at]
        if version is not None:
            names.setdefault(version, f"v{len(names) + 1}")
    return [None if version is None else names[version] for version in versions]


def versions(names: Iterable[str | None]) -> tuple[str, ...]:
    """Return each version once, in their order; an unknown one is ``?``.

    Example:
        >>> versions(["v10", "v2", None, "v2"])
        ('v2', 'v10', '?')
    """
    known = set(names)
    order = sorted(filter(None, known), key=lambda name: int(name[1:]))
    return (*order, *(["?"] if None in known else []))


def warn_mixed(what: str, runs: RunSet, names: Sequence[str | None] | None = None) -> None:
    """Log how many runs each version of the code has made, where several have.

    Args:
        what: who asks.
        runs: the runs.
        names: of their versions; numbered among these runs by default.
    """
    names = code_names(runs) if names is None else names
    if len(set(names) - {None}) > 1:
        _warn_mixed(what, makers(runs, names), hint(runs))


def makers(runs: RunSet, names: Sequence[str | None]) -> list[str | None]:
    """Return the version of the code for each run, ``v1``, and where that varies the function, too.

    Example:
        >>> makers(runs, code_names(runs))
        ['v1 of a:train', 'v2 of b:train', None]
    """
    functions = functions_at(runs.root, runs.names)
    if len(set(functions)) == 1:
        return list(names)
    return [
        f"{name} of {cut(sanitize_for_terminal(function), _WIDTH)}" if name and function else name
        for name, function in zip(names, functions, strict=True)
    ]


def hint(runs: RunSet) -> str:
    """Return what shows which run is of which version."""
    return either(_CHOSEN if runs.code is not None else _IN_PYTHON, _IN_SHELL)


def warn_mixed_frame(what: str, frame: pd.DataFrame, keys: Sequence[str]) -> None:
    """Log the same of the rows of ``to_dataframe``, unless they are kept apart by the code.

    Args:
        what: who asks.
        frame: with or without the names of parts before its columns; any other says nothing.
        keys: the columns by which the rows are grouped.
    """
    for prefix in ("", "run."):
        apart = {f"{prefix}{name}" for name in ("code", "code_hash")}
        if f"{prefix}code_hash" in frame and apart.isdisjoint(keys):
            nothing = [None] * len(frame)
            columns = [frame.get(f"{prefix}{name}", nothing) for name in _RECORDED]
            _warn_mixed(what, _names(*columns), _IN_PYTHON)


def _warn_mixed(what: str, names: Sequence[str | None], hint: str) -> None:
    count = Counter(names)
    unknown = count.pop(None, 0)
    if len(count) > 1:
        parts = [f"{number} by {name}" for name, number in sorted(count.items())]
        parts += [f"{unknown} by an unknown one"] if unknown else []
        _log.warning(
            "%s: %s made by %d versions of the code (%s); %s",
            what,
            plural(len(names), "run"),
            len(count),
            ", ".join(parts),
            hint,
        )
