"""Server-sent events: one reader for all pages, pages that come back, pages that are slow."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from ztxexp.server import events as events_module
from ztxexp.server.events import Events, in_thread
from ztxexp.server.json import json_bytes
from ztxexp.server.reader import Event


class Reader:
    """Has news whenever it is given some, and counts how often it is asked."""

    def __init__(self):
        self.state, self.looks, self.made, self.news = 100, 0, 0, []

    def look(self, at_once=False):
        self.looks += 1
        if not self.news:
            return None
        self.state += 1
        news = self.news.pop(0)
        return Event(
            self.state, None if news == "reload" else {"state": self.state, "notes": [news]}
        )

    def data(self):
        self.made += 1
        return {"state": self.state, "notes": []}, None

    def tell(self, name):
        self.news.append(name)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(events_module, "LOOK_SEC", 0.01)


def run(play):
    async def limited():
        await asyncio.wait_for(play, 20)

    asyncio.run(limited())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def parsed(text):
    fields = dict(line.split(": ", 1) for line in text.decode().strip().splitlines())
    return fields["event"], int(fields["id"]), json.loads(fields["data"])


async def listen(events, since, into, wait=0.0):
    stream = events.stream(since)
    try:
        async for text in stream:
            if text.startswith(b"id:"):
                into.append(parsed(text))
                await asyncio.sleep(wait)
    finally:
        await stream.aclose()


def test_twenty_pages_cost_one_look():
    async def play():
        reader, told = Reader(), [[] for _ in range(20)]
        events = Events(reader)
        tasks = [asyncio.create_task(listen(events, 100, into)) for into in told]
        await until(lambda: reader.looks > 5)
        assert events.listeners == 20
        looks, began = reader.looks, time.monotonic()
        await asyncio.sleep(0.3)
        assert reader.looks - looks <= (time.monotonic() - began) / 0.01 + 1
        reader.news = ["a", "reload", "b"]
        await until(lambda: all(len(into) == 3 for into in told))
        assert [one[0] for one in told[0]] == ["delta", "reload", "delta"]
        assert all(into == told[0] for into in told)
        for task in tasks:
            task.cancel()
        await until(lambda: events.listeners == 0)
        await asyncio.sleep(0.05)
        looks = reader.looks
        await asyncio.sleep(0.1)
        assert reader.looks == looks  # nobody listens: nothing is looked at

    run(play())


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (100, [("delta", 101), ("delta", 102)]),
        (101, [("delta", 102)]),
        (102, []),
        (99, [("reload", 102)]),
        (5, [("reload", 102)]),
        (10**15, [("reload", 102)]),
        (None, []),
    ],
)
def test_a_page_that_comes_back_is_told_what_it_lacks(since, expected):
    async def play():
        reader, first, again = Reader(), [], []
        events = Events(reader)
        reader.news = ["a", "b"]
        tasks = [asyncio.create_task(listen(events, 100, first))]
        await until(lambda: len(first) == 2)
        tasks.append(asyncio.create_task(listen(events, since, again)))
        await asyncio.sleep(0.05)
        assert [(name, state) for name, state, _ in again] == expected
        for task in tasks:
            task.cancel()

    run(play())


def test_a_slow_page_reads_all_anew_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(events_module, "_KEPT", 5)

    async def play():
        reader, slow, quick = Reader(), [], []
        events = Events(reader)
        reader.news = [str(number) for number in range(30)]
        tasks = [
            asyncio.create_task(listen(events, 100, slow, wait=0.4)),
            asyncio.create_task(listen(events, 100, quick)),
        ]
        await until(lambda: len(quick) == 30)
        assert len(slow) <= 2
        assert len(events._kept) == 5
        await until(lambda: slow[-1][1] == 130)
        assert "reload" in [name for name, _, _ in slow]
        for task in tasks:
            task.cancel()

    run(play())


def test_the_payload_is_made_once_for_all():
    async def play():
        reader = Reader()
        events = Events(reader)
        answers = await asyncio.gather(*(events.data() for _ in range(20)))
        assert reader.made == 1 and len(set(answers)) == 1
        reader.news = ["a"]
        await asyncio.sleep(0.02)
        state, _ = await events.data()
        assert (state, reader.made) == (101, 2)

    run(play())


def test_what_a_page_has_changed_is_told_at_once(monkeypatch):
    monkeypatch.setattr(events_module, "LOOK_SEC", 60.0)

    async def play():
        reader, told = Reader(), []
        events = Events(reader)
        task = asyncio.create_task(listen(events, 100, told))
        await until(lambda: reader.looks == 1)
        await events.tell("a run")
        await until(lambda: told)
        assert told[0][2]["notes"] == ["a run"]
        task.cancel()

    run(play())


def test_a_root_that_cannot_be_read_is_named_once_and_tried_again(caplog):
    async def play():
        reader, told = Reader(), []
        look, problem = reader.look, [OSError("the disk is away")]

        def failing(at_once=False):
            if problem:
                reader.looks += 1
                raise problem[0]
            return look()

        reader.look = failing
        events = Events(reader)
        task = asyncio.create_task(listen(events, 100, told))
        await until(lambda: reader.looks > 4)
        problem.clear()
        reader.news = ["back"]
        await until(lambda: told)
        task.cancel()

    run(play())
    assert len([one for one in caplog.messages if "the disk is away" in one]) == 1


def test_streams_end_with_the_server():
    async def play():
        events = Events(Reader())
        task = asyncio.create_task(listen(events, 100, []))
        await asyncio.sleep(0.05)
        events.close()
        await asyncio.wait_for(task, 1)

    run(play())


def test_errors_in_a_thread_come_back():
    async def play():
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 / 0)
        assert await in_thread(lambda: 5) == 5

    run(play())


def test_json_holds_what_json_cannot_hold():
    value = {"nan": float("nan"), "big": 2**80, "half": "\ud83d", "path": object, 1: [float("inf")]}
    text = json_bytes(value)
    read = json.loads(text)
    assert b"\n" not in text
    assert (read["nan"], read["big"], read["half"], read["1"]) == (None, 2**80, "\ud83d", [None])
