"""codec: what is kept and in which form, what is refused, and that only strict JSON is written."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
import math
import pathlib
import types
import uuid
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import decode, encode, float_text, number, plain

NAN, INF = math.nan, math.inf


class Colour(enum.Enum):
    RED = "red"
    NOT = NAN
    BOX = (1, INF)
    NONE = None


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    A = "a"


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Table(dict):  # type: ignore[type-arg]
    pass


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Model:
    depth: int
    rate: float
    parts: tuple[Any, ...] = ()


def named() -> None:
    """A function that has a name."""


def strict(data: bytes) -> Any:
    """Parse as the strictest reader would: UTF-8, no bare NaN or Infinity."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"a bare {word} was written")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def nested(depth: int, core: Any = 1) -> Any:
    return functools.reduce(lambda inner, _: [inner], range(depth), core)


KEPT: list[tuple[str, Any, Any]] = [
    ("none", None, None),
    ("true", True, True),
    ("int", 7, 7),
    ("negative_zero", -0.0, 0.0),
    ("float", 1.5, 1.5),
    ("integral_float", 2.0, 2.0),
    ("text", "\x00\u2028 \U0001f600 é", "\x00\u2028 \U0001f600 é"),
    ("nan", NAN, "NaN"),
    ("infinity", INF, "Infinity"),
    ("minus_infinity", -INF, "-Infinity"),
    ("list", [1, [2]], [1, [2]]),
    ("tuple", (1, (2, 3)), [1, [2, 3]]),
    ("named_tuple", Point(1, NAN), [1, "NaN"]),
    ("range", range(3), [0, 1, 2]),
    ("set", {3, 1, 2}, [1, 2, 3]),
    ("frozenset", frozenset({"b", "a"}), ["a", "b"]),
    ("set_of_mixed_kinds", {3, "a", 1, None}, [None, 1, 3, "a"]),
    ("set_of_tuples", {(2, 1), (1, 2)}, [[1, 2], [2, 1]]),
    ("path", pathlib.Path("a") / "b", str(pathlib.Path("a/b"))),
    ("windows_path", pathlib.PureWindowsPath("a/b"), "a\\b"),
    ("uuid", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("decimal", decimal.Decimal("1.10"), "1.10"),
    ("fraction", fractions.Fraction(1, 3), "1/3"),
    ("complex", 1 + 2j, "(1+2j)"),
    ("bytes", b"ab", "base64:YWI="),
    ("bytearray", bytearray(b"ab"), "base64:YWI="),
    ("date", datetime.date(2026, 3, 1), "2026-03-01"),
    ("datetime", datetime.datetime(2026, 3, 1, 10, 15), "2026-03-01T10:15:00"),
    ("time", datetime.time(10, 15), "10:15:00"),
    ("timedelta", datetime.timedelta(minutes=1, milliseconds=500), 60.5),
    ("enum", Colour.RED, "red"),
    ("enum_with_nan", Colour.NOT, "NaN"),
    ("enum_with_tuple", Colour.BOX, [1, "Infinity"]),
    ("enum_with_none", Colour.NONE, None),
    ("int_enum", Level.LOW, 1),
    ("str_enum", Word.A, "a"),
    ("str_subclass", Text("a"), "a"),
    ("int_subclass", Whole(3), 3),
    ("float_subclass", Real(NAN), "NaN"),
    ("dict_subclass", Table(a=(1,)), {"a": [1]}),
    ("ordered_dict", collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("counter", collections.Counter("aab"), {"a": 2, "b": 1}),
    ("mapping_proxy", types.MappingProxyType({"a": 1}), {"a": 1}),
    (
        "dataclass",
        Model(2, NAN, (1,)),
        {"__class__": "Model", "depth": 2, "rate": "NaN", "parts": [1]},
    ),
    ("simple_namespace", types.SimpleNamespace(a=(1,)), {"a": [1]}),
    ("argparse_namespace", argparse.Namespace(lr=0.1), {"lr": 0.1}),
    ("function", named, f"{__name__}.named"),
    ("class", Model, f"{__name__}.Model"),
    ("builtin_function", len, "builtins.len"),
    ("numpy_int", np.int32(3), 3),
    ("numpy_float", np.float32(0.5), 0.5),
    ("numpy_double", np.float64(0.1), 0.1),
    ("numpy_bool", np.bool_(True), True),
    ("numpy_nan", np.float64("nan"), "NaN"),
    ("numpy_text", np.str_("a"), "a"),
    ("numpy_array", np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ("numpy_array_0d", np.array(2.5), 2.5),
    ("numpy_array_with_nan", np.array([1.0, NAN, -INF]), [1.0, "NaN", "-Infinity"]),
    ("numpy_object_array", np.array([None, (1, 2)], dtype=object), [None, [1, 2]]),
    ("array_array", array.array("d", [1.5]), [1.5]),
    ("int_keys", {1: "a", -2: "b"}, {"1": "a", "-2": "b"}),
    ("numpy_int_key", {np.int64(1): 2}, {"1": 2}),
    ("float_key", {1.5: 1}, {"1.5": 1}),
    ("nan_key", {NAN: 1}, {"NaN": 1}),
    ("bool_and_none_keys", {True: 1, None: 2}, {"true": 1, "null": 2}),
    ("enum_key", {Colour.RED: 1}, {"red": 1}),
    ("path_key", {pathlib.PurePosixPath("a/b"): 1}, {"a/b": 1}),
    ("str_subclass_key", {Text("k"): 1}, {"k": 1}),
    ("big_int_key", {10**30: 1}, {str(10**30): 1}),
]
kept = pytest.mark.parametrize(("value", "tree"), [pytest.param(v, t, id=n) for n, v, t in KEPT])


@kept
def test_a_kept_value_has_one_plain_form(value: Any, tree: Any) -> None:
    found = plain(value)
    assert found == tree
    assert type(found) is type(tree)


@kept
def test_a_kept_value_is_written_as_its_plain_form(value: Any, tree: Any) -> None:
    assert strict(encode(value)) == tree
    assert strict(encode({"deep": [(value,)]}, indent=True)) == {"deep": [[tree]]}


@kept
def test_a_plain_form_is_plain_already(value: Any, tree: Any) -> None:
    assert plain(plain(value)) == tree


@pytest.mark.parametrize("value", [np.longdouble(3), np.array([3], dtype=np.longdouble)])
def test_numpy_extended_precision_is_kept_like_other_numpy_numbers(value: Any) -> None:
    assert plain(value) in (3.0, [3.0])


def test_dtypes_and_devices_are_kept_as_their_names_and_told_apart() -> None:
    assert plain([np.dtype("float32"), np.dtype(">f4")]) == ["float32", ">f4"]
    torch = pytest.importorskip("torch")
    value = [torch.float32, torch.device("cuda:1"), torch.strided, torch.channels_last]
    assert strict(encode(value)) == list(map(str, value))
    assert plain(torch.float32) == "torch.float32"


def test_objects_of_pydantic_are_kept_with_the_name_of_their_class() -> None:
    pydantic = pytest.importorskip("pydantic")
    Inner = pydantic.create_model("Inner", size=(tuple, (2, 3)))
    Outer = pydantic.create_model("Outer", lr=(float, 0.1), inner=(Inner, Inner()))
    inner = {"__class__": "Inner", "size": [2, 3]}
    assert plain(Outer()) == {"__class__": "Outer", "lr": 0.1, "inner": inner}
    assert plain(Outer(lr=NAN))["lr"] == "NaN"


def test_objects_of_attrs_are_kept_with_the_name_of_their_class() -> None:
    attrs = pytest.importorskip("attrs")
    Adam = attrs.make_class("Adam", {"lr": attrs.field(), "betas": attrs.field(default=(1, 2))})
    assert plain(Adam(0.1)) == {"__class__": "Adam", "lr": 0.1, "betas": [1, 2]}


def test_tensors_are_kept_as_numbers_and_lists() -> None:
    torch = pytest.importorskip("torch")
    value = {
        "zero_dim": torch.tensor(1.5, requires_grad=True),
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "nan": torch.tensor([NAN, 1.0]),
    }
    assert strict(encode(value)) == {"zero_dim": 1.5, "half": 0.5, "nan": ["NaN", 1.0]}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x,),
        lambda x: {"a": {"b": [(None, x)]}},
        lambda x: np.array([x]),
        lambda x: [Model(1, x)],
        lambda x: {"path": pathlib.Path("p"), "x": x},
        lambda x: [10**30, x],
        lambda x: ["\ud800", x],
    ],
)
def test_no_bare_non_finite_number_is_ever_written(word: str, wrap: Any) -> None:
    text = encode(wrap(float(word)))
    assert f'"{word}"'.encode() in text
    strict(text)


