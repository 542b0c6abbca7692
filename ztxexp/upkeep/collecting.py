"""Which runs may go by rule: the rules of ``ResultAnalyzer.gc``, and the runs as they see them.

What runs weigh stands in ``weighing``; how one is deleted, and what never is, in ``cleaning``.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.selection import status_words, words
from ztxexp.text.format import age, sanitize_for_terminal
from ztxexp.text.terminal import watched
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import RUN_STATUS_SUCCEEDED
from ztxexp_core.store.liveness import as_it_is
from ztxexp_core.store.run_folder import SUBFOLDERS, RunFiles, read_record, read_run, run_folders
from ztxexp_core.values.codec import is_number, number
from ztxexp_core.values.copying import flat, lookup
from ztxexp_core.values.identity import canonical

Age = float | datetime.timedelta | str

MODES = ("max", "min")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


# ---- rules -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """What lets a run go: all of the rules that are given.

    Attributes:
        keep_best: so many runs of each group stay.
        metric: by which they are the best.
        mode: ``"max"`` or ``"min"``.
        per: keys of the configuration by which runs are grouped.
        older_than: seconds since their end.
        statuses: which they have.
        only: the folder of a run that is emptied; ``None``: the run goes altogether.
    """

    keep_best: int | None = None
    metric: str | None = None
    mode: str = "max"
    per: tuple[str, ...] = ()
    older_than: float | None = None
    statuses: frozenset[str] | None = None
    only: str | None = None

    @classmethod
    def of(
        cls,
        keep_best: int | None,
        metric: str | None,
        mode: str,
        per: str | Sequence[str] | None,
        older_than: Age | None,
        statuses: Sequence[str] | None,
        only: str | None,
    ) -> Rules:
        """Make rules from the arguments of ``gc``.

        Raises:
            ConfigError: no rule, or one that makes no sense.
        """
        if keep_best is None and older_than is None and statuses is None:
            raise ConfigError(
                "gc has no rule by which a run may go; give keep_best and metric, older_than, or "
                "statuses"
            )
        if metric is not None and not isinstance(metric, str):
            raise ConfigError(f"metric must be a text, got {metric!r}")
        _check_best(keep_best, metric, per)
        _check_word("mode", mode, MODES)
        if only is not None:
            _check_word("only", only, SUBFOLDERS)
        return cls(
            keep_best,
            metric,
            mode,
            tuple(words(per, "per")),
            None if older_than is None else seconds_of(older_than),
            None if statuses is None else frozenset(status_words(statuses)),
            only,
        )

    def __str__(self) -> str:
        told = []
        if self.keep_best is not None:
            of = f" of each {', '.join(self.per)}" if self.per else ""
            best = "largest" if self.mode == "max" else "smallest"
            told.append(f"not among the {self.keep_best} with the {best} {self.metric}{of}")
        if self.older_than is not None:
            told.append(f"ended more than {age(self.older_than)} ago")
        if self.statuses is not None:
            told.append(" or ".join(sorted(self.statuses)) or "no status")
        return sanitize_for_terminal(", ".join(told))


def _check_best(keep_best: object, metric: object, per: object) -> None:
    whole = isinstance(keep_best, int) and not isinstance(keep_best, bool) and keep_best >= 1
    if keep_best is not None and not whole:
        raise ConfigError(f"keep_best must be a whole number from 1, got {keep_best!r}")
    if (keep_best is None) != (metric is None):
        raise ConfigError('keep_best and metric go together, as in keep_best=3, metric="score"')
    if per is not None and keep_best is None:
        raise ConfigError("per says of what the best are kept: give keep_best and metric too")


def _check_word(name: str, word: object, known: tuple[str, ...]) -> None:
    if word not in known:
        choice = " or ".join(map(repr, known))
        raise ConfigError(f"{name} is {choice}, not {word!r}{closest(word, known)}")


def seconds_of(age: Age) -> float:
    """Return an age in seconds.

    Args:
        age: seconds, a ``timedelta``, or a number with a unit: s, min, h, d, w.

    Raises:
        ConfigError: it is none of these.

    Example:
        >>> seconds_of("30d"), seconds_of(datetime.timedelta(hours=1))
        (2592000.0, 3600.0)
    """
    if isinstance(age, datetime.timedelta):
        age = age.total_seconds()
    if isinstance(age, str):
        found = _AGE.fullmatch(age)
        if found and found[2] in _UNITS:
            return float(found[1]) * _UNITS[found[2]]
    elif is_number(age) and 0 <= age < math.inf:
        return float(age)
    raise ConfigError(
        f"older_than must be seconds, a timedelta, or a text such as '30d', got {age!r}; the units "
        f"are {', '.join(_UNITS)}"
    )


# ---- runs as the rules see them --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as the rules see it.

    Attributes:
        folder: its folder.
        run: its record as it stands on disk.
        statuses: that of the record; of a run whose process is gone, "failed" as well.
        age: seconds since it ended, or since it was last written to.
        value: its metric, ``None`` where it has no such number.
        group: among which it may be the best.
    """

    folder: Path
    run: dict[str, Any]
    statuses: frozenset[str]
    age: float
    value: float | None
    group: bytes

    @property
    def ranked(self) -> bool:
        """Whether it can be among the best."""
        return self.value is not None and self.run.get("status") == RUN_STATUS_SUCCEEDED


