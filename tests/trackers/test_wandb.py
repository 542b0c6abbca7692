"""The wandb tracker, by the real client without a network: what it wrote is read back."""

import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime

import psutil
import pytest
import wandb_reading
from wandb_reading import Written, elsewhere, until, wandb

from ztxexp_core import ConfigError, MetricEvent, RunContext, RunMetadata
from ztxexp_trackers import wandb as module
from ztxexp_trackers.wandb import STEP_METRIC, WandbTracker

no_run_left, staging_folder = wandb_reading.no_run_left, wandb_reading.staging_folder
pytestmark = pytest.mark.usefixtures("no_run_left", "staging_folder")


def service():
    """Return the process of the client's service."""
    ours = (p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE)
    (found,) = (process for process in ours if process.name() == "wandb-core")
    return found


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
    (tag,) = written.run.tags
    assert (tag[:55], len(tag)) == ("team=" + "x" * 50, 64)
    assert written.config["lr"] == 0.1
    assert written.config["net"] == {"sizes": [1, 2]}
    assert written.config["nan"] == "NaN"
    assert written.rows == [{"loss": 0.5, STEP_METRIC: 1}]
    assert written.exit_code == 0
    final = written.summary
    assert (final["experiment_name"], final["group"]) == ("exp", "g1")
    assert (final["status"], final["metrics"]) == ("succeeded", {"score": 0.75})


@pytest.mark.slow
def test_offline_a_run_that_has_ended_is_on_disk(make_ctx):
    tracker = WandbTracker()
    for number in range(5):
        ctx = make_ctx(f"run-{number}")
        tracker.on_run_start(ctx, ctx.meta)
        tracker.on_run_end(ctx, {"status": "succeeded"})
        (path,) = ctx.run_dir.glob("wandb/offline-run-*/*.wandb")
        assert any(record.HasField("exit") for record in wandb_reading.records(path))


def test_a_file_that_is_being_written_can_be_read(make_ctx, tmp_path):
    ctx, tracker = make_ctx(config={"long": "x" * 70_000}), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert Written(ctx.run_dir).exit_code == 0
    (path,) = ctx.run_dir.glob("wandb/offline-run-*/*.wandb")
    data, whole, cut = path.read_bytes(), list(wandb_reading.records(path)), tmp_path / "cut"
    for length in (*range(0, len(data), 997), *range(len(data) - 99, len(data))):
        cut.write_bytes(data[:length])
        shown = list(wandb_reading.records(cut))
        assert shown == whole[: len(shown)]


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


def test_every_row_has_the_time_of_its_event(make_ctx, make_event):
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    events = [make_event(5, {"loss": 1.0}), make_event(3, {"loss": 2.0})]
    for event in events:
        tracker.on_metric(ctx, event)
    tracker.on_metric(ctx, MetricEvent(1, "by hand", {"loss": 3.0}))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    *told, by_hand = Written(ctx.run_dir).times
    assert told == [datetime.fromisoformat(event.timestamp).timestamp() for event in events]
    assert by_hand > told[0]


@pytest.mark.slow
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


def test_log_calls_of_the_user_land_in_the_run_that_another_thread_follows(make_ctx, make_event):
    for number, name in enumerate(("one", "two")):
        ctx, tracker = make_ctx(name), WandbTracker()
        elsewhere(tracker.on_run_start, ctx, ctx.meta)
        with tracker.in_run(ctx):
            wandb.log({"mine": number})
            wandb.config.update({"also": number})
        elsewhere(tracker.on_metric, ctx, make_event(1, {"loss": 0.5}))
        elsewhere(tracker.on_run_end, ctx, {"status": "succeeded"})
        written = Written(ctx.run_dir)
        assert [row.get("mine") for row in written.rows] == [number, None]
        assert written.rows[1] == {"loss": 0.5, STEP_METRIC: 1}
        assert written.config["also"] == number


def follow(name, run_dir):
    """Follow a run from start to end; also in worker processes."""
    import logging

    ctx = RunContext(name, run_dir, {"name": name}, logging.getLogger("ztxexp.tests"))
    tracker = WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    for step in range(3):
        event = MetricEvent(step, "2026-01-02T03:04:05+00:00", {"of": float(name[1:])})
        tracker.on_metric(ctx, event)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    return os.getpid()


def assert_followed(ctx):
    written = Written(ctx.run_dir)
    assert (written.run.run_id, written.config["name"]) == (ctx.run_id, ctx.run_id)
    value = float(ctx.run_id[1:])
    assert written.rows == [{"of": value, STEP_METRIC: step} for step in range(3)]
    assert written.exit_code == 0


@pytest.mark.slow
def test_runs_in_several_threads_at_once_do_not_mix(make_ctx):
    ctxs = [make_ctx(f"r{number}") for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(follow, [c.run_id for c in ctxs], [c.run_dir for c in ctxs]))
    for ctx in ctxs:
        assert_followed(ctx)


