"""Which runs ``gc`` deletes: its rules, and the runs as the rules see them."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ztxexp.results.arguments import checked_choice
from ztxexp.results.keys import ABSENT, asked_for, codes_of, flattened, varying
from ztxexp.results.names import NamedRuns
from ztxexp.results.selection import RunSet
from ztxexp.text.format import age, plural, sanitize_for_terminal
from ztxexp.text.wording import either, option
from ztxexp_core.errors import ConfigError, check_count
from ztxexp_core.records import RUN_STATUS_RUNNING, RUN_STATUS_SUCCEEDED
from ztxexp_core.store.files import RunFiles, timestamp_of
from ztxexp_core.store.run_folder import RUN_LOST, SUBFOLDERS
from ztxexp_core.values.codec import is_number

Age = float | str

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Rules:
    """The arguments of ``ResultAnalyzer.gc``: a run is deleted where all that are given allow it.

    Raises:
        ConfigError: no rule, or one that makes no sense.
    """

    keep_best: int | None = None
    metric: str | None = None
    mode: str = ""
    per: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    older_than: float | None = None  # seconds
    statuses: frozenset[str] | None = None
    only: str | None = None

    def __post_init__(self) -> None:
        best, metric = self.keep_best, self.metric
        if best is not None:
            check_count("keep_best", best, ConfigError)
        if metric is not None and not isinstance(metric, str):
            raise ConfigError(f"metric must be a string, got {metric!r}")
        if (best is None) != (metric is None):
            example = either('keep_best=3, metric="score"', "--keep-best 3 --metric score")
            names = f"{option('keep_best')} and {option('metric')}"
            raise ConfigError(f"{names} go together, as in {example}")
        for name, keys in (("per", self.per), ("over", self.over)):
            if keys and best is None:
                needed = f"{option('keep_best')} and {option('metric')}"
                raise ConfigError(f"{option(name)} says what {needed} rank: give these too")
        twice = set(self.per).intersection(self.over)
        if twice:
            both = f"{option('per')} and {option('over')}"
            raise ConfigError(f"{both} both name {min(twice)!r}; it makes groups or is averaged")
        if best is None and self.older_than is None and self.statuses is None:
            raise ConfigError("gc needs a rule: give keep_best and metric, older_than, or statuses")
        if self.mode != "":
            checked_choice("mode", self.mode, ("max", "min"))
        if self.only is not None:
            checked_choice("only", self.only, SUBFOLDERS)

    def __str__(self) -> str:
        parts = []
        if self.keep_best is not None:
            group = f" of each {', '.join(self.per)}" if self.per else ""
            best = "largest" if self.mode == "max" else "smallest"
            what = f"the {self.keep_best} with the {best} {self.metric}"
            if self.over:
                count = plural(self.keep_best, "configuration")
                over = ", ".join(self.over)
                its = "its" if self.keep_best == 1 else "their"
                what = f"the {count} with the {best} mean {self.metric} over {over}"
                group += f", all {its} runs kept"
            parts.append(f"not among {what}{group}")
        if self.older_than is not None:
            parts.append(f"ended more than {age(self.older_than)} ago")
        if self.statuses is not None:
            parts.append(" or ".join(sorted(self.statuses)) or "no status")
        return sanitize_for_terminal(", ".join(parts))


def seconds_of(age: Age) -> float:
    """Return an age in seconds.

    Args:
        age: seconds, or a number with a unit: s, min, h, d, w.

    Raises:
        ConfigError: it is none of these.

    Example:
        >>> seconds_of("30d"), seconds_of(60)
        (2592000.0, 60.0)
    """
    if isinstance(age, str):
        match = _AGE.fullmatch(age)
        if match and match[2] in _UNITS:
            return float(match[1]) * _UNITS[match[2]]
    elif is_number(age) and 0 <= age < math.inf:
        return float(age)
    raise ConfigError(
        f"{option('older_than')} must be seconds, or a string such as '30d', got {age!r}; the "
        f"units are {', '.join(_UNITS)}"
    )


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that may be deleted.

    Attributes:
        folder: its folder, below the root as that was given.
        status: how it ended.
        age: seconds since it ended.
        value: its metric; ``None`` where it has none, or none was asked for.
        size: bytes in it, or in the folder that is emptied; targets of links do not count.
        deleted: whether it was deleted, or that folder emptied.
        label: those values of its configuration in which the runs of the root differ.
        short: its short id.
        run: its ``run.json``, as readers see it.
        group: a number for each key by which the best are chosen, equal for equal values.
        setting: its configuration but for the keys that are averaged over, as a number; ``None``
            where runs are ranked one by one.
        seed: the values of these keys, as a number.
    """

    folder: Path
    status: str
    age: float
    value: float | None = None
    size: int = 0
    deleted: bool = False
    label: str = ""
    short: str = ""
    run: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group: tuple[int, ...] = field(default=(), repr=False)
    setting: int | None = field(default=None, repr=False)
    seed: int = field(default=0, repr=False)

    @property
    def statuses(self) -> set[str]:
        """Its status; that of a dead run is also what its record still says, ``"running"``."""
        is_open = self.run.get("error_type") == RUN_LOST and not self.run.get("finished_at")
        return {self.status, RUN_STATUS_RUNNING} if is_open else {self.status}

    @property
    def is_ranked(self) -> bool:
        """Whether it can be among the best."""
        return self.value is not None and self.status == RUN_STATUS_SUCCEEDED


