"""Measure ztxexp beside ztxexp 1.0.3, the floor and some peers: what ``make bench`` runs.

    python benchmarks/compare.py --old PYTHON [--rounds 3] [--only NAME ...] [--quick]
                                 [--scratch FOLDER] [--write docs/performance.md]

``--old`` is an interpreter that has ztxexp 1.0.3. Every round measures each line in all of its
columns, one process after the other. The order is reversed from round to round, so that a slow
drift of the machine affects all columns alike. The table shows medians. What takes longer than the
cap is marked and not measured again. Put the scratch folder on a memory file system: a busy disk
hides the differences.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CAP_SEC = 120
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Cell:
    """What stands in one column of a line.

    Attributes:
        script: ``work``, ``floors`` or ``peers``.
        name: its function.
        params: the function's arguments.
    """

    script: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Line:
    """One line of the table.

    Attributes:
        what: in words.
        unit: ``ms``, ``us``, ``s`` for the time per unit, or ``all s`` for the whole.
        new: how ztxexp is measured, and 1.0.3 where ``old`` says nothing else.
        floor: the least that has to be done.
        old: for 1.0.3; ``None`` where it would take hours.
        peers: others, by name.
        target: what it is to be, in the same unit.
        root: arguments of roots.py; the folder is the parameter ``root`` of all cells. Other
            words keep it apart: ``changed`` (a run is replaced first), ``whole`` (none ever is).
        fresh: every column gets a root of its own without a cache.
    """

    what: str
    unit: str
    new: Cell
    floor: Cell | None = None
    old: Cell | str | None = "same"
    peers: dict[str, Cell] = field(default_factory=dict)
    target: float | None = None
    root: tuple[str, ...] = ()
    fresh: bool = True


def lines(quick: bool) -> list[Line]:
    """Return what is measured."""
    few = 10 if quick else 1
    runs, steps, many, twenty = 1000 // few, 50_000 // few, 50_000 // few, 20_000 // few
    rows = 10_000 // few

    def empty(mode: str, target: float, count: int = runs, old: int | None = None) -> Line:
        pooled = mode != "sequential"
        floor = ("runs_in_a_pool", {"count": count, "spins": False})
        if not pooled:
            floor = ("runs_in_a_loop", {"count": count})
        return Line(
            f"one empty run, {mode}" + ", 2 workers" * pooled,
            "ms",
            Cell("work", "empty_runs", {"mode": mode, "count": count}),
            Cell("floors", *floor),
            Cell("work", "empty_runs", {"mode": mode, "count": old or count}),
            target=target,
        )

    sequential = empty("sequential", 0.5)
    sequential.peers = {
        "exca": Cell("peers", "exca_runs", {"count": runs}),
        "signac": Cell("peers", "signac_runs", {"count": runs}),
        "MLflow": Cell("peers", "mlflow_runs", {"count": runs // 10}),
    }
    read = ("runs", str(many))
    return [
        Line("import ztxexp", "ms", Cell("work", "imports", {"what": "import ztxexp"}), target=60),
        Line(
            "from ztxexp import ExperimentPipeline",
            "ms",
            Cell("work", "imports", {"what": "from ztxexp import ExperimentPipeline"}),
        ),
        *(
            Line(
                f"processor time of `ztxexp {words}`" + f", {count:,} runs, cache" * bool(count),
                "ms",
                Cell("work", "shell", {"words": words.split(), "count": count}),
                Cell("work", "shell", {"words": []}),
                old=None,
                target=target,
                root=("runs", str(count)) if count else (),
                fresh=False,
            )
            for words, count, target in (
                ("--help", 0, 90),
                ("list", 100, 150),
                ("list", rows, 1000),
                ("status", rows, 1000),
                ("table --rows model --cols lr", rows, 1000),
                ("report", rows, None),
            )
        ),
        Line(
            "a grid of 100,000",
            "all s",
            Cell("work", "grid", {"count": 100_000}),
            Cell("floors", "product", {"count": 100_000}),
            target=0.44,
        ),
        sequential,
        empty("process_pool", 0.7),
        empty("joblib", 1.0),
        empty("dynamic", 1.0, old=10),
        *(
            Line(
                f"one empty run on a disk, sequential, flush_sec={flush_sec}",
                "ms",
                Cell("work", "empty_runs_on_disk", {"count": runs, "flush_sec": flush_sec}),
                old=None,
            )
            for flush_sec in (None, 1, 0)
        ),
        Line(
            "log_metric",
            "us",
            Cell("work", "log_metric", {"count": steps}),
            Cell("floors", "append_lines", {"count": steps}),
            Cell("work", "log_metric", {"count": steps // 10}),
            {"MLflow": Cell("peers", "mlflow_steps", {"count": 300 // few})},
            target=10,
        ),
        Line(
            "exclude_completed, 1,000 done, 1,000 asked",
            "all s",
            Cell("work", "exclude", {"count": 1000}),
            target=0.15,
            root=("runs", "1000"),
        ),
        Line(
            f"exclude_completed, {twenty:,} done and asked, no cache",
            "all s",
            Cell("work", "exclude", {"count": twenty}),
            old=None,
            target=2.5,
            root=("runs", str(twenty)),
        ),
        Line(
            "the same again",
            "all s",
            Cell("work", "exclude", {"count": twenty}),
            old=None,
            target=0.8,
            root=("runs", str(twenty)),
            fresh=False,
        ),
        Line(
            f"to_dataframe, {many:,} runs, no cache",
            "all s",
            Cell("work", "frame", {"count": many}),
            Cell("floors", "read_files", {"count": many}),
            target=3.5,
            root=read,
        ),
        Line(
            "the same again",
            "all s",
            Cell("work", "frame", {"count": many}),
            Cell("floors", "look_at_files", {"count": many}),
            target=0.9,
            root=read,
            fresh=False,
        ),
        Line(
            "the same after one run was added and one deleted",
            "all s",
            Cell("work", "frame", {"count": many}),
            target=1.0,
            root=(*read, "changed"),
            fresh=False,
        ),
        Line(
            f"best(), {many:,} runs, cache",
            "all s",
            Cell("work", "best", {"count": many}),
            old=None,
            root=read,
            fresh=False,
        ),
        Line(
            f"aggregate(), {many:,} runs, cache",
            "all s",
            Cell("work", "means", {"count": many}),
            old=None,
            root=read,
            fresh=False,
        ),
        Line(
            f"exclude_completed, {many:,} done, 1,000 asked, first time",
            "all s",
            Cell("work", "exclude", {"count": many, "size": 1000}),
            old=None,
            root=read,
            fresh=False,
        ),
        Line(
            "the same again",
            "all s",
            Cell("work", "exclude", {"count": many, "size": 1000}),
            old=None,
            root=read,
            fresh=False,
        ),
        *(
            Line(
                f"a launch, {many:,} done, {word} left (floor: exclude_completed alone)",
                "all s",
                Cell("work", "launch_of_done", {"count": many, "left": left}),
                Cell("work", "exclude_all", {"count": many}),
                old=None,
                root=("runs", str(many), "whole"),
                fresh=False,
            )
            for word, left in (("nothing", 0), ("ten", 10))
        ),
        Line(
            "read back, per run",
            "us",
            Cell("work", "frame", {"count": 1000}),
            Cell("floors", "read_files", {"count": 1000}),
            peers={
                "signac": Cell("peers", "signac_read", {"count": 1000}),
                "MLflow": Cell("peers", "mlflow_read", {"count": 100}),
            },
            root=("runs", "1000"),
        ),
        Line(
            f"to_curve_dataframe, 100 runs of {rows:,} steps",
            "all s",
            Cell("work", "curves", {"rows": 100 * rows}),
            Cell("floors", "read_curves", {"rows": 100 * rows}),
            target=1.8,
            root=("curves", "100", str(rows)),
        ),
        Line(
            "200 runs of 20 ms on 2 workers",
            "ideal",
            Cell("work", "spinning", {"count": 200}),
            Cell("floors", "runs_in_a_pool", {"count": 200, "spins": True}),
            target=0.93,
        ),
    ]


class Bench:
    """Measures lines, and keeps what came of it."""

    def __init__(self, scratch: Path, old: str | None):
        self.scratch = scratch
        self.pythons = {"ztxexp": sys.executable, "1.0.3": old, "floor": sys.executable}
        self.roots: dict[tuple[str, ...], Path] = {}
        self.seen: dict[tuple[int, str], list[float]] = {}
        self.peak: dict[tuple[int, str], int] = {}
        self.over: set[tuple[int, str]] = set()

    def measure(self, number: int, line: Line, backwards: bool) -> None:
        """Measure one line once in each of its columns."""
        old = line.new if line.old == "same" else line.old
        cells = {"ztxexp": line.new, "1.0.3": old, "floor": line.floor, **line.peers}
        for column in sorted(cells, key=list(cells).index, reverse=backwards):
            cell = cells[column]
            if isinstance(cell, Cell) and (number, column) not in self.over:
                self._measure(number, column, cell, line)

    def _measure(self, number: int, column: str, cell: Cell, line: Line) -> None:
        python = self.pythons.get(column, sys.executable)
        if python is None:
            return
        params = dict(cell.params)
        if line.root and cell.script != "peers":
            kind = tuple(part for part in line.root if part != "changed")
            root = self._root((column, *kind), line.fresh)
            if "changed" in line.root:
                self._run(python, Cell("work", "change"), {"root": str(root), **params})
            params["root"] = str(root)
        found = self._run(python, cell, params)
        if found is None:
            self.over.add((number, column))
            return
        value = (
            found["seconds"]
            if line.unit in ("all s", "ideal")
            else (found["seconds"] / found["units"] * {"us": 1e6, "ms": 1e3}[line.unit])
        )
        if line.unit == "ideal":
            value = found["units"] * 0.02 / 2 / found["seconds"]
        self.seen.setdefault((number, column), []).append(value)
        self.peak[number, column] = found["peak_mb"]
        print(f"# {line.what}: {column} {value:.4g}", flush=True)

    def _root(self, key: tuple[str, ...], fresh: bool) -> Path:
        if key not in self.roots:
            self.roots[key] = self.scratch / f"root{len(self.roots)}"
            place = str(self.roots[key])
            args = [key[1], place, *filter(str.isdigit, key[2:])]
            subprocess.run([sys.executable, HERE / "roots.py", *args], check=True)
        if fresh:
            for cache in (".ztxexp", ".index"):  # as it is called now, and was before
                shutil.rmtree(self.roots[key] / cache, ignore_errors=True)
        return self.roots[key]

    def _run(self, python: str, cell: Cell, params: dict[str, Any]) -> dict[str, Any] | None:
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            command = [python, str(HERE / f"{cell.script}.py"), cell.name, json.dumps(params)]
            try:
                done = subprocess.run(
                    [*command, scratch],
                    capture_output=True,
                    text=True,
                    timeout=CAP_SEC,
                    cwd=scratch,
                )
            except subprocess.TimeoutExpired:
                return None
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def table(self, measured: list[tuple[int, Line]]) -> str:
        """Return a table in Markdown."""
        rows = ["| what | unit | ztxexp | 1.0.3 | floor | target | peers |"]
        rows.append("| --- | --- | ---: | ---: | ---: | ---: | --- |")
        for number, line in measured:
            cells = [self._shown(number, column) for column in ("ztxexp", "1.0.3", "floor")]
            if line.what.startswith("to_curve"):
                cells[0] += f" ({self.peak[number, 'ztxexp']} MB)"
            peers = [f"{name} {self._shown(number, name)}" for name in line.peers]
            target = "" if line.target is None else f"{line.target:g}"
            unit = {"all s": "s", "ideal": "of ideal"}.get(line.unit, line.unit)
            rows.append(f"| {' | '.join([line.what, unit, *cells, target, ', '.join(peers)])} |")
        return "\n".join(rows)

    def _shown(self, number: int, column: str) -> str:
        if (number, column) in self.over:
            return f"over {CAP_SEC} s"
        values = self.seen.get((number, column))
        return f"{statistics.median(values):.3g}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", help="an interpreter with ztxexp 1.0.3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of lines")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round")
    parser.add_argument("--scratch", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--write", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    chosen = [
        (number, line)
        for number, line in enumerate(lines(options.quick))
        if not options.only or any(line.what.startswith(word) for word in options.only)
    ]
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="ztxexp-bench-") as scratch:
        bench = Bench(Path(scratch), options.old and os.path.abspath(options.old))
        rounds = 1 if options.quick else options.rounds
        for turn in range(rounds):
            for number, line in chosen:
                bench.measure(number, line, backwards=bool(turn % 2))
        table = bench.table(chosen)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    text = f"{machine}; medians of {rounds} rounds.\n\n{table}"
    print(text)
    if options.write:
        page = options.write.read_text()
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        options.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
