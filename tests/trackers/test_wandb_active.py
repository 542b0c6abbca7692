"""The user's own calls of W&B while the experiment function runs."""

import contextlib
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import wandb_reading
from wandb_reading import Written, elsewhere, wandb

from ztxexp_core import SkipRun
from ztxexp_trackers.wandb import STEP_METRIC, WandbTracker

no_run_left, staging_folder = wandb_reading.no_run_left, wandb_reading.staging_folder
pytestmark = pytest.mark.usefixtures("no_run_left", "staging_folder")


@pytest.fixture
def follow(make_ctx, make_event):
    """Return a function that follows a run as the core does, around a function of the user's.

    The user's function gets a function that lets the tracker have an event at once.
    """

    def run(body, name="run-1", tracker=None):
        ctx, tracker = make_ctx(name), tracker or WandbTracker()
        elsewhere(tracker.on_run_start, ctx, ctx.meta)
        with tracker.in_run(ctx):
            body(lambda step, metrics: elsewhere(tracker.on_metric, ctx, make_event(step, metrics)))
        elsewhere(tracker.on_run_end, ctx, {"status": "succeeded", "metrics": {"acc": 0.5}})
        return Written(ctx.run_dir)

    return run


def user_rows(written, key="mine"):
    return [row for row in written.rows if key in row]


# ---- rows --------------------------------------------------------------------------------------


def test_a_row_without_a_step_is_not_drawn_at_a_step_of_the_trackers(follow):
    def body(told):
        for epoch in range(3):
            told(epoch, {"loss": 1.0})
            wandb.log({"mine": epoch})

    written = follow(body)
    assert user_rows(written) == [{"mine": epoch} for epoch in range(3)]
    assert [row[STEP_METRIC] for row in written.rows if "loss" in row] == [0, 1, 2]


def test_a_row_with_a_step_arrives_at_that_step(follow):
    def body(told):
        for epoch in (5, 6, 2):
            for _ in range(9):  # W&B's own step runs ahead
                told(epoch, {"loss": 1.0})
            wandb.log({"mine": epoch}, step=epoch)
            wandb.run.log({"other": epoch}, step=epoch)

    written = follow(body)
    for key in ("mine", "other"):
        assert user_rows(written, key) == [{key: e, STEP_METRIC: e} for e in (5, 6, 2)]


def test_after_a_row_with_a_step_it_is_counted_on_from_there(follow):
    def body(told):
        wandb.log({"mine": 0}, step=10)
        wandb.log({"mine": 1})
        told(0, {"loss": 1.0})
        wandb.log({"mine": 2})
        wandb.log({"mine": 3})

    steps = [(row["mine"], row[STEP_METRIC]) for row in user_rows(follow(body))]
    assert steps == [(0, 10), (1, 10), (2, 11), (3, 12)]


def test_an_incomplete_row_does_not_become_part_of_the_trackers(follow):
    def body(told):
        wandb.log({"mine": 1}, commit=False)
        told(7, {"loss": 1.0})
        wandb.log({"more": 2})

    assert follow(body).rows == [{"mine": 1}, {"loss": 1.0, STEP_METRIC: 7}, {"more": 2}]


def test_an_axis_that_the_user_has_chosen_stays(follow, monkeypatch):
    defined = []

    def body(told):
        write = wandb.run._metric_callback
        monkeypatch.setattr(
            wandb.run, "_metric_callback", lambda m: (defined.append(m), write(m)), raising=True
        )
        wandb.define_metric("mine", step_metric="epoch")
        wandb.define_metric("val/*", step_metric="epoch")
        wandb.log({"mine": 1, "val/loss": 2, "other": 3, "a.b": 4, "epoch": 1}, step=4)
        told(1, {"loss": 1.0})

    follow(body)
    axes = {m.name or m.glob_name: m.step_metric for m in defined}
    assert axes["mine"] == axes["val/*"] == "epoch"
    assert "val/loss" not in axes
    assert axes["other"] == axes["loss"] == axes["a*"] == STEP_METRIC


def test_what_wandb_refuses_is_refused_with_its_own_words(follow):
    def body(told):
        with pytest.raises(TypeError, match="dictionary"):
            wandb.log(3)
        with pytest.raises(TypeError, match="strings"):
            wandb.log({1: 2}, step=None)
        wandb.log({"mine": 1})

    assert user_rows(follow(body)) == [{"mine": 1}]


# ---- init and finish -----------------------------------------------------------------------------


