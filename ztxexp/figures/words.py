"""The words of figures: labels of groups, and the sentences of captions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ztxexp.analysis.labels import Labels
from ztxexp.analysis.run_table import RunTable
from ztxexp.results.code_versions import versions
from ztxexp.results.direction import ASKED, Direction, known_direction
from ztxexp.results.keys import ABSENT
from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp.text.labels import label
from ztxexp_core.records import RUN_STATUS_SUCCEEDED

_SHOWN = 8
_LONGEST = 40  # characters of a label

BANDS = {
    "std": "± 1 standard deviation (n − 1)",  # noqa: RUF001
    "sem": "± 1 standard error of the mean",
    "ci95": "95 % confidence interval of the mean, by Student's t",
    "minmax": "from the smallest to the largest",
    "none": "none",
}


_labels: ContextVar[Labels | None] = ContextVar("labels", default=None)


@contextmanager
def called(labels: Labels | Mapping[Any, Any] | None) -> Iterator[None]:
    """Let keys, values and metrics have these names in all figures made within this block."""
    token = _labels.set(labels if isinstance(labels, Labels) else Labels(labels))
    try:
        yield
    finally:
        _labels.reset(token)


def labels_now() -> Labels:
    """Return the labels that count now."""
    return _labels.get() or Labels(None)


def key_text(name: str) -> str:
    """Return what a key or a metric is called."""
    labels = labels_now()
    given = labels.given_key(name)
    if given is None:
        given = labels.given_key(name.removeprefix("config."))
    return name if given is None else given


def keys_text(names: Iterable[str]) -> str:
    """Return what several keys are called, with commas."""
    return ", ".join(map(key_text, names))


def value_text(value: Any, key: str | None = None) -> str:
    """Return a value as a figure shows it; ``-`` where there is none.

    Args:
        value: the value.
        key: of which it is; then a label of it counts.
    """
    if key is not None and value is not None and value is not ABSENT:
        labels = labels_now()
        for name in dict.fromkeys((key, key.removeprefix("config."))):
            given = labels.given_value(name, value)
            if given is not None:
                return given
    if value is None or value is ABSENT:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (str, bool)):
        return cut(sanitize_for_terminal(str(value)), _LONGEST)
    return label({"": value}, width=_LONGEST).removeprefix("=")


def group_text(keys: Sequence[str], values: Sequence[Any], short: bool = True) -> str:
    """Return what tells a group apart: ``lr=0.1 hidden=16``.

    Args:
        keys: the keys.
        values: their values.
        short: values only, ``0.1, 16``.
    """
    if not keys:
        return "all"
    if short:
        return ", ".join(value_text(v, k) for k, v in zip(keys, values, strict=True))
    pairs = zip(keys, values, strict=True)
    return " ".join(f"{sanitize_for_terminal(key_text(k))}={value_text(v, k)}" for k, v in pairs)


def listed(values: Iterable[Any], most: int = _SHOWN) -> str:
    """Return values with commas, the first few of many."""
    texts = list(map(value_text, values))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def noun_of(over: Sequence[str], count: int) -> str:
    """Return ``5 seeds``, or ``5 values of fold``."""
    if not over:
        return plural(count, "run")
    if all("seed" in key.lower() or "state" in key.lower() for key in over):
        return plural(count, "seed")
    return f"{plural(count, 'value')} of {keys_text(over)}"


def mean_sentence(
    what: str, over: Sequence[str], groups: Sequence[tuple[str, Sequence[Any], int]]
) -> str:
    """Return what a mean is over, with n and the seeds.

    Args:
        what: what is shown: ``accuracy by step``.
        over: keys that are averaged over.
        groups: for each group its label, its seeds and its number of runs.
    """
    counts = sorted({n for _, _, n in groups})
    if any(len(set(map(value_text, of))) < n for _, of, n in groups):
        over = ()  # several runs have the same seed
    if counts == [1]:
        return f"{what}: one run each, so there is no mean and no spread."
    if len(counts) == 1:
        text = f"{what}: mean over {noun_of(over, counts[0])}"
        same = len({tuple(sorted(map(value_text, of))) for _, of, _ in groups}) == 1
        if over and same:
            return f"{text} ({listed(groups[0][1])})."
        return f"{text}, not the same ones in every group." if over else f"{text} each."
    most = max(groups, key=lambda one: one[2])
    text = f"{what}: mean over {counts[0]} to {noun_of(over, counts[-1])}"
    fewer = [f"{name} has {n}" for name, _, n in groups if n < most[2]]
    more = f" and {len(fewer) - 4} more" if len(fewer) > 4 else ""
    return f"{text}; {', '.join(fewer[:4])}{more}."


def mixed_sentence(keys: Sequence[str]) -> list[str]:
    """Return that means are over different settings, where they are."""
    if not keys:
        return []
    return [f"Runs of one group differ in {keys_text(keys)}: the means are over mixed settings."]


def direction_sentence(metric: str, known: Direction | None) -> str:
    """Return which values are better; nothing where nothing says it."""
    if known is None:
        return f"Nothing says whether large or small values of {key_text(metric)} are better."
    better = "Larger" if known.mode == "max" else "Smaller"
    source = "" if known.source == ASKED else f" ({known.source})"
    return f"{better} is better{source}."


def runs_sentence(
    table: RunTable, without: int = 0, lacks: str = "a finite number", superseded: int = 0
) -> str:
    """Return how many runs of which status and code stand behind a figure.

    Args:
        table: the runs.
        without: how many more lack something.
        lacks: this.
        superseded: how many more were left out for a later one of the same configuration.
    """
    statuses = Counter(map(str, table.runs.run.column("status")))
    text = plural(len(table), "run")
    if set(statuses) == {RUN_STATUS_SUCCEEDED}:
        text += " that succeeded" if len(table) > 1 else " that has succeeded"
    else:
        parts = [f"{count} {status}" for status, count in sorted(statuses.items())]
        text += f" ({', '.join(parts)})"
    if without:
        text += f"; {without} more {'has' if without == 1 else 'have'} not {lacks}"
    if superseded:
        text += (
            f"; left out {plural(superseded, 'run')}, since a later one of the same configuration "
            "succeeded too"
        )
    code = versions(table.code)
    mixed = [name for name in code if name != "?"]
    if len(mixed) > 1:
        return f"{text}. Versions of the code are mixed: {', '.join(code)}."
    return f"{text}, code {code[0]}." if mixed else f"{text}."


def direction_for(table: RunTable, metric: str, mode: str) -> Direction | None:
    """Return what is the best of a metric, whatever its split is."""
    root = table.runs.root
    return known_direction(metric, mode, root) or known_direction(
        metric.rpartition("/")[2], mode, root
    )


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
