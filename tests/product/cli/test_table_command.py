"""``ztxexp table``: options for papers, how it is drawn, the formats it writes."""

from __future__ import annotations

import itertools
import json
import random
import shlex

import pytest
from handmade import write_run
from terminals import on_terminal

from ztxexp.cli.main import main
from ztxexp.tables.command import words_of
from ztxexp.tables.making import rebuilt


@pytest.fixture
def root(tmp_path):
    rng = random.Random(0)
    cells = itertools.product(("svm", "logistic", "mlp"), ("digits", "wine"), range(6))
    for number, (model, data, seed) in enumerate(cells):
        accuracy = 0.7 + 0.05 * (number // 12) + rng.gauss(0, 0.01)
        write_run(
            tmp_path / "results",
            f"r{number:02}",
            config={"model": model, "data": data, "seed": seed, "lr": 0.001},
            metrics={"accuracy": accuracy, "loss": 1 - accuracy},
        )
    return tmp_path / "results"


@pytest.fixture
def run(root, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as done:
            main(["table", "-C", str(root), "--rows", "model", "--cols", "data", *words])
        out, err = capsys.readouterr()
        return done.value.code or 0, out, err

    return call


def test_options_are_those_of_the_method(run, root):
    words = ["--metric", "accuracy,loss", "--show", "ci95", "--digits", "6", "--transpose"]
    words += ["--order", "model=svm,mlp", "--groups", "old: svm", "--groups", "new: mlp"]
    words += ["--label", "model=svm as SVM", "--label", "accuracy as Acc."]
    code, out, err = run(*words, "--format", "table")
    assert code == 0
    assert out.splitlines()[0].split() == ["data", "model=SVM", "model=mlp"]
    assert out.splitlines()[1].split()[:3] == ["digits", "Acc.", "↑"]
    assert "2 settings left out" in err and "half of the 95 % confidence interval" in err
    assert "* best of each row; _ second best" in err


def test_marks_are_for_tables_and_not_for_columns(run):
    _, drawn, said = run("--metric", "accuracy", "--format", "table", "--highlight", "column")
    assert drawn.count("*") == 2 and drawn.count("_") == 2 and "* best of each column" in said
    _, plain, said = run("--metric", "accuracy")
    assert "*" not in plain and "best" not in said
    assert plain.splitlines()[0] == "model\tdata=digits\tdata=wine"


@pytest.mark.slow
def test_a_test_and_its_p_are_in_the_records(run):
    words = ["--metric", "accuracy", "--test", "wilcoxon", "--correct", "none"]
    code, out, err = run(*words, "--against", "model=svm", "--json")
    cells = json.loads(out)
    assert code == 0 and len(cells) == 6
    assert {cell["p"] for cell in cells if cell["model"] == "mlp"} == {0.03125}
    assert all(cell["significant"] for cell in cells if cell["model"] == "mlp")
    assert {cell["pairs"] for cell in cells} == {6, None}
    assert (
        "Wilcoxon signed-rank test, two-sided, paired by seed (6 pairs), against model=svm" in err
    )
    _, out, err = run("--metric", "accuracy", "--test", "wilcoxon")
    assert "cannot go below p = 0.031, 0.125 after the correction" in err and "†" in out


def test_statistics_are_in_the_records(run):
    for show, names in (("sem", ["sem"]), ("median[iqr]", ["median", "q1", "q3"]), ("none", [])):
        _, out, _ = run("--metric", "accuracy", "--show", show, "--json")
        cell = json.loads(out)[0]
        after = list(cell)[list(cell).index("n") + 1 :]
        assert after == [*names, "seeds", "runs"] and cell["std"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "model"], "--label takes 'KEY as TEXT'"),
        (["--order", "model"], "--order takes KEY=VALUES"),
        (["--groups", "a: b", "--groups", "c"], "--groups takes one key"),
        (["--against", "svm"], "--against takes best"),
        (["--averages", "median"], "--averages is"),
        (["--highlight", "diagonal"], "--highlight is"),
        (["--siunitx"], "--siunitx is for LaTeX"),
        (["--format", "xlsx"], "-o FILE.xlsx"),
        (["--metric", "accuracy,acuracy"], "did you mean 'accuracy'"),
        (["--alpha", "2"], "--alpha lies between 0 and 1"),
        (["-o", "table.doc"], "known: .tsv, .csv"),
        (["--test", "paired-t", "--over", "none"], "give --over"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_option_to_type(run, words, said):
    code, out, err = run("--metric", "accuracy", *words) if "--metric" not in words else run(*words)
    assert (code, out) == (2, "") and said in err


def test_files_have_the_format_of_their_ending(run, tmp_path):
    for ending, begin in (("tex", "% "), ("md", "<!--"), ("csv", "model,")):
        path = tmp_path / f"t.{ending}"
        code, out, err = run("--metric", "accuracy", "-o", str(path))
        assert (code, out) == (0, "") and path.read_text().startswith(begin)
        assert f"wrote 3 rows to {path}" in err
    assert "<table" in run("--metric", "accuracy", "--format", "html")[1]
    code, out, err = run("--metric", "accuracy", "--format", "tex")
    assert "\\begin{tabular}" in out and "mean ± std" not in err
    sheet = tmp_path / "t.xlsx"
    assert run("--metric", "accuracy", "-o", str(sheet))[0] == 0 and sheet.stat().st_size > 1000


def test_the_line_that_makes_a_table_again_makes_it_again(root, capsys):
    from ztxexp import ResultAnalyzer

    table = ResultAnalyzer(root).table(
        {"model": ["mlp", "svm"]}, "data", ["accuracy", "loss"], show="ci95", percent=True,
        labels={"model=svm": "SVM's", "loss": "L"}, groups={"a b": ["mlp"], "c": ["svm"]},
        averages="average", transpose=True, highlight="row", where="seed < 4", digits=2, mode="max",
    )  # fmt: skip
    words = shlex.split(" ".join(words_of(table.source)))
    with pytest.raises(SystemExit) as done:
        main(["table", "-C", str(root), *words, "--format", "table"])
    out, _ = capsys.readouterr()
    assert not done.value.code and str(rebuilt(table.source)).startswith(out.rstrip("\n"))


def test_a_sweep_declares_more_than_keys(root, capsys):
    launches = root / ".ztxexp" / "launches"
    launches.mkdir(parents=True)
    declared = {"rows": "model", "metric": "accuracy", "show": "sem", "percent": True}
    (launches / "1.jsonl").write_text(json.dumps({"id": "1", "sweep": {"table": declared}}) + "\n")
    with pytest.raises(SystemExit):
        main(["table", "-C", str(root), "--digits", "3", "--over", "seed,data"])
    out, err = capsys.readouterr()
    assert "accuracy in percent" in err and "standard error" in err
    assert len(out.splitlines()[1].split("\t")[1].split(" ")[0].partition(".")[2]) == 3


def declare(root, **table):
    launches = root / ".ztxexp" / "launches"
    launches.mkdir(parents=True)
    (launches / "1.jsonl").write_text(json.dumps({"id": "1", "sweep": {"table": table}}) + "\n")


def test_what_is_asked_for_leaves_the_other_declared_keys(root):
    from ztxexp import ConfigError, ResultAnalyzer

    declare(root, rows="model", cols="data", metric="accuracy, loss")
    analyzer = ResultAnalyzer(root)

    def keys(**given):
        table = analyzer.table(**given)
        return table.row_keys, table.col_keys

    assert keys() == (("model",), ("data",))
    assert [one.name for one in analyzer.table().metrics] == ["accuracy", "loss"]
    assert keys(rows=["model", "seed"], over=[]) == (("model", "seed"), ("data",))
    assert keys(cols="model")[1] == ("model",)
    assert keys(rows="data") == (("data",), ())
    assert keys(rows="model", cols=[]) == (("model",), ())
    with pytest.raises(ConfigError, match="makes rows and columns"):
        analyzer.table(rows="data", cols="data")


def test_declared_keys_may_be_joined_by_commas_and_are_named_as_declared(root, capsys):
    declare(root, rows="model,data", metric="accuracy")
    with pytest.raises(SystemExit) as done:
        main(["table", "-C", str(root), "--format", "csv"])
    assert not done.value.code and capsys.readouterr().out.startswith("model,data,")


def test_a_declared_key_that_no_run_has_is_named_as_the_sweeps(root, capsys):
    declare(root, rows="modle", metric="accuracy")
    with pytest.raises(SystemExit) as done:
        main(["table", "-C", str(root)])
    said = capsys.readouterr().err
    assert done.value.code and "rows of the sweep's table: " in said and "--rows" not in said
    assert "'model'" in said


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_the_best_is_bold_and_the_second_underlined(root, colours):
    words = ["table", "--rows", "model", "--cols", "data", "--metric", "accuracy,loss"]
    script = f"from ztxexp.cli.main import main; main({words!r})"
    more = {} if colours else {"NO_COLOR": "1"}
    seen = on_terminal(root, script, ZTXEXP_RESULTS=str(root), columns=120, **more)
    assert seen.code == 0
    assert seen.lines[0].split() == ["digits", "wine"]
    assert seen.lines[1].split()[:3] == ["model", "accuracy", "↑"]
    assert (b"\x1b[1m0.8" in seen.raw) is colours and (b"\x1b[4m0.7" in seen.raw) is colours
    assert any(("Bold: best" if colours else "* best") in line for line in seen.lines)
    narrow = on_terminal(root, script, ZTXEXP_RESULTS=str(root), columns=50, **more)
    assert any("more than the terminal has room for" in line for line in narrow.lines)


def test_all_statuses_count_where_that_is_asked_for(run, root):
    config = {"model": "svm", "data": "wine", "seed": 9, "lr": 0.001}
    write_run(root, "x", "failed", config=config, metrics={"accuracy": 0.1, "loss": 0.9})
    words = ["--metric", "accuracy", "--json", "--where", "model == 'svm' and data == 'wine'"]
    assert [cell["n"] for cell in json.loads(run(*words)[1])] == [6]
    code, out, err = run(*words, "--status", "all")
    assert code == 0 and [cell["n"] for cell in json.loads(out)] == [7]
    assert "left out" not in err