def test_the_tutorials_init_gives_the_trackers_run_and_does_not_end_it(follow):
    def body(told):
        with wandb.init(project="mine", config={"depth": 3}, notes="hello", tags=["t"]) as run:
            assert run is wandb.run
            assert wandb.config["depth"] == 3
            run.log({"mine": 1})
        wandb.finish()
        told(1, {"loss": 2.0})
        wandb.log({"mine": 2})

    written = follow(body)
    assert [row["mine"] for row in user_rows(written)] == [1, 2]
    assert {"loss": 2.0, STEP_METRIC: 1} in written.rows
    assert (written.config["depth"], written.config["lr"]) == (3, 0.1)
    assert written.summary["metrics"] == {"acc": 0.5}
    assert written.exit_code == 0


def test_another_run_of_the_function_is_its_own_and_ends_with_it(follow, tmp_path):
    def body(told):
        other = wandb.init(id="fold", project="mine", dir=tmp_path)
        other.log({"own": 1})
        again = wandb.init(reinit="finish_previous", dir=tmp_path / "again", id="second")
        again.log({"own": 2})
        told(1, {"loss": 2.0})

    written = follow(body)
    assert written.rows == [{"loss": 2.0, STEP_METRIC: 1}]
    assert (Written(tmp_path).rows, Written(tmp_path).exit_code) == ([{"own": 1}], 0)
    assert Written(tmp_path / "again").rows == [{"own": 2}]
    assert wandb.run is None


@pytest.mark.slow
@pytest.mark.parametrize(("raised", "code"), [(ValueError, 1), (SkipRun, 0)])
def test_without_a_run_of_the_trackers_what_the_function_leaves_open_is_ended(
    make_ctx, tmp_path, raised, code
):
    tracker, ctx = WandbTracker(), make_ctx()  # its start failed, or has taken too long
    for name in ("a", "b"):
        with pytest.raises(raised), tracker.in_run(ctx):
            wandb.init(dir=tmp_path / name)
            wandb.log({"of": name})
            raise raised
        written = Written(tmp_path / name)
        assert (written.rows, written.exit_code) == ([{"of": name}], code)
        assert wandb.run is None


def test_a_run_around_the_launch_is_the_present_one_again(follow, tmp_path):
    outer = wandb.init(dir=tmp_path / "outer")

    def body(told):
        with wandb.init(project="x") as run:
            assert wandb.run is run is not outer
            wandb.log({"mine": 1})

    assert user_rows(follow(body)) == [{"mine": 1}]
    assert wandb.run is outer
    outer.finish()
    assert Written(tmp_path / "outer").rows == []


def test_init_is_wandbs_own_again_afterwards(follow):
    before = wandb.init
    follow(lambda told: None)
    assert wandb.init is before


# ---- two trackers ------------------------------------------------------------------------------


def test_two_projects_get_the_run_and_keep_it_when_it_goes_on(make_ctx, make_event, tmp_path):
    ctx, folders = make_ctx(), [tmp_path / name for name in "ab"]
    trackers = [WandbTracker(folder.name, dir=str(folder)) for folder in folders]
    for tracker in trackers:
        tracker.on_run_start(ctx, ctx.meta)
    for tracker in trackers:
        tracker.on_metric(ctx, make_event(1, {"loss": 0.5}))
        tracker.on_run_end(ctx, {"status": "succeeded"})
    first, second = map(Written, folders)
    assert (first.run.project, second.run.project) == ("a", "b")
    assert first.rows == second.rows == [{"loss": 0.5, STEP_METRIC: 1}]
    assert first.run.run_id == "run-1" != second.run.run_id
    ctx.replayed = True
    again = WandbTracker("b", dir=str(tmp_path / "later"))
    again.on_run_start(ctx, ctx.meta)
    again.on_run_end(ctx, {"status": "succeeded"})
    assert Written(tmp_path / "later").run.run_id == second.run.run_id


def test_after_runs_of_its_own_the_function_goes_on_with_a_trackers_run(make_ctx, tmp_path):
    ctx, folders = make_ctx(), [tmp_path / name for name in "ab"]
    trackers = [WandbTracker(folder.name, dir=str(folder)) for folder in folders]
    for tracker in trackers:
        elsewhere(tracker.on_run_start, ctx, ctx.meta)
    with trackers[0].in_run(ctx), trackers[1].in_run(ctx):
        for fold in range(2):
            wandb.init(reinit="finish_previous", dir=tmp_path / f"fold{fold}")
            wandb.log({"fold": fold})
            wandb.finish()
        wandb.init(config={"depth": 3})
        wandb.log({"mine": wandb.config.depth})
    for tracker in trackers:
        elsewhere(tracker.on_run_end, ctx, {"status": "succeeded"})
    assert [Written(tmp_path / f"fold{fold}").rows for fold in range(2)] == [
        [{"fold": 0}],
        [{"fold": 1}],
    ]
    assert [row for folder in folders for row in Written(folder).rows] == [{"mine": 3}]


