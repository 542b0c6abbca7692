"""What the page of a report is given."""

from __future__ import annotations

import json
import math
import random
import statistics
import tempfile
from pathlib import Path

import pytest
from handmade import event, put, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ztxexp import ResultAnalyzer
from ztxexp.analysis.run_table import RunTable
from ztxexp.report.anonymous import anonymised
from ztxexp.report.origins import typed
from ztxexp.report.page import page
from ztxexp.report.payload import payload
from ztxexp.report.schema import Payload, Runs
from ztxexp_core.values.identity import config_identity

ACCURACY = {(0.1, 0): 0.5, (0.1, 1): 0.7, (0.2, 0): 0.8, (0.2, 1): 0.9, (0.2, 2): 0.95}


def write(root, number, config, metrics=None, **more):
    """Write a run of a launch that recorded where it came from."""
    usual = {
        "identity": config_identity(config),
        "started_at": f"2026-03-01T10:00:{number:02}+00:00",
        "duration_sec": 2.0,
        "attempt": 1,
        "code_hash": "code:a",
    }
    name = f"20260301_1000{number:02}_run{number}"
    folder = write_run(root, name, config=config, metrics=metrics, **{**usual, **more})
    meta = {"git_commit": "c" * 40, "git_branch": "main", "git_dirty": number == 0,
            "python_version": "3.11.7", "hostname": "box", "command": "python train.py",
            "function": "train:train", "function_file": "train.py"}  # fmt: skip
    put(folder / "meta.json", meta)
    return folder


@pytest.fixture
def root(tmp_path):
    """Five runs that succeeded, one that failed and one that has no number."""
    for number, ((lr, seed), accuracy) in enumerate(ACCURACY.items()):
        curve = [event(step, loss=1 / (step + 1) + lr) for step in range(4)]
        curve.append(event(3, split="valid", loss=math.nan if seed else 0.5))
        config = {"lr": lr, "seed": seed, "net": {"width": 8}, "clip": math.inf}
        config = json.loads(json.dumps({**config, "clip": "Infinity"}))
        metrics = {"accuracy": accuracy, "loss": 1 - accuracy, "epochs": 4}
        write(tmp_path, number, config, metrics, curve=curve, tags={"stage": "a"}, group="g")
    config = {"lr": 0.4, "seed": 0, "net": {"width": 8}, "clip": "Infinity"}
    failed = {"error_type": "ValueError", "error_message": "loss is nan\nsecond line",
              "reason": "exception", "error_place": "train.py:7 in step"}  # fmt: skip
    folder = write(tmp_path, 5, config, status="failed", **failed)
    (folder / "error.log").write_text("Traceback\nValueError: loss is nan\n")
    config = {"lr": 0.2, "seed": 3, "net": {"width": 8}, "clip": "Infinity"}
    write(tmp_path, 6, config, {"accuracy": "NaN", "loss": 2.0, "epochs": 4}, code_hash="code:b")
    return tmp_path


@pytest.fixture
def data(root) -> Payload:
    return payload(RunTable.read(root))


def column(data: Payload, key: str):
    (one,) = [one for one in data["runs"]["columns"] if one["key"] == key]
    return one


def test_it_is_json_and_every_list_has_a_cell_for_each_run(data):
    json.dumps(data, allow_nan=False)
    assert set(data) == set(Payload.__annotations__)
    assert set(data["runs"]) == set(Runs.__annotations__)
    for name in Runs.__annotations__:
        if name != "columns":
            assert len(data["runs"][name]) == 7
    assert all(len(one["values"]) == 7 for one in data["runs"]["columns"])


def test_columns_say_what_they_are(data):
    keys = [one["key"] for one in data["runs"]["columns"]]
    assert keys == ["lr", "seed", "net.width", "clip", "accuracy", "loss", "epochs"]
    assert [one["seed"] for one in data["runs"]["columns"]] == [k == "seed" for k in keys]
    assert not column(data, "net.width")["varies"] and column(data, "lr")["varies"]
    assert column(data, "accuracy")["mode"] == "max" and column(data, "loss")["mode"] == "min"
    assert column(data, "accuracy")["source"] == "inferred from the name"
    assert column(data, "epochs")["mode"] is None
    assert column(data, "accuracy")["values"][5:] == [None, None]
    assert column(data, "clip")["type"] == "text" and column(data, "clip")["values"][0] == "inf"


