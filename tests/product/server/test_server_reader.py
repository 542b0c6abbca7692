"""What the live page is told is what a page that is opened now would show."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from handmade import event, put, write_run

from ztxexp.report import payload as whole_payload
from ztxexp.results.tags import change_tags
from ztxexp.server import reader as reader_module
from ztxexp.server.reader import RootReader
from ztxexp_core.store.liveness import this_process

LISTS = (
    "id",
    "name",
    "status",
    "started",
    "seconds",
    "attempt",
    "code",
    "function",
    "group",
    "tags",
    "error",
)
PARTS = ("failures", "best", "effects", "launches", "notes")


class Page:
    """A page that merges deltas as the scripts in web/ do."""

    def __init__(self, reader: RootReader):
        self.reader = reader
        self.reloads = 0
        self.load()

    def load(self):
        self.payload = json.loads(json.dumps(self.reader.data()[0]))

    def take(self, told):
        if told is None:
            return
        if told.delta is None:
            self.reloads += 1
            self.load()
            return
        delta = json.loads(json.dumps(told.delta))
        assert delta["state"] > self.payload["state"]
        self.payload["state"] = delta["state"]
        places = self.merge(delta["runs"]) if "runs" in delta else []
        known = {(one["run"], one["metric"]): one for one in self.payload["curves"]["series"]}
        for series in delta.get("curves", ()):
            moved = {**series, "run": places[series["run"]]}
            known[moved["run"], moved["metric"]] = moved
        self.payload["curves"]["series"] = list(known.values())
        for part in PARTS:
            if part in delta:
                self.payload[part] = delta[part]

    def merge(self, changed):
        runs, places = self.payload["runs"], []
        own = {(column["part"], column["key"]): column["values"] for column in runs["columns"]}
        assert {(one["part"], one["key"]) for one in changed["columns"]} <= set(own)
        for at, name in enumerate(changed["name"]):
            to = runs["name"].index(name) if name in runs["name"] else len(runs["name"])
            places.append(to)
            if to == len(runs["name"]):
                for values in (*(runs[one] for one in LISTS), *own.values()):
                    values.append(None)
            for one in LISTS:
                runs[one][to] = changed[one][at]
            for column in changed["columns"]:
                own[column["part"], column["key"]][to] = column["values"][at]
        return places

    def shown(self):
        runs = self.payload["runs"]
        cells = {
            (column["part"], column["key"]): column["values"]
            for column in runs["columns"]
            if any(value is not None for value in column["values"])
        }
        curves = {
            (one["run"], one["metric"]): (one["x"], one["y"])
            for one in self.payload["curves"]["series"]
        }
        parts = {part: self.payload[part] for part in PARTS}
        return {**{one: runs[one] for one in LISTS}, "cells": cells, "curves": curves, **parts}


@pytest.fixture
def at_once(monkeypatch):
    """Nothing is put off: what costs more than a look is done at each."""
    monkeypatch.setattr(reader_module._Due, "now", lambda self: True)


def running(root, name, **more):
    return write_run(root, name, "running", owner=this_process(), **more)


def end(folder: Path, status="succeeded", **more):
    record = json.loads((folder / "run.json").read_text())
    put(folder / "run.tmp", {**record, "status": status, "duration_sec": 1.0, **more})
    os.replace(folder / "run.tmp", folder / "run.json")


def log(folder: Path, step: int, **metrics):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps(event(step, **metrics)) + "\n")


def test_a_run_appears_logs_and_ends(tmp_path, at_once):
    write_run(tmp_path, "a", metrics={"loss": 0.5}, config={"lr": 1})
    write_run(tmp_path, "b", metrics={"loss": 0.4}, config={"lr": 2})
    reader = RootReader(tmp_path, "results")
    page = Page(reader)
    assert list(reader.look().delta) == ["state", "launches"]  # once
    assert reader.look() is None
    folder = running(tmp_path, "c", config={"lr": 3})
    delta = reader.look().delta
    assert (delta["runs"]["name"], delta["runs"]["status"]) == (["c"], ["running"])
    log(folder, 0, loss=0.9)
    log(folder, 1, loss=0.3)
    delta = reader.look().delta
    assert delta["curves"] == [{"run": 0, "metric": "loss", "x": [0, 1], "y": [0.9, 0.3], "of": 2}]
    cells = {column["key"]: column["values"] for column in delta["runs"]["columns"]}
    assert cells == {"lr": [3], "loss": [0.3]}
    put(folder / "metrics.json", {"loss": 0.2})
    end(folder)
    delta = reader.look().delta
    assert delta["runs"]["status"] == ["succeeded"]
    assert delta["best"][0]["mean"] == 0.2
    assert reader.look() is None
    assert page.payload["state"] < delta["state"] == reader.state


def test_a_process_that_dies_is_noticed_though_no_file_changes(tmp_path, at_once, monkeypatch):
    running(tmp_path, "a")
    reader = RootReader(tmp_path, "results")
    page = Page(reader)
    assert page.payload["runs"]["status"] == ["running"]
    monkeypatch.setattr("ztxexp_core.store.run_folder.owner_is_dead", lambda *args: True)
    page.take(reader.look())
    assert page.payload["runs"]["status"] == ["failed"]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_run(root, "c", metrics={"accuracy": 1}, config={"lr": 1}),
        lambda root: write_run(root, "c", metrics={"loss": 1}, config={"lr": 1, "depth": 3}),
        lambda root: write_run(root, "c", metrics={"loss": 1}, config={"lr": 1, "model": "b"}),
        lambda root: write_run(root, "0", metrics={"loss": 1}, config={"lr": 1, "model": "a"}),
        lambda root: shutil.rmtree(root / "a"),
    ],
    ids=["metric", "key", "varies", "order", "gone"],
)
def test_other_columns_are_to_be_read_anew(tmp_path, at_once, change):
    write_run(tmp_path, "a", metrics={"loss": 0.5}, config={"lr": 1, "model": "a"})
    write_run(tmp_path, "b", metrics={"loss": 0.4}, config={"lr": 2, "model": "a"})
    reader = RootReader(tmp_path, "results")
    page = Page(reader)
    change(tmp_path)
    told = reader.look()
    assert told.delta is None and told.state == reader.state
    page.take(told)
    assert page.payload["runs"]["name"] == sorted(
        one.name for one in tmp_path.iterdir() if one.name[0] != "."
    )


@pytest.mark.first_is_quick
@pytest.mark.parametrize("seed", range(6))
def test_a_page_that_listens_shows_what_a_new_one_shows(tmp_path, at_once, seed):
    dice = random.Random(seed)
    root = tmp_path / "results"
    for number in range(4):
        config = {"lr": number % 2, "seed": number // 2}
        write_run(root, f"r{number:03}", metrics={"loss": dice.random()}, config=config)
    reader = RootReader(root, "results")
    pages = [Page(reader), Page(reader)]
    number, under_way = 4, {}

    def begin():
        nonlocal number
        number += 1
        config = {"lr": dice.randrange(3), "seed": dice.randrange(5)}
        if dice.random() < 0.1:
            config["new"] = 1
        under_way[f"r{number:03}"] = running(root, f"r{number:03}", config=config)

    def more():
        if under_way:
            folder = dice.choice(list(under_way.values()))
            log(folder, dice.randrange(50), loss=dice.random())

    def finish():
        if under_way:
            _, folder = under_way.popitem()
            if dice.random() < 0.6:
                put(folder / "metrics.json", {"loss": dice.random()})
                end(folder)
            else:
                end(folder, "failed", error_type="ValueError", error_message="no")

    def tag():
        change_tags(
            str(dice.choice([one for one in root.iterdir() if one.name[0] == "r"])),
            {"a": str(dice.random())},
        )

    def delete():
        gone = dice.choice([one for one in root.iterdir() if one.name[0] == "r"])
        under_way.pop(gone.name, None)
        shutil.rmtree(gone)

    for _ in range(40):
        for _ in range(dice.randrange(1, 4)):
            dice.choice(
                [begin, begin, more, more, more, finish, finish, tag]
                + [delete] * (dice.random() < 0.1)
            )()
        if dice.random() < 0.2:
            pages[1].load()
            _, told = reader.data()
            pages[0].take(told)
        told = reader.look()
        for page in pages:
            if told is None or told.state > page.payload["state"]:
                page.take(told)
    for _ in range(12):  # every run has had its turn
        told = reader.look()
        for page in pages:
            page.take(told)
    new = Page(RootReader(root, "results")).shown()
    for page in pages:
        assert page.shown() == new


def test_what_costs_is_done_seldom(tmp_path, monkeypatch):
    write_run(tmp_path, "a", metrics={"loss": 0.5}, config={"lr": 1})
    write_run(tmp_path, "b", metrics={"loss": 0.5}, config={"lr": 2})
    reader = RootReader(tmp_path, "results")
    reader.data()
    made = []
    monkeypatch.setattr(
        reader_module, "payload", lambda *a, **k: made.append(1) or whole_payload.payload(*a, **k)
    )
    clock = [100.0]
    for due in (reader._table_due, reader._curves_due, reader._parts_due):
        due._clock, due._at = (lambda: clock[0]), 0.0
    monkeypatch.setattr(reader_module.time, "thread_time", lambda: clock[0] * 1000)
    reads = []
    read = reader_module.RunTable.read
    monkeypatch.setattr(
        reader_module.RunTable,
        "read",
        lambda root: reads.append(clock.__setitem__(0, clock[0] + 1e-4)) or read(root),
    )
    for number in range(
        50
    ):  # each read takes a tenth of a second, and so may be done once a second
        write_run(tmp_path, f"c{number:02}", metrics={"loss": 0.5}, config={"lr": 1})
        reader.look()
        clock[0] += 0.1
    assert 4 <= len(reads) <= 7
    assert len(made) <= len(reads)


@pytest.mark.parametrize("fails", ["file_marks", "read", "curves_of"])
def test_what_a_look_that_failed_has_noticed_is_told_by_the_next(
    tmp_path, at_once, monkeypatch, fails
):
    write_run(tmp_path, "a", metrics={"loss": 0.5}, config={"lr": 1})
    folder = running(tmp_path, "b", config={"lr": 2})
    reader = RootReader(tmp_path, "results")
    page = Page(reader)
    log(folder, 0, loss=0.25)
    end(folder)
    write_run(tmp_path, "c", metrics={"loss": 0.5}, config={"lr": 1})

    def away(*args):
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        if fails == "file_marks":
            from ztxexp.server import watching

            marks = watching.file_marks
            patch.setattr(
                watching, "file_marks", lambda *a: away() if a[2] == ["tags.jsonl"] else marks(*a)
            )
        else:
            target = reader_module.RunTable if fails == "read" else reader_module
            patch.setattr(target, fails, away)
        with pytest.raises(OSError, match="away"):
            reader.look()
    for _ in range(3):
        page.take(reader.look())
    assert page.shown() == Page(RootReader(tmp_path, "results")).shown()


def test_a_root_that_is_not_there_yet_is_empty_until_a_sweep_makes_it(tmp_path, at_once):
    root = tmp_path / "results"
    reader = RootReader(root, "results")
    page = Page(reader)
    assert (page.payload["runs"]["id"], page.payload["title"]) == ([], "results")
    reader.look()
    assert not root.exists()
    write_run(root, "a", metrics={"loss": 0.5}, config={"lr": 1})
    page.take(reader.look())
    assert page.payload["runs"]["name"] == ["a"]
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        reader.look()


def test_what_a_run_has_logged_stays_when_it_fails(tmp_path, at_once):
    folder = running(tmp_path, "a")
    log(folder, 0, loss=0.9)
    reader = RootReader(tmp_path, "results")
    page = Page(reader)
    put(folder / "run.json", {**json.loads((folder / "run.json").read_text()), "status": "failed"})
    page.take(reader.look())
    runs = page.payload["runs"]
    assert runs["status"] == ["failed"]
    assert [one["values"] for one in runs["columns"] if one["key"] == "loss"] == [[0.9]]
    put(folder / "metrics.json", {"loss": 0.8})  # what it has saved itself counts
    fresh = Page(RootReader(tmp_path, "results")).payload["runs"]
    assert [one["values"] for one in fresh["columns"] if one["key"] == "loss"] == [[0.8]]
