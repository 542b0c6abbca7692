"""The example plugins in a fresh environment: installed from wheels, used by name, uninstalled.

The environment has the packages that ztxexp depends on, but neither the examples nor the ztxexp of
the tests; nothing is fetched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLES = sorted((REPOSITORY / "plugins-example").glob("*/pyproject.toml"))
BUILT_IN_MODES = ("sequential", "process_pool", "joblib", "dynamic")  # that need no engine
NAMES = """
import json
from ztxexp_core.plugins import registry

known = {"tracker": registry.trackers(), "executor": registry.executors(),
         "expander": registry.expanders()}
print(json.dumps({kind: each.names() for kind, each in known.items()}))
"""

# What a sweep leaves is counted and told, whatever carried it out.
TRAIN = """
import json, sys
from ztxexp import ExperimentPipeline, ResultAnalyzer, uniform

def train(ctx):
    for step in range(3):
        ctx.log_metric(step, {"loss": 1 / (step + 1)})
    return {"score": ctx.config["x"]}

done = {}
for mode in sys.argv[1:]:
    pipeline = ExperimentPipeline(f"results/{mode}")
    {steps}
    summary = pipeline.run(train, mode=mode, workers=2, progress=False)
    done[mode] = summary.succeeded
print(json.dumps(done))
"""
GRID = 'pipeline.grid({"x": [0.25, 0.5, 0.75]})'


class Environment:
    """A virtual environment without network.

    Attributes:
        python: its interpreter.
        folder: where scripts are run.
    """

    def __init__(self, folder: Path, wheels: Path):
        self.folder, self.wheels = folder, wheels
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        bin_ = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / "venv" / bin_ / "python"
        site = self.output("import sysconfig; print(sysconfig.get_path('purelib'))")
        (Path(site) / "dependencies.pth").write_text(f"{_dependencies(folder)}\n")
        self.pip("install", "ztxexp")

    def output(self, code: str, *args: str) -> str:
        """Return what a script prints."""
        done = self.run(code, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, code: str, *args: str) -> subprocess.CompletedProcess[str]:
        script = self.folder / "script.py"
        script.write_text(code)
        return subprocess.run(
            [self.python, script, *args], cwd=self.folder, capture_output=True, text=True
        )

    def pip(self, *args: str) -> None:
        """Let pip do something; what a package requires is looked up as always."""
        done = self.try_pip(*args)
        assert done.returncode == 0, done.stderr

    def try_pip(self, *args: str) -> subprocess.CompletedProcess[str]:
        if args[0] == "install":
            args = (args[0], "--pre", "--no-index", "--find-links", str(self.wheels), *args[1:])
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--quiet", *args]
        return subprocess.run(pip, capture_output=True, text=True)

    @contextlib.contextmanager
    def having(self, *packages: str) -> Iterator[None]:
        """Install packages, and uninstall them again; then all has to be as it was before."""
        before = self.names(), self.files()
        self.pip("install", *packages)
        try:
            yield
        finally:
            self.pip("uninstall", "--yes", *packages)
        assert (self.names(), self.files()) == before

    def names(self) -> dict[str, list[str]]:
        """Return the names of all plugins, by kind."""
        return json.loads(self.output(NAMES))

    def files(self) -> set[str]:
        """Return what is installed, without what Python itself writes."""
        site = Path(self.output("import sysconfig; print(sysconfig.get_path('purelib'))"))
        found = (path.relative_to(site) for path in site.rglob("*"))
        return {str(path) for path in found if "__pycache__" not in path.parts}


def _dependencies(folder: Path) -> Path:
    """Make a folder with what is installed for the tests, but for all that is of ztxexp."""
    linked = folder / "dependencies"
    linked.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "ztxexp" not in path.name and path.suffix != ".pth":
            (linked / path.name).symlink_to(path)
    return linked


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with a wheel of ztxexp and of each example."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [str(REPOSITORY), *(str(path.parent) for path in EXAMPLES)]
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *build, *sources], check=True)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, wheels):
    return Environment(tmp_path_factory.mktemp("fresh"), wheels)


def sweep(environment, modes, *steps):
    """Run a sweep in some modes, each below a results root of its own."""
    done = environment.output(_script(*steps), *modes)
    return json.loads(done)


def _script(*steps):
    return TRAIN.replace("{steps}", "\n    ".join(steps))


def is_unknown(environment, kind, name, mode, *steps):
    """Tell whether a script that uses a name ends by the error that says so, and runs nothing."""
    before = len(records(environment, mode))
    done = environment.run(_script(*steps), mode)
    assert done.returncode != 0
    assert f"UnknownPluginError: unknown {kind} {name!r}" in done.stderr, done.stderr
    return len(records(environment, mode)) == before


def records(environment, mode="."):
    paths = (environment.folder / "results" / mode).glob("*_*/run.json")
    return [json.loads(path.read_text()) for path in paths]


@pytest.fixture(autouse=True)
def empty_folder(fresh):
    shutil.rmtree(fresh.folder / "results", ignore_errors=True)
    (fresh.folder / "runs.db").unlink(missing_ok=True)


def test_there_are_four_and_none_is_in_the_fresh_environment(fresh):
    names = {path.parent.name for path in EXAMPLES}
    assert names == {
        "ztxexp-tracker-sqlite",
        "ztxexp-executor-threads",
        "ztxexp-expander-sobol",
        "ztxexp-tracker-webhook",
    }
    known = fresh.names()
    assert {"jsonl"} < set(known["tracker"]) and set(BUILT_IN_MODES) < set(known["executor"])
    examples = {"tracker": ["sqlite", "webhook"], "expander": ["sobol"], "executor": ["threads"]}
    for kind, names in examples.items():
        assert not set(names) & set(known[kind])


SQLITE = 'pipeline.track("sqlite", path="runs.db")'
COUNT = """
import contextlib, sqlite3
with contextlib.closing(sqlite3.connect("runs.db")) as db:
    runs = "SELECT count(*), count(DISTINCT folder) FROM runs WHERE status = 'succeeded'"
    print(db.execute(runs).fetchall(), db.execute("SELECT count(*) FROM metrics").fetchall())
