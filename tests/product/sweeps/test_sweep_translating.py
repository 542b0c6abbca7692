"""Sweeps of Hydra, W&B and Guild as ours, and a first sweep file."""

from __future__ import annotations

import os

import pytest

from ztxexp import ExpManager
from ztxexp.sweeps.spec import SweepSpec
from ztxexp.sweeps.translating import first_sweep_file, translate
from ztxexp_core.errors import ConfigError

HYDRA = """\
defaults:
  - model: tiny
lr: 1e-3
momentum: 0.9
hydra:
  sweeper:
    params:
      lr: 1e-3,1e-2
      model: glob(*, exclude=b*)
      seed: range(0,3)
      layers: "[64,64],[128]"
      opt: choice(adam,'a,b')
      x: range(0,1,0.25)
      +extra: 3
      unknown: foo(1)
  launcher: {n_jobs: 4}
"""

OPTUNA = """\
hydra:
  sweeper:
    n_trials: 6
    direction: maximize
    sampler: {_target_: optuna.samplers.TPESampler, seed: 3}
    params:
      lr: tag(log, interval(1e-5, 1e-1))
      drop: interval(0, 0.5)
      n: int(interval(1,8))
      opt: choice(adam,sgd)
"""

MULTIRUN = """\
hydra:
  overrides:
    hydra: [hydra.mode=MULTIRUN]
    task: ['lr=1e-3,1e-2', 'model.hidden=16,64', '~dropout', "name='a,b'"]
  job: {name: app}
  sweeper: {params: null}
"""

WANDB = """\
program: train.py
method: random
name: digits
project: p
run_cap: 12
metric: {name: val/loss, goal: minimize}
early_terminate: {type: hyperband}
parameters:
  lr: {min: 0.0001, max: 0.1, distribution: log_uniform_values}
  old: {min: -9, max: -1, distribution: log_uniform}
  hidden: {values: [16, 64], probabilities: [0.3, 0.7]}
  epochs: {value: 20}
  drop: {min: 0, max: 0.5, q: 0.1, distribution: q_uniform}
  layers: {min: 1, max: 4}
  noise: {mu: 0, sigma: 1, distribution: normal}
  opt: {parameters: {name: {values: [adam, "a,b"]}, beta: {max: 1.0, min: 0.9}}}
"""

