"""Which runs a command reads: the options that all of them share."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ztxexp.cli.completing import complete_any_key, complete_key
from ztxexp.cli.repeated import AllOf, Joined, Once
from ztxexp.results.to_type import line_to_type
from ztxexp_core.errors import ConfigError

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable

_Command = TypeVar("_Command", bound=Callable[..., Any])
_STATUS_WORDS = {"ok": "succeeded", "done": "succeeded"}


@dataclass(frozen=True)
class Filters:
    """What the options say.

    Attributes:
        where: a condition.
        statuses: words; empty: the command's own.
        tags: words, or ``key=value``.
        group: of launches.
        experiment: its name.
        since: an age, or a date.
        at: which value of a curve; ``None``: what was returned.
        function: name of a function or command.
        code: a version of the code.
    """

    where: str | None = None
    statuses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    group: str | None = None
    experiment: str | None = None
    since: str | None = None
    at: str | None = None
    function: str | None = None
    code: str | None = None

    def runs(
        self,
        root: Path,
        named: Sequence[str] = (),
        statuses: Sequence[str] | None = None,
    ) -> RunTable:
        """Return the runs of a root that pass.

        Args:
            root: the results root.
            named: names of runs; none: all.
            statuses: those to keep where ``--status`` is not given.

        Raises:
            ConfigError: an option makes no sense, or a name means no run.
        """
        from ztxexp.analysis.choosing import chosen_runs

        root, named = placed(root, named)
        given = self.as_mapping()
        given.setdefault("statuses", statuses)
        return chosen_runs(root, named=named, **given)

    def as_mapping(self) -> dict[str, Any]:
        """Return the filters that are given, by their names for ``chosen_runs``."""
        since = None if self.since is None else time_of(self.since)
        given = {
            "where": self.where,
            "tags": list(self.tags) or None,
            "group": self.group,
            "experiment": self.experiment,
            "since": since,
            "function": self.function,
            "code": self.code,
            "at": self.at,
        }
        asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.statuses:
            asked["statuses"] = self.chosen_statuses(None)
        return asked

    def chosen_statuses(self, usual: Sequence[str] | None) -> Sequence[str] | None:
        """Return the statuses to keep; ``None``: all."""
        words = [word for text in self.statuses for word in text.split(",") if word]
        if not words:
            return usual
        return None if "all" in words else [_STATUS_WORDS.get(word, word) for word in words]


def placed(root: Path, named: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return root and names where a folder stands among the names: another root, or a run's.

    ``ztxexp list results2`` is ``ztxexp list -C results2``, and a run's own folder names it.
    """
    for at, text in enumerate(named):
        of_root = os.sep not in text and os.path.lexists(root / text / "run.json")
        if of_root or not os.path.isdir(text):
            continue
        path = Path(text)
        if (path / "run.json").is_file():
            return path.absolute().parent, [*named[:at], path.absolute().name, *named[at + 1 :]]
        if any((path / name / "run.json").is_file() for name in sorted(os.listdir(path))[:200]):
            return path, [*named[:at], *named[at + 1 :]]
    return root, named


def time_of(text: str) -> float:
    """Return the time stamp of ``--since``: an age such as ``2h``, or a date.

    Raises:
        ConfigError: it is neither.
    """
    from ztxexp.upkeep.rules import seconds_of
    from ztxexp_core.store.files import timestamp_of

    date = timestamp_of(text)
    if date is not None:
        return date
    try:
        return time.time() - seconds_of(float(text) if text.isdigit() else text)
    except ConfigError:
        raise ConfigError(
            f"--since takes an age (30min, 2h, 3d) or a date (2026-03-01), not {text!r}"
        ) from None


