"""``ztxexp diff``: what differs between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import placed
from ztxexp.cli.output import (
    Column,
    Output,
    output_options,
    say,
    short_metric,
    spelt_out_lines,
    write_table,
    write_text,
)
from ztxexp.cli.shared import root_option
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import cut
from ztxexp_core.errors import ConfigError

_KEYS_SHOWN = 12
_HASHES = ("code_hash", "function_hash", "module_hash")


@click.command("diff")
@click.argument("named", nargs=-1, metavar="RUN RUN [RUN]...", shell_complete=complete_run)
@root_option
@click.option("--code", is_flag=True, help="Also what was not committed, as a diff.")
@output_options
def command(named: Sequence[str], root: Path, code: bool, output: Output) -> int:
    """Show what differs between runs: configuration, metrics, code, packages.

    Of two runs the change of each number is shown, and whether the second one is better.
    """
    from ztxexp.analysis.comparing import differences
    from ztxexp.results.names import NamedRuns
    from ztxexp.results.selection import Selection

    root, named = placed(root, named)
    runs = NamedRuns.of(root)
    places = list(dict.fromkeys(at for text in named for at in runs.find(text)))
    if len(places) < 2:
        same = f"; {' and '.join(named)} are the same run" if len(named) > 1 else ""
        raise ConfigError(f"diff needs two runs{same}: ztxexp diff RUN RUN")
    names = [runs.folders[at] for at in places]
    found = differences(Selection(root, run_ids=names))
    titles = [runs.short[at] for at in places]
    rows = []
    order = {"config": 0, "metrics": 1, "code": 2, "packages": 3}
    for part, key, cells in sorted(found.rows, key=lambda row: order[row[0]]):
        values = [_plain(cell) for cell in cells]
        change, verdict = _change(key, values, root) if part == "metrics" else (None, None)
        rows.append([key, *values, part, change, verdict])
    columns = [Column("key", "", kept=True, is_text=True, whole=True)]
    columns += [Column(title, shown=_shown, kept=True, is_text=False) for title in titles]
    columns += [
        Column("part", "", kept=True, is_text=True),
        Column("change", "CHANGE", lambda value: f"{value:+.4g}", is_text=False, absent=""),
        Column("verdict", "", style=_style, absent=""),
    ]
    if len(places) > 2:
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    write_table(columns, rows, output)
    if output.is_for_people:
        if not rows:
            say("nothing differs")
        say(f"same: {_same(found.same)}")
        if code:
            write_text(spelt_out_lines(_code(root, names, titles)))
        elif any(part == "code" for part, *_ in found.rows):
            line = line_to_type(root, "diff", "--code", *titles)
            say(f"what was not committed: {line}")
    return 0


def _style(verdict: Any) -> str:
    return {"better": "32", "worse": "33"}.get(verdict, "")


def _plain(cell: Any) -> Any:
    from ztxexp.results.keys import ABSENT

    return None if cell is ABSENT else cell


def _shown(value: Any) -> str:
    return cut(short_metric(value), 40)


def _change(key: str, values: Sequence[Any], root: Path) -> tuple[float | None, str | None]:
    """Return by how much the second of two numbers differs, and whether it is better."""
    from ztxexp.results.direction import known_direction
    from ztxexp_core.values.codec import is_number

    if len(values) != 2 or not all(map(is_number, values)):
        return None, None
    try:
        change = float(values[1]) - float(values[0])
    except OverflowError:
        return None, None
    known = known_direction(key, root=root)
    if known is None or change != change or not change:
        return change, None
    return change, "better" if (change > 0) == (known.mode == "max") else "worse"


def _same(same: dict[str, list[str]]) -> str:
    """Return what is the same: keys of the configuration and metrics, else whole parts."""
    keys = [*same["config"], *same["metrics"]]
    shown = keys[:_KEYS_SHOWN]
    if len(keys) > len(shown):
        shown.append(f"{len(keys) - len(shown)} more keys")
    hashes = [name for name in _HASHES if name in same["code"]]
    if hashes:
        shown.append("code")
    if "hostname" in same["code"]:
        shown.append("host")
    if "packages" in same["code"] or same["packages"]:
        shown.append("packages")
    return ", ".join(shown) or "nothing"


def _code(root: Path, names: Sequence[str], titles: Sequence[str]) -> str:
    """Return what was not committed when each run was launched."""
    from ztxexp.provenance.provenance import PATCH, read_shared
    from ztxexp_core.store.files import read_record

    parts = []
    for name, title in zip(names, titles, strict=True):
        meta = read_record(root / name / "meta.json") or {}
        parts.append(f"--- {title}: commit {meta.get('git_commit') or 'not known'}")
        kept = read_shared(root, meta.get("git_diff"), PATCH)
        if kept is not None:
            parts.append(kept[1].decode(errors="replace"))
        else:
            nothing = "nothing that was not committed is recorded"
            parts.append(str(meta.get("git_diff_note") or nothing))
    return "\n".join(parts)