# ---- several runs in a process, and names from before --------------------------------------------


def test_functions_at_once_in_one_process_have_each_its_own_run(make_ctx, make_event, tmp_path):
    tracker, barrier = WandbTracker(), threading.Barrier(3, timeout=60)

    def carry_out(number):
        ctx = make_ctx(f"run-{number}")
        elsewhere(tracker.on_run_start, ctx, ctx.meta)
        with tracker.in_run(ctx):
            barrier.wait()
            assert wandb.run.id == ctx.run_id
            wandb.log({"mine": number})
            barrier.wait()
            wandb.config.update({"also": number})
            wandb.init(config={"depth": number}).log({"by run": number}, step=number)
            if number == 1:
                wandb.init(reinit="finish_previous", dir=tmp_path / "own")
                wandb.log({"own": number})
                wandb.finish()
            barrier.wait()
            wandb.log({"mine": number + 10}, step=number)
        elsewhere(tracker.on_metric, ctx, make_event(1, {"loss": 1.0}))
        elsewhere(tracker.on_run_end, ctx, {"status": "succeeded"})
        return ctx

    with ThreadPoolExecutor(3) as pool:
        for number, ctx in enumerate(pool.map(carry_out, range(3))):
            written = Written(ctx.run_dir)
            assert [row["mine"] for row in user_rows(written)] == [number, number + 10]
            assert user_rows(written, "by run") == [{"by run": number, STEP_METRIC: number}]
            assert (written.config["also"], written.config["depth"]) == (number, number)
            assert (written.exit_code, "own" in str(written.rows)) == (0, False)
    assert Written(tmp_path / "own").rows == [{"own": 1}]
    assert wandb.run is None and type(wandb) is type(contextlib)


def test_names_that_were_imported_before_the_run_or_in_an_earlier_one_work(follow):
    from wandb import finish, init, log, save

    names = {}

    def body(told):
        with init(config={"depth": 3}):
            log({"mine": 1}, step=2)
        finish()
        assert callable(save)
        names["log"] = names.get("log", wandb.log)  # as a module that a run imports has it
        names["log"]({"later": 1})

    for name in ("run-1", "run-2"):
        written = follow(body, name)
        assert user_rows(written) == [{"mine": 1, STEP_METRIC: 2}]
        assert [row["later"] for row in user_rows(written, "later")] == [1]
        assert written.config["depth"] == 3
    with pytest.raises(wandb.Error, match=r"wandb\.init"):
        log({"mine": 2})


def test_a_thread_of_the_function_has_its_run(follow):
    written = follow(lambda told: elsewhere(wandb.log, {"mine": 1}))
    assert user_rows(written) == [{"mine": 1}]


def test_without_a_run_of_the_trackers_calls_go_nowhere_with_a_word(make_ctx, caplog, tmp_path):
    tracker, ctx = WandbTracker(), make_ctx()
    with tracker.in_run(ctx):
        wandb.log({"mine": 1})
        wandb.config.update({"also": 1})
        wandb.log({"mine": 2})
        with wandb.init(dir=tmp_path / "own"):
            wandb.log({"own": 1})
    assert caplog.text.count("wandb.log(...) goes nowhere") == 1
    assert Written(tmp_path / "own").rows == [{"own": 1}]
    assert wandb.run is None


def test_calls_of_the_function_wait_for_a_start_that_takes_long(make_ctx, monkeypatch):
    tracker, ctx, waits = WandbTracker(), make_ctx(), threading.Event()
    start = tracker._start
    begun = threading.Event()
    monkeypatch.setattr(
        tracker, "_start", lambda *args: (begun.set(), waits.wait(60), start(*args))
    )
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(tracker.on_run_start, ctx, ctx.meta)
        assert begun.wait(60)
        with tracker.in_run(ctx):
            assert wandb.run is None
            threading.Timer(0.2, waits.set).start()
            wandb.log({"mine": 1})
            assert wandb.run.id == ctx.run_id
            wandb.finish()
        starting.result()
        pool.submit(tracker.on_run_end, ctx, {"status": "succeeded"}).result()
    assert Written(ctx.run_dir).rows == [{"mine": 1}]
    assert Written(ctx.run_dir).exit_code == 0


def test_a_script_s_names_of_wandb_mean_the_same_in_its_workers():
    from wandb import define_metric, log

    WandbTracker.check_options(mode="offline")
    assert pickle.loads(pickle.dumps([log, define_metric])) == [log, define_metric]