def seen_by(rules: Rules, root: Path) -> list[Seen]:
    """Return the runs of a root as some rules see them, but for links and damaged records.

    Raises:
        ConfigError: no run has the metric, or none has a key of ``per``.
    """
    now, found = time.time(), []
    metrics_known: set[str] = set()
    keys_known: set[str] = set()
    for folder in watched("reading runs", list(run_folders(root))):
        run = read_run(folder)
        if run is None or os.path.islink(folder):
            continue  # a link must not be kept as the best in the place of what it leads to
        files = RunFiles(folder)
        config = read_record(files.config)
        if config is None and os.path.lexists(files.config):
            continue  # damaged: the store names it
        metrics = (read_record(files.metrics) or {}) if rules.metric else {}
        metrics_known.update(name for name, value in flat(metrics) if _value(value) is not None)
        if rules.per:
            keys_known.update(name for name, _ in flat(config or {}))
            keys_known.update(config or {})
        shown = as_it_is(run, folder)
        statuses = frozenset(str(record.get("status")) for record in (run, shown))
        value = _value(lookup(metrics, rules.metric)) if rules.metric else None
        try:
            group = canonical({key: lookup(config or {}, key) for key in rules.per})
        except ConfigError:  # a hostile file: nested without end
            continue
        found.append(Seen(folder, run, statuses, _age(files, shown, now), value, group))
    _check_names(rules, found, metrics_known, keys_known)
    return found


def _check_names(
    rules: Rules, found: list[Seen], metrics: Collection[str], keys: Collection[str]
) -> None:
    # A misspelt metric would make every run one of those that are not among the best.
    succeeded = any(RUN_STATUS_SUCCEEDED in seen.statuses for seen in found)
    if rules.metric and succeeded and not any(seen.ranked for seen in found):
        raise ConfigError(
            f"no run that succeeded has a number {rules.metric!r} in its metrics.json"
            f"{closest(rules.metric, metrics)}; known: {', '.join(sorted(metrics)) or 'none'}"
        )
    for key in rules.per:
        if found and key not in keys:
            raise ConfigError(f"per={key!r}: no configuration has that key{closest(key, keys)}")


def _value(value: Any) -> float | None:
    value = number(value)
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):  # no number, or an integer that no float holds
        return None
    return value if is_number(value) else None


def _age(files: RunFiles, run: Mapping[str, Any], now: float) -> float:
    """Return the seconds since a run ended; without a date, since a file of it was written."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        ended = datetime.datetime.fromisoformat(run["finished_at"])
        if ended.tzinfo is None:
            ended = ended.replace(tzinfo=datetime.timezone.utc)
        return now - ended.timestamp()
    written = []
    for path in (files.run, files.curve, files.events):
        with contextlib.suppress(OSError):
            written.append(os.stat(path).st_mtime)
    return now - max(written, default=now)


def chosen(rules: Rules, found: Sequence[Seen]) -> list[Seen]:
    """Return the runs that all rules let go, in the order in which they came.

    The best stay whatever the other rules say. A run that cannot be ranked, since it has not
    succeeded or has no such number, may go only where ``statuses`` names what it is; one that
    succeeded without the number stays.
    """
    best = _best(rules, found)
    return [seen for seen in found if _may_go(rules, seen, best)]


def _may_go(rules: Rules, seen: Seen, best: Collection[Path]) -> bool:
    if rules.statuses is not None and rules.statuses.isdisjoint(seen.statuses):
        return False
    if rules.older_than is not None and not seen.age > rules.older_than:
        return False
    if rules.keep_best is None or seen.ranked:
        return seen.folder not in best
    return rules.statuses is not None and RUN_STATUS_SUCCEEDED not in seen.statuses


def _best(rules: Rules, found: Iterable[Seen]) -> set[Path]:
    """Return the folders of the best runs; a copy of one, with its id, stays with it."""
    groups: dict[bytes, list[tuple[bool, float, Path, str]]] = {}
    if rules.keep_best is not None:
        for seen in found:
            if seen.ranked and seen.value is not None:
                order = -seen.value if rules.mode == "max" else seen.value
                lost = math.isnan(seen.value)  # a run that came to nothing is never the best
                run_id = str(seen.run.get("run_id") or seen.folder.name)
                groups.setdefault(seen.group, []).append(
                    (lost, 0.0 if lost else order, seen.folder, run_id)
                )
    best = set()
    for group in groups.values():
        kept = set(list(dict.fromkeys(run_id for *_, run_id in sorted(group)))[: rules.keep_best])
        best |= {folder for *_, folder, run_id in group if run_id in kept}
    return best