def run_info(folder: Path, run: Mapping[str, Any], **values: Any) -> RunInfo:
    """Return what the rules ask about a run; ``values`` are ``value`` and ``group``, if needed."""
    now, ended = time.time(), timestamp_of(run.get("finished_at"))
    if ended is None:
        ended = _last_written(folder, now)
    return RunInfo(folder, str(run.get("status")), now - ended, run=run, **values)


def _last_written(folder: Path, now: float) -> float:
    files, written = RunFiles(folder), []
    for path in (files.run, files.curve, files.events):
        with contextlib.suppress(OSError):
            written.append(os.stat(path).st_mtime)
    return max(written, default=now)


def run_infos(root: Path, runs: RunSet, rules: Rules) -> list[RunInfo]:
    """Return the runs as the rules of ``gc`` see them; no links.

    Raises:
        ConfigError: no run has the metric, or none has a key of ``per``.
    """
    succeeded = RUN_STATUS_SUCCEEDED in runs.run.column("status")
    values = [ABSENT] * len(runs)
    if rules.metric and succeeded:
        folders = runs.folders()
        values = asked_for(runs.parts, rules.metric, "metrics", "metric", folders=folders).cells
    columns = [asked_for(runs.parts, key, "config", "per").cells for key in rules.per]
    codes = [codes_of([None if cell is ABSENT else cell for cell in cells]) for cells in columns]
    groups = list(zip(*codes, strict=True)) if codes else [()] * len(runs)
    settings, seeds = _averaged(runs, rules.over)
    infos = []
    for at, (name, run) in enumerate(zip(runs.names, runs.run.all(), strict=True)):
        folder = root / name
        if os.path.islink(folder):  # it must not be kept as the best in place of its target
            continue
        ranked = {"value": _value(values[at]), "group": groups[at]}
        ranked |= {"setting": settings[at], "seed": seeds[at]}
        infos.append(run_info(folder, run or {}, **ranked))
    if rules.metric and succeeded and not any(info.is_ranked for info in infos):
        raise ConfigError(f"no run that succeeded has a number as its {rules.metric!r}")
    return infos