def test_none_beside_nan_stays_null() -> None:
    assert strict(encode([None, NAN, "null", "NaN"])) == [None, "NaN", "null", "NaN"]


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**30 + 1, -(10**4000)])
def test_big_integers_are_written_and_read_back_exactly(value: int) -> None:
    text = encode({"n": value})
    assert strict(text) == {"n": value}
    assert repr(decode(text)["n"]) == str(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\udc80b", NAN]])
def test_lone_surrogates_are_escaped_and_read_back(value: Any) -> None:
    text = encode(value)
    text.decode("utf-8")
    assert decode(text) == plain(value)


def test_a_line_has_no_line_end_in_it() -> None:
    assert b"\n" not in encode({"a": "x\ny\r\n", "b": [1, {"c": 10**30}]})


def test_indented_text_says_the_same() -> None:
    value = {"a": [1, {"b": NAN}], "big": 10**30}
    assert strict(encode(value, indent=True)) == strict(encode(value))
    assert b"\n" in encode(value, indent=True)


REFUSED: list[tuple[str, Any, str]] = [
    ("lambda", {"model": {"act": [lambda x: x]}}, "model.act.0"),
    ("object", {"a": {"b": object()}}, "a.b"),
    ("partial", {"loss": functools.partial(int)}, "loss"),
    ("generator", {"data": (i for i in [1])}, "data"),
    ("module", {"lib": math}, "lib"),
    ("in_set", {"s": {len, object()}}, "s.{}"),
    ("in_tuple", {"t": (1, (2, object()))}, "t.1.1"),
    ("in_dataclass", {"m": Model(1, 1.0, (object(),))}, "m.parts.0"),
    ("in_namespace", {"n": types.SimpleNamespace(a=object())}, "n.a"),
    ("in_object_array", {"x": np.array([object()], dtype=object)}, "x.0"),
    ("under_int_key", {"a": {3: object()}}, "a.3"),
    ("local_function", {"f": (lambda: lambda: 0)()}, "f"),
]


@pytest.mark.parametrize("call", [plain, encode])
@pytest.mark.parametrize(("value", "path"), [pytest.param(v, p, id=name) for name, v, p in REFUSED])
def test_what_has_no_stable_form_is_refused_with_its_path(call: Any, value: Any, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(value)
    assert f"key {path!r}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_refusal_names_the_kind_of_value(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "f").open("w") as handle, pytest.raises(ConfigError, match="TextIOWrapper"):
        plain({"log": handle})
    with pytest.raises(ConfigError, match="the value holds a lambda"):
        plain(lambda: 0)


def test_a_key_that_json_cannot_keep_is_refused_with_the_place_of_its_mapping() -> None:
    with pytest.raises(ConfigError, match=r"key 'grid' has the key \(1, 2\)"):
        plain({"grid": {(1, 2): 3}})


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {True: 1, "true": 2}, {None: 1, "null": 2}])
def test_keys_of_equal_text_are_refused_not_merged(value: Any) -> None:
    with pytest.raises(ConfigError, match="is there twice"):
        plain({"outer": value})


