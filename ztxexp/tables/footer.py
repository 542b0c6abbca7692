"""The sentences below a table: what its numbers are, what they are not, and what the test says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.analysis.labels import Labels
from ztxexp.results.direction import ASKED
from ztxexp.results.to_type import line_to_type
from ztxexp.tables.facts import Facts
from ztxexp.tables.model import MEDIAN, Cell, Table, text_of
from ztxexp.tables.tests import EXACT_PAIRS, RESAMPLES, p_text
from ztxexp.text.format import plural, short_value

_SHOWN = 5  # cells that are named
_SEEDS_SHOWN = 12
_PS_SHOWN = 8

_WHAT = {
    "std": "mean ± std",
    "sem": "mean ± standard error",
    "ci95": "mean ± half of the 95 % confidence interval (Student's t)",
    MEDIAN: "median and quartiles",
    "none": "mean",
}
_TESTS = {
    "paired-t": "Paired t-test, which takes differences for normally distributed",
    "wilcoxon": "Wilcoxon signed-rank test",
    "bootstrap": f"Percentile bootstrap of the mean difference ({RESAMPLES} samples; with few "
    "seeds it is too sure, so p is at least 2/2^n)",
}
_SHORT_TESTS = {
    "paired-t": "Paired t-test",
    "permutation": "Permutation test",
    "wilcoxon": "Wilcoxon signed-rank test",
    "bootstrap": "Percentile bootstrap",
}


def footer_of(table: Table, facts: Facts) -> list[str]:
    """Return the sentences for below a table."""
    return [f"{line}." for line in _facts(table, facts)]


def short_notes_of(table: Table) -> list[str]:
    """Return the least that a caption has to say: marks, spread, n and test."""
    counts = sorted({cell.n for cell in _own(table)}) or [0]
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {table.usual[0]}, or as a cell says"
    lines = [legend_of(table)]
    lines.append(
        "One run in each cell" if counts == [1] else f"{_WHAT[table.show]}, {n}".capitalize()
    )
    if table.test is not None:
        corrected = "Holm's correction" if table.correct == "holm" else "no correction"
        over = ", ".join(map(names_of(table).key, table.over))
        lines.append(
            f"{_SHORT_TESTS[table.test]} paired by {over}, against {against_text(table)}; "
            f"{corrected}; alpha = {table.alpha:g}"
        )
        lines += _signs(table)
        tests = {at: cell.test for at, cell in table.cells.items() if cell.test is not None}
        done = {at: one for at, one in tests.items() if one.p is not None}
        if any(one.significant is None for one in done.values()):
            lines += list(_impossible(table, tests, done))[:1]
    return [f"{line}." for line in lines if line]


def _facts(table: Table, facts: Facts) -> Iterator[str]:
    legend = legend_of(table)
    if legend:
        yield legend
    yield from _numbers(table)
    yield from facts.at
    yield from facts.averages
    yield from _of_tests(table)
    yield from _runs(table, facts)
    yield from _code(table, facts)
    if has_reported(table):
        path = Path(str(table.source["options"].get("reported"))).name
        yield f"Reported values are from {path}, not from runs: no seeds, no test"
        if table.test is not None:
            yield "Tests compare runs with runs, never with reported values"


def has_reported(table: Table) -> bool:
    """Return whether a table has values that others have reported."""
    return any(cell.reported for cell in table.cells.values())


# ---- what is shown -----------------------------------------------------------------------------


def legend_of(table: Table) -> str:
    """Return what bold and underlined mean; an empty text where nothing is either."""
    marks = {mark for cell in table.cells.values() for mark in cell.marks}
    if "best" not in marks:
        return ""
    place = place_text(table)
    if "separable" in table.highlight:
        if has_reported(table):
            return (
                f"Bold: the best {place}, and of the runs the best and what cannot be told from it"
            )
        return f"Bold: the best {place}, and what the test cannot tell from it"
    second = "; underlined: second best" if "second" in marks else ""
    return f"Bold: best {place}{second}"


def place_text(table: Table) -> str:
    """Return where the best is looked for, ``of each column``."""
    scope = table.highlight.split()[0]
    if scope == "table":
        return "of each metric" if len(table.metrics) > 1 else "of the table"
    across = "column" if any(row.metric for row in table.rows) else "row"
    mixes = len(table.metrics) > 1 and scope in (across, "block")
    return f"of each {scope}{' and metric' if mixes else ''}"


def _numbers(table: Table) -> Iterator[str]:
    metrics = []
    for one in table.metrics:
        asked = one.source == ASKED
        mode = f" ({one.mode}{'' if asked else f', {one.source}'})" if one.mode else ""
        metrics.append(f"{one.label}{' in percent' if one.percent else ''}{mode}")
    counts = sorted({cell.n for cell in _own(table)}) or [0]
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {table.usual[0]}, or as a cell says"
    before = f"{', '.join(metrics)}: {_WHAT[table.show]}"
    if not table.over:
        single = counts == [1]
        what = (
            "one run in each cell" if single else f"{_WHAT[table.show]} of the runs of a cell, {n}"
        )
        yield f"{', '.join(metrics)}: {what}"
        yield from _without_run(_lacking(table))
        return
    over = ", ".join(map(names_of(table).key, table.over))
    lacking = _lacking(table)
    every = f"{_seeds(table.seeds)} in every cell" if not lacking else _uneven(table)
    if has_own_seeds(table):
        lacking, every = {}, f"{_seeds(table.seeds)}; no two cells share one"
    yield f"{before} over {over} ({every}), {n}"
    for cell, seeds in list(lacking.items())[:_SHOWN]:
        has_none = len(seeds) == len(table.seeds)
        yield f"{cell} has no run" if has_none else f"{cell} lacks {over} {_seeds(seeds)}"
    if len(lacking) > _SHOWN:
        yield f"{len(lacking) - _SHOWN} more cells lack some"


def _without_run(lacking: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    if len(lacking) > _SHOWN:
        yield f"{len(lacking)} cells have no run"
    else:
        yield from (f"{cell} has no run" for cell in lacking)


def has_own_seeds(table: Table) -> bool:
    """Return whether no seed stands in two cells, as where each run has drawn its own."""
    name = table.metrics[0].name
    cells = [cell for cell in _own(table) if cell.metric == name]
    several = len(cells) > 1 and len(table.seeds) > 1
    return several and sum(len(set(map(repr, cell.seeds))) for cell in cells) == len(table.seeds)


def _uneven(table: Table) -> str:
    return f"{_seeds(table.seeds)}; some cells lack some"


def _lacking(table: Table) -> dict[str, Sequence[Any]]:
    """Return by cell the seeds that it lacks, those of several metrics once."""
    lacking: dict[str, Sequence[Any]] = {}
    for values, seeds in table.missing():
        name = where(table, values)
        if len(seeds) > len(lacking.get(name, ())):
            lacking[name] = seeds
    return lacking


def names_of(table: Table) -> Labels:
    """Return what keys and values of a table are called."""
    return Labels(table.source["options"].get("labels"))


def where(table: Table, values: Mapping[str, Any]) -> str:
    """Return the name of a cell, ``hidden=16 lr=0.1``, with the labels of the table."""
    names = names_of(table)
    pairs = (f"{names.key(key)}={names.value(key, value)}" for key, value in values.items())
    return " ".join(pairs) or "The one cell"


def _seeds(values: Sequence[Any]) -> str:
    shown = " ".join(map(short_value, values[:_SEEDS_SHOWN]))
    return f"{shown} ..." if len(values) > _SEEDS_SHOWN else shown


def _own(table: Table) -> list[Cell]:
    return [cell for cell in table.cells.values() if cell.kind == "data"]


# ---- tests -------------------------------------------------------------------------------------


def _of_tests(table: Table) -> Iterator[str]:
    if table.test is None:
        return
    tests = {at: cell.test for at, cell in sorted(table.cells.items()) if cell.test is not None}
    done = {at: one for at, one in tests.items() if one.p is not None}
    pairs = sorted({one.n_pairs for one in done.values()})
    against = against_text(table)
    size = len(done)
    if table.correct == "holm":
        correction = f"Holm's correction over {plural(size, 'comparison')}"
    else:
        correction = f"no correction for {plural(size, 'comparison')}"
    name = _TESTS.get(table.test) or _of_permutation(pairs)
    over = ", ".join(map(names_of(table).key, table.over))
    yield (
        f"{name}, two-sided, paired by {over} ({_pairs(pairs)}), against {against}; {correction}; "
        f"alpha = {table.alpha:g}"
    )
    if table.show == MEDIAN and table.test != "wilcoxon":
        yield "The test compares means, not medians"
    yield from _signs(table)
    if done and len(done) <= _PS_SHOWN:
        listed = "; ".join(
            f"{_cell_name(table, at)} {p_text(one.corrected or 0.0)}" for at, one in done.items()
        )
        yield f"{'Corrected p' if table.correct == 'holm' else 'p'}: {listed}"
    yield from _impossible(table, tests, done)


def against_text(table: Table) -> str:
    """Return what is compared with, ``the best of each column``."""
    if isinstance(table.against, str):
        best = "best of the runs" if has_reported(table) else "best"
        return f"the {best} {place_text(table)}, which the same runs have chosen"
    return where(table, table.against)


def _of_permutation(pairs: Sequence[int]) -> str:
    if pairs and pairs[-1] > EXACT_PAIRS:
        return f"Permutation test of the mean difference ({RESAMPLES} random changes of signs)"
    return "Exact permutation test of the mean difference"


def _pairs(pairs: Sequence[int]) -> str:
    if not pairs:
        return "no pairs"
    return f"{pairs[0]} pairs" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} pairs"


def _signs(table: Table) -> Iterator[str]:
    marks = {mark for cell in table.cells.values() for mark in cell.marks}
    if isinstance(table.against, str):
        if "separable" in marks and "separable" not in table.highlight:
            best = "the best of the runs" if has_reported(table) else "the best"
            yield f"† cannot be told from {best}"
        if any(text_of(cell, table).sign == "§" for cell in table.cells.values()):
            yield "§ is the best of the runs where a reported value is better; it is compared with"
        return
    baseline = where(table, table.against)
    words = [("better", "† better"), ("worse", "‡ worse"), ("differs", "† other")]
    listed = ", ".join(text for mark, text in words if mark in marks)
    yield f"{listed} than {baseline}" if listed else f"No cell can be told from {baseline}"


def _cell_name(table: Table, at: tuple[int, int]) -> str:
    name = where(table, table.keys_of(at))
    several = len(table.metrics) > 1
    return f"{table.metric(table.cells[at].metric).label} {name}" if several else name


def _impossible(table: Table, tests: Mapping[Any, Any], done: Mapping[Any, Any]) -> Iterator[str]:
    hopeless = [one for one in done.values() if one.significant is None]
    if hopeless:
        least = min(hopeless, key=lambda one: one.least_p)
        family = len(done) if table.correct == "holm" else 1
        text = f"p = {p_text(least.least_p)}"
        if family > 1 and len(hopeless) == len(done):
            text += f", {p_text(min(1.0, least.least_p * family))} after the correction"
        cells = "nothing can" if len(hopeless) == len(done) else f"{len(hopeless)} cells cannot"
        yield (
            f"With {plural(least.n_pairs, 'pair')} this test cannot go below {text}: {cells} "
            f"become significant at {table.alpha:g}, whatever the runs give"
        )
    partly = [
        at
        for at, one in done.items()
        if one.n_pairs < table.cells[at].n or one.n_pairs < len(table.seeds)
    ]
    if partly:
        yield (
            f"Only seeds that both cells have are paired, which is not all of them in "
            f"{plural(len(partly), 'comparison')}"
        )
    why: dict[str, list[str]] = {}
    for at, one in tests.items():
        if one.p is None:
            why.setdefault(one.note, []).append(_cell_name(table, at))
    for note, names in why.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"Not tested: {', '.join(names[:_SHOWN])}{more} ({note})"


# ---- runs --------------------------------------------------------------------------------------


def _runs(table: Table, facts: Facts) -> Iterator[str]:
    names = names_of(table)
    for name, text in facts.no_number.items():
        if text:
            yield f"{names.key(name)}: of {plural(facts.runs, 'run')} do not count {text}"
    if facts.mixed:
        keys = ", ".join(map(names.key, facts.mixed))
        yield f"Runs of one cell differ in {keys}: means are over mixed settings"
    if facts.unlisted:
        yield f"{plural(facts.unlisted, 'setting')} left out, whose values are not listed"
    if facts.repeated:
        yield (
            f"{plural(facts.repeated, 'run')} left out, since a later one of the same "
            "configuration counts"
        )
    for status, count in sorted(facts.others.items()):
        yield f"{plural(count, f'{status} run')} left out"


def _code(table: Table, facts: Facts) -> Iterator[str]:
    if len(facts.code) > 1:
        listed = ", ".join(
            f"{plural(count, 'run')} by {'an unknown one' if name == '?' else name}"
            for name, count in facts.code.items()
        )
        yield f"Several versions of the code: {listed}"
    if facts.stale:
        yield (
            f"{plural(facts.stale, 'run')} {'is' if facts.stale == 1 else 'are'} stale: newer runs "
            "are of a newer version of the code"
        )
    mixed = {where(table, values): code for values, code in table.mixed()}
    for cell, code in list(mixed.items())[:_SHOWN]:
        yield f"{cell} mixes versions of the code: {', '.join(code)}"
    if len(mixed) > _SHOWN:
        yield f"{plural(len(mixed) - _SHOWN, 'more cell')} mix versions of the code"


# ---- hints -------------------------------------------------------------------------------------


def hints_of(table: Table, facts: Facts, unused: Sequence[str]) -> list[str]:
    """Return what helps whoever makes the table."""
    root = table.source["root"]
    hints = []
    if _lacking(table) and not has_own_seeds(table):
        hints.append(f"{line_to_type(root, 'complete')} runs what is missing")
    if any(table.mixed()):
        listed = line_to_type(root, "list")
        hints.append(f"--code latest takes one version ({listed} shows all)")
    if facts.others.get("failed"):
        hints.append(f"{line_to_type(root, 'list --status failed')} shows what failed")
    shared = shared_seeds(table)
    if table.test is None and shared >= 5:
        hints.append(_offer(table, shared))
    hints += [f"the label of {name!r} names nothing in this table" for name in unused]
    return hints


def shared_seeds(table: Table) -> int:
    """Return how many seeds all cells share; 0 where there are not two cells."""
    cells = _own(table)
    if len(cells) < 2 or not table.over:
        return 0
    return sum(all(seed in cell.seeds for cell in cells) for seed in table.seeds)


def _offer(table: Table, shared: int) -> str:
    from ztxexp.tables.command import words_of

    comparisons = len(_own(table)) - 1
    exact = max(2.0 / 2**shared, 2.0 / (RESAMPLES + 1)) * comparisons < table.alpha
    test = "permutation" if exact else "paired-t"
    line = line_to_type(table.source["root"], "table", *words_of(table.source), "--test", test)
    return f"{shared} seeds are shared by all cells; a test: {line}"
