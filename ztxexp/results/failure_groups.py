"""Failures by kind, and the configuration keys that tell them from runs that succeeded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.labels import differing_keys, label
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SUCCEEDED,
    Config,
    RunOutcome,
    RunSpec,
)
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import encode, is_number, numbers, plain
from ztxexp_core.values.copying import flat
from ztxexp_core.values.identity import short_ids

_NUMBERS = re.compile(r"0[xX][0-9a-fA-F]+|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_MESSAGE_COMPARED = 300  # characters


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind: the same exception at the same place.

    Attributes:
        error_type: name of the exception's class, ``WorkerDied`` or ``Timeout``.
        error_message: message of the first of them.
        place: where in the user's code it was raised, ``train.py:12 in step``; ``None`` where
            there is no such place, as for a worker that was killed.
        run_ids: the runs, in the order in which they ended.
        log: path of the ``error.log`` of the first one.
        separated_by: configuration keys, dotted for nested ones, each of which alone tells these
            runs from those that succeeded, with a string for the values that fail, such as
            ``{"lr": ">= 0.5"}`` or ``{"optimizer": "in ('adam', 'lion')"}``.
        separated_by_both: where no key alone does, two keys that do together:
            ``{"model": "== 'cnn'", "lr": "== 0.3"}``; empty where there are none.
        first_config: the configuration of the first of them, ``lr=0.3 seed=1``: what differs
            between the runs of the launch.
        first_short: the short id of the first of them, ``3f2a``.
    """

    error_type: str
    error_message: str
    place: str | None
    run_ids: tuple[str, ...]
    log: str
    separated_by: dict[str, str] = field(default_factory=dict)
    first_config: str = ""
    separated_by_both: dict[str, str] = field(default_factory=dict)
    first_short: str = ""

    def conditions(self) -> str:
        """Return in words when these failures occur; empty where no one or two keys tell.

        Example:
            >>> group.conditions()
            "lr >= 0.5 (the same runs have opt == 'lion')"
        """
        alone, both = (
            [sanitize_for_terminal(f"{key} {values}") for key, values in separating.items()]
            for separating in (self.separated_by, self.separated_by_both)
        )
        if len(alone) > 1:
            return f"{alone[0]} (the same runs have {', '.join(alone[1:])})"
        return "".join(alone) or " and ".join(both)


def failure_kind(outcome: RunOutcome) -> object:
    """Return a value that is equal for failures of one kind.

    They are the same exception, raised at the same place, for the same reason. Where no place is
    known (a worker that died), their messages differ in numbers only.
    """
    message = (outcome.error_message or "").replace(outcome.run_id, "")[:_MESSAGE_COMPARED]
    if outcome.error_type == "CommandFailed":  # what it has printed before may be anything
        message = message.partition("\n")[0]
    where = outcome.place or _NUMBERS.sub("0", message)
    # Signal and exit code count by themselves: they are what differs between two deaths.
    return outcome.error_type, where, outcome.reason, outcome.signal, outcome.exit_code


def failure_groups(
    outcomes: Iterable[RunOutcome], specs: Mapping[str, RunSpec]
) -> list[FailureGroup]:
    """Sort failed runs by kind; takes time in proportion to the number of runs.

    Args:
        outcomes: how the runs of a launch ended, in that order; those that succeeded count too,
            see ``FailureGroup.separated_by``.
        specs: the same runs as they were asked for, by id.

    Returns:
        The kinds, most frequent first.

    Example:
        >>> [(len(group.run_ids), group.error_type) for group in failure_groups(outcomes, specs)]
        [(8, 'OutOfMemoryError'), (1, 'WorkerDied')]
    """
    kinds: dict[object, list[RunOutcome]] = {}
    passing: list[_Row] = []
    for outcome in outcomes:
        if outcome.status == RUN_STATUS_FAILED:
            kinds.setdefault(failure_kind(outcome), []).append(outcome)
        elif outcome.status == RUN_STATUS_SUCCEEDED:
            passing.append(_row(specs[outcome.run_id].config))
    if not kinds:
        return []
    succeeded = _columns(passing)
    varying = differing_keys(spec.config for spec in specs.values())
    short = short_ids(spec.identity for spec in specs.values())
    groups = []
    for rank, failed in enumerate(sorted(kinds.values(), key=len, reverse=True)):
        first, separated_by, both = failed[0], dict[str, str](), dict[str, str]()
        if len(failed) >= _FEWEST and len(passing) >= _FEWEST:
            failing = _columns([_row(specs[outcome.run_id].config) for outcome in failed])
            separated_by = _separating(failing, succeeded, len(failed))
            if not separated_by and rank < _KINDS_WITH_PAIRS:
                both = _separating_both(failing, passing, len(failed))
        groups.append(
            FailureGroup(
                error_type=first.error_type or "Failure",
                error_message=first.error_message or "",
                place=first.place,
                run_ids=tuple([outcome.run_id for outcome in failed]),
                log=RunFiles(specs[first.run_id].run_dir).error,
                separated_by=separated_by,
                first_config=label(specs[first.run_id].config, varying),
                separated_by_both=both,
                first_short=short[specs[first.run_id].identity],
            )
        )
    return groups


