"""The mlflow tracker, against a real database: what arrived is read back."""

import contextlib
import os
import subprocess
import sys

import mlflow_reading
import pytest
from mlflow_reading import curve, follow, history, mlflow, stored, telling

from ztxexp import ExperimentPipeline, sync
from ztxexp_core import ConfigError, RunMetadata
from ztxexp_trackers.mlflow import MlflowTracker

empty_store, uri = mlflow_reading.empty_store, mlflow_reading.uri
process_unchanged = mlflow_reading.process_unchanged
pytestmark = pytest.mark.usefixtures("process_unchanged")


def test_a_run_arrives_whole(uri, make_ctx, make_event):
    meta = RunMetadata(experiment_name="exp", group="g", parent_run_id="p", tags={"team": "t"})
    config = {"lr": 1e-05, "net": {"depth": 2, "sizes": (3, 4)}, "on": True, "none": None, "e": {}}
    ctx = make_ctx(config=config, meta=meta)
    events = [make_event(step, {"loss": 1.0 / step}) for step in (1, 2)]
    follow(MlflowTracker(uri), ctx, events, metrics={"score": 0.5, "sub": {"n": 2}})

    run = stored(uri, "exp")["run-1"]
    assert run.info.run_name == "run-1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "lr": "1e-05",
        "net.depth": "2",
        "net.sizes": "[3,4]",
        "on": "True",
        "none": "None",
        "e": "{}",
    }
    tags = {"run_id": "run-1", "group": "g", "parent_run_id": "p", "team": "t"}
    assert {**tags, "status": "succeeded"}.items() <= run.data.tags.items()
    assert run.data.metrics == {"loss": 0.5, "score": 0.5, "sub.n": 2.0}
    assert curve(uri, run, "loss") == [(1, 1.0), (2, 0.5)]
    assert curve(uri, run, "score") == [(2, 0.5)]


@pytest.mark.slow
def test_a_launch_names_runs_by_what_differs_and_sync_gives_the_same_names(uri, tmp_path):
    space = {"lr": [0.1, 0.25], "depth": [3], "text": ["x" * 200]}
    pipeline = ExperimentPipeline(tmp_path / "r").grid(space).track("mlflow", tracking_uri=uri)
    pipeline.run(lambda ctx: {"loss": 1.0}, progress=False)
    names = {run_id: run.info.run_name for run_id, run in stored(uri).items()}
    assert sorted(name.partition(" ")[2] for name in names.values()) == ["lr=0.1", "lr=0.25"]
    assert set(names) == {path.parent.name for path in (tmp_path / "r").glob("*/run.json")}
    other = f"sqlite:///{tmp_path}/other.db"
    sync(tmp_path / "r", "mlflow", tracking_uri=other)
    assert {run_id: run.info.run_name for run_id, run in stored(other).items()} == names


# ---- metrics and figures -----------------------------------------------------------------------


def test_a_metric_keeps_the_time_of_its_event(uri, make_ctx, make_event):
    follow(MlflowTracker(uri), make_ctx(), [make_event(7, {"loss": 1.0})])
    (metric,) = history(uri, stored(uri)["run-1"], "loss")
    assert (metric.step, metric.timestamp) == (7, 1767323047500)


def test_an_event_on_its_own_arrives_too(uri, make_ctx, make_event):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    tracker.on_metric(ctx, make_event(1, {"loss": 1.0}))
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert curve(uri, stored(uri)["run-1"], "loss") == [(1, 1.0)]


def test_splits_have_curves_of_their_own(uri, make_ctx, make_event):
    events = [make_event(2, {"loss": 1.0}), make_event(1, {"loss": 3.0}, split="valid")]
    follow(MlflowTracker(uri), make_ctx(), events)
    run = stored(uri)["run-1"]
    assert curve(uri, run, "loss") == [(2, 1.0)]
    assert curve(uri, run, "valid/loss") == [(1, 3.0)]


