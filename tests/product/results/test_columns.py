"""Many JSON table, kept by column."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp.results.columns import ColumnTable, DictColumn, from_tree, pack, to_tree
from ztxexp.results.keys import ABSENT, codes_at, codes_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([1.0, 0.5, "1", "a", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner),
    max_leaves=3,
)
OBJECTS = st.lists(
    st.none() | st.dictionaries(st.sampled_from(["lr", "seed", "model"]), VALUES), max_size=12
)


def alike(one, other):
    """Tell whether two values are the same, kinds and order of keys included."""
    return json.dumps(one) == json.dumps(other)


@given(OBJECTS)
def test_what_is_packed_comes_out_as_it_went_in(given_):
    packed = pack(given_, len(given_))
    assert alike(list(packed.all()), given_)
    for key in ("lr", "seed", "model"):
        assert alike(packed.column(key, "none"), [(g or {}).get(key, "none") for g in given_])
    assert set(packed.names()) == {key for one in given_ for key in one or {}}


@given(OBJECTS, st.data())
def test_a_choice_is_numbered_anew(given_, data):
    places = sorted(data.draw(st.sets(st.sampled_from(range(len(given_))))) if given_ else [])
    some = pack(given_, len(given_)).chosen(places)
    assert some.size == len(places)
    assert alike(list(some.all()), [given_[place] for place in places])


@given(OBJECTS)
def test_the_tree_that_is_written_gives_the_same_table(given_):
    packed = pack(given_, len(given_))
    trees = orjson.loads(orjson.dumps(to_tree(packed, range(len(given_)))))
    assert alike(list(from_tree(trees, len(given_)).all()), given_)


@given(OBJECTS, st.data())
def test_single_table_come_before_those_of_the_groups(given_, data):
    packed = pack(given_, len(given_))
    for place in data.draw(st.sets(st.sampled_from(range(len(given_))))) if given_ else ():
        packed.overrides[place] = given_[place] = {"new": place, "lr": None}
    assert alike(list(packed.all()), given_)
    assert alike(packed.column("lr", 7), [(one or {}).get("lr", 7) for one in given_])
    assert alike(list(pack(packed.all(), packed.size).all()), given_)


def test_values_that_come_again_are_kept_once():
    configs = [{"model": "resnet", "layers": [64, 64], "lr": n / 10} for n in range(10)]
    trees = to_tree(pack(configs, 10), range(10))
    model, layers, lr = trees[0]["columns"]
    assert model == {"values": ["resnet"], "codes": [0] * 10}
    assert layers == {"values": [[64, 64]], "codes": [0] * 10}
    assert lr == [n / 10 for n in range(10)]


def test_values_that_only_look_alike_are_kept_apart():
    column = [1, True, 1.0] * 4
    trees = orjson.loads(orjson.dumps(to_tree(pack([{"a": v} for v in column], 12), range(12))))
    assert list(map(repr, from_tree(trees, 12).column("a"))) == ["1", "True", "1.0"] * 4


def test_an_object_shares_nothing_with_others():
    table = from_tree([{"keys": ["a"], "places": [0, 1], "columns": [COLUMN]}], 2)
    first, second = table.all()
    first["a"].append(3)
    assert (second, next(table.at([0]))) == ({"a": [1]}, {"a": [1]})


COLUMN = {"values": [[1]], "codes": [0, 0]}


@pytest.mark.parametrize(
    "tree",
    [
        {"keys": ["a"], "places": [0, 1], "columns": []},
        {"keys": ["a"], "places": [0, 1], "columns": [[1]]},
        {"keys": ["a"], "places": [0, 2], "columns": [[1, 2]]},
        {"keys": ["a"], "places": [-1, 0], "columns": [[1, 2]]},
        {"keys": ["a"], "places": [0, 1], "columns": [{"values": [1], "codes": [0, 1]}]},
        {"keys": ["a"], "places": [0, 1], "columns": [{"values": [1]}]},
        {"keys": ["a"], "places": ["0", "1"], "columns": [[1, 2]]},
        {"places": [0], "columns": [[1]]},
    ],
)
def test_what_is_no_such_tree_is_refused(tree):
    with pytest.raises((ValueError, TypeError, LookupError)):
        from_tree([tree], 2)


def test_a_whole_column_is_handed_on_as_it_is_kept():
    table = ColumnTable(
        2, from_tree([{"keys": ["a"], "places": [0, 1], "columns": [COLUMN]}], 2).groups
    )
    whole = table.stored_column("a")
    assert isinstance(whole, DictColumn) and whole.codes == [0, 0]
    assert pack([{"a": 1}, None], 2).stored_column("a", 7) == [1, 7]
    assert pack([{"a": 1}, {"b": 1, "a": 2}], 2).stored_column("a") == [1, 2]
    assert pack([{"a": n} for n in range(5)], 5).chosen([1, 3]).stored_column("a") == [1, 3]


def test_values_of_some_kinds_can_be_replaced():
    table = pack([{"a": "NaN", "b": 1}, {"a": "x", "b": 2}], 2)
    table.overrides[1] = {"a": "NaN", "b": 3}
    table.map_values(lambda value: value.lower(), {str})
    assert table.column("a") == ["nan", "nan"]
    assert table.column("b") == [1, 3]


@given(OBJECTS)
def test_codes_by_column_are_those_by_cell(given_):
    packed = pack(given_, len(given_))
    written = from_tree(
        orjson.loads(orjson.dumps(to_tree(packed, range(len(given_))))), len(given_)
    )
    for key in ("lr", "seed", "model"):
        assert codes_at(written, key) == codes_of(packed.column(key, ABSENT))


def test_lists_of_keys_stand_in_the_order_of_the_positions():
    table = pack([{"b": 1}, {"a": 1}, {"b": 2}], 3)
    table.overrides[0] = {"c": 1}
    assert table.keys() == ([(), ("c",), ("a",), ("b",)], [1, 2, 3])
    assert pack([{"b": 1}, {"a": 1}], 2).keys() == ([(), ("b",), ("a",)], [1, 2])
