"""Nested values by dotted keys, in whatever they stand, and what no configuration may hold."""

from __future__ import annotations

import argparse
import dataclasses
import math

import pytest

from ztxexp import ConfigError, ExperimentPipeline, ExpManager, literal, loguniform
from ztxexp.configs.keys import assign, assign_all, check_config


@dataclasses.dataclass
class Model:
    lr: float = 0.1


@dataclasses.dataclass(frozen=True)
class Frozen:
    lr: float = 0.1


def test_a_value_is_set_by_what_its_parent_is():
    config = {"d": {"lr": 1}, "l": [{"n": 1}, 2], "n": argparse.Namespace(lr=1), "m": Model()}
    assign_all(config, {"d.lr": 2, "l.0.n": 3, "l.1": 4, "n.lr": 5, "m.lr": 6})
    assert config["d"] == {"lr": 2}
    assert config["l"] == [{"n": 3}, 4]
    assert config["n"].lr == 5 and config["m"] == Model(6)


@pytest.mark.parametrize("key", ["l.7.n", "l.x", "m.lrr", "f.lr", "n.lrr", "s.upper", "d.lr.max"])
def test_what_fits_nothing_is_refused_with_its_key(key):
    config = {"l": [{"n": 1}], "m": Model(), "f": Frozen(), "n": argparse.Namespace(), "s": "text"}
    config["d"] = {"lr": 0.1}
    with pytest.raises(ConfigError, match=rf"the key '{key}' fits nothing"):
        assign(config, key, 1)


def test_the_order_of_parent_and_child_does_not_matter():
    space = {"opt.lr": [0.1, 0.01], "opt": [{"name": "adam"}, {"name": "sgd"}]}
    made = ExpManager().grid(space).build()
    assert [(c["opt"]["name"], c["opt"]["lr"]) for c in made] == [
        ("adam", 0.1),
        ("sgd", 0.1),
        ("adam", 0.01),
        ("sgd", 0.01),
    ]


def test_a_literal_key_is_an_ordinary_one_afterwards():
    (made,) = ExpManager({"a": {"b": 0}}).grid({literal("a.b"): [1]}).build()
    assert made == {"a": {"b": 0}, "a.b": 1}
    assert all(type(key) is str for key in made)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_a_string_that_stands_for_a_number_is_refused(text):
    for config in ({"a": text}, {"a": {"b": [1, text]}}):
        with pytest.raises(ConfigError, match=f"holds the string {text!r}"):
            check_config(config)
    check_config({"a": text.lower(), "b": math.nan, "c": "inf"})


@pytest.mark.parametrize(
    "make",
    [
        lambda root, inside: ExperimentPipeline(root, {"opt": inside}),
        lambda root, inside: ExperimentPipeline(root).grid({"opt": [inside]}),
        lambda root, inside: ExperimentPipeline(root).variants([{"opt": inside}]),
        lambda root, inside: ExperimentPipeline(root).random_search({"opt": [inside]}, 2),
        lambda root, inside: ExperimentPipeline(root).modify(lambda c: {"opt": inside}),
    ],
)
def test_a_distribution_that_nobody_draws_from_is_refused_before_any_run(tmp_path, make):
    with pytest.raises(ConfigError, match=r"'opt.lr' holds the distribution loguniform"):
        make(tmp_path / "r", {"lr": loguniform(1e-4, 1e-1)}).run(lambda ctx: None)
    assert not (tmp_path / "r").exists()


def test_a_rule_that_fails_is_named_with_the_keys_that_there_are():
    manager = ExpManager({"lr": 0.1, "seed": 1})
    with pytest.raises(ConfigError, match=r"where: 'high'.*KeyError: 'lrr' .*'lr'.*lr, seed"):
        manager.copy().where(lambda c: c["lrr"] > 0, name="high").build()
    with pytest.raises(ConfigError, match=r"modify: 'double' raised KeyError"):

        def double(config):
            config["lrr"] *= 2

        manager.modify(double).build()


# ---- keys that the base does not have --------------------------------------------------------

BASE = {"lr": 0.1, "hidden_dim": 4, "model": {"width": 3}}


@pytest.mark.parametrize(
    ("sweep", "step", "key", "meant"),
    [
        (lambda m: m.grid({"lrr": [1]}), "grid", "lrr", "lr"),
        (lambda m: m.grid({"LR": [1]}), "grid", "LR", "lr"),
        (lambda m: m.zip({"hiden_dim": [1]}), "zip", "hiden_dim", "hidden_dim"),
        (lambda m: m.grid({"model.widht": [1]}), "grid", "model.widht", "model.width"),
        (lambda m: m.variants([{"lrr": 1}]), "variants", "lrr", "lr"),
        (lambda m: m.random_search({"lrr": [1]}, 1), "random_search", "lrr", "lr"),
        (lambda m: m.chain([{"lrr": 1}]), "chain", "lrr", "lr"),
        (lambda m: m.chain(ExpManager().grid({"lrr": [1]})), "grid", "lrr", "lr"),
    ],
)
def test_a_key_close_to_one_of_the_base_is_a_question(sweep, step, key, meant, caplog):
    assert sweep(ExpManager(BASE)).build()
    assert [r.getMessage() for r in caplog.records] == [
        f"{step}: {key!r} is not in the base configuration; did you mean {meant!r}?"
    ]


def test_several_questions_are_one_warning(caplog):
    ExpManager(BASE).grid({"lrr": [1]}).variants([{"model.widht": 1}]).build()
    (record,) = caplog.records
    assert "'lr'?" in record.getMessage() and "'model.width'?" in record.getMessage()


def test_a_branch_of_a_chain_is_compared_with_its_own_base(caplog):
    ExpManager().chain(ExpManager(BASE).grid({"lrr": [1]})).build()
    assert "did you mean 'lr'?" in caplog.text


@pytest.mark.parametrize(
    "keys",
    [
        ["seed"], ["lr2"], ["lr_max"], ["model.depth"], ["lr", "lrr"], ["model", "model.widht"],
        ["hidden_dim_2"], ["model.lr"], [literal("lrr")],
    ],
    ids=str,
)  # fmt: skip
def test_new_keys_pass_without_a_word(keys, caplog):
    ExpManager(BASE).grid({key: [{"a": 1}] if key == "model" else [{}] for key in keys}).build()
    assert not caplog.records
