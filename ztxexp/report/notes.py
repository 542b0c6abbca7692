"""What a reader of a report must know before he believes a number, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ztxexp.analysis.grouping import Groups
from ztxexp.analysis.run_table import RunTable
from ztxexp.report.columns import one_line
from ztxexp.results.keys import ABSENT
from ztxexp.text.format import cut, plural
from ztxexp_core.values.codec import is_number

_SHOWN = 3


def notes_of(table: RunTable, succeeded: RunTable, groups: Groups | None) -> list[str]:
    """Return the notes.

    Args:
        table: all runs of the report.
        succeeded: those that succeeded: tables, means and effects are of these.
        groups: these by configuration, with their seeds; ``None`` where there are no seeds.
    """
    return [
        *_choice(table),
        *_statuses(table),
        *_code(succeeded),
        *_functions(succeeded),
        *_seeds(succeeded, groups),
        *_numbers(succeeded),
        *table.notes_at(),
    ]


def _choice(table: RunTable) -> list[str]:
    """Return that runs are left out, and that values are not those that were returned."""
    notes = []
    every = len(table.whole) if table.whole is not None else len(table)
    if len(table) < every:
        notes.append(f"{len(table)} of the {every} runs of this root were chosen for this page.")
    if table.logged is not None:
        asked = table.logged.asked
        notes.append(f"Metrics are those of curves (--at {asked}), not those that were returned.")
    return notes


def _statuses(table: RunTable) -> list[str]:
    count = Counter(map(str, table.runs.run.column("status")))
    notes = []
    if count["failed"]:
        total = plural(len(table), "run")
        notes.append(f"{count['failed']} of {total} failed; means and effects leave them out.")
    if count["running"]:
        have = "has" if count["running"] == 1 else "have"
        notes.append(f"{plural(count['running'], 'run')} {have} not ended yet.")
    if count["skipped"]:
        verb = "was" if count["skipped"] == 1 else "were"
        notes.append(f"{plural(count['skipped'], 'run')} {verb} skipped.")
    return notes


def _code(table: RunTable) -> list[str]:
    count = Counter(table.code)
    unknown = count.pop(None, 0)
    if len(count) < 2:
        return []
    parts = [f"{n} by {name}" for name, n in sorted(count.items(), key=lambda of: of[0] or "")]
    parts += [f"{unknown} by an unknown one"] if unknown else []
    return [
        f"The runs are of {len(count)} versions of the code ({', '.join(parts)}); means mix them."
    ]


def _functions(table: RunTable) -> list[str]:
    count = Counter(one for one in table.functions if one is not None)
    if len(count) < 2:
        return []
    parts = [f"{one_line(name, 60)} ({n})" for name, n in count.most_common(_SHOWN)]
    return [f"The runs are of {len(count)} functions: {', '.join(parts)}."]


def _seeds(table: RunTable, groups: Groups | None) -> list[str]:
    if groups is None or groups.seeds is None:
        return []
    notes = []
    repeated = len(table) - len(groups.runs)
    if repeated:
        verb = "repeats" if repeated == 1 else "repeat"
        notes.append(
            f"{plural(repeated, 'run')} {verb} a configuration: of these only the latest counts in "
            "means."
        )
    lacking = sum(groups.differ)
    if lacking:
        notes.append(_lacking(groups, groups.seeds.name, lacking))
    return notes


def _lacking(groups: Groups, name: str, lacking: int) -> str:
    """Return how many settings lack seeds of others, or that there is no common set of seeds."""
    if 2 * lacking > groups.size:
        sizes = [len(seeds) for seeds in groups.seed_sets]
        few, many = min(sizes), max(sizes)
        number = f"{few}" if few == many else f"{few} to {many}"
        return (
            f"Each of {groups.size} settings has {number} {name}, and they are not the same ones: "
            "means are not compared like with like."
        )
    full = groups.seed_sets[groups.differ.index(False)]
    shown = ", ".join(cut(str(one), 40) for one in full[:10])
    have = "does" if lacking == 1 else "do"
    return (
        f"{lacking} of {plural(groups.size, 'setting')} {have} not have the {name} of the fullest "
        f"one ({shown}{', ...' if len(full) > 10 else ''}): such means are not compared like with "
        "like."
    )


def _numbers(table: RunTable) -> list[str]:
    notes = []
    for name in table.numbers:
        cells = table.metrics.column(name, ABSENT)
        absent = sum(cell is ABSENT or cell is None for cell in cells)
        invalid = sum(is_number(cell) and not abs(cell) < float("inf") for cell in cells)
        if invalid:
            verb = "is" if invalid == 1 else "are"
            notes.append(
                f"{one_line(name, 60)} {verb} NaN or infinite in {_of(invalid, table)}; means "
                "leave these out."
            )
        if absent:
            notes.append(f"{one_line(name, 60)} is missing in {_of(absent, table)}.")
    return _few(notes)


def _of(count: int, table: RunTable) -> str:
    return f"{count} of {plural(len(table), 'run')} that succeeded"


def _few(notes: Sequence[str], most: int = 12) -> list[str]:
    more = len(notes) - most
    return (
        [*notes[:most], f"{more} more metrics are missing in some runs."] if more > 0 else [*notes]
    )
