"""replay: a tracker gets what it lacks, from the files, once, whatever became of the run."""

from __future__ import annotations

import errno
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from read_faults import ReadFaults
from reading import strict

from ztxexp.replay import SyncReport, sync
from ztxexp.runner import ExpRunner
from ztxexp_core import UnknownPluginError
from ztxexp_core.errors import OptionError, StoreError
from ztxexp_core.store.lines import read_jsonl


class Ledger:
    """A tracker that keeps what it is told in a file, and forgets nothing."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def _write(self, *row: object) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def on_run_start(self, ctx, meta):
        self._write(ctx.run_id, "start", ctx.replayed, meta.hostname)

    def on_metric(self, ctx, event):
        self._write(ctx.run_id, "event", event.position, event.step, event.split, event.metrics)

    def on_run_end(self, ctx, summary):
        self._write(ctx.run_id, "end", summary["status"], summary["reason"], summary["metrics"])

    def rows(self) -> list[list]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def events(self) -> dict[str, list[tuple]]:
        """Step, split and metrics of each event, by run, in the order of their positions."""
        found: dict[str, list] = {}
        for run_id, kind, *rest in self.rows():
            if kind == "event":
                found.setdefault(run_id, []).append(tuple(rest))
        return {run_id: sorted(events, key=lambda e: e[0]) for run_id, events in found.items()}


def on_disk(root) -> dict[str, list[tuple]]:
    """What the local logs hold, in the form of ``Ledger.events``."""
    found = {}
    for run in root.runs():
        position, events = 0, []
        for line in (run["dir"] / "metrics.jsonl").read_bytes().splitlines(keepends=True):
            row = json.loads(line)
            events.append((position, row["step"], row["split"], row["metrics"]))
            position += len(line)
        found[run["run_id"]] = events
    return found


def train(ctx):
    for step in range(20):
        ctx.log_metric(step, {"loss": 1 / (step + 1)}, split="valid" if step % 5 == 4 else "train")
    if ctx.config["i"] == 2:
        raise ValueError("not this one")
    return {"score": ctx.config["i"]}


@pytest.fixture
def done(root):
    """A root with four runs, one of which failed."""
    ExpRunner([{"i": i} for i in range(4)], root.path, train).run()
    return root


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


def test_a_tracker_that_comes_later_gets_everything_once(done, ledger):
    report = sync(done.path, ledger)
    assert (report.runs, len(report.sent), report.events) == (4, 4, 80)
    assert (report.failed, report.busy, report.not_tried) == ({}, [], 0)
    assert ledger.events() == on_disk(done)
    ends = {row[0]: row[2:] for row in ledger.rows() if row[1] == "end"}
    for run in done.runs():
        metrics = {"score": run["config"]["i"]} if run["status"] == "succeeded" else {}
        assert ends[run["run_id"]] == [run["status"], run["reason"], metrics]
    before = ledger.rows()
    again = sync(done.path, ledger)
    assert (again.sent, again.events, ledger.rows()) == ([], 0, before)


def test_a_tracker_that_was_there_lacks_nothing(root, ledger):
    ExpRunner([{"i": i} for i in range(4)], root.path, train).run(trackers=[ledger])
    assert ledger.events() == on_disk(root)
    before = ledger.rows()
    assert sync(root.path, ledger).sent == []
    assert ledger.rows() == before


def test_it_is_told_what_the_run_said_of_itself_then(done, ledger):
    sync(done.path, ledger)
    starts = [row for row in ledger.rows() if row[1] == "start"]
    assert [row[2] for row in starts] == [True] * 4
    assert {row[3] for row in starts} == {strict(done.runs()[0]["dir"] / "meta.json")["hostname"]}


def test_two_destinations_do_not_know_of_each_other(done, tmp_path):
    for name in ("one", "two"):

        class Here(Ledger):
            destination = name

        assert sync(done.path, Here(tmp_path / name)).events == 80
        assert sync(done.path, Here(tmp_path / name)).events == 0


def test_the_jsonl_tracker_shows_what_it_has_got(done):
    assert sync(done.path, "jsonl").sent == []
    run = done.runs()[1]
    events = run["dir"] / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    lost = [line for line in lines if json.loads(line)["event"] in ("metric", "run_end")][3:9]
    events.write_text("".join(line for line in lines if line not in lost))
    report = sync(done.path, "jsonl")
    assert (report.sent, report.events) == ([run["run_id"]], 6)
    payloads = [row["payload"] for row in read_jsonl(events) if row["event"] == "metric"]
    curve = list(read_jsonl(run["dir"] / "metrics.jsonl"))
    assert sorted(payloads, key=lambda e: e["step"]) == curve
    assert sync(done.path, "jsonl", events_filename="later.jsonl").events == 80
    assert sync(done.path, "jsonl", events_filename="later.jsonl").sent == []


def test_what_a_tracker_shows_that_it_has_lost_is_sent_again(root, tmp_path):
    from ztxexp_core import MetricEvent, Received

    class Shows(Ledger):
        def on_params(self, ctx, params):
            self._write(ctx.run_id, "params", params)

        def received(self, ctx):
            rows = [row for row in self.rows() if row[0] == ctx.run_id]
            told = [row[2] for row in rows if row[1] == "line"]
            events = [MetricEvent.from_dict(json.loads(line)) for line in told]
            kinds = [row[1] for row in rows]
            return Received(events, "end" in kinds, "start" in kinds)

        def on_metric(self, ctx, event):
            self._write(ctx.run_id, "line", event.to_json().decode())

    def says(ctx):
        ctx.log_params(n=1)
        train(ctx)

    tracker = Shows(tmp_path / "shows")
    ExpRunner([{"i": 0}], root.path, says).run(trackers=[tracker])
    whole = tracker.rows()
    assert sync(root.path, tracker).sent == []
    tracker.path.unlink()
    report = sync(root.path, tracker)
    assert (report.events, report.params) == (20, 1)

    # Lines and parameters stand in two files: only within each of them there is an order.
    def by_kind(rows):
        return {kind: [r[1:] for r in rows[1:] if r[1] == kind] for kind in {r[1] for r in rows}}

    assert by_kind(tracker.rows()) == by_kind(whole)


def test_an_instance_is_known_by_the_name_under_which_its_class_is_installed(done, tmp_path):
    from ztxexp_trackers.tensorboard import TensorboardTracker

    folder = str(tmp_path / "boards")
    assert sync(done.path, TensorboardTracker(log_dir=folder)).events == 80
    assert sync(done.path, "tensorboard", log_dir=folder).sent == []


def test_a_tracker_that_cannot_say_what_it_has_costs_its_runs_and_is_named(done, ledger):
    class Broken(Ledger):
        def received(self, ctx):
            raise RuntimeError("no index")

    report = sync(done.path, Broken(ledger.path))
    assert list(report.failed) == [run["run_id"] for run in done.runs()]
    assert "RuntimeError: no index" in str(report)


def test_a_run_that_goes_on_is_sent_as_far_as_it_has_come(root, ledger):
    go_on, logged = threading.Event(), threading.Event()

    def slow(ctx):
        train(ctx)
        logged.set()
        go_on.wait(60)
        train(ctx)

    launch = threading.Thread(target=ExpRunner([{"i": 0}], root.path, slow).run)
    launch.start()
    assert logged.wait(60)
    assert sync(root.path, ledger).events == 20
    assert sync(root.path, ledger).events == 0
    assert [row[1] for row in ledger.rows()].count("end") == 0
    go_on.set()
    launch.join(60)
    assert sync(root.path, ledger).events == 20
    assert ledger.events() == on_disk(root)
    assert ledger.rows()[-1][1:3] == ["end", "succeeded"]


def test_a_run_that_its_own_process_is_telling_is_left_to_it(root, ledger):
    seen, asked, tell = [], threading.Event(), ledger.on_metric

    def waits(ctx, event):  # so that something is missing meanwhile
        asked.wait(10)
        tell(ctx, event)

    ledger.on_metric = waits

    def asks(ctx):
        ctx.log_metric(1, {"loss": 1})
        deadline = time.monotonic() + 10
        while not ledger.rows() and time.monotonic() < deadline:
            time.sleep(0.01)  # until its own process has begun to tell it
        seen.append(sync(root.path, ledger))
        asked.set()

    ExpRunner([{"i": 0}], root.path, asks).run(trackers=[ledger], tracker_timeout=30)
    (report,) = seen
    (run,) = root.runs()
    assert (report.busy, report.sent) == ([run["run_id"]], [])
    assert [row[1] for row in ledger.rows()] == ["start", "event", "end"]


def test_a_sync_that_is_interrupted_goes_on_where_it_stopped(done, ledger):
    class Interrupted(Ledger):
        heard = 0

        def on_metric(self, ctx, event):
            type(self).heard += 1
            if self.heard == 50:
                os.kill(os.getpid(), 9)
            super().on_metric(ctx, event)

    pid = os.fork()
    if pid == 0:
        sync(done.path, Interrupted(ledger.path))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    Interrupted.heard = 100
    report = sync(done.path, Interrupted(ledger.path))
    assert report.events == 80 - 49
    assert ledger.events() == on_disk(done)


def test_runs_of_dead_launchers_are_told_as_lost(root, ledger):
    pid = os.fork()
    if pid == 0:

        def dies(ctx):
            ctx.log_metric(1, {"loss": 1})
            os.kill(os.getpid(), 9)

        ExpRunner([{"i": 0}], root.path, dies).run()
    os.waitpid(pid, 0)
    assert sync(root.path, ledger).events == 1
    assert ledger.rows()[-1][1:] == ["end", "failed", "lost", {}]


def test_runs_of_1_0_3_are_sent_too(tmp_path, ledger):
    folder = tmp_path / "results" / "old"
    folder.mkdir(parents=True)
    for name, value in {
        "config.json": {"lr": 0.1},
        "run.json": {"schema_version": 2, "run_id": "old", "status": "succeeded", "attempt": 1},
        "meta.json": {"experiment_name": "e", "hostname": "there", "no longer known": 1},
        "metrics.json": {"score": 1},
    }.items():
        (folder / name).write_text(json.dumps(value))
    row = {"step": 1, "timestamp": "2025-01-01T00:00:00+00:00", "metrics": {"loss": 0.5}}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    report = sync(tmp_path / "results", ledger)
    assert (report.sent, report.events) == (["old"], 1)
    assert [row[1:] for row in ledger.rows()] == [
        ["start", True, "there"],
        ["event", 0, 1, "train", {"loss": 0.5}],
        ["end", "succeeded", None, {"score": 1}],
    ]


def test_what_is_damaged_is_named_and_costs_itself(done, ledger):
    run = done.runs()[0]
    (run["dir"] / "config.json").write_text("{")
    report = sync(done.path, ledger)
    assert list(report.failed) == [run["run_id"]]
    assert "config.json is missing or damaged" in report.failed[run["run_id"]]
    assert len(report.sent) == 3


def test_a_tracker_that_is_down_ends_a_sync_soon_and_the_next_one_sends_all(root, ledger):
    ExpRunner([{"i": i} for i in range(10)], root.path, train).run()

    class Down(Ledger):
        tries = 0

        def on_run_start(self, ctx, meta):
            type(self).tries += 1
            raise ConnectionError("no answer")

    report = sync(root.path, Down(ledger.path))
    assert (Down.tries, len(report.failed), report.not_tried, report.sent) == (3, 3, 7, [])
    assert "not tried after these failures: 7 runs" in str(report)
    assert "ConnectionError: no answer" in str(report)
    assert sync(root.path, ledger).events == 200


@pytest.mark.first_is_quick
@pytest.mark.parametrize("seed", range(5))
def test_after_random_failures_hangs_and_kills_a_replay_makes_it_equal_to_the_local_log(
    root, ledger, seed
):
    class Shaky(Ledger):
        rng = random.Random(seed)
        calm = False

        def _shake(self, write):
            chance = 0.5 if self.calm else self.rng.random()
            if chance < 0.1:
                raise ConnectionError("lost on the way")
            write()
            if chance > 0.95:
                raise ConnectionError("lost on the way back")
            if chance > 0.94:
                time.sleep(5)

        def on_run_start(self, ctx, meta):
            self._shake(lambda: super(Shaky, self).on_run_start(ctx, meta))

        def on_metric(self, ctx, event):
            self._shake(lambda: super(Shaky, self).on_metric(ctx, event))

        def on_run_end(self, ctx, summary):
            self._shake(lambda: super(Shaky, self).on_run_end(ctx, summary))

    def launch():
        runner = ExpRunner([{"i": i} for i in range(6)], root.path, train)
        runner.run(trackers=[Shaky(ledger.path)], tracker_timeout=0.2, progress=False)

    launch()
    for _ in range(50):
        report = sync(root.path, Shaky(ledger.path), tracker_timeout=0.2)
        if not (report.failed or report.not_tried):
            break
    Shaky.calm = True
    sync(root.path, Shaky(ledger.path))
    assert sync(root.path, Shaky(ledger.path)).sent == []
    # Told again where the answer was lost; the position tells that it is the same event.
    unique = {run_id: sorted(dict.fromkeys(map(repr, events))) for run_id, events in
              ledger.events().items()}  # fmt: skip
    assert unique == {run_id: sorted(map(repr, events)) for run_id, events in on_disk(root).items()}
    ended = Counter((row[0], row[2]) for row in ledger.rows() if row[1] == "end")
    assert set(ended) == {(run["run_id"], run["status"]) for run in root.runs()}


# ---- a tracker that lost what it had -------------------------------------------------------------


def test_a_tracker_that_was_emptied_gets_all_again_when_told_to(done, ledger):
    sync(done.path, ledger)
    before = ledger.events()
    ledger.path.unlink()
    assert str(sync(done.path, ledger)) == "Ledger has everything (4 runs)"
    assert sync(done.path, ledger, force=True).events == 80
    assert ledger.events() == before
    assert sync(done.path, ledger).sent == []


def test_a_tracker_that_says_which_runs_it_knows_is_asked_each_time(done, ledger):
    class Knows(Ledger):
        def knows(self, ctx):
            return any(row[0] == ctx.run_id for row in self.rows())

    tracker = Knows(ledger.path)
    sync(done.path, tracker)
    assert str(sync(done.path, tracker)) == "Knows has everything (4 runs)"
    (gone, *_) = tracker.events()
    kept = [row for row in tracker.rows() if row[0] != gone]
    ledger.path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    report = sync(done.path, tracker)
    assert (report.sent, report.lost, report.events) == ([gone], [gone], 20)
    assert tracker.events() == on_disk(done)


def test_a_server_that_does_not_answer_is_not_taken_for_one_that_has_everything(done, ledger):
    class Down(Ledger):
        def knows(self, ctx):
            raise ConnectionError("no answer")

    sync(done.path, Down(ledger.path))
    report = sync(done.path, Down(ledger.path))
    assert (len(report.failed), report.not_tried) == (3, 1)
    assert "everything" not in str(report)


# ---- errors --------------------------------------------------------------------------------------


def test_a_root_that_is_not_there_and_an_unknown_tracker_are_named(tmp_path, done):
    with pytest.raises(StoreError, match="no results root"):
        sync(tmp_path / "nowhere", "jsonl")
    with pytest.raises(UnknownPluginError, match="jsonl"):
        sync(done.path, "jsnl")
    with pytest.raises(OptionError, match="banana"):
        sync(done.path, "jsonl", banana=1)


def test_the_report_is_short_and_says_what_was_sent(done, ledger):
    assert str(sync(done.path, ledger)) == (
        "Ledger: 4 of 4 runs sent, 80 events, 0 parameter lists, 0 artifacts"
    )


def test_a_run_that_is_not_complete_does_not_count_as_sent():
    report = SyncReport("csv", runs=2, sent=["a", "b"], events=3, failed={"b": "KeyError: 'loss'"})
    assert str(report).splitlines()[0].startswith("csv: 1 of 2 runs sent, 3 events")


@pytest.mark.parametrize("filename", ["config.json", "meta.json", "metrics.json"])
def test_a_run_of_which_a_file_cannot_be_read_is_sent_later(done, ledger, filename, monkeypatch):
    run_id = done.runs()[0]["run_id"]
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EACCES, f"{run_id}/{filename}")
        report = sync(done.path, ledger)
    assert list(report.failed) == [run_id] and "Permission denied" in report.failed[run_id]
    assert run_id not in [row[0] for row in ledger.rows()]
    assert sync(done.path, ledger).sent == [run_id]
