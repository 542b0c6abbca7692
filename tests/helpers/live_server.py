"""A small server that speaks what ``ztxexp ui`` speaks, for tests of the page's live mode."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ztxexp.report.page import page, policy

_NONCE = "abc123"
_END = ("", "")


class LiveServer:
    """A server of one payload.

    Attributes:
        payload: what ``/api/data`` answers.
        posts: path, headers and content of each POST.
        asked: the addresses of the event streams that were asked for.
        details: what ``/api/run/NAME`` answers.
    """

    def __init__(self, payload: dict[str, Any]):
        self.payload = payload
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.asked: list[str] = []
        self.details: dict[str, Any] = {
            "config": {}, "metrics": {}, "run": {}, "log": "epoch 1: loss=0.5",
            "files": [{"path": "model/weights 1.bin", "size": 123456}],
        }  # fmt: skip
        self._streams: list[queue.Queue[tuple[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def send(self, event: str, content: dict[str, Any]) -> None:
        """Send an event to every page."""
        for stream in self._streams:
            stream.put((event, json.dumps(content)))

    def cut(self) -> None:
        """End all event streams."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.put(_END)

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def answer(self, text: str, kind: str) -> None:
                raw = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                if kind == "text/html":
                    self.send_header("Content-Security-Policy", policy(_NONCE))
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self) -> None:
                if self.path.startswith("/api/events"):
                    self.stream()
                elif self.path == "/api/data":
                    self.answer(json.dumps(owner.payload), "application/json")
                elif self.path.startswith("/api/run/"):
                    self.answer(json.dumps(owner.details), "application/json")
                elif self.path == "/":
                    self.answer(page(None, _NONCE), "text/html")
                else:
                    self.send_error(404)

            def stream(self) -> None:
                own: queue.Queue[tuple[str, str]] = queue.Queue()
                owner.asked.append(self.path)
                owner._streams.append(own)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b": here\n\n")
                while (event := own.get()) != _END:
                    with contextlib.suppress(OSError):
                        self.wfile.write(f"event: {event[0]}\ndata: {event[1]}\n\n".encode())
                        self.wfile.flush()

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                content = json.loads(self.rfile.read(length))
                owner.posts.append((self.path, dict(self.headers), content))
                self.answer(json.dumps({"ok": True, "said": "asked to stop"}), "application/json")

        return Handler


@contextlib.contextmanager
def serving(payload: dict[str, Any]) -> Iterator[LiveServer]:
    """Yield a server of a payload."""
    server = LiveServer(payload)
    try:
        yield server
    finally:
        server.close()


def delta_of(payload: dict[str, Any], at: int, **changes: Any) -> dict[str, Any]:
    """Return a delta with one run of a payload, changed.

    Args:
        payload: the payload.
        at: the run's place.
        **changes: of its fields (``status``), or of columns by key (``accuracy``).
    """
    runs = payload["runs"]
    of_run: dict[str, Any] = {
        name: [changes.get(name, values[at])] for name, values in runs.items() if name != "columns"
    }
    of_run["columns"] = [
        {**column, "values": [changes.get(column["key"], column["values"][at])]}
        for column in runs["columns"]
    ]
    return {"state": payload["state"] + 1, "runs": of_run}
