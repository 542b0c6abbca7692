"""Which version of the user's code a function is: what changes the hash, and what does not."""

from __future__ import annotations

import importlib
import linecache
import subprocess
import sys
from functools import partial

import pytest

from ztxexp.provenance.code_version import version_of

SCRIPT = """
import functools
import own_helpers
from own_helpers import RATE, Base

SCALE = {"a": 1}
SCALE["b"] = 2


class Model(Base):
    def step(self):
        return SCALE["a"]


def decorated(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner


@functools.lru_cache
def cached(x):
    return own_helpers.other() + x


@decorated
def train(ctx):
    import own_late
    return {"s": Model().step() + RATE + cached(1) + own_late.f()}


def unused():
    return 1
"""
HELPERS = """
import math

RATE = 0.1


class Base:
    def go(self):
        return RATE * deep()


def deep():
    return math.pi


def other():
    return 3
"""
LATE = "def f():\n    return 1\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a function that writes the user's files, with a change, and returns the version."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ("own_script", "own_helpers", "own_late")

    def version(old: str = "", new: str = ""):
        for name in names:
            sys.modules.pop(name, None)
        for name, source in zip(names, (SCRIPT, HELPERS, LATE), strict=True):
            (tmp_path / f"{name}.py").write_text(source.replace(old, new) if old else source)
        importlib.invalidate_caches()
        linecache.clearcache()
        return version_of(importlib.import_module("own_script").train)

    yield version
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Model().step()", "Model().step() * 2", id="the function"),
        pytest.param("return own_helpers.other() + x", "return x", id="what it calls"),
        pytest.param("return 3", "return 4", id="a function of another module"),
        pytest.param("return math.pi", "return math.e", id="what a method of a base class calls"),
        pytest.param('return SCALE["a"]', 'return SCALE["b"]', id="a method"),
        pytest.param("RATE = 0.1", "RATE = 0.2", id="a number of another module"),
        pytest.param('SCALE["b"] = 2', 'SCALE["b"] = 3', id="a change of a top-level dict"),
        pytest.param("return function(*args)", "return dict(function(*args))", id="a decorator"),
        pytest.param("return 1\n", "return 2\n", id="a module imported in the function"),
    ],
)
def test_another_version(project, old, new):
    before, after = project(), project(old, new)
    assert before.hash and after.hash and before.hash != after.hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("RATE = 0.1", "RATE = 0.1  # a tenth", id="a comment"),
        pytest.param("def train(ctx):", 'def train(ctx):\n    """Train."""', id="a docstring"),
        pytest.param("class Model(Base):", "\n\n\nclass Model(Base):", id="the place in the file"),
        pytest.param("def unused():\n    return 1", "def unused():\n    return 0", id="other code"),
    ],
)
def test_the_same_version(project, old, new):
    assert project().hash == project(old, new).hash


def test_it_names_the_users_files_and_none_of_a_library(project):
    files = project().files
    assert [path.rpartition("/")[2] for path in files] == [
        "own_helpers.py",
        "own_late.py",
        "own_script.py",
    ]


def test_a_file_edited_after_its_import_makes_the_version_unknown(project, tmp_path):
    project()
    train = sys.modules["own_script"].train
    (tmp_path / "own_helpers.py").write_text(HELPERS.replace("return 3", "return 4"))
    version = version_of(train)
    assert version.hash is None
    assert [path.rpartition("/")[2] for path in version.edited] == ["own_helpers.py"]


def test_values_count_where_there_is_no_statement():
    def make(width):
        return lambda ctx: {"w": width}

    def train(ctx, width):
        return {"w": width}

    assert version_of(make(1)).hash != version_of(make(2)).hash
    assert version_of(make(1)).hash == version_of(make(1)).hash
    assert version_of(partial(train, width=1)).hash != version_of(partial(train, width=2)).hash


