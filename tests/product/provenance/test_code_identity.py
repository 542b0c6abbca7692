"""code_identity: what changes the hash of a function, and what does not."""

from __future__ import annotations

import ast
import functools
import importlib.util
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ztxexp.provenance.provenance import CodeIdentity, code_of, hashes_in_file

SOURCE = '''
"""A module."""
import functools

def wrapped(function):
    @functools.wraps(function)
    def inner(ctx):
        return function(ctx)
    return inner

def helper(x):
    return x + 1

# before it
def train(ctx, size=3):
    """Trains."""
    total = 0.0  # a comment
    for i in range(size):
        total += helper(i)
    return {"total": total, "kinds": {"a", "b", "c"}}

@wrapped
def decorated(ctx):
    return {"a": 1}

class Model:
    def fit(self, ctx):
        return {"a": 2}

    def __call__(self, ctx):
        return {"a": 3}

def make(n):
    def inner(ctx):
        return {"n": n}
    return inner

two = [lambda ctx: 1, lambda ctx: 2]
'''


def loaded(path: Path, source: str = SOURCE) -> Any:
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def identity(folder: Path, change: tuple[str, str] = ("", ""), name: str = "train") -> CodeIdentity:
    assert change[0] in SOURCE
    folder.mkdir(exist_ok=True)
    return code_of(getattr(loaded(folder / "user.py", SOURCE.replace(*change, 1)), name))


def test_name_file_and_hashes_are_found(tmp_path):
    found = identity(tmp_path)
    assert (found.name, found.file) == ("user:train", str(tmp_path / "user.py"))
    assert found.hash.startswith("ast:") and found.module_hash.startswith("ast:")
    assert found.hash != found.module_hash


@pytest.mark.parametrize(
    "change",
    [
        ("# before it\n", "\n\n# moved down\n"),
        ('    """Trains."""\n', ""),
        ('"""Trains."""', '"""Trains well."""'),
        ("  # a comment", ""),
        ("total = 0.0", "total    =   0.0"),
        ('{"total": total', "{'total': (total)"),
        ("import functools\n", 'import functools\nNAME = "x"\n'),
        ("return x + 1", "return x + 2"),
    ],
)
def test_what_is_outside_or_only_looks_different_does_not_count(tmp_path, change):
    before, after = identity(tmp_path / "a"), identity(tmp_path / "b", change)
    assert before.hash == after.hash
    elsewhere = change[0] in ("import functools\n", "return x + 1")
    assert (before.module_hash == after.module_hash) is not elsewhere


@pytest.mark.parametrize(
    "change",
    [
        ("total = 0.0", "total = 0"),
        ("total = 0.0", "total = -0.0"),
        ("total += ", "total -= "),
        ("size=3", "size=4"),
        ('"total": total', '"total ": total'),
        ("for i in", "for j in"),
        ("# before it\n", "@functools.cache\n"),
    ],
)
def test_whatever_it_does_counts(tmp_path, change):
    assert identity(tmp_path / "a").hash != identity(tmp_path / "b", change).hash


def test_another_process_and_another_hash_seed_say_the_same(tmp_path):
    mine = identity(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import user\n"
        "from ztxexp.provenance.provenance import code_of\n"
        "print(*code_of(user.train)[2:])"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [mine.hash, mine.module_hash]


def test_every_version_of_python_says_the_same(tmp_path):
    assert identity(tmp_path).hash == "ast:b02f4cb4f2c9eb8558e8f2801f1771f4"


def test_what_wraps_a_function_is_looked_through(tmp_path):
    user = loaded(tmp_path / "user.py")
    plain = code_of(user.train)
    assert code_of(functools.partial(functools.partial(user.train), size=5)) == plain
    assert code_of(user.decorated).name == "user:decorated"
    assert code_of(user.Model().fit) == code_of(user.Model.fit)
    assert code_of(user.Model().fit).name == "user:Model.fit"


def test_an_object_that_can_be_called_is_its_class(tmp_path):
    user = loaded(tmp_path / "user.py")
    assert code_of(user.Model()) == code_of(user.Model)
    assert code_of(user.Model()).name == "user:Model"
    assert code_of(user.Model()).hash.startswith("ast:")


def test_closures_count_by_their_code_not_by_their_values(tmp_path):
    user = loaded(tmp_path / "user.py")
    assert code_of(user.make(1)) == code_of(user.make(2))
    assert code_of(user.make(1)).name == "user:make.<locals>.inner"


def test_functions_of_a_cell_have_a_hash_and_no_file(tmp_path):
    source = "x = 1\ndef f(ctx):\n    return {'a': 1}  # said\n"
    name = "<a cell>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    ns: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), ns)
    found = code_of(ns["f"])
    assert (found.name, found.file, found.module_hash) == ("__main__:f", None, None)
    path = tmp_path / "same.py"
    path.write_text("def f(ctx):\n    return {'a': 1}")
    assert hashes_in_file(str(path), "f")[1] == (found.hash,)


def test_without_source_there_is_a_name_and_no_hash():
    ns: dict[str, Any] = {"__name__": "made"}
    exec("def f(ctx):\n    return 1", ns)
    assert code_of(ns["f"]) == CodeIdentity("made:f")


def test_a_file_that_changed_since_it_was_imported_is_not_taken_for_the_code(tmp_path):
    user = loaded(tmp_path / "user.py")
    (tmp_path / "user.py").write_text("\n\n" + SOURCE)
    linecache.checkcache()
    assert code_of(user.train).hash is None


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __call__(self, ctx: Any) -> None: ...


def test_nothing_makes_it_raise():
    for thing in (len, 3, None, Hostile(), functools.partial(len), object):
        assert isinstance(code_of(thing), CodeIdentity)


def test_a_file_that_is_no_python_or_nested_without_end_has_no_hashes(tmp_path):
    for source in ("def f(:", "x = " + "-" * 100_000 + "1", "x = '\0'"):
        (tmp_path / "bad.py").write_text(source)
        assert hashes_in_file(str(tmp_path / "bad.py"), "f") == (None, ())
    assert hashes_in_file(str(tmp_path / "none.py"), "f") == (None, ())


def test_of_several_of_one_name_each_has_its_hash(tmp_path):
    user = loaded(tmp_path / "user.py")
    module_hash, hashes = hashes_in_file(str(tmp_path / "user.py"), "<lambda>")
    assert len(set(hashes)) == 2
    assert module_hash == code_of(user.train).module_hash


def test_fields_that_a_later_python_adds_empty_do_not_count(tmp_path, monkeypatch):
    before = identity(tmp_path / "a")
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "later"))
    monkeypatch.setattr(ast.FunctionDef, "later", [], raising=False)
    assert identity(tmp_path / "b") == before._replace(file=str(tmp_path / "b/user.py"))
