"""A success whose files are shorter than its record says counts as not done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp_core.store.complete import FILES, lacking_part, mark_of


def train(ctx):
    ctx.log_metric(step=1, metrics={"loss": 0.5})
    ctx.log_params(size=3)
    return {"score": ctx.config["i"] * 10}


def pipeline(root: Path) -> ExperimentPipeline:
    return ExperimentPipeline(root).variants([{"i": 1}, {"i": 2}])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the first of two runs."""
    pipeline(tmp_path).run(train, progress=False)
    return next(
        p for p in tmp_path.glob("2*") if json.loads((p / "config.json").read_text())["i"] == 1
    )


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


WHOLE = ["config.json", "metrics.json", "metrics.jsonl", "extras.jsonl"]


def test_a_success_says_what_belongs_to_it(folder: Path) -> None:
    files = record(folder)[FILES]
    assert files["config.json"] == mark_of((folder / "config.json").read_bytes())
    assert files["metrics.json"] == mark_of((folder / "metrics.json").read_bytes())
    for name in ("metrics.jsonl", "extras.jsonl"):
        assert files[name] == [(folder / name).stat().st_size]
    assert lacking_part(record(folder), folder) is None


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("how", [cut, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_success_that_lacks_a_part_is_named_and_run_again(
    folder: Path, name: str, how, caplog: pytest.LogCaptureFixture
) -> None:
    how(folder / name)
    root = folder.parent
    left = pipeline(root).exclude_completed().build()
    assert [config["i"] for config in left] == [1]
    assert f"{name} has" in caplog.text and folder.name in caplog.text
    if name != "config.json":  # which a table cannot do without
        frame = ResultAnalyzer(root).to_dataframe(statuses=None)
        assert dict(zip(frame["run_id"], frame["status"], strict=True))[folder.name] == "failed"
    summary = pipeline(root).exclude_completed().run(train, progress=False)
    assert (summary.succeeded, summary.reused) == (1, 1)
    again = ResultAnalyzer(root).to_dataframe(statuses=["succeeded"])
    assert sorted(again["score"]) == [10, 20]


@pytest.mark.parametrize("name", WHOLE)
def test_resume_goes_on_in_its_folder(folder: Path, name: str) -> None:
    cut(folder / name)
    summary = pipeline(folder.parent).resume().run(train, progress=False)
    assert (summary.succeeded, summary.reused) == (1, 1)
    assert record(folder)["status"] == "succeeded" and record(folder)["attempt"] == 2
    assert lacking_part(record(folder), folder) is None
    assert json.loads((folder / "config.json").read_text()) == {"i": 1}


def test_one_that_is_cut_after_it_was_seen_whole_is_noticed(folder: Path) -> None:
    root = folder.parent
    assert pipeline(root).exclude_completed().build() == []
    cut(folder / "metrics.json")
    assert len(pipeline(root).exclude_completed().build()) == 1


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_one_whose_file_got_its_length_and_no_content_is_noticed(
    folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / name).write_bytes(bytes((folder / name).stat().st_size))
    assert len(pipeline(folder.parent).exclude_completed().build()) == 1
    assert f"{name} holds zeros" in caplog.text


def test_metrics_that_were_written_anew_by_hand_undo_no_run(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "note": "seen"}, indent=4))
    assert pipeline(folder.parent).exclude_completed().build() == []


def test_lines_that_a_process_adds_late_are_no_fault(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "metric", "step": 2, "metrics": {"loss": 0.1}}\n')
    assert pipeline(folder.parent).exclude_completed().build() == []


def test_a_record_of_an_earlier_version_says_nothing(folder: Path) -> None:
    run = record(folder)
    del run[FILES]
    (folder / "run.json").write_text(json.dumps(run))
    cut(folder / "metrics.jsonl")
    assert pipeline(folder.parent).exclude_completed().build() == []


@pytest.mark.parametrize(
    "files", [7, [], {"metrics.json": 7}, {"metrics.json": ["x"]}, {"..": [1]}]
)
def test_a_record_that_says_nonsense_counts_as_saying_nothing(folder: Path, files) -> None:
    (folder / "run.json").write_text(json.dumps({**record(folder), FILES: files}))
    assert pipeline(folder.parent).exclude_completed().build() == []


def test_check_names_it(folder: Path) -> None:
    cut(folder / "extras.jsonl")
    findings = ResultAnalyzer(folder.parent).check()
    assert [f.kind for f in findings if f.severity == "damage"] == ["incomplete run"]


def test_check_tells_metrics_that_were_changed_after_the_run(folder: Path) -> None:
    text = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(text.replace("10", "99"))
    findings = ResultAnalyzer(folder.parent).check()
    assert [f.kind for f in findings] == ["metrics changed"]