def test_functions_without_a_source_have_a_version():
    first, again, other = {}, {}, {}
    for space, number in ((first, 1), (again, 1), (other, 2)):
        exec(f"def train(ctx):\n    return {{'a': {number}}}", space)
    hashes = [version_of(space["train"]).hash for space in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[0] is not None


WITHOUT_A_SOURCE = """
import dataclasses
K = 3
@dataclasses.dataclass
class D:
    x: int = 1
    def go(self): return self.x
class E:
    rate = 0.1
def helper(a=5): return a
def train(ctx, n=7):
    import own_late
    return {"a": helper() + K + D().go() + E.rate + len([i + 20 for i in range(9)])}
"""
ASK = "from ztxexp.provenance.code_version import version_of\nprint(version_of(train).hash)\n"


def hash_from_stdin(folder, source):
    asked = [sys.executable, "-"]
    return subprocess.check_output(asked, cwd=folder, input=source + ASK, text=True)


@pytest.mark.slow
def test_code_without_a_source_has_a_version_that_follows_what_it_names(tmp_path):
    late = tmp_path / "own_late.py"
    late.write_text(LATE)
    before = hash_from_stdin(tmp_path, WITHOUT_A_SOURCE)
    assert before.startswith("code:")
    assert hash_from_stdin(tmp_path, "\n\n# a comment\n" + WITHOUT_A_SOURCE) == before
    edits = [("K = 3", "K = 4"), ("x: int = 1", "x: int = 2"), ("rate = 0.1", "rate = 0.2")]
    edits += [("n=7", "n=8"), ("i + 20", "i + 21"), ("return a", "return -a")]
    hashes = [hash_from_stdin(tmp_path, WITHOUT_A_SOURCE.replace(*edit)) for edit in edits]
    late.write_text(LATE + "A = 1\n")
    hashes.append(hash_from_stdin(tmp_path, WITHOUT_A_SOURCE))
    assert len({before, *hashes}) == len(edits) + 2


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    "template",
    [
        "exec('def f(): return {0}\\ndef train(ctx): return f()')",
        "exec('class C:\\n  def f(self): return {0}\\ndef train(ctx): return C().f()', globals())",
        "train = eval('lambda ctx: {0}')",
        "train, other = lambda ctx: {0}, lambda ctx: 7",
        "other, train = lambda ctx: 7, lambda ctx: {0}",
    ],
)
def test_functions_made_by_a_script_have_a_version(tmp_path, template):
    script = tmp_path / "own_script.py"
    hashes = []
    for number in (1, 1, 2):
        script.write_text(f"{template.format(number)}\n{ASK}")
        hashes.append(subprocess.check_output([sys.executable, script], text=True))
    assert hashes[0].startswith("code:")
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_a_dataclass_makes_out_of_its_source_does_not_count_by_its_byte_code(tmp_path):
    source = "import dataclasses\n\n\n@dataclasses.dataclass\nclass D:\n    x: int = 1\n"
    source += "\n\ndef train(ctx):\n    return D().x\n\n\n"
    source += "import sys\nfrom ztxexp.provenance import code_version\n"
    source += "code_version.hash_of_code = lambda code: sys.exit('by byte code')\n"
    (tmp_path / "own_script.py").write_text(source + ASK)
    shown = subprocess.check_output([sys.executable, "own_script.py"], cwd=tmp_path, text=True)
    assert shown.startswith("code:")


def test_hostile_objects_do_no_harm():
    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError(name)

        def __call__(self, ctx):
            return {}

    version_of(Hostile())  # whatever it is
    assert version_of(len).hash is None
    assert version_of(None).hash is None


def test_a_script_and_its_import_are_the_same_version(tmp_path):
    (tmp_path / "own_helpers.py").write_text(HELPERS)
    (tmp_path / "own_late.py").write_text(LATE)
    ask = "\nfrom ztxexp.provenance.code_version import version_of\nprint(version_of(train).hash)\n"
    (tmp_path / "own_script.py").write_text(SCRIPT + ask)
    asked = [[sys.executable, "own_script.py"], [sys.executable, "-c", "import own_script"]]
    said = {subprocess.check_output(line, cwd=tmp_path, text=True) for line in asked}
    assert len(said) == 1
    assert said.pop().startswith("code:")
