"""Plain functions: called by the names of their parameters, checked before anything runs."""

from __future__ import annotations

import functools
import sys
import textwrap

import pytest
from reading import lines, python, strict

import ztxexp
from ztxexp import ConfigError, ExperimentPipeline, ExpRunner, SkipRun, call_by_name
from ztxexp.provenance.code_version import version_of
from ztxexp.targets import load_target, target_of


def train(lr, hidden=32, *, seed=0):
    return {"score": lr * hidden + seed}


def with_context(lr, ctx, verbose=False):
    ctx.logger.info("lr=%s", lr)
    return {"lr": lr, "attempt": ctx.attempt, "verbose": float(verbose)}


def takes_any(lr=0.1, **others):
    return {"count": float(len(others))}


def number(lr):
    return lr


def steps(lr=0.1, epochs=3):
    for epoch in range(epochs):
        yield {"loss": lr / (epoch + 1)}


def numbered_steps(ctx):
    yield 10, {"loss": 0.5, "accuracy": 0.1}
    yield None
    yield 20, {"loss": 0.25}


def steps_and_a_result(lr=0.1):
    yield {"loss": 1.0}
    return {"accuracy": 0.9}


def bad_steps(lr=0.1):
    yield "a text"


async def coroutine(lr=0.1):
    ztxexp.log(loss=lr)
    return {"lr": lr}


def skips(lr):
    raise SkipRun("no use")


def fails(lr):
    raise ValueError(f"bad {lr}")


def run(root, function, grid=None, **settings):
    pipeline = ExperimentPipeline(root.path).grid(grid or {"lr": [0.5]})
    return pipeline.run(call_by_name(function), progress=False, **settings)


def metrics(run):
    return strict(run["dir"] / "metrics.json")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib"])
def test_values_come_by_name_and_defaults_are_part_of_the_configuration(root, mode):
    summary = run(root, train, {"lr": [0.5, 1.0]}, mode=mode, workers=2)
    assert summary.succeeded == 2
    found = {run["config"]["lr"]: run for run in root.runs()}
    assert found[1.0]["config"] == {"lr": 1.0, "hidden": 32, "seed": 0}
    assert metrics(found[1.0]) == {"score": 32.0}
    assert metrics(found[0.5]) == {"score": 16.0}


def test_what_is_swept_or_in_the_base_takes_precedence_over_defaults(root):
    pipeline = ExperimentPipeline(root.path, {"hidden": 2}).grid({"lr": [1.0]})
    pipeline.run(call_by_name(train), progress=False)
    assert root.only()["config"] == {"hidden": 2, "lr": 1.0, "seed": 0}


def test_a_filter_sees_the_defaults(root):
    pipeline = ExperimentPipeline(root.path).grid({"lr": [1.0, 2.0]})
    pipeline = pipeline.where(lambda config: config["hidden"] == 32 and config["lr"] > 1)
    assert len(pipeline.plan(call_by_name(train)).to_run) == 1


def test_a_runner_takes_them_too(root):
    ExpRunner([{"lr": 1.0}], root.path).run(call_by_name(train), progress=False)
    assert root.only()["config"] == {"lr": 1.0, "hidden": 32, "seed": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (with_context, {"lr": 0.5, "attempt": 1, "verbose": 0.0}),
        (number, {"result": 0.5}),
        (coroutine, {"lr": 0.5}),
        (steps, {"loss": 0.5 / 3}),
        (steps_and_a_result, {"accuracy": 0.9}),
        (functools.partial(train, hidden=4), {"score": 2.0}),
        (functools.lru_cache(train), {"score": 16.0}),
        (lambda lr: {"twice": 2 * lr}, {"twice": 1.0}),
    ],
)
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_every_kind_of_function_works(root, function, expected, mode):
    assert run(root, function, mode=mode).succeeded == 1
    assert metrics(root.only()) == expected


def test_further_keys_go_to_a_function_that_takes_any(root):
    run(root, takes_any, {"lr": [0.5], "momentum": [0.9], "nesterov": [True]})
    assert metrics(root.only()) == {"count": 2.0}


def test_a_generator_yields_steps(root):
    run(root, steps)
    events = lines(root.only()["dir"] / "metrics.jsonl")
    assert [(e["step"], e["metrics"]["loss"]) for e in events] == [
        (0, 0.5),
        (1, 0.25),
        (2, 0.5 / 3),
    ]


def test_a_generator_may_number_its_steps_and_take_the_context(root):
    ExperimentPipeline(root.path).run(call_by_name(numbered_steps), progress=False)
    run = root.only()
    assert [event["step"] for event in lines(run["dir"] / "metrics.jsonl")] == [10, 20]
    assert metrics(run) == {"loss": 0.25, "accuracy": 0.1}


