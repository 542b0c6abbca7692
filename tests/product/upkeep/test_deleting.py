"""clean_results: what may go, what never goes, and who is asked."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import subprocess
import sys
import types

import pytest
from handmade import put, write_run
from owners import at_work, dead_owner

from ztxexp import ResultAnalyzer
from ztxexp.text.format import size
from ztxexp.upkeep.deleting import size_of
from ztxexp_core.store.liveness import this_process


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    for name in ("failed", "skipped", "succeeded"):
        write_run(path, name, name, metrics={"score": len(name)})
    return path


@pytest.fixture
def live():
    """The owner record of a real process that is at work."""
    with at_work() as owner:
        yield owner


def names(folders):
    return sorted(folder.name for folder in folders)


def clean(folder, **kwargs):
    return names(ResultAnalyzer(folder).clean_results(dry_run=False, confirm=False, **kwargs))


class Terminal(io.StringIO):
    def isatty(self):
        return True


# ---- what is chosen --------------------------------------------------------------------------


def test_by_default_it_only_lists_and_deletes_nothing(folder, caplog):
    chosen = ResultAnalyzer(folder).clean_results()
    assert chosen == [folder / "failed", folder / "skipped"]
    assert names(folder.iterdir()) == ["failed", "skipped", "succeeded"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING  # which reaches a person who has set up no logging
    assert "would delete 2 of 3 runs and free " in record.getMessage()
    assert record.getMessage().endswith("(dry run: nothing was deleted): failed, skipped")


def test_how_many_folders_went_is_told_by_default(folder, caplog):
    assert len(clean(folder)) == 2
    (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "deleted 2 of 3 runs, " in message and message.endswith(" freed: failed, skipped")
    caplog.clear()
    assert clean(folder) == [] and not caplog.records


@pytest.mark.parametrize("word", ["faild", "lost"])
def test_a_word_that_is_no_status_is_refused_and_deletes_nothing(folder, word):
    with pytest.raises(
        ValueError, match=f"'{word}' is not a status of a run.*known: failed, running"
    ):
        clean(folder, statuses=("failed", word))
    assert len(names(folder.iterdir())) == 3


def test_a_run_goes_by_status_or_by_predicate(folder):
    assert clean(folder, statuses=("failed",), predicate=lambda r: r["score"] == 9) == [
        "failed",
        "succeeded",
    ]
    assert names(folder.iterdir()) == ["skipped"]


def test_without_statuses_the_predicate_alone_decides(folder):
    assert clean(folder, statuses=None) == []
    assert clean(folder, statuses=None, predicate=lambda r: r["lr"] > 1) == []
    assert clean(folder, statuses=None, predicate=lambda r: r["status"] == "skipped") == ["skipped"]
    assert names(folder.iterdir()) == ["failed", "succeeded"]


def test_the_predicate_sees_the_metrics_of_the_named_file(folder):
    put(folder / "succeeded" / "late.json", {"score": -1})
    chosen = clean(
        folder,
        statuses=None,
        predicate=lambda r: r.get("score") == -1,
        metrics_filename="late.json",
    )
    assert chosen == ["succeeded"]


def test_a_predicate_that_raises_deletes_nothing(folder):
    with pytest.raises(KeyError, match="absent"):
        clean(folder, statuses=("skipped",), predicate=lambda r: r["absent"])
    assert len(names(folder.iterdir())) == 3


def test_a_folder_whose_record_or_configuration_is_damaged_is_never_chosen(folder):
    put(write_run(folder, "torn_run", "failed") / "run.json", '{"schema_version": 2, "status"')
    put(write_run(folder, "torn_config", "failed") / "config.json", "{")
    write_run(folder, "foreign", "failed", schema_version=9)
    (folder / "my_notes").mkdir()
    assert clean(folder, predicate=lambda r: True) == ["failed", "skipped", "succeeded"]
    assert names(folder.iterdir()) == ["foreign", "my_notes", "torn_config", "torn_run"]


# ---- what never goes -------------------------------------------------------------------------


def test_a_linked_run_folder_is_left_alone_with_its_target(folder, tmp_path):
    outside = write_run(tmp_path / "outside", "precious", "failed")
    (folder / "linked").symlink_to(outside)
    (folder / "twin").symlink_to(folder / "succeeded")
    assert clean(folder) == ["failed", "skipped"]
    assert (outside / "run.json").exists() and (folder / "linked").is_symlink()


def test_links_inside_a_deleted_run_cost_the_link_and_not_its_target(folder, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "keep.txt").write_text("x")
    (folder / "failed" / "artifacts" / "data").symlink_to(tmp_path / "data")
    assert clean(folder, statuses=("failed",)) == ["failed"]
    assert (tmp_path / "data" / "keep.txt").exists()


@pytest.mark.parametrize("crafted", ["../victim", ".", "..", "/", "succeeded"])
def test_a_crafted_run_id_or_run_dir_does_not_point_the_deletion_elsewhere(
    folder, tmp_path, crafted
):
    (tmp_path / "victim").mkdir()
    write_run(folder, "evil", "failed", run_id=crafted, run_dir=str(tmp_path / "victim"))
    assert clean(folder, statuses=("failed",)) == ["evil", "failed"]
    assert (tmp_path / "victim").exists()
    assert names(folder.iterdir()) == ["skipped", "succeeded"]


def test_a_failed_record_nested_in_a_good_run_is_not_a_run(folder):
    inner = write_run(folder / "succeeded" / "artifacts", "inner", "failed")
    clean(folder)
    assert (inner / "run.json").exists()


def test_a_live_run_stays_whatever_asks_for_it_and_the_log_says_so(folder, live, caplog):
    write_run(folder, "at_work", "running", owner=live)
    assert clean(folder, predicate=lambda r: True) == ["failed", "skipped", "succeeded"]
    assert names(folder.iterdir()) == ["at_work"]
    assert "at_work" in caplog.text and "still running" in caplog.text


def test_a_run_of_a_dead_process_goes_as_running_and_as_failed(folder):
    for status in ("running", "failed"):
        write_run(folder, "dead", "running", owner=dead_owner())
        assert "dead" in clean(folder, statuses=(status,))


def test_a_run_on_another_host_stays(folder, caplog):
    write_run(folder, "away", "running", owner={"host": "another", "pid": 1})
    write_run(folder, "odd", "running", owner="somebody")
    assert clean(folder) == ["failed", "skipped"]
    assert "away" in caplog.text and "odd" in caplog.text


def test_a_running_record_of_an_old_version_names_no_owner_and_goes(folder):
    write_run(folder, "left_behind", "running")
    assert clean(folder, statuses=("running",)) == ["left_behind"]


def test_a_run_that_changed_after_it_was_chosen_stays(folder, monkeypatch, caplog):
    def change_and_agree(question):
        write_run(folder.parent, "fresh", "running", owner=this_process())
        shutil.move(folder.parent / "fresh" / "run.json", folder / "failed" / "run.json")
        return "yes"

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", change_and_agree)
    assert names(ResultAnalyzer(folder).clean_results(dry_run=False)) == ["skipped"]
    assert names(folder.iterdir()) == ["failed", "succeeded"] and "changed" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can delete everything")
def test_a_folder_that_cannot_be_deleted_is_told_and_not_returned(folder, caplog):
    locked = folder / "failed"
    locked.chmod(0o500)
    try:
        assert clean(folder) == ["skipped"]
    finally:
        locked.chmod(0o700)
    assert "could not delete" in caplog.text and locked.exists()


def test_a_deletion_that_fails_is_told_and_not_returned(folder, caplog, monkeypatch):
    real = shutil.rmtree  # a fault that the superuser cannot provoke with real files

    def fail_once(path, *args, **kwargs):
        if "failed" in path.name:
            raise OSError(5, "Input/output error", str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", fail_once)
    assert clean(folder) == ["skipped"]
    assert "could not delete" in caplog.text and (folder / "failed").exists()


@pytest.mark.parametrize("part", ["artifacts", "run.json"])
def test_a_deletion_that_fails_half_way_says_what_is_left_and_where(
    folder, caplog, monkeypatch, part
):
    (folder / "failed/artifacts").mkdir(exist_ok=True)
    for number in range(3):
        (folder / f"failed/artifacts/{number}").write_bytes(bytes(1000))
    real = shutil.rmtree

    def fail_half_way(path, *args, **kwargs):
        if "failed" in path.name:
            victim = path / part
            (victim / "1" if part == "artifacts" else victim).unlink()
            raise OSError(5, "Input/output error", str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", fail_half_way)
    assert sorted(clean(folder)) == ["failed", "skipped"]
    assert not (folder / "failed").exists()
    left = size_of(folder / ".new-failed.deleted")
    assert f"{size(left)} of it are left in .new-failed.deleted, where no reader" in caplog.text
    assert "left alone" not in caplog.text


# ---- who is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gone"), [("yes", 2), (" YES ", 2), ("y", 0), ("", 0), ("no", 0)]
)
def test_on_a_terminal_only_yes_deletes(folder, monkeypatch, answer, gone):
    asked = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
    assert len(ResultAnalyzer(folder).clean_results(dry_run=False)) == gone
    assert len(list(folder.iterdir())) == 3 - gone
    assert len(asked) == 1 and "Delete 2 runs (" in asked[0] and "failed, skipped" in asked[0]


def closed_stdin():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stdin", [None, io.StringIO("yes\n"), closed_stdin(), Terminal("")])
def test_without_an_answer_nothing_is_deleted_and_the_way_out_is_told(
    folder, monkeypatch, caplog, stdin
):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert ResultAnalyzer(folder).clean_results(dry_run=False) == []
    assert len(list(folder.iterdir())) == 3 and "confirm=False" in caplog.text


class Shell:
    """What ``IPython.get_ipython`` returns: with a kernel in a notebook, without in a terminal."""


@pytest.mark.parametrize(
    ("kernel", "answer", "gone"),
    [(object(), "yes", 2), (object(), "no", 0), (None, "yes", 0), (object(), None, 0)],
)
def test_a_notebook_is_asked_though_its_stdin_is_no_terminal(
    folder, monkeypatch, caplog, kernel, answer, gone
):
    def ask(question):
        if answer is None:  # as IPython's StdinNotImplementedError: run without a front end
            raise NotImplementedError("raw_input was called, but this frontend does not support it")
        return answer

    shell, module = Shell(), types.ModuleType("IPython")
    shell.kernel, module.get_ipython = kernel, lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)  # a kernel would need a front end as well
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr("builtins.input", ask)
    assert len(ResultAnalyzer(folder).clean_results(dry_run=False)) == gone
    assert len(list(folder.iterdir())) == 3 - gone
    assert ("confirm=False" in caplog.text) == (kernel is None or answer is None)
    assert f"deleted {gone} of 3 runs" in caplog.text


def test_ipython_without_a_shell_of_its_own_is_no_notebook(folder, monkeypatch):
    module = types.ModuleType("IPython")
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    for found in (None, lambda: None):
        module.get_ipython = found
        assert ResultAnalyzer(folder).clean_results(dry_run=False) == []
    assert len(list(folder.iterdir())) == 3


def test_a_script_without_stdin_gets_a_warning_and_no_error(folder):
    code = (
        "import sys, ztxexp; print(ztxexp.ResultAnalyzer(sys.argv[1]).clean_results(dry_run=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]" and "confirm=False" in done.stderr


def test_the_question_names_twenty_runs_at_most_and_no_control_characters(folder, monkeypatch):
    asked = []
    for i in range(30):
        write_run(folder, f"x{i:02}", "failed")
    write_run(folder, "aa\x1b[2J", "failed")
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "no")
    ResultAnalyzer(folder).clean_results(dry_run=False)
    assert "Delete 33 runs (" in asked[0] and "and 13 more" in asked[0] and "\x1b" not in asked[0]


def test_documented_arguments_keep_their_places(folder):
    done = ResultAnalyzer(folder).clean_results(("failed",), None, False, "metrics.json", False)
    assert names(done) == ["failed"]


def test_records_are_read_only_by_the_analyzer_and_survive_a_dry_run(folder):
    before = {p: p.read_bytes() for p in folder.rglob("*.json")}
    ResultAnalyzer(folder).clean_results()
    ResultAnalyzer(folder).to_records(statuses=None)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert json.loads(before[folder / "failed" / "run.json"])["status"] == "failed"


def test_a_run_goes_out_of_sight_before_its_first_file_is_deleted(folder, monkeypatch):
    seen = []
    real = shutil.rmtree

    def look(path, *args, **kwargs):
        seen.append([p.name for p in folder.iterdir() if p.name[0] != "."])
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", look)
    assert clean(folder) == ["failed", "skipped"]
    assert [("failed" in names, "skipped" in names) for names in seen] == [
        (False, True),
        (False,) * 2,
    ]
    assert not [p for p in folder.iterdir() if p.name.startswith(".new")]
