"""The tensorboard tracker: its event files are read back by TensorBoard itself."""

import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from ztxexp_core import ConfigError, MetricEvent, RunMetadata
from ztxexp_trackers._tensorboard_files import EventFolder
from ztxexp_trackers.tensorboard import TensorboardTracker

pytest.importorskip("tensorboard")


class Shown:
    """What TensorBoard finds in a folder."""

    def __init__(self, folder):
        from tensorboard.backend.event_processing import event_accumulator
        from tensorboard.plugins.hparams import metadata

        everything = {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
        found = event_accumulator.EventAccumulator(str(folder), size_guidance=everything)
        found.Reload()
        self.scalars = {
            tag: [(e.step, e.wall_time, e.value) for e in found.Scalars(tag)]
            for tag in found.Tags()["scalars"]
        }
        said = found.PluginTagToContent("hparams") if _has_hparams(found) else {}
        self.start = self.end = None
        if "_hparams_/session_start_info" in said:
            self.start = metadata.parse_session_start_info_plugin_data(
                said["_hparams_/session_start_info"]
            )
        if "_hparams_/session_end_info" in said:
            self.end = metadata.parse_session_end_info_plugin_data(
                said["_hparams_/session_end_info"]
            )

    @property
    def hparams(self):
        found = self.start.hparams.items()
        return {name: getattr(value, value.WhichOneof("kind")) for name, value in found}

    @property
    def status(self):
        from tensorboard.plugins.hparams import api_pb2

        return None if self.end is None else api_pb2.Status.Name(self.end.status)[len("STATUS_") :]

    def steps(self, tag):
        return [step for step, _, _ in self.scalars[tag]]


def _has_hparams(found):
    try:
        found.PluginTagToContent("hparams")
    except KeyError:
        return False
    return True


def shown(ctx):
    return Shown(ctx.run_dir / "tensorboard")


def files(ctx):
    """Return the event files of a run: name and content."""
    return {path.name: path.read_bytes() for path in (ctx.run_dir / "tensorboard").iterdir()}


def seconds(event):
    return datetime.fromisoformat(event.timestamp).timestamp()


def record(ctx, **fields):
    """Write ``run.json``, as the core does."""
    times = {
        "started_at": "2026-01-02T03:00:00+00:00",
        "finished_at": "2026-01-02T04:00:00.250000+00:00",
    }
    (ctx.run_dir / "run.json").write_text(json.dumps({**times, **fields}))


def log(ctx, *events):
    """Write events into ``metrics.jsonl``, as the core does."""
    with open(ctx.run_dir / "metrics.jsonl", "ab") as file:
        file.writelines(event.to_json() + b"\n" for event in events)


def follow(ctx, events=(), status="succeeded", params=(), metrics=None, tracker=None):
    tracker = tracker or TensorboardTracker()
    tracker.on_run_start(ctx, ctx.meta)
    for found in params:
        tracker.on_params(ctx, found)
    if events:
        tracker.on_metrics(ctx, list(events))
    if status is not None:
        tracker.on_run_end(ctx, {"run_id": ctx.run_id, "status": status, "metrics": metrics or {}})


# ---- what arrives ----------------------------------------------------------------------------


def test_every_event_arrives_with_its_split_step_and_time(make_ctx, make_event):
    ctx = make_ctx()
    train = [make_event(step, {"loss": step / 4, "acc": 0.5}) for step in (1, 2)]
    valid = make_event(2, {"loss": 0.25}, split="valid")
    follow(ctx, [*train, valid])
    assert shown(ctx).scalars == {
        "loss": [(1, seconds(train[0]), 0.25), (2, seconds(train[1]), 0.5)],
        "acc": [(1, seconds(train[0]), 0.5), (2, seconds(train[1]), 0.5)],
        "valid/loss": [(2, seconds(valid), 0.25)],
    }


def test_an_event_is_on_disk_when_the_call_returns(make_ctx, make_event):
    ctx, tracker = make_ctx(), TensorboardTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_metric(ctx, make_event(1, {"loss": 0.5}))
    assert shown(ctx).steps("loss") == [1]
    tracker.on_metric(ctx, make_event(2, {"loss": 0.5}))
    assert shown(ctx).steps("loss") == [1, 2]
    tracker.on_run_end(ctx, {"status": "succeeded"})


def test_numbers_that_are_not_finite_are_kept(make_ctx, make_event):
    ctx = make_ctx()
    event = make_event(1, {"nan": math.nan, "up": math.inf, "down": -math.inf, "huge": 1e300})
    follow(ctx, [event], metrics={"last": "NaN", "best": "-Infinity"})
    last = {tag: rows[-1][2] for tag, rows in shown(ctx).scalars.items()}
    assert math.isnan(last["nan"]) and math.isnan(last["final/last"])
    assert (last["up"], last["down"], last["final/best"]) == (math.inf, -math.inf, -math.inf)
    assert last["huge"] == math.inf  # single precision


def test_the_configuration_becomes_hyperparameters(make_ctx):
    config = {
        "lr": 0.1,
        "epochs": 3,
        "nesterov": True,
        "model": {"name": "resnet", "sizes": (1, 2), "dropout": None, "empty": {}},
        "worst": math.inf,
        "huge": 10**400,
    }
    ctx = make_ctx(config=config)
    follow(ctx)
    found = shown(ctx)
    assert found.hparams == {
        "lr": 0.1,
        "epochs": 3.0,
        "nesterov": True,
        "model.name": "resnet",
        "model.sizes": "[1,2]",
        "model.dropout": "None",
        "model.empty": "{}",
        "worst": "Infinity",
        "huge": str(10**400),
    }
    assert found.start.group_name == ctx.run_id


@pytest.mark.parametrize(
    ("status", "state"),
    [("succeeded", "SUCCESS"), ("failed", "FAILURE"), ("skipped", "UNKNOWN")],
)
def test_the_end_arrives_with_the_final_figures(make_ctx, make_event, status, state):
    ctx = make_ctx()
    record(ctx, status=status)
    figures = {"score": 0.5, "per": {"class": 2}, "name": "x", "yes": True, "none": None}
    follow(ctx, [make_event(7, {"loss": 1.0})], status, metrics=figures)
    found = shown(ctx)
    end = datetime.fromisoformat("2026-01-02T04:00:00.250000+00:00").timestamp()
    assert found.status == state
    assert (found.start.start_time_secs, found.end.end_time_secs) == (end - 3600.25, end)
    assert found.scalars["final/score"] == [(7, end, 0.5)]
    assert found.scalars["final/per.class"] == [(7, end, 2.0)]
    assert sorted(found.scalars) == ["final/per.class", "final/score", "loss"]


def test_params_found_out_later_join_the_hyperparameters(make_ctx, make_event):
    ctx, tracker = make_ctx(config={"lr": 0.1}), TensorboardTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_params(ctx, {"n": 7, "net": {"depth": 2}})
    tracker.on_metric(ctx, make_event(1, {"loss": 0.5}))
    assert shown(ctx).hparams == {"lr": 0.1, "n": 7, "net.depth": 2}
    tracker.on_params(ctx, {"n": 8})
    tracker.on_metric(ctx, make_event(2, {"loss": 0.5}))
    assert shown(ctx).hparams == {"lr": 0.1, "n": 8, "net.depth": 2}
    tracker.on_params(ctx, {"late": "x"})
    tracker.on_run_end(ctx, {"status": "failed"})
    found = shown(ctx)
    assert found.hparams == {"lr": 0.1, "n": 8, "net.depth": 2, "late": "x"}
    assert found.status == "FAILURE"
    assert found.steps("loss") == [1, 2]


def test_a_run_that_says_nothing_is_shown_with_its_hyperparameters_at_the_end(make_ctx):
    ctx = make_ctx(config={"lr": 0.1})
    follow(ctx, status="failed")
    assert (shown(ctx).hparams, shown(ctx).status) == ({"lr": 0.1}, "FAILURE")


# ---- where it goes ---------------------------------------------------------------------------


def test_with_log_dir_each_run_has_a_folder_there(make_ctx, make_event, tmp_path, monkeypatch):
    tracker = TensorboardTracker(log_dir="logs")
    ctxs = [make_ctx("a"), make_ctx("b")]
    monkeypatch.chdir(ctxs[0].run_dir)  # the experiment goes elsewhere
    for step, ctx in enumerate(ctxs):
        follow(ctx, [make_event(step, {"loss": 0.5})], tracker=tracker)
    for step, ctx in enumerate(ctxs):
        assert Shown(tmp_path / "logs" / ctx.run_id).steps("loss") == [step]
        assert not (ctx.run_dir / "tensorboard").exists()
    assert tracker.destination == str(tmp_path / "logs")
    assert TensorboardTracker(tmp_path / "logs").destination == str(tmp_path / "logs")
    assert TensorboardTracker().destination == "run folder"


@pytest.mark.parametrize("bad", ["", "s3://bucket/logs", 3, b"logs"])
def test_a_log_dir_that_is_no_folder_is_refused_by_its_name(bad):
    with pytest.raises(ConfigError, match=r"log_dir must be a folder.*log_dir=\"runs\""):
        TensorboardTracker(log_dir=bad)


def test_a_log_dir_that_cannot_be_made_is_an_error_at_the_start(make_ctx, tmp_path):
    (tmp_path / "taken").write_text("a file")
    ctx = make_ctx()
    with pytest.raises(OSError, match="taken"):
        TensorboardTracker(log_dir=tmp_path / "taken").on_run_start(ctx, ctx.meta)


def test_runs_at_once_in_one_instance_and_in_several_threads_do_not_mix(make_ctx, make_event):
    shared = TensorboardTracker()
    ctxs = [make_ctx(f"r{number}", {"number": number}) for number in range(6)]

    def one(ctx):
        number = ctx.config["number"]
        tracker = shared if number % 2 else TensorboardTracker()
        tracker.on_run_start(ctx, ctx.meta)
        for step in range(20):
            tracker.on_metric(ctx, make_event(step, {"v": number}))
        tracker.on_run_end(ctx, {"status": "succeeded", "metrics": {"v": number}})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, ctxs))
    for ctx in ctxs:
        found, number = shown(ctx), ctx.config["number"]
        assert found.hparams == {"number": number}
        assert [(step, value) for step, _, value in found.scalars["v"]] == [
            (step, number) for step in range(20)
        ]
        assert found.scalars["final/v"][0][2] == number