def test_what_is_no_step_fails_the_run(root):
    run(root, bad_steps)
    assert root.only()["error_message"] == (
        "a generator yields a dict of metrics, or (step, dict); got 'a text'"
    )


@pytest.mark.slow
def test_a_failure_names_the_users_line_and_no_line_of_ours(root):
    run(root, fails, mode="process_pool")
    found = root.only()
    assert found["error_type"] == "ValueError" and found["error_message"] == "bad 0.5"
    assert found["error_place"].startswith("test_plain_functions.py:")
    trace = (found["dir"] / "error.log").read_text()
    assert "in fails" in trace and "ztxexp_core" not in trace


def test_a_run_can_be_skipped(root):
    assert run(root, skips).skipped == 1


def test_a_function_of_ctx_alone_stays_as_it_is():
    def function(ctx):
        return None

    assert call_by_name(function) is function
    again = call_by_name(call_by_name(train))
    assert target_of(again).required == {"lr"}


# ---- what is refused before anything runs --------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"lrr": [1]}, "train() takes no 'lrr' (did you mean 'lr'?); it takes hidden, lr, seed"),
        ({"hidden": [1]}, "train() needs 'lr', which the configuration lacks"),
        ({"lr": [1], "batch": [2]}, "train() takes no 'batch'"),
    ],
)
def test_keys_are_checked_before_any_run_begins(root, grid, message):
    pipeline = ExperimentPipeline(root.path).grid(grid)
    for call in (pipeline.run, pipeline.plan):
        with pytest.raises(ConfigError) as caught:
            call(call_by_name(train))
        assert message in str(caught.value)
    assert not root.path.exists() or not root.runs()


def test_a_parameter_that_wants_the_whole_configuration_is_told_about_ctx(root):
    def whole(config):
        return None

    with pytest.raises(ConfigError, match=r"call the parameter ctx and read ctx\.config"):
        run(root, whole)


class Model:
    def __init__(self, lr=0.1):
        pass


def positional(lr, /, hidden=1):
    pass


def unfit_default(lr, device=object()):  # noqa: B008
    pass


async def async_generator(lr):
    yield {"loss": 1.0}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (positional, "parameter 'lr' of positional is positional-only"),
        (unfit_default, "the default of parameter 'device' of unfit_default is a object"),
        (async_generator, "is an async generator"),
        (Model, "Model is a class; name a function"),
        (3, "is no function but a int"),
    ],
)
def test_what_cannot_be_called_by_name_is_refused(function, message):
    with pytest.raises(ConfigError) as caught:
        call_by_name(function)
    assert message in str(caught.value)


# ---- from a file, from a module ------------------------------------------------------------------

SCRIPT = """
import argparse
from helper_of_script import HALF

def train(lr, hidden=32):
    return {"score": lr * HALF}

def notrain(ctx):
    return {"score": ctx.config["lr"]}

if __name__ == "__main__":
    raise SystemExit("the sweep must not run")
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder with a script and what it imports; what is imported is forgotten afterwards."""
    folder = tmp_path / "scripts"
    (folder / "package").mkdir(parents=True)
    (folder / "my_script.py").write_text(SCRIPT)
    (folder / "helper_of_script.py").write_text("HALF = 0.5\n")
    (folder / "package" / "inner.py").write_text("def train(lr):\n    return {'score': lr}\n")
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib"])
def test_a_function_of_a_file_runs_in_workers(root, scripts, mode):
    target = load_target(f"{scripts}/my_script.py:train")
    assert target.base == {"hidden": 32} and target.keys == {"lr", "hidden"}
    assert target.required == {"lr"} and target.name.endswith("my_script.py:train")
    ExperimentPipeline(root.path).grid({"lr": [1.0]}).run(
        target.function, mode=mode, progress=False
    )
    found = root.only()
    assert metrics(found) == {"score": 0.5}
    meta = strict(found["dir"] / "meta.json")
    assert meta["function"] == "my_script:train"
    assert meta["function_file"] == str(scripts / "my_script.py")


@pytest.mark.slow
def test_a_function_of_a_module_is_found_in_the_working_folder(root, scripts, monkeypatch):
    monkeypatch.chdir(scripts)
    target = load_target("package.inner:train")
    pipeline = ExperimentPipeline(root.path).grid({"lr": [1.0]})
    assert pipeline.run(target.function, mode="process_pool", progress=False).succeeded == 1


def test_a_function_of_ctx_in_a_file_takes_any_configuration(scripts):
    target = load_target(f"{scripts}/my_script.py:notrain")
    assert target.keys is None and target.base == {} and target.required == set()
    assert target.function.__name__ == "notrain"


