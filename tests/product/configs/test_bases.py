"""Base configurations of other kinds than a dict."""

from __future__ import annotations

import argparse
import dataclasses
import types

import attrs
import pydantic
import pytest
from omegaconf import OmegaConf

from ztxexp import ConfigError, ExpManager


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


@dataclasses.dataclass
class Nested:
    inner: Settings = dataclasses.field(default_factory=Settings)
    free: dict = dataclasses.field(default_factory=lambda: {"a": 1})
    listed: list = dataclasses.field(default_factory=lambda: [Settings()])


class Model(pydantic.BaseModel):
    lr: float = 0.1


class Open(pydantic.BaseModel, extra="allow"):
    lr: float = 0.1


@attrs.define
class Options:
    lr: float = 0.1


def struct(base):
    OmegaConf.set_struct(base, True)
    return base


OPEN = [
    {"lr": 0.1},
    argparse.Namespace(lr=0.1),
    types.SimpleNamespace(lr=0.1),
    types.MappingProxyType({"lr": 0.1}),
    Open(),
    OmegaConf.create({"lr": 0.1}),
]
CLOSED = [
    Settings(),
    Model(),
    Options(),
    OmegaConf.structured(Settings),
    struct(OmegaConf.create({"lr": 0.1})),
]


@pytest.mark.parametrize("base", [*OPEN, *CLOSED], ids=lambda base: type(base).__name__)
def test_a_base_is_taken_by_its_own_means(base):
    assert ExpManager(base).grid({"lr": [1]}).build() == [{"lr": 1}]


@pytest.mark.parametrize("base", OPEN, ids=lambda base: type(base).__name__)
def test_new_keys_are_added_to_a_base_that_is_open(base):
    assert ExpManager(base).grid({"x": [1]}).build() == [{"lr": 0.1, "x": 1}]


@pytest.mark.parametrize("base", CLOSED, ids=lambda base: type(base).__name__)
@pytest.mark.parametrize(
    "sweep",
    [
        lambda m: m.grid({"lrr": [1]}),
        lambda m: m.variants([{"lr": 1}, {"lrr": 1}]),
        lambda m: m.random_search({"lrr": [1]}, n_trials=1),
        lambda m: m.chain({"lrr": [1]}),
    ],
    ids=["grid", "variants", "random_search", "chain"],
)
def test_a_typed_base_takes_no_key_that_looks_like_a_misspelt_one(base, sweep):
    with pytest.raises(
        ConfigError, match=r"'lrr' fits nothing: .*has no 'lrr' \(did you mean 'lr'"
    ):
        sweep(ExpManager(base)).build()


@pytest.mark.parametrize("base", CLOSED, ids=lambda base: type(base).__name__)
def test_a_typed_base_takes_a_seed(base):
    assert ExpManager(base).grid({"seed": [1]}).build() == [{"lr": 0.1, "seed": 1}]


@pytest.mark.parametrize("key", ["inner.lrr", "listed.0.lrr"])
def test_an_object_in_a_typed_base_takes_no_new_key_either(key):
    with pytest.raises(ConfigError, match=rf"'{key}' fits nothing: .*Settings, which has no 'lrr'"):
        ExpManager(Nested()).grid({key: [1]}).build()
    made = ExpManager(Nested()).grid({"free.b": [2], "inner": [{"x": 1}], "inner.y": [3]}).build()
    assert made[0]["free"] == {"a": 1, "b": 2} and made[0]["inner"] == {"x": 1, "y": 3}


def test_a_struct_of_omegaconf_in_a_dict_takes_no_new_key():
    base = {"model": struct(OmegaConf.create({"width": 3, "more": "${model.width}"})), "seed": 1}
    with pytest.raises(
        ConfigError, match=r"'model' of base_config is of the type DictConfig \(a struct\)"
    ):
        ExpManager(base).grid({"model.widht": [1]}).build()
    assert ExpManager(base).grid({"x": [1]}).build()[0]["x"] == 1


@pytest.mark.parametrize("base", [3, "lr=0.1", ["lr"], object(), Settings])
def test_any_other_base_is_refused_with_the_way_to_a_dict(base):
    with pytest.raises(ConfigError, match=r"base_config is a .*; give a dict, such as vars"):
        ExpManager(base)


@pytest.mark.parametrize(
    "base",
    [
        OmegaConf.create({"model": {"lr": 0.1, "size": [1, 2]}}),
        {"model": OmegaConf.create({"lr": 0.1, "size": [1, 2]})},
    ],
)
def test_nested_values_of_omegaconf_are_swept(base):
    made = ExpManager(base).grid({"model.lr": [0.5, 0.05], "model.size.1": [7]}).build()
    assert made == [{"model": {"lr": lr, "size": [1, 7]}} for lr in (0.5, 0.05)]


def test_interpolations_follow_the_sweep():
    base = OmegaConf.create({"lr": 0.1, "opt": {"lr": "${lr}", "name": "x-${lr}"}, "l": ["${lr}"]})
    made = ExpManager(base).grid({"lr": [0.5, 0.05]}).where(lambda c: c["opt"]["lr"] < 1).build()
    assert [(c["opt"], c["l"]) for c in made] == [
        ({"lr": 0.5, "name": "x-0.5"}, [0.5]),
        ({"lr": 0.05, "name": "x-0.05"}, [0.05]),
    ]


@pytest.mark.parametrize("value", ["???", "${nowhere}"])
def test_what_cannot_be_resolved_is_refused_with_its_key(value):
    base = OmegaConf.create({"opt": {"lr": value}})
    with pytest.raises(ConfigError, match=r"key .opt\.lr. of base_config"):
        ExpManager(base).build()
    assert ExpManager(base).grid({"opt.lr": [1]}).build() == [{"opt": {"lr": 1}}]


def test_a_dict_with_such_strings_is_left_alone():
    assert ExpManager({"path": "${HOME}/x", "q": "???"}).build() == [
        {"path": "${HOME}/x", "q": "???"}
    ]
