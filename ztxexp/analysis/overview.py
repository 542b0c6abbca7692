"""What there is below a results root, in few lines: what a notebook shows of an analyzer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.analysis.grouping import rank
from ztxexp.analysis.run_table import SUCCEEDED, RunTable
from ztxexp.results.direction import known_direction
from ztxexp.results.keys import ABSENT, codes_of, seed_keys
from ztxexp.text import html
from ztxexp.text.format import cut, plural
from ztxexp.text.report import Printable
from ztxexp_core.values.codec import is_number

_STATUSES = ("succeeded", "failed", "running", "skipped")
_VALUES_SHOWN, _WIDTH = 6, 28
_KEYS_SHOWN = 12


@dataclass(frozen=True, repr=False)
class Overview(Printable):
    """What there is below a results root.

    Attributes:
        root: the results root.
        statuses: how many runs there are of each.
        keys: what varies, with its values.
        metrics: by name: what is the best, smallest and largest value, how many runs have it.
        code: how many versions of the code have made the runs, as far as is known.
    """

    root: Path
    statuses: dict[str, int]
    keys: dict[str, list[Any]]
    metrics: dict[str, tuple[str, float, float, int]]
    code: int = 0

    @classmethod
    def of(cls, root: str | Path) -> Overview:
        """Read what there is."""
        table = RunTable.read(root)
        counted = Counter(str(status) for status in table.runs.run.column("status"))
        order = dict.fromkeys([*(s for s in _STATUSES if s in counted), *counted])
        runs = table.filtered(statuses=SUCCEEDED)
        keys = {}
        for key in table.varying:
            cells = [cell for cell in table.config.column(key, ABSENT) if cell is not ABSENT]
            of_code = dict(zip(codes_of(cells), cells, strict=True))
            keys[key] = [of_code[c] for c in sorted(of_code, key=lambda c: rank(of_code[c], c))]
        metrics = {}
        for name in runs.numbers:
            cells = [cell for cell in runs.metrics.column(name) if is_number(cell) and cell == cell]
            if cells:
                known = known_direction(name, root=root)
                metrics[name] = (known.mode if known else "", min(cells), max(cells), len(cells))
        versions = len(set(filter(None, table.code)))
        return cls(Path(root), {s: counted[s] for s in order}, keys, metrics, versions)

    def one_line(self) -> str:
        """Return how many runs there are of each status."""
        total = plural(sum(self.statuses.values()), "run")
        counts = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        code = f"; {self.code} versions of the code" if self.code > 1 else ""
        return f"{self.root}: {total}{f' ({counts})' if counts else ''}{code}"

    def lines(self) -> Iterator[str]:
        """Yield keys, metrics and what to type next."""
        for key, values in list(self.keys.items())[:_KEYS_SHOWN]:
            yield f"  {key}: {_listed(values)}"
        for name, (mode, low, high, n) in list(self.metrics.items())[:_KEYS_SHOWN]:
            best = f" ({mode})" if mode else ""
            yield f"  {name}{best}: {low:.4g} to {high:.4g}, {plural(n, 'run')}"
        yield from (f"  {call}" for call in self.calls())

    def calls(self) -> Iterator[str]:
        """Yield what to type next."""
        if not self.statuses:
            yield "ExperimentPipeline(...).grid({...}).run(train)"
            return
        if self.metrics:
            metric = next((n for n, of in self.metrics.items() if of[0]), next(iter(self.metrics)))
            if seed_keys(self.keys):
                yield f"analyzer.table(metric={metric!r})"
            yield f"analyzer.best({metric!r})"
            yield f"analyzer.curves({metric!r})"
            yield "analyzer.report()"
        if self.statuses.get("failed"):
            yield "analyzer.failures()"

    def _repr_html_(self) -> str:
        keys = [[key, len(values), _listed(values)] for key, values in self.keys.items()]
        metrics = [
            [name, {"max": "largest", "min": "smallest"}.get(mode, ""), low, high, n]
            for name, (mode, low, high, n) in self.metrics.items()
        ]
        calls = [part for call in self.calls() for part in (" · ", html.code(call))][1:]
        return html.block(
            html.title(self.one_line()),
            html.table(["key", "values", ""], keys, most=_KEYS_SHOWN, noun="key") if keys else "",
            html.table(
                ["metric", "best", "min", "max", "runs"], metrics, most=_KEYS_SHOWN, noun="metric"
            )
            if metrics
            else "",
            html.note(html.element("span", "next: ", *calls)) if calls else "",
        )


def _listed(values: list[Any]) -> str:
    shown = [cut(str(value), _WIDTH) for value in values[:_VALUES_SHOWN]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