def test_as_many_events_as_come_at_once_arrive(uri, make_ctx, make_event):
    events = [make_event(step, {"a": step, "b": -step, "c": 0.5}) for step in range(1000)]
    follow(MlflowTracker(uri), make_ctx(), events)
    run = stored(uri)["run-1"]
    assert sorted(curve(uri, run, "b")) == [(step, float(-step)) for step in range(1000)]
    assert len(curve(uri, run, "c")) == 1000


def test_the_points_of_a_later_attempt_are_kept_and_can_be_told_apart(uri, make_ctx, make_event):
    ctx = make_ctx()
    events = [make_event(1, {"loss": 4.0}), make_event(2, {"loss": 3.0})]
    again = [make_event(step + 30, {"loss": 2.0 / step}) for step in (1, 2)]
    for number, event in enumerate(again, 1):
        event.step, event.attempt = number, 2
    follow(MlflowTracker(uri), ctx, [*events, *again], attempt=2, retry_count=1)
    run = stored(uri)["run-1"]
    since = run.data.tags["attempt_2_since"]
    assert since == again[0].timestamp
    assert (run.data.tags["attempt"], run.data.tags["retry_count"]) == ("2", "1")
    points = {(m.step, m.value): m.timestamp for m in history(uri, run, "loss")}
    assert set(points) == {(1, 4.0), (2, 3.0), (1, 2.0), (2, 1.0)}
    assert points[2, 3.0] < points[1, 2.0] < points[2, 1.0]


def test_figures_that_are_not_finite_arrive(uri, make_ctx, make_event):
    nan, inf = float("nan"), float("inf")
    events = [make_event(1, {"a": nan, "b": inf})]
    follow(MlflowTracker(uri), make_ctx(), events, metrics={"c": nan, "d": "-Infinity"})
    metrics = stored(uri)["run-1"].data.metrics
    assert metrics["a"] != metrics["a"] and metrics["c"] != metrics["c"]
    assert metrics["b"] > 1e300
    assert metrics["d"] < -1e300
    assert set(metrics) == {"a", "b", "c", "d"}


def test_a_figure_larger_than_any_float_does_not_cost_the_others(uri, make_ctx, make_event):
    follow(MlflowTracker(uri), make_ctx(), [make_event(1, {"huge": -(10**400), "a": 1.0})])
    metrics = stored(uri)["run-1"].data.metrics
    assert metrics == {"a": 1.0}


def test_a_returned_integer_larger_than_any_float_is_kept_as_a_tag(uri, make_ctx):
    follow(MlflowTracker(uri), make_ctx(), metrics={"huge": 10**400, "a": 1})
    run = stored(uri)["run-1"]
    assert run.data.metrics == {"a": 1.0}
    assert run.data.tags["result.huge"] == str(10**400)


def test_returned_values_that_are_no_numbers_become_tags(uri, make_ctx, caplog):
    returned = {"best": "epoch-3", "ok": True, "sizes": [1, 2], "text": "x" * 9000, "n": 1}
    follow(MlflowTracker(uri), make_ctx(), metrics=returned)
    run = stored(uri)["run-1"]
    tags = {name: run.data.tags[f"result.{name}"] for name in ("best", "ok", "sizes", "text")}
    assert tags.pop("text") == "x" * 4997 + "..."
    assert tags == {"best": "epoch-3", "ok": "True", "sizes": "[1,2]"}
    assert run.data.metrics == {"n": 1.0}
    assert "beginning of the long tag result.text" in caplog.text


# ---- how it ended ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "reason", "stands"),
    [
        ("succeeded", None, "FINISHED"),
        ("skipped", None, "FINISHED"),
        ("failed", "exception", "FAILED"),
        ("failed", None, "FAILED"),
        *[("failed", why, "KILLED") for why in ("killed", "oom", "timeout", "lost", "interrupted")],
        ("running", None, "RUNNING"),
    ],
)
def test_the_end_is_told_truly(uri, make_ctx, status, reason, stands):
    follow(MlflowTracker(uri), make_ctx(), status=status, reason=reason)
    run = stored(uri)["run-1"]
    assert run.info.status == stands
    assert (run.data.tags["status"], run.data.tags.get("reason")) == (status, reason)