@pytest.mark.slow
def test_worker_processes_follow_several_runs_each(make_ctx):
    ctxs = [make_ctx(f"r{number}") for number in range(4)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = [pool.submit(follow, ctx.run_id, ctx.run_dir) for ctx in ctxs]
        assert os.getpid() not in {job.result() for job in jobs}
    for ctx in ctxs:
        assert_followed(ctx)


@pytest.mark.slow
@pytest.mark.parametrize(("attempt", "replayed"), [(2, False), (1, True)])
def test_a_run_that_is_resumed_or_replayed_goes_on_under_its_id(
    make_ctx, make_event, attempt, replayed
):
    first, second = make_ctx(), make_ctx(meta=RunMetadata(attempt=attempt))
    second.replayed = replayed
    for ctx, step in ((first, 1), (second, 2)):
        tracker = WandbTracker()  # another process has another one
        tracker.on_run_start(ctx, ctx.meta)
        tracker.on_metric(ctx, make_event(step, {"loss": 0.5}))
        tracker.on_run_end(ctx, {"status": "succeeded"})
    before, after = (Written(first.run_dir, start, of=2) for start in (0, 1))
    assert (before.run.run_id, before.run.resume) == ("run-1", False)
    assert (after.run.run_id, after.run.resume) == ("run-1", True)
    assert before.run.start_time.ToNanoseconds() < after.run.start_time.ToNanoseconds()
    assert before.rows == [{"loss": 0.5, STEP_METRIC: 1}]
    assert after.rows == [{"loss": 0.5, STEP_METRIC: 2}]


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_a_run_whose_end_was_never_told_can_be_followed_again(make_ctx, make_event, same):
    tracker, ctx = WandbTracker(), make_ctx()
    tracker.on_run_start(ctx, ctx.meta)
    ctx.replayed = True
    again = tracker if same else WandbTracker()
    again.on_run_start(ctx, ctx.meta)
    again.on_metric(ctx, make_event(1, {"loss": 0.5}))
    with again.in_run(ctx):
        wandb.log({"mine": 1})
    again.on_run_end(ctx, {"status": "succeeded"})
    assert Written(ctx.run_dir, 0, of=2).exit_code == 1
    told, mine = Written(ctx.run_dir, 1, of=2).rows
    assert told == {"loss": 0.5, STEP_METRIC: 1}
    assert mine["mine"] == 1


def test_the_user_s_own_way_of_going_on_is_left_alone(make_ctx):
    ctx = make_ctx(meta=RunMetadata(attempt=2))
    tracker = WandbTracker(fork_from="other?_step=3")
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    run = Written(ctx.run_dir).run
    assert (run.branch_point.run, run.branch_point.value, run.resume) == ("other", 3, False)


def test_params_found_out_later_join_the_configuration(make_ctx):
    ctx, tracker = make_ctx(config={"lr": 0.1}), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_params(ctx, {"n": 7, "net": {"depth": 2}})
    tracker.on_params(ctx, {"n": 8, "lr": 0.2, "worst": float("inf")})
    tracker.on_run_end(ctx, {"status": "succeeded"})
    config = Written(ctx.run_dir).config
    assert (config["n"], config["net"], config["lr"]) == (8, {"depth": 2}, 0.2)
    assert config["worst"] == "Infinity"


def keep(ctx, name, content="x"):
    """Put a file where the core keeps artifacts."""
    path = ctx.artifacts_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_artifacts_arrive_under_names_that_wandb_accepts(make_ctx):
    ctx, tracker = make_ctx(), WandbTracker()
    keep(ctx, "not asked for.txt")
    tracker.on_run_start(ctx, ctx.meta)
    for name in ("model.PT", "figures/loss.png", "data.csv", "ein ähnlicher.txt", "x" * 200):
        tracker.on_artifact(ctx, keep(ctx, name, name), name)
    keep(ctx, "tables.csv/a.csv", "1234")
    keep(ctx, "tables.csv/b/c.txt", "12")
    tracker.on_artifact(ctx, ctx.artifacts_dir / "tables.csv", "tables.csv")
    tracker.on_run_end(ctx, {"status": "succeeded"})
    found = Written(ctx.run_dir).artifacts
    assert found.pop("run-1-model.PT") == [("model", {"model.PT": 8})]
    assert found.pop("run-1-figures--loss.png") == [("image", {"loss.png": 16})]
    assert found.pop("run-1-data.csv") == [("dataset", {"data.csv": 8})]
    assert found.pop("run-1-tables.csv") == [("artifact", {"a.csv": 4, "b/c.txt": 2})]
    (odd, _), (long, _) = sorted(found.items())
    assert odd.startswith("run-1-ein__hnlicher.txt-")
    assert long.startswith("run-1-xxx") and len(long) == 128


def test_all_artifacts_arrive_at_the_end_when_asked_for_and_none_twice(make_ctx):
    ctx, tracker = make_ctx(), WandbTracker(log_artifacts=True)
    tracker.on_run_start(ctx, ctx.meta)
    for name in ("model.pt", "figures/a.png", "figures/b.png", "logs/x.txt", "logs/y.txt"):
        keep(ctx, name)
    (ctx.artifacts_dir / "nothing").mkdir()
    for name in ("model.pt", "figures/a.png"):
        tracker.on_artifact(ctx, ctx.artifacts_dir / name, name)
    tracker.on_run_end(ctx, {"status": "failed"})
    written = Written(ctx.run_dir)
    assert {name: len(times) for name, times in written.artifacts.items()} == {
        "run-1-model.pt": 1,
        "run-1-figures--a.png": 1,
        "run-1-figures--b.png": 1,
        "run-1-logs": 1,
    }
    assert written.artifacts["run-1-logs"] == [("artifact", {"x.txt": 1, "y.txt": 1})]
    assert written.exit_code == 1
    assert written.summary["status"] == "failed"


def test_what_a_link_leads_out_of_the_artifacts_is_not_sent(make_ctx, tmp_path):
    ctx, tracker = make_ctx(), WandbTracker(log_artifacts=True)
    tracker.on_run_start(ctx, ctx.meta)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("k")
    for name in ("model.pt", "mixed/a.txt", "inner/b.txt"):
        keep(ctx, name)
    (ctx.artifacts_dir / "key").symlink_to(tmp_path / "secret" / "key")
    (ctx.artifacts_dir / "folder").symlink_to(tmp_path / "secret")
    (ctx.artifacts_dir / "mixed" / "key").symlink_to(tmp_path / "secret" / "key")
    (ctx.artifacts_dir / "inner" / "same").symlink_to("../model.pt")
    tracker.on_run_end(ctx, {"status": "succeeded"})
    names = {"run-1-model.pt", "run-1-mixed--a.txt", "run-1-inner"}
    assert Written(ctx.run_dir).artifacts.keys() == names


def test_a_link_in_the_place_of_its_folder_is_refused(make_ctx, tmp_path):
    ctx, tracker = make_ctx(), WandbTracker()
    (tmp_path / "outside").mkdir()
    (ctx.run_dir / "wandb").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="wandb is a link"):
        tracker.on_run_start(ctx, ctx.meta)
    assert not any((tmp_path / "outside").iterdir())


