"""Checks of arguments that several methods take: lists of names, statuses, one of a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import VALID_RUN_STATUSES, RunStatus

Statuses = RunStatus | Sequence[RunStatus] | None

_REASONS = ("exception", "interrupted", "killed", "lost", "oom", "timeout")  # of failed runs


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
                hint = f" but a reason: take statuses='failed' and the rows with reason={status!r}"
            raise ConfigError(
                f"{status!r} is not a status of a run{hint}; known: "
                f"{', '.join(sorted(VALID_RUN_STATUSES))} (statuses=None takes them all)"
            )
    return frozenset(listed)
