"""Sweeps as they are written: words, files, and what the builder makes of them."""

from __future__ import annotations

import json
import os

import pytest

from ztxexp import ExpManager
from ztxexp.configs.distributions import loguniform
from ztxexp.sweeps.options import seconds
from ztxexp.sweeps.spec import SweepSpec
from ztxexp.sweeps.values import as_text
from ztxexp_core.errors import ConfigError, UnknownPluginError

EXAMPLE = """\
run: train.py:train            # or  command: python train.py --lr {lr}
base: {model: {name: tiny}, epochs: 20}
sweep:                         # a list here = union of blocks
  - {optimizer: adam, lr: [1e-3, 1e-4], seed: 0..4}
  - {optimizer: sgd, lr: loguniform(1e-3, 1), momentum: [0, 0.9], seed: 0..4, draws: 8}
where: not (optimizer == "sgd" and lr < 1e-2)
workers: 2
timeout: 1h
retry: {times: 2, on: [WorkerDied]}
metrics: {accuracy: max, loss: min}
table: {rows: optimizer, cols: lr, metric: accuracy, over: seed}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def built(*words, base=None, keys=None, **options):
    return SweepSpec.from_words(words, **options).apply(ExpManager(), base, keys).build()


def refused(*words, base=None, keys=None, **options) -> str:
    with pytest.raises(ConfigError) as info:
        built(*words, base=base, keys=keys, **options)
    return str(info.value)


def write(name: str, text: str) -> str:
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


# ---- words -----------------------------------------------------------------------------------


def test_words_are_a_grid_of_which_the_first_key_varies_slowest():
    expected = ExpManager().grid({"lr": [1e-3, 1e-2], "seed": [0, 1, 2]}).build()
    assert built("lr=1e-3,1e-2", "seed=0..2") == expected


def test_a_plus_joins_blocks():
    words = ["opt=adam", "lr=1e-3,1e-4", "+", "opt=sgd", "lr=.1", "momentum=0,.9"]
    adam = {"opt": ["adam"], "lr": [1e-3, 1e-4]}
    sgd = {"opt": ["sgd"], "lr": [0.1], "momentum": [0, 0.9]}
    assert built(*words) == ExpManager().chain(adam, sgd).build()


def test_zip_takes_values_together_at_the_place_of_its_first_key():
    made = built("seed=0,1", "name=a,b", "width=1,2", zip=("name,width",))
    zipped = ExpManager().grid({"seed": [0, 1]}).zip({"name": ["a", "b"], "width": [1, 2]})
    assert made == zipped.build()
    text = refused("a=1,2", "b=1,2,3", zip="a,b")
    assert "'a' has 2, 'b' has 3" in text
    assert "the sweep has no 'namee' (did you mean 'name'?)" in refused(
        "name=a,b", "w=1,2", zip="namee,w"
    )
    assert "a is drawn" in refused("a=uniform(0,1)", "b=1,2", zip="a,b", draws=2)
    assert "b is in two groups" in refused("a=1,2", "b=1,2", "c=1,2", zip=("a,b", "b,c"))
    assert "two or more keys" in refused("a=1,2", zip="a")


def test_draws_meet_every_value_of_the_lists():
    made = built("lr=loguniform(1e-5,1e-1)", "seed=0,1", draws=3, draw_seed=7)
    searched = ExpManager().random_search({"lr": loguniform(1e-5, 1e-1)}, n_trials=3, seed=7)
    assert made == searched.grid({"seed": [0, 1]}).build()
    assert "say how often: -n 20" in refused("lr=loguniform(1e-5,1e-1)")
    assert "for each of its values write them without choice" in refused("lr=choice(1,2)")
    assert "nothing in it is drawn" in refused("lr=1,2", draws=3)
    assert "-n must be a whole number from 1" in refused("lr=uniform(0,1)", draws=0)


def test_conditions_drop_configurations_and_know_the_names():
    made = built("opt=adam,sgd", "lr=1e-4,1e-2", where='not (opt=="sgd" and lr<1e-3)')
    assert [(c["opt"], c["lr"]) for c in made] == [("adam", 1e-4), ("adam", 1e-2), ("sgd", 1e-2)]
    assert "there is no 'lrr' (did you mean 'lr'?)" in refused("lr=1", where="lrr > 1")
    assert "a=1" not in refused("a=1", where="a = 1") and "write ==" in refused(
        "a=1", where="a = 1"
    )
    union = ["opt=adam", "+", "opt=sgd", "momentum=0,.9"]
    assert built(*union, where="momentum > 0.5 or opt == 'adam'") == [
        {"opt": "adam"},
        {"opt": "sgd", "momentum": 0.9},
    ]
    assert built("x=1..9", where=("x > 3", "x < 5")) == [{"x": 4}]


def test_a_sweep_without_end_is_refused_before_it_is_made():
    text = refused("a=0..99999", "b=0..99999")
    assert "10,000,000,000 configurations (a 100000, b 100000); at most 10,000,000" in text
    assert "configurations" in refused("a=uniform(0,1)", draws=10**9)


def test_sizes_count_what_goes_together_once():
    words = ["a=1,2", "b=3,4", "x=uniform(0,1)", "y=uniform(0,1)", "c=5", "s=0..2"]
    spec = SweepSpec.from_words(words, zip="a,b", draws=7)
    assert spec.sizes() == [{"a,b": 2, "x,y": 7, "s": 3}]
    assert len(spec.apply(ExpManager()).build()) == 2 * 7 * 3


def test_nested_keys_make_what_they_need():
    assert built("model.lr=1,2", "model.opt.x=3") == [
        {"model": {"opt": {"x": 3}, "lr": 1}},
        {"model": {"opt": {"x": 3}, "lr": 2}},
    ]
    assert built("model.lr=1", base={"model": {"lr": 0, "n": 2}}) == [{"model": {"lr": 1, "n": 2}}]
    assert built("model.lr=1", base={"model": None}, keys=["model"]) == [{"model": {"lr": 1}}]
    text = refused("lr.x=1", base={"lr": 0.1}, keys=["lr"])
    assert "'lr' is 0.1 in the base, and no mapping; write lr={x: ...} to replace it" in text
    assert built("lr={x: 1}", base={"lr": 0.1}) == [{"lr": {"x": 1}}]
    assert built("m={a: 1},{a: 2}", "m.b=3") == [{"m": {"a": 1, "b": 3}}, {"m": {"a": 2, "b": 3}}]


def test_a_tilde_leaves_a_key_of_the_base_out():
    base = {"lr": 1, "model": {"n": 1, "dropout": 0.5}}
    assert built("~lr", "~model.dropout", base=base) == [{"model": {"n": 1}}]
    assert "the base has no 'dropout' (did you mean 'model.dropout'?)" in refused(
        "~dropout", base=base
    )


def test_expanders_are_called_by_name():
    made = built("a=1,2", expand=("grid(param_grid={b: [1,2]})",))
    assert made == ExpManager().grid({"a": [1, 2]}).grid({"b": [1, 2]}).build()
    made = built("a=1", expand="random_search(space={c: uniform(0,1)}, n_trials=2, seed=3)")
    assert len(made) == 2 and all(0 <= config["c"] <= 1 for config in made)
    variants = [{"x": 1}, {"x": 2, "y": [1]}]
    spec = SweepSpec.from_dict({"expand": [{"variants": {"variants": variants}}]})
    assert spec.apply(ExpManager()).build() == variants
    with pytest.raises(UnknownPluginError, match="did you mean 'grid'"):
        built("a=1", expand="gridd(x=1)")
    assert "options are written with their names" in refused("a=1", expand="grid(3)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lr"], "'lr' is no key=value"),
        (["=1"], "is no key=value"),
        (
            ["lr="],
            "lr=: there is no value; write null for nothing, '\"\"' for an empty text, or ~lr",
        ),
        (["lr==1"], "'lr==1' has two equals signs; write lr=1"),
        (["lr=1", "lr=2"], "the key 'lr' is there twice; write lr=1,2"),
        (["+", "lr=1"], "a + stands between two blocks"),
        (["lr=1", "+", "+", "lr=2"], "a + stands between two blocks"),
        (["~"], "~ stands before the name of a key"),
        (["lr=[1"], "lr=[1: '[1' begins with '['"),
        (["model=1", "model.lr=2"], "the key 'model.lr' fits nothing"),
    ],
)
def test_wrong_words_are_named(words, message):
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workerss": 2}, "a sweep has no option 'workerss' (did you mean 'workers'?)"),
        ({"workers": -2}, "--workers must be a whole number from 1, or -1 for all cores"),
        ({"timeout": "1 fortnight"}, "--timeout '1 fortnight' is no time; write 90s, 30min"),
        ({"metrics": "acc=maxx"}, "--metric acc must be max or min"),
        ({"metrics": "acc"}, "--metric must be NAME=max or NAME=min"),
        ({"gpus": [1.5]}, "--gpus must be auto or a list"),
        ({"retry": {"time": 2}}, "--retry has no 'time' (did you mean 'times'?)"),
        ({"track": "a b"}, "--track 'a b' is no NAME(option=value, ...)"),
        ({"command": "echo 'a"}, "--command cannot be split into words"),
    ],
)
def test_wrong_options_are_named(options, message):
    assert message in refused("lr=1", **options)


# ---- keys that there may be ------------------------------------------------------------------


def test_unknown_keys_are_refused_where_they_are_known():
    assert "the function has no parameter 'lrr' (did you mean 'lr'?); it has lr, seed" in refused(
        "lrr=1", base={"lr": 1}, keys=["lr", "seed"]
    )
    assert built("seed=1", base={"lr": 1}, keys=["lr", "seed"]) == [{"lr": 1, "seed": 1}]
    assert "did you mean 'model.lr'? A new key is written +model.lrr=" in refused(
        "model.lrr=1", base={"model": {"lr": 2}}
    )
    assert built("+model.lrr=1", base={"model": {"lr": 2}}) == [{"model": {"lr": 2, "lrr": 1}}]
    assert built("anything=1") == [{"anything": 1}]


def test_base_files_say_which_keys_there_are():
    write("base.yaml", "lr: 1\nmodel: {n: 2, d: 3}\n")
    write("more.toml", "lr = 0.5\n[model]\nn = 4\n")
    both = {"base_files": ("base.yaml", "more.toml")}
    assert built(**both) == [{"lr": 0.5, "model": {"n": 4, "d": 3}}]
    assert built("lr=3", "+seed=0", **both) == [{"lr": 3, "model": {"n": 4, "d": 3}, "seed": 0}]
    assert "base.yaml has no key 'lrr' (did you mean 'lr'?); a new key is written +lrr=" in refused(
        "lrr=3", base_files="base.yaml"
    )
    assert "has no key 'model.nn'" in refused("model.nn=3", base_files="base.yaml")
    assert "base.yaml:2: the function has no parameter 'model'" in refused(
        base_files="base.yaml", keys=["lr"]
    )
    assert built("~model", base_files="base.yaml", keys=["lr"]) == [{"lr": 1}]
    assert "there is no file bas.yaml (did you mean 'base.yaml'?)" in refused(base_files="bas.yaml")


def test_a_table_has_a_configuration_a_row():
    write("grid.csv", 'lr,model.name,note\n1e-3,a,"x, y"\n,b,z\n')
    rows = [
        {"lr": 1e-3, "model": {"name": "a"}, "note": "x, y"},
        {"lr": 9, "model": {"name": "b"}, "note": "z"},
    ]
    assert built(base={"lr": 9, "model": {}}, base_files="@grid.csv") == rows
    assert len(built("seed=0..4", base={"lr": 9, "model": {}}, base_files="grid.csv")) == 10
    os.mkdir("sub")
    spec = SweepSpec.from_words(["seed=0..4"], base_files=("@grid.csv",))
    spec.save("sub/s.yaml")
    assert len(SweepSpec.from_file("sub/s.yaml").apply(ExpManager()).build()) == 10
    write("rows.json", json.dumps([{"lr": 1}, {"lr": 2}]))
    assert built(base_files="rows.json") == [{"lr": 1}, {"lr": 2}]


# ---- files -----------------------------------------------------------------------------------


def test_the_example_of_the_documentation():
    spec = SweepSpec.from_file(write("sweep.yaml", EXAMPLE))
    made = spec.apply(ExpManager()).build()
    assert {config["optimizer"] for config in made} == {"adam", "sgd"}
    assert made[0] == {
        "model": {"name": "tiny"},
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "seed": 0,
    }
    assert spec.sizes() == [{"lr": 2, "seed": 5}, {"lr": 8, "momentum": 2, "seed": 5}]
    assert spec.run_arguments() == {"workers": 2, "timeout": 3600.0}
    assert spec.metrics == {"accuracy": "max", "loss": "min"}
    assert spec.source == "sweep.yaml"


@pytest.mark.parametrize("name", ["again.yaml", "again.toml", "again.json", "sub/again.yaml"])
def test_a_saved_sweep_reads_back_equal(name):
    os.mkdir("sub")
    write("prompts.txt", "a\nb\n")
    write("base.yaml", "x: 1\n")
    write("train.py", "")
    specs = [
        SweepSpec.from_file(write("sweep.yaml", EXAMPLE)),
        SweepSpec.from_words(
            ["lr=1e-3,1e-2", "tag=\"1e-3\"", "a=[1,2]", "b={x: 1}", 'c="x,y"', "r=0..9:3",
             "p=@prompts.txt", "+new=1", "draws=3", "zip=1,2", "keys=3", "s=\"0..4\"", "e=\"\"",
             "t=\"a: b # c\"", "u=\"\u00e9\x1b\u202e\"", "v=\"null\"", "w=1.5", "y=yes"],
            run="train.py:train", base_files=("base.yaml",), where=("lr > 0", "w == 1.5"),
            zip=("lr,zip",), track=("jsonl", "wandb(project='a b')"), tags=("x", "y"), gpus="0,1",
            retry=2, timeout="1h30m", shuffle=3, flush_sec=0,
            expand=("random_search(space={q: uniform(0,1)}, n_trials=2)",),
        ),
        SweepSpec.from_words(["a=1", "+", "a=2", "b=loguniform(1,2)"], draws=2, tags="k=v",
                             command=["python", "a b.py", "--lr", "{lr}"]),
    ]  # fmt: skip
    for spec in specs:
        spec.save(name)
        again = SweepSpec.from_file(name)
        assert again == spec
        assert again.to_dict() == spec.to_dict()
        assert SweepSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("key", ["k" * 3000, "\u00e9\x1b" * 900, "a b: c", "# x", "'", "?", "-"])
def test_hostile_keys_and_names_of_files_come_back(key):
    spec = SweepSpec.from_dict({"sweep": {key: [1, 2], "b": 3}, "base": {key: {key: 1}, "c": 2}})
    other = SweepSpec.from_dict({"sweep": [{key: [1, 2]}, {"b": 3}]})
    for name in ("a\x1b\n.yaml", "b.toml", "c.json"):
        for one in (spec, other):
            one.save(name)
            assert SweepSpec.from_file(name) == one


def test_null_has_no_form_in_toml():
    spec = SweepSpec.from_words(["a=null,1"])
    spec.save("a.yaml")
    assert SweepSpec.from_file("a.yaml") == spec
    with pytest.raises(ConfigError, match="a is null, which TOML does not have"):
        spec.save("a.toml")
    with pytest.raises(ConfigError, match="must end with one of"):
        spec.save("a.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "run: a.py:f\nworker: 2\n",
            "sweep.yaml:2: a sweep file has no key 'worker' (did you mean 'workers'?)",
        ),
        ("lr: [1, 2]\n", "keys of configurations stand below sweep or base"),
        ("workers: two\n", "sweep.yaml:1: workers must be a whole number from 1"),
        (
            "sweep:\n  lr: 1\n  lr: 2\n",
            "sweep.yaml:3: the key 'lr' is there twice, in the lines 2 and 3",
        ),
        ("sweep:\n  lr: 1\n  model: {n: [1, }\n", "sweep.yaml:3"),
        ("sweep:\n  lr:\n", "sweep.yaml:2: lr has no value"),
        ("sweep:\n", "sweep.yaml:1: sweep is empty"),
        (
            "sweep:\n  - {lr: 1e-3, 1e-2}\n",
            "1e-2 has no value; write null for nothing, or several in brackets",
        ),
        ("sweep:\n  lr: []\n", "sweep.yaml:2: lr: the list is empty"),
        ("sweep:\n  a: 1\n  lr: 4..0\n", "sweep.yaml:3: lr: 4..0 holds no number"),
        ("sweep:\n  - {a: 1}\n  - 3\n", "a block holds keys and values, got 3"),
        ("sweep:\n  - {a: 1, draws: x}\n", "sweep.yaml:2: draws must be a whole number"),
        ("metrics: {acc: up}\n", "metrics acc must be max or min"),
        ("run: a.py:f\ncommand: echo\n", "sweep.yaml:2: there is a run as well"),
        ("version: 1.10\n", "version must be a text, got 1.1; write it in quotes"),
        (
            "sweep: {p: 'Hello, world'}\n",
            "sweep.yaml:1: p: 'Hello, world' may be one text or several",
        ),
        ("where: lr = 3\n", "sweep.yaml:1: where the condition cannot be used: write =="),
        (
            "sweep:\n  lr: {values: [1, 2]}\n",
            "sweep.yaml:2: lr is written as W&B does; write lr: [1",
        ),
        ("sweep:\n  lr: {min: 1, max: 2}\n", "write lr: loguniform(1, 2)"),
        (
            "sweep:\n  lr: [loguniform(1e-3, 1]\n",
            "sweep.yaml:2: the '(' of 'loguniform(1e-3' is never closed",
        ),
        ("sweep: {a: f(1, b: x, c: ''}\n", "the '(' of 'f(1' is never closed"),
        ("base: 3\n", "base must be a mapping"),
        ("- a\n", "holds no sweep"),
        ("", "holds no sweep"),
        ("timeout: 0\n", "timeout must be over 0"),
        ("a: !!python/object:os.system x\n", "means nothing here"),
    ],
)
def test_wrong_files_are_named_with_the_line(text, message):
    with pytest.raises(ConfigError) as info:
        SweepSpec.from_file(write("sweep.yaml", text))
    assert message in str(info.value)


@pytest.mark.parametrize("value", ["A(", ["A(", ""], ["A(", 0, "0)"], {"x": "A(", "y": ""}])
def test_a_text_that_looks_like_a_call_cut_off_is_saved_as_it_is(tmp_path, value):
    spec = SweepSpec.from_words([f"a={as_text([value])}"])
    spec.save(str(tmp_path / "s.yaml"))
    read = SweepSpec.from_file(str(tmp_path / "s.yaml"))
    assert read.apply(ExpManager()).build() == [{"a": value}]


def test_lines_of_toml_and_json():
    with pytest.raises(ConfigError, match=r"s.toml:2: a sweep file has no key 'worker'"):
        SweepSpec.from_file(write("s.toml", 'run = "a.py:f"\nworker = 2\n'))
    with pytest.raises(ConfigError, match=r"s.toml:3: lr: the list is empty"):
        SweepSpec.from_file(write("s.toml", "[sweep]\na = 1\nlr = []\n"))
    with pytest.raises(ConfigError, match=r"line 2"):
        SweepSpec.from_file(write("s.toml", "a = 1\na = 2\n"))
    with pytest.raises(ConfigError, match=r"s.json: the key 'a' is there twice .*lines 1, 2"):
        SweepSpec.from_file(write("s.json", '{"a": 1,\n"a": 2}'))


def test_texts_of_a_file_that_look_like_numbers_stay_texts():
    spec = SweepSpec.from_file(
        write("s.yaml", 'sweep: {a: "1e-3", b: 1e-3, c: ["1", 1], d: 0..1}\n')
    )
    first = spec.apply(ExpManager()).build()[0]
    assert first == {"a": "1e-3", "b": 1e-3, "c": "1", "d": 0}


def test_a_mapping_in_a_file_holds_nested_keys_and_times_are_texts():
    spec = SweepSpec.from_file(
        write("s.yaml", "base: {day: 2020-01-01}\nsweep: {model: {lr: [1, 2], opt: {x: 0..1}}}\n")
    )
    assert len(spec.apply(ExpManager()).build()) == 4
    assert spec.apply(ExpManager()).build()[0] == {
        "day": "2020-01-01",
        "model": {"lr": 1, "opt": {"x": 0}},
    }


def test_files_that_a_sweep_names_lie_beside_it_or_in_the_working_folder():
    os.mkdir("sweeps")
    write("sweeps/base.yaml", "x: 1\n")
    write("sweeps/p.txt", "a\nb\n")
    write("train.py", "")
    spec = SweepSpec.from_file(
        write("sweeps/s.yaml", "run: train.py:f\nbase: base.yaml\nsweep: {+p: '@p.txt'}\n")
    )
    assert spec.run == "train.py:f"
    assert spec.apply(ExpManager()).build() == [{"x": 1, "p": "a"}, {"x": 1, "p": "b"}]


def test_keys_with_dots_in_their_names_stay_so_beside_others():
    write("flat.yaml", "model.name: tiny\nmodel.lr: 1\nseed: 0\n")
    made = built("model.lr=2,3", "+model.width=8", base_files="flat.yaml")
    assert made == [
        {"model.name": "tiny", "model.lr": lr, "seed": 0, "model.width": 8} for lr in (2, 3)
    ]
    write("g.csv", "model.name,seed\na,1\nb,2\n")
    assert built(base_files="g.csv")[1] == {"model": {"name": "b"}, "seed": 2}


def test_deep_files_are_refused():
    write("deep.json", "[" * 500 + "]" * 500)
    write("deep.toml", "a = " + "[" * 500 + "]" * 500)
    write("deep.yaml", "[" * 500 + "]" * 500)
    for name in ("deep.json", "deep.toml", "deep.yaml"):
        assert "nested" in refused(base_files=name)


def test_words_count_over_a_file():
    spec = SweepSpec.from_file(write("sweep.yaml", EXAMPLE)).with_options(workers=4, where=())
    changed = spec.with_words(["lr=0.5", "~momentum", "epochs=1"])
    assert [dict(block.keys) for block in changed.blocks] == [
        {"optimizer": "adam", "lr": 0.5, "seed": "0..4", "epochs": 1},
        {"optimizer": "sgd", "lr": 0.5, "seed": "0..4", "epochs": 1},
    ]
    assert changed.workers == 4 and changed.where == spec.where
    assert len(changed.apply(ExpManager()).build()) == 10
    with pytest.raises(ConfigError, match="has blocks already"):
        spec.with_words(["a=1", "+", "a=2"])
    assert spec.with_options(command=["echo"]).run is None


def test_a_base_file_of_the_command_line_counts_over_the_sweep_file():
    write("over.yaml", "epochs: 1\n")
    spec = SweepSpec.from_file(write("sweep.yaml", EXAMPLE)).with_options(base_files=("over.yaml",))
    assert spec.apply(ExpManager()).build()[0]["epochs"] == 1
    assert spec.apply(ExpManager()).build()[0]["model"] == {"name": "tiny"}
    spec.save("again.yaml")
    assert SweepSpec.from_file("again.yaml") == spec


def test_a_key_that_is_fixed_by_a_word_is_drawn_no_more():
    spec = SweepSpec.from_words(["lr=loguniform(1e-5,1e-1)", "seed=0,1"], draws=9, draw_seed=1)
    assert spec.with_words(["lr=0.5"]).apply(ExpManager()).build() == [
        {"lr": 0.5, "seed": 0},
        {"lr": 0.5, "seed": 1},
    ]


def test_a_list_in_brackets_where_a_number_belongs_is_asked_about(caplog):
    built("lr=[1e-3,1e-2]", base={"lr": 0.1}, keys=["lr"])
    assert "the list [0.001,0.01] is one value, where the base has 0.1" in caplog.text
    assert "write lr=0.001,0.01 without brackets" in caplog.text
    caplog.clear()
    built("name=1.10,2", base={"name": "x"}, keys=["name"])
    assert "1.1 is a number where the base has the text 'x'" in caplog.text
    assert "write name='\"1.1\"'" in caplog.text
    caplog.clear()
    built("name=a,1", "lr=2,auto", "flag=null", base={"name": "x", "lr": 0.1, "flag": "y"})
    built("layers=[64,64],[128]", base={"layers": [1]}, keys=["layers"])
    assert not caplog.records


def test_a_pipeline_gets_what_is_recorded():
    calls = []

    class Recorder:
        def __getattr__(self, name):
            return lambda *args, **kwargs: calls.append((name, args, kwargs))

    spec = SweepSpec.from_words(
        [], name="n", group="g", tags="k=v", version="2", retry=1, track="mlflow(experiment_name=x)"
    )
    spec.label(Recorder())
    assert calls == [
        ("name", ("n",), {}),
        ("group", ("g",), {}),
        ("tags", ({"k": "v"},), {}),
        ("version", ("2",), {}),
        ("retry", (), {"max_attempts": 2}),
        ("track", ("mlflow",), {"experiment_name": "x"}),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90s", 90),
        ("30min", 1800),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        ("2d", 172800),
    ],
)
def test_times(text, expected):
    assert seconds(text) == expected
