"""The live page in a process of its own, asked over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        body = response.read()
        packed = self.headers.get("content-encoding") == "gzip"
        self.body = gzip.decompress(body) if packed else body

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class Served:
    """A server that was started by ``ztxexp ui``."""

    def __init__(self, process: subprocess.Popen, url: str):
        self.process = process
        self.url = url
        self.port = int(re.search(r":(\d+)/", url)[1])
        self.token = url.partition("token=")[2]
        self.cookie = ""

    def open(self) -> Served:
        """Do what a browser does with the printed address; from now on the cookie is sent."""
        answer = self.ask("GET", f"/?token={self.token}", cookie="")
        assert answer.status == 303, answer.text
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return self

    def ask(self, method="GET", path="/", body=None, cookie=None, host=None, **headers) -> Answer:
        """Ask over a connection of its own; ``header_name`` stands for ``header-name``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
            cookie = self.cookie if cookie is None else cookie
            if cookie:
                connection.putheader("Cookie", cookie)
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if body is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data if body is not None else None)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, path: str, body, **headers) -> Answer:
        """Ask for a change as the page does."""
        own = {
            "origin": f"http://127.0.0.1:{self.port}",
            "x_ztxexp": "1",
            "content_type": "application/json",
        }
        return self.ask("POST", path, body, **{**own, **headers})

    def data(self):
        return self.ask("GET", "/api/data").json()

    @contextlib.contextmanager
    def events(self, since: int | None = None) -> Iterator[Iterator[tuple[str, dict]]]:
        """Listen; yields pairs of an event's name and its data."""
        query = "" if since is None else f"?since={since}"
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            head = f"GET /api/events{query} HTTP/1.0\r\nHost: 127.0.0.1:{self.port}\r\n"
            sock.sendall(f"{head}Cookie: {self.cookie}\r\n\r\n".encode())
            with sock.makefile("rb") as file:
                assert b" 200 " in file.readline()
                yield _events(file)

    def end(self, signum: int = signal.SIGINT) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(20)


def _events(file) -> Iterator[tuple[str, dict]]:
    name = ""
    for line in file:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data" and name:
            yield name, json.loads(value)


@contextlib.contextmanager
def served(root: Path, *words: object, make: bool = True, **variables: str) -> Iterator[Served]:
    """Start ``ztxexp ui`` on a root, on a free port, without a browser."""
    if make:
        root.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ztxexp", "ui", "-C", str(root), "--no-browser"]
    given = list(map(str, words))
    process = subprocess.Popen(
        [*command, *([] if "--port" in given else ["--port", "0"]), *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        for _ in range(500):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", Served(process, url).port), 1).close()
                break
            time.sleep(0.02)
        yield Served(process, url)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
