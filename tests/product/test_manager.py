"""The builder: stages, laziness, repeatability, and what counts as completed."""

import argparse
import functools
import json
import random
import shutil
import sys
import types
from collections import OrderedDict

import pytest

from ztxexp.manager import ExpManager
from ztxexp.results.history import Snapshot
from ztxexp_core.errors import ConfigError, OptionError, PluginContractError, UnknownPluginError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Registry
from ztxexp_core.values.identity import config_identity

# ---- the base configuration ------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [{"a": [1]}, argparse.Namespace(a=[1]), OrderedDict(a=[1]), types.MappingProxyType({"a": [1]})],
)
def test_a_base_may_be_a_namespace_or_any_mapping(base):
    (made,) = ExpManager(base).build()
    assert made == {"a": [1]} and type(made) is dict


def test_no_base_is_one_empty_configuration():
    assert ExpManager().build() == [{}]


def test_the_base_is_a_snapshot():
    base = {"layers": [1]}
    manager = ExpManager(base).grid({"a": [1, 2]})
    base["layers"].append(2)
    first, second = manager.build()
    first["layers"].append(9)
    assert second["layers"] == [1] == manager.build()[0]["layers"]


# ---- stages ----------------------------------------------------------------------------------


def test_every_method_returns_the_manager(tmp_path):
    manager = ExpManager({"a": {"b": 1}})
    steps = [
        manager.grid({"x": [1]}),
        manager.variants([{"y": 1}]),
        manager.random_search({"z": [1]}, 1),
        manager.zip({"v": [1]}),
        manager.chain({"w": [1]}),
        manager.expand("grid", param_grid={"u": [1]}),
        manager.modify(lambda c: None),
        manager.where(lambda c: True),
        manager.exclude_completed(tmp_path),
        manager.shuffle(),
    ]
    assert all(step is manager for step in steps)
    assert manager.build() == [{"a": {"b": 1}, **dict.fromkeys("xyzvwu", 1)}]


def test_the_stages_are_in_order_whatever_the_order_of_the_calls(tmp_path):
    write_run(tmp_path, "done", {"a": 3, "double": 6})
    seen = []
    manager = (
        ExpManager()
        .shuffle(seed=1)
        .exclude_completed(tmp_path)
        .where(lambda c: seen.append(c["double"]) or c["double"] > 2)
        .modify(lambda c: {**c, "double": c["a"] * 2})
        .grid({"a": [1, 2, 3]})
    )
    assert manager.build() == [{"a": 2, "double": 4}]
    assert seen == [2, 4, 6]


def test_expansions_follow_the_order_of_the_calls():
    grid, variants = {"a": [1, 2]}, [{"b": 1}, {"b": 2}]
    one = ExpManager().grid(grid).variants(variants).build()
    assert [(c["a"], c["b"]) for c in one] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    other = ExpManager().variants(variants).grid(grid).build()
    assert [(c["a"], c["b"]) for c in other] == [(1, 1), (2, 1), (1, 2), (2, 2)]


def test_modifiers_follow_each_other_and_may_change_in_place():
    manager = ExpManager({"a": 1}).modify(lambda c: {**c, "b": c["a"] + 1})
    manager.modify(lambda c: c.update(c=c["b"] + 1))
    assert manager.build() == [{"a": 1, "b": 2, "c": 3}]


@pytest.mark.parametrize("result", [[], 3, "x", True])
def test_a_modifier_that_returns_something_else_is_a_type_error(result):
    with pytest.raises(TypeError, match="it must return a dict, or None"):
        ExpManager().modify(lambda c: result).build()


def test_every_predicate_has_to_agree_and_truth_is_enough():
    manager = (
        ExpManager().grid({"a": [0, 1, 2, 3]}).where(lambda c: c["a"]).where(lambda c: c["a"] < 3)
    )
    assert [c["a"] for c in manager.build()] == [1, 2]


