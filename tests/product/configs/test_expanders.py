"""The built-in expanders, called as the core calls them: options checked, then the hook."""

import copy
import logging
import math
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp.configs.distributions import choice, integers, loguniform, uniform
from ztxexp.configs.keys import literal
from ztxexp.manager import ExpManager
from ztxexp_core.errors import ConfigError, OptionError
from ztxexp_core.plugins.registry import expanders
from ztxexp_core.values.copying import copy_config


def expand(name, configs=({},), **options):
    plugin = expanders().load(name)
    return list(plugin.call(configs=configs, options=plugin.check_options(options)))


# ---- grid ------------------------------------------------------------------------------------


def test_a_grid_is_the_product_in_key_order_with_the_base_outermost():
    made = expand("grid", [{"seed": 1}, {"seed": 2}], param_grid={"a": [1, 2], "b": ["x", ""]})
    assert [(c["seed"], c["a"], c["b"]) for c in made] == [
        (seed, a, b) for seed in (1, 2) for a in (1, 2) for b in ("x", "")
    ]
    assert list(made[0]) == ["seed", "a", "b"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grid", {"param_grid": {}}),
        ("grid", {"param_grid": None}),
        ("variants", {"variants": []}),
        ("variants", {"variants": {}}),
        ("zip", {"space": {}}),
        ("random_search", {"space": {}, "n_trials": 3}),
        ("random_search", {"space": {"a": [1]}, "n_trials": 0}),
        ("random_search", {"space": {"a": [1]}, "n_trials": -1}),
        ("chain", {"spaces": []}),
    ],
)
def test_an_empty_description_passes_configurations_through(name, options):
    given_ = [{"a": [0]}, {"a": [1]}]
    made = expand(name, given_, **options)
    assert made == given_
    assert made[0]["a"] is not given_[0]["a"]


def test_a_key_without_values_leaves_no_configuration():
    assert expand("grid", param_grid={"a": [1, 2], "b": []}) == []


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("grid", {"param_grid": {"a": [1], "b": [], "c": []}}, "'b', 'c'"),
        ("zip", {"space": {"a": [], "b": []}}, "'a', 'b'"),
        ("chain", {"spaces": [{"b": []}, {"a": [1]}]}, "'b'"),
        ("variants", {"variants": {"a": [], "b": []}}, "'a', 'b'"),
    ],
)
def test_an_empty_list_of_values_is_told_once_with_its_key(caplog, name, options, keys):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        expand(name, [{"s": 1}, {"s": 2}], **options)
    (record,) = caplog.records
    assert f"an empty list gives no configuration; add values for {keys}" in record.getMessage()


class LikeSciPy:
    def rvs(self, random_state):
        return 1


@pytest.mark.parametrize("drawn", [uniform(0, 1), choice([1, 2]), LikeSciPy()])
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("grid", lambda drawn: {"param_grid": {"lr": drawn}}),
        ("grid", lambda drawn: {"param_grid": {"lr": [0.1, drawn]}}),
        ("zip", lambda drawn: {"space": {"lr": drawn}}),
        ("zip", lambda drawn: {"space": {"lr": [drawn]}}),
        ("variants", lambda drawn: {"variants": {"lr": drawn}}),
        ("variants", lambda drawn: {"variants": {"lr": [drawn]}}),
        ("variants", lambda drawn: {"variants": [{"a": 1}, {"lr": drawn}]}),
        ("chain", lambda drawn: {"spaces": [{"lr": drawn}]}),
    ],
)
def test_a_distribution_where_values_are_listed_is_sent_to_random_search(name, wrap, drawn):
    expected = r"key 'lr' holds the distribution .*distributions belong in random_search"
    with pytest.raises(ConfigError, match=expected) as caught:
        expanders().load(name).check_options(wrap(drawn))
    assert "write [" not in str(caught.value)


def test_a_distribution_inside_of_a_list_is_no_value_to_be_drawn():
    for make in (
        lambda: expand("random_search", space={"lr": [uniform(0, 1)]}, n_trials=1),
        lambda: choice([1, uniform(0, 1)]),
    ):
        with pytest.raises(ConfigError, match="write the distribution itself where"):
            make()


