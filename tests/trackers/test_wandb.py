"""The wandb tracker, by the real client without a network: what it wrote is read back."""

import json
import struct
import time

import pytest

from ztxexp_core import RunMetadata
from ztxexp_trackers.wandb import STEP_METRIC, WandbTracker

wandb = pytest.importorskip("wandb")

BLOCK = 32768


def records(path):
    """Yield the records of a ``.wandb`` file: LevelDB's log framing of protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    at, message = 7, b""  # the first seven bytes are the file's own header
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # too little left in this block for a header
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            at += BLOCK - at % BLOCK
            continue
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole message, or the last part of one
            record = Record()
            record.ParseFromString(message)
            yield record
            message = b""


class Written:
    """What the client wrote about one run."""

    def __init__(self, folder):
        self.rows, self.summary, self.config = [], {}, {}
        for record in _complete(folder):
            getattr(self, f"_{record.WhichOneof('record_type')}", lambda record: None)(record)

    def _run(self, record):
        self.run = record.run
        self.config.update(_items(record.run.config.update))

    def _history(self, record):
        row = _items(record.history.item)
        self.rows.append({k: v for k, v in row.items() if k[0] != "_"})

    def _summary(self, record):
        self.summary.update(_items(record.summary.update))

    def _exit(self, record):
        self.exit_code = record.exit.exit_code


def _complete(folder):
    """Return a run's records once its end is on disk: the client's service writes on its own."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    give_up = time.monotonic() + 20
    while True:
        found = list(records(path))
        if any(record.HasField("exit") for record in found) or time.monotonic() > give_up:
            return found
        time.sleep(0.05)


def _items(items):
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


@pytest.fixture(autouse=True)
def no_run_left():
    yield
    from ztxexp_trackers import wandb as module

    left, module._handles[:] = list(module._handles), []
    for run in left:
        run.finish(exit_code=1)
    wandb.teardown()  # ends the service, and with it the settings that were read only once
    assert left == []
    assert wandb.run is None


def test_a_run_arrives_whole(make_ctx, make_event):
    meta = RunMetadata(experiment_name="exp", group="g1", tags={"team": "x" * 100})
    ctx = make_ctx(config={"lr": 0.1, "net": {"sizes": (1, 2)}, "nan": float("nan")}, meta=meta)
    tracker = WandbTracker(project="digits", entity="us")
    tracker.on_run_start(ctx, meta)
    tracker.on_metric(ctx, make_event(1, {"loss": 0.5}))
    summary = {"run_id": ctx.run_id, "status": "succeeded", "metrics": {"score": 0.75}}
    tracker.on_run_end(ctx, summary)

    written = Written(ctx.run_dir)
    assert (written.run.project, written.run.entity) == ("digits", "us")
    assert (written.run.display_name, written.run.run_id) == ("run-1", "run-1")
    assert (written.run.run_group, written.run.job_type) == ("g1", "exp")
    assert list(written.run.tags) == ["team=" + "x" * 59]
    assert written.config["lr"] == 0.1
    assert written.config["net"] == {"sizes": [1, 2]}
    assert written.config["nan"] == "NaN"
    assert written.rows == [{"loss": 0.5, STEP_METRIC: 1}]
    assert written.exit_code == 0
    final = written.summary
    assert (final["experiment_name"], final["group"]) == ("exp", "g1")
    assert (final["status"], final["metrics"]) == ("succeeded", {"score": 0.75})


def test_every_event_keeps_its_step_in_whatever_order(make_ctx, make_event):
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    logged = [(1, "train"), (2, "train"), (2, "valid"), (1, "valid"), (1, "train"), (0, "test")]
    for step, split in logged:
        tracker.on_metric(ctx, make_event(step, {"loss": step + 0.5}, split=split))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    rows = Written(ctx.run_dir).rows
    names = {"train": "loss", "valid": "valid/loss", "test": "test/loss"}
    assert rows == [{names[split]: step + 0.5, STEP_METRIC: step} for step, split in logged]


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("skipped", 0), ("succeeded", 0)])
def test_only_a_failed_run_ends_with_an_exit_code(make_ctx, status, code):
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": status})
    assert Written(ctx.run_dir).exit_code == code


