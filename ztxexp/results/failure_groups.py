"""Failures by kind, and the configuration keys that tell them from runs that succeeded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SUCCEEDED,
    Config,
    RunOutcome,
    RunSpec,
)
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import encode, numbers, plain
from ztxexp_core.values.copying import flat

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
            runs from those that succeeded, with a text for the values that fail, such as
            ``{"lr": ">= 0.5"}`` or ``{"optimizer": "in ('lion', 'adam')"}``.
    """

    error_type: str
    error_message: str
    place: str | None
    run_ids: tuple[str, ...]
    log: str
    separated_by: dict[str, str] = field(default_factory=dict)

    def conditions(self) -> str:
        """Return ``separated_by`` in words; empty where no key tells these failures apart.

        Example:
            >>> group.conditions()
            "lr >= 0.5 (equally: opt == 'lion')"
        """
        conditions = [sanitize_for_terminal(f"{k} {v}") for k, v in self.separated_by.items()]
        if len(conditions) > 1:
            return f"{conditions[0]} (equally: {', '.join(conditions[1:])})"
        return "".join(conditions)


def failure_kind(outcome: RunOutcome) -> object:
    """Return a value that is equal for failures of one kind.

    They are the same exception, raised at the same place, for the same reason. Where no place is
    known (a worker that died), their messages differ in numbers only.
    """
    where = outcome.place
    if where is None:
        message = (outcome.error_message or "").replace(outcome.run_id, "")[:_MESSAGE_COMPARED]
        where = _NUMBERS.sub("0", message)
    # Signal and exit code count by themselves: they are what differs between two deaths.
    kind = outcome.error_type, outcome.place is None, where, outcome.reason
    return *kind, outcome.signal, outcome.exit_code


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
    passing: list[Config] = []
    for outcome in outcomes:
        if outcome.status == RUN_STATUS_FAILED:
            kinds.setdefault(failure_kind(outcome), []).append(outcome)
        elif outcome.status == RUN_STATUS_SUCCEEDED:
            passing.append(specs[outcome.run_id].config)
    if not kinds:
        return []
    ordered = sorted(kinds.values(), key=len, reverse=True)
    separator = None
    if len(ordered[0]) >= _FEWEST and len(passing) >= _FEWEST:
        separator = _Separator(passing, launched=len(specs))
    groups = []
    for failed in ordered:
        first, separated_by = failed[0], dict[str, str]()
        if separator is not None and len(failed) >= _FEWEST:
            separated_by = separator.conditions([specs[run.run_id].config for run in failed])
        groups.append(
            FailureGroup(
                error_type=first.error_type or "Failure",
                error_message=first.error_message or "",
                place=first.place,
                run_ids=tuple([outcome.run_id for outcome in failed]),
                log=RunFiles(specs[first.run_id].run_dir).error,
                separated_by=separated_by,
            )
        )
    return groups


# ---- which key tells failing from passing runs -----------------------------------------------
#
# With enough distinct values every key separates: an index, or a seed drawn for each run. So a key
# is named only where that is improbable if the f failures had hit any f of the n runs alike. A rule
# is one of `ways` rules at most as complicated, each of which fits one of the comb(n, f) choices.
# With k keys that vary, the chance that any is named wrongly is at most k * ways / comb(n, f),
# which must not exceed _CHANCE. For a key of m different values,
#
#     ways = 2                              a threshold: the f lowest runs failed, or the f highest
#     ways = 2 * sum(comb(m, 1..s)) (+ 2)   s listed values, failing or passing (after a threshold,
#                                           for numbers); never more than the 2**m - 2 divisions
#
# A key with a value for each run is never listed: m = n. As a threshold it may be named (a learning
# rate drawn for each run), unless it counts the runs. Where nothing is certain enough, a key is
# named if it is the only one whose values separate and repeat among the failing runs: in a grid of
# eight that is what everybody would say.

_CHANCE = 0.05
_FEWEST = 2  # failing, and passing, runs: one is an anecdote
_KEYS_NAMED = 3
_VALUES_LISTED = 4

# Numbers and texts as they are; in a tuple, what is known by its text only (lists, True, NaN). So
# True is not 1, "None" is not None, and 1 is 1.0: as for the identity of configurations.
_Value = str | int | float | tuple[str] | None
_ABSENT = ("(absent)",)


class _Column:
    """The values that some runs have under one key; their bounds where all are numbers."""

    def __init__(self, values: Sequence[_Value], runs: int):
        self.values = frozenset(values) | ({_ABSENT} if len(values) < runs else set())
        amounts = [value for value in self.values if isinstance(value, (int, float))]
        numeric = len(amounts) == len(self.values)
        self.bounds = (min(amounts), max(amounts)) if numeric else None
        whole = numeric and all(value % 1 == 0 for value in amounts)
        self.counts_runs = whole and len(amounts) == runs