def test_any_iterable_of_values_will_do():
    grid = {
        "a": range(2),
        "b": (x for x in (1.5,)),
        "c": np.array([0.25, 0.5]),
        "d": {"k": 1}.keys(),
    }
    made = expand("grid", param_grid=grid)
    assert made[0] == {"a": 0, "b": 1.5, "c": 0.25, "d": "k"} and len(made) == 4
    assert type(made[0]["c"]) is float


def test_sets_are_put_in_order_so_that_every_process_agrees():
    assert [c["a"] for c in expand("grid", param_grid={"a": {16, 8, 128}})] == [8, 16, 128]
    assert [c["a"] for c in expand("grid", param_grid={"a": {"b", "c", "a"}})] == ["a", "b", "c"]
    assert [c["a"] for c in expand("grid", param_grid={"a": {None, "b"}})] == ["b", None]


@pytest.mark.parametrize("value", [0.1, 3, "adam", b"adam", None, True, np.array(0.1), object()])
@pytest.mark.parametrize("name", ["grid", "zip", "random_search"])
def test_a_single_value_where_a_list_belongs_is_refused(name, value):
    key = "param_grid" if name == "grid" else "space"
    more = {"n_trials": 2} if name == "random_search" else {}
    with pytest.raises(ConfigError, match=rf"{name}: key 'lr' holds the single value .*write \["):
        expanders().load(name).check_options({key: {"lr": value}, **more})


def test_a_mapping_where_a_list_belongs_is_refused_with_a_hint_at_dots():
    with pytest.raises(ConfigError, match=r'key \'model\' holds a mapping .* such as "model.name"'):
        expand("grid", param_grid={"model": {"lr": [1, 2]}})


@pytest.mark.parametrize("grid", [[1], "lr", 3, [{"lr": [1]}]])
def test_a_grid_that_is_no_mapping_is_refused(grid):
    with pytest.raises(ConfigError, match="grid needs a mapping of keys to values"):
        expand("grid", param_grid=grid)


def test_an_unknown_option_is_told():
    with pytest.raises(OptionError, match=r"no option 'grid'.*known: 'param_grid'"):
        expand("grid", grid={})


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)
configs = st.dictionaries(st.sampled_from(["a", "b", "a.b", "c"]), plain_values, max_size=3)
grids = st.dictionaries(
    st.sampled_from(["a", "b", literal("a.b"), literal("c.d.e"), "x"]),
    st.lists(plain_values, max_size=3),
    max_size=3,
)


def parts(value):
    """Yield every changeable object in a value."""
    if isinstance(value, (dict, list)):
        yield id(value)
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts(item)


@given(st.lists(configs, max_size=3), grids)
def test_a_grid_has_the_right_count_changes_no_input_and_shares_nothing(bases, grid):
    before = copy.deepcopy((bases, grid))
    made = expand("grid", bases, param_grid=grid)
    assert len(made) == len(bases) * math.prod(len(values) for values in grid.values())
    assert (bases, grid) == before
    found = [part for config in [*bases, grid, *made] for part in parts(config)]
    assert len(found) == len(set(found))
    assert expand("grid", bases, param_grid=grid) == made


def test_options_are_a_snapshot_of_what_was_passed():
    plugin, values = expanders().load("grid"), [[1], [2]]
    options = plugin.check_options({"param_grid": {"a": values}})
    values.append([3])
    values[0].append(9)
    assert list(plugin.call(configs=[{}], options=options)) == [{"a": [1]}, {"a": [2]}]


def test_expansion_is_lazy():
    def endless():
        while True:
            yield {}

    plugin = expanders().load("grid")
    options = plugin.check_options({"param_grid": {"a": [1]}})
    assert next(iter(plugin.call(configs=endless(), options=options))) == {"a": 1}


# ---- keys with dots --------------------------------------------------------------------------