def test_without_artifacts_nothing_is_sought(make_ctx):
    ctx, tracker = make_ctx(), WandbTracker(log_artifacts=True)
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert Written(ctx.run_dir).artifacts == {}
    assert not ctx.artifacts_dir.exists()


def test_a_run_whose_service_has_died_does_not_break_later_ones(make_ctx, make_event):
    lost, after = make_ctx("lost"), make_ctx("after")
    tracker = WandbTracker()
    elsewhere(tracker.on_run_start, lost, lost.meta)
    killed = service()
    killed.kill()
    until(lambda: killed.status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(ConnectionError):
        while True:  # the client notices at the latest when its socket is full
            tracker.on_metric(lost, make_event(1, {"v": 1.0}))
    with pytest.raises(ConnectionError):
        elsewhere(tracker.on_run_end, lost, {"status": "failed"})
    elsewhere(tracker.on_run_start, after, after.meta)
    with tracker.in_run(after):
        wandb.log({"mine": 1})
    elsewhere(tracker.on_metric, after, make_event(2, {"v": 2.0}))
    elsewhere(tracker.on_run_end, after, {"status": "succeeded"})
    mine, told = Written(after.run_dir).rows
    assert mine["mine"] == 1
    assert told == {"v": 2.0, STEP_METRIC: 2}


def test_the_address_of_a_service_that_is_gone_is_forgotten(make_ctx, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_SERVICE", f"3-1-unix-{tmp_path}/nosuch")
    ctx, tracker = make_ctx(), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert Written(ctx.run_dir).exit_code == 0


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped")
def test_a_finish_that_takes_long_does_not_keep_later_runs_from_their_place(make_ctx):
    slow, after = make_ctx("slow"), make_ctx("after")
    tracker, other = WandbTracker(), WandbTracker()
    elsewhere(tracker.on_run_start, slow, slow.meta)
    stopped = service()
    stopped.suspend()
    try:
        ending = threading.Thread(target=tracker.on_run_end, args=(slow, {"status": "succeeded"}))
        ending.start()
        until(lambda: module._running == [])
        starting = threading.Thread(target=other.on_run_start, args=(after, after.meta))
        starting.start()
        until(module._starting.locked)
        assert ending.is_alive()
    finally:
        stopped.resume()
    starting.join()
    with other.in_run(after):
        wandb.log({"mine": 1})
        ending.join()
        wandb.log({"mine": 2})
    other.on_run_end(after, {"status": "succeeded"})
    assert [row["mine"] for row in Written(after.run_dir).rows] == [1, 2]
    assert Written(slow.run_dir).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        ({}, {"WANDB_MODE": "online"}, "uncategorized"),
        ({}, {"WANDB_MODE": "offline"}, "uncategorized (offline)"),
        ({"project": "p", "entity": "e"}, {"WANDB_MODE": "online"}, "e/p"),
        ({"project": "p", "mode": "offline"}, {"WANDB_MODE": "online"}, "p (offline)"),
        (
            {"mode": "online"},
            {
                "WANDB_PROJECT": "p",
                "WANDB_ENTITY": "e",
                "WANDB_BASE_URL": "https://user:secret@wandb.lab:8080/x",
            },
            "wandb.lab/e/p",
        ),
    ],
)
def test_the_destination_tells_host_entity_project_and_mode(
    arguments, environment, text, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert WandbTracker(**arguments).destination == text


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


def test_a_run_is_called_by_what_differs_in_its_sweep_and_keeps_its_id(make_ctx):
    ctx = make_ctx(meta=RunMetadata(run_name="lr=0.1 seed=2"))
    described = WandbTracker(project="p")._described(ctx, ctx.meta)
    assert (described["name"], described["id"]) == ("lr=0.1 seed=2", ctx.run_id)
    assert WandbTracker(project="p")._described(make_ctx(), RunMetadata())["name"] == ctx.run_id


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
    assert (run.run_id[:-8], run.display_name) == ("a-b-c-d-e-", "a#b:c?d%e")


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


def test_an_integer_that_no_float_holds_costs_itself_only(make_ctx, make_event):
    ctx, tracker = make_ctx(config={"lr": 0.1, "n": [10**400]}), WandbTracker()
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_metric(ctx, make_event(1, {"loss": 0.5, "huge": 10**400}))
    tracker.on_params(ctx, {"p": 10**400})
    tracker.on_run_end(ctx, {"status": "succeeded", "metrics": {"a": 1, "huge": 10**400}})
    written = Written(ctx.run_dir)
    assert written.rows == [{"loss": 0.5, STEP_METRIC: 1}]
    assert written.summary["metrics"] == {"a": 1, "huge": str(10**400)}
    assert (written.config["n"], written.config["p"]) == ([str(10**400)], str(10**400))


def test_names_that_are_too_long_stay_apart(make_ctx):
    tags, long = ["x" * 70 + end for end in "ab"], "e" * 200
    meta = RunMetadata(tags=tags, experiment_name=long, group=long)
    ctx, tracker = make_ctx(meta=meta), WandbTracker()
    tracker.on_run_start(ctx, meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    run = Written(ctx.run_dir).run
    assert len(set(run.tags)) == 2 and {len(tag) for tag in run.tags} == {64}
    assert len(run.run_group) == len(run.job_type) == 128


def test_an_artifact_whose_name_is_not_utf_8_costs_itself_only(make_ctx):
    ctx, tracker = make_ctx(), WandbTracker(log_artifacts=True)
    tracker.on_run_start(ctx, ctx.meta)
    keep(ctx, "logs/x.txt")
    try:
        keep(ctx, os.fsdecode(b"logs/r\xe9sultat.txt"))
    except (OSError, UnicodeError):
        pytest.skip("a file system without such names")
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert list(Written(ctx.run_dir).artifacts) == ["run-1-logs--x.txt"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"projct": "x"}, "no option 'projct'"),
        ({"mode": "ofline"}, "mode must be one of online, offline"),
        ({"project": "a/b"}, "no project 'a/b'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(options, text):
    with pytest.raises(ValueError, match=text):
        WandbTracker.check_options(**options)
    WandbTracker.check_options("digits", entity="us", mode="offline", monitor_gym=True, notes="n")


@pytest.mark.slow
def test_offline_a_run_is_known_while_its_folder_is_there(make_ctx, monkeypatch):
    ctx, tracker = make_ctx(), WandbTracker()
    assert not tracker.knows(ctx)
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert tracker.knows(ctx)
    (run,) = ctx.run_dir.glob("wandb/offline-run-*")
    shutil.rmtree(run)  # as wandb sync --clean does with what it has sent
    assert tracker.knows(ctx)
    shutil.rmtree(ctx.run_dir / "wandb")
    assert not tracker.knows(ctx)
    assert not WandbTracker(dir=str(ctx.run_dir)).knows(ctx)
    assert WandbTracker(mode="online").knows(ctx)  # nobody can tell
