"""Where the runs come from, a line each: code, commits, machines, packages, commands.

It is what ``meta.json`` says of every run, counted: what all runs share stands once, and where they
differ, it says how many runs have which.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ztxexp.analysis.run_table import RunTable
from ztxexp.provenance.provenance import packages_of
from ztxexp.report.columns import one_line
from ztxexp.results.code_versions import versions
from ztxexp.results.columns import ColumnTable, Object
from ztxexp.results.index import Kind, read_all
from ztxexp.text.format import plural
from ztxexp_core.store.run_folder import run_names

_FIELDS = (
    "git_commit",
    "git_branch",
    "git_dirty",
    "git_diff",
    "python_version",
    "platform",
    "hostname",
    "command",
    "packages",
    "function",
    "function_file",
    "dataset_version",
)
# /venv/bin/python /venv/bin/ztxexp is ztxexp; /venv/bin/python train.py is python train.py.
_INTERPRETER = re.compile(
    r"^(?:(?:\S*/)?python[\d.]*\s+)?(?:\S*/)(?P<program>ztxexp|python[\d.]*)(?=\s|$)"
)
_SHOWN = 8  # values of one label
_COMMANDS_SHOWN = 12
_COMMAND_WIDTH = 2_000
_KNOWN_PACKAGES = (
    "ztxexp", "torch", "jax", "tensorflow", "keras", "transformers", "lightning", "numpy", "scipy",
    "scikit-learn", "xgboost", "lightgbm", "pandas",
)  # fmt: skip


def _derive(path: str, meta: Object) -> Object:
    return {name: meta.get(name) for name in _FIELDS}


ORIGINS = Kind("meta.json", _derive, "origin-2")
"""What is known of where runs come from."""


def origins_of(table: RunTable) -> ColumnTable:
    """Return what ``meta.json`` says of each run."""
    root = table.runs.root
    every = run_names(root)
    (known,) = read_all(root, every, [ORIGINS])
    position = {name: at for at, name in enumerate(every)}
    places = [position[name] for name in table.runs.names if name in position]
    return known.chosen(places) if len(places) == len(table) else ColumnTable(len(table))


def provenance(table: RunTable) -> list[tuple[str, str]]:
    """Return labels and texts, a line each.

    Args:
        table: the runs.
    """
    if not len(table):
        return []
    origins = origins_of(table)
    lines = [
        *_code(table, origins),
        *_commits(origins),
        *_counted("Python", origins.column("python_version")),
        *_counted("platform", origins.column("platform")),
        *_counted("host", origins.column("hostname")),
        *_packages(table.runs.root, origins),
        *_counted("data", origins.column("dataset_version")),
        *_commands(origins.column("command")),
    ]
    return [(label, text) for label, text in lines if text]


def _counted(label: str, cells: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield a line for each value, the most frequent first, with how many runs have it."""
    texts = [None if cell is None else one_line(str(cell)) for cell in cells]
    count = Counter(text for text in texts if text)
    for text, n in count.most_common(_SHOWN):
        yield label, text if n == len(texts) else f"{text}: {plural(n, 'run')}"
    more = count.most_common()[_SHOWN:]
    if more:
        runs = plural(sum(n for _, n in more), "run")
        yield label, f"{plural(len(more), 'other')}: {runs}"


def _code(table: RunTable, origins: ColumnTable) -> Iterator[tuple[str, str]]:
    """Yield a line for each version of the code of each function."""
    functions, files = origins.column("function"), origins.column("function_file")
    commits = origins.column("git_commit")
    by_version: dict[str, list[int]] = {}
    for at, name in enumerate(table.code):
        by_version.setdefault(name or "?", []).append(at)
    for name in versions(table.code)[:_SHOWN]:
        members = by_version[name]
        what = _shared(functions, members)
        where = _shared(files, members)
        commit = _shared([_short(one) for one in commits], members)
        parts = [
            name if name != "?" else "version not known",
            what and one_line(what),
            where and f"in {one_line(where)}",
            commit and f"git {commit}",
        ]
        yield "code", f"{', '.join(filter(None, parts))}: {plural(len(members), 'run')}"


def _shared(cells: Sequence[Any], members: Sequence[int]) -> str | None:
    """Return the values that some runs have, where these are few."""
    values = {str(cells[at]) for at in members if cells[at]}
    return " and ".join(sorted(values)) if 0 < len(values) <= 3 else None


def _short(commit: Any) -> str | None:
    return commit[:12] if isinstance(commit, str) else None


def _commits(origins: ColumnTable) -> Iterator[tuple[str, str]]:
    """Yield a line for each commit, with what was not committed."""
    names = ("git_commit", "git_branch", "git_dirty", "git_diff")
    columns = [origins.column(name) for name in names]
    states = Counter(zip(*map(_hashable, columns), strict=True))
    for (commit, branch, dirty, patch), n in states.most_common(_SHOWN):
        if commit is None:
            if len(states) > 1:
                yield "commit", f"not known: {plural(n, 'run')}"
            continue
        how = "nothing uncommitted" if dirty is False else None
        if dirty:
            how = "with uncommitted changes" + (", kept as a patch" if patch else "")
        on = f"on {branch}" if branch else None
        text = ", ".join(filter(None, [one_line(str(commit)), on and one_line(on), how]))
        yield "commit", f"{text}: {plural(n, 'run')}"


def _hashable(cells: Iterable[Any]) -> list[Any]:
    return [cell if isinstance(cell, (str, bool)) else None for cell in cells]


def _packages(root: str, origins: ColumnTable) -> Iterator[tuple[str, str]]:
    """Yield which packages were installed: a few that are known, and those that differ."""
    names = Counter(one for one in origins.column("packages") if isinstance(one, str))
    lists = {name: packages_of(root, {"packages": name}) for name, _ in names.most_common(_SHOWN)}
    lists = {name: of for name, of in lists.items() if of}
    if not lists:
        return
    first = next(iter(lists.values()))
    every = sorted({package for of in lists.values() for package in of})
    differ = [one for one in every if len({of.get(one) for of in lists.values()}) > 1]
    shown = [f"{one} {first[one]}" for one in _KNOWN_PACKAGES if one in first and one not in differ]
    size = f"{len(first)} installed"
    yield "packages", f"{size}: {', '.join(shown)}" if shown else size
    for package in differ[: 2 * _SHOWN]:
        count: Counter[str] = Counter()
        for name, of in lists.items():
            count[of.get(package, "not installed")] += names[name]
        parts = [f"{version} ({plural(n, 'run')})" for version, n in count.most_common()]
        yield "packages", f"{package} differs: {', '.join(parts)}"
    if len(differ) > 2 * _SHOWN:
        yield "packages", f"{len(differ) - 2 * _SHOWN} more differ"


def typed(command: str) -> str:
    """Return a recorded command line as somebody types it: without the interpreter's path.

    Example:
        >>> typed("/opt/venv/bin/python3 /opt/venv/bin/ztxexp run train.py:train")
        'ztxexp run train.py:train'
    """
    return _INTERPRETER.sub(r"\g<program>", command, count=1)


def _commands(cells: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the command lines, those of the latest runs first."""
    count = Counter(typed(cell) for cell in cells if isinstance(cell, str) and cell)
    latest = list(reversed(count))
    for command in latest[:_COMMANDS_SHOWN]:
        yield "command", f"{one_line(command, _COMMAND_WIDTH)}: {plural(count[command], 'run')}"
    if len(latest) > _COMMANDS_SHOWN:
        yield "command", f"{len(latest) - _COMMANDS_SHOWN} more"
