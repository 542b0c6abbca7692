"""Tags that a run gets after its start: recorded beside it, seen by every reader."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time

import pytest
from handmade import put, write_run
from reading import lines, python

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.results.index import RECORDS, read_all
from ztxexp.results.names import NamedRuns
from ztxexp.results.tags import as_tags, change_tags, split_tags, tag_texts, with_tags
from ztxexp.upkeep.tagging import tag
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.store.liveness import this_process


def tags_of(root) -> dict:
    (table,) = read_all(
        str(root), sorted(one for one in os.listdir(root) if one[0] != "."), [RECORDS]
    )
    names = sorted(one for one in os.listdir(root) if one[0] != ".")
    return dict(zip(names, table.column("tags"), strict=True))


@pytest.mark.parametrize(
    ("recorded", "new", "removed", "expected"),
    [
        (None, {"good": None}, [], ["good"]),
        (["a"], {"b": None}, [], ["a", "b"]),
        (["a", "b"], {}, ["a", "c"], ["b"]),
        (["a"], {"stage": "final"}, [], {"a": "", "stage": "final"}),
        (["a", "k=v"], {"b": None}, ["a"], {"k": "v", "b": ""}),
        ({"k": "v"}, {"k": "w"}, [], {"k": "w"}),
        ({"k": "v"}, {"good": None}, ["k"], {"good": ""}),
        (
            {"k": 1, "flag": ""},
            {"n": 3, "on": True},
            [],
            {"k": "1", "flag": "", "n": "3", "on": "true"},
        ),
        ("odd", {"a": None}, [], ["a"]),
    ],
)
def test_tags_are_laid_over_those_of_the_launch(tmp_path, recorded, new, removed, expected):
    folder = write_run(tmp_path, "a", tags=recorded)
    before = (folder / "run.json").read_bytes()
    assert change_tags(str(folder), new, removed) == tag_texts(expected)
    assert tags_of(tmp_path) == {"a": expected}
    assert (folder / "run.json").read_bytes() == before


def test_lines_say_what_was_set_and_when(tmp_path):
    folder = write_run(tmp_path, "a")
    change_tags(str(folder), {"stage": "final", "good": None})
    change_tags(str(folder), {}, ["good"])
    first, second = lines(folder / "tags.jsonl")
    assert (first["set"], first["removed"]) == ({"stage": "final", "good": None}, [])
    assert (second["set"], second["removed"]) == ({}, ["good"])
    assert first["at"] < second["at"]


def test_texts_and_words():
    assert as_tags(["a", "k=v", 3]) == {"a": None, "k": "v"}
    assert tag_texts({"a": "", "k": "v"}) == ["a", "k=v"] == tag_texts(["a", "k=v"])
    assert split_tags(["stage=final", "good", "-draft", "-x=1", "+-odd"]) == (
        {"stage": "final", "good": None, "-odd": None},
        ["draft", "x"],
    )
    assert split_tags(["a", "-a"]) == ({}, ["a"])
    assert split_tags(["-a", "a"]) == ({"a": None}, [])


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"": "x"}, "not empty"),
        ({" ": None}, "not empty"),
        ({"a=b": None}, "must not hold"),
        ({"a\nb": None}, "control characters"),
        ({"a": "x\x1b[31m"}, "control characters"),
        ({"a" * 501: None}, "501 characters"),
        ({"a": ["x"]}, "a text or a number"),
        ({3: "x"}, "not empty"),
    ],
)
def test_what_no_tag_can_be_is_refused_and_nothing_is_written(tmp_path, tags, problem):
    folder = write_run(tmp_path, "a")
    with pytest.raises(ConfigError, match=problem):
        change_tags(str(folder), tags)
    assert not (folder / "tags.jsonl").exists()


def test_the_index_notices_a_tag_and_a_sign_of_life_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr("ztxexp.results.index._WORTH_KEEPING", 0)
    for number in range(20):
        write_run(tmp_path, f"r{number:02}")
    record = tmp_path / "r07" / "run.json"
    os.utime(record, ns=(10**18, 10**18))
    time.sleep(0.2)  # what was written within a tick is not kept
    assert set(tags_of(tmp_path).values()) == {None}
    assert (tmp_path / ".ztxexp" / "index" / "run.json.cache").exists()
    change_tags(f"{tmp_path}/r07", {"good": None})
    assert tags_of(tmp_path)["r07"] == ["good"]
    assert record.stat().st_mtime_ns == 10**18
    time.sleep(0.2)
    tags_of(tmp_path)
    change_tags(f"{tmp_path}/r07", {}, ["good"])
    assert tags_of(tmp_path)["r07"] == []


def test_the_record_of_a_run_under_way_is_not_touched_and_its_tags_are_seen(tmp_path):
    folder = write_run(
        tmp_path, "a", "running", owner=this_process(), files={"config.json": [11, 0]}
    )
    os.utime(folder / "run.json", ns=(10**18, 10**18))
    before = os.stat(folder / "run.json")
    analyzer = ResultAnalyzer(tmp_path)
    analyzer.to_dataframe(statuses=None)
    analyzer.tag("a", "good", stage="odd")
    after = os.stat(folder / "run.json")
    assert (before.st_ctime_ns, before.st_ino) == (after.st_ctime_ns, after.st_ino)
    frame = analyzer.to_dataframe(statuses=None, tags={"stage": "odd"})
    assert list(frame["run_id"]) == ["a"]


def test_every_filter_sees_them(tmp_path):
    for name in "abc":
        write_run(tmp_path, name, metrics={"loss": 1.0}, config={"lr": "abc".index(name)})
    analyzer = ResultAnalyzer(tmp_path)
    assert analyzer.tag(["a", "lr=2"], "good", stage="final") == {
        "a": ["good", "stage=final"],
        "c": ["good", "stage=final"],
    }
    assert list(analyzer.to_dataframe(tags=["good"])["run_id"]) == ["a", "c"]
    assert [one["run_id"] for one in analyzer.to_records(tags={"stage": "final"})] == ["a", "c"]
    analyzer.tag("c", remove="stage")
    assert [one["run_id"] for one in analyzer.to_records(tags={"stage": "final"})] == ["a"]
    assert [one["run_id"] for one in analyzer.to_records(tags=["good"])] == ["a", "c"]


@pytest.mark.parametrize("name", ["nobody", "", "lr=9", "@best:none"])
def test_an_unknown_run_is_refused_before_any_is_tagged(tmp_path, name):
    write_run(tmp_path, "a")
    with pytest.raises(ConfigError):
        tag(tmp_path, ["a", name], {"good": None})
    assert not (tmp_path / "a" / "tags.jsonl").exists()


def test_nothing_is_written_through_a_link(tmp_path):
    folder = write_run(tmp_path / "results", "a")
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n")
    (folder / "tags.jsonl").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        change_tags(str(folder), {"good": None})
    (tmp_path / "results" / "b").symlink_to(folder)
    with pytest.raises(StoreError, match="is a link"):
        change_tags(f"{tmp_path}/results/b", {"good": None})
    assert outside.read_text() == "mine\n"
    assert with_tags({"tags": None}, str(folder)) == {"tags": None}


def test_damaged_lines_are_left_out(tmp_path):
    folder = write_run(tmp_path, "a", tags=["a"])
    (folder / "tags.jsonl").write_text(
        '{"set": {"b": null}}\nnonsense\n{"set": 3, "removed": "a"}\n{"removed": [1, ["x"]]}\n'
        '{"set": {"c": {"d": 1}}}\n{"set": {"to'
    )
    assert tags_of(tmp_path)["a"] == {"a": "", "b": "", "c": "{'d': 1}"}
    assert change_tags(str(folder), {"e": None})[-1] == "e"


def train(ctx):
    if (ctx.run_dir.parent.parent / "fail").exists():
        raise ValueError("no")
    return {"loss": 1.0}


def test_a_run_that_is_resumed_keeps_its_tags(tmp_path):
    root = tmp_path / "results"
    (tmp_path / "fail").touch()
    pipeline = ExperimentPipeline(root).grid({"lr": [1]}).tags(["first"]).resume()
    pipeline.run(train)
    analyzer = ResultAnalyzer(root)
    analyzer.tag("@last", "mine", remove="first")
    (tmp_path / "fail").unlink()
    ExperimentPipeline(root).grid({"lr": [1]}).tags(["first"]).resume().run(train)
    (record,) = analyzer.to_records()
    assert (record["attempt"], record["tags"]) == (2, ["mine"])
    assert analyzer.check().ok


def _tag_often(folder, who):
    for number in range(50):
        change_tags(folder, {f"{who}{number}": None}, [f"{who}{number - 1}"] if number else [])


def test_processes_that_tag_one_run_at_once_lose_nothing(tmp_path):
    folder = write_run(tmp_path, "a")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_tag_often, args=(str(folder), who)) for who in "xyz"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(tags_of(tmp_path)["a"]) == ["x49", "y49", "z49"]
    assert len(lines(folder / "tags.jsonl")) == 150


def test_an_end_that_is_written_meanwhile_stands(tmp_path):
    """The record is replaced again and again while it is tagged; it is never an older one."""
    folder = write_run(tmp_path, "a", "running", owner=this_process())
    over = threading.Event()
    problems = []

    def own():
        for number in range(300):
            status = "running" if number % 2 else "succeeded"
            put(
                folder / "run.new",
                {
                    "schema_version": 2,
                    "run_id": "a",
                    "status": status,
                    "n": number,
                    "owner": this_process(),
                },
            )
            os.replace(folder / "run.new", folder / "run.json")
            if json.loads((folder / "run.json").read_text())["n"] != number:
                problems.append(number)
        over.set()

    owner = threading.Thread(target=own)
    owner.start()
    count = 0
    while not over.is_set():
        change_tags(str(folder), {f"t{count}": None})
        assert f"t{count}" in tags_of(tmp_path)["a"]
        count += 1
    owner.join()
    assert not problems and json.loads((folder / "run.json").read_text())["n"] == 299
    assert tags_of(tmp_path)["a"] == [f"t{number}" for number in range(count)]


def test_a_copy_of_a_run_has_its_tags(tmp_path):
    import shutil

    folder = write_run(tmp_path / "one", "a")
    change_tags(str(folder), {"good": None})
    shutil.copytree(folder, tmp_path / "two" / "a")
    assert tags_of(tmp_path / "two") == {"a": ["good"]}


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0, reason="only the superuser may become another"
)
def test_a_run_of_another_user_is_refused_in_a_sentence(tmp_path):
    folder = write_run(tmp_path, "a")
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o755)
    shown = python(
        """
        import os, sys
        sys.path[:0] = [p for p in sys.path if p]
        from ztxexp.results.tags import change_tags
        os.setuid(65534)
        try:
            change_tags(sys.argv[1], {"good": None})
        except Exception as exc:
            print(type(exc).__name__, exc)
        """,
        folder,
    )
    assert shown.stdout.startswith("StoreError") and "cannot be tagged" in shown.stdout, shown
    assert not (folder / "tags.jsonl").exists()


def test_names_are_those_of_lists(tmp_path):
    for number in range(3):
        write_run(tmp_path, f"2026_{number}", metrics={"loss": number}, config={"lr": number})
    named = NamedRuns.of(tmp_path)
    assert tag(tmp_path, named.short[1], {"a": None}) == {"2026_1": ["a"]}
    assert tag(tmp_path, "@best:loss", {"b": None}) == {"2026_0": ["b"]}
    assert tag(tmp_path, ["lr=2", "2026_2"], {"c": None}) == {"2026_2": ["c"]}
