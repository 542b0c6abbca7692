"""identity: which configurations are the same, whatever form they were written in."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import pathlib
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ztxexp_core.errors import ConfigError
from ztxexp_core.values import identity
from ztxexp_core.values.codec import decode, encode, plain
from ztxexp_core.values.identity import canonical, config_identity

NAN, INF = math.nan, math.inf
quick = settings(database=None, deadline=None, max_examples=60)


class Mode(enum.Enum):
    FAST = "fast"


def relu() -> None:
    """Stands for an activation."""


def gelu() -> None:
    """Stands for another one."""


SAME: list[tuple[str, Any, Any]] = [
    ("tuple_and_list", (1, (2, 3)), [1, [2, 3]]),
    ("path_and_text", pathlib.PurePosixPath("a/b"), "a/b"),
    ("numpy_int_and_int", np.int64(3), 3),
    ("numpy_float_and_float", np.float64(0.1), 0.1),
    ("numpy_small_float_and_float", np.float64(1e-5), 1e-5),
    ("numpy_bool_and_bool", np.bool_(True), True),
    ("numpy_array_and_list", np.array([1, 2]), [1, 2]),
    ("one_and_one_point_zero", 1, 1.0),
    ("zero_and_minus_zero", 0, -0.0),
    ("big_integral_float_and_int", 1e16, 10**16),
    ("beyond_64_bits", 1e25, int(1e25)),
    ("set_and_sorted_list", {3, 1, 2}, [1, 2, 3]),
    ("sets_in_other_order", {"b", "a", "c"}, {"c", "a", "b"}),
    ("enum_and_its_value", Mode.FAST, "fast"),
    ("nan_and_nan", NAN, -NAN),
    ("nan_and_its_stored_word", [NAN, INF], ["NaN", "Infinity"]),
    ("int_key_and_text_key", {1: "a"}, {"1": "a"}),
    ("ordered_dict_and_dict", collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
    ("key_order", {"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}),
    ("function_and_its_name", relu, f"{__name__}.relu"),
]
DIFFERENT: list[tuple[str, Any, Any]] = [
    ("true_and_one", True, 1),
    ("false_and_zero", False, 0),
    ("text_and_number", "1", 1),
    ("none_and_its_word", None, "None"),
    ("none_and_null_text", None, "null"),
    ("none_and_nan", None, NAN),
    ("none_and_false", None, False),
    ("none_and_empty", None, ""),
    ("nan_and_infinity", NAN, INF),
    ("infinities", INF, -INF),
    ("float_and_its_text", 0.1, "0.1"),
    ("near_floats", 0.1, 0.1 + 1e-16),
    ("near_small_floats", 1e-5, 1.0000000000000002e-5),
    ("big_ints_one_apart", 10**30, 10**30 + 1),
    ("ints_above_2_to_53", 2**53, 2**53 + 1),
    ("list_order", [1, 2], [2, 1]),
    ("nesting", [[1], 2], [1, [2]]),
    ("list_and_scalar", [1], 1),
    ("empty_list_and_empty_dict", [], {}),
    ("list_and_its_text", [1], "[1]"),
    ("quotes", 'a","b', ["a", "b"]),
    ("functions", relu, gelu),
    ("case", "A", "a"),
    ("composed_and_decomposed_letters", "\u00e9", "e\u0301"),
    ("dict_and_pairs", {"a": 1}, [["a", 1]]),
    ("decimal_digits", decimal.Decimal("1.1"), decimal.Decimal("1.10")),
    ("durations_of_other_units", np.timedelta64(5, "s"), np.timedelta64(5, "ns")),
]


def cases(table: list[tuple[str, Any, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("a", "b"), [pytest.param(a, b, id=n) for n, a, b in table])


@cases(SAME)
def test_these_are_the_same_configuration(a: Any, b: Any) -> None:
    assert config_identity({"x": a}) == config_identity({"x": b})
    assert config_identity({"o": [{"x": a}]}) == config_identity({"o": [{"x": b}]})


@cases(DIFFERENT)
def test_these_are_different_configurations(a: Any, b: Any) -> None:
    assert config_identity({"x": a}) != config_identity({"x": b})
    assert config_identity({"o": [{"x": a}]}) != config_identity({"o": [{"x": b}]})


def test_the_place_of_a_value_counts() -> None:
    found = {
        config_identity(c)
        for c in ({"a": 1}, {"b": 1}, {"a": {"b": 1}}, {"a.b": 1}, {"a": 1, "b": None}, {})
    }
    assert len(found) == 6


def test_what_stands_beside_a_number_does_not_change_its_canonical_form() -> None:
    for x in (1e-5, 9.9e-5, 1.5e-5, 1e-6, 1e16, 2.0, 0.1):
        alone = config_identity({"lr": x, "out": "a", "n": None})
        assert config_identity({"lr": x, "out": pathlib.PurePosixPath("a"), "n": None}) == alone
        without_null = config_identity({"lr": x, "out": "a"})
        assert config_identity({"lr": x, "out": pathlib.PurePosixPath("a")}) == without_null
        assert config_identity({"lr": np.float64(x), "out": "a"}) == without_null


def test_a_big_integer_has_the_identity_of_what_is_read_back() -> None:
    config = {"seed": 10**30 + 1, "mask": 2**64}
    assert config_identity(decode(encode(config))) == config_identity(config)


def test_lone_surrogates_count_and_are_recognised_again() -> None:
    assert config_identity({"a": "\ud800"}) != config_identity({"a": "\ud801"})
    config = {"a": "\ud800", "\udc00": 1}
    assert config_identity(decode(encode(config))) == config_identity(config)


def test_an_identity_says_its_version_first() -> None:
    version, _, digest = config_identity({"a": 1}).partition(":")
    assert version == identity.VERSION
    assert len(bytes.fromhex(digest)) == 16


@pytest.mark.parametrize(
    ("value", "path"), [([lambda: 0], "model.0"), (object(), "model"), ({"a": object()}, "model.a")]
)
def test_what_cannot_be_recognised_again_is_refused_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(ConfigError, match=f"key '{path}'"):
        config_identity({"model": value})
    with pytest.raises(ConfigError, match=f"key '{path}'"):
        config_identity({"model": value}, ignore_keys=["other"])


def test_an_open_file_is_refused(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "f").open("w") as handle, pytest.raises(ConfigError, match="key 'log'"):
        config_identity({"log": handle})


# ---- keys that do not count ------------------------------------------------------------------

BASE: dict[str, Any] = {"lr": 0.1, "data": {"workers": 4, "name": "x", "io": {"n": 1}}}


@pytest.mark.parametrize(
    ("ignored", "changed"),
    [
        (["lr"], {**BASE, "lr": 0.2}),
        (["data"], {**BASE, "data": 3}),
        (["data.workers"], {**BASE, "data": {**BASE["data"], "workers": 9}}),
        (["data.io.n"], {**BASE, "data": {**BASE["data"], "io": {"n": 7}}}),
        (["data.workers", "lr"], {"lr": 1, "data": {**BASE["data"], "workers": 9}}),
        (("lr", "lr"), {**BASE, "lr": None}),
        ({"data.workers"}, {"lr": 0.1, "data": {"name": "x", "io": {"n": 1}}}),
        (["lr"], {"data": BASE["data"]}),
    ],
)
def test_an_ignored_key_does_not_count(ignored: Any, changed: Any) -> None:
    assert config_identity(changed, ignored) == config_identity(BASE, ignored)
    assert config_identity(changed) != config_identity(BASE)


def test_a_literal_dotted_key_is_ignored_like_a_nested_one() -> None:
    a = {"data.workers": 1, "data": {"workers": 1, "name": "x"}}
    b = {"data.workers": 2, "data": {"workers": 2, "name": "x"}}
    assert config_identity(a, ["data.workers"]) == config_identity(b, ["data.workers"])
    b["data"] = {"workers": 2, "name": "y"}
    assert config_identity(a, ["data.workers"]) != config_identity(b, ["data.workers"])


def test_ignoring_a_key_ignores_no_other() -> None:
    for changed in (
        {**BASE, "data": {**BASE["data"], "name": "y"}},
        {**BASE, "workers": 1},
        {**BASE, "data": {**BASE["data"], "io": {"n": 1, "workers": 2}}},
    ):
        assert config_identity(changed, ["data.workers"]) != config_identity(BASE, ["data.workers"])


def test_ignoring_keys_that_are_not_there_changes_nothing() -> None:
    assert config_identity(BASE, ["no", "lr.x", "data.no.n", "a.b.c"]) == config_identity(BASE)


def test_ignored_keys_reach_namespaces_and_integer_keys() -> None:
    import argparse

    a = {"args": argparse.Namespace(gpu=0, lr=1), "by_layer": {1: "x", 2: "y"}}
    b = {"args": argparse.Namespace(gpu=1, lr=1), "by_layer": {1: "z", 2: "y"}}
    ignored = ["args.gpu", "by_layer.1"]
    assert config_identity(a, ignored) == config_identity(b, ignored)


def test_the_configuration_itself_is_left_alone() -> None:
    config = {"a": {"b": 1, "c": (1, 2)}, "d": np.float64(2)}
    before = repr(config)
    config_identity(config, ["a.b", "d"])
    assert repr(config) == before


# ---- stability ---------------------------------------------------------------------------------

FROZEN: list[tuple[dict[str, Any], str]] = [
    ({}, "1:2afb9b83f9314e5d029766197f539792"),
    ({"lr": 0.1, "seed": 1}, "1:c20365daecfdd185200a96c7ef20bbc2"),
    (
        {"model": {"name": "mlp", "layers": [64, 32]}, "use_bn": True, "note": None},
        "1:2cfdddac45bdb4c140f9a675b28c1d96",
    ),
    ({"lr": 2.0, "n": 10**20, "x": [0.5, -3, 1e300]}, "1:103e0660d283358f932077e01a0c8059"),
    ({"\u540d": "\u503c \n\u2028", "k": "\x00"}, "1:fa03b856234d43cecc00995cde7a8210"),
    ({"lr": 1e-5, "eps": 1e-8}, "1:fe6fbef6a013d1a374cfb332129c6331"),
]


def test_stored_identities_are_still_computed_alike() -> None:
    """A failure here means that every stored hash is out of date: raise ``identity.VERSION``."""
    assert [(c, config_identity(c)) for c, _ in FROZEN] == FROZEN


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "{}"),
        ({"b": 1.0, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"a": NAN, "b": -INF}, '{"a":"NaN","b":"-Infinity"}'),
        ({"lr": 1e-6, "n": 1e20}, '{"lr":1e-06,"n":100000000000000000000}'),
        ({"x": '\x00\n"\\/é\u2028'}, '{"x":"\\u0000\\n\\"\\\\/é\u2028"}'),
    ],
)
def test_the_canonical_text_is_sorted_json_without_spaces(config: Any, text: str) -> None:
    assert canonical(config).decode() == text


# ---- properties ----------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ODD_TEXT = st.sampled_from(
    ["null", "1.0,", ".0]", "2e5", "\x00\x1f\x7f\u2028", "\U0001f600", '"\\/', "NaN", "0.00001"]
)
ODD_FLOATS = st.sampled_from(
    [0.0, -0.0, 1.0, 1e15, 1e16, 1.5e16, 1e22, 1e300, 5e-324, 0.0001, 1e-4 - 1e-12, 1e-6, 1e-7]
) | st.floats(1e-7, 1e-3)
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    ODD_FLOATS,
    st.integers(-(10**20), 10**20).map(float),
)
plain_leaves = st.one_of(st.none(), st.booleans(), numbers, TEXT, ODD_TEXT)


def trees(leaves: Any) -> Any:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(TEXT | ODD_TEXT, inner, max_size=4)
        ),
        max_leaves=10,
    )


rich_leaves = st.one_of(
    plain_leaves,
    st.floats(),
    st.integers(),
    st.binary(max_size=3),
    st.dates(),
    st.datetimes(),
    st.timedeltas(min_value=datetime.timedelta(days=-999), max_value=datetime.timedelta(days=999)),
    st.uuids(),
    st.decimals(),
    st.fractions(),
    st.builds(pathlib.PurePosixPath, TEXT),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.float64, numbers.map(float)),
    st.builds(np.int64, st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats(), max_size=3).map(np.array),
    st.lists(st.integers(), max_size=3).map(tuple),
    st.frozensets(st.integers() | TEXT, max_size=3),
    st.sampled_from([Mode.FAST, relu, gelu, int, uuid.UUID]),
    st.dictionaries(st.integers(), st.integers(), max_size=3),
)
configs = st.dictionaries(TEXT, trees(rich_leaves), max_size=4)


@quick
@given(configs)
@example({"lr": np.float64(1e-5)})
@example({"lr": 1e-5, "out": pathlib.PurePosixPath("a")})
def test_what_json_reads_back_has_the_identity_of_what_was_written(config: Any) -> None:
    assert config_identity(json.loads(json.dumps(plain(config)))) == config_identity(config)


@quick
@given(configs)
@example({"seed": 2**64 + 1})
def test_what_the_store_reads_back_has_the_identity_of_what_was_written(config: Any) -> None:
    assert config_identity(decode(encode(config))) == config_identity(config)


@quick
@given(st.dictionaries(TEXT, trees(plain_leaves), max_size=4))
@example({"lr": 1e-5})
@example({"lr": 9.5e-5, "n": [-1.5e-5]})
def test_the_fast_path_gives_the_text_of_the_slow_path(config: Any) -> None:
    assert canonical(config) == identity._text(plain(config)).encode()


@quick
@given(st.dictionaries(TEXT, trees(plain_leaves), max_size=4))
def test_ignoring_nothing_and_ignoring_an_absent_key_agree(config: Any) -> None:
    assert canonical(config, ["\x00absent"]) == canonical(config)


@quick
@given(trees(plain_leaves), trees(plain_leaves))
def test_two_plain_trees_are_the_same_only_where_they_are_equal(a: Any, b: Any) -> None:
    def typed(tree: Any) -> Any:  # True is not 1, but 1 is 1.0
        if isinstance(tree, dict):
            return {key: typed(item) for key, item in tree.items()}
        if isinstance(tree, list):
            return [typed(item) for item in tree]
        return (isinstance(tree, bool), tree)

    same = canonical({"x": a}) == canonical({"x": b})
    assert same == (typed(a) == typed(b))


@dataclasses.dataclass
class Adam:
    lr: float = 0.1

    def step(self) -> None: ...


@dataclasses.dataclass
class Sgd:
    lr: float = 0.1


def test_dataclasses_of_different_classes_differ_even_with_equal_fields() -> None:
    assert config_identity({"opt": Adam()}) != config_identity({"opt": Sgd()})
    assert config_identity({"opt": Adam()}) == config_identity({"opt": Adam(0.1)})


def test_methods_of_different_objects_do_not_pass_for_the_same() -> None:
    with pytest.raises(ConfigError, match="'f'"):
        config_identity({"f": Adam(1.0).step})


def test_wrappers_that_borrow_a_name_do_not_pass_for_what_they_wrap() -> None:
    @functools.wraps(config_identity)
    def wrapper(*args: Any) -> None: ...

    with pytest.raises(ConfigError, match="'f'"):
        config_identity({"f": wrapper})