"""


def test_the_tracker_on_sqlite_in_every_mode(fresh):
    with fresh.having("ztxexp-tracker-sqlite"):
        done = sweep(fresh, BUILT_IN_MODES, GRID, SQLITE)
        assert done == dict.fromkeys(BUILT_IN_MODES, 3)
        assert fresh.output(COUNT) == "[(12, 12)] [(36,)]"
    assert is_unknown(fresh, "tracker", "sqlite", "sequential", GRID, SQLITE)


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.posts.append(self.headers["Idempotency-Key"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args): ...


@pytest.fixture
def listener(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.posts = []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_webhook_in_every_mode(fresh, listener):
    track = f'pipeline.track("webhook", url="http://127.0.0.1:{listener.server_port}")'
    with fresh.having("ztxexp-tracker-webhook"):
        done = sweep(fresh, BUILT_IN_MODES, GRID, track)
        assert done == dict.fromkeys(BUILT_IN_MODES, 3)
    told = [f"{run['run_id']}-1" for mode in BUILT_IN_MODES for run in records(fresh, mode)]
    assert len(told) == 12 and sorted(listener.posts) == sorted(told)
    assert is_unknown(fresh, "tracker", "webhook", "sequential", GRID, track)


SOBOL = 'pipeline.expand("sobol", space={"x": uniform(0.0, 1.0)}, n=4)'


def test_the_expander_in_every_mode(fresh):
    with fresh.having("ztxexp-expander-sobol"):
        assert sweep(fresh, BUILT_IN_MODES, SOBOL) == dict.fromkeys(BUILT_IN_MODES, 4)
    configs = (fresh.folder / "results").glob("*/*/config.json")
    assert {int(json.loads(path.read_text())["x"] * 4) for path in configs} == {0, 1, 2, 3}
    assert is_unknown(fresh, "expander", "sobol", "sequential", SOBOL)


def test_the_executor_is_a_mode(fresh):
    with fresh.having("ztxexp-executor-threads"):
        assert sweep(fresh, ["threads"], GRID) == {"threads": 3}
    assert [run["status"] for run in records(fresh, "threads")] == ["succeeded"] * 3
    assert is_unknown(fresh, "executor (mode)", "threads", "threads", GRID)


def test_all_four_together_in_one_sweep(fresh, listener):
    url = f"http://127.0.0.1:{listener.server_port}"
    track = f'pipeline.track("webhook", url="{url}")'
    with fresh.having(*(path.parent.name for path in EXAMPLES)):
        assert sweep(fresh, ["threads"], SOBOL, SQLITE, track) == {"threads": 4}
        assert fresh.output(COUNT) == "[(4, 4)] [(12,)]"
        assert len(set(listener.posts)) == len(listener.posts) == 4
        for path in EXAMPLES:
            shutil.rmtree(fresh.folder / "results")
            fresh.output(TRAIN_ONLY + use_in(path.parent / "README.md", url))
            assert {run["status"] for run in records(fresh)} == {"succeeded"}


TRAIN_ONLY = """
def train(ctx):
    ctx.log_metric(1, {"loss": 0.5})
    return {"score": 0.5}
"""


def use_in(readme, url):
    """Return the lines of Python that a README says a sweep needs, for a server that is there."""
    text = readme.read_text(encoding="utf-8")
    (code,) = re.findall(r"## Use\n\n```python\n(.*?)```", text, re.S)
    assert len([line for line in code.splitlines() if line.startswith("pipeline")]) <= 5
    return code.replace("https://example.org/runs", url)


def test_a_plugin_that_does_not_admit_this_ztxexp_is_not_installed_beside_it(fresh, tmp_path):
    source = tmp_path / "old"
    source.mkdir()
    (source / "old.py").write_text("")
    pyproject = (REPOSITORY / "plugins-example/ztxexp-tracker-sqlite/pyproject.toml").read_text()
    for this, other in {
        'name = "ztxexp-tracker-sqlite"': 'name = "ztxexp-tracker-old"',
        'readme = "README.md"\n': "",
        "ztxexp>=2.0.0.dev0,<3": "ztxexp<2",
        'packages = ["src/ztxexp_tracker_sqlite"]': 'only-include = ["old.py"]',
    }.items():
        assert this in pyproject
        pyproject = pyproject.replace(this, other)
    (source / "pyproject.toml").write_text(pyproject)
    before = fresh.names()
    done = fresh.try_pip("install", "--no-build-isolation", str(source))
    assert done.returncode != 0 and "ztxexp<2" in done.stderr
    assert fresh.names() == before