def test_calls_without_a_start_do_nothing(make_ctx, make_event):
    ctx, tracker = make_ctx(), TensorboardTracker()
    tracker.on_metric(ctx, make_event(1, {"a": 1.0}))
    tracker.on_params(ctx, {"a": 1})
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert list(ctx.run_dir.iterdir()) == []


# ---- going on --------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_a_further_file(make_ctx, make_event):
    first, second = make_ctx(), make_ctx(meta=RunMetadata(attempt=2))
    events = [make_event(step, {"loss": float(step)}) for step in range(4)]
    follow(first, events[:2], "failed", params=[{"n": 7}], metrics={"best": 0.5})
    before = files(first)

    tracker = TensorboardTracker()
    tracker.on_run_start(second, second.meta)
    tracker.on_metrics(second, events[1:3])  # one of them was under way when the process died
    assert shown(second).status == "RUNNING"
    tracker.on_metric(second, events[3])
    tracker.on_run_end(second, {"status": "succeeded", "metrics": {"best": 0.75}})

    found, after = shown(second), files(second)
    assert found.steps("loss") == [0, 1, 2, 3]
    assert [value for _, _, value in found.scalars["final/best"]] == [0.5, 0.75]
    assert found.steps("final/best") == [1, 3]
    assert found.status == "SUCCESS"
    assert found.hparams == {"lr": 0.1, "n": 7}
    assert len(after) == len(before) + 1
    (old,) = (name for name in before if not name.endswith(".first"))
    assert after[old] == before[old]