def test_a_failure_tells_its_error(uri, make_ctx):
    error = {"error_type": "ValueError", "error_message": "lr\n" + "x" * 9000}
    follow(MlflowTracker(uri), make_ctx(), status="failed", **error)
    tags = stored(uri)["run-1"].data.tags
    assert tags["error_type"] == "ValueError"
    assert tags["error_message"].startswith("lr\nxxx") and len(tags["error_message"]) == 5000


def test_figures_that_are_refused_do_not_leave_the_run_open(uri, make_ctx):
    with pytest.raises(ConfigError, match="bad"):
        follow(MlflowTracker(uri), make_ctx(), status="failed", metrics={"bad": lambda: 1})
    assert stored(uri)["run-1"].info.status == "FAILED"


def test_while_a_run_goes_on_it_says_so(uri, make_ctx):
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    run = stored(uri)["run-1"]
    assert (run.info.status, run.data.tags["status"]) == ("RUNNING", "running")
    tracker.on_run_end(ctx, {"status": "succeeded"})


# ---- tags --------------------------------------------------------------------------------------


def test_tags_tell_where_a_run_comes_from(uri, make_ctx):
    meta = RunMetadata(
        experiment_name="theirs",
        attempt=1,
        git_commit="abc123",
        hostname="node7",
        started_cmd="'my train.py' --lr 1",
        dataset_version="v3",
        tags=["smoke", "a@b"],
    )
    follow(MlflowTracker(uri, "ours", "nice name"), make_ctx(meta=meta), attempt=1, retry_count=0)
    run = stored(uri, "ours")["run-1"]
    expected = {
        "experiment_name": "theirs",
        "attempt": "1",
        "retry_count": "0",
        "hostname": "node7",
        "dataset_version": "v3",
        "smoke": "true",
        "a_b-86b51c3f": "true",
        "mlflow.source.git.commit": "abc123",
        "mlflow.source.name": "my train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.runName": "nice name",
    }
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.user"]


def test_tags_of_the_user_do_not_replace_those_of_the_tracker(uri, make_ctx, caplog):
    meta = RunMetadata(tags={"run_id": "mine", "reason": "why not", "mlflow.note.content": "text"})
    follow(MlflowTracker(uri), make_ctx(meta=meta), status="failed", reason="oom")
    tags = stored(uri)["run-1"].data.tags
    own = {name[:-8]: text for name, text in tags.items() if text in ("mine", "why not")}
    assert own == {"run_id-": "mine", "reason-": "why not"}
    assert tags["reason"] == "oom"
    assert tags["mlflow.note.content"] == "text"
    assert "the tag 'run_id' as 'run_id-" in caplog.text


def test_a_run_lies_below_its_parent_where_that_is_there(uri, make_ctx):
    tracker = MlflowTracker(uri)
    follow(tracker, make_ctx("parent"))
    for run_id, parent in (("child", "parent"), ("orphan", "nobody"), ("own", "own")):
        follow(tracker, make_ctx(run_id, meta=RunMetadata(parent_run_id=parent)))
    runs = stored(uri)
    below = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    parent = runs["parent"].info.run_id
    assert below == {"parent": None, "child": parent, "orphan": None, "own": None}
    assert runs["orphan"].data.tags["parent_run_id"] == "nobody"


# ---- parameters --------------------------------------------------------------------------------


