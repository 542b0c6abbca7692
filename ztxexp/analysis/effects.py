"""Main effects: how much each key moves a metric over all else, and which keys interact.

No pandas, no scipy: the page of a report and a shell ask for it. Everything rests on *settings*,
the combinations of all keys that vary but for those of seeds, each with the mean over its seeds. So
no seed counts as a parameter, and a setting with more seeds does not count for more.

The mean of a value is the plain mean over its settings. Its 95 % interval is Student's t over them.
Where each combination of the other keys has all values of the key (a full grid), what such a
combination does to all values alike is taken out first, as Cousineau and Morey do for repeated
measures: otherwise a key with a large effect would hide that of every other.

Two keys *interact* where their effects do not add up. That is judged by the F test of analysis of
variance with unweighted means: the part of the cell means that does not add up, against the spread
over seeds within settings. A pair is named where p, times the number of pairs that were tested, is
below 0.05, and the largest part that does not add up is at least a quarter of the key's range: of
two values, where the effect of the key is half as large again, or half as small, as its mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp.analysis.aggregation import t_95
from ztxexp.analysis.f_distribution import f_above
from ztxexp.analysis.grouping import as_float, grouped, mean_of
from ztxexp.analysis.run_table import RunTable
from ztxexp.analysis.settings import Settings, order_of, settings_of, shown
from ztxexp.results.direction import known_direction
from ztxexp.results.keys import flattened, seed_keys, varying
from ztxexp.results.selection import RunSet
from ztxexp.text.format import plural
from ztxexp.text.labels import label
from ztxexp_core.errors import ConfigError

_SURE = 0.05  # p of an interaction, after correction for the number of pairs
_LARGE = 0.25  # of the range of a key


@dataclass(frozen=True)
class Level:
    """A value of a key.

    Attributes:
        value: the value; ``None`` where the settings lack the key; of a range its two ends as text.
        mean: of the settings with this value.
        low: lower end of the 95 % interval; ``None`` where there are fewer than two settings.
        high: upper end.
        n: how many settings, not runs.
    """

    value: Any
    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Effect:
    """The main effect of a key on a metric.

    Attributes:
        metric: what was measured.
        key: the key.
        levels: its values, in order.
        range: largest mean minus smallest.
        interacts: for each key that changes the effect a sentence that begins with its name.
        notes: sentences on what limits the comparison.
        mode: what is the best of the metric, ``"max"`` or ``"min"``; ``None``: nothing says it.
        paired: whether intervals are without what other keys do to all values alike.
    """

    metric: str
    key: str
    levels: list[Level]
    range: float
    interacts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mode: str | None = None
    paired: bool = False


def main_effects(
    runs: RunSet | RunTable,
    metric: str,
    keys: Sequence[str] | None = None,
    over: Sequence[str] | None = None,
    mode: str | None = None,
) -> list[Effect]:
    """Return the main effect of each key on a metric, the largest first.

    Args:
        runs: the runs that count: usually those that succeeded. A run without a finite number for
            the metric is left out.
        metric: its key.
        keys: which; ``None``: all that vary but for those of seeds.
        over: keys that are averaged over; ``None``: those of seeds.
        mode: ``"max"`` or ``"min"``; ``None``: as declared, or as the name says.

    Raises:
        ConfigError: a key or metric that no run has, a key that does not vary, or another mode.

    Example:
        >>> [(effect.key, effect.range) for effect in main_effects(table, "accuracy")]
        [('lr', 0.041), ('hidden', 0.03)]
    """
    chosen = runs.runs if isinstance(runs, RunTable) else runs
    if not len(chosen):
        return []
    vary = list(varying(flattened(chosen.config)))
    averaged = seed_keys(vary) if over is None else list(over)
    groups = grouped(chosen, None, averaged, [metric], "effects", warn_of_seeds=False)
    free = list(groups.keys)
    for key in keys or ():
        if key not in free:
            raise ConfigError(_no_effect(key, free, averaged))
    ((name, cells),) = groups.measured.items()
    members = [[cells[at] for at in of] for of in groups.members()]
    means = list(map(mean_of, members))
    there = [at for at, mean in enumerate(means) if mean.n]
    if not there:
        return []
    known = known_direction(name, mode or "", chosen.root)
    settings, notes = settings_of([means[at] for at in there], there, groups.keys)
    if averaged and any(groups.differ[at] for at in there):
        lacking = sum(groups.differ[at] for at in there)
        notes.append(f"{lacking} of {plural(len(there), 'setting')} lack seeds that others have")
    if groups.left_out:
        notes.append(
            f"{plural(len(groups.left_out), 'run')} left out, since a later one of the same "
            "configuration succeeded too"
        )
    lost = sum(not math.isfinite(as_float(cell)) for of in members for cell in of)
    if lost:
        notes.append(f"{plural(lost, 'run')} without a finite number left out")
    effects = []
    for key in settings.apart if keys is None else dict.fromkeys(keys):
        if len(set(settings.codes.get(key, ()))) < 2:
            continue
        effect = _effect(name, key, settings, known.mode if known else None)
        same = [other for other in settings.together[key] if other != key]
        if same:
            effect.notes.append(
                f"{key} and {', '.join(same)} change together; their effects cannot be told apart"
            )
        effect.notes.extend(notes)
        effects.append(effect)
    _judge(effects, settings)
    return sorted(effects, key=lambda effect: -effect.range)


def _no_effect(key: str, free: Sequence[str], averaged: Sequence[str]) -> str:
    if key in averaged:
        return f"{key!r} is averaged over, so it has no effect to show"
    listed = ", ".join(free) or "none"
    return f"{key!r} does not vary, so it has no effect to show; these vary: {listed}"


# ---- one key ---------------------------------------------------------------------------------


def _effect(metric: str, key: str, settings: Settings, mode: str | None) -> Effect:
    of, cells = settings.codes[key], settings.values[key]
    numbers = [mean.mean for mean in settings.means]
    members: dict[int, list[int]] = {}
    for at, code in enumerate(of):
        members.setdefault(code, []).append(at)
    blocks = settings.blocks((key,), [len(members)])
    paired = len(blocks) > 1 and sum(map(len, blocks)) == len(numbers)
    spread, notes = numbers, []
    if paired:
        spread = list(numbers)
        for block in blocks:
            mean = math.fsum(numbers[at] for at in block) / len(block)
            for at in block:
                spread[at] = numbers[at] - mean
    elif any(settings.others(key)) and len(numbers) > len(members):
        notes.append(
            f"the values of {key} are compared over different settings of the other keys, so part "
            "of a difference may be theirs"
        )
    grown = math.sqrt(len(members) / (len(members) - 1)) if paired else 1.0
    levels = []
    for code in sorted(members, key=lambda code: order_of(cells[members[code][0]], code)):
        within = members[code]
        usual = mean_of(numbers[at] for at in within)
        std = mean_of(spread[at] for at in within).std * grown
        half = t_95(usual.n - 1) * std / math.sqrt(usual.n) if usual.n > 1 else None
        low, high = (None, None) if half is None else (usual.mean - half, usual.mean + half)
        levels.append(Level(shown(cells[within[0]]), usual.mean, low, high, usual.n))
    means = [level.mean for level in levels]
    width = max(means) - min(means)
    return Effect(metric, key, levels, width, [], notes, mode, paired)


# ---- pairs of keys ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two keys that were tested: part of each cell that does not add up, p, and the cell means."""

    keys: tuple[str, str]
    p: float
    apart: float
    cells: dict[tuple[int, int], float]