def test_a_replay_of_what_is_there_writes_nothing(make_ctx, make_event):
    ctx = make_ctx(config={"lr": 0.1, "sizes": (1, 2), "x": math.nan})
    record(ctx, status="failed")
    events = [make_event(step, {"loss": 0.1 * step, "nan": math.nan}) for step in range(3)]
    told = {"params": [{"n": 7}], "metrics": {"best": 0.1, "worst": "NaN"}, "status": "failed"}
    follow(ctx, events, **told)
    before = files(ctx)
    ctx.replayed, ctx.config = True, {"lr": 0.1, "sizes": [1, 2], "x": "NaN"}  # as on disk
    follow(ctx, events, **told)
    assert files(ctx) == before


def test_a_replay_adds_what_is_missing(make_ctx, make_event):
    ctx = make_ctx()
    record(ctx, status="succeeded")
    events = [make_event(step, {"loss": 0.5}) for step in range(3)]
    follow(ctx, events[1:2], status=None)
    ctx.replayed = True
    follow(ctx, events, metrics={"score": 1.0})
    found = shown(ctx)
    assert sorted(found.steps("loss")) == [0, 1, 2]
    assert (found.status, found.steps("final/score")) == ("SUCCESS", [2])


def test_what_a_killed_process_has_torn_is_told_again(make_ctx, make_event):
    ctx = make_ctx()
    events = [make_event(step, {"loss": 0.5}) for step in range(3)]
    follow(ctx, events[:2], status=None)
    (path,) = (p for p in (ctx.run_dir / "tensorboard").iterdir() if p.suffix != ".first")
    os.truncate(path, path.stat().st_size - 5)
    assert shown(ctx).steps("loss") == [0]
    again = make_ctx(meta=RunMetadata(attempt=2))
    follow(again, events[1:])
    assert shown(ctx).steps("loss") == [0, 1, 2]