NESTED = {"model": {"lr": 1, "head": {"dim": 8}}, "data": 5, "model.name": "n"}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("model.lr", ("model", "lr")),  # nested
        ("model.new", ("model", "new")),  # nested, though the last step is new
        ("model.head.dim", ("model", "head", "dim")),
        ("model.name", ("model.name",)),  # the very key is there
        (literal("other.lr"), ("other.lr",)),
        (literal("model.lr"), ("model.lr",)),  # though there is a nested one
        ("plain", ("plain",)),
    ],
)
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("grid", lambda key: {"param_grid": {key: ["set"]}}),
        ("variants", lambda key: {"variants": [{key: "set"}]}),
        ("random_search", lambda key: {"space": {key: ["set"]}, "n_trials": 1}),
        ("zip", lambda key: {"space": {key: ["set"]}}),
    ],
)
def test_a_key_with_dots_sets_the_nested_value_where_there_is_one(name, wrap, key, path):
    expected = copy.deepcopy(NESTED)
    node = expected
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = "set"
    base = copy.deepcopy(NESTED)
    assert expand(name, [base], **wrap(key)) == [expected]
    assert base == NESTED


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("model.tail.dim", "'model', .* has no 'tail'"),
        ("data.size", "'data', 5, has no 'size'"),
        ("other.lr", "the configuration has no 'other'"),
        ("modle.lr", "the configuration has no 'modle' .did you mean 'model'"),
    ],
)
@pytest.mark.parametrize("name", ["grid", "zip", "random_search", "variants"])
def test_a_key_with_dots_that_fits_nothing_is_refused(name, key, why):
    options = {
        "grid": {"param_grid": {key: [1, 2]}},
        "zip": {"space": {key: [1, 2]}},
        "random_search": {"space": {key: [1, 2]}, "n_trials": 1},
        "variants": {"variants": [{key: 1}]},
    }
    with pytest.raises(ConfigError, match=rf"{key!r} fits nothing: {why}.*literal\({key!r}\)"):
        expand(name, [copy.deepcopy(NESTED)], **options[name])


def test_a_mapping_set_by_an_earlier_key_is_reached_by_a_later_one():
    made = expand("grid", param_grid={"model": [{"lr": 0}, {}], "model.lr": [1, 2]})
    assert made == [{"model": {"lr": n}} for n in (1, 2, 1, 2)]


# ---- variants --------------------------------------------------------------------------------


def test_variants_are_taken_one_by_one_and_set_over_the_base():
    made = expand(
        "variants", [{"m": 0, "x": 1}], variants=({"m": k, "layers": [k]} for k in (1, 2))
    )
    assert made == [{"m": 1, "x": 1, "layers": [1]}, {"m": 2, "x": 1, "layers": [2]}]


def test_the_old_form_of_variants_gives_one_key_each():
    made = expand("variants", variants={"a": [1, 2], "b": ["x"]})
    assert made == [{"a": 1}, {"a": 2}, {"b": "x"}]


def test_the_old_form_without_values_leaves_no_configuration():
    assert expand("variants", variants={"a": []}) == []


@pytest.mark.parametrize("bad", ["tiny", 3, b"x"])
def test_variants_that_are_no_list_are_refused(bad):
    with pytest.raises(ConfigError, match="variants needs a list of mappings"):
        expand("variants", variants=bad)


def test_a_variant_that_is_no_mapping_is_named_by_its_index():
    with pytest.raises(ConfigError, match="variants: item 1 is 'base', not a mapping"):
        expand("variants", variants=[{"model": "tiny"}, "base"])


def test_a_mapping_of_single_values_as_variants_is_told_both_ways_to_read_it():
    with pytest.raises(ConfigError) as caught:
        expand("variants", variants={"model": "tiny", "layers": 2})
    expected = "write ['tiny'], or variants([{...}]) for one variant with several keys"
    assert str(caught.value).endswith(expected)


def test_variants_share_nothing():
    shared = [1]
    first, second = expand("variants", variants=[{"a": shared}, {"a": shared}])
    first["a"].append(2)
    assert second["a"] == [1] and shared == [1]


# ---- zip and chain ---------------------------------------------------------------------------


def test_zip_pairs_the_values():
    made = expand("zip", [{"s": 0}, {"s": 1}], space={"a": [1, 2], "b": ["x", "y"]})
    assert made == [{"s": s, "a": a, "b": b} for s in (0, 1) for a, b in ((1, "x"), (2, "y"))]


def test_zip_tells_the_lengths_that_differ():
    with pytest.raises(ConfigError, match="'a' has 2, 'b' has 3, 'c' has 2; make them equal"):
        expand("zip", space={"a": [1, 2], "b": [1, 2, 3], "c": [1, 2]})


def test_zip_of_empty_lists_leaves_no_configuration():
    assert expand("zip", space={"a": [], "b": []}) == []


def test_a_chain_gives_one_space_after_the_other_for_each_configuration():
    made = expand("chain", [{"s": 0}, {"s": 1}], spaces=[{"a": [1, 2]}, [{"b": 1}], {}])
    assert made == [{"s": s, **more} for s in (0, 1) for more in ({"a": 1}, {"a": 2}, {"b": 1}, {})]


