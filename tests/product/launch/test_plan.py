"""plan: what a launch would do with each configuration and why, without touching anything."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap

import experiments
import pytest
from handmade import write_run

from ztxexp import ExpManager, ExpRunner
from ztxexp.launch.launch import launch
from ztxexp.launch.options import LaunchOptions
from ztxexp.launch.plan import Action, Plan
from ztxexp.launch.planning import plan_as_given, plan_sweep
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.identity import config_identity


def grid(*values) -> ExpManager:
    return ExpManager().grid({"i": list(values)})


def actions(plan: Plan) -> dict:
    """Action by the configuration's ``i``; of several items with one ``i`` the last."""
    return {item.config["i"]: item.action for item in plan.items}


def only(plan: Plan):
    (item,) = plan.items
    return item


def excluding(manager, root, ignore_keys=None) -> ExpManager:
    return copy.copy(manager).exclude_completed(root.path, ignore_keys)


# ---- by real launches ------------------------------------------------------------------------


@pytest.fixture
def launched(root):
    """0 and 3 succeeded, 1 and 4 failed, 2 was skipped, 5 is not known."""
    ExpRunner([{"i": i} for i in range(5)], root.path).run(experiments.mixed)
    return root


def run_of(root, i):
    (run,) = [run for run in root.runs() if run["config"]["i"] == i]
    return run


def test_without_a_wish_everything_is_new_and_nothing_is_read(launched):
    plan = plan_sweep(grid(0, 1, 5), launched.path)
    assert set(actions(plan).values()) == {Action.NEW}
    assert plan.snapshot is None
    assert {item.claim_key for item in plan.items} == {None}
    assert plan.one_line() == "3 to run"


def test_exclude_completed_reuses_success_and_begins_the_rest_anew(launched):
    plan = plan_sweep(excluding(grid(*range(6)), launched), launched.path)
    new, reused = Action.NEW, Action.REUSE
    assert actions(plan) == {0: reused, 1: new, 2: new, 3: reused, 4: new, 5: new}
    assert [item.config["i"] for item in plan.items] == [1, 2, 4, 5, 0, 3]
    assert all((item.attempt, item.folder) == (1, None) for item in plan.to_run)
    (first, *_, last) = plan.items
    assert last.why == f"succeeded in {run_of(launched, 3)['dir'].name}"
    assert (last.run_id, last.attempt) == (run_of(launched, 3)["dir"].name, 0)
    name = run_of(launched, 1)["dir"].name
    assert first.why == f"failed in {name} with ValueError: bad 1 (attempt 1); starts a new run"
    assert (first.run_id, first.past.run_id) == (None, name)


def test_resume_goes_on_with_what_failed(launched):
    plan = plan_sweep(grid(*range(6)), launched.path, resume=True)
    assert [actions(plan)[i] for i in range(6)] == [
        Action.REUSE,
        Action.RESUME,
        Action.NEW,
        Action.REUSE,
        Action.RESUME,
        Action.NEW,
    ]
    failed = run_of(launched, 4)["dir"]
    (item,) = [item for item in plan.to_run if item.config == {"i": 4}]
    assert (item.folder, item.run_id, item.attempt) == (failed, failed.name, 2)
    assert item.why == f"failed in {failed.name} with ValueError: bad 4 (attempt 1)"


