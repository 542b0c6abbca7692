"""What is the best of a metric, the largest or the smallest value: one rule for everything.

What the caller asks for counts first, then what the last sweep of the root or the project declares,
then what the words of the metric's name say. Where none of them says it, nobody guesses.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ztxexp.project import project
from ztxexp.results.arguments import checked_choice
from ztxexp.results.sweep_records import last_sweep
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError

_log = logging.getLogger("ztxexp")

ASKED, DECLARED, INFERRED = "asked for", "declared", "inferred from the name"

_SMALLEST = (
    "loss error errors err mse rmse mae mape smape msle rmsle mpe nll perplexity ppl wer cer mer "
    "ter fid kid kl kld divergence time latency memory mem vram cost costs duration runtime secs "
    "sec seconds second ms regret flops macs brier ece bpb bpc bpd dist distance ssd"
)
_LARGEST = (
    "acc accuracy f1 f2 fscore auc auroc auprc roc map ap bleu rouge meteor chrf reward rewards "
    "return returns score scores precision recall sensitivity specificity iou miou jaccard dice r2 "
    "psnr ssim mrr ndcg hit hits success win wins winrate mcc kappa likelihood elbo throughput fps "
    "speedup sharpe"
)
_MIN_WORDS, _MAX_WORDS = frozenset(_SMALLEST.split()), frozenset(_LARGEST.split())
# Also where they stand without a border, as in "trainloss"; each is long enough to mean nothing
# else. Other words of mean squares: "nmse", "rmsle".
_MIN_PARTS = re.compile(
    r"loss|error|perplexity|latency|duration|divergence|regret|memory|[a-z]*ms(?:e|le)$"
)
_MAX_PARTS = re.compile(r"accuracy|precision|recall|reward|f1score")
_ALONE = frozenset({"top1", "top5"})  # an accuracy, where nothing else is said: "top1_error"
_NEGATED = frozenset({"neg", "negative", "minus"})
# Camel case apart: "valLoss" is two words, "mAP" is one.
_BORDER = re.compile(r"[^a-zA-Z0-9]+|(?<=[a-z0-9]{2})(?=[A-Z])")


class Direction(NamedTuple):
    """What is the best of a metric, and who says so.

    Attributes:
        mode: ``"max"`` or ``"min"``.
        source: ``"asked for"``, ``"declared"`` or ``"inferred from the name"``.
    """

    mode: str
    source: str

    def __str__(self) -> str:
        return self.mode if self.source == ASKED else f"{self.mode}, {self.source}"


def direction(metric: object, mode: str = "", root: str | Path | None = None) -> str:
    """Return ``"max"`` or ``"min"``, what is the best of a metric; the log says what is inferred.

    Args:
        metric: its name.
        mode: what the caller asks for; an empty text: nothing.
        root: the results root, whose last sweep may declare it.

    Raises:
        ConfigError: another mode, or nothing says what is the best.

    Example:
        >>> direction("val_loss")
        'min'
    """
    known = direction_of(metric, mode, root)
    if known.source == INFERRED:
        name, other = ("largest", "min") if known.mode == "max" else ("smallest", "max")
        _log.log(
            logging.INFO if known.mode == "max" else logging.WARNING,
            "%r: the %s is the best, inferred from the name; %s asks for the other",
            metric,
            name,
            either(f"mode={other!r}", f"--{other}"),
        )
    return known.mode


def direction_of(metric: object, mode: str = "", root: str | Path | None = None) -> Direction:
    """Return what :func:`direction` returns, and who says so; nothing is logged.

    Raises:
        ConfigError: another mode, or nothing says what is the best.
    """
    known = known_direction(metric, mode, root)
    if known is None:
        name = str(metric)
        python = "--max or --min (in Python mode='max' or mode='min')"
        options = either(python, "--max or --min")
        raise ConfigError(
            f"is the largest {name!r} the best, or the smallest? Its name does not say. Give "
            f"{options}, or declare it in pyproject.toml: "
            f'[tool.ztxexp.metrics] {_toml_key(name)} = "max"'
        )
    return known


def known_direction(
    metric: object, mode: str = "", root: str | Path | None = None
) -> Direction | None:
    """Return what is the best of a metric; ``None`` where nothing says it.

    Raises:
        ConfigError: another mode.
    """
    if mode != "":
        checked_choice("mode", mode, ("max", "min"))
        return Direction(mode, ASKED)
    name = str(metric)
    for declared in (last_sweep(root).metrics if root is not None else {}, _of_project()):
        for key in (name, name.removeprefix("metrics.")):
            if key in declared:
                return Direction(declared[key], DECLARED)
    inferred = inferred_direction(name)
    return Direction(inferred, INFERRED) if inferred else None


def _of_project() -> Mapping[str, str]:
    return project().metrics


def main_metric(names: Sequence[str], root: str | Path | None = None) -> str | None:
    """Return the metric that counts where nobody names one.

    That is the first one that the last sweep or the project declares; else the first one of which
    the largest value is the best, else the first one of which the smallest is.

    Args:
        names: those that runs have returned, in their order.
        root: the results root, whose last sweep may declare some.

    Example:
        >>> main_metric(["epochs", "loss", "accuracy"])
        'accuracy'
    """
    try:
        of_sweep = last_sweep(root).metrics if root is not None else {}
        declared = [name for name in (*of_sweep, *_of_project()) if name in names]
        modes = {name: known_direction(name, root=root) for name in names}
    except ConfigError:  # the project's file is broken; other commands say so
        return None
    larger = [name for name, known in modes.items() if known and known.mode == "max"]
    others = [name for name, known in modes.items() if known]
    return next(iter([*declared, *larger, *others]), None)


def inferred_direction(name: str) -> str:
    """Return what the words of a metric's name say; an empty text where they say nothing or both.

    Example:
        >>> [inferred_direction(name) for name in ("valid.top1_acc", "rmse", "neg_loss", "width")]
        ['max', 'min', 'max', '']
    """
    words = [word.lower() for word in _BORDER.split(name) if word]
    if "per" in words:  # samples_per_second is no time
        words = words[: words.index("per")]
    if not words:
        return ""
    says = set(map(_of_word, words)) - {""}
    if not says and not _ALONE.isdisjoint(words):
        return "max"
    if len(says) != 1:
        return ""
    (mode,) = says
    if not _NEGATED.isdisjoint(words):
        return "min" if mode == "max" else "max"
    return mode


def _of_word(word: str) -> str:
    for known in (word, word.rstrip("0123456789")):
        if known in _MIN_WORDS:
            return "min"
        if known in _MAX_WORDS:
            return "max"
    is_min, is_max = _MIN_PARTS.search(word), _MAX_PARTS.search(word)
    if bool(is_min) == bool(is_max):
        return ""
    return "min" if is_min else "max"


def _toml_key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else '"' + name.replace('"', '\\"') + '"'