@pytest.mark.parametrize("bad", [{"a": [1]}, "ab", 3])
def test_a_chain_of_no_list_is_refused(bad):
    with pytest.raises(ConfigError, match="chain needs a list of spaces"):
        expand("chain", spaces=bad)


def test_a_space_of_another_kind_is_named_by_its_index():
    with pytest.raises(ConfigError, match="chain: space 1 is 5; give a mapping"):
        expand("chain", spaces=[{}, 5])


@pytest.mark.parametrize("item", [5, "base", [{"a": 1}], ExpManager({"a": 1})])
def test_a_list_of_spaces_as_one_space_is_refused(item):
    with pytest.raises(ConfigError, match=r"^variants: item 1 is .* not a mapping"):
        expand("chain", spaces=[{}, [{"a": 1}, item]])


def test_lists_in_a_chained_list_of_mappings_are_values():
    spaces = [[{"a": [1, 2]}, {"b": [3]}]]
    assert expand("chain", spaces=spaces) == [{"a": [1, 2]}, {"b": [3]}]
    assert expand("chain", spaces=[[{"a": 1}], {"b": [3]}]) == [{"a": 1}, {"b": 3}]


# ---- random_search ---------------------------------------------------------------------------


def test_draws_from_lists_are_those_of_1_0_3_until_one_repeats():
    made = expand("random_search", space={"a": [1, 2, 3], "b": list("xyz")}, n_trials=5)
    drawn = [(c["a"], c["b"]) for c in made]
    assert drawn[:4] == [(3, "x"), (1, "z"), (2, "x"), (1, "x")]
    assert drawn[4] not in drawn[:4]  # 1.0.3 gave (3, "x") again


def test_one_stream_serves_all_configurations_and_keys_without_values_are_skipped():
    rng = random.Random(7)
    values = list(range(10**4))
    expected = [{"s": s, "a": rng.choice(values), "b": rng.choice(values)} for s in (0, 0, 1, 1)]
    space = {"a": values, "none": [], "b": values}
    made = expand("random_search", [{"s": 0}, {"s": 1}], space=space, n_trials=2, seed=7)
    assert made == expected


def test_a_key_without_values_that_is_left_out_is_told(caplog):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        expand("random_search", [{}, {}], space={"a": [1], "b": [], "c": []}, n_trials=1)
    assert caplog.messages == ["random_search: no value for 'b', 'c'; left out"]