def test_a_build_can_be_repeated_and_its_results_share_nothing():
    layers = [1, 2]
    manager = ExpManager({"base": [0]}).grid({"a": [[1], [2]]}).modify(lambda c: {**c, "l": layers})
    manager.random_search({"r": list(range(100))}, 2, seed=5).shuffle()
    first, again = manager.build(), manager.build()
    assert first == again and len(first) == 4
    for config in first:
        for part in ("base", "a", "l"):
            config[part].append("spoilt")
    assert manager.build() == again
    assert layers == [1, 2]


def test_errors_come_at_the_call_not_at_the_build():
    manager = ExpManager()
    for wrong in (
        lambda: manager.grid({"lr": 0.1}),
        lambda: manager.variants(["tiny"]),
        lambda: manager.random_search({"lr": "abc"}, 1),
        lambda: manager.zip({"a": [1], "b": [1, 2]}),
        lambda: manager.chain({"a": 1}),
    ):
        with pytest.raises(ConfigError):
            wrong()
    with pytest.raises(UnknownPluginError, match=r"unknown expander 'gird' \(did you mean 'grid'"):
        manager.expand("gird")
    with pytest.raises(OptionError, match="needs the option 'param_grid'"):
        manager.expand("grid")
    assert manager.build() == [{}]


def test_shuffle_keeps_the_configurations_and_a_seed_gives_one_order():
    plain = ExpManager().grid({"a": list(range(50))})
    ordered = plain.build()
    shuffled = [ExpManager().grid({"a": list(range(50))}).shuffle(seed=4).build() for _ in "ab"]
    assert shuffled[0] == shuffled[1] != ordered
    assert sorted(c["a"] for c in plain.shuffle().build()) == list(range(50))


def test_shuffle_without_a_seed_follows_the_random_module():
    orders = []
    for _ in "ab":
        random.seed(11)
        orders.append(ExpManager().grid({"a": list(range(50))}).shuffle().build())
    assert orders[0] == orders[1]


def test_the_names_of_0_1_do_the_same(tmp_path):
    write_run(tmp_path, "done", {"a": 1, "b": 1, "r": 1, "m": 1})
    manager = (
        ExpManager()
        .add_grid_search(param_grid={"a": [1, 2, 3]})
        .add_variants(variant_space=[{"b": 1}])
        .add_random_search(space={"r": [1]}, n_trials=1, seed=3)
        .add_modifier(modifier_func=lambda c: {**c, "m": 1})
        .add_filter(filter_func=lambda c: c["a"] < 3)
        .filter_completed(results_path=tmp_path, ignore_keys=None)
    )
    assert manager.get_configs() == manager.build() == [{"a": 2, "b": 1, "r": 1, "m": 1}]


def test_arguments_have_their_documented_names(tmp_path):
    manager = (
        ExpManager(base_config={}).grid(param_grid={"a": [1, 2]}).variants(variants=[{"b": 1}])
    )
    manager.random_search(space={"c": [1]}, n_trials=1, seed=1).modify(modifier=lambda c: None)
    manager.where(predicate=lambda c: c["a"] == 1)
    manager.exclude_completed(results_root=str(tmp_path), ignore_keys=["c"])
    assert manager.build() == [{"a": 1, "b": 1, "c": 1}]


# ---- chain and foreign expanders -------------------------------------------------------------


def test_a_chain_of_managers_is_a_union_of_conditional_spaces():
    sgd = (
        ExpManager({"opt": "sgd", "lr": 9})
        .grid({"momentum": [0, 1]})
        .where(lambda c: c["momentum"])
    )
    adam = ExpManager({"opt": "adam"}).modify(lambda c: {**c, "beta": c["lr"] * 2})
    made = ExpManager({"opt": "none", "lr": 1}).chain(sgd, adam).grid({"seed": [0, 1]}).build()
    assert made == [
        {"opt": "sgd", "lr": 9, "momentum": 1, "seed": 0},
        {"opt": "sgd", "lr": 9, "momentum": 1, "seed": 1},
        {"opt": "adam", "lr": 1, "beta": 2, "seed": 0},
        {"opt": "adam", "lr": 1, "beta": 2, "seed": 1},
    ]