def _judge(effects: Sequence[Effect], settings: Settings) -> None:
    """Write into the effects which keys interact, or that it cannot be judged."""
    keys = settings.apart
    freedom = sum(mean.n - 1 for mean in settings.means)
    if len(keys) < 2:
        return
    if not freedom:
        for effect in effects:
            effect.notes.append(
                "without repeated seeds nothing says how much is chance, so interactions are not "
                "judged"
            )
        return
    squares = [mean.std**2 * (mean.n - 1) for mean in settings.means if mean.n > 1]
    error = math.fsum(squares) / freedom
    pairs = [_pair(settings, one, other, error, freedom) for one, other in _two(keys)]
    tested = [pair for pair in pairs if pair is not None]
    for effect in effects:
        own = settings.together[effect.key][0]
        for pair in tested:
            p = min(1.0, pair.p * len(tested))
            if own in pair.keys and p < _SURE and pair.apart >= _LARGE * effect.range:
                effect.interacts.append(_sentence(effect.key, own, pair, p, settings))
        untested = [
            pair for pair, of in zip(_two(keys), pairs, strict=True) if own in pair and of is None
        ]
        if untested:
            others = [b if a == own else a for a, b in untested]
            effect.notes.append(
                f"whether {effect.key} interacts with {', '.join(others)} cannot be judged: no "
                "combination of the other keys has all values of both"
            )


