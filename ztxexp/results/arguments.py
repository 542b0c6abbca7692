"""Checks of arguments that several methods take: lists of names, statuses, one of a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import VALID_RUN_STATUSES, RunStatus

Statuses = RunStatus | Sequence[RunStatus] | None
Tags = dict[str, str] | list[str]

# Of failed runs.
_REASONS = ("exception", "interrupted", "killed", "lost", "oom", "preempted", "stopped", "timeout")


class Labels(TypedDict, total=False):
    """Filters by what a launch is called, see :class:`ResultAnalyzer`."""

    experiment_name: str | None
    group: str | None
    tags: Tags | None


class Filters(Labels, total=False):
    """Filters of :class:`ResultAnalyzer`; without ``statuses`` it is runs that succeeded."""

    statuses: Statuses
    metrics_filename: str


def checked_filters(filters: Any, known: type[Any]) -> Any:
    """Return filters after a check of their names.

    Raises:
        TypeError: a name that is none of ``known``.
    """
    names = known.__annotations__
    for name in filters:
        if name not in names:
            near = closest(name, names) or f"; filters are {', '.join(names)}"
            raise TypeError(f"there is no argument {name!r}{near}")
    return filters


def as_list(names: Iterable[str] | None, argument: str) -> list[str]:
    """Return names as a list; a single text is one name, not its letters.

    Args:
        names: a string, or several.
        argument: what a user knows them by, for the message.

    Raises:
        ConfigError: neither.
    """
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    if isinstance(names, Mapping) or not isinstance(names, Iterable):
        raise ConfigError(f"{argument} must be a string or a list of strings, got {names!r}")
    return list(names)


def checked_choice(argument: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ConfigError: it is none of them; a ``ValueError``.
    """
    if value not in choices:
        known = " or ".join(map(repr, choices))
        raise ConfigError(f"{argument} is {known}, not {value!r}{closest(value, choices)}")


def checked_statuses(statuses: Iterable[str] | None) -> frozenset[str]:
    """Return statuses after a check that a run can have each of them.

    Raises:
        ConfigError: one that no run can have; a ``ValueError``.
    """
    listed = as_list(statuses, "statuses")
    for status in listed:
        if not isinstance(status, str) or status not in VALID_RUN_STATUSES:
            hint = closest(status, VALID_RUN_STATUSES)
            if status in _REASONS:
                python = f"take statuses='failed' and the rows with reason={status!r}"
                shell = f"--status failed --where \"reason == '{status}'\""
                hint = f" but a reason: {either(python, shell)}"
            every = either("statuses=None", "--status all")
            raise ConfigError(
                f"{status!r} is not a status of a run{hint}; known: "
                f"{', '.join(sorted(VALID_RUN_STATUSES))} ({every} takes them all)"
            )
    return frozenset(listed)
