"""curves, bars, scatter, effects, parallel and ranks on a command line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from figure_roots import with_curves, with_scores

from ztxexp.cli.main import main


def run(root, *words):
    """Return exit code, standard output and standard error."""
    result = CliRunner(catch_exceptions=False).invoke(
        main, [words[0], "-C", str(root), *map(str, words[1:])], prog_name="ztxexp"
    )
    return result.exit_code, result.stdout, result.stderr


def rows_of(out):
    return list(csv.DictReader(io.StringIO(out), delimiter="\t"))


@pytest.fixture
def root(tmp_path):
    values = []
    for model, data, seed in itertools.product("abc", range(6), range(3)):
        value = 0.5 + 0.1 * "abc".index(model) + data / 100 + seed / 1000
        values.append(({"model": model, "data": data, "seed": seed}, value))
    return with_scores(tmp_path / "results", values)


COMMANDS = [
    ("bars", "accuracy", "--by", "model", "--over", "none"),
    ("bars", "accuracy", "--by", "data", "--side-by-side", "model", "--raw", "--no-zero"),
    ("scatter", "data", "accuracy", "--color", "model", "--over", "seed"),
    ("effects", "accuracy"),
    ("parallel", "accuracy", "--by", "data,model"),
    ("ranks", "accuracy", "--methods", "model", "--blocks", "data"),
]


@pytest.mark.first_is_quick
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_figure_is_written_with_its_caption(root, tmp_path, words):
    path = tmp_path / "fig.svg"
    code, out, err = run(root, *words, "-o", path, "--style", "icml", "--width", "full")
    assert (code, out) == (0, "") and path.read_bytes().startswith(b"<?xml")
    caption = " ".join((tmp_path / "fig.caption.txt").read_text().split())
    assert caption in err and f"wrote {path} and fig.caption.txt" in err


def test_tables_say_the_same_as_figures(root):
    code, out, err = run(root, "bars", "accuracy", "--by", "model", "--over", "data,seed")
    assert code == 0 and [row["model"] for row in rows_of(out)] == ["a", "b", "c"]
    assert float(rows_of(out)[0]["mean"]) == pytest.approx(0.526) and "a figure: -o" in err
    _, out, err = run(root, "effects", "accuracy")
    assert [row["key"] for row in rows_of(out)] == ["model", "", "", "data", *[""] * 5]
    assert float(rows_of(out)[0]["range"]) == pytest.approx(0.2) and "larger is better" in err
    _, out, _ = run(root, "effects", "accuracy", "--json", "--keys", "model")
    assert [row["key"] for row in json.loads(out)] == ["model"] * 3
    _, out, err = run(root, "parallel", "accuracy")
    assert len(rows_of(out)) == 10 and rows_of(out)[0]["model"] == "c" and "18 settings" in err
    _, out, err = run(root, "ranks", "accuracy", "--methods", "model", "--blocks", "data")
    assert [(r["model"], r["mean rank"]) for r in rows_of(out)] == [
        ("c", "1.0"), ("b", "2.0"), ("a", "3.0"),
    ]  # fmt: skip
    assert [row["alike"] for row in rows_of(out)] == ["a", "ab", "b"] and "Friedman" in err
    _, out, _ = run(root, "scatter", "data", "accuracy", "--over", "seed", "--color", "model")
    assert len(rows_of(out)) == 18 and list(rows_of(out)[0]) == ["data", "model", "accuracy", "n"]


def test_a_table_goes_to_a_file_too(root, tmp_path):
    path = tmp_path / "bars.csv"
    assert run(root, "bars", "accuracy", "-o", path)[0] == 0
    assert path.read_text().startswith("data,model,mean,low,high,n\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bars", "accuracy", "--style", "icml"), "--style: for a figure; write one with -o"),
        (("bars", "accuracy", "-o", "nowhere/fig.pdf"), "there is no folder nowhere"),
        (("bars", "accuracy", "-o", "fig.pdf", "--json"), "fig.pdf is a figure"),
        (("bars", "accuracy", "-o", "fig.doc"), "the ending says no format"),
        (("effects", "acuracy"), "did you mean 'accuracy'"),
        (("ranks", "accuracy", "--methods", "model"), "Missing option '--blocks'"),
        (("scatter", "dat", "accuracy"), "did you mean 'data'"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(root, words, said):
    code, _, err = run(root, *words)
    assert code == 2 and said in err


def test_too_few_blocks_fail(root):
    words = ("ranks", "accuracy", "--methods", "model", "--blocks", "data", "-w", "data < 3")
    code, _, err = run(root, *words)
    assert code == 1 and "3 blocks (data); with fewer than 5" in err


def test_nothing_that_succeeded_is_said(root):
    code, _, err = run(root, "effects", "accuracy", "-w", "model == 'x'")
    assert code == 1 and "pass the filters" in err


def test_tables_need_no_matplotlib(root):
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from click.testing import CliRunner\n"
        "from ztxexp.cli.main import main\n"
        "for words in (['bars', 'accuracy'], ['effects', 'accuracy'], ['parallel', 'accuracy'],\n"
        "              ['scatter', 'data', 'accuracy']):\n"
        "    result = CliRunner().invoke(main, [*words, '-C', sys.argv[1]])\n"
        "    assert result.exit_code == 0, result.output\n"
        "print('pandas' in sys.modules, 'scipy' in sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False False"


# ---- curves ----------------------------------------------------------------------------------


@pytest.fixture
def curves(tmp_path):
    return with_curves(tmp_path / "curves")


def test_curves_are_drawn_or_not(curves):
    code, out, err = run(curves, "curves", "accuracy", "--plot")
    head, _, table = out.partition("\n\n")
    assert code == 0 and head.startswith("accuracy\n") and "2: lr=0.1" in head
    assert [row["lr"] for row in rows_of(table)] == ["0.01", "0.1"]
    code, out, err = run(curves, "curves", "accuracy", "--smooth", "0.5")
    assert out.startswith("lr\t") and "smoothed (0.5)" in err


def test_one_curve_of_all(curves):
    _, out, err = run(curves, "curves", "accuracy", "--by", "none", "--over", "none")
    assert [row["runs"] for row in rows_of(out)] == ["6"] and err.startswith("1 curve")


def test_a_curve_that_ends_with_fewer_runs_is_said(tmp_path):
    root = with_curves(tmp_path, shorter=[(0.1, 1)], values={(0.1, 0, 9): 50.0})
    _, out, err = run(root, "curves", "accuracy", "--by", "lr")
    assert "lr=0.1: the last step is of 2 of 3 runs; all have step 4" in err
    assert rows_of(out)[1]["best"].endswith("at 4")  # not where few runs are left


def test_curves_go_to_a_figure(curves, tmp_path):
    words = ("--by", "lr", "--band", "ci95", "--raw", "--logy", "--smooth", "0.3")
    path = tmp_path / "fig.pdf"
    code, out, err = run(curves, "curves", "loss", *words, "-o", path)
    assert (code, out) == (0, "") and path.read_bytes().startswith(b"%PDF")
    assert "95 % confidence interval" in err and "weight 0.3" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("accuracy", "--band", "ci95"), "--band: for a figure"),
        (("accuracy", "--raw"), "--raw: for a figure"),
        (("accuracy", "--smooth", "1"), "1.0 is not in the range"),
    ],
)
def test_options_of_figures_need_one(curves, words, said):
    code, _, err = run(curves, "curves", *words)
    assert code == 2 and said in err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_labels_of_a_command_stand_in_its_figure(root, tmp_path, words):
    path = tmp_path / "fig.svg"
    code, _, err = run(root, *words, "--label", "accuracy as The accuracy", "-o", path)
    assert code == 0 and "The accuracy" in err
    code, _, err = run(root, *words, "--label", "accuracy as The accuracy")
    assert code == 2 and "--label: for a figure" in err


def test_an_ending_of_curves_that_is_none_names_figures_too(curves, tmp_path):
    code, _, err = run(curves, "curves", "accuracy", "-o", tmp_path / "x.jpg")
    assert code != 0 and ".pdf, .svg, .png" in err and "csv" in err