def test_names_that_mlflow_refuses_are_made_to_fit_and_stay_apart(
    uri, make_ctx, make_event, caplog
):
    odd = {"a@b": 1, "a#b": 2, "/x": 3, "k" * 300: 4, "k" * 299: 5, "../up": 6}
    ctx = make_ctx(config={**odd, "s" * 249 + "/t": 7})
    follow(MlflowTracker(uri), ctx, [make_event(1, {"acc@1": 0.5, "acc#1": 0.25, "": 1.0})])
    run = stored(uri)["run-1"]
    long = {key: value for key, value in run.data.params.items() if key[0] in "ks"}
    assert sorted(long.values()) == ["4", "5", "7"]
    assert all(len(key) <= 250 for key in long)
    rest = {key: value for key, value in run.data.params.items() if key not in long}
    without_marks = sorted((name[:-9], value) for name, value in rest.items())
    assert without_marks == [("a_b", "1"), ("a_b", "2"), ("up", "6"), ("x", "3")]
    assert sorted((name[:-9], v) for name, v in run.data.metrics.items()) == [
        ("_", 1.0),
        ("acc_1", 0.25),
        ("acc_1", 0.5),
    ]
    for said in ("parameter 'a#b' as 'a_b-", "parameter '/x' as 'x-", "metric 'acc@1' as 'acc_1-"):
        assert said in caplog.text


def test_a_name_that_is_made_to_fit_does_not_depend_on_the_others(uri, make_ctx, make_event):
    names = ["acc@1", "acc#1", "acc_1", "k" * 300]
    for run_id, order in (("a", names), ("b", names[::-1])):
        events = [make_event(step, {name: len(name) + 0.5}) for step, name in enumerate(order)]
        follow(MlflowTracker(uri), make_ctx(run_id), [*events, make_event(9, {"acc@1": 0.0})])
    runs = stored(uri)
    assert runs["a"].data.metrics == runs["b"].data.metrics
    assert len(runs["a"].data.metrics) == 4
    assert runs["a"].data.metrics["acc_1"] == 5.5


def test_long_values_and_many_parameters_arrive(uri, make_ctx, caplog):
    config = {f"p{i}": i for i in range(250)} | {f"long{i}": "é" * 7000 for i in range(25)}
    follow(MlflowTracker(uri), make_ctx(config={**config, "empty": ""}))
    params = stored(uri)["run-1"].data.params
    assert len(params) == 276
    assert params["long3"] == "é" * 5997 + "..."
    assert params["empty"] == ""
    assert "beginning of the long value of long3" in caplog.text


def test_parameters_may_come_later(uri, make_ctx):
    ctx, tracker = make_ctx(config={"lr": 0.1}), MlflowTracker(uri)
    with telling(tracker, ctx) as tell:
        tell("on_run_start", ctx.meta)
        tell("on_params", {"model": {"size": 12}, "lr": 0.1})
        tell("on_run_end", {"status": "succeeded"})
    assert stored(uri)["run-1"].data.params == {"lr": "0.1", "model.size": "12"}


def test_a_parameter_that_changes_keeps_its_value_and_costs_no_other(uri, make_ctx, caplog):
    ctx, tracker = make_ctx(config={"lr": 0.1}), MlflowTracker(uri)
    with telling(tracker, ctx) as tell:
        tell("on_run_start", ctx.meta)
        with tracker.in_run(ctx):
            mlflow.log_param("theirs", 1)
        tell("on_params", {"lr": 0.2, "theirs": 2, "size": 12})
        tell("on_run_end", {"status": "succeeded"})
    assert stored(uri)["run-1"].data.params == {"lr": "0.1", "theirs": "1", "size": "12"}
    assert "keeps the parameter lr = '0.1' and does not take '0.2'" in caplog.text
    assert "keeps the parameter theirs = '1' and does not take '2'" in caplog.text


def test_a_configuration_that_cannot_be_sent_makes_no_run(uri, make_ctx):
    ctx = make_ctx(config={"bad": lambda: 1})
    with pytest.raises(ConfigError, match="bad"):
        MlflowTracker(uri).on_run_start(ctx, ctx.meta)
    assert stored(uri) == {}


# ---- experiments -------------------------------------------------------------------------------