def _averaged(runs: RunSet, over: Sequence[str]) -> tuple[Sequence[int | None], Sequence[int]]:
    """Return for each run its configuration without some keys, and their values, as numbers.

    Raises:
        ConfigError: no run has such a key.
    """
    if not over:
        return [None] * len(runs), [0] * len(runs)
    averaged = [asked_for(runs.parts, key, "config", "over") for key in over]
    config = flattened(runs.config)
    others = [
        codes
        for key, codes in varying(config).items()
        if not any(f"{key}.".startswith(f"{column.name}.") for column in averaged)
    ]
    settings: list[tuple[int, ...]] = (
        list(zip(*others, strict=True)) if others else [()] * len(runs)
    )
    seeds = list(zip(*(codes_of(column.cells) for column in averaged), strict=True))
    number_of: dict[Any, int] = {}
    return (
        [number_of.setdefault(("setting", one), len(number_of)) for one in settings],
        [number_of.setdefault(("seed", one), len(number_of)) for one in seeds],
    )


def labelled(runs: RunSet, infos: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs with what they are called."""
    named = NamedRuns(runs.root, runs.names, runs.run, runs.config)
    position = {name: at for at, name in enumerate(runs.names)}
    places = [position[info.folder.name] for info in infos]
    return [
        replace(info, label=named.label(at), short=named.short[at])
        for info, at in zip(infos, places, strict=True)
    ]


def _value(value: Any) -> float | None:
    with contextlib.suppress(OverflowError):  # an integer too large for a float has no rank
        if is_number(value):
            float(value)
            return cast(float, value)
    return None


def choose(rules: Rules, infos: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs that all rules allow to delete, in their order.

    The best stay whatever the other rules say. A run that cannot be ranked is chosen only where
    ``statuses`` names its status; one that succeeded without the metric stays.
    """
    best = _best(rules, infos)
    return [info for info in infos if _is_chosen(rules, info) and info.folder not in best]


def _is_chosen(rules: Rules, info: RunInfo) -> bool:
    if rules.statuses is not None and rules.statuses.isdisjoint(info.statuses):
        return False
    if rules.older_than is not None and not info.age > rules.older_than:
        return False
    unranked = rules.keep_best is not None and not info.is_ranked
    return not unranked or (rules.statuses is not None and info.status != RUN_STATUS_SUCCEEDED)


def _best(rules: Rules, infos: Iterable[RunInfo]) -> set[Path]:
    """Return the folders of the best runs; a copy of one, with its run_id, stays with it."""
    if rules.over:
        return _best_settings(rules, infos)
    groups: dict[tuple[int, ...], list[tuple[bool, float, Path, str]]] = {}
    for info in infos if rules.keep_best is not None else ():
        if info.is_ranked and info.value is not None:
            is_nan = math.isnan(info.value)  # never the best
            order = 0.0 if is_nan else -info.value if rules.mode == "max" else info.value
            run_id = str(info.run.get("run_id") or info.folder.name)
            groups.setdefault(info.group, []).append((is_nan, order, info.folder, run_id))
    best: set[Path] = set()
    for group in groups.values():
        ids = set(list(dict.fromkeys(run_id for *_, run_id in sorted(group)))[: rules.keep_best])
        best |= {folder for *_, folder, run_id in group if run_id in ids}
    return best


def _best_settings(rules: Rules, infos: Iterable[RunInfo]) -> set[Path]:
    """Return the folders of all runs of the configurations with the best means.

    Of several runs of one configuration and seed the latest counts in the mean.
    """
    groups: dict[tuple[int, ...], dict[int | None, list[RunInfo]]] = {}
    for info in infos:
        groups.setdefault(info.group, {}).setdefault(info.setting, []).append(info)
    best: set[Path] = set()
    for settings in groups.values():
        means = []
        for setting, members in settings.items():
            ranked = sorted((one for one in members if one.is_ranked), key=lambda one: -one.age)
            values = [v for v in {one.seed: one.value for one in ranked}.values() if v is not None]
            numbers = [value for value in values if not math.isnan(value)]
            if values:
                mean = sum(value / len(numbers) for value in numbers) if numbers else 0.0
                order = -mean if rules.mode == "max" else mean
                means.append((not numbers, order, members[0].folder, setting))
        for *_, setting in sorted(means)[: rules.keep_best]:
            best |= {info.folder for info in settings[setting]}
    return best
