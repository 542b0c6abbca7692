"""Versions of the code in tables, warnings where they are mixed, and what is stale."""

from __future__ import annotations

import pytest

from ztxexp import ConfigError, ExperimentPipeline, ResultAnalyzer


def made_from(source, name="train", module="__main__"):
    space = {"__name__": module}
    exec(
        f"def {name}(ctx):\n"
        f"    ctx.log_metric(0, {{'loss': {source}}})\n"
        f"    return {{'score': {source}}}",
        space,
    )
    return space[name]


OLD, NEW = made_from("1"), made_from("2")


@pytest.fixture
def root(tmp_path):
    for seeds, function in (([0, 1], OLD), ([2], NEW)):
        ExperimentPipeline(tmp_path).grid({"seed": seeds}).run(function)
    return tmp_path


def test_a_frame_shows_the_versions_in_the_order_of_their_first_use(root):
    frame = ResultAnalyzer(root).to_dataframe(code=True)
    assert dict(zip(frame["seed"], frame["code"], strict=True)) == {0: "v1", 1: "v1", 2: "v2"}
    assert "code" not in ResultAnalyzer(root).to_dataframe()
    assert "run.code" in ResultAnalyzer(root).to_dataframe(code=True, prefix=True)


def test_a_key_of_the_same_name_is_not_hidden(tmp_path):
    ExperimentPipeline(tmp_path, {"code": "own"}).run(OLD)
    with pytest.raises(ConfigError, match="'code' of their own; ask for prefix=True"):
        ResultAnalyzer(tmp_path).to_dataframe(code=True)


@pytest.mark.parametrize(
    "ask", [lambda a: a.aggregate(by=[]), lambda a: a.best("score")], ids=["aggregate", "best"]
)
def test_a_mixture_of_versions_is_said(root, ask, caplog):
    ask(ResultAnalyzer(root))
    assert "3 runs made by 2 versions of the code (2 by v1, 1 by v2)" in caplog.text


MIXTURE = "3 runs made by 2 versions of the code (2 by v1, 1 by v2)"


@pytest.mark.parametrize("prefix", ["", "run."])
def test_a_pivot_says_a_mixture_unless_the_code_keeps_it_apart(root, tmp_path, prefix, caplog):
    analyzer, path = ResultAnalyzer(root), tmp_path / "out.xlsx"
    frame = analyzer.to_dataframe(code=True, prefix=bool(prefix))
    score = "metrics.score" if prefix else "score"
    analyzer.to_pivot_excel(path, frame, [f"{prefix}code"], [], [score])
    assert MIXTURE not in caplog.text
    analyzer.to_pivot_excel(path, frame, [f"{prefix}status"], [], [score])
    assert f"to_pivot_excel: {MIXTURE}" in caplog.text


def test_curves_say_a_mixture_unless_they_show_the_code(root, caplog):
    analyzer = ResultAnalyzer(root)
    alone = analyzer.to_curve_dataframe("loss")
    curve = analyzer.to_curve_dataframe("loss", config="seed", code=True)
    assert dict(zip(curve["seed"], curve["code"], strict=True)) == {0: "v1", 1: "v1", 2: "v2"}
    assert "code" not in alone and MIXTURE not in caplog.text
    assert list(analyzer.to_curve_dataframe(code=True)["code"]) == list(curve["code"])
    analyzer.to_curve_dataframe("loss", config=True)
    assert f"to_curve_dataframe: {MIXTURE}" in caplog.text


def test_one_version_is_no_mixture(tmp_path, caplog):
    ExperimentPipeline(tmp_path).grid({"seed": [0, 1]}).run(OLD)
    ResultAnalyzer(tmp_path).best("score")
    assert "versions of the code" not in caplog.text


def test_what_is_stale_is_listed_and_set_aside(root):
    analyzer = ResultAnalyzer(root)
    assert list(analyzer.stale(NEW)["code"]) == ["v1", "v1"]
    assert len(analyzer.to_dataframe()) == 3
    assert len(analyzer.stale(NEW, set_aside=True)) == 2
    assert list(analyzer.to_dataframe()["score"]) == [2]
    assert analyzer.stale(NEW).empty
    with pytest.raises(ConfigError, match="cannot be told"):
        analyzer.stale(len)


def test_runs_of_another_function_are_not_stale(root):
    analyzer = ResultAnalyzer(root)
    for other in (made_from("1", "evaluate"), made_from("3", module="experiments")):
        ExperimentPipeline(root).grid({"seed": [7]}).run(other)
    assert len(analyzer.stale(NEW, set_aside=True)) == 3  # of train(), also where it was imported
    assert analyzer.stale(made_from("2", "evaluate"))["status"].tolist() == ["succeeded"]
    assert sorted(analyzer.to_dataframe()["score"]) == [1, 2]


def test_what_is_stale_is_limited_to_an_experiment(tmp_path):
    for name in ("first", "second"):
        ExperimentPipeline(tmp_path).name(name).grid({"seed": [0]}).run(OLD)
    analyzer = ResultAnalyzer(tmp_path)
    assert len(analyzer.stale(NEW, set_aside=True, experiment_name="first")) == 1
    assert list(analyzer.to_dataframe()["experiment_name"]) == ["second"]
    assert len(analyzer.stale(NEW)) == 1


@pytest.mark.parametrize(
    "ask",
    [lambda a: a.aggregate(by=[]), lambda a: a.best("score", over="seed")],
    ids=["aggregate", "best"],
)
def test_where_a_run_of_other_code_replaces_one_its_function_and_version_are_said(
    root, ask, caplog
):
    ExperimentPipeline(root).grid({"seed": [0]}).run(NEW)
    ExperimentPipeline(root).grid({"seed": [1]}).run(made_from("3", "evaluate"))
    ask(ResultAnalyzer(root))
    assert "2 of the runs left out are of other code than the later one" in caplog.text
    assert "1 by v1 of __main__:train, where v2 of __main__:train counts" in caplog.text
    assert "1 by v1 of __main__:train, where v3 of __main__:evaluate counts" in caplog.text
    assert "(2 by v2 of __main__:train, 1 by v3 of __main__:evaluate)" in caplog.text
    assert "to_dataframe(code=True) shows which" in caplog.text


def test_a_run_that_replaces_one_of_the_same_code_is_not_said_to_be_of_other_code(root, caplog):
    ExperimentPipeline(root).grid({"seed": [0]}).run(OLD)
    ResultAnalyzer(root).aggregate(by=[])
    assert "left out 1 run" in caplog.text and "other code" not in caplog.text