def test_an_experiment_of_the_user_is_no_obstacle_and_stays(uri, make_ctx):
    mlflow.set_tracking_uri(uri)
    try:
        theirs = mlflow.set_experiment("theirs")
        follow(MlflowTracker(experiment_name="ours"), make_ctx("a"))
        follow(MlflowTracker(), make_ctx("b"))
        assert os.environ["MLFLOW_EXPERIMENT_ID"] == theirs.experiment_id
    finally:
        mlflow.tracking.fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        mlflow.set_tracking_uri(None)
    assert (list(stored(uri, "ours")), list(stored(uri, "theirs"))) == (["a"], ["b"])


def test_the_experiment_in_the_environment_counts_where_no_other_is_given(
    uri, make_ctx, monkeypatch
):
    number = mlflow.MlflowClient(uri).create_experiment("numbered")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_ID", number)
        follow(MlflowTracker(uri), make_ctx("a"))
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "named")
        follow(MlflowTracker(uri), make_ctx("b"))
        follow(MlflowTracker(uri, "given"), make_ctx("c"))
    runs = {name: list(stored(uri, name)) for name in ("numbered", "named", "given")}
    assert runs == {"numbered": ["a"], "named": ["b"], "given": ["c"]}


def test_an_experiment_that_was_deleted_is_explained(uri, make_ctx):
    client = mlflow.MlflowClient(uri)
    client.delete_experiment(client.create_experiment("gone"))
    ctx = make_ctx()
    with pytest.raises(ConfigError, match=r"'gone' was deleted; restore it .*experiment_name"):
        MlflowTracker(uri, "gone").on_run_start(ctx, ctx.meta)


def test_a_run_id_in_the_environment_does_not_make_one_run_of_a_sweep(uri, make_ctx, monkeypatch):
    mine = mlflow.MlflowClient(uri).create_run("0").info.run_id
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", mine)
        for name in ("a", "b"):
            follow(MlflowTracker(uri), make_ctx(name, {"name": name}))
        assert os.environ["MLFLOW_RUN_ID"] == mine
    runs = mlflow.MlflowClient(uri).search_runs(["0"])
    params = {run.info.run_id: run.data.params for run in runs}
    assert params.pop(mine) == {}
    assert sorted(p["name"] for p in params.values()) == ["a", "b"]


# ---- stores ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_store_that_is_not_there_yet(tmp_path):
    code = (
        "import logging, pathlib, sys\n"
        "from ztxexp_core import RunContext, RunMetadata\n"
        "from ztxexp_trackers.mlflow import MlflowTracker\n"
        "ctx = RunContext(sys.argv[1], pathlib.Path('.'), {}, logging.getLogger('x'))\n"
        "tracker = MlflowTracker('sqlite:///store.db', 'new')\n"
        "tracker.on_run_start(ctx, RunMetadata())\n"
        "tracker.on_run_end(ctx, {'status': 'succeeded', 'metrics': {'v': 1}})\n"
    )
    names = ["a", "b", "c"]
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", code, name]))
            for name in names
        ]
        assert [process.wait(150) for process in started] == [0, 0, 0]
    runs = stored(f"sqlite:///{tmp_path / 'store.db'}", "new")
    assert sorted(runs) == names
    assert all(run.data.metrics == {"v": 1.0} for run in runs.values())
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]


@pytest.mark.slow
def test_without_any_setting_the_store_is_a_database_in_the_working_folder(make_ctx, tmp_path):
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: an old store of MLflow 2\n")
    follow(MlflowTracker(), make_ctx())
    assert list(stored(f"sqlite:///{tmp_path / 'mlflow.db'}")) == ["run-1"]


