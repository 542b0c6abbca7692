"""What has changed, told to all pages: server-sent events, from one reader."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from ztxexp.report.schema import Payload
from ztxexp.server.json import json_bytes
from ztxexp.server.reader import Event, RootReader
from ztxexp.text.format import sanitize_for_terminal

_log = logging.getLogger("ztxexp")

LOOK_SEC = 1.0
_HEARTBEAT_SEC = 15.0
_LEVEL = 4  # of gzip: on this machine time counts, not size
_KEPT, _KEPT_BYTES = 100, 16 * 2**20  # events that a page may have missed

_T = TypeVar("_T")


async def in_thread(call: Callable[[], _T]) -> _T:
    """Return what a function returns, called in a thread that does not hold up the end.

    Example:
        >>> await in_thread(reader.data)
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def give(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def work() -> None:
        try:
            value: Any = call()
            setter: Any = future.set_result
        except BaseException as exc:
            value, setter = exc, future.set_exception
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(give, setter, value)

    threading.Thread(target=work, name="ztxexp-ui", daemon=True).start()
    return await future


class Events:
    """Looks at the root while anybody listens, and keeps the last events for who comes back.

    Args:
        reader: reads the root.

    Attributes:
        listeners: how many pages listen.
    """

    def __init__(self, reader: RootReader):
        self.listeners = 0
        self._reader = reader
        self._lock = asyncio.Lock()
        self._kept: deque[tuple[int, bytes]] = deque()
        self._oldest = reader.state  # from this state on nothing has been forgotten
        self._state = reader.state
        self._news = asyncio.Event()
        self._closed = False
        self._watching: asyncio.Task[None] | None = None
        self._problem = ""
        self._looked = -LOOK_SEC
        self._packed: tuple[int, bytes] | None = None

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._news.set()

    async def data(self) -> tuple[int, bytes]:
        """Return the state and the whole payload, as compressed JSON; it is made once for all."""
        async with self._lock:
            if time.monotonic() - self._looked > LOOK_SEC:
                await self._look(at_once=True)
            if self._packed is None or self._packed[0] != self._state:
                self._packed = None  # both would need room
                packed, event = await in_thread(lambda: _packed(*self._reader.data()))
                self._packed = packed
                self._keep(event)
            return self._packed

    async def tell(self, name: str) -> None:
        """Tell all pages at once of a run that one of them has changed."""
        self._reader.tell(name)
        async with self._lock:
            with contextlib.suppress(OSError):  # the next look will say so
                await self._look(at_once=True)

    async def _look(self, at_once: bool = False) -> None:
        event = await in_thread(lambda: self._reader.look(at_once))
        self._looked = time.monotonic()
        self._keep(event)

    async def stream(self, since: int | None) -> AsyncIterator[bytes]:
        """Yield events until the page goes away or the server ends.

        Args:
            since: the state that the page shows; ``None``: the present one.
        """
        self.listeners += 1
        self._watch()
        try:
            yield b"retry: 1000\n\n"
            at = self._state if since is None else since
            while not self._closed:
                if not self._oldest <= at <= self._state:
                    at = self._state
                    yield _text(at, "reload", b"{}")
                for state, text in list(self._kept):
                    if state > at:
                        at = state
                        yield text
                if at != self._state:  # forgotten while this page was slow
                    continue
                news = self._news
                try:
                    await asyncio.wait_for(news.wait(), _HEARTBEAT_SEC)
                except asyncio.TimeoutError:
                    yield b": alive\n\n"
        finally:
            self.listeners -= 1

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._look_while_anybody_listens())

    async def _look_while_anybody_listens(self) -> None:
        while self.listeners and not self._closed:
            async with self._lock:
                try:
                    await self._look()
                    self._problem = ""
                except Exception as exc:  # the root has gone, say: it may come back
                    problem = f"{type(exc).__name__}: {exc}"
                    if problem != self._problem:
                        self._problem = problem
                        _log.warning("ui: %s", sanitize_for_terminal(problem))
            await asyncio.sleep(LOOK_SEC)

    def _keep(self, event: Event | None) -> None:
        """Keep an event for all streams, and wake them."""
        if event is None:
            return
        name = "reload" if event.delta is None else "delta"
        body = json_bytes(event.delta or {"state": event.state})
        self._kept.append((event.state, _text(event.state, name, body)))
        self._state = event.state
        while len(self._kept) > _KEPT or sum(len(one) for _, one in self._kept) > _KEPT_BYTES:
            self._oldest = self._kept.popleft()[0]
        news, self._news = self._news, asyncio.Event()
        news.set()


def _packed(whole: Payload, event: Event | None) -> tuple[tuple[int, bytes], Event | None]:
    return (whole["state"], gzip.compress(json_bytes(whole), _LEVEL, mtime=0)), event


def _text(state: int, name: str, body: bytes) -> bytes:
    """Return an event as it is sent; JSON has no line breaks."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (state, name.encode(), body)
