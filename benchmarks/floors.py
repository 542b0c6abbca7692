"""Do the least that any implementation has to do, in plain Python; same protocol as work.py."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from roots import config_of
from work import Measured, main, spin

_RECORD = {"schema_version": 2, "run_id": "x" * 26, "status": "running", "attempt": 1, "tags": {}}


def _write(path: str, data: bytes, how: int = os.O_EXCL) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o666)
    os.write(fd, data)
    os.close(fd)


def _one_run(args: tuple[str, int, bool]) -> None:
    """Make a run's folder with its files, run.json twice."""
    root, number, spins = args
    folder = f"{root}/{number:06d}"
    os.mkdir(folder)
    os.mkdir(f"{folder}/artifacts")
    os.mkdir(f"{folder}/checkpoints")
    _write(f"{folder}/config.json", orjson.dumps(config_of(number), option=orjson.OPT_INDENT_2))
    _write(f"{folder}/meta.json", orjson.dumps(_RECORD, option=orjson.OPT_INDENT_2))
    _write(f"{folder}/run.json", orjson.dumps(_RECORD, option=orjson.OPT_INDENT_2))
    _write(f"{folder}/run.log", b"")
    _write(f"{folder}/events.jsonl", b'{"event": "start"}\n')
    if spins:
        spin(None)
    _write(f"{folder}/metrics.json", b'{"score": 1.0}')
    _write(f"{folder}/new", orjson.dumps(_RECORD, option=orjson.OPT_INDENT_2))
    os.replace(f"{folder}/new", f"{folder}/run.json")
    _write(f"{folder}/events.jsonl", b'{"event": "end"}\n', os.O_APPEND)


def runs_in_a_loop(scratch: Path, count: int) -> Measured:
    """Write the files of runs one after the other."""
    began = time.perf_counter()
    for number in range(count):
        _one_run((str(scratch), number, False))
    return time.perf_counter() - began, count


def runs_in_a_pool(scratch: Path, count: int, spins: bool) -> Measured:
    """Write them in two processes of a bare pool, perhaps with 20 ms of computing each."""
    context = multiprocessing.get_context("forkserver")
    began = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(_one_run, [(str(scratch), number, spins) for number in range(count)]))
    return time.perf_counter() - began, count


def spins_in_a_pool(scratch: Path, count: int) -> Measured:
    """Compute only: no file is written."""
    context = multiprocessing.get_context("forkserver")
    began = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(spin, range(count)))
    return time.perf_counter() - began, count


def append_lines(scratch: Path, count: int) -> Measured:
    """Write two lines for each step, each by an append of its own."""
    opened = [
        os.open(scratch / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for name in ("metrics.jsonl", "events.jsonl")
    ]
    began = time.perf_counter()
    for step in range(count):
        row = {"timestamp": "2026-01-01T00:00:00+00:00", "step": step, "metrics": {"loss": 0.5}}
        for fd in opened:
            os.write(fd, orjson.dumps(row) + b"\n")
    seconds = time.perf_counter() - began
    for fd in opened:
        os.close(fd)
    return seconds, count


def read_files(scratch: Path, root: str, count: int) -> Measured:
    """Read the three records of every run into one mapping."""
    began = time.perf_counter()
    found = []
    for entry in os.scandir(root):
        record: dict[str, Any] = {}
        for name in ("config.json", "metrics.json", "run.json"):
            with open(f"{entry.path}/{name}", "rb") as file:
                record.update(orjson.loads(file.read()))
        found.append(record)
    assert len(found) == count
    return time.perf_counter() - began, count


def look_at_files(scratch: Path, root: str, count: int) -> Measured:
    """Ask each of the three records of every run for its date."""
    began = time.perf_counter()
    fd = os.open(root, os.O_RDONLY)
    for name in os.listdir(root):
        for file in ("config.json", "metrics.json", "run.json"):
            os.stat(f"{name}/{file}", dir_fd=fd)
    os.close(fd)
    return time.perf_counter() - began, count


def read_curves(scratch: Path, root: str, rows: int) -> Measured:
    """Parse every line."""
    began, seen = time.perf_counter(), 0
    for entry in os.scandir(root):
        with open(f"{entry.path}/metrics.jsonl", "rb") as file:
            for line in file:
                orjson.loads(line)
                seen += 1
    assert seen == rows
    return time.perf_counter() - began, rows


def product(scratch: Path, count: int) -> Measured:
    """Copy a configuration and set two keys, as often."""
    base, side = json.dumps(config_of(0)), round(count ** (1 / 2))
    tree = json.loads(base)
    began = time.perf_counter()
    made = [{**tree, "seed": a, "lr": b} for a in range(side) for b in range(side)]
    assert len(made) == side * side
    return time.perf_counter() - began, side * side


if __name__ == "__main__":
    main(globals())
