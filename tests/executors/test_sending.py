"""Functions of a script get into workers, whatever they use; what cannot is named before."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from reading import strict

from ztxexp import ExpRunner
from ztxexp_core import ExecutorError, OptionError

PARALLEL = ["process_pool", "joblib", "dynamic"]

SCRIPT = """
import abc, dataclasses, enum, functools, importlib.util, pickle, sys, types, typing, zipfile
from ztxexp import ExpRunner

FACTOR = 7
def times(x): return FACTOR * x

import beside  # it has "from __main__ import times" at its top

def from_file(name, file, search=None):
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

loaded = from_file("loaded", "parts/loaded.py")
package = from_file("package", "parts/package/__init__.py", ["parts/package"])
also_here = from_file("taken", "parts/loaded.py")  # taken.py lies in the path, too
with zipfile.ZipFile("z.zip", "w") as archive:
    archive.writestr("zipped.py", "def f(): return 8")
sys.path.append("z.zip")
import zipped
made = types.ModuleType("made")
exec("N = 3\\ndef f(): return N", vars(made))
sys.modules["made"] = made

@functools.lru_cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)

class Data:
    def __init__(self, n): self.n = n
    @functools.cached_property
    def rows(self): return list(range(self.n))
    @functools.lru_cache
    def load(self): return self.n
    @staticmethod
    @functools.cache
    def static(n): return n
    @property
    def size(self): return len(self.rows)
    @functools.singledispatchmethod
    def kind(self, x): return "other"
    @kind.register
    def _(self, x: int): return "int"

@functools.singledispatch
def kind(x): return "other"
@kind.register
def _(x: list): return "list"
kind([])

class Color(enum.Enum):
    RED = 1
    @property
    def twice(self): return 2 * self.value