def test_mlflows_own_setting_counts(uri, make_ctx, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        follow(MlflowTracker(), make_ctx())
        assert os.environ["MLFLOW_TRACKING_URI"] == uri
    assert list(stored(uri)) == ["run-1"]


def test_a_run_may_change_the_working_folder(uri, make_ctx, make_event, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()

    def body():
        monkeypatch.chdir(tmp_path / "elsewhere")
        mlflow.log_metric("mine", 1.0)

    follow(MlflowTracker("sqlite:///store.db"), make_ctx(), [make_event(1, {"a": 2.0})], body)
    assert stored(uri)["run-1"].data.metrics == {"mine": 1.0, "a": 2.0}


@pytest.mark.parametrize("kind", [str, os.fspath, lambda path: path, lambda path: path.as_uri()])
def test_a_plain_folder_is_explained(make_ctx, tmp_path, kind):
    ctx, tracker = make_ctx(), MlflowTracker(kind(tmp_path / "mlruns"))
    with pytest.raises(ConfigError, match=r"plain folder.*sqlite:///mlflow\.db"):
        tracker.on_run_start(ctx, ctx.meta)


def test_a_database_in_no_folder_is_explained(make_ctx):
    ctx = make_ctx()
    with pytest.raises(ConfigError, match=r"no folder .*missing.*make the folder"):
        MlflowTracker("sqlite:///missing/mlflow.db").on_run_start(ctx, ctx.meta)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("sqlite:////data/mlflow.db",), "sqlite:////data/mlflow.db"),
        (("sqlite:////data/mlflow.db", "digits"), "sqlite:////data/mlflow.db experiment digits"),
        (("https://me:p@ss@host:5000/x?token=1", "e"), "https://host:5000/x experiment e"),
    ],
)
def test_the_destination_tells_where_runs_go_and_no_password(given, said):
    assert MlflowTracker(*given).destination == said


def test_the_destination_is_the_same_whoever_asks(uri, make_ctx, tmp_path, monkeypatch):
    whole = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert MlflowTracker().destination == whole
    assert MlflowTracker("sqlite:///mlflow.db").destination == whole
    ctx, tracker = make_ctx(), MlflowTracker(uri)
    tracker.on_run_start(ctx, ctx.meta)
    with tracker.in_run(ctx):  # another tracker, asked while this one's address is set
        assert MlflowTracker().destination == whole
    tracker.on_run_end(ctx, {"status": "succeeded"})
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
        assert MlflowTracker().destination == "http://host:5000"


def test_the_destination_is_told_without_importing_mlflow(without):
    said = without(
        "mlflow",
        """
        from ztxexp_trackers.mlflow import MlflowTracker

        print(MlflowTracker("http://host").destination, MlflowTracker().destination)
        """,
    )
    assert said.startswith("http://host sqlite:///") and said.endswith("mlflow.db\n")


# ---- the rest ----------------------------------------------------------------------------------


def test_calls_without_a_start_do_nothing(make_ctx, make_event, tmp_path):
    ctx, tracker = make_ctx(), MlflowTracker(f"sqlite:///{tmp_path / 'store.db'}")
    tracker.on_metrics(ctx, [make_event(1, {"a": 1.0})])
    tracker.on_params(ctx, {"a": 1})
    tracker.on_artifact(ctx, tmp_path, "a")
    with tracker.in_run(ctx):
        assert mlflow.active_run() is None
    tracker.on_run_end(ctx, {"status": "succeeded"})
    assert not (tmp_path / "store.db").exists()


def test_the_arguments_are_public_attributes():
    tracker = MlflowTracker("u", "e", "r", True)
    assert (tracker.tracking_uri, tracker.experiment_name, tracker.run_name) == ("u", "e", "r")
    assert tracker.log_artifacts is True
    assert vars(MlflowTracker())["tracking_uri"] is None


def test_without_mlflow_the_module_imports_and_the_error_tells_what_to_install(without):
    said = without(
        "mlflow",
        """
        import logging, pathlib
        from ztxexp_core import PluginImportError, RunContext, RunMetadata
        from ztxexp_trackers.mlflow import MlflowTracker

        print(MlflowTracker.requires)
        ctx = RunContext("r", pathlib.Path("."), {}, logging.getLogger("x"))
        try:
            MlflowTracker().on_run_start(ctx, RunMetadata())
        except PluginImportError as exc:
            assert isinstance(exc, ImportError)
            print(exc, exc.kind, exc.plugin)
        """,
    )
    assert "('mlflow',)" in said
    assert 'pip install "ztxexp[mlflow]" tracker mlflow' in said
