"""Failures, digested: which are of one kind, and which configuration key tells them from success.

What is found is put into words in :mod:`ztxexp.results.summary`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp.results.summary import FailureGroup, failure_kind
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED, RunOutcome, RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import encode, plain


def failure_groups(
    outcomes: Iterable[RunOutcome], specs: Mapping[str, RunSpec]
) -> list[FailureGroup]:
    """Sort failed runs by kind; takes time in proportion to the number of runs.

    Args:
        outcomes: how the runs of a launch ended, in that order; those that did not fail count too,
            see ``FailureGroup.separated_by``.
        specs: the same runs as they were asked for, by id.

    Returns:
        The kinds, most frequent first.

    Example:
        >>> [(len(group.run_ids), group.error_type) for group in failure_groups(outcomes, specs)]
        [(8, 'OutOfMemoryError'), (1, 'WorkerDied')]
    """
    kinds: dict[object, list[RunOutcome]] = {}
    passing = []
    for outcome in outcomes:
        if outcome.status == RUN_STATUS_FAILED:
            kinds.setdefault(failure_kind(outcome), []).append(outcome)
        elif outcome.status == RUN_STATUS_SUCCEEDED:
            passing.append(outcome.run_id)
    groups = sorted(kinds.values(), key=len, reverse=True)
    worth_it = (
        bool(groups) and len(groups[0]) >= _FEWEST_FAILING and len(passing) >= _FEWEST_PASSING
    )
    separator = _Separator([specs[i].config for i in passing], len(specs)) if worth_it else None
    return [_group(failed, specs, separator) for failed in groups]


def _group(
    failed: list[RunOutcome], specs: Mapping[str, RunSpec], separator: _Separator | None
) -> FailureGroup:
    first = failed[0]
    separated = {}
    if separator is not None and len(failed) >= _FEWEST_FAILING:
        separated = separator.of([specs[outcome.run_id].config for outcome in failed])
    return FailureGroup(
        error_type=first.error_type or "Failure",
        error_message=first.error_message or "",
        place=first.place,
        run_ids=tuple([outcome.run_id for outcome in failed]),
        log=RunFiles(specs[first.run_id].run_dir).error,
        separated_by=separated,
    )


# ---- which key tells failing from passing runs -----------------------------------------------
#
# With enough distinct values every key separates: an index, or a seed drawn for each run, has a
# value for each failing run that no passing run has. A key is named only where that would be
# improbable if the f failures had hit any f of the n = f + p runs alike. All comb(n, f) choices
# are equally probable then, and a rule (see _rule) is one of `ways` rules at most as complicated,
# each of which fits one choice only. With k keys that vary, the chance that any of them is named
# wrongly is at most
#
#     k * ways / comb(n, f)   which must not exceed _CHANCE
#
# where, for a key of m different values,
#
#     ways = 2                              a threshold: the f lowest runs failed, or the f highest
#     ways = 2 * sum(comb(m, 1..s)) (+ 2)   s listed values: at most s of the m are named, as those
#                                           that fail or as those that pass (after a threshold, for
#                                           numbers); never more than the 2**m - 2 divisions of m
#
# A key with a value for each run has m = n, so ways > comb(n, f): it is never listed. As a
# threshold it may be named (a learning rate drawn for each run), unless it counts the runs.

# Where nothing is certain enough, a key is named nevertheless if it is the only one whose values
# separate and repeat among the failing runs: in a grid of eight that is what everybody would say.

_CHANCE = 0.05
_FEWEST_FAILING = 2  # one failure is an anecdote
_FEWEST_PASSING = 2
_KEYS_NAMED = 3
_VALUES_LISTED = 4

# Numbers and texts as they are; in a tuple, what is known by its text only (lists, True, NaN). So
# True is not 1, "None" is not None, and 1 is 1.0: as for the identity of configurations.
_Value = str | int | float | tuple[str] | None
_ABSENT = ("(absent)",)


@dataclass(frozen=True, slots=True)
class _Column:
    """What some runs have under one key; bounds where all of it is numbers."""

    values: frozenset[_Value]
    runs: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: list[_Value], runs: int) -> _Column:
        values = frozenset(found) if len(found) == runs else frozenset((*found, _ABSENT))
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) < len(values):
            return cls(values, runs, None, None)
        return cls(values, runs, min(numbers), max(numbers))

    def is_number_of_run(self) -> bool:
        whole = all(isinstance(value, (int, float)) and value % 1 == 0 for value in self.values)
        return whole and len(self.values) == self.runs


@dataclass(frozen=True, slots=True)
class _Rule:
    """What all failing values and no passing ones have in common; in how many ways it could."""

    text: str
    ways: int
    values: int


class _Separator:
    """Knows the passing runs, and finds the keys that tell failing ones from them."""

    def __init__(self, passing: list[Mapping[str, Any]], launched: int):
        self._runs = len(passing)
        self._launched = launched
        self._passing = _columns(passing)
        self._absent = _Column.of([], self._runs)

    def of(self, configs: list[Mapping[str, Any]]) -> dict[str, str]:
        """Return the few best keys with a text for the values that fail, simplest first."""
        failing = _columns(configs)
        varying = 0
        rules: list[tuple[str, _Rule]] = []
        for name in {**failing, **self._passing}:
            there = self._passing.get(name, self._absent)
            here = failing.get(name) or _Column.of([], len(configs))
            varying += len(here.values) > 1 or here.values != there.values
            rule = _rule(here, there, self._launched)
            if rule is not None:
                rules.append((name, rule))
        least = _log_comb(self._runs + len(configs), len(configs)) + math.log(_CHANCE)
        good = [each for each in rules if math.log(varying * each[1].ways) <= least]
        if not good:  # a sweep too small for chance to be ruled out: what a reader sees at a glance
            repeated = [each for each in rules if self._repeats(failing.get(each[0]), configs)]
            good = repeated if len(repeated) == 1 else []
        good.sort(key=lambda each: (each[1].ways, each[1].values))
        return {name: rule.text for name, rule in good[:_KEYS_NAMED]}

    @staticmethod
    def _repeats(column: _Column | None, configs: list[Mapping[str, Any]]) -> bool:
        """Tell whether the failing runs share values, two and more of them each on average."""
        return column is not None and 2 * len(column.values) <= len(configs)


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _rule(failing: _Column, passing: _Column, launched: int) -> _Rule | None:
    """Return the simplest rule for failing values that no passing value follows."""
    if not failing.values.isdisjoint(passing.values):
        return None
    here, there = len(failing.values), len(passing.values)
    threshold = _threshold(failing, passing)
    if threshold and not _counts_runs(failing, passing, launched):
        return _Rule(_equal(failing.values) if here == 1 else threshold, 2, here)
    listed = min(here, there)
    if listed > _VALUES_LISTED:
        return None
    ways = _ways_to_list(here + there, listed) + (2 if failing.low is not None else 0)
    if here <= there:
        return _Rule(_equal(failing.values), ways, here)
    return _Rule(_unequal(passing.values), ways, there)


def _ways_to_list(values: int, listed: int) -> int:
    if values <= 2 * listed:
        return int(2**values) - 2
    return 2 * sum(math.comb(values, count) for count in range(1, listed + 1))


def _counts_runs(failing: _Column, passing: _Column, launched: int) -> bool:
    """Tell whether a key is the number of the run: another one for each, with few left out."""
    if not (failing.is_number_of_run() and passing.is_number_of_run()):
        return False
    bounds = [failing.low, failing.high, passing.low, passing.high]
    known = [bound for bound in bounds if bound is not None]
    return max(known) - min(known) < 2 * launched


# ---- configurations, key by key --------------------------------------------------------------


def _columns(configs: list[Mapping[str, Any]]) -> dict[str, _Column]:
    found: dict[str, list[_Value]] = {}
    for config in configs:
        flat: dict[str, _Value] = {}
        _flatten(config, "", flat)
        for name, value in flat.items():
            found.setdefault(name, []).append(value)
    return {name: _Column.of(values, len(configs)) for name, values in found.items()}


def _flatten(config: Mapping[Any, Any], prefix: str, flat: dict[str, _Value]) -> None:
    for key, value in config.items():
        kind = type(value)
        if type(key) is not str:
            _flatten(_plain({key: value}), prefix, flat)
        elif kind is str or kind is int or value is None:
            flat[prefix + key] = value
        elif kind is float:
            flat[prefix + key] = value if value == value else ("nan",)
        elif kind is dict and value:
            _flatten(value, f"{prefix}{key}.", flat)
        elif kind is bool:
            flat[prefix + key] = (str(value),)
        elif kind is dict or kind is list:
            flat[prefix + key] = (_json(value),)
        else:
            _flatten(_plain({key: value}), prefix, flat)


def _plain(item: dict[Any, Any]) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = plain(item)
    except ConfigError:  # changed by the run since it was checked
        return {str(key): f"<{type(value).__name__}>" for key, value in item.items()}
    return tree


def _json(value: Any) -> str:
    return encode(_plain({"": value})[""]).decode()


# ---- rules in words --------------------------------------------------------------------------


def _equal(values: frozenset[_Value]) -> str:
    if values == {_ABSENT}:
        return "is absent"
    return f"== {_list(values)}" if len(values) == 1 else f"in ({_list(values)})"


def _unequal(values: frozenset[_Value]) -> str:
    if values == {_ABSENT}:
        return "is there"
    return f"!= {_list(values)}" if len(values) == 1 else f"not in ({_list(values)})"


def _list(values: frozenset[_Value]) -> str:
    numbers = sorted(value for value in values if isinstance(value, (int, float)))
    others = sorted(_shown(v) for v in values if not isinstance(v, (int, float)))
    return ", ".join([*map(_shown, numbers), *others])


def _shown(value: _Value) -> str:
    text = value[0] if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 40 else f"{text[:24]}...{text[-13:]}"


def _threshold(failing: _Column, passing: _Column) -> str | None:
    """Return the bound that all failing values keep and no passing one does, if there is one."""
    if failing.low is None or failing.high is None or passing.low is None or passing.high is None:
        return None
    if failing.low > passing.high:
        return f">= {_bound(failing.low, passing.high)}"
    if failing.high < passing.low:
        return f"<= {_bound(failing.high, passing.low)}"
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
