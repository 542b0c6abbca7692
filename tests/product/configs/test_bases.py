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


class Model(pydantic.BaseModel):
    lr: float = 0.1


@attrs.define
class Options:
    lr: float = 0.1


@pytest.mark.parametrize(
    "base",
    [
        {"lr": 0.1},
        argparse.Namespace(lr=0.1),
        types.SimpleNamespace(lr=0.1),
        types.MappingProxyType({"lr": 0.1}),
        Settings(),
        Model(),
        Options(),
        OmegaConf.create({"lr": 0.1}),
        OmegaConf.structured(Settings),
    ],
    ids=lambda base: type(base).__name__,
)
def test_a_base_is_taken_by_its_own_means(base):
    assert ExpManager(base).grid({"x": [1]}).build() == [{"lr": 0.1, "x": 1}]


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