def test_a_chained_manager_is_taken_as_it_is_then():
    part = ExpManager().grid({"a": [1]})
    whole = ExpManager().chain(part)
    part.grid({"b": [1]}).where(lambda c: False)
    assert whole.build() == [{"a": 1}]
    assert whole.chain(whole).build() == [{"a": 1}]


def foreign(monkeypatch, tmp_path, name, body):
    """Make an expander of another distribution known under ``name``."""
    module = f"ztxexp_foreign_{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    source = (
        f"from ztxexp_core import hookimpl\n@hookimpl\ndef ztxexp_expand(configs, options):\n{body}"
    )
    (tmp_path / f"{module}.py").write_text(source)
    info = tmp_path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ztxexp.expanders]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh = Registry("expander", "ztxexp.expanders")
    monkeypatch.setattr(registry, "expanders", lambda: fresh)


def test_an_installed_expander_is_reached_by_name_with_its_options(monkeypatch, tmp_path):
    body = (
        "    for c in configs:\n        yield from ({**c, 'n': i} for i in range(options['name']))"
    )
    foreign(monkeypatch, tmp_path, "count", body)
    assert ExpManager({"a": 0}).expand("count", name=2).build() == [
        {"a": 0, "n": 0},
        {"a": 0, "n": 1},
    ]


def test_an_expander_that_yields_one_object_twice_spoils_nothing(monkeypatch, tmp_path):
    foreign(
        monkeypatch, tmp_path, "twice", "    for c in configs:\n        yield c\n        yield c\n"
    )
    manager = ExpManager({"n": [0]}).expand("twice").modify(lambda c: c["n"].append(1))
    assert manager.build() == [{"n": [0, 1]}, {"n": [0, 1]}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [("    return None\n", "returned None"), ("    yield [1]\n", "made a list; every config")],
)
def test_an_expander_that_breaks_its_contract_is_named(monkeypatch, tmp_path, body, expected):
    foreign(monkeypatch, tmp_path, "odd", body)
    with pytest.raises(PluginContractError, match=rf"expander 'odd' \(.*{expected}"):
        ExpManager().expand("odd").build()


def test_a_second_random_search_with_the_same_seed_is_told(caplog):
    ExpManager().random_search({"a": [1, 2]}, 1).random_search({"b": [1, 2]}, 1, seed=7)
    ExpManager().random_search({"a": [1, 2]}, 0).random_search({"b": [1, 2]}, 1)
    assert not caplog.records
    manager = ExpManager().random_search({"a": list(range(99))}, 5)
    manager.expand("random_search", space={"b": list(range(99))}, n_trials=1, seed=42)
    (record,) = caplog.records
    assert "an earlier step has seed=42 too" in record.getMessage()
    assert "pass another seed=" in record.getMessage()
    assert manager.build()[0]["a"] == manager.build()[0]["b"]  # hand in hand indeed


# ---- exclude_completed -----------------------------------------------------------------------


def write_run(root, run_id, config, status="succeeded", version=2, **fields):
    """Write a run as 1.0.3 left it, or newer with ``identity=...``."""
    folder = root / run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    record = {"schema_version": version, "run_id": run_id, "status": status, **fields}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def remaining(root, configs, ignore_keys=None):
    return ExpManager().variants(configs).exclude_completed(root, ignore_keys).build()


def test_only_runs_that_succeeded_under_this_schema_count(tmp_path):
    write_run(tmp_path, "r1", {"a": 1})
    write_run(tmp_path, "r2", {"a": 2}, status="failed")
    write_run(tmp_path, "r3", {"a": 3}, status="running")
    write_run(tmp_path, "r4", {"a": 4}, status="skipped")
    write_run(tmp_path, "r5", {"a": 5}, version=1)
    assert remaining(tmp_path, [{"a": n} for n in range(6)]) == [{"a": n} for n in (0, 2, 3, 4, 5)]


