"""Tables as LaTeX: what they say, what they escape, and what a real LaTeX makes of them."""

from __future__ import annotations

import re
import subprocess

import pytest
from handmade import write_run
from programs import needs

from ztxexp.analysis.run_table import RunTable
from ztxexp.tables.latex import latex_text
from ztxexp.tables.macros import macros_text
from ztxexp.tables.making import table_of
from ztxexp.tables.model import text_of
from ztxexp.tables.tex import escaped, label
from ztxexp_core.errors import ConfigError

HOSTILE = [
    r"\input{/etc/passwd}",
    r"a & b \\ \hline c",
    "50% off # $x$ _sub^sup ~ {brace} }{",
    "--lr ``quoted'' <<a>> ?` !` ,, \"a",
    r"\end{tabular}\end{document}",
    "[2pt] *",
    "]x[",
    "% ztxexp end {}",
    "line\nbreak\ttab\x07bell\x1b[31m",
    "\N{GREEK SMALL LETTER ALPHA} β Ω ± \N{MULTIPLICATION SIGN} résumé “q” ÷ ‖",
    "^^5cinput{x}",
    "$10^{-3}$",
    "-->",
]
DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\usepackage{siunitx}
\usepackage[margin=1cm,a3paper]{geometry}
\pagestyle{empty}
BEFORE
\begin{document}
BODY
\end{document}
"""


def compiled(folder, body, before=""):
    """Return the words of the page that pdflatex makes; an error of LaTeX fails the test."""
    text = DOCUMENT.replace("BEFORE", before).replace("BODY", body)
    (folder / "t.tex").write_text(text, encoding="utf-8")
    command = [needs("pdflatex"), "-interaction=nonstopmode", "-no-shell-escape", "t.tex"]
    made = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    log = made.stdout.decode("utf-8", "replace")
    errors = [line for line in log.splitlines() if line.startswith("!")]
    assert not errors and made.returncode == 0, "\n".join(errors) + log[-2000:]
    return folder / "t.pdf"


def words(pdf):
    """Return each word of a page with its left and right edge, in points."""
    out = subprocess.run(
        [needs("pdftotext"), "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r'xMin="([\d.]+)".*?xMax="([\d.]+)".*?>(.*?)</word>', out)
    return [(text, float(left), float(right)) for left, right, text in found]


def runs(root, values, metric="accuracy"):
    """Write a run for each value, by row, column and seed, and read them."""
    for number, ((row, col, seed), value) in enumerate(values.items()):
        write_run(
            root,
            f"r{number:03}",
            config={"row": row, "col": col, "seed": seed},
            metrics={metric: value},
        )
    return RunTable.read(root)


@pytest.fixture
def small(tmp_path):
    values = {("a", "x", 0): 0.099, ("a", "x", 1): 0.101, ("a", "y", 0): 0.5, ("a", "y", 1): 0.7}
    values |= {("b", "x", 0): 0.91, ("b", "x", 1): 0.93, ("c", "x", 0): 0.82, ("c", "x", 1): 0.8}
    return runs(tmp_path / "results", values)


def test_a_table_needs_booktabs_and_nothing_else(small):
    table = table_of(small, rows="row", cols="col", metric="accuracy", percent=True)
    lines = latex_text(table, record=False).splitlines()
    assert lines == [
        r"\begin{tabular}{lcc}",
        r"\toprule",
        r"accuracy (\%) $\uparrow$ & \multicolumn{2}{c}{col} \\",
        r"\cmidrule(lr){2-3}",
        r"row & x & y \\",
        r"\midrule",
        r"a & $10.0{\scriptstyle\,\pm 0.1}$ & $60.0{\scriptstyle\,\pm 14.1}$ \\",
        r"b & \bfseries\boldmath $92.0{\scriptstyle\,\pm 1.4}$ & -- \\",
        r"c & \underline{$81.0{\scriptstyle\,\pm 1.4}$} & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_columns_of_siunitx_have_the_format_of_their_numbers(small):
    table = table_of(small, rows="row", cols="col", metric="accuracy", percent=True)
    text = latex_text(table, siunitx=True, record=False)
    formats = "lS[table-format=2.1(2), table-number-alignment=left]S[table-format=2.1(3)]"
    assert formats in text
    assert r"b & \bfseries\boldmath 92.0 \pm 1.4 & {--} \\" in text


def test_only_labels_of_the_user_hold_mathematics(tmp_path):
    values = {("$10^{-3}$", "x", 0): 1.0, ("b", "x", 0): 2.0}
    read = runs(tmp_path / "results", values)
    plain = latex_text(table_of(read, rows="row", cols="col"), record=False)
    assert (
        r"\$10\textasciicircum{}\{{-}3\}\$" in plain or r"\$10\textasciicircum{}\{-3\}\$" in plain
    )
    labels = {"row": r"rate $\eta$ \$5", "accuracy": "$F_1$", "row=b": "$x & y$"}
    own = latex_text(table_of(read, rows="row", cols="col", labels=labels), record=False)
    assert r"rate $\eta$ \$5 & " in own and r"$F_1$ $\uparrow$" in own
    assert r"\$x \& y\$" in own  # what would begin a cell is no mathematics


@pytest.mark.parametrize("text", ["$a}$", "$a{$", "$a%b$", "$a#$", r"$a\\b$", "$a\nb$"])
def test_mathematics_that_is_not_whole_is_printed_as_it_is(text):
    assert "$" not in label(text, [text]).replace(r"\$", "")


def test_a_float_has_caption_name_and_notes(small):
    table = table_of(small, rows="row", cols="col", metric="accuracy")
    text = latex_text(table, caption="50 % of $n$", ref="tab:x", notes=True, size="small")
    assert text.count(r"\begin{table}[t]") == 1 and r"\label{tab:x}" in text
    assert r"\caption{50 \% of $n$ " in text and "mean $\\pm$ std over seed" in text
    for wrong in ({"size": "huge"}, {"ref": "a}b"}, {"caption": "x", "position": "q"}):
        with pytest.raises(ConfigError):
            latex_text(table, **wrong)


@pytest.mark.slow
@pytest.mark.parametrize("siunitx", [False, True])
def test_a_real_latex_sets_it_and_decimal_points_stand_below_each_other(tmp_path, small, siunitx):
    table = table_of(small, rows="row", cols="col", metric="accuracy", percent=True, show="none")
    pdf = compiled(tmp_path, latex_text(table, siunitx=siunitx))
    right = {text: edge for text, _, edge in words(pdf)}
    assert {"10.0", "92.0", "81.0", "60.0", "row"} <= set(right), right
    assert right["10.0"] == pytest.approx(right["81.0"], abs=0.3)
    assert right["92.0"] == pytest.approx(right["81.0"], abs=1.5)  # bold digits are wider


@pytest.mark.slow
@pytest.mark.parametrize("siunitx", [False, True])
def test_whatever_runs_say_compiles_and_is_printed(tmp_path, siunitx):
    root = tmp_path / "results"
    for number, text in enumerate(HOSTILE):
        for seed in (0, 1):
            write_run(
                root,
                f"r{number}_{seed}",
                config={"key & _%": text, "col $x$ \\": text[:3], "seed": seed},
                metrics={"score % #_&": 0.5 + number / 100 + seed / 1000},
            )
    read = RunTable.read(root)
    body = ""
    for options in ({"rows": "key & _%", "cols": []}, {"rows": "key & _%", "cols": ["col $x$ \\"]}):
        table = table_of(
            read, metric="score % #_&", mode="max", groups={HOSTILE[0]: HOSTILE[:3]}, **options
        )
        size = {"size": "tiny"} if options["cols"] else {}
        body += latex_text(table, siunitx=siunitx, notes=not options["cols"], **size) + "\n\n"
    page = " ".join(text for text, _, _ in words(compiled(tmp_path, body)))
    for text in ("input{/etc/passwd}", "end{tabular}", "50%", "ztxexp", "résumé"):
        assert text in page, page


@pytest.mark.slow
def test_macros_work_in_the_text_and_unknown_ones_are_errors(tmp_path, small):
    table = table_of(small, rows="row", cols="col", metric="accuracy", percent=True)
    text = macros_text(table)
    body = r"\section{Best \ztx{best.accuracy}} of \ztx{runs}, $\ztx{row=a,col=y:pm}$, "
    body += r"n=\ztx{row=a,col=y:n}"
    page = " ".join(one for one, _, _ in words(compiled(tmp_path, body, before=text)))
    assert "Best 92.0" in page and "of 8, 60.0 ± 14.1" in page and "n=2" in page
    with pytest.raises(AssertionError, match=r"No number is called best\.f1"):
        compiled(tmp_path, r"\ztx{best.f1}", before=text)
    other = text.replace("{best.accuracy}{92.0}", "{best.accuracy}{93.0}")
    with pytest.raises(AssertionError, match="Two files have different numbers"):
        compiled(tmp_path, "x", before=text + other)
    compiled(tmp_path, r"\ztx{d.best.accuracy}", before=text + text + macros_text(table, "d"))


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_escaped_has_no_meaning_left(text):
    bare = re.sub(
        r"\\(?:text[a-z]+|dagger|ddagger|string)\b(?:\{\})?|\\[&%$#_{}]", "", escaped(text)
    )
    bare = re.sub(r"\$\\?\w+\$|\{[-'`,\[\]*\"]\}", "", bare)
    assert not set(bare) & set("\\&%#_^~"), bare


@pytest.mark.slow
def test_marks_behind_numbers_move_nothing(tmp_path):
    """Numbers stand below each other although one cell has fewer seeds, and another a sign."""
    values = {}
    shifts = (0.001, 0.02, 0.003, 0.014, 0.01)
    for row, mean, n in (("a", 0.5, 4), ("b", 0.62, 5), ("c", 0.61, 5)):
        for seed, shift in enumerate(shifts[:n]):
            values[row, "x", seed] = mean + (-shift if row == "b" else shift)
    read = runs(tmp_path / "results", values)
    table = table_of(read, rows="row", cols="col", metric="accuracy", percent=True, test="paired-t")
    texts = [text_of(table.cells[at, 0], table) for at in range(3)]
    assert {text.n for text in texts} == {"", "n=4"} and {text.sign for text in texts} > {""}
    for siunitx in (False, True):
        page = words(compiled(tmp_path, latex_text(table, siunitx=siunitx)))
        numbers = [(text, left) for text, left, _ in page if re.match(r"\d\d\.\d", text)]
        assert len(numbers) == 3
        lefts = [left for _, left in numbers]
        assert max(lefts) - min(lefts) < 3.5  # bold digits are wider