@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int = 1
class Settings(typing.TypedDict):
    x: int
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    item: T
class Base(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Child(Base):
    def f(self): return 5
def logged(f):
    @functools.wraps(f)
    def inner(*args): return f(*args)
    return inner
@logged
def decorated(x): return x
def chosen(): return "chosen"
part = functools.partial(times, 2)

def cached(ctx): return {"v": fib(15), "hits": fib.cache_info().hits}
def of_class(ctx):
    data = Data(4)
    return {"a": data.load(), "b": data.size, "c": Data.static(3), "d": data.kind(1)}
def dispatched(ctx): return {"a": kind([1]), "b": kind(1)}
def classes(ctx):
    assert isinstance(Child(), Base) and Box[int] is not None
    return {"a": Color.RED.twice, "b": Point().x, "c": Settings(x=2)["x"], "d": Child().f()}
def wrapped(ctx): return {"a": decorated(3), "b": part()}
def of_files(ctx):
    import made as imported_here
    names = [m.__name__ for m in (loaded, also_here)]
    return {"a": loaded.f(), "b": package.f(), "c": also_here.f(), "d": imported_here.f(),
            "names": ",".join(names), "e": zipped.f()}
def of_main(ctx):
    from __main__ import FACTOR as factor, times as function
    import __main__
    return {"a": function(factor), "b": __main__.chosen(), "c": beside.use(), "d": beside.later()}
def looked_up(ctx):
    name = "cho" + "sen"
    return {"a": globals()[name](), "b": eval(name)(), "c": getattr(sys.modules[__name__], name)()}
def pickles(ctx):
    (ctx.artifacts_dir / "kept.pkl").write_bytes(pickle.dumps([Data, Color.RED, fib, Point(3)]))
    return {"a": 1}

EACH = [cached, of_class, dispatched, classes, wrapped, of_files, of_main, looked_up, pickles]
def train(ctx): return EACH[ctx.config["i"]](ctx)

def launch(mode, root, count=len(EACH)):
    ExpRunner([{"i": i} for i in range(count)], root).run(train, mode=mode, workers=1)
"""
FILES = {
    "beside.py": "from __main__ import times\n"
    "def use(): return times(2)\n"
    "def later():\n    from __main__ import FACTOR\n    return FACTOR\n",
    "taken.py": "raise RuntimeError('the wrong module')\n",
    "parts/loaded.py": "def f(): return 1\n",
    "parts/package/__init__.py": "from .inner import f\n",
    "parts/package/inner.py": "from . import deep\ndef f(): return deep.VALUE\n",
    "parts/package/deep.py": "VALUE = 5\n",
}


@pytest.fixture
def script(tmp_path):
    """Run the script with some lines at its end; return what it said."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(end, *args, text=SCRIPT):
        (tmp_path / "script.py").write_text(text + "\n" + textwrap.dedent(end))
        return subprocess.run(
            [sys.executable, "script.py", *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, "ZTXEXP_PROGRESS": "0"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def _metrics(root):
    runs = sorted(root.runs(), key=lambda run: run["config"]["i"])
    return [(run["status"], run["error_message"], _read(run["dir"])) for run in runs]


def _read(folder):
    file = folder / "metrics.json"
    return strict(file) if file.exists() else None


EXPECTED = [
    {"v": 610, "hits": 13},
    {"a": 4, "b": 4, "c": 3, "d": "int"},
    {"a": "list", "b": "other"},
    {"a": 2, "b": 1, "c": 2, "d": 5},
    {"a": 3, "b": 14},
    {"a": 1, "b": 5, "c": 1, "d": 3, "names": "loaded,taken", "e": 8},
    {"a": 49, "b": "chosen", "c": 14, "d": 7},
    {"a": "chosen", "b": "chosen", "c": "chosen"},
    {"a": 1},
]


@pytest.mark.parametrize("mode", ["sequential", *PARALLEL])
def test_functions_of_a_script_do_in_a_worker_what_they_do_in_the_script(mode, script, root):
    out = script("launch(*sys.argv[1:])", mode, root.path)
    assert _metrics(root) == [("succeeded", None, metrics) for metrics in EXPECTED], out.stderr


@pytest.mark.first_is_quick
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork", "fork, after a launch"])
def test_a_launch_works_in_a_process_that_multiprocessing_has_started(method, script, root):
    method, _, later = method.partition(", ")
    end = f"""
    if __name__ == "__main__":
        import multiprocessing
        if {bool(later)}:
            launch("process_pool", sys.argv[1] + "-before", 1)
        process = multiprocessing.get_context({method!r}).Process(
            target=launch, args=("process_pool", sys.argv[1], 2))
        process.start()
        process.join()
    """
    # Python's own spawn imports the script under another name, where beside.py finds nothing.
    text = SCRIPT.replace("import beside ", "beside = None ")
    out = script(end, root.path, text=text)
    expected = [("succeeded", None, metrics) for metrics in EXPECTED[:2]]
    assert _metrics(root) == expected, out.stdout + out.stderr


@pytest.mark.slow
def test_usual_lines_of_torch_scripts_run_in_a_worker(script, root):
    pytest.importorskip("torch")
    text = """
    import sys
    import torch, torch.distributed as dist
    from torch.backends import cudnn
    from ztxexp import ExpRunner
    add, overload = torch.ops.aten.add, torch.ops.aten.add.Tensor

    def train(ctx):
        torch.backends.cudnn.deterministic = cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = False
        return {
            "mps": torch.backends.mps.is_available(),
            "rank": dist.get_rank() if torch.distributed.is_initialized() else ctx.config["i"],
            "compiling": torch.compiler.is_compiling() and torch.compiler.config is None,
            "sum": int(add(torch.tensor(1), 2) + overload(torch.tensor(3), 4)),
            "op": int(torch.ops.aten.mul(torch.tensor(2), torch.tensor(2))),
        }
    ExpRunner([{"i": 0}], sys.argv[1]).run(train, mode="process_pool")
    """
    out = script("", root.path, text=textwrap.dedent(text))
    ((status, message, metrics),) = _metrics(root) or [(None, out.stderr, None)]
    assert (status, message) == ("succeeded", None)
    assert (metrics["sum"], metrics["op"], metrics["rank"]) == (10, 4, 0)


def test_what_cannot_be_sent_is_named_with_the_functions_that_use_it(script, root):
    text = """
    import sys, threading
    from ztxexp import ExpRunner
    guard_of_data = threading.Lock()
    def report():
        with guard_of_data:
            return epoch
    def epoch(): return report()
    def train(ctx): epoch()
    ExpRunner([{"i": 0}], sys.argv[1]).run(train, mode="process_pool")
    """
    out = script("", root.path, text=textwrap.dedent(text))
    last = out.stderr.strip().splitlines()[-1]
    assert "global 'guard_of_data' of report() cannot be pickled" in last
    assert "used by train() -> epoch() -> report()" in last
    assert "mode='sequential'" in last
    assert root.runs() == []


@pytest.mark.slow
def test_other_threads_have_their_script_while_workers_start(root):
    script, others, stop = sys.modules["__main__"], [], threading.Event()

    def look():
        while not stop.is_set():
            if sys.modules["__main__"] is not script:
                others.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        summary = ExpRunner([{"i": i} for i in range(3)], root.path).run(
            lambda ctx: None, mode="process_pool", fresh_process=True
        )
    finally:
        stop.set()
        thread.join()
    assert (summary.succeeded, others) == (3, [])


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_deleted_working_folder_is_named_before_anything_runs(mode, root, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ExecutorError, match="the working folder of this process has been deleted"):
        ExpRunner([{}], root.path).run(lambda ctx: None, mode=mode)
    assert root.runs() == []


def _stops(ctx):
    breakpoint()


def _asks(ctx):
    input("go on? ")


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("function", [_stops, _asks])
def test_a_failure_for_lack_of_a_terminal_names_the_mode_that_has_one(function, root):
    ExpRunner([{}], root.path).run(function, mode="process_pool")
    assert "use mode='sequential'" in root.only()["error_message"]


@pytest.mark.slow
def test_the_advice_for_an_async_function_works_in_a_running_event_loop(root):
    async def train(ctx):
        await asyncio.sleep(0)
        return {"score": 1}

    async def cell():
        runner = ExpRunner([{}], root.path)
        with pytest.raises(TypeError, match=r"asyncio\.run\(.*mode='process_pool'"):
            runner.run(train)
        return runner.run(lambda ctx: asyncio.run(train(ctx)), mode="process_pool")

    assert asyncio.run(cell()).succeeded == 1


def test_a_module_that_is_found_from_the_present_working_folder_is_found_by_workers(script, root):
    text = """
    import os, sys
    from ztxexp import ExpRunner
    os.chdir("parts")
    sys.path.insert(0, "")
    import loaded
    ExpRunner([{"i": 0}], sys.argv[1]).run(lambda ctx: {"v": loaded.f()}, mode="process_pool")
    """
    out = script("", root.path, text=textwrap.dedent(text))
    assert _metrics(root) == [("succeeded", None, {"v": 1})], out.stderr


def test_a_live_value_in_a_closure_is_named_as_the_functions_variable(root):
    guard = threading.Lock()

    def train(ctx):
        return guard

    with pytest.raises(OptionError, match=r"variable 'guard' of .*train.* cannot be pickled"):
        ExpRunner([{}], root.path).run(train, mode="process_pool")