def test_equal_seeds_give_equal_draws_in_another_process():
    code = (
        "from ztxexp.manager import ExpManager as M;"
        "from ztxexp.configs.distributions import *;"
        "space = {'a': uniform(0, 1), 'b': loguniform(1e-4, 1), 'c': {'x', 'y', 'z'},"
        "'d': integers(0, 99), 'e': choice(['p', 'q'], [1, 9])};"
        "print(M().random_search(space, 8, seed=3).build())"
    )
    outputs = set()
    for hash_seed in ("1", "2"):
        env = {"PYTHONHASHSEED": hash_seed, "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("'a': ") == 8


def test_draws_do_not_repeat_while_there_are_new_ones(caplog):
    space = {"a": list(range(5)), "b": integers(1, 4), "c": [1, 1.0]}
    made = expand("random_search", [{"s": 0}, {"s": 1}], space=space, n_trials=20)
    for s in (0, 1):
        assert len({(c["a"], c["b"]) for c in made if c["s"] == s}) == 20
    assert not caplog.records


def test_an_exhausted_space_repeats_and_says_so_once(caplog):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        made = expand("random_search", [{"s": 0}, {"s": 1}], space={"a": [1, 2]}, n_trials=6)
    assert len(made) == 12
    assert {(c["s"], c["a"]) for c in made} == {(0, 1), (0, 2), (1, 1), (1, 2)}
    (record,) = caplog.records
    assert record.getMessage().startswith("random_search: n_trials=6, but only 2 distinct draws")


def test_a_large_space_is_exhausted_quickly_and_exactly():
    space = {"a": list(range(100)), "b": list(range(20))}
    made = expand("random_search", space=space, n_trials=2000)
    assert len({(c["a"], c["b"]) for c in made}) == 2000


def test_a_distribution_that_cannot_be_counted_ends_too(caplog):
    stats = pytest.importorskip("scipy.stats")
    made = expand("random_search", space={"a": stats.randint(0, 3)}, n_trials=5)
    assert {c["a"] for c in made} == {0, 1, 2} and len(made) == 5
    assert "only 3 distinct draws" in caplog.text


def test_distributions_keep_their_bounds():
    space = {"u": uniform(2, 3), "l": loguniform(1e-5, 1e-1), "i": integers(-1, 1)}
    made = expand("random_search", space=space, n_trials=400)
    assert all(2 <= c["u"] <= 3 and 1e-5 <= c["l"] <= 1e-1 for c in made)
    assert {c["i"] for c in made} == {-1, 0, 1}
    assert 100 < sum(c["l"] < 1e-3 for c in made) < 300  # half of the orders of magnitude


def test_weights_count_and_a_weight_of_nothing_is_never_drawn():
    space = {"a": choice(["x", "y", "z"], weights=[9, 1, 0]), "n": integers(0, 10**9)}
    drawn = [c["a"] for c in expand("random_search", space=space, n_trials=300)]
    assert set(drawn) == {"x", "y"} and drawn.count("x") > 220


def test_draws_of_scipy_become_python_numbers():
    stats = pytest.importorskip("scipy.stats")
    space = {"a": stats.loguniform(1e-4, 1e-1), "b": stats.randint(0, 10**6)}
    (made,) = expand("random_search", space=space, n_trials=1)
    assert type(made["a"]) is float and type(made["b"]) is int
    assert expand("random_search", space=space, n_trials=1) == [made]


@pytest.mark.parametrize(
    "make",
    [
        lambda: uniform(1, 1),
        lambda: uniform(0, math.inf),
        lambda: uniform("0", 1),
        lambda: loguniform(0, 1),
        lambda: loguniform(2, 1),
        lambda: integers(3, 2),
        lambda: integers(0.5, 2),
        lambda: choice([]),
        lambda: choice("adam"),
        lambda: choice([1, 2], weights=[1]),
        lambda: choice([1, 2], weights=[0, 0]),
        lambda: choice([1, 2], weights=[1, -1]),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused_when_it_is_made(make):
    with pytest.raises(ConfigError, match=r"uniform|loguniform|integers|choice"):
        make()


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (lambda: choice("adam"), "'adam'"),
        (lambda: choice("a", "b"), "'a'"),
        (lambda: choice(1, 2), "1"),
        (lambda: choice("a", [3]), "'a'"),
    ],
)
def test_values_of_a_choice_that_are_no_list_are_told_how_to_make_one(make, first):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).endswith(f"where a list of values belongs; write [{first}]")


@pytest.mark.parametrize("wrong", [{"n_trials": 2.5}, {"n_trials": 1, "seed": None}])
def test_numbers_that_are_no_integers_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"random_search: \w+ must be an integer"):
        expand("random_search", space={"a": [1]}, **wrong)


def test_integers_of_numpy_are_accepted():
    options = {"n_trials": np.int64(2), "seed": np.int64(1)}
    assert len(expand("random_search", space={"a": [1, 2]}, **options)) == 2


# ---- copies ----------------------------------------------------------------------------------


def test_copies_share_nothing_and_keep_types():
    class Own(dict):
        pass

    config = {
        "l": [1, {"t": (1, [2])}],
        "p": Path("a"),
        "o": Own(x=[1]),
        "n": np.zeros(2),
        "f": len,
    }
    made = copy_config(config)
    assert made["l"] == config["l"] and made["l"][1]["t"][1] is not config["l"][1]["t"][1]
    assert type(made["o"]) is Own and made["o"]["x"] is not config["o"]["x"]
    assert made["n"] is not config["n"] and made["f"] is len


def test_a_value_that_cannot_be_copied_is_named_by_its_key():
    with pytest.raises(ConfigError, match=r"key 'lock' holds a lock that cannot be copied"):
        expand("grid", [{"lock": threading.Lock()}], param_grid={"a": [1]})
    nested = {"model": {"parts": [1, {"lock": threading.Lock()}]}}
    with pytest.raises(ConfigError, match=r"key 'model.parts.1.lock' holds a lock"):
        expand("grid", [nested], param_grid={"a": [1]})


def test_a_value_that_contains_itself_is_named_by_its_key():
    loop = []
    loop.append(loop)
    with pytest.raises(ConfigError, match="key 'loop' is nested too deeply, or contains itself"):
        copy_config({"loop": loop})