def test_a_whole_number_that_javascript_would_round_is_a_text(tmp_path):
    write(tmp_path, 0, {"seed": 2**60 + 1, "flag": True, "layers": [1, 2], "none": None})
    data = payload(RunTable.read(tmp_path))
    assert column(data, "seed")["values"] == [str(2**60 + 1)]
    assert column(data, "flag")["type"] == "boolean"
    assert column(data, "layers")["values"] == ["[1,2]"]
    assert column(data, "none")["values"] == [None]


def test_the_best_are_means_over_seeds_and_name_their_runs(data):
    best = [one for one in data["best"] if one["metric"] == "accuracy"]
    assert [one["values"]["lr"] for one in best] == [0.2, 0.1]
    assert best[0]["mean"] == pytest.approx(statistics.mean([0.8, 0.9, 0.95]))
    assert best[0]["std"] == pytest.approx(statistics.stdev([0.8, 0.9, 0.95]))
    assert best[0]["n"] == 3 and best[0]["seeds"] == [0, 1, 2]  # that of seed 3 is NaN
    assert best[0]["runs"] == [4, 3, 2] and best[1]["seeds"] == [0, 1]
    assert data["default_metric"] == "accuracy"
    assert {one["metric"] for one in data["best"]} == {"accuracy", "loss"}


def test_effects_are_over_settings(data):
    (effect,) = [one for one in data["effects"] if one["metric"] == "loss"]
    assert effect["key"] == "lr" and [one["value"] for one in effect["levels"]] == [0.1, 0.2]
    assert effect["levels"][0]["mean"] == pytest.approx(0.4)


def test_what_limits_effects_is_said_at_the_head(tmp_path):
    for number, (lr, width, seed) in enumerate([(1, 8, 0), (1, 8, 1), (2, 8, 0), (2, 16, 0)]):
        write(tmp_path, number, {"lr": lr, "width": width, "seed": seed}, {"accuracy": number})
    notes = payload(RunTable.read(tmp_path))["notes"]
    said = "the values of lr are compared over different settings of the other keys"
    assert any(note.startswith(f"Main effects: {said}") for note in notes)
    assert len([note for note in notes if note.startswith("Main effects")]) <= 4


def test_failures_are_digested(data):
    (failure,) = data["failures"]
    assert failure["type"] == "ValueError" and failure["runs"] == [5]
    assert failure["place"] == "train.py:7 in step" and "loss is nan" in failure["log"]
    assert data["runs"]["error"][5] == "ValueError: loss is nan"
    assert data["runs"]["error"][0] is None


def test_provenance_counts_what_runs_share_and_where_they_differ(data):
    lines = dict(data["provenance"])
    assert lines["host"] == "box" and lines["Python"] == "3.11.7"
    texts = [text for label, text in data["provenance"] if label == "commit"]
    assert any("with uncommitted changes: 1 run" in text for text in texts)
    assert any("nothing uncommitted: 6 runs" in text for text in texts)
    codes = [text for label, text in data["provenance"] if label == "code"]
    assert codes[0] == "v1, train:train, in train.py, git cccccccccccc: 6 runs"
    assert ("command", "python train.py: 7 runs") in data["provenance"]


def test_notes_say_what_makes_numbers_doubtful(data):
    text = "\n".join(data["notes"])
    assert "1 of 7 runs failed" in text
    assert "2 versions of the code (5 by v1, 1 by v2)" in text
    assert "accuracy is NaN or infinite in 1 of 6 runs that succeeded" in text
    assert "1 of 2 settings does not have the seeds of the fullest one (0, 1, 2, 3)" in text


def test_seeds_that_are_all_different_are_said_in_one_sentence(tmp_path):
    for number in range(6):
        config = {"lr": number // 2, "seed": number}
        write(tmp_path, number, config, {"accuracy": number / 10})
    (note,) = payload(RunTable.read(tmp_path))["notes"]
    assert note.startswith("Each of 3 settings has 2 seeds, and they are not the same ones")


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("/a/bin/python3.11 /a/bin/ztxexp run t.py:f lr=1", "ztxexp run t.py:f lr=1"),
        ("/a/bin/python train.py --lr 1", "python train.py --lr 1"),
        ("python -m ztxexp resume", "python -m ztxexp resume"),
        ("python /a/bin/ztxexp", "ztxexp"),
        ("my/python-tool x", "my/python-tool x"),
    ],
)
def test_commands_are_shown_as_somebody_types_them(recorded, shown):
    assert typed(recorded) == shown