def test_a_root_that_does_not_exist_excludes_nothing(tmp_path):
    assert remaining(tmp_path / "none", [{"a": 1}]) == [{"a": 1}]
    assert not (tmp_path / "none").exists()


def test_the_stored_identity_counts_without_a_look_at_the_configuration(tmp_path):
    folder = write_run(tmp_path, "r", {"a": 1}, identity=config_identity({"a": 1}))
    (folder / "config.json").unlink()
    assert remaining(tmp_path, [{"a": 1}, {"a": 2}]) == [{"a": 2}]


@pytest.mark.parametrize("stored", ["0:abc", "", 5, None, ["1:x"]])
def test_an_identity_of_another_form_is_computed_anew(tmp_path, stored):
    write_run(tmp_path, "r", {"a": 1}, identity=stored)
    assert remaining(tmp_path, [{"a": 1}, {"a": 2}]) == [{"a": 2}]


def test_ignored_keys_do_not_count_stored_identity_or_not(tmp_path):
    config = {"a": 1, "seed": 1, "data": {"workers": 2, "name": "x"}}
    write_run(tmp_path, "r", config, identity=config_identity(config))
    other = {"a": 1, "seed": 7, "data": {"workers": 9, "name": "x"}}
    assert remaining(tmp_path, [other]) == [other]
    assert remaining(tmp_path, [other], ["seed", "data.workers"]) == []


def test_one_ignored_key_may_be_a_text(tmp_path):
    write_run(tmp_path, "r", {"a": 1, "seed": 1})
    assert remaining(tmp_path, [{"a": 1, "seed": 2}], "seed") == []
    assert remaining(tmp_path, [{"a": 1, "s": 2}], "seed") == [{"a": 1, "s": 2}]


def test_every_root_that_was_named_counts(tmp_path):
    write_run(tmp_path / "one", "r", {"a": 1})
    write_run(tmp_path / "two", "r", {"a": 2})
    manager = ExpManager().grid({"a": [1, 2, 3]})
    manager.exclude_completed(tmp_path / "one").exclude_completed(str(tmp_path / "two"))
    assert manager.build() == [{"a": 3}]


def test_damaged_and_foreign_entries_are_left_out(tmp_path, caplog):
    write_run(tmp_path, "good", {"a": 1})
    for name, text in (
        ("torn", '{"a": '),
        ("list", "[1]"),
        ("deep", '{"a":' * 900 + "1" + "}" * 900),
    ):
        (write_run(tmp_path, name, {}) / "config.json").write_text(text)
    (write_run(tmp_path, "broken", {"a": 2}) / "run.json").write_text("{")
    (write_run(tmp_path, "gone", {"a": 3}) / "config.json").unlink()
    (tmp_path / "a file").write_text("x")
    (tmp_path / "a folder").mkdir()
    assert remaining(tmp_path, [{"a": n} for n in range(4)]) == [{"a": n} for n in (0, 2, 3)]
    assert all(name in caplog.text for name in ("torn", "list", "broken"))


def test_strictness_of_the_comparison(tmp_path):
    write_run(tmp_path, "r", {"a": 1, "shape": [2, 3]})
    same = [{"a": 1.0, "shape": (2, 3)}, {"shape": [2, 3], "a": 1}]
    different = [{"a": True, "shape": [2, 3]}, {"a": "1", "shape": [2, 3]}, {"a": 1}]
    assert remaining(tmp_path, same + different) == different


def test_the_modified_configuration_is_compared(tmp_path):
    write_run(tmp_path, "r", {"a": 1, "b": 2})
    manager = ExpManager().grid({"a": [1, 2]}).modify(lambda c: c.update(b=2))
    assert manager.exclude_completed(tmp_path).build() == [{"a": 2, "b": 2}]


def test_a_value_that_cannot_be_compared_is_named_by_its_key(tmp_path):
    manager = ExpManager({"net": {"act": lambda x: x}}).exclude_completed(tmp_path)
    with pytest.raises(ConfigError, match=r"net\.act"):
        manager.build()