class _Rule(NamedTuple):
    """What all failing values and no passing ones have in common."""

    ways: int
    values: int  # that it names
    text: str


class _Separator:
    """Finds the keys that tell failing runs from those that passed."""

    def __init__(self, passing: Sequence[Config], launched: int):
        self._count = len(passing)
        self._launched = launched
        self._passing = _columns(passing)

    def conditions(self, failing: Sequence[Config]) -> dict[str, str]:
        """Return the few best keys with a text for the values that fail, simplest first."""
        columns, count = _columns(failing), len(failing)
        varying = 0
        rules: dict[str, _Rule] = {}
        for key in {**columns, **self._passing}:
            fails = columns.get(key) or _Column([], count)
            passes = self._passing.get(key) or _Column([], self._count)
            varying += len(fails.values) > 1 or fails.values != passes.values
            rule = _rule(fails, passes, self._launched)
            if rule is not None:
                rules[key] = rule
        limit = _log_comb(self._count + count, count) + math.log(_CHANCE)
        named = {k: rule for k, rule in rules.items() if math.log(varying * rule.ways) <= limit}
        if not named:  # in a sweep too small to rule chance out, what a reader sees at a glance
            repeat = [k for k in rules if k in columns and 2 * len(columns[k].values) <= count]
            named = {key: rules[key] for key in repeat} if len(repeat) == 1 else {}
        simplest = sorted(named, key=lambda key: named[key][:2])
        return {key: named[key].text for key in simplest[:_KEYS_NAMED]}


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _rule(fails: _Column, passes: _Column, launched: int) -> _Rule | None:
    """Return the simplest rule for failing values that no passing value follows."""
    if not fails.values.isdisjoint(passes.values):
        return None
    failing, passing = len(fails.values), len(passes.values)
    threshold = _threshold(fails, passes, launched)
    if threshold:
        return _Rule(2, failing, _listed(fails.values) if failing == 1 else threshold)
    listed, values = min(failing, passing), failing + passing
    if listed > _VALUES_LISTED:
        return None
    ways = 2**values - 2
    if values > 2 * listed:
        ways = 2 * sum(math.comb(values, count) for count in range(1, listed + 1))
    if fails.bounds:
        ways += 2
    if failing <= passing:
        return _Rule(ways, failing, _listed(fails.values))
    return _Rule(ways, passing, _listed(passes.values, negated=True))


def _threshold(fails: _Column, passes: _Column, launched: int) -> str | None:
    """Return the bound that all failing values keep and no passing one does, if there is one.

    There is none for a key that is the number of the run: another one for each, few left out.
    """
    if fails.bounds is None or passes.bounds is None:
        return None
    bounds = (*fails.bounds, *passes.bounds)
    if fails.counts_runs and passes.counts_runs and max(bounds) - min(bounds) < 2 * launched:
        return None
    if fails.bounds[0] > passes.bounds[1]:
        return f">= {_bound(fails.bounds[0], passes.bounds[1])}"
    if fails.bounds[1] < passes.bounds[0]:
        return f"<= {_bound(fails.bounds[1], passes.bounds[0])}"
    return None


def _bound(failing: float, passing: float) -> str:
    """Return a failing value, or a shorter number between it and the next passing one."""
    text = _shown(failing)
    if isinstance(failing, float) and len(text) > 6:
        for digits in range(3, 8):
            shorter = f"{failing:.{digits}g}"
            if min(failing, passing) < float(shorter) < max(failing, passing):
                return shorter
    return text


def _listed(values: frozenset[_Value], negated: bool = False) -> str:
    """Return a condition that lists values, such as ``in ('a', 'b')`` or ``!= 3``."""
    if values == {_ABSENT}:
        return "is there" if negated else "is absent"
    amounts = sorted(value for value in values if isinstance(value, (int, float)))
    others = sorted(_shown(value) for value in values if not isinstance(value, (int, float)))
    text = ", ".join([*map(_shown, amounts), *others])
    if len(values) == 1:
        return f"{'!=' if negated else '=='} {text}"
    return f"{'not in' if negated else 'in'} ({text})"


def _shown(value: _Value) -> str:
    text = value[0] if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 40 else f"{text[:24]}...{text[-13:]}"


def _columns(configs: Sequence[Config]) -> dict[str, _Column]:
    values: dict[str, list[_Value]] = {}
    for config in configs:
        for key, value in flat(_plain(config)):
            if isinstance(value, (list, dict)):
                value = (encode(value).decode(),)
            elif isinstance(value, bool) or value != value:
                value = (str(value),)
            values.setdefault(key, []).append(value)
    return {key: _Column(column, len(configs)) for key, column in values.items()}


def _plain(config: Config) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = numbers(plain(config))
        return tree
    except ConfigError:  # changed by the run since it was checked
        if len(config) == 1:
            return {str(key): f"<{type(value).__name__}>" for key, value in config.items()}
    return {key: value for item in config.items() for key, value in _plain(dict([item])).items()}