def test_nothing_is_logged(root, caplog):
    payload(RunTable.read(root))
    assert not caplog.records


def test_curves_have_nan_as_gaps_and_each_metric_once(data):
    of_first = {one["metric"]: one for one in data["curves"]["series"] if one["run"] == 0}
    assert set(of_first) == {"loss", "valid/loss"}
    assert of_first["loss"]["x"] == [0, 1, 2, 3] and of_first["loss"]["y"][0] == 1.1
    gap = [o for o in data["curves"]["series"] if o["run"] == 1 and o["metric"] == "valid/loss"]
    assert gap[0]["y"] == [None] and gap[0]["of"] == 1
    assert data["curves"]["left_out"] == 0 and data["curves"]["thinned"] == 0


def test_a_metric_of_valid_alone_stands_there_once(tmp_path):
    write(tmp_path, 0, {"lr": 1}, curve=[event(0, split="valid", loss=1.0)])
    data = payload(RunTable.read(tmp_path))
    assert [one["metric"] for one in data["curves"]["series"]] == ["valid/loss"]


def test_long_curves_are_thinned_unless_all_is_asked_for(tmp_path):
    curve = [
        event(step, loss=-9.0 if step == 777 else step % 7 + 0.1234567891) for step in range(3000)
    ]
    write(tmp_path, 0, {"lr": 1}, curve=curve)
    table = RunTable.read(tmp_path)
    thin, full = (payload(table, full=full)["curves"] for full in (False, True))
    (one,) = thin["series"]
    assert len(one["x"]) <= thin["most"] == 1000 and one["of"] == 3000 and thin["thinned"] == 1
    assert 777 in one["x"] and min(one["y"]) == -9.0 and one["x"][0] == 0 and one["x"][-1] == 2999
    (one,) = full["series"]
    assert len(one["x"]) == 3000 and one["y"][0] == 0.1234567891 and full["thinned"] == 0


def test_a_filtered_table_counts_its_own_runs(root):
    report = ResultAnalyzer(root).report(where="lr == 0.1", statuses="succeeded", tags=["stage"])
    assert report.payload["runs"]["status"] == ["succeeded"] * 2
    assert report.payload["best"][0]["runs"] == [1, 0]
    assert report.payload["failures"] == []


def test_a_choice_of_runs_and_of_values_is_said(root):
    notes = ResultAnalyzer(root).report(where="lr == 0.1", at="last").payload["notes"]
    assert notes[0] == "2 of the 7 runs of this root were chosen for this page."
    assert notes[1] == "Metrics are those of curves (--at last), not those that were returned."
    assert not any("chosen" in note for note in ResultAnalyzer(root).report().payload["notes"])


def test_numbers_that_no_page_can_hold_are_left_out(tmp_path):
    write(tmp_path, 0, {"lr": 1}, duration_sec=-(2**63) - 1, attempt=2**70)
    data = payload(RunTable.read(tmp_path))
    assert data["runs"]["seconds"] == [None] and data["runs"]["attempt"] == [None]
    assert page(data)


def test_a_root_without_runs_has_an_empty_page(tmp_path):
    (tmp_path / "empty").mkdir()
    data = payload(RunTable.read(tmp_path / "empty"), live=True, state=3)
    assert data["runs"]["id"] == [] and data["best"] == [] and data["state"] == 3


def test_secrets_are_masked_wherever_runs_say_them(tmp_path):
    token = "hf_" + "aB3" * 10
    config = {
        "api_key": "a1b2c3d4",
        "sort_key": "date",
        "url": "http://me:pw12@host/x",
        "max_tokens": 5,
    }
    said = {"error_type": "E", "error_message": f"401 for {token}", "reason": "exception"}
    folder = write(
        tmp_path, 0, config, status="failed", tags={"token": "x9y8z7", "a": token}, **said
    )
    (folder / "error.log").write_text(f"Bearer abcdef123456 {token}\n")
    text = json.dumps(payload(RunTable.read(tmp_path)))
    for secret in (token, "a1b2c3d4", "pw12", "x9y8z7", "abcdef123456"):
        assert secret not in text
    assert '"date"' in text and "[5]" in text and "***" in text