def test_a_plan_can_be_carried_out_and_then_there_is_nothing_left(launched):
    plan = plan_sweep(grid(*range(6)), launched.path, resume=True)
    summary = launch(plan, launched.path, experiments.score, LaunchOptions())
    assert (summary.total, summary.succeeded, summary.reused) == (4, 4, 2)
    again = plan_sweep(grid(*range(6)), launched.path, resume=True)
    assert (again.one_line(), again.to_run) == ("nothing to run, 6 reused", [])
    assert run_of(launched, 1)["attempt"] == 2


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_run_whose_launcher_was_killed_is_resumed(root):
    script = """
        import os, signal, sys
        from ztxexp import ExpRunner
        ExpRunner([{"i": 1}], sys.argv[1]).run(lambda ctx: os.kill(os.getpid(), signal.SIGKILL))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root.path)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    plan = plan_sweep(grid(1), root.path, resume=True)
    assert (only(plan).action, only(plan).attempt) == (Action.RESUME, 2)
    assert "before: 1 lost" in str(plan)


def test_what_another_launch_is_at_is_told_and_left_to_the_claims(root):
    plans = []

    def looks(ctx):
        for kwargs in ({}, {"resume": True}, {"only_failed": ()}):
            plans.append(plan_sweep(excluding(grid(1), root), root.path, **kwargs))

    ExpRunner([{"i": 1}], root.path).run(looks)
    for plan in plans[:2]:
        (item,) = plan.to_run
        assert item.action is Action.BUSY
        assert item.why == f"under way in {root.only()['dir'].name}"
        # If it runs here, then in a new folder, or where resume() has asked for that in its own.
        folder = root.only()["dir"]
        assert (item.folder, item.attempt) == ((None, 1) if plan is plans[0] else (folder, 2))
    assert plans[0].one_line() == "1 to run (1 under way)"
    assert "1  under way     before: 1 running" in str(plans[0])
    assert (plans[2].to_run, only(plans[2]).action) == ([], Action.LEFT_OUT)


def test_nothing_is_touched(launched):
    write_run(launched.path, "killed", "running", {"i": 7}, owner={**this_process(), "pid": 2**22})
    before = tree(launched.path)
    for kwargs in ({}, {"resume": True}, {"only_failed": ("exception",)}):
        str(plan_sweep(excluding(grid(*range(9)), launched, ["j"]), launched.path, **kwargs))
    assert tree(launched.path) == before


def tree(path):
    """Everything below a folder: names, times, content."""
    return {
        str(found): (found.stat().st_mtime_ns, found.read_bytes() if found.is_file() else None)
        for found in path.rglob("*")
    }


def test_a_root_that_does_not_exist_is_not_made(tmp_path):
    plan = plan_sweep(grid(1, 2), tmp_path / "none", resume=True)
    assert {item.action for item in plan.items} == {Action.NEW}
    assert {item.why for item in plan.items} == {"no run of it is known"}
    assert list(tmp_path.iterdir()) == []


def test_a_wish_of_one_plan_is_not_one_of_the_next(launched):
    manager = grid(0, 1)
    assert plan_sweep(manager, launched.path, resume=True).counts[Action.REUSE] == 1
    assert plan_sweep(manager, launched.path).one_line() == "2 to run"


# ---- build() and to_run are one --------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("ignore_keys", [None, ["note"]])
def test_what_is_run_is_what_the_manager_builds_in_its_order(launched, resume, ignore_keys):
    manager = grid(*range(9), 7).modify(lambda c: c.update(note=c["i"] if ignore_keys else 0))
    manager = excluding(manager.where(lambda c: c["i"] != 5), launched, ignore_keys).shuffle(3)
    plan = plan_sweep(manager, launched.path, resume=resume, allow_duplicates=True)
    assert [item.config for item in plan.to_run] == manager.build()
    assert len(plan.to_run) > 5


# ---- which failures --------------------------------------------------------------------------


@pytest.fixture
def failures(root):
    """One failure of each kind, a success, a skip; as the files tell it."""
    for number, reason in enumerate(("timeout", "oom", "exception", None)):
        fields = {"reason": reason} if reason else {}
        write_run(root.path, f"r{number}", "failed", {"i": number}, error_type="E", **fields)
    write_run(root.path, "r4", "failed", {"i": 4}, error_type="OSError", reason="exception")
    write_run(root.path, "r5", "succeeded", {"i": 5})
    write_run(root.path, "r6", "skipped", {"i": 6})
    return root


@pytest.mark.parametrize(
    ("asked", "retried"),
    [
        ((), {0, 1, 2, 3, 4}),
        (("timeout",), {0}),
        (("timeout", "oom"), {0, 1}),
        (("exception",), {2, 3, 4}),
        (("OSError",), {4}),
        (("OSError", "timeout"), {0, 4}),
        (("lost",), set()),
    ],
)
def test_retry_is_limited_to_the_failures_asked_for(failures, asked, retried):
    plan = plan_sweep(grid(*range(8)), failures.path, only_failed=frozenset(asked))
    assert {item.config["i"] for item in plan.to_run} == retried
    found = actions(plan)
    assert all(found[i] is Action.RETRY for i in retried)
    assert found[5] is Action.REUSE
    left_out = set(range(8)) - retried - {5}
    assert {i for i in found if found[i] is Action.LEFT_OUT} == left_out
    for item in plan.to_run:
        assert (item.attempt, item.folder) == (2, failures.path / f"r{item.config['i']}")


def test_what_a_retry_leaves_out_is_said(failures):
    plan = plan_sweep(grid(*range(8)), failures.path, only_failed=("timeout",))
    why = {item.config["i"]: item.why for item in plan.items}
    assert why[1] == "failed in r1 with E (attempt 1); not asked for"
    assert why[6] == "skipped in r6; only failed runs are retried"
    assert why[7] == "no run of it is known; only failed runs are retried"
    assert "6  left out      before: 3 exception, 1 oom, 1 skipped" in str(plan)
    assert plan.one_line() == "1 to run (1 retried), 1 reused, 6 left out"


# ---- duplicates and shared folders -----------------------------------------------------------


def test_the_same_configuration_runs_once(root):
    manager = ExpManager().variants([{"i": 1}, {"i": 1.0}, {"i": True}, {"i": 1}])
    plan = plan_sweep(manager, root.path)
    new, duplicate = Action.NEW, Action.DUPLICATE
    assert [item.action for item in plan.items] == [new, duplicate, new, duplicate]
    assert plan.items[3].why == "the same as configuration 0 of the list, counted from 0"
    assert plan.items[3].attempt == 0
    assert plan.one_line() == "2 to run, 2 duplicates"
    both = plan_sweep(manager, root.path, allow_duplicates=True)
    assert [item.action for item in both.items] == [new] * 4


def test_a_folder_is_gone_on_with_once(root):
    write_run(root.path, "r", "failed", {"i": 1}, attempt=3)
    twice = ExpManager().variants([{"i": 1}, {"i": 1}])
    plan = plan_sweep(twice, root.path, resume=True, allow_duplicates=True)
    assert [(i.action, i.attempt) for i in plan.items] == [(Action.RESUME, 4), (Action.NEW, 1)]
    assert plan.items[1].why.endswith("another configuration in the list resumes that run")
    plan = plan_sweep(twice, root.path, only_failed=(), allow_duplicates=True)
    assert [item.action for item in plan.items] == [Action.RETRY, Action.LEFT_OUT]
    notes = excluding(ExpManager({"i": 1}).grid({"note": [1, 2]}), root, ["note"])
    plan = plan_sweep(notes, root.path, resume=True)
    assert [item.action for item in plan.items] == [Action.RESUME, Action.NEW]


# ---- what carries a plan out needs ------------------------------------------------------------


def test_ignored_keys_count_in_the_identity_and_not_in_the_claim(root):
    write_run(root.path, "r", "failed", {"i": 1, "note": "a"})
    manager = excluding(ExpManager({"note": "b"}).grid({"i": [1]}), root, ["note"])
    item = only(plan_sweep(manager, root.path, resume=True))
    assert (item.action, item.folder) == (Action.RESUME, root.path / "r")
    assert item.identity == config_identity({"i": 1, "note": "b"})
    assert item.claim_key == config_identity({"i": 1})
    assert item.config == {"i": 1, "note": "b"}


def test_without_ignored_keys_the_claim_is_the_identity(root):
    item = only(plan_sweep(grid(1), root.path, resume=True))
    assert item.claim_key == item.identity == config_identity({"i": 1})


def test_a_run_of_1_0_3_that_says_little_is_resumed(root):
    write_run(root.path, "r", "failed", {"i": 1}, attempt=None)
    item = only(plan_sweep(grid(1), root.path, resume=True))
    assert (item.action, item.attempt, item.folder) == (Action.RESUME, 2, root.path / "r")
    assert item.why == "failed in r with exception (attempt 1)"


def test_a_run_of_1_0_3_that_may_still_run_is_left_to_the_claims(root):
    write_run(root.path, "r", "running", {"i": 1})
    item = only(plan_sweep(grid(1), root.path, resume=True))
    assert (item.action, item.folder, item.past.owner_alive) == (Action.BUSY, None, None)
    assert item.why.endswith("its process cannot be checked from this host")


def test_a_value_that_cannot_be_compared_is_named_with_its_place(root):
    manager = ExpManager().variants([{"i": 1}, {"net": {"act": lambda x: x}}])
    with pytest.raises(ConfigError, match=r"configuration 1 of 2: key 'net\.act'"):
        plan_sweep(manager, root.path)
    with pytest.raises(ConfigError, match=r"configuration 0 of 1: key 'f'"):
        plan_as_given([{"f": open}, {"f": lambda: 0}][1:])


def test_a_list_as_given_is_run_as_it_stands():
    plan = plan_as_given([{"i": 1}, {"i": 1}])
    assert [item.action for item in plan.to_run] == [Action.NEW] * 2
    assert str(plan).splitlines()[0] == "Plan: 2 of 2 configurations to run"
    assert plan.snapshot is None


# ---- in words --------------------------------------------------------------------------------


def test_the_whole_text(root):
    for number in range(4):
        write_run(root.path, f"r{number}", "succeeded", {"lr": 0.1, "seed": number})
    for number, reason in ((4, "exception"), (5, "timeout"), (6, "exception")):
        write_run(root.path, f"r{number}", "failed", {"lr": 0.1, "seed": number}, reason=reason)
    write_run(root.path, "r7", "skipped", {"lr": 0.1, "seed": 7})
    manager = ExpManager({"lr": 0.1}).grid({"seed": [*range(12), 9, 9]})
    manager.where(lambda c: c["seed"] != 10, "not ten").where(lambda c: c["seed"] < 11)
    line = sys._getframe().f_lineno - 1
    plan = plan_sweep(manager, root.path, resume=True)
    assert str(plan).replace(str(root.path), "ROOT") == textwrap.dedent(
        f"""\
        Plan for ROOT: 6 of 14 configurations to run
              3  new           before: 1 skipped
              3  resumed       before: 2 exception, 1 timeout
              4  reused
              2  duplicate
              2  filtered out  by 'not ten' (1), 'lambda at test_plan.py:{line}' (1)
        first to run: seed=4"""
    )
    expected = "6 to run (3 new, 3 resumed), 4 reused, 2 duplicates, 2 filtered out"
    assert plan.one_line() == expected
    assert repr(plan) == f"<Plan: {expected}>"
    assert plan.counts == {
        Action.NEW: 3,
        Action.RESUME: 3,
        Action.REUSE: 4,
        Action.DUPLICATE: 2,
        Action.FILTERED: 2,
    }
    assert sum(plan.counts.values()) == 14


TITLE = "Plan for {}: 1 of 2 configurations to run"


@pytest.mark.parametrize(
    ("manager", "text", "line"),
    [
        (grid(), "Plan for {}: no configurations", "nothing to run"),
        (
            ExpManager({"i": 1, "b": "x y"}),
            "Plan for {}: 1 of 1 configuration to run\n      1  new\nfirst to run: i=1 b='x y'",
            "1 to run",
        ),
        (
            grid(1, 1),
            f"{TITLE}\n      1  new\n      1  duplicate\nfirst to run: i=1",
            "1 to run, 1 duplicate",
        ),
        (
            grid(1).where(lambda c: False, "none"),
            "Plan for {}: 0 of 1 configuration to run\n      1  filtered out  by 'none' (1)",
            "nothing to run, 1 filtered out",
        ),
    ],
)
def test_small_plans(tmp_path, manager, text, line):
    plan = plan_sweep(manager, tmp_path)
    assert (str(plan), plan.one_line()) == (text.format(tmp_path), line)


def test_what_a_run_left_cannot_command_the_terminal(root):
    odd = {"error_type": "E\x07", "error_message": "\x1b]0;x\x07"}
    write_run(root.path, "r\x1b[31m", "failed", {"i": 1}, **odd)
    write_run(root.path, "s\x1b[31m", "succeeded", {"i": 2})
    manager = grid(1, 2, 3, "\x1b[2J").where(lambda c: c["i"] != 3, "\x07")
    for kwargs in ({"resume": True}, {"only_failed": ()}, {"only_failed": ("oom",)}):
        plan = plan_sweep(manager, root.path, **kwargs)
        assert all(line.isprintable() for line in [*str(plan).splitlines(), plan.one_line()])
        assert all(item.why.isprintable() for item in plan.items)
    assert plan.items[0].why == "failed in r with E\\x07 (attempt 1); not asked for"


def test_a_long_message_is_cut_to_its_first_line(root):
    message = f"{'x' * 500}\nsecond line"
    write_run(root.path, "r", "failed", {"i": 1}, error_type="E", error_message=message)
    why = only(plan_sweep(grid(1), root.path, resume=True)).why
    assert len(why) < 160
    assert "second" not in why
    assert why.endswith("x... (attempt 1)")


def test_records_are_flat_and_name_the_run(root):
    write_run(root.path, "r", "succeeded", {"i": 1, "why": "mine", "net": {"depth": 2}})
    manager = ExpManager({"why": "mine", "net": {"depth": 2}}).grid({"i": [1, 2]})
    records = plan_sweep(manager, root.path, resume=True).to_records()
    assert records[1] == {
        "action": "reused",
        "why": "succeeded in r",
        "run_id": "r",
        "net": {"depth": 2},
        "i": 1,
    }
    assert [record["action"] for record in records] == ["new", "reused"]