@pytest.mark.parametrize("call", [plain, encode])
def test_a_value_that_contains_itself_is_refused(call: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    knot: dict[str, Any] = {}
    knot["self"] = knot
    for value in (loop, knot, [NAN, loop]):
        with pytest.raises(ConfigError, match="nested too deeply, or contains itself"):
            call(value)


@pytest.mark.parametrize("core", [1, NAN, pathlib.Path("a"), 10**30])
def test_nesting_that_a_person_would_write_is_kept(core: Any) -> None:
    assert decode(encode(nested(200, core))) == nested(200, plain(core))


def test_nesting_beyond_the_fast_encoder_is_kept() -> None:
    assert decode(encode(nested(300))) == nested(300)


@pytest.mark.parametrize("core", [1, NAN, None])
def test_absurd_nesting_is_refused_by_a_config_error(core: Any) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        encode(nested(100_000, core))


def test_an_integer_too_long_for_decimal_text_is_refused_by_a_config_error() -> None:
    with pytest.raises(ConfigError, match="n"):
        encode({"n": 10**5000})


def test_bare_non_finite_literals_of_old_files_are_read() -> None:
    a, b, c, d = decode(b"[NaN, Infinity, -Infinity, 1]")
    assert math.isnan(a)
    assert (b, c, d) == (INF, -INF, 1)


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a": 1', b"\xff\xfe\x00", b"\x00\x00", b'{"a":"\xe9"}', b"[" * 100_000]
)
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@pytest.mark.parametrize("value", [INF, -INF])
def test_number_turns_the_stored_word_back(value: float) -> None:
    assert number(float_text(value)) == value
    assert math.isnan(number(float_text(NAN)))


@pytest.mark.parametrize("value", ["nan", "inf", "", 3, 1.5, None, True, [1]])
def test_number_leaves_everything_else_alone(value: Any) -> None:
    assert number(value) is value


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.text(st.characters(categories=["Cs", "Cc", "Lu", "So"]), max_size=4),
    st.binary(max_size=4),
    st.dates(),
    st.uuids(),
    st.builds(pathlib.PurePosixPath, st.sampled_from(["a", "a/b"])),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.int64, st.integers(-(2**63), 2**63 - 1)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        st.dictionaries(st.integers(), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(database=None, deadline=None, max_examples=50)
@given(trees)
def test_what_is_written_is_the_plain_form_for_any_tree(value: Any) -> None:
    assert strict(encode(value)) == plain(value)
    assert strict(encode(value, indent=True)) == plain(value)


@settings(database=None, deadline=None, max_examples=50)
@given(trees)
def test_what_was_written_reads_back_as_the_plain_form_for_any_tree(value: Any) -> None:
    assert repr(decode(encode(value))) == repr(plain(value))  # 1 and 1.0 are told apart
