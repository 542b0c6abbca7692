"""Whatever runs say does nothing in Markdown, HTML, CSV and Excel, and no comment ends early."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import openpyxl
import pytest
from handmade import write_run

from ztxexp.analysis.run_table import RunTable
from ztxexp.tables.making import table_of
from ztxexp.tables.maths import maths_as_html
from ztxexp.tables.printed import grid
from ztxexp.tables.verify import verify

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "--><b>bold</b><!--",
    "a | b \\| c",
    "*x* _y_ `z` ~~w~~ [l](http://example.org) ![i](x) $m$ # h",
    "www.example.org @somebody https://example.org",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1+1",
    "\t=1+1",
    "two\nlines\r\nand\x07bell\x1b[31m",
    "&lt; & &amp;",
    "ztxexp end {}",
    "\ud800 lone",
]
KEY, OTHER, METRIC = "<key> | =k", "col </td>", "score =1 <u> |"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for number, text in enumerate(HOSTILE):
        for seed in (0, 1):
            write_run(
                root,
                f"r{number}_{seed}",
                config={KEY: text, OTHER: HOSTILE[number % 3], "seed": seed},
                metrics={METRIC: 0.5 + number / 100 + seed / 1000},
            )
    return table_of(
        RunTable.read(root), rows=[KEY], cols=[OTHER], metric=METRIC, mode="max",
        groups={HOSTILE[0]: HOSTILE[:2]},
    )  # fmt: skip


class Elements(HTMLParser):
    """Which elements and attributes a text has."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_html_has_no_element_of_runs(table, tmp_path):
    elements = Elements(table.to_html(tmp_path / "t.html"))
    assert elements.names <= {
        "html", "head", "meta", "title", "body", "table", "thead", "tbody", "tr", "th", "td",
        "b", "u", "div",
    }  # fmt: skip
    assert not {name for name in elements.attributes if name.startswith("on")}
    assert not {"src", "href"} & elements.attributes
    assert Elements(table._repr_html_()).names <= elements.names


def test_markdown_keeps_its_cells_and_holds_no_element_link_or_mention(table):
    text = table.to_markdown()
    rows = grid(text, "markdown")
    assert {len(row) for row in rows} == {1 + len(table.cols)}
    assert len(rows) == 1 + len(table.rows) + 1  # heads, and one group has a title
    outside = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    assert set(re.findall(r"</?\w+", outside)) <= {"<ins", "</ins"}
    assert "://" not in outside and "www." not in outside and "@" not in outside
    assert text.count("<!--") == 2 and text.count("-->") == 2


def test_spreadsheets_find_no_formula(table, tmp_path):
    cells = [cell for row in csv.reader(io.StringIO(table.to_csv())) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@\t" and cell]
    table.to_excel(tmp_path / "t.xlsx")
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    for sheet in book:
        kinds = {cell.data_type for row in sheet.iter_rows() for cell in row}
        assert "f" not in kinds


@pytest.mark.parametrize("name", ["t.tex", "t.md", "t.html"])
def test_the_record_of_hostile_runs_is_read_back(table, tmp_path, name):
    path = tmp_path / name
    getattr(table, {"t.tex": "to_latex", "t.md": "to_markdown", "t.html": "to_html"}[name])(path)
    assert verify([path]) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$10^{-3}$", "10<sup>-3</sup>"),
        (r"$\eta_0$", "\N{GREEK SMALL LETTER ETA}<sub>0</sub>"),
        (r"$F_1 < 2$", "F<sub>1</sub> &lt; 2"),
        (r"$\textsc{ours}$", "ours"),
        (r"$\frac12$", r"$\frac12$"),
        (r"$<script>$", "&lt;script&gt;"),
        (r"$x^{<img src=x>}$", "x<sup>&lt;img src=x&gt;</sup>"),
    ],
)
def test_simple_mathematics_of_labels_is_shown_in_html(text, shown):
    assert maths_as_html(text) == shown
