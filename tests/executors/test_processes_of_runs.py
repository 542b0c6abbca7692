"""A run may start processes of its own, by every means there is, in every parallel mode."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import subprocess
import sys

import deadly
import pytest

PARALLEL = ["process_pool", "joblib", "dynamic"]
METHODS = ["fork", "spawn", "forkserver"]


class Calls:
    """A run_one that calls a function with the configuration's arguments."""

    def __init__(self, function):
        self.function = function

    def __call__(self, spec):
        found = self.function(**spec.config)
        return deadly.RunOutcome(spec.run_id, "succeeded", notices=(str(found),))


def with_pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def with_futures(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(abs, [-1, -2]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
@pytest.mark.parametrize("function", [with_pool, with_futures])
def test_a_pool_of_any_start_method_works_in_a_run(mode, function, spec, drive):
    specs = [spec(method, {"method": method}) for method in METHODS]
    outcomes = drive(mode, specs, Calls(function))
    assert {o.notices for o in outcomes.values()} == {("[1, 2]",)}


@pytest.mark.parametrize("mode", PARALLEL)
def test_the_default_start_method_in_a_run_is_the_launchers(mode, spec, drive, monkeypatch):
    default = multiprocessing.get_context().get_start_method()
    assert drive(mode, [spec("a")], Calls(start_method))["a"].notices == (default,)
    try:
        multiprocessing.set_start_method("spawn", force=True)
        assert drive(mode, [spec("a")], Calls(start_method))["a"].notices == ("spawn",)
    finally:
        multiprocessing.set_start_method(None, force=True)


def start_method():
    return multiprocessing.get_start_method()


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_subprocess_works_in_a_run(mode, spec, drive):
    assert drive(mode, [spec("a")], Calls(with_subprocess))["a"].notices == ("5",)


def with_subprocess():
    return subprocess.check_output([sys.executable, "-c", "print(5)"], text=True).strip()


SCRIPT = """
import concurrent.futures, dataclasses, multiprocessing, pickle, sys

@dataclasses.dataclass
class Model:
    width: int

    def doubled(self):
        return Model(helper(self.width))

class TooWide(Exception):
    pass

def helper(x):
    return 2 * x

def train(ctx):
    context = multiprocessing.get_context(ctx.config["method"])
    with context.Pool(2) as pool:
        models = pool.map(Model.doubled, [Model(1), Model(2)])
        widths = pool.map(helper, [m.width for m in models])
        try:
            pool.apply(refuse)
        except TooWide as exc:
            refused = exc.args
    assert [type(m) for m in models] == [Model, Model] and refused == ("refused",)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        futures = pool.submit(helper, 50).result()
    queue = context.Queue()
    process = context.Process(target=puts, args=(queue, Model(5)))
    process.start()
    got = queue.get(timeout=30)
    process.join()
    assert type(got) is Model
    # What is written by reference can be read by the script.
    (ctx.run_dir / "artifacts" / "model.pickle").write_bytes(pickle.dumps(got))
    return {"widths": sum(widths), "futures": futures, "got": got.width}

def puts(queue, model):
    queue.put(model)

def refuse():
    raise TooWide("refused")

from pathlib import Path
from ztxexp import ExpRunner
root, mode, *methods = sys.argv[1:]
summary = ExpRunner([{"method": m} for m in methods], root).run(train, mode=mode, workers=2)
print(summary.succeeded, summary.failed)
for file in Path(root).glob("*/artifacts/model.pickle"):
    print(pickle.loads(file.read_bytes()))
"""


@pytest.mark.parametrize("mode", PARALLEL)
def test_what_a_script_defines_reaches_processes_that_its_runs_start(mode, tmp_path):
    # Without a main guard: nothing may import the script again.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    out = subprocess.run(
        [sys.executable, script, tmp_path / "results", mode, *METHODS],
        capture_output=True,
        text=True,
        timeout=120,
    )
    logs = "".join(p.read_text() for p in (tmp_path / "results").glob("*/error.log"))
    assert out.stdout.splitlines() == ["3 0", *3 * ["Model(width=5)"]], out.stderr + logs


LOADER = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

class Squares(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return {"x": torch.tensor([float(i * i)]), "by": get_worker_info().id}

def seeded(number):
    torch.manual_seed(number)

def together(items):
    return torch.cat([item["x"] for item in items]), {item["by"] for item in items}

def train(ctx):
    loader = DataLoader(
        Squares(), batch_size=2, num_workers=ctx.config["n"], collate_fn=together,
        worker_init_fn=seeded, multiprocessing_context=ctx.config["method"],
        persistent_workers=ctx.config["n"] == 1,
    )
    total, by = 0.0, set()
    for epoch in range(2):
        for x, numbers in loader:
            total += float(x.sum())
            by |= numbers
    assert by == set(range(ctx.config["n"]))
    torch.save(torch.nn.Sequential(Net()), ctx.run_dir / "artifacts" / "net.pt")
    return {"total": total}

class Net(torch.nn.Module):
    def forward(self, x):
        return x + 1

from ztxexp import ExpRunner
from pathlib import Path
root, mode, *methods = sys.argv[1:]
configs = [{"method": m or None, "n": 1 if m else 2} for m in methods]
summary = ExpRunner(configs, root).run(train, mode=mode, workers=2)
print(summary.succeeded, summary.failed)
for file in Path(root).glob("*/artifacts/net.pt"):
    print(float(torch.load(file, weights_only=False)(torch.tensor(1.0))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
def test_a_torch_data_loader_works_with_a_data_set_of_the_script(mode, tmp_path):
    pytest.importorskip("torch")
    script = tmp_path / "script.py"
    script.write_text(LOADER)
    out = subprocess.run(
        [sys.executable, script, tmp_path / "results", mode, "", *METHODS],
        capture_output=True,
        text=True,
        timeout=170,
    )
    logs = "".join(p.read_text() for p in (tmp_path / "results").glob("*/error.log"))
    assert out.stdout.splitlines() == ["4 0", *4 * ["2.0"]], out.stderr + logs


@pytest.mark.parametrize("mode", PARALLEL)
def test_processes_that_a_run_leaves_are_gone_with_the_launch(mode, spec, drive, tmp_path):
    path = tmp_path / "pids"
    outcomes = drive(mode, [spec("a", {"children": str(path)}), spec("b")])
    assert {o.status for o in outcomes.values()} == {"succeeded"}
    # conftest.py looks whether they are


def test_a_notebooks_classes_reach_processes_that_its_runs_start(tmp_path):
    # __main__ has no file that anything could import.
    out = subprocess.run(
        [sys.executable, "-", tmp_path / "results", "process_pool", "spawn"],
        input=SCRIPT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert out.stdout.splitlines() == ["1 0", "Model(width=5)"], out.stderr