@pytest.mark.parametrize("tail", [b"\0" * 64, struct.pack("<Q", 2**60) + b"x" * 40, b"\x03" * 31])
def test_what_does_not_belong_into_a_file_is_passed_over(make_ctx, make_event, tail):
    ctx = make_ctx()
    events = [make_event(step, {"loss": 0.5}) for step in range(2)]
    follow(ctx, events[:1], status=None)
    (path,) = (p for p in (ctx.run_dir / "tensorboard").iterdir() if p.suffix != ".first")
    with open(path, "ab") as file:
        file.write(tail)
    follow(make_ctx(meta=RunMetadata(attempt=2)), events)
    assert shown(ctx).steps("loss") == [0, 1]


def test_events_that_could_not_be_written_leave_no_trace_and_may_be_told_again(
    make_ctx, make_event, monkeypatch
):
    ctx, tracker = make_ctx(), TensorboardTracker()
    events = [make_event(step, {"loss": 0.5}) for step in range(4)]
    tracker.on_run_start(ctx, ctx.meta)

    class FullDisk:
        """Takes only a part of what is written."""

        def __init__(self, file):
            self._file = file

        def write(self, data):
            return self._file.write(data[: len(data) // 2])

        def __getattr__(self, name):
            return getattr(self._file, name)

    real = EventFolder._new_file
    monkeypatch.setattr(EventFolder, "_new_file", lambda self: FullDisk(real(self)))
    with pytest.raises(OSError, match="disk full"):
        tracker.on_metrics(ctx, events[:2])
    assert shown(ctx).scalars == {}
    folder = tracker._runs[ctx.run_dir].files
    folder._file = folder._file._file  # there is room again
    tracker.on_metrics(ctx, events[:2])
    tracker.on_metrics(ctx, events[2:])
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert shown(ctx).steps("loss") == [0, 1, 2, 3]
    assert len(files(ctx)) == 2


def test_an_event_told_twice_is_written_once(make_ctx, make_event):
    ctx, tracker = make_ctx(), TensorboardTracker()
    events = [make_event(step, {"loss": 0.5}) for step in range(3)]
    for number, event in enumerate(events):
        event.position = 100 * number
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_metrics(ctx, events[:2])
    for event in events[:2]:  # the answer had got lost
        tracker.on_metrics(ctx, [event])
    tracker.on_metrics(ctx, events)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert shown(ctx).steps("loss") == [0, 1, 2]


def test_an_event_made_by_hand_has_the_same_time_whenever_it_is_told(make_ctx):
    ctx = make_ctx()
    record(ctx)
    event = MetricEvent(1, "no time", {"loss": 0.5})
    for _ in range(2):
        follow(ctx, [event], status=None)
        ctx.replayed = True
    begun = datetime.fromisoformat("2026-01-02T03:00:00+00:00").timestamp()
    assert shown(ctx).scalars["loss"] == [(1, begun, 0.5)]


# ---- what it can show ------------------------------------------------------------------------


def test_it_shows_which_lines_it_has_got(make_ctx, make_event):
    ctx, tracker = make_ctx(), TensorboardTracker()
    record(ctx, status="succeeded")
    told = [make_event(0, {"a": 0.1, "b": 1 / 3}), make_event(1, {"a": math.nan}, split="valid")]
    partly, not_told = make_event(2, {"a": 1.0}), make_event(3, {"a": 1.0})
    log(ctx, *told, make_event(2, {"a": 1.0, "b": 2.0}), not_told)
    ctx.replayed = True
    assert tracker.received(ctx) == ([], False, False)

    follow(ctx, [*told, partly], status=None)
    received = TensorboardTracker().received(ctx)
    assert [event.to_json() for event in received.events] == [event.to_json() for event in told]
    assert (received.ended, received.started) == (False, True)

    follow(ctx, [])
    assert TensorboardTracker().received(ctx).ended
    record(ctx, status="succeeded", finished_at="2026-01-02T05:00:00+00:00")  # a further attempt
    assert not TensorboardTracker().received(ctx).ended

    shutil.rmtree(ctx.run_dir / "tensorboard")
    assert TensorboardTracker().received(ctx) == ([], False, False)


# ---- TensorBoard, and without it -------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """Return a starter of a real server for a folder, which returns a caller of its pages."""
    started = []
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def start(folder):
        options = ["--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        url = next(found[1] for found in map(_address, process.stderr) if found)

        def ask(page, question):
            body = json.dumps({"experimentName": "", **question}).encode()
            request = urllib.request.Request(url + page, body, {"Content-Type": "application/json"})
            with opener.open(request, timeout=60) as answer:
                return json.loads(answer.read())

        return ask

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def _address(line):
    return re.search(r"at (http://127\.0\.0\.1:\d+)/", line)


def test_the_tab_hparams_shows_every_run_of_the_results_folder(make_ctx, make_event, server):
    for number, (name, status) in enumerate((("a", "succeeded"), ("b", "failed"))):
        ctx = make_ctx(name, {"lr": 0.1 * (number + 1), "net": {"act": "relu"}})
        record(ctx, status=status)
        events = [make_event(3, {"loss": 0.25}, split="valid")]
        follow(ctx, events, status, params=[{"n": 7}], metrics={"score": 0.5 + number})
    ask = server(ctx.run_dir.parent)
    statuses = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    groups, give_up = [], time.monotonic() + 90
    while len(groups) < 2:  # it reads the folder in the background
        assert time.monotonic() < give_up
        asked = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 9}
        groups = ask("/data/plugin/hparams/session_groups", asked).get("sessionGroups", [])
    experiment = ask("/data/plugin/hparams/experiment", {})

    assert {info["name"] for info in experiment["hparamInfos"]} == {"lr", "net.act", "n"}
    assert {info["name"]["tag"] for info in experiment["metricInfos"]} == {
        "valid/loss",
        "final/score",
    }
    for number, group in enumerate(sorted(groups, key=lambda group: group["name"])):
        (session,) = group["sessions"]
        assert (group["name"], session["name"]) == (
            f"{'ab'[number]}",
            f"{'ab'[number]}/tensorboard",
        )
        assert group["hparams"] == {"lr": 0.1 * (number + 1), "net.act": "relu", "n": 7}
        assert session["status"] == ("STATUS_SUCCESS", "STATUS_FAILURE")[number]
        assert {m["name"]["tag"]: m["value"] for m in session["metricValues"]} == {
            "valid/loss": 0.25,
            "final/score": 0.5 + number,
        }


def test_without_tensorboard_the_module_imports_and_the_error_tells_what_to_install(without):
    said = without(
        "tensorboard",
        """
        import logging, pathlib, tempfile
        from ztxexp_core import PluginImportError, RunContext, RunMetadata
        from ztxexp_trackers.tensorboard import TensorboardTracker

        print(TensorboardTracker.requires)
        ctx = RunContext("r", pathlib.Path(tempfile.mkdtemp()), {}, logging.getLogger("x"))
        try:
            TensorboardTracker().on_run_start(ctx, RunMetadata())
        except PluginImportError as exc:
            assert isinstance(exc, ImportError)
            print(exc, exc.kind, exc.plugin)
        """,
    )
    assert "('tensorboard',)" in said
    assert 'pip install "ztxexp[tensorboard]" tracker tensorboard' in said


def test_nothing_heavy_is_imported(without):
    said = without(
        "tensorflow",
        """
        import logging, pathlib, sys, tempfile
        from ztxexp_core import MetricEvent, RunContext, RunMetadata
        from ztxexp_trackers.tensorboard import TensorboardTracker

        light = "tensorboard" not in sys.modules
        ctx = RunContext("r", pathlib.Path(tempfile.mkdtemp()), {}, logging.getLogger("x"))
        tracker = TensorboardTracker()
        tracker.on_run_start(ctx, RunMetadata())
        tracker.on_metric(ctx, MetricEvent(1, "2026-01-02T03:04:05+00:00", {"a": 1.0}))
        tracker.on_run_end(ctx, {"status": "succeeded"})
        print(light, sorted({"torch", "numpy", "pandas", "grpc", "PIL"} & set(sys.modules)))
        """,
    )
    assert said.strip() == "True []"
