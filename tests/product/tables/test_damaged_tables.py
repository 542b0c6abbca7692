"""Whatever is changed in a written table by hand is noticed, and nothing breaks the check."""

from __future__ import annotations

import re

import pytest
from handmade import write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp import ResultAnalyzer
from ztxexp.tables.macros import macros_text
from ztxexp.tables.remaking import Maker
from ztxexp.tables.verify import check

FORMS = ["t.tex", "s.tex", "t.md", "t.html", "numbers.tex"]
# What is laid out and not said: kinds of columns, rules, room, styles, the commands of macros.
LAYOUT = re.compile(
    r"\\begin\{tabular\}.*|\\cmidrule\(lr\)\{[-\d]+\}|style=\"[^\"]*\"|colspan=\"\d+\"|\\providecommand"
    r".*|  [\\{].*|<!doctype.*\n|\\begin\{table\}\[t\]|<meta[^>]*>|\\label\{.*"
)
MAKER = Maker()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    for hidden in (16, 64):
        for seed in (0, 1, 2):
            write_run(
                folder / "results",
                f"r_{hidden}_{seed}",
                config={"hidden": hidden, "seed": seed},
                metrics={"accuracy": 0.9 + hidden / 1000 + seed / 500},
            )
    table = ResultAnalyzer(folder / "results").table("hidden", [], "accuracy", percent=True)
    table.to_latex(folder / "t.tex")
    table.to_latex(folder / "s.tex", siunitx=True, caption="Digits", ref="t", notes=True)
    table.to_markdown(folder / "t.md")
    table.to_html(folder / "t.html")
    text = macros_text(table, path=folder / "numbers.tex")
    (folder / "numbers.tex").write_text(text, encoding="utf-8")
    assert all(check(folder / form, MAKER).problems == [] for form in FORMS)
    return folder


def problems(folder, form, text):
    """What the check says of a changed file, which stands where the true one does."""
    path = folder / f"changed_{form}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    checked = check(path, MAKER)
    return [str(one) for one in checked.problems if one.fatal]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_each_digit_counts(folder, form):
    text = (folder / form).read_text(encoding="utf-8")
    layout = {at for match in LAYOUT.finditer(text) for at in range(*match.span())}
    digits = [at for at, one in enumerate(text) if one.isdigit() and at not in layout]
    assert len(digits) > 200
    for at in digits:
        other = str((int(text[at]) + 1) % 10)
        changed = text[:at] + other + text[at + 1 :]
        assert problems(folder, form, changed), f"{text[at - 40 : at]}>{text[at : at + 40]}"


@pytest.mark.parametrize("form", FORMS)
def test_each_line_counts(folder, form):
    lines = (folder / form).read_text(encoding="utf-8").splitlines()
    said = re.compile(r"ztxexp (table v|macros v|cell \{|end \{)|&|^\| \d|<td|\\ztxdef\{|note: ")
    for at, line in enumerate(lines):
        if said.search(line) and not line.startswith((r"\providecommand", "  ")):
            assert problems(folder, form, "\n".join(lines[:at] + lines[at + 1 :])), line


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_the_check_says_something_or_nothing(folder, form, data):
    text = (folder / form).read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    pieces = st.sampled_from(["{", "}", "\\\\", "&", "|", "null", "[]", '"', "-->", "\n", "1e999"])
    new = data.draw(st.one_of(st.text(max_size=20), pieces))
    problems(folder, form, text[:start] + new + text[end:])


@pytest.mark.parametrize("form", ["s.tex", "t.md", "t.html"])
def test_printed_sentences_count(folder, form):
    text = (folder / form).read_text(encoding="utf-8")
    before, _, after = text.rpartition("n = 3")
    (problem,) = problems(folder, form, f"{before}n = 5{after}")
    assert "has an edited sentence; it was: accuracy in percent (max" in problem
