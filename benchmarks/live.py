"""The live page under load: pages listen while a root of many runs lies still, and while it moves.

    python benchmarks/live.py --runs 10000 --clients 20

Prints processor time per second of the server, its memory, how long ``/api/data`` takes, and how
long it is from a line of ``metrics.jsonl``, or the end of a run, until all pages know of it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from roots import config_of, make_runs

from ztxexp_core.store.files import utc_now
from ztxexp_core.store.liveness import this_process


class Client(threading.Thread):
    """A page that listens; knows when it heard of each run and metric last."""

    def __init__(self, port: int, cookie: str, since: int):
        super().__init__(daemon=True)
        self.port, self.cookie, self.since = port, cookie, since
        self.heard: dict[str, float] = {}
        self.events = self.bytes = self.reloads = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
        connection.request(
            "GET", f"/api/events?since={self.since}", headers={"Cookie": self.cookie}
        )
        event = b""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            for line in connection.getresponse():
                now = time.monotonic()
                self.bytes += len(line)
                if line.startswith(b"event:"):
                    event = line.split()[1]
                elif line.startswith(b"data:") and event:
                    self.events += 1
                    self.reloads += event == b"reload"
                    runs = json.loads(line[5:]).get("runs")
                    for at, name in enumerate(runs["name"] if runs else ()):
                        loss = next(c for c in runs["columns"] if c["key"] == "loss")["values"][at]
                        self.heard.setdefault(f"{name} {runs['status'][at]}", now)
                        self.heard.setdefault(f"{name} {loss}", now)


@contextlib.contextmanager
def server(root: Path) -> Iterator[tuple[psutil.Process, int, str]]:
    """Start ``ztxexp ui``; yields its process, port and cookie."""
    command = [sys.executable, "-m", "ztxexp", "ui", "-C", str(root), "--no-browser", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        place, _, token = url.removeprefix("http://").partition("/?token=")
        port = int(place.rpartition(":")[2])
        for _ in range(200):
            with contextlib.suppress(OSError):
                cookie = ask(port, f"/?token={token}")[0].headers["set-cookie"].partition(";")[0]
                break
            time.sleep(0.05)
        try:
            yield psutil.Process(process.pid), port, cookie
        finally:
            process.kill()


def ask(port: int, path: str, cookie: str = "") -> tuple[http.client.HTTPResponse, bytes, float]:
    """Return the answer to a request, its body, and the seconds that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.monotonic()
    connection.request("GET", path, headers={"Cookie": cookie, "Accept-Encoding": "gzip"})
    response = connection.getresponse()
    body = response.read()
    return response, body, time.monotonic() - began


def cpu(process: psutil.Process, seconds: float) -> float:
    """Return processor seconds per second, in percent."""
    before = process.cpu_times()
    time.sleep(seconds)
    now = process.cpu_times()
    return 100 * (now.user + now.system - before.user - before.system) / seconds


class Moving:
    """Two runs that log once a second, and one that ends every two; all belong to this process."""

    def __init__(self, root: Path, number: int):
        self.root, self.number = root, number
        self.wrote: dict[str, float] = {}
        self.logging = [self.begin(), self.begin()]

    def begin(self) -> Path:
        self.number += 1
        folder = self.root / f"20260102_000000_{self.number:08x}"
        staged = self.root / f".new-{folder.name}"
        staged.mkdir()
        (staged / "config.json").write_text(json.dumps(config_of(self.number)))
        self.record(staged, folder.name, "running", {})
        staged.rename(folder)
        return folder

    def record(self, folder: Path, name: str, status: str, more: dict[str, object]) -> None:
        record = {
            "schema_version": 2,
            "run_id": name,
            "status": status,
            "started_at": utc_now(),
            "owner": this_process(),
            **more,
        }
        temporary = folder / "run.tmp"
        temporary.write_text(json.dumps(record))
        temporary.rename(folder / "run.json")

    def move(self, seconds: int) -> None:
        for step in range(seconds):
            began = time.monotonic()
            for folder in self.logging:
                loss = round(1 / (step + 2), 6)
                row = {"step": step, "metrics": {"loss": loss}, "split": "train", "phase": "fit"}
                with open(folder / "metrics.jsonl", "a") as file:
                    file.write(json.dumps({**row, "timestamp": utc_now()}) + "\n")
                self.wrote[f"{folder.name} {loss}"] = time.monotonic()
            if step % 2 == 0:
                folder = self.begin()
                (folder / "metrics.json").write_text(json.dumps({"score": 0.5, "loss": 0.5}))
                self.record(folder, folder.name, "succeeded", {"finished_at": utc_now()})
                self.wrote[f"{folder.name} succeeded"] = time.monotonic()
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "results"
        make_runs(root, given.runs)
        with server(root) as (process, port, cookie):
            report(given, root, process, port, cookie)


def report(
    given: argparse.Namespace, root: Path, process: psutil.Process, port: int, cookie: str
) -> None:
    def say(what: str, value: object) -> None:
        print(f"{what:<58} {value}", flush=True)

    def mib() -> str:
        return f"{process.memory_info().rss / 2**20:.0f} MB"

    say("memory at the start", mib())
    _, body, first = ask(port, "/api/data", cookie)
    say("/api/data, first", f"{first * 1000:.0f} ms, {len(body) / 2**20:.2f} MB gzip")
    again = [ask(port, "/api/data", cookie)[2] for _ in range(20)]
    say("/api/data, again (median of 20)", f"{statistics.median(again) * 1000:.1f} ms")
    import gzip

    state = json.loads(gzip.decompress(body))["state"]
    say("memory after it", mib())
    clients = [Client(port, cookie, state) for _ in range(given.clients)]
    for client in clients:
        client.start()
    time.sleep(3)
    say(f"processor, {given.clients} pages, nothing moves", f"{cpu(process, given.seconds):.1f} %")
    moving = Moving(root, given.runs)
    time.sleep(3)
    work = threading.Thread(target=moving.move, args=(given.seconds,))
    sent = sum(client.bytes for client in clients)
    work.start()
    say(
        "processor, 2 runs log every second, one ends every other",
        f"{cpu(process, given.seconds):.1f} %",
    )
    work.join()
    time.sleep(15)
    sent = sum(client.bytes for client in clients) - sent
    say(
        "sent to each page per second of it",
        f"{sent / given.clients / given.seconds / 1024:.1f} KiB",
    )
    say("memory", mib())
    for what, word in (
        ("from a line to all pages", "0."),
        ("from a run's end to all pages", "succ"),
    ):
        keys = [key for key in moving.wrote if word in key]
        late = [
            max(client.heard[key] for client in clients) - moving.wrote[key]
            for key in keys
            if all(key in client.heard for client in clients)
        ]
        shown = f"{statistics.median(late):.1f} s, at most {max(late):.1f} s" if late else "-"
        say(what, f"{shown} ({len(late)} of {len(keys)} seen by themselves)")
    say("pages that had to read all again", sum(client.reloads > 0 for client in clients))
    _, _, changed = ask(port, "/api/data", cookie)
    say("/api/data after changes", f"{changed * 1000:.0f} ms")


if __name__ == "__main__":
    main()
