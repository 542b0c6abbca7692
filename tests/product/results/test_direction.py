"""What is the best of a metric: asked for, declared, inferred from the name, or nobody knows."""

from __future__ import annotations

import json

import pytest

from ztxexp import ConfigError
from ztxexp.results.direction import direction, direction_of, inferred_direction, known_direction

SMALLEST = (
    "loss val_loss valid/loss trainloss valLoss rmse test.mae nll perplexity wer fid time ms "
    "run.duration_sec peak_memory error_rate top1_error neg_accuracy negative_log_likelihood "
    "FID inference_ms"
)
LARGEST = (
    "accuracy valid.accuracy top1_acc acc@5 f1 F1_macro roc_auc mAP50 bleu reward return score "
    "precision recall IoU dice r2 psnr ssim test/acc neg_mean_squared_error log_likelihood top5"
)


@pytest.mark.parametrize("name", SMALLEST.split())
def test_of_these_the_smallest_is_the_best(name):
    assert inferred_direction(name) == "min"


@pytest.mark.parametrize("name", LARGEST.split())
def test_of_these_the_largest_is_the_best(name):
    assert inferred_direction(name) == "max"


@pytest.mark.parametrize(
    "name", ["width", "timely", "distinct", "costume", "score_time", "tokens_per_second", "", "é"]
)
def test_of_others_nobody_knows(name):
    assert inferred_direction(name) == "" and known_direction(name) is None
    with pytest.raises(ConfigError, match="--max or --min"):
        direction(name)


def test_what_is_asked_for_counts_before_what_is_declared_and_that_before_the_name(
    tmp_path, monkeypatch
):
    (tmp_path / "ztxexp.toml").write_text('[metrics]\nwidth = "min"\nloss = "max"\nscore = "min"')
    monkeypatch.chdir(tmp_path)
    launches = tmp_path / "results" / ".ztxexp" / "launches"
    launches.mkdir(parents=True)
    sweep = {"metrics": {"score": "max", "odd": "sideways"}}
    (launches / "a.jsonl").write_text(json.dumps({"id": "a", "sweep": sweep}) + "\n")
    (launches / "b.jsonl").write_text(json.dumps({"id": "b", "sweep": None}) + "\ndamaged")
    root = tmp_path / "results"
    assert direction_of("width", "max", root) == ("max", "asked for")
    assert direction_of("width", root=root) == ("min", "declared")
    assert direction_of("loss", root=root) == ("max", "declared")
    assert direction_of("score", root=root) == ("max", "declared")
    assert direction_of("score") == ("min", "declared")
    assert str(direction_of("accuracy", root=root)) == "max, inferred from the name"
    with pytest.raises(ConfigError, match="did you mean 'max'"):
        direction("accuracy", "mx")
