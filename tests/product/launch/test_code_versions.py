"""Results of another version of the code: told, run anew where asked, never mixed in silence."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ztxexp import ExperimentPipeline, OptionError
from ztxexp.results.claims import Claims, Held
from ztxexp_core.store.run_folder import iter_runs

TOLD = "made by another version of train()"


def made_from(source, body="return {{'score': {}}}", name="train", module="__main__"):
    """Return a function ``train`` of some source, as one cell of a notebook defines it."""
    space = {"__name__": module}
    exec(f"def {name}(ctx):\n    " + body.format(source), space)
    return space[name]


OLD, NEW = made_from("1"), made_from("2")


def failing_from(source):
    """Return a ``train`` that writes a checkpoint with its source, and fails after that."""
    body = "(ctx.checkpoints_dir / 'by').write_text('{0}')\n    raise ValueError({0})"
    return made_from(source, body)


def pipeline(root, n=3, **kwargs):
    return ExperimentPipeline(root, **kwargs).grid({"x": list(range(n))})


def scores(root):
    return sorted(
        json.loads((folder / "metrics.json").read_text())["score"] for folder, _ in iter_runs(root)
    )


@pytest.fixture
def root(tmp_path):
    pipeline(tmp_path / "r").run(OLD)
    return tmp_path / "r"


@pytest.mark.parametrize("take", ["exclude_completed", "resume"])
def test_results_of_another_version_are_reused_with_a_word(root, take, caplog):
    summary = getattr(pipeline(root, 4), take)().run(NEW)
    assert (summary.total, summary.reused, summary.reused_of_other_code) == (1, 3, 3)
    assert "; 3 reused, 3 of these made by other code" in str(summary)
    (message,) = [r.getMessage() for r in caplog.records if TOLD in r.getMessage()]
    assert message.startswith("3 of 3 reused results")
    assert 'code="same"' in message and 'code="any"' in message


def test_the_same_version_is_reused_without_a_word(root, caplog):
    assert pipeline(root).exclude_completed().run(OLD).reused == 3
    assert pipeline(root).exclude_completed(code="any").run(NEW).reused == 3
    assert TOLD not in caplog.text


@pytest.mark.parametrize(
    "asked",
    [
        lambda root: pipeline(root).exclude_completed(code="same"),
        lambda root: pipeline(root).resume(code="same"),
        lambda root: pipeline(root, code="same").exclude_completed(),
        lambda root: pipeline(root, code="same").resume(),
        lambda root: pipeline(root).exclude_completed(["note"], code="same"),
    ],
)
def test_code_same_runs_anew_what_another_version_has_made(root, asked):
    assert asked(root).run(NEW).total == 3
    assert scores(root) == [1, 1, 1, 2, 2, 2]
    assert asked(root).run(NEW).reused == 3
    assert asked(root).run(OLD).reused == 3


def test_a_summary_counts_what_is_reused_from_another_version_also_where_nothing_runs(root):
    asked = pipeline(root).exclude_completed(code="any")
    assert asked.run(OLD).reused_of_other_code == 0
    summary = asked.run(NEW)
    assert (summary.reused, summary.reused_of_other_code) == (3, 3)
    assert str(summary) == "no runs; 3 reused"
    assert asked.plan(NEW).one_line() == "nothing to run, 3 reused"


def test_build_says_that_it_knows_no_code(root, caplog):
    assert pipeline(root, 4).exclude_completed().build() == [{"x": 3}]
    assert not caplog.records
    assert pipeline(root, 4).exclude_completed(code="same").build() == [{"x": 3}]
    assert "build() knows no function" in caplog.text and "plan(exp_fn)" in caplog.text


def test_code_same_leaves_to_a_launch_with_another_rule_what_that_runs_from_the_same_code(
    tmp_path, monkeypatch
):
    started, asked, go = threading.Event(), threading.Event(), threading.Event()
    look = Claims.look

    def train(ctx):
        started.set()
        assert go.wait(60)
        return {"score": 1.0}

    def noted(claims, *words):
        verdict = look(claims, *words)
        if isinstance(verdict, Held):
            asked.set()
        return verdict

    monkeypatch.setattr(Claims, "look", noted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pipeline(tmp_path, 1).exclude_completed().run, train)
        assert started.wait(60)
        same = pipeline(tmp_path, 1).exclude_completed(code="same")
        second = pool.submit(same.run, train)
        try:
            assert asked.wait(60)
        finally:
            go.set()
        assert (first.result().total, second.result().total, second.result().reused) == (1, 0, 1)
    assert len(list(iter_runs(tmp_path))) == 1


def test_a_plan_says_from_which_version_its_reused_results_are(root, capsys):
    plan = pipeline(root, 4).exclude_completed().plan(NEW)
    assert plan.one_line() == "1 to run, 3 reused, all from another version of train()"
    assert "reused        all from another version of train()" in capsys.readouterr().out
    plan = pipeline(root).exclude_completed(code="same").plan(NEW)
    assert plan.one_line() == "3 to run"
    assert plan.to_run[0].why.endswith("by another version of the code")
    with pytest.raises(OptionError, match=r"plan\(exp_fn\)"):
        pipeline(root).exclude_completed(code="same").plan()


def test_a_run_without_a_known_version_is_not_the_same(root):
    for folder, run in iter_runs(root):
        del run["code_hash"]
        (folder / "run.json").write_text(json.dumps(run))
    assert pipeline(root).exclude_completed().run(NEW).reused == 3
    assert pipeline(root).exclude_completed(code="same").run(OLD).total == 3


def test_a_stated_version_is_part_of_the_identity(root, caplog):
    assert pipeline(root).version("2").exclude_completed().run(OLD).total == 3
    assert pipeline(root).version("2").exclude_completed().run(OLD).reused == 3
    assert pipeline(root).version("2").exclude_completed(["note"]).run(OLD).reused == 3
    assert pipeline(root).version("3").exclude_completed(["note"]).run(OLD).total == 3
    assert pipeline(root).exclude_completed().run(OLD).reused == 3
    versions = [run.get("code_version") for _, run in iter_runs(root)]
    assert sorted(map(str, versions)) == ["2"] * 3 + ["3"] * 3 + ["None"] * 3


@pytest.mark.parametrize("version", ["", "a b", 2, None, "x" * 33, "../x"])
def test_what_is_no_version_is_refused(tmp_path, version):
    with pytest.raises(OptionError, match="version must be"):
        ExperimentPipeline(tmp_path).version(version)


def test_an_unknown_rule_is_refused(tmp_path):
    with pytest.raises(OptionError, match='code must be "same", "function" or "any"'):
        ExperimentPipeline(tmp_path).exclude_completed(code="identical")
    with pytest.raises(OptionError, match="did you mean 'same'"):
        ExperimentPipeline(tmp_path, code="sam")


def test_the_files_of_a_stated_version_are_sound(root):
    from ztxexp import ResultAnalyzer

    pipeline(root).version("2").run(OLD)
    assert not ResultAnalyzer(root).check()


# ---- failures of another version -----------------------------------------------------------------


def run_of(root, status):
    (found,) = [(folder, run) for folder, run in iter_runs(root) if run["status"] == status]
    return found


@pytest.mark.parametrize(
    "asked",
    [
        lambda root: pipeline(root, 1).resume(code="same"),
        lambda root: pipeline(root, 1, code="same").retry_failed(),
        lambda root: pipeline(root, 1, code="same").retry_failed("ValueError"),
    ],
    ids=["resume", "retry_failed", "of a reason"],
)
def test_code_same_goes_on_in_no_folder_of_another_version(tmp_path, asked, caplog):
    pipeline(tmp_path, 1).run(failing_from("1"))
    (planned,) = asked(tmp_path).plan(NEW).items
    assert planned.action.value == "new"
    assert planned.why.startswith("failed in ")
    assert planned.why.endswith(", by another version of the code; starts a new run")
    assert asked(tmp_path).run(NEW).succeeded == 1
    (failed, _), (folder, run) = run_of(tmp_path, "failed"), run_of(tmp_path, "succeeded")
    assert (failed / "checkpoints" / "by").read_text() == "1"
    assert run["attempt"] == 1
    assert not (folder / "checkpoints").exists()
    assert "another version" not in caplog.text


def test_code_same_limits_a_launch_to_the_reasons_asked_for(tmp_path):
    pipeline(tmp_path, 1).run(failing_from("1"))
    asked = pipeline(tmp_path, 1, code="same").retry_failed("timeout")
    assert asked.plan(NEW).one_line() == "nothing to run, 1 left out"


def test_code_same_goes_on_with_the_last_failure_of_the_present_version(tmp_path):
    same, other = failing_from("1"), failing_from("2")
    pipeline(tmp_path, 1).run(same)
    (own, _) = run_of(tmp_path, "failed")
    pipeline(tmp_path, 1).exclude_completed().run(other)
    (planned,) = pipeline(tmp_path, 1).resume(code="same").plan(same).items
    assert (planned.action.value, planned.run_id, planned.attempt) == ("resumed", own.name, 2)


def test_what_goes_on_from_another_version_is_told_and_bears_the_hash_of_neither(tmp_path, caplog):
    pipeline(tmp_path, 1).run(failing_from("1"))
    (_, failed) = run_of(tmp_path, "failed")
    plan = pipeline(tmp_path, 1).resume().plan(NEW)
    assert plan.one_line() == "1 to run (1 resumed, from another version of train())"
    assert "before: 1 exception; from another version of train()" in str(plan)
    assert pipeline(tmp_path, 1).resume().run(NEW).succeeded == 1
    (message,) = [r.getMessage() for r in caplog.records if "another version" in r.getMessage()]
    assert message == (
        "1 resumed, from another version of train(); "
        'to run it anew: .resume(code="same"); if the change does not matter: .resume(code="any")'
    )
    (folder, run) = run_of(tmp_path, "succeeded")
    meta = json.loads((folder / "meta.json").read_text())
    assert run["code_hash"] == meta["code_hash"] != failed["code_hash"]
    assert run["code_hash"].startswith("mixed:")
    assert meta["code_note"] == "the earlier attempts ran another version of the code"
    plan = pipeline(tmp_path, 1).resume().plan(NEW)
    assert plan.one_line() == "nothing to run, 1 reused, from several versions of train()"
    (planned,) = pipeline(tmp_path, 1).resume(code="same").plan(NEW).to_run
    assert planned.why.endswith(", by several versions of the code")


def test_code_any_goes_on_without_a_word(tmp_path, caplog):
    pipeline(tmp_path, 2).run(failing_from("1"))
    plan = pipeline(tmp_path, 2).resume(code="any").plan(NEW)
    assert plan.one_line() == "2 to run (2 resumed)"
    assert "version" not in str(plan)
    pipeline(tmp_path, 2).resume(code="any").run(NEW)
    assert "version of" not in caplog.text


def test_the_same_version_goes_on_without_a_word(tmp_path, caplog):
    failing = failing_from("1")
    pipeline(tmp_path, 1).run(failing)
    pipeline(tmp_path, 1).resume(code="same").run(failing)
    ((_, run),) = iter_runs(tmp_path)
    assert run["attempt"] == 2
    assert run["code_hash"].startswith("code:")
    assert "version of" not in caplog.text


def test_a_success_of_the_present_version_counts_before_those_of_others(root, caplog):
    pipeline(root).exclude_completed(code="same").run(NEW)
    for function in (OLD, NEW):
        assert pipeline(root).exclude_completed().run(function).reused_of_other_code == 0
    assert TOLD not in caplog.text


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (lambda p: p.resume(), ".resume(code="),
        (lambda p: p.exclude_completed(), ".exclude_completed(code="),
        (lambda p: p.retry_failed(), "ExperimentPipeline(..., code="),
    ],
)
def test_the_advice_names_what_was_called(tmp_path, asked, advice, caplog):
    pipeline(tmp_path, 1).run(OLD)
    asked(pipeline(tmp_path, 2)).run(NEW)
    (message,) = [r.getMessage() for r in caplog.records if TOLD in r.getMessage()]
    assert message == (
        f'1 reused result made by another version of train(); to run it anew: {advice}"same"); '
        f'if the change does not matter: {advice}"any")'
    )


# ---- where the version is not known --------------------------------------------------------------

UNKNOWN = made_from("3", module="ztxexp.no_code_of_the_user")


def test_a_plan_says_that_results_are_not_compared_where_the_version_is_not_known(root, caplog):
    said = "version of train() is not known, so reused results are not compared"
    assert pipeline(root).exclude_completed().plan(UNKNOWN).one_line().endswith(f"3 reused, {said}")
    pipeline(root, 4).exclude_completed().run(UNKNOWN)
    assert [r.getMessage() for r in caplog.records if said in r.getMessage()] == [said]
    (note,) = {
        json.loads((f / "meta.json").read_text())["code_note"] for f, _ in iter_runs(root)
    } - {None}
    assert note.startswith("which version of train() the runs used is not known")


def test_scripts_from_standard_input_are_told_of_another_version(tmp_path):
    script = (
        "from ztxexp import ExperimentPipeline\n"
        "def helper(): return {}.0\n"
        "def train(ctx): return helper()\n"
        "ExperimentPipeline('r').grid(dict(x=[1])).exclude_completed().run(train)\n"
    )
    shown = [
        subprocess.run(
            [sys.executable, "-"],
            cwd=tmp_path,
            input=script.format(number),
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        ).stderr
        for number in (1, 1, 2)
    ]
    assert ["another version of train()" in text for text in shown] == [False, False, True]


# ---- another function ----------------------------------------------------------------------------


def test_what_another_function_has_made_is_no_other_version(root, caplog):
    other = made_from("2", name="evaluate")
    plan = pipeline(root).exclude_completed().plan(other)
    assert plan.one_line() == "nothing to run, 3 reused, all from another function, train()"
    pipeline(root).exclude_completed().run(other)
    (message,) = [r.getMessage() for r in caplog.records if "made by" in r.getMessage()]
    assert message.startswith(
        "3 of 3 reused results made by another function, train(); to run them"
    )
    (planned, *_) = pipeline(root).exclude_completed(code="same").plan(other).items
    assert planned.why.endswith(", by another function, train()")


def test_functions_of_one_name_in_two_modules_are_told_apart_and_a_script_from_its_import_is_not(
    tmp_path,
):
    def planned_for(module):
        function = made_from("2", module=module)
        return pipeline(tmp_path, 1).exclude_completed().plan(function).one_line()

    pipeline(tmp_path, 1).run(made_from("1", module="first"))
    assert planned_for("second").endswith("from another function, first.train()")
    assert planned_for("__main__").endswith("from another version of train()")


def test_a_mixture_of_versions_and_functions_is_named_in_one_message(tmp_path, caplog):
    pipeline(tmp_path, 1).run(OLD)
    pipeline(tmp_path, 2).exclude_completed().run(made_from("1", name="evaluate"))
    caplog.clear()
    pipeline(tmp_path).exclude_completed().run(NEW)
    (message,) = [r.getMessage() for r in caplog.records if "made by" in r.getMessage()]
    assert message.startswith(
        "2 of 2 reused results made by another version of train() or another function, evaluate();"
    )


def test_a_stated_version_is_compared_where_the_code_is_not_known(tmp_path, caplog):
    for _ in range(2):
        pipeline(tmp_path, 1).version("1").exclude_completed().run(UNKNOWN)
    assert "not known" not in caplog.text


def test_only_results_of_the_same_function_count_where_that_is_the_rule(root):
    other = made_from("3", name="evaluate")
    plan = pipeline(root, 4).resume(code="function").plan(other)
    assert plan.one_line(code=False) == "4 to run"
    assert plan.items[0].why.endswith("by another function, train()")
    assert pipeline(root).resume(code="function").run(other).total == 3
    assert pipeline(root).resume(code="function").run(other).reused == 3
    summary = pipeline(root).resume(code="function").run(NEW)  # another version of train
    assert (summary.total, summary.reused, summary.reused_of_other_code) == (0, 3, 3)
    assert scores(root) == [1, 1, 1, 3, 3, 3]


def test_a_function_goes_on_with_no_failure_of_another_one_where_only_its_own_count(tmp_path):
    body = "(ctx.checkpoints_dir / 'by').write_text('{0}')\n    raise ValueError({0})"
    pipeline(tmp_path, 1).run(made_from("1", body, name="evaluate"))
    retried = pipeline(tmp_path, 1, code="function").retry_failed()
    assert retried.run(failing_from("2")).total == 0
    pipeline(tmp_path, 1).resume(code="function").run(failing_from("2"))
    pipeline(tmp_path, 1).resume(code="function").run(failing_from("3"))  # goes on with the second
    by = [(folder / "checkpoints" / "by").read_text() for folder, _ in iter_runs(tmp_path)]
    assert by == ["1", "3"]


def test_a_run_of_an_unknown_function_counts_as_one_of_the_present_one(root):
    for folder, run in iter_runs(root):
        (folder / "meta.json").write_text("{}")
        (folder / "run.json").write_text(json.dumps({**run, "code_hash": None}))
    assert pipeline(root).resume(code="function").run(NEW).reused == 3


@pytest.mark.parametrize(("name", "total"), [("train", 0), ("evaluate", 1)])
def test_launches_share_the_work_of_one_function(tmp_path, monkeypatch, name, total):
    """A launch with no rule is under way; one that counts a function only joins or does not."""
    started, asked, go = threading.Event(), threading.Event(), threading.Event()
    look = Claims.look

    def train(ctx):
        started.set()
        assert go.wait(60)
        return {"score": 1.0}

    train.__module__, train.__qualname__ = "__main__", "train"
    other = made_from("2", name=name)

    def noted(claims, *words):
        verdict = look(claims, *words)
        asked.set()
        return verdict

    monkeypatch.setattr(Claims, "look", noted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pipeline(tmp_path, 1).exclude_completed().run, train)
        assert started.wait(60)
        second = pool.submit(pipeline(tmp_path, 1).resume(code="function").run, other)
        try:
            assert asked.wait(60)
        finally:
            go.set()
        assert (first.result().total, second.result().total) == (1, total)
    assert len(list(iter_runs(tmp_path))) == 1 + total


def test_launches_of_two_functions_claim_nothing_of_each_other(tmp_path):
    for name in ("train", "evaluate", "train"):
        function = made_from("1", name=name)
        pipeline(tmp_path, 2).resume(code="function").run(function)
    makers = [
        json.loads((folder / "meta.json").read_text())["function"]
        for folder, _ in iter_runs(tmp_path)
    ]
    assert sorted(makers) == ["__main__:evaluate"] * 2 + ["__main__:train"] * 2
