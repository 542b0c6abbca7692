"""Starts the live page and ends it: socket, secrets, idle time, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from ztxexp.server.app import Page
from ztxexp.server.events import Events, in_thread
from ztxexp.server.guard import LOOPBACK_NAMES, Guard, Hosts, Keys
from ztxexp.server.reader import RootReader
from ztxexp_core.errors import StoreError

PORT = 8417
_TRIED = 20  # ports from PORT on, before any free one
_CONNECTIONS = 256
_IDLE_LOOK_SEC = 1.0
_ANY = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host: as it was asked for.
        port: of the socket.
        sock: the socket, which listens.
    """

    host: str
    port: int
    sock: socket.socket

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return str(self.sock.getsockname()[0]).partition("%")[0] in ("127.0.0.1", "::1")

    def url(self, token: str) -> str:
        """Return the address to open."""
        host = self.host
        if host in _ANY:
            host = socket.gethostname()
        elif ":" in host:
            host = f"[{host}]"
        return f"http://{host}:{self.port}/?token={token}"


def listen(host: str, port: int | None) -> Address:
    """Open the socket.

    Args:
        host: a name or an address of this machine.
        port: 0 for any free one; ``None`` for the usual one, or one near it.

    Raises:
        StoreError: it is in use, or the host is not this machine.
    """
    ports = [*range(PORT, PORT + _TRIED), 0] if port is None else [port]
    for number in ports:
        try:
            sock = _bound(host, number)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE and number != ports[-1]:
                continue
            raise StoreError(_why_not(host, number, exc)) from exc
        return Address(host, int(sock.getsockname()[1]), sock)
    raise AssertionError


def _bound(host: str, port: int) -> socket.socket:
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, place = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(_CONNECTIONS)
    except BaseException:
        sock.close()
        raise
    return sock


def _why_not(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; give another one, or --port 0 for any free one"
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be opened ({exc.strerror}); give one from 1024, or --port 0"
    if isinstance(exc, socket.gaierror) or exc.errno == errno.EADDRNOTAVAIL:
        return f"--host {host!r} is no address of this machine ({exc.strerror})"
    return f"{host}:{port} cannot be opened: {exc.strerror or exc}"


@dataclass(frozen=True)
class Options:
    """How the page is served.

    Attributes:
        idle: seconds without a visitor after which it ends; 0: never.
        open_browser: whether a browser is opened.
        access: is given a line for each response; ``None``: none are made.
    """

    idle: float = 12 * 3600.0
    open_browser: bool = False
    access: Callable[[str], None] | None = None


class _Server(uvicorn.Server):
    """Ends its streams before it waits for connections."""

    on_end: Callable[[], None] = staticmethod(lambda: None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_end()
        await super().shutdown(sockets)


def serve(root: Path, called: str, address: Address, keys: Keys, options: Options) -> bool:
    """Serve the page until Ctrl-C, SIGTERM, or nobody has come for long.

    Args:
        root: the results root.
        called: the root as commands on the page name it.
        address: of the socket.
        keys: the secrets.
        options: how.

    Returns:
        Whether it has ended because nobody came.

    Raises:
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> address = listen("127.0.0.1", 0)
        >>> keys = Keys(address.port)
        >>> print(address.url(keys.token))
        >>> serve(Path("results"), "results", address, keys, Options())
    """
    return asyncio.run(_serve(root, called, address, keys, options))


async def _serve(root: Path, called: str, address: Address, keys: Keys, options: Options) -> bool:
    reader = RootReader(root, called)
    events = Events(reader)
    last = [time.monotonic()]

    def visited() -> None:
        last[0] = time.monotonic()

    names = {socket.gethostname()} if address.host in _ANY else {address.host.lower()}
    app = Guard(
        Page(root, events).application(),
        keys,
        Hosts(names - LOOPBACK_NAMES),
        visited,
        options.access,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = _Server(config)
    server.on_end = events.close
    ended = [False]

    async def end_when_idle() -> None:
        while options.idle:
            await asyncio.sleep(min(_IDLE_LOOK_SEC, options.idle / 4))
            if events.listeners:
                visited()
            elif time.monotonic() - last[0] > options.idle:
                ended[0] = server.should_exit = True
                return

    tasks = [asyncio.create_task(end_when_idle())]
    if options.open_browser:
        url = address.url(keys.once())
        tasks.append(asyncio.create_task(_open(url)))
    with _quiet(logging.getLogger("uvicorn")):
        await server.serve(sockets=[address.sock])
    for task in tasks:
        task.cancel()
    return ended[0]


async def _open(url: str) -> None:
    """Open a browser; where there is none, the printed address stands."""
    with contextlib.suppress(Exception):
        await in_thread(lambda: webbrowser.open(url))


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Leave out what uvicorn says of its start, its end and of broken requests."""
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def can_open_browser() -> bool:
    """Return whether somebody sits before this machine who could see a browser."""
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