# ---- the report -----------------------------------------------------------------------------


def small(config, limit=3):
    return config["a"] < limit


class Odd:
    def __call__(self, config):
        return config["a"] % 2


@pytest.mark.parametrize(
    ("rule", "name", "expected"),
    [
        (small, None, "small"),
        (small, "small enough", "small enough"),
        (small, "", "small"),
        (functools.partial(small, limit=2), None, "small"),
        (Odd(), None, "Odd"),
        ([5].count, None, "count"),
        (lambda c: c["a"] < 1, None, f"lambda at test_manager.py:{sys._getframe().f_lineno}"),
    ],
)
def test_a_rule_has_the_name_that_its_author_knows(rule, name, expected):
    (filtered,) = ExpManager().grid({"a": [0, 9]}).where(rule, name).build_report().filtered_out
    assert filtered.rule == expected


def test_the_report_says_which_rule_took_which_configurations():
    manager = ExpManager().grid({"a": list(range(9))})
    manager.where(lambda c: True, "all").where(lambda c: c["a"] < 7, "small")
    manager.where(lambda c: c["a"] % 2, "odd").where(lambda c: c["a"] < 7, "small")
    report = manager.build_report()
    assert report.configs == [{"a": 1}, {"a": 3}, {"a": 5}] == manager.build()
    assert [(f.rule, f.count) for f in report.filtered_out] == [("small", 2), ("odd", 4)]


def test_rules_that_take_out_everything_are_named_in_a_warning(caplog):
    manager = ExpManager().grid({"a": [1, 2, 3]}).where(lambda c: c["a"] < 3, "small")
    assert len(manager.build()) == 2
    assert not caplog.records
    assert manager.where(lambda c: False, "none").build() == []
    assert caplog.messages == [
        "no configuration is left: where() took out all of them, by 'small' (1), 'none' (2)"
    ]


def test_the_report_says_which_run_stands_for_what_is_done(tmp_path):
    write_run(tmp_path / "one", "r1", {"a": 1})
    write_run(tmp_path / "two", "r2", {"a": 2, "note": "x"})
    write_run(tmp_path / "two", "r3", {"a": 3}, status="failed")
    manager = ExpManager().grid({"a": [1, 2, 3]}).exclude_completed(tmp_path / "one")
    manager.exclude_completed(tmp_path / "two", ["note"])
    report = manager.build_report()
    assert report.configs == [{"a": 3}] == manager.build()
    assert [(c, past.run_id) for c, past in report.reused] == [({"a": 1}, "r1"), ({"a": 2}, "r2")]
    assert report.reused[1][1].folder == tmp_path / "two" / "r2"


def test_what_is_known_of_a_root_is_not_read_again(tmp_path):
    write_run(tmp_path, "r", {"a": 1})
    known = Snapshot(tmp_path)
    known.history(["note"])
    shutil.rmtree(tmp_path / "r")
    manager = ExpManager({"a": 1}).exclude_completed(tmp_path, ["note"])
    assert manager.build_report(known).configs == []
    assert manager.build_report().configs == [{"a": 1}]


def test_a_chain_takes_out_what_its_parts_do_not_want_without_a_report():
    part = ExpManager().grid({"a": [1, 2]}).where(lambda c: c["a"] == 1)
    report = ExpManager().chain(part).build_report()
    assert report.configs == [{"a": 1}]
    assert report.filtered_out == ()


def test_the_keys_that_count_in_no_comparison_are_those_that_every_call_ignores(tmp_path):
    manager = ExpManager().exclude_completed(tmp_path / "a", ["x", "y"])
    assert manager.keys_ignored(tmp_path / "a") == ("x", "y")
    assert manager.keys_ignored(tmp_path / "b") is None
    assert manager.exclude_completed(tmp_path / "a", "y").keys_ignored(tmp_path / "a") == ("y",)
    assert manager.exclude_completed(tmp_path / "a").keys_ignored(tmp_path / "a") == ()