GUILD = """\
- model: mlp
  operations:
    train:
      main: train
      flags-dest: args
      flags:
        lr: [1e-3, 1e-2]
        sched: logspace[-5:-1:5]
        seed: range[0:4]
        opt: adam
        batch-size: {default: 32, arg-name: bs}
      objective: {maximize: accuracy}
      requires: data
    search:
      exec: 'python t.py --x ${x} ${flag_args}'
      max-trials: 5
      flags:
        x: uniform[0.0:0.5]
        lr: {default: 0.1, min: 0.001, max: 1, distribution: log-uniform}
        n: [1, 2]
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def translated(tool: str, text: str, name: str = "other.yaml", part: str = ""):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    spec, notes = translate(tool, name + part)
    spec.save("ours.yaml")
    assert SweepSpec.from_file("ours.yaml") == spec
    return spec, "\n".join(notes), spec.apply(ExpManager()).build()


def test_hydra_keeps_its_configuration_and_we_pass_what_is_swept():
    os.makedirs("model")
    for name in ("tiny", "base", "large"):
        (open(f"model/{name}.yaml", "w")).close()
    with open("app.py", "w") as file:
        file.write("@hydra.main()\ndef main(cfg): ...\n")
    spec, notes, configs = translated("hydra", HYDRA, "config.yaml")
    assert spec.command == (
        "python", "app.py", "lr={lr}", "model={model}", "seed={seed}", "layers={layers}",
        "opt={opt}", "x={x}", "+extra={extra}",
    )  # fmt: skip
    assert dict(spec.blocks[0].keys) == {
        "lr": [1e-3, 1e-2],
        "model": ["large", "tiny"],
        "seed": [0, 1, 2],
        "layers": [[64, 64], [128]],
        "opt": ["adam", "a,b"],
        "x": [0.0, 0.25, 0.5, 0.75],
        "extra": 3,
    }
    assert len(configs) == 2 * 2 * 3 * 2 * 2 * 4
    assert spec.workers == 4
    assert "unknown: foo(...) is not known; left out" in notes
    assert "defaults: the program composes them" in notes
    assert "momentum: what is not swept stays with Hydra" in notes


def test_hydra_with_a_sweeper_that_draws():
    spec, notes, configs = translated("hydra", OPTUNA)
    assert dict(spec.blocks[0].keys) == {
        "lr": "loguniform(1e-05,0.1)",
        "drop": "uniform(0,0.5)",
        "n": "integers(1,8)",
        "opt": "choice([adam,sgd])",
    }
    assert (spec.draws, spec.draw_seed, len(configs)) == (6, 3, 6)
    assert "TPESampler) learns from earlier runs" in notes
    assert "metrics: {accuracy: max}" in notes
    assert "the command runs train.py: change it" in notes


def test_a_multirun_of_hydra():
    spec, _, configs = translated("hydra", MULTIRUN, "multirun.yaml")
    assert spec.command == (
        "python", "app.py", "lr={lr}", "model.hidden={model.hidden}", "~dropout", "name={name}",
    )  # fmt: skip
    assert configs[0] == {"name": "a,b", "lr": 1e-3, "model": {"hidden": 16}}
    assert len(configs) == 4 and spec.name == "app"


def test_a_group_of_hydra_beside_its_values():
    text = MULTIRUN.replace("'hidden=16,64'", "").replace("'~dropout'", "'model=tiny,base'")
    spec, _, configs = translated("hydra", text)
    assert spec.command is not None and "model={model_choice}" in spec.command
    assert configs[0]["model_choice"] == "tiny" and configs[0]["model"] == {"hidden": 16}


def test_hydra_without_a_sweep():
    with pytest.raises(ConfigError, match=r"neither hydra.sweeper.params nor"):
        translated("hydra", "lr: 1\nhydra: {job: {name: x}}\n")


def test_wandb():
    spec, notes, configs = translated("wandb", WANDB)
    assert spec.command is not None and spec.command[:3] == ("python", "train.py", "--lr={lr}")
    assert spec.command[-1] == "--opt.beta={opt.beta}"
    assert spec.metrics == {"val/loss": "min"} and spec.name == "digits"
    assert len(configs) == spec.draws == 12
    for config in configs:
        assert 1e-4 <= config["lr"] <= 0.1 and 1e-4 <= config["old"] <= 0.37
        assert config["drop"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
        assert config["layers"] in (1, 2, 3, 4) and config["hidden"] in (16, 64)
        assert config["epochs"] == 20 and config["opt"]["name"] in ("adam", "a,b")
    assert "noise: distribution: normal cannot be drawn here; left out" in notes
    assert "early_terminate: no run ends early" in notes
    assert "runs are sent to W&B as well" in notes


def test_a_grid_of_wandb():
    text = (
        "program: t.py\nmethod: grid\nmetric: {name: acc, goal: maximize}\nrun_cap: 3\n"
        "command: ['${env}', python3, '${program}', '${args_no_hyphens}', --fast]\n"
        "parameters: {lr: {values: [0.1, 0.01]}, n: {min: 1, max: 3}, name: {value: adam}}\n"
    )
    spec, notes, configs = translated("wandb", text)
    assert spec.command == ("python3", "t.py", "lr={lr}", "n={n}", "name={name}", "--fast")
    assert len(configs) == 6 and configs[0] == {"name": "adam", "lr": 0.1, "n": 1}
    assert "run_cap: 3: a grid is run as a whole" in notes
    assert spec.metrics == {"acc": "max"}
    _, notes, _ = translated("wandb", text.replace("grid", "bayes"))
    assert "nothing learns from earlier runs" in notes
    with pytest.raises(ConfigError, match="there is no mapping called parameters"):
        translated("wandb", "method: grid\n")


def test_guild():
    spec, notes, configs = translated("guild", GUILD, "guild.yml")
    assert spec.command is not None and spec.command[:3] == ("python", "-m", "train")
    assert spec.command[-2:] == ("--bs", "{batch-size}")
    assert len(configs) == 2 * 5 * 5
    assert configs[0] == {"opt": "adam", "batch-size": 32, "lr": 1e-3, "sched": 1e-5, "seed": 0}
    assert spec.metrics == {"accuracy": "max"} and spec.name == "train"
    assert "only train is taken over; for another: guild.yml:search" in notes
    assert "requires: files and operations that it requires are not prepared" in notes
    with open("train.py", "w") as file:
        file.write("lr = 0.1\n")
    spec, notes, _ = translated("guild", GUILD.replace("      flags-dest: args\n", ""), "guild.yml")
    assert spec.command[:2] == ("python", "train.py")
    assert "name a function that takes them: run: train.py:train" in notes


def test_an_operation_of_guild_that_draws():
    spec, notes, configs = translated("guild", GUILD, "guild.yml", ":search")
    assert spec.command == (
        "python", "t.py", "--x", "{x}", "--x", "{x}", "--lr", "{lr}", "--n", "{n}",
    )  # fmt: skip
    assert len(configs) == spec.draws == 5
    assert "lr: drawn from its range; its default 0.1 is not" in notes
    with pytest.raises(ConfigError, match=r"no operation 'serch' \(did you mean 'search'\?\)"):
        translate("guild", "guild.yml:serch")


def test_other_tools_and_files_are_refused():
    with pytest.raises(ConfigError, match=r"did you mean 'hydra'"):
        translate("hidra", "x.yaml")
    for tool in ("hydra", "wandb", "guild"):
        with pytest.raises(ConfigError, match="there is no file"):
            translate(tool, "nothing.yaml")
        for text in ("", "- 1\n", "a\n", "hydra: 3\nparameters: 3\n"):
            with open("odd.yaml", "w") as file:
                file.write(text)
            with pytest.raises(ConfigError, match=r"odd.yaml ha|odd.yaml holds"):
                translate(tool, "odd.yaml")


@pytest.mark.parametrize(
    ("target", "base", "count"),
    [
        ("train.py:train", None, 6),
        ("train.py:train", {"lr": 1e-3, "hidden": 64, "seed": 0, "name": "a: b # c", "x": [1]}, 6),
        ("train.py:train", {"depth": 3, "flag": True, "name": None}, 2),
        ("train.py:train", {"name": "x", "data": object()}, 1),
        ("python train.py --lr {lr}", None, 6),
        ("python 'a: b' # {lr}", None, 6),
    ],
)
def test_a_first_sweep_file_can_be_run_as_it_is(target, base, count):
    with open("sweep.yaml", "w", encoding="utf-8") as file:
        file.write(first_sweep_file(target, base))
    spec = SweepSpec.from_file("sweep.yaml")
    keys = None if base is None else set(base)
    configs = spec.apply(
        ExpManager(), base and {k: v for k, v in base.items() if k != "data"}, keys
    )
    made = configs.build()
    assert len(made) == count
    assert spec.run == (None if " " in target else target)
    if base and "x" in base:
        assert made[0] == {**base, "lr": 1e-3}
