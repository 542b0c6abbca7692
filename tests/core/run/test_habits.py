"""Calls as other tools have them: the error says what to write here."""

from __future__ import annotations

import json

import pytest

from ztxexp import ExperimentPipeline


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda ctx: ctx.log_metric("loss", 0.3, step=1), "ctx.log_metric(step=1, metrics="),
        (lambda ctx: ctx.log_metric({"loss": 1}), "ctx.log_metric(step=1, metrics="),
        (lambda ctx: ctx.log({"loss": 1}), "ctx.log_metric(step=1, metrics="),
        (lambda ctx: ctx.config.lr, "write ctx.config['lr']"),
    ],
)
def test_the_error_says_what_to_write(tmp_path, function, hint):
    summary = ExperimentPipeline(tmp_path, {"lr": 0.1}).run(function)
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    assert summary.failed == 1 and hint in record["error_message"]


def test_other_errors_have_no_hint(tmp_path):
    ExperimentPipeline(tmp_path, {"lr": 0.1}).run(lambda ctx: {}.lr2)
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    assert record["error_message"] == "'dict' object has no attribute 'lr2'"


def test_nested_metrics_have_dotted_names(tmp_path):
    ExperimentPipeline(tmp_path).run(
        lambda ctx: ctx.log_metric(step=1, metrics={"val": {"loss": 0.5, "top": {"k": 1}}, "n": 2})
    )
    (line,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/metrics.jsonl")]
    assert line["metrics"] == {"val.loss": 0.5, "val.top.k": 1, "n": 2}


def test_of_two_metrics_of_one_text_the_second_is_told(tmp_path, caplog):
    ExperimentPipeline(tmp_path).run(lambda ctx: {1: 0.5, "1": 0.7})
    (metrics,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/metrics.json")]
    assert metrics == {"1": 0.5}
    assert "the returned metric '1' was not recorded: a second value of that name" in caplog.text