def test_runs_of_one_process_do_not_mix(make_ctx, make_event, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "shared")
    tracker, other = WandbTracker(), WandbTracker()
    a, b, c = (make_ctx(name, {"name": name}) for name in "abc")
    tracker.on_run_start(a, a.meta)
    tracker.on_run_start(b, b.meta)  # the same instance, at once
    other.on_run_start(c, c.meta)
    for step in range(2):
        for t, ctx, value in ((tracker, a, 1.0), (tracker, b, 2.0), (other, c, 3.0)):
            t.on_metric(ctx, make_event(step, {"v": value}))
    for t, ctx in ((tracker, a), (other, c), (tracker, b)):
        t.on_run_end(ctx, {"status": "succeeded"})
    d = make_ctx("d", {"name": "d"})
    tracker.on_run_start(d, d.meta)
    tracker.on_metric(d, make_event(9, {"v": 4.0}))
    tracker.on_run_end(d, {"status": "failed"})
    for ctx, value, steps in ((a, 1.0, [0, 1]), (b, 2.0, [0, 1]), (c, 3.0, [0, 1]), (d, 4.0, [9])):
        written = Written(ctx.run_dir)
        assert written.run.run_id == ctx.run_id
        assert written.config["name"] == ctx.run_id
        assert written.rows == [{"v": value, STEP_METRIC: step} for step in steps]


def test_log_calls_of_the_user_land_in_the_run(make_ctx, make_event):
    for name in ("one", "two"):
        ctx, tracker = make_ctx(name), WandbTracker()
        tracker.on_run_start(ctx, ctx.meta)
        wandb.log({"mine": len(name)})
        tracker.on_run_end(ctx, {"status": "succeeded"})
        assert [row["mine"] for row in Written(ctx.run_dir).rows] == [len(name)]


def test_a_run_of_the_user_around_the_sweep_goes_on(make_ctx, make_event, tmp_path):
    outer = wandb.init(project="outer", dir=tmp_path)
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    wandb.log({"around": 1})
    tracker.on_metric(ctx, make_event(1, {"inside": 2.0}))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert wandb.run is outer
    wandb.log({"around": 2})
    outer.finish()
    assert [row["around"] for row in Written(tmp_path).rows] == [1, 2]
    assert Written(ctx.run_dir).rows == [{"inside": 2.0, STEP_METRIC: 1}]


def test_arguments_of_the_user_win(make_ctx, tmp_path):
    ctx = make_ctx(config={"lr": 1}, meta=RunMetadata(group="ours", tags=["ours"]))
    theirs = {"name": "n", "config": {"own": 1}, "group": "g", "tags": ["t"], "job_type": "j"}
    tracker = WandbTracker("p", None, dir=str(tmp_path), notes="hello", id="i1", **theirs)
    assert tracker.project == "p" and tracker.entity is None
    assert tracker.kwargs == {"dir": str(tmp_path), "notes": "hello", "id": "i1", **theirs}
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    written = Written(tmp_path)
    run = written.run
    assert (run.display_name, run.run_group, list(run.tags)) == ("n", "g", ["t"])
    assert (run.job_type, run.notes, run.run_id) == ("j", "hello", "i1")
    assert written.config["own"] == 1
    assert "lr" not in written.config
    assert not (ctx.run_dir / "wandb").exists()


def test_wandb_dir_of_the_environment_is_respected(make_ctx, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert Written(tmp_path).exit_code == 0


def test_a_run_id_with_characters_that_wandb_refuses_is_accepted(make_ctx):
    ctx = make_ctx("a#b:c?d%e")
    tracker = WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    run = Written(ctx.run_dir).run
    assert (run.run_id, run.display_name) == ("a-b-c-d-e", "a#b:c?d%e")


def test_calls_without_a_start_do_nothing(make_ctx, make_event):
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_metric(ctx, make_event(1, {"a": 1.0}))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert list(ctx.run_dir.iterdir()) == []


def test_an_unusable_argument_leaves_no_run_behind(make_ctx):
    ctx, tracker = make_ctx(), WandbTracker(nosuch=1)
    with pytest.raises(TypeError, match="nosuch"):
        tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "failed"})
    assert wandb.run is None


def test_without_wandb_the_module_imports_and_the_error_tells_what_to_install(without):
    said = without(
        "wandb",
        """
        import logging, pathlib
        from ztxexp_core import PluginImportError, RunContext, RunMetadata
        from ztxexp_trackers.wandb import WandbTracker

        print(WandbTracker.requires)
        ctx = RunContext("r", pathlib.Path("."), {}, logging.getLogger("x"))
        try:
            WandbTracker().on_run_start(ctx, RunMetadata())
        except PluginImportError as exc:
            assert isinstance(exc, ImportError)
            print(exc, exc.kind, exc.plugin)
        """,
    )
    assert "('wandb',)" in said
    assert 'pip install "ztxexp[wandb]" tracker wandb' in said
