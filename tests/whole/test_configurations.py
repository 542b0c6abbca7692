"""Whatever configuration is run: what stands on disk is what was asked for, and is recognised."""

from __future__ import annotations

import dataclasses
import enum
import pathlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import read_history, strict

from ztxexp import ExpManager, ExpRunner, ResultAnalyzer
from ztxexp.configs.keys import literal
from ztxexp.results import index
from ztxexp_core.values.identity import config_identity


class Mode(enum.Enum):
    FAST = "fast"
    EXACT = 2


@dataclasses.dataclass(frozen=True)
class Adam:
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


KEYS = st.sampled_from(["lr", "seed", "model", "a b", literal("ä.b")]) | st.integers(0, 3)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.floats(width=32).map(np.float32),
    st.integers(-5, 5).map(np.int64),
    st.booleans().map(np.bool_),
    st.binary(max_size=4),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.sampled_from(Mode),
    st.sampled_from([pathlib.PurePosixPath("a/b"), Adam(0.1), Adam(0.2), np.sum, Adam]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(st.integers(-3, 3) | st.text(max_size=2), max_size=3),
        st.lists(st.floats(allow_nan=False), max_size=3).map(np.array),
    ),
    max_leaves=4,
)
CONFIGS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=5)


def nothing(ctx):
    return {"seen": 1.0}


@pytest.mark.slow
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(CONFIGS, st.booleans())
def test_what_is_written_is_read_back_and_recognised(tmp_path_factory, configs, cached):
    root = tmp_path_factory.mktemp("any")
    configs = list({config_identity(config): config for config in configs}.values())
    asked = {config_identity(config) for config in configs}
    before = index._WORTH_KEEPING, index.stamp
    if cached:
        index._WORTH_KEEPING, index.stamp = -1, lambda root: 4e9
    try:
        assert ExpRunner(configs, root).run(nothing, progress=False).succeeded == len(asked)
        for _ in ("cold", "warm"):
            found = read_history(root)
            assert set(found) == asked
            for identity, past in found.items():
                on_disk = strict(past.folder / "config.json")
                assert config_identity(on_disk) == identity
                assert strict(past.folder / "run.json")["identity"] == identity
            left = ExpManager({}).variants(configs).exclude_completed(results_root=str(root))
            assert left.build() == []
            assert len(ResultAnalyzer(root).to_records()) == len(asked)
            assert len(ResultAnalyzer(root).to_dataframe(flatten=True)) == len(asked)
        other = {"seed": "not among them", "lr": -1.5}
        left = ExpManager({}).variants([*configs, other]).exclude_completed(results_root=str(root))
        assert left.build() == [other]
    finally:
        index._WORTH_KEEPING, index.stamp = before