@pytest.mark.slow
def test_a_file_with_the_name_of_another_module_is_loaded_too(root, scripts):
    (scripts / "json.py").write_text("def train(lr):\n    return {'score': lr}\n")
    target = load_target(f"{scripts}/json.py:train")
    import json

    assert hasattr(json, "dumps")
    sys.path.remove(str(scripts))  # where it was put, as that of a script
    pipeline = ExperimentPipeline(root.path).grid({"lr": [1.0]})
    assert pipeline.run(target.function, mode="process_pool", progress=False).succeeded == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}/my_script.py:trian", "has no 'trian' (did you mean 'train'?)"),
        ("{}/my_scrip.py:train", "there is no file"),
        ("no_such_package.module:train", "there is no module 'no_such_package.module'"),
        ("train", "names no function: write FILE.py:FUNCTION"),
        ("{}/my_script.py:", "names no function"),
        ("{}/ends.py:train", "ends when it is imported (sys.exit)"),
        ("{}/broken.py:train", "broken.py cannot be imported: SyntaxError"),
        ("{}/lacks.py:train", "lacks.py cannot be imported: ModuleNotFoundError"),
        ("{}/raises.py:train", "ValueError: at the top (raises.py:1 in <module>)"),
        ("{}/launches.py:train", "starts a launch when it is imported"),
        ("{}/my_script.py:HALF", "is no function but a float"),
    ],
)
def test_what_cannot_be_loaded_says_why(scripts, text, message):
    (scripts / "ends.py").write_text("import sys\nsys.exit(2)\n")
    (scripts / "broken.py").write_text("def train(:\n")
    (scripts / "lacks.py").write_text("import no_such_thing\n")
    (scripts / "raises.py").write_text("raise ValueError('at the top')\n")
    (scripts / "launches.py").write_text(
        "from ztxexp import ExpRunner\nExpRunner([{}], 'r').run(lambda ctx: None)\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_target(text.format(scripts))
    assert message in str(caught.value)


def test_a_near_file_is_named(scripts, monkeypatch):
    monkeypatch.chdir(scripts)
    with pytest.raises(ConfigError, match=r"did you mean 'my_script.py'"):
        load_target("my_scrip.py:train")


# ---- versions, resuming --------------------------------------------------------------------------


def test_the_version_is_that_of_the_function_itself():
    assert version_of(call_by_name(train)).hash == version_of(train).hash is not None
    assert version_of(call_by_name(train)).name == "train()"


EDITED = """
import sys
from ztxexp import ExperimentPipeline
from ztxexp.targets import load_target

target = load_target("edited.py:train")
pipeline = ExperimentPipeline("r").grid({"lr": [1.0, 2.0]}).resume()
print(pipeline.plan(target.function))
print(pipeline.run(target.function, mode="process_pool", progress=False))
"""


@pytest.mark.slow
def test_an_edit_is_noticed_and_what_has_succeeded_is_reused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = """
    FACTOR = {}
    def train(lr, hidden=1):
        if lr > 1 and FACTOR == 1:
            raise ValueError("too large")
        return {{"score": lr}}
    """
    (tmp_path / "edited.py").write_text(textwrap.dedent(source.format(1)))
    assert "1 succeeded, 1 failed" in python(EDITED).stdout
    assert "1 failed; 1 reused" in python(EDITED).stdout
    (tmp_path / "edited.py").write_text(textwrap.dedent(source.format(2)))
    done = python(EDITED)
    assert "from another version of train()" in done.stdout
    assert "1 succeeded; 1 reused" in done.stdout


IN_SCRIPT = """
import sys, threading
import ztxexp
from ztxexp import ExperimentPipeline, call_by_name

HALF = 0.5
LOCK = threading.Lock()

def helper(x):
    return x * HALF

def train(lr, hidden=2):
    ztxexp.log(0, loss=lr)
    return {"score": helper(lr) * hidden}

def locked(lr):
    with LOCK:
        return {"score": lr}

pipeline = ExperimentPipeline(sys.argv[1]).grid({"lr": [1.0, 2.0]})
print(pipeline.run(call_by_name(train), mode=sys.argv[2], workers=2, progress=False))
try:
    pipeline.run(call_by_name(locked), mode=sys.argv[2], progress=False)
except Exception as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_functions_of_a_script_go_to_workers_and_what_cannot_is_named(root, mode):
    done = python(IN_SCRIPT, root.path, mode, timeout=120)
    assert "2 succeeded" in done.stdout, done.stderr
    assert sorted(metrics(run)["score"] for run in root.runs()) == [1.0, 2.0]
    assert "OptionError the experiment function 'locked' cannot be sent" in done.stdout
    assert "LOCK" in done.stdout
    meta = strict(root.runs()[0]["dir"] / "meta.json")
    assert meta["function"] == "__main__:train" and meta["code_hash"] is not None