def _two(keys: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.combinations(keys, 2))


def _pair(settings: Settings, one: str, other: str, error: float, freedom: int) -> _Pair | None:
    """Test a pair of keys; ``None`` where no combination of the others has all their values."""
    rows, cols = (sorted(set(settings.codes[key])) for key in (one, other))
    blocks = settings.blocks((one, other), (len(rows), len(cols)))
    if not blocks:
        return None
    places = list(itertools.product(rows, cols))
    mean = {
        place: math.fsum(settings.means[block[at]].mean for block in blocks) / len(blocks)
        for at, place in enumerate(places)
    }
    of_row = {r: math.fsum(mean[r, c] for c in cols) / len(cols) for r in rows}
    of_col = {c: math.fsum(mean[r, c] for r in rows) / len(rows) for c in cols}
    whole = math.fsum(mean.values()) / len(mean)
    apart = {(r, c): mean[r, c] - of_row[r] - of_col[c] + whole for r, c in places}
    counts = [settings.means[at].n for block in blocks for at in block]
    usual = len(counts) / math.fsum(1 / n for n in counts)  # harmonic mean
    degrees = (len(rows) - 1) * (len(cols) - 1)
    square = usual * len(blocks) * math.fsum(part * part for part in apart.values()) / degrees
    largest = max(map(abs, apart.values()))
    scale = max(1e-300, max(map(abs, mean.values())))
    if largest <= 1e-12 * scale:
        p = 1.0  # nothing but rounding
    else:
        p = 0.0 if error == 0 else f_above(square / error, degrees, freedom)
    return _Pair((one, other), p, largest, mean)


def _sentence(key: str, own: str, pair: _Pair, p: float, settings: Settings) -> str:
    """Return ``hidden: from lr=0.1 to lr=0.2 it is +0.07 at hidden=16, but -0.01 at hidden=64``."""
    here = pair.keys.index(own)
    other = pair.keys[1 - here]
    effects: dict[int, dict[int, float]] = {}
    for place, mean in pair.cells.items():
        effects.setdefault(place[1 - here], {})[place[here]] = mean
    values = dict(zip(settings.codes[own], settings.values[own], strict=True))
    of_other = dict(zip(settings.codes[other], settings.values[other], strict=True))
    totals = {code: sum(of[code] for of in effects.values()) for code in values}
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    change = {code: of[high] - of[low] for code, of in effects.items()}
    least, most = min(change, key=change.__getitem__), max(change, key=change.__getitem__)
    from_to = f"from {label({own: shown(values[low])})} to {label({own: shown(values[high])})}"
    at_most = f"{change[most]:+.3g} at {label({other: shown(of_other[most])})}"
    at_least = f"{change[least]:+.3g} at {label({other: shown(of_other[least])})}"
    test = "F test, p < 0.001" if p < 0.001 else f"F test, p = {p:.3f}"
    return f"{other}: {from_to} it is {at_most}, but {at_least} ({test})"
