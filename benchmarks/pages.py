"""Measure the page with many runs in a headless browser, beside simpler pages of the same runs.

    python benchmarks/pages.py [--runs 10000] [--curves 100] [--points 1000] [--times 6]

Milliseconds, the least of several: from navigation to painted, and from a click or a key to
painted. Beside it: Tabulator alone with the runs, a plain HTML table of them, and plotly with the
curves alone. Needs playwright and Chromium; ``npm ci`` in ``web/`` for Tabulator, plotly from PyPI
(either is left out where it is missing).
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
_READY = """<script>addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {
  document.documentElement.dataset.ready = performance.now(); })));</script>"""
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
        plain = _plain_table(Path(folder) / "plain.html", payload)
        alone = _tabulator_alone(Path(folder) / "alone.html", payload)
        plotly = _plotly_alone(Path(folder) / "plotly.html", payload)
        browsers = launched()
        browser = next(browsers)
        print(
            f"{'':12}{'MB':>7}{'ready':>8}{'sort':>8}{'filter':>8}{'clear':>8}{'all':>8}{'group':>8}{'DOM':>8}"
        )
        for name, address, steps in (
            ("this page", ours, _OURS),
            ("Tabulator", alone, _TABULATOR),
            ("plain table", plain, {}),
            ("plotly", plotly, {}),
        ):
            if address is None:
                continue
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


def _columns(payload: dict[str, Any]) -> dict[str, list[Any]]:
    runs = payload["runs"]
    columns = {f"{one['part']}:{one['key']}": one["values"] for one in runs["columns"]}
    return {"run": runs["id"], "status": runs["status"], **columns, "seconds": runs["seconds"]}


def _plain_table(path: Path, payload: dict[str, Any]) -> str:
    """Write a page with nothing but a table of the runs."""
    columns = _columns(payload)
    rows = ["".join(f"<td>{cell}" for cell in row) for row in zip(*columns.values(), strict=True)]
    head = "".join(f"<th>{name}" for name in columns)
    body = f"<table><tr>{head}<tr>{'<tr>'.join(rows)}</table>"
    path.write_text(f'<!DOCTYPE html><meta charset="utf-8">{body}{_READY}')
    return path.as_uri()


def _plotly_alone(path: Path, payload: dict[str, Any]) -> str | None:
    """Write a page with the curves of one metric, as plotly writes it."""
    try:
        from plotly import graph_objects
    except ImportError:
        return None
    series = payload["curves"]["series"]
    chosen = [one for one in series if one["metric"] == series[0]["metric"]]
    figure = graph_objects.Figure([graph_objects.Scattergl(x=s["x"], y=s["y"]) for s in chosen])
    path.write_text(figure.to_html(include_plotlyjs=True).replace("</body>", f"{_READY}</body>"))
    return path.as_uri()


def _tabulator_alone(path: Path, payload: dict[str, Any]) -> str | None:
    """Write a page with nothing but Tabulator and the runs."""
    package = ROOT / "web" / "node_modules" / "tabulator-tables" / "dist"
    if not package.is_dir():
        return None
    script = (package / "js" / "tabulator.min.js").read_text().replace("</script", "<\\/script")
    style = (package / "css" / "tabulator_simple.min.css").read_text()
    columns = _columns(payload)
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