# ---- which key tells failed from succeeded runs ----------------------------------------------
#
# All failed runs of a group have the key, and no succeeded run has one of their values. That is
# also true of a number or name given to each run, so the values must repeat. A float drawn for each
# run, such as a learning rate, is named if it has a bound with enough runs on both sides.

_FEWEST = 2  # failed, and succeeded, runs: one is an anecdote
_FEWEST_DRAWN = 5
_KEYS_NAMED = 3
_KINDS_WITH_PAIRS = 5  # the most frequent ones: a search for pairs reads all succeeded runs
_VALUES_LISTED = 4

_Value = float | str  # anything but a number is known by its text: True is not 1
_Row = dict[str, _Value]  # a configuration, its keys dotted


class _Column:
    """The values of the runs that have a key; the lowest and highest where all are numbers."""

    def __init__(self, values: Sequence[_Value]):
        self.runs = len(values)
        self.values = frozenset(values)
        amounts = [value for value in self.values if not isinstance(value, str)]
        numeric = len(amounts) == len(self.values) > 0
        self.bounds = (min(amounts), max(amounts)) if numeric else None
        # Whole numbers may count the runs.
        self.may_be_drawn = len(values) >= _FEWEST_DRAWN and any(value % 1 for value in amounts)


def _row(config: Config) -> _Row:
    row: _Row = {}
    for key, value in flat(config):
        try:
            value = numbers(plain(value))
        except ConfigError:  # changed by the run since it was checked
            continue
        if isinstance(value, (list, dict)):
            value = encode(value).decode()
        elif not is_number(value) or value != value:
            value = repr(value)
        row[key] = value
    return row


def _columns(rows: Iterable[_Row]) -> dict[str, _Column]:
    values: dict[str, list[_Value]] = {}
    for row in rows:
        for key, value in row.items():
            values.setdefault(key, []).append(value)
    return {key: _Column(column) for key, column in values.items()}


def _separating(
    failed: Mapping[str, _Column], succeeded: Mapping[str, _Column], runs: int
) -> dict[str, str]:
    """Return the few keys with the fewest failing values, each with a string for these."""
    conditions: dict[str, str] = {}
    for key, failing in sorted(failed.items(), key=lambda item: len(item[1].values)):
        condition = _condition(failing, succeeded.get(key, _Column([])))
        if condition and failing.runs == runs and len(conditions) < _KEYS_NAMED:
            conditions[key] = condition
    return conditions


def _separating_both(
    failed: Mapping[str, _Column], passing: Sequence[_Row], runs: int
) -> dict[str, str]:
    """Return two keys, each with a string for its failing values, that no succeeded run meets."""
    for key, failing in sorted(failed.items(), key=lambda item: len(item[1].values)):
        if failing.runs < runs:
            continue
        for condition, meets in _partial_conditions(failing):
            rest = [row for row in passing if key in row and meets(row[key])]
            if _FEWEST <= len(rest) < len(passing):
                others = {name: column for name, column in failed.items() if name != key}
                second = _separating(others, _columns(rest), runs)
                if second:
                    return {key: condition, **dict([next(iter(second.items()))])}
    return {}


def _partial_conditions(failing: _Column) -> Iterator[tuple[str, Callable[[_Value], bool]]]:
    """Yield the conditions that all failing values meet, each with a function that checks it."""
    if len(failing.values) == 1:
        (only,) = failing.values
        yield f"== {_shown(only)}", lambda value: value == only
    elif failing.bounds and 2 * len(failing.values) <= failing.runs:
        lowest, highest = failing.bounds
        yield f">= {lowest!r}", lambda value: not isinstance(value, str) and value >= lowest
        yield f"<= {highest!r}", lambda value: not isinstance(value, str) and value <= highest


def _condition(failing: _Column, passing: _Column) -> str:
    """Return what only failing values meet; empty where there is nothing, or nothing but chance."""
    if not passing.values.isdisjoint(failing.values):
        return ""
    values = sorted(failing.values, key=lambda value: (isinstance(value, str), value))
    if len(values) == 1:
        return f"== {_shown(values[0])}"
    repeat = 2 * len(values) <= failing.runs
    drawn = failing.may_be_drawn and passing.runs >= _FEWEST_DRAWN
    if failing.bounds and passing.bounds and (repeat or drawn):
        (lowest, highest), (passing_lowest, passing_highest) = failing.bounds, passing.bounds
        if lowest > passing_highest:
            return f">= {lowest!r}"
        if highest < passing_lowest:
            return f"<= {highest!r}"
    if repeat and len(values) <= _VALUES_LISTED:
        return f"in ({', '.join(map(_shown, values))})"
    return ""


def _shown(value: _Value) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:24]}...{text[-13:]}"