def filter_options(at: bool = True) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the options; the command gets :class:`Filters` as ``filters``.

    Args:
        at: with ``--at``, which value of a curve counts.
    """
    options = [
        click.option(
            "-w",
            "--where",
            metavar="EXPR",
            cls=AllOf,
            help="Only runs that meet a condition, such as 'accuracy > 0.9 and lr in (0.1, 0.01)'.",
        ),
        click.option(
            "--status",
            "statuses",
            multiple=True,
            metavar="STATUS",
            help="Only runs of this status: succeeded, failed, running, skipped, or all.",
        ),
        click.option(
            "--tag", "tags", multiple=True, metavar="TAG", help="Only runs with this tag."
        ),
        click.option("--group", metavar="NAME", cls=Once, help="Only runs of this group."),
        click.option(
            "--experiment", metavar="NAME", cls=Once, help="Only runs of this experiment."
        ),
        click.option(
            "--since", metavar="AGE", cls=Once, help="Only runs that started since: 2h, 3d, a date."
        ),
    ]
    options += [
        click.option(
            "--function",
            metavar="NAME",
            cls=Once,
            help="Only runs of this function or command, or a piece.",
        ),
        click.option(
            "--code",
            metavar="VERSION",
            cls=Once,
            help="Only runs of this code: latest, v1, piece of a hash.",
        ),
    ]
    names = ["where", "statuses", "tags", "group", "experiment", "since", "function", "code"]
    if at:
        names.append("at")
        options.append(
            click.option(
                "--at",
                metavar="WHICH",
                cls=Once,
                help="Which value of a metric: last, best, best:METRIC or a step; by default the "
                "one that was returned.",
            )
        )

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def with_filters(*args: Any, **given: Any) -> Any:
            filters = Filters(**{name: given.pop(name) for name in names})
            return command(*args, filters=filters, **given)

        decorated: Any = with_filters
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


@dataclass(frozen=True)
class Shown:
    """What is shown of the runs.

    Attributes:
        sort: a key.
        reverse: the other way round.
        limit: how many rows.
        columns: names; ``None``: the usual ones.
        all_columns: constant ones, too.
    """

    sort: str | None = None
    reverse: bool = False
    limit: int | None = None
    columns: str | None = None
    all_columns: bool = False


def keys_option(*names: str, help: str, required: bool = False) -> Callable[[_Command], _Command]:
    """Return an option that takes keys of the configuration, with commas or given repeatedly."""
    return click.option(
        *names,
        metavar="KEYS",
        cls=Joined,
        shell_complete=complete_key,
        required=required,
        help=help,
    )


def over_option(without: str) -> Callable[[_Command], _Command]:
    """Return the option ``--over``.

    Args:
        without: what is done with ``--over none``.
    """
    what = f"Keys that are averaged over; by default those of seeds. none: {without}."
    return keys_option("--over", help=what)


def shown_options(command: _Command) -> _Command:
    """Add options for order and columns; the command gets :class:`Shown` as ``shown``."""

    @functools.wraps(command)
    def with_shown(*args: Any, **given: Any) -> Any:
        names = list(Shown.__dataclass_fields__)
        return command(*args, shown=Shown(**{name: given.pop(name) for name in names}), **given)

    decorated: Any = with_shown
    options = [
        click.option(
            "--sort",
            metavar="KEY",
            cls=Once,
            shell_complete=complete_any_key,
            help="By this key; of a metric the best comes first.",
        ),
        click.option("--reverse", is_flag=True, help="The other way round."),
        click.option("-n", "limit", type=click.IntRange(min=1), metavar="N", help="So many rows."),
        click.option(
            "--columns",
            metavar="NAMES",
            cls=Joined,
            shell_complete=complete_any_key,
            help="These columns, with commas; +f1,-seconds: the usual ones with and without.",
        ),
        click.option("--all-columns", is_flag=True, help="Columns with one value, too."),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def nothing_to_read(table: RunTable, what: str = "runs") -> str:
    """Return what is said where no run passes the filters."""
    if not len(table.names):
        return f"there are no runs below {table.runs.root}; ztxexp run starts some"
    count = f"none of the {len(table.names)} {what} below {table.runs.root}"
    return f"{count} pass the filters; {line_to_type(table.runs.root, 'list')} shows all"
