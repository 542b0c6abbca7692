"""Measure the page with many runs in a headless browser, beside Tabulator alone on the same runs.

    python web/measure.py [--runs 10000] [--curves 100] [--points 1000] [--times 6]

Milliseconds, the least of several: from navigation to painted, and from a click or a key to
painted. Needs playwright, Chromium, and ``npm ci`` in ``web/`` for Tabulator alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from browsing import launched  # noqa: E402
from sample_page import write_page  # noqa: E402
from sample_payload import sample_payload  # noqa: E402

_PAINTED = """
    const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
"""
_OURS = {
    "sort": "document.querySelector(\"[data-sort='metrics:accuracy']\").click()",
    "filter": "ztxexpPage.store.set({ q: 'accuracy > 0.95 and opt == \"adam\"' })",
    "unfilter": "ztxexpPage.store.set({ q: '' })",
    "draw all panels": "dispatchEvent(new Event('beforeprint'))",
    "group seeds": "ztxexpPage.store.set({ grouped: true })",
}
_TABULATOR = {
    "sort": "table.setSort('metrics:accuracy', 'desc')",
    "filter": "table.setFilter("
    "one => one['metrics:accuracy'] > 0.95 && one['config:opt'] == 'adam')",
    "unfilter": "table.clearFilter()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("runs", 10_000), ("curves", 100), ("points", 1_000), ("times", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    payload = sample_payload(given.runs, given.curves, given.points, extra_metrics=4)
    with tempfile.TemporaryDirectory() as folder:
        ours = write_page(Path(folder) / "ours.html", payload)
        alone = _tabulator_alone(Path(folder) / "alone.html", payload)
        browsers = launched()
        browser = next(browsers)
        print(
            f"{'':12}{'MB':>7}{'ready':>8}{'sort':>8}{'filter':>8}{'clear':>8}{'all':>8}{'group':>8}{'DOM':>8}"
        )
        for name, address, steps in (
            ("this page", ours, _OURS),
            ("Tabulator", alone, _TABULATOR),
        ):
            size = Path(address.removeprefix("file://")).stat().st_size / 1e6
            results = [_measured(browser, address, steps) for _ in range(given.times)]
            least = [min(column) for column in zip(*results, strict=True)]
            cells = [f"{value:8.0f}" for value in least[:-1]] + [" " * 8] * (6 - len(least[:-1]))
            print(f"{name:12}{size:7.2f}{''.join(cells)}{least[-1]:8.0f}")
        next(browsers, None)


def _measured(browser: Any, address: str, steps: dict[str, str]) -> list[float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    ready = float(page.evaluate("document.documentElement.dataset.ready"))
    page.wait_for_timeout(300)
    elements = page.evaluate("document.querySelectorAll('*').length")
    times = []
    for step in steps.values():
        script = f"async () => {{ {_PAINTED} const from = performance.now(); {step};"
        times.append(
            page.evaluate(f"{script} await painted(); return performance.now() - from; }}")
        )
        page.wait_for_timeout(150)
    page.close()
    return [ready, *times, elements]


def _tabulator_alone(path: Path, payload: dict[str, Any]) -> str:
    """Write a page with nothing but Tabulator and the runs."""
    package = ROOT / "web" / "node_modules" / "tabulator-tables" / "dist"
    script = (package / "js" / "tabulator.min.js").read_text().replace("</script", "<\\/script")
    style = (package / "css" / "tabulator_simple.min.css").read_text()
    runs = payload["runs"]
    columns = {f"{one['part']}:{one['key']}": one["values"] for one in runs["columns"]}
    columns = {"run": runs["id"], "status": runs["status"], **columns, "seconds": runs["seconds"]}
    path.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><style>{style}</style><div id="runs"></div>
<script>{script}</script><script>
const columns = {json.dumps(columns)};
const names = Object.keys(columns);
const row = at => Object.fromEntries(names.map(name => [name, columns[name][at]]));
const rows = columns.run.map((_, at) => row(at));
const table = new Tabulator("#runs", {{ data: rows, height: 620, nestedFieldSeparator: false,
  columns: names.map(name => ({{ field: name, title: name, headerFilter: "input" }})) }});
table.on("tableBuilt", () => requestAnimationFrame(() => setTimeout(() => {{
  document.documentElement.dataset.ready = performance.now(); }})));
</script>"""
    )
    return path.as_uri()


if __name__ == "__main__":
    main()
