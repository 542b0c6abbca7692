"""What a worker loads may import modules of the user's: they must not start launches in it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import experiments
import pytest
from reading import strict

from ztxexp import ExpRunner

PARALLEL = ["process_pool", "joblib", "dynamic"]
SPAWN = """
import multiprocessing
from ztxexp_executors import _workers
_workers._context = lambda: multiprocessing.get_context("spawn")
"""
# Each module ends its process where workers of workers import it: no test may be without an end.
IMPORTED = """
import os
import sys
from ztxexp import ExpRunner

depth = int(os.environ.get("DEPTH", "0"))
print("imported at depth", depth, file=open(os.environ["IMPORTS"], "a"))
if depth > 1:
    os._exit(9)
os.environ["DEPTH"] = str(depth + 1)
"""


@pytest.fixture
def python(tmp_path):
    """Run code where modules of the test's can be imported; returns what it said, and imports."""

    def run(code, *args, **modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        imports = tmp_path / "imports"
        env = {**os.environ, "ZTXEXP_PROGRESS": "0", "IMPORTS": str(imports), "DEPTH": "0"}
        out = subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return out, imports.read_text().splitlines() if imports.exists() else []

    return run


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", [*PARALLEL, "process_pool by spawn"])
def test_a_module_that_starts_a_launch_when_it_is_imported_is_told_once_with_the_way_out(
    mode, python, root
):
    mode, _, by_spawn = mode.partition(" ")
    sweep = IMPORTED + (
        "def train(ctx):\n"
        "    pass\n"
        "ExpRunner([{'i': i} for i in range(6)], sys.argv[1]).run(\n"
        "    train, mode=sys.argv[2], workers=2)\n"
    )
    code = (SPAWN if by_spawn else "") + "import sweep"
    out, imports = python(code, root.path, mode, sweep=sweep)
    assert out.returncode == 1
    assert out.stderr.count("module 'sweep' starts a launch when it is imported") == 1
    assert out.stderr.count("under `if __name__ == '__main__':`") == 1
    assert imports.count("imported at depth 0") == 1
    assert 1 <= imports.count("imported at depth 1") <= 2  # by the workers that were starting
    assert len(imports) <= 3
    assert root.runs() == []


def test_a_sequential_launch_at_the_top_of_a_module_is_not_repeated_by_workers(python, root):
    helpers = IMPORTED + (
        "def train(ctx):\n    pass\nExpRunner([{'by': os.getpid()}], sys.argv[1]).run(train)\n"
    )
    code = (
        "import sys, helpers\n"
        "from ztxexp import ExpRunner\n"
        "ExpRunner([{}], sys.argv[1]).run(helpers.train, mode='process_pool')\n"
    )
    out, _ = python(code, root.path, helpers=helpers)
    assert "module 'helpers' starts a launch when it is imported" in out.stderr
    assert len(root.runs()) == 1  # the one of the launching process


def test_a_configuration_that_starts_a_launch_when_it_is_loaded_costs_its_run_and_says_so(
    python, root
):
    model = IMPORTED + (
        "class Model(dict):\n"
        "    pass\n"
        "if depth:\n"
        "    ExpRunner([{}], sys.argv[1]).run(lambda ctx: None, mode='process_pool')\n"
    )
    code = (
        "import sys, model\n"
        "from ztxexp import ExpRunner\n"
        "configs = [{'i': 0, 'model': model.Model()}, {'i': 1}]\n"
        "s = ExpRunner(configs, sys.argv[1]).run(lambda ctx: None, mode='process_pool')\n"
        "print(s.succeeded, s.failed)\n"
    )
    out, imports = python(code, root.path, model=model)
    assert out.stdout.split() == ["1", "1"], out.stderr
    (failed,) = [run for run in root.runs() if run["status"] == "failed"]
    assert "module 'model' starts a launch when it is imported" in failed["error_message"]
    assert imports == ["imported at depth 0", "imported at depth 1"]


def test_a_script_that_multiprocessing_imports_again_does_not_start_its_launch_again(
    root, tmp_path
):
    # The run happens in the launching process, and starts a process by spawn.
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from ztxexp import ExpRunner\n"
        "def train(ctx):\n"
        "    process = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    return {'code': process.exitcode}\n"
        "ExpRunner([{}], sys.argv[1]).run(train)\n"
    )
    out = subprocess.run(
        [sys.executable, script, root.path], capture_output=True, text=True, timeout=120
    )
    assert f"the script {script} starts a launch when it is imported" in out.stderr
    assert strict(root.only()["dir"] / "metrics.json") == {"code": 1}


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", *PARALLEL])
@pytest.mark.parametrize("inner", ["sequential", "process_pool"])
def test_a_run_may_launch_a_sweep_of_its_own(mode, inner, root):
    configs = [{"i": i, "mode": inner} for i in range(3)]
    ExpRunner(configs, root.path).run(experiments.launches, mode=mode, workers=2)
    metrics = [strict(run["dir"] / "metrics.json") for run in root.runs()]
    assert metrics == 3 * [{"succeeded": 2}]
