"""A tracker that keeps everything, as an outside author would write it, and ways to do it wrong."""

from __future__ import annotations

import contextlib
import json
import sqlite3

from ztxexp_core import MetricEvent, Received, encode_json

_TABLES = """
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS runs (run PRIMARY KEY, status, figures);
CREATE TABLE IF NOT EXISTS params (run, name, value, PRIMARY KEY (run, name));
CREATE TABLE IF NOT EXISTS events (run, position, event, PRIMARY KEY (run, position));
CREATE TABLE IF NOT EXISTS files (run, name, content, PRIMARY KEY (run, name));
"""


class Kept:
    """Keeps all that it is told, in a file of SQLite."""

    def __init__(self, path):
        self.destination = str(path)

    def on_run_start(self, ctx, meta):
        with self.database() as db:
            db.execute("INSERT OR IGNORE INTO runs VALUES (?, NULL, '{}')", [ctx.run_id])
            db.execute("UPDATE runs SET status = 'running' WHERE run = ?", [ctx.run_id])
        self.on_params(ctx, ctx.config)

    def on_metric(self, ctx, event):
        self.on_metrics(ctx, [event])

    def on_metrics(self, ctx, events):
        # What is told once more has the same position.
        rows = [(ctx.run_id, event.position, event.to_json().decode()) for event in events]
        with self.database() as db:
            db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", rows)

    def on_params(self, ctx, params):
        rows = [(ctx.run_id, name, encode_json(value)) for name, value in params.items()]
        with self.database() as db:
            db.executemany("INSERT OR REPLACE INTO params VALUES (?, ?, ?)", rows)

    def on_artifact(self, ctx, path, name):
        if path.is_dir():
            for inner in path.iterdir():
                self.on_artifact(ctx, inner, f"{name}/{inner.name}")
            return
        with self.database() as db:
            row = ctx.run_id, name, path.read_bytes()
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", row)

    def in_run(self, ctx):
        return contextlib.nullcontext()

    def on_run_end(self, ctx, summary):
        row = str(summary["status"]), encode_json(summary["metrics"]), ctx.run_id
        with self.database() as db:
            db.execute("UPDATE runs SET status = ?, figures = ? WHERE run = ?", row)

    def knows(self, ctx):
        return self.received(ctx).started

    def received(self, ctx):
        with self.database() as db:
            status = db.execute("SELECT status FROM runs WHERE run = ?", [ctx.run_id]).fetchone()
            rows = db.execute("SELECT event FROM events WHERE run = ?", [ctx.run_id]).fetchall()
        events = [MetricEvent.from_dict(json.loads(row)) for (row,) in rows]
        return Received(events, status not in (None, ("running",)), status is not None)

    @contextlib.contextmanager
    def database(self):
        db = sqlite3.connect(self.destination, timeout=60)
        with contextlib.closing(db), db:
            db.executescript(_TABLES)
            yield db


# ---- wrong ---------------------------------------------------------------------------------------


class LosesEvents(Kept):
    """Takes the first hundred of a batch only."""

    def on_metrics(self, ctx, events):
        super().on_metrics(ctx, events[:100])


class ForgetsTheLast(Kept):
    """Holds an event back until the next one comes."""

    held = None

    def on_metrics(self, ctx, events):
        waiting = [event for event in (self.held, *events) if event is not None]
        self.held = waiting.pop()
        super().on_metrics(ctx, waiting)


class HoldsBack(Kept):
    """Writes everything at the end."""

    def __init__(self, path):
        super().__init__(path)
        self.held = []

    def on_metrics(self, ctx, events):
        self.held += [(ctx, event) for event in events]

    def on_run_end(self, ctx, summary):
        super().on_metrics(ctx, [event for its, event in self.held if its.run_id == ctx.run_id])
        super().on_run_end(ctx, summary)