def test_means_are_those_of_pandas(tmp_path):
    random.seed(3)
    for number in range(60):
        config = {"lr": 10.0 ** -(number % 3), "model": "ab"[number // 3 % 2], "seed": number // 6}
        metrics = {"accuracy": random.random(), "loss": random.gauss(0, 1)}
        write(tmp_path, number, config, None if number % 13 == 5 else metrics)
    best = payload(RunTable.read(tmp_path))["best"]
    frame = ResultAnalyzer(tmp_path).to_dataframe()
    for metric, rising in (("accuracy", False), ("loss", True)):
        want = frame.groupby(["lr", "model"])[metric].agg(["mean", "std", "count"])
        want = want.sort_values("mean", ascending=rising)
        rows = [one for one in best if one["metric"] == metric]
        assert [(one["values"]["lr"], one["values"]["model"]) for one in rows] == list(want.index)
        for name, column in (("mean", "mean"), ("std", "std"), ("n", "count")):
            assert [one[name] for one in rows] == pytest.approx(list(want[column]))


def test_curves_of_the_best_and_the_latest_come_first_where_not_all_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("ztxexp.report.curves._ALL_POINTS", 100)
    for number in range(12):
        config = {"lr": number // 2, "seed": number % 2}
        curve = [event(step, loss=float(step)) for step in range(20)]
        accuracy = 1.0 if number // 2 == 2 else 0.1
        write(tmp_path, number, config, {"accuracy": accuracy}, curve=curve)
    curves = payload(RunTable.read(tmp_path))["curves"]
    runs = [one["run"] for one in curves["series"]]
    assert runs == sorted(runs) and {4, 5, 11} <= set(runs) and len(runs) == 5
    assert curves["left_out"] == 7 and curves["thinned"] == 0


def test_values_that_differ_never_look_the_same(tmp_path):
    long = "x" * 400
    values = [
        1,
        "1",
        1.5,
        True,
        "true",
        None,
        long + "a",
        long + "b",
        [1],
        "[1]",
        2**60,
        str(2**60),
    ]
    for number, value in enumerate(values):
        write(tmp_path, number, {"v": value, "api_key": f"a1b2c3{number}"})
    write(tmp_path, len(values), {"api_key": "a1b2c3"})
    data = payload(RunTable.read(tmp_path))
    cells = column(data, "v")["values"]
    assert len(set(cells)) == len(values) + 1 and cells[-1] is None and cells[5] == "null"
    assert cells[:2] == ["1", '"1"'] and len(cells[6]) < 320
    keys = column(data, "api_key")["values"]
    assert len(set(keys)) == len(values) + 1 and not any("a1b2" in key for key in keys)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
OF_RUN = ("status", "started_at", "finished_at", "duration_sec", "attempt", "tags", "group",
          "owner", "error_type", "error_message", "error_place", "reason", "code_hash",
          "code_version", "identity")  # fmt: skip
OF_META = ("git_commit", "git_branch", "git_dirty", "git_diff", "python_version", "hostname",
           "command", "packages", "function", "function_file", "dataset_version")  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_records_hold_there_is_a_page(tmp_path, given_data):
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    for number in range(4):
        odd = given_data.draw(st.dictionaries(st.sampled_from(OF_RUN), ANY, max_size=4))
        config = given_data.draw(st.dictionaries(st.text(max_size=5), ANY, max_size=3))
        metrics = given_data.draw(st.dictionaries(st.text(max_size=5), ANY, max_size=3))
        if number % 2:
            odd["status"] = "succeeded"
        folder = write(root, number, config, {**metrics, "accuracy": number}, **odd)
        meta = given_data.draw(st.dictionaries(st.sampled_from(OF_META), ANY, max_size=4))
        put(folder / "meta.json", meta)
    table = RunTable.read(root)
    for anonymous in (False, True):
        data = payload(table)
        data = anonymised(data, table) if anonymous else data
        assert page(data).endswith("</html>\n")
        assert len(data["runs"]["id"]) == len(table)
