"""Runs of a root by filters, as options of a command line or arguments of a method name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ztxexp.analysis.run_table import RunTable
from ztxexp.results.arguments import Statuses, as_list


def chosen_runs(
    root: str | Path,
    *,
    named: Sequence[str] = (),
    where: str | None = None,
    statuses: Statuses = None,
    tags: str | Sequence[str] | None = None,
    group: str | None = None,
    experiment: str | None = None,
    since: float | None = None,
    function: str | None = None,
    code: str | None = None,
    at: str | int | None = None,
) -> RunTable:
    """Return the runs of a root that pass filters.

    Args:
        root: the results root.
        named: names of runs, as ``ztxexp show`` takes them; none: all.
        where: a condition, such as ``"accuracy > 0.9 and lr in (0.1, 0.01)"``.
        statuses: those to keep; ``None``: all.
        tags: words, or ``key=value``; all must be there.
        group: exact.
        experiment: its name, exact.
        since: only runs that started after this time stamp, in seconds since 1970.
        function: name of a function or command, or a piece.
        code: ``"latest"``, ``"v1"``, or a piece of a hash.
        at: which value of a curve is the metric: ``"last"``, ``"best"``, ``"best:METRIC"`` or a
            step; ``None``: what was returned.

    Raises:
        ConfigError: a filter makes no sense, or a name means no run.

    Example:
        >>> len(chosen_runs("./results", where="lr > 0.01", statuses="succeeded"))
        12
    """
    condition = None
    if where is not None:
        from ztxexp.text.expression import Expression

        condition = Expression(where)
    table = RunTable.read(root)
    if named:
        table = table.named(named)
    if function is not None:
        table = table.of_function(function)
    if code is not None:
        table = table.of_code(code)
    wanted = None if statuses is None else as_list(statuses, "statuses")
    table = table.filtered(None, wanted, as_list(tags, "tags"), group, experiment, since)
    if at is not None:
        table = table.at(str(at))
    return table if condition is None else table.filtered(condition)
