"""The ``sqlite`` tracker of ztxexp: all runs of all sweeps in one SQLite database.

The README describes the tables.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp_core import MetricEvent, Received, RunContext, RunMetadata, encode_json, plain, utc_now

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, experiment TEXT, status TEXT NOT NULL, reason TEXT, error TEXT,
    attempt INTEGER NOT NULL, updated_at TEXT NOT NULL, folder TEXT NOT NULL,
    config TEXT NOT NULL, meta TEXT NOT NULL, figures TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS metrics (
    run_id TEXT NOT NULL REFERENCES runs, position INTEGER, step INTEGER NOT NULL,
    split TEXT NOT NULL, phase TEXT NOT NULL, attempt INTEGER, timestamp TEXT NOT NULL,
    name TEXT NOT NULL, value REAL, PRIMARY KEY (run_id, position, name));
CREATE TABLE IF NOT EXISTS params (
    run_id TEXT NOT NULL REFERENCES runs, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (run_id, name));
CREATE TABLE IF NOT EXISTS artifacts (
    run_id TEXT NOT NULL REFERENCES runs, name TEXT NOT NULL, path TEXT NOT NULL,
    bytes INTEGER NOT NULL, PRIMARY KEY (run_id, name));
"""


class SqliteTracker:
    """Writes runs into one SQLite database; any number of processes may do so at once.

    A call is one transaction: it is there whole, or it raises and nothing of it is there.

    Args:
        path: the database, made where it is missing. It has to lie on a disk of this machine:
            SQLite's write-ahead log does not work over a network.
        lock_timeout: seconds for which a call tries again while another process writes.

    Example:
        >>> pipeline.track("sqlite", path="runs.db")
    """

    def __init__(self, path: str | Path, lock_timeout: float = 5.0):
        self.path = os.path.abspath(path)
        self.lock_timeout = lock_timeout
        self.destination = self.path  # what has been told is remembered by this
        self._open: dict[str, sqlite3.Connection] = {}  # by run: its calls never overlap

    # ---- the contract: the three calls ---------------------------------------------------------

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Make the run's row, or go on with the one that an earlier attempt has made."""
        self._close(ctx)
        config, told = _json(ctx.config), _json(meta.to_dict())
        row = (ctx.run_id, meta.experiment_name, ctx.attempt, utc_now(), str(ctx.run_dir))
        with self._transaction(ctx) as db:
            db.execute(
                "INSERT INTO runs (run_id, experiment, attempt, updated_at, folder, config, meta,"
                " status) VALUES (?, ?, ?, ?, ?, ?, ?, 'running') ON CONFLICT (run_id) DO UPDATE"
                " SET status = 'running', reason = NULL, error = NULL, attempt = excluded.attempt,"
                " updated_at = excluded.updated_at, folder = excluded.folder,"
                " config = excluded.config, meta = excluded.meta",
                (*row, config, told),
            )

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Write one event."""
        self.on_metrics(ctx, [event])

    def on_run_end(self, ctx: RunContext, summary: Mapping[str, Any]) -> None:
        """Write how the run has ended, and let go of the database."""
        error = summary.get("error_type") and f"{summary['error_type']}: {summary['error_message']}"
        told = (summary["status"], summary.get("reason"), error, summary["attempt"], utc_now())
        try:
            with self._transaction(ctx) as db:
                db.execute(
                    "UPDATE runs SET status = ?, reason = ?, error = ?, attempt = ?,"
                    " updated_at = ?, figures = ? WHERE run_id = ?",
                    (*told, _json(summary.get("metrics") or {}), ctx.run_id),
                )
        finally:
            self._close(ctx)

    # ---- the contract: what a tracker may have -------------------------------------------------

    def on_metrics(self, ctx: RunContext, events: Sequence[MetricEvent]) -> None:
        """Write events together; one that is there already, by its position, is passed over."""
        rows = [
            (ctx.run_id, e.position, e.step, e.split, e.phase, e.attempt, e.timestamp, name, value)
            for e in events
            for name, value in e.metrics.items()
        ]
        with self._transaction(ctx) as db:
            db.executemany(
                "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                rows,
            )

    def on_params(self, ctx: RunContext, params: Mapping[str, Any]) -> None:
        """Write parameters; a later value replaces an earlier one."""
        rows = [(ctx.run_id, name, _json(value)) for name, value in params.items()]
        with self._transaction(ctx) as db:
            db.executemany("INSERT OR REPLACE INTO params VALUES (?, ?, ?)", rows)

    def on_artifact(self, ctx: RunContext, path: Path, name: str) -> None:
        """Write where a file lies, or each file of a folder; the files stay where they are."""
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        rows = [
            (ctx.run_id, "/".join([name, *p.relative_to(path).parts]), str(p), p.stat().st_size)
            for p in files
        ]
        with self._transaction(ctx) as db:
            db.executemany("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)", rows)

    def received(self, ctx: RunContext) -> Received:
        """Return what the database holds of a run, so that nothing is sent twice."""
        if not os.path.exists(self.path):
            return Received([], ended=False, started=False)
        events: dict[tuple[Any, ...], MetricEvent] = {}
        with contextlib.closing(self._connect()) as db:
            run = db.execute("SELECT status FROM runs WHERE run_id = ?", (ctx.run_id,)).fetchone()
            for step, time_, split, phase, attempt, position, name, value in db.execute(
                "SELECT step, timestamp, split, phase, attempt, position, name, value FROM metrics"
                " WHERE run_id = ? ORDER BY rowid",
                (ctx.run_id,),
            ):
                event = MetricEvent(step, time_, {}, split, phase, attempt, position)
                key = (position, step, time_, split)
                events.setdefault(key, event).metrics[name] = number(value)
        ended = run is not None and run[0] != "running"
        return Received(list(events.values()), ended, started=run is not None)

    # ---- the database --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, ctx: RunContext) -> Iterator[sqlite3.Connection]:
        if ctx.run_id not in self._open:
            self._open[ctx.run_id] = self._connect()
        db = self._open[ctx.run_id]
        # At once a writer: a transaction that began as a reader cannot wait for a lock.
        self._patiently(lambda: db.execute("BEGIN IMMEDIATE"))
        try:
            yield db
            self._patiently(lambda: db.execute("COMMIT"))
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _connect(self) -> sqlite3.Connection:
        # Used by one thread at a time, which need not be the one that has opened it.
        db = sqlite3.connect(
            self.path, timeout=self.lock_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            self._patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
            db.execute("PRAGMA synchronous = NORMAL")  # safe when a process dies
            db.execute("PRAGMA foreign_keys = ON")
            self._patiently(lambda: db.executescript(SCHEMA))
        except BaseException:
            db.close()
            raise
        return db

    def _patiently(self, step: Callable[[], object]) -> None:
        """Do something again while another process has the lock; SQLite itself waits mostly."""
        until = time.monotonic() + self.lock_timeout
        while True:
            try:
                step()
                return
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.01, 0.05))  # by chance: else two would meet again

    def _close(self, ctx: RunContext) -> None:
        opened = self._open.pop(ctx.run_id, None)
        if opened is not None:
            opened.close()


def number(value: float | None) -> float:
    """Return a value of the table ``metrics`` as a float: SQLite keeps NaN as NULL."""
    return float("nan") if value is None else value


def _json(value: Any) -> str:
    return encode_json(plain(value)).decode()
