"""types: the records keep the fields, order and defaults that were documented for 1.0.3."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ztxexp.results.summary import RunSummary
from ztxexp_core import records as types
from ztxexp_core.context import RunContext
from ztxexp_core.records import MetricEvent, RunMetadata, RunOutcome, RunSpec, SkipRun, TrackerSpec

NEEDED = dataclasses.MISSING

# As the reference of 1.0.3 gives them; newer fields may only follow.
DOCUMENTED: dict[type, list[tuple[str, Any]]] = {
    MetricEvent: [
        ("step", NEEDED),
        ("timestamp", NEEDED),
        ("metrics", NEEDED),
        ("split", "train"),
        ("phase", "fit"),
    ],
    RunMetadata: [
        (name, None)
        for name in (
            "experiment_name",
            "group",
            "tags",
            "parent_run_id",
            "attempt",
            "git_commit",
            "python_version",
            "platform",
            "hostname",
            "started_cmd",
            "dataset_version",
            "seed",
            "extras",
        )
    ],
    RunContext: [
        ("run_id", NEEDED),
        ("run_dir", NEEDED),
        ("config", NEEDED),
        ("logger", NEEDED),
        ("meta", RunMetadata()),
        ("_metrics_jsonl_path", None),
        ("_trackers", []),
    ],
    RunSummary: [
        (name, NEEDED)
        for name in ("total", "succeeded", "failed", "skipped", "duration_sec", "failed_run_ids")
    ],
}


def default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@pytest.mark.parametrize("record", DOCUMENTED, ids=lambda record: record.__name__)
def test_documented_fields_keep_their_order_and_defaults(record: Any) -> None:
    documented = DOCUMENTED[record]
    fields = dataclasses.fields(record)
    assert [(f.name, default(f)) for f in fields[: len(documented)]] == documented


@pytest.mark.parametrize("record", DOCUMENTED, ids=lambda record: record.__name__)
def test_newer_fields_follow_and_can_be_left_out(record: Any) -> None:
    newer = dataclasses.fields(record)[len(DOCUMENTED[record]) :]
    assert [f.name for f in newer if default(f) is NEEDED] == []


@pytest.mark.parametrize(
    "record", [MetricEvent, RunContext, RunMetadata, RunOutcome, RunSpec, RunSummary, TrackerSpec]
)
def test_a_record_takes_no_misspelt_field(record: Any) -> None:
    assert hasattr(record, "__slots__")
    assert not hasattr(object.__new__(record), "__dict__")


def test_log_metric_keeps_its_documented_signature() -> None:
    parameters = inspect.signature(RunContext.log_metric).parameters
    assert list(parameters) == ["self", "step", "metrics", "split", "phase"]
    assert (parameters["split"].default, parameters["phase"].default) == ("train", "fit")


def test_statuses_and_schema_version_are_those_of_1_0_3() -> None:
    assert types.RUN_SCHEMA_VERSION == 2
    assert {"running", "succeeded", "failed", "skipped"} == types.VALID_RUN_STATUSES


def test_contexts_share_neither_metadata_nor_trackers() -> None:
    a, b = (RunContext("r", Path(), {}, logging.getLogger("test.run")) for _ in range(2))
    a.meta.attempt = 3
    a._trackers.append(None)  # type: ignore[arg-type]
    assert (b.meta.attempt, b._trackers) == (None, [])


def test_a_context_shows_no_private_fields() -> None:
    ctx = RunContext("r", Path(), {}, logging.getLogger("test.run"))
    assert "_trackers" not in repr(ctx)
    assert "run_id='r'" in repr(ctx)


def test_skip_run_is_an_ordinary_exception_with_a_text() -> None:
    assert issubclass(SkipRun, Exception)
    assert str(SkipRun("why")) == "why"


# ---- to_dict -------------------------------------------------------------------------------------


def test_an_event_of_1_0_3_has_no_attempt_in_its_dict() -> None:
    assert MetricEvent(1, "t", {"a": 0.5}).to_dict() == {
        "step": 1,
        "timestamp": "t",
        "metrics": {"a": 0.5},
        "split": "train",
        "phase": "fit",
    }


def test_an_event_gives_its_fields_in_order() -> None:
    event = MetricEvent(1, "t", {"a": 0.5}, "valid", "eval", 2)
    assert list(event.to_dict().values()) == [1, "t", {"a": 0.5}, "valid", "eval", 2]
    assert MetricEvent(**event.to_dict()) == event


def test_the_dict_of_an_event_can_be_changed_without_changing_the_event() -> None:
    event = MetricEvent(1, "t", {"a": 0.5})
    event.to_dict()["metrics"]["a"] = 9
    assert event.metrics == {"a": 0.5}


def test_metadata_gives_all_fields_in_order() -> None:
    meta = RunMetadata(experiment_name="e", tags=["x"], seed=0, extras={"k": 1})
    documented = [name for name, _ in DOCUMENTED[RunMetadata]]
    assert list(meta.to_dict())[: len(documented)] == documented
    assert list(meta.to_dict()) == [field.name for field in dataclasses.fields(RunMetadata)]
    assert RunMetadata(**meta.to_dict()) == meta


# ---- RunSpec -------------------------------------------------------------------------------------


def spec(**config: Any) -> RunSpec:
    return RunSpec("r1", Path("/results/r1"), config, "1:00", 2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_spec_survives_plain_pickle(protocol: int) -> None:
    whole = spec(lr=0.1, path=Path("a"), nested={"x": (1, {2})})
    assert pickle.loads(pickle.dumps(whole, protocol)) == whole


def test_a_spec_carries_values_that_only_cloudpickle_can_send() -> None:
    factor = 3
    found = pickle.loads(pickle.dumps(spec(f=lambda x: factor * x)))
    assert found.config["f"](2) == 6


def test_a_spec_survives_copying() -> None:
    whole = spec(a=[1])
    assert copy.copy(whole) == copy.deepcopy(whole) == whole
    assert copy.deepcopy(whole).config["a"] is not whole.config["a"]


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec().run_id = "other"  # type: ignore[misc]


def test_values_of_classes_made_in_main_reach_a_process_with_another_main(tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(
        textwrap.dedent("""
        import dataclasses, enum, pickle, sys
        from pathlib import Path
        from ztxexp_core import RunSpec

        class Mode(enum.Enum):
            FAST = "fast"

        @dataclasses.dataclass
        class Model:
            depth: int
            def doubled(self):
                return 2 * self.depth

        def act(x):
            return x + 1

        config = {"mode": Mode.FAST, "model": Model(4), "act": act, "kind": Model}
        spec = RunSpec("r1", Path("r1"), config, "1:00")
        Path(sys.argv[1]).write_bytes(pickle.dumps(spec))
        """)
    )
    receive = """
        import pickle, sys
        from pathlib import Path
        config = pickle.loads(Path(sys.argv[1]).read_bytes()).config
        print(config["mode"].value, config["model"].doubled(), config["act"](1))
        print(type(config["model"]) is config["kind"])
        """
    parcel = tmp_path / "spec.pickle"
    for command in ([str(tmp_path / "send.py")], ["-c", textwrap.dedent(receive)]):
        done = subprocess.run(
            [sys.executable, *command, str(parcel)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["fast", "8", "2", "True"]


# ---- RunOutcome ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({}, "the worker process was lost"),
        ({"exit_code": 3}, "the worker process ended with exit code 3"),
        ({"exit_code": 0}, "the worker process ended with exit code 0"),
        ({"signal": 15}, "the worker process was ended by signal 15 (SIGTERM)"),
        ({"exit_code": -15, "signal": 15}, "the worker process was ended by signal 15 (SIGTERM)"),
        ({"reason": "killed", "signal": 11}, "the worker process was ended by signal 11 (SIGSEGV)"),
        ({"signal": 999}, "the worker process was ended by signal 999"),
        ({"reason": "interrupted"}, "the launch was interrupted while it ran"),
    ],
)
def test_a_lost_run_says_how_its_process_ended(how: dict[str, Any], text: str) -> None:
    outcome = RunOutcome.lost(spec(), **how)
    assert outcome.error_message == text
    assert (outcome.exit_code, outcome.signal) == (how.get("exit_code"), how.get("signal"))
    assert outcome.reason == how.get("reason", "lost")


def test_a_lost_run_is_a_failed_run_of_its_spec() -> None:
    outcome = RunOutcome.lost(spec())
    assert (outcome.run_id, outcome.status, outcome.attempt) == ("r1", "failed", 2)
    assert outcome.error_type == "WorkerDied"
    assert outcome.notices == ()


def test_an_outcome_and_a_tracker_spec_survive_plain_pickle() -> None:
    for whole in (
        RunOutcome.lost(spec(), "killed", signal=9),
        TrackerSpec("jsonl", "ztxexp_trackers.jsonl:JsonlTracker", {"filename": "e.jsonl"}),
    ):
        assert pickle.loads(pickle.dumps(whole)) == whole


def test_an_integer_in_a_file_that_no_float_holds_costs_itself_only() -> None:
    row = {"step": 1, "timestamp": "2026-01-01", "metrics": {"a": 1, "huge": -(10**400)}}
    event = MetricEvent.from_dict(row)
    assert event is not None and event.metrics == {"a": 1.0}


@pytest.mark.parametrize(("limit", "named"), [(1.5, "its limit of 1.5 s"), (None, "time limit")])
def test_an_engine_may_have_a_time_limit_of_its_own(limit: float | None, named: str) -> None:
    spec = RunSpec("r", Path("/r"), {}, "1:00", timeout=limit)
    lost = RunOutcome.lost(spec, "timeout")
    assert (lost.error_type, lost.reason) == ("Timeout", "timeout")
    assert named in str(lost.error_message)
