"""``ztxexp tag``."""

from __future__ import annotations

import json

import pytest
from handmade import write_run

from ztxexp.cli.main import main
from ztxexp.results.names import NamedRuns


@pytest.fixture
def root(tmp_path, monkeypatch):
    for number in range(3):
        write_run(
            tmp_path / "results",
            f"20260301_10150{number}_a",
            metrics={"loss": number},
            config={"lr": number},
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.fixture
def ztxexp(root, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def test_tags_are_set_shown_and_removed(ztxexp, root):
    short = NamedRuns.of(root).short[1]
    code, out, err = ztxexp("tag", short, "stage=final", "good")
    assert code == 0 and short in out and "lr=1" in out and "stage=final  good" in out
    assert "next: ztxexp list --tag stage=final" in err
    assert ztxexp("tag", short)[1].splitlines()[1].endswith("stage=final  good")
    _, out, _ = ztxexp("tag", short, "-good", "-Candidate", "-hard", "stage=draft")
    assert out.splitlines()[1].endswith("stage=draft")
    assert ztxexp("tag", "@best:loss")[1].split()[-1] == "-"
    code, out, _ = ztxexp("list", "--tag", "stage=draft", "--json")
    assert [row["run_id"] for row in json.loads(out)] == ["20260301_101501_a"]
    assert "tags stage=draft" in ztxexp("show", short)[1]


def test_several_runs_and_all_forms_of_names(ztxexp, root):
    shorts = NamedRuns.of(root).short
    code, out, _ = ztxexp("tag", "lr=0", shorts[1], "@last", "keep", "lr=7", "--json")
    expected = ["keep", "lr=7"]
    assert code == 0 and json.loads(out) == {f"20260301_10150{n}_a": expected for n in range(3)}
    _, out, _ = ztxexp("tag", "101500", f"+{shorts[1]}", "--json")
    assert json.loads(out) == {"20260301_101500_a": [*expected, shorts[1]]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "which run?"),
        (["-a"], "which run?"),
        (["nobody", "x"], "'nobody'"),
        (["2026", "x"], "could be 3 runs"),
        (["@last", "=x"], "a tag must be"),
        (["@last", "a="], "the value of tag 'a'"),
    ],
)
def test_what_cannot_be_is_a_usage_error(ztxexp, words, problem):
    code, out, err = ztxexp("tag", *words)
    assert (code, out) == (2, "") and problem in err


def test_help_stands_though_tags_begin_with_a_dash(ztxexp):
    assert "-draft" in ztxexp("tag", "-h")[1]
    assert ztxexp("tag", "@last", "--nonsense")[0] == 2


def test_filters_choose_runs(ztxexp, root):
    code, out, _ = ztxexp("tag", "-w", "loss > 0", "late", "-x", "--json")
    assert code == 0 and json.loads(out) == {f"20260301_10150{n}_a": ["late"] for n in (1, 2)}
    _, out, _ = ztxexp("tag", "--tag", "late", "@last", "last", "--json")
    assert json.loads(out) == {"20260301_101502_a": ["late", "last"]}
    assert json.loads(ztxexp("tag", "--tag", "late", "--json")[1]).keys() == {
        "20260301_101501_a",
        "20260301_101502_a",
    }
    code, out, err = ztxexp("tag", "-w", "loss > 9", "late")
    assert (code, out) == (1, "") and "nothing was tagged" in err