class DoublesEvents(Kept):
    """Does not look whether an event was told before."""

    def on_metrics(self, ctx, events):
        rows = [(ctx.run_id, event.to_json().decode()) for event in events]
        with self.database() as db:
            position = db.execute("SELECT count(*) FROM events").fetchone()[0]
            numbered = [(run, -position - i, row) for i, (run, row) in enumerate(rows)]
            db.executemany("INSERT INTO events VALUES (?, ?, ?)", numbered)


class MixesRuns(Kept):
    """Remembers one run only: the one that started last."""

    def on_run_start(self, ctx, meta):
        self.ctx = ctx
        super().on_run_start(ctx, meta)

    def on_metrics(self, ctx, events):
        super().on_metrics(self.ctx, events)


class WrongStatus(Kept):
    """Knows good and bad only."""

    def on_run_end(self, ctx, summary):
        failed = summary["error_type"] is not None or summary["status"] != "succeeded"
        super().on_run_end(ctx, {**summary, "status": "failed" if failed else "succeeded"})


class RaisesAtTheEnd(Kept):
    """Fails when all is done."""

    def on_run_end(self, ctx, summary):
        super().on_run_end(ctx, summary)
        raise OSError("the connection was closed already")


class MakesAnotherRun(Kept):
    """Does not look for the run that is there."""

    def on_run_start(self, ctx, meta):
        if ctx.attempt > 1:
            with self.database() as db:
                row = f"{ctx.run_id} (2)", "running", "{}"
                db.execute("INSERT INTO runs VALUES (?, ?, ?)", row)
        super().on_run_start(ctx, meta)


class BeginsAnew(Kept):
    """Throws away what there is of a run when it starts."""

    def on_run_start(self, ctx, meta):
        with self.database() as db:
            db.execute("DELETE FROM events WHERE run = ?", [ctx.run_id])
        super().on_run_start(ctx, meta)


class BoundToItsThread(Kept):
    """Keeps the connection of the thread that has made it."""

    def __init__(self, path):
        super().__init__(path)
        self.connection = sqlite3.connect(path)
        self.connection.executescript(_TABLES)

    @contextlib.contextmanager
    def database(self):
        with self.connection:
            yield self.connection


class NoSplits(Kept):
    """Takes no notice of the split."""

    def on_metrics(self, ctx, events):
        for event in events:
            event.split = "train"
        super().on_metrics(ctx, events)


class NoNan(Kept):
    """Leaves out what is not finite."""

    def on_metrics(self, ctx, events):
        for event in events:
            event.metrics = {k: v for k, v in event.metrics.items() if abs(v) < float("inf")}
        super().on_metrics(ctx, events)


class OneFailureForAll(Kept):
    """After a failure of one run takes nothing more of any."""

    broken = False

    def on_metrics(self, ctx, events):
        try:
            if not self.broken:
                super().on_metrics(ctx, events)
        except Exception:
            self.broken = True
            raise


class SaysItHasAll(Kept):
    """Claims to have got what it was never told."""

    def received(self, ctx):
        return super().received(ctx)._replace(started=True, ended=True)


class KnowsAll(Kept):
    """Claims to know runs that it has never heard of."""

    def knows(self, ctx):
        return True


class TidiesUp(Kept):
    """Takes out of the configuration what it has sent."""

    def on_run_start(self, ctx, meta):
        super().on_run_start(ctx, meta)
        ctx.config.clear()


class ManyPlaces(Kept):
    """Has another destination as soon as it is connected."""

    def on_run_start(self, ctx, meta):
        super().on_run_start(ctx, meta)
        self.where = f"{self.destination}#{ctx.run_id}"

    def __getattribute__(self, name):
        if name == "destination" and "where" in vars(self):
            return vars(self)["where"]
        return super().__getattribute__(name)

    @contextlib.contextmanager
    def database(self):
        db = sqlite3.connect(vars(self)["destination"])
        with contextlib.closing(db), db:
            db.executescript(_TABLES)
            yield db
