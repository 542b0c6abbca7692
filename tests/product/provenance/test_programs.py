"""Which version of the user's files a command is."""

from __future__ import annotations

import pytest

from ztxexp.provenance.code_version import version_of
from ztxexp.provenance.programs import (
    files_among,
    missing_script,
    recorded_words,
    version_of_program,
)
from ztxexp.targets import command_target

SCRIPT = """
import json
import helper
from pack import inner as renamed
from pack.sub import thing

def main():
    from late import value
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pack").mkdir()
    files = {
        "train.py": SCRIPT,
        "helper.py": "import deeper\n",
        "deeper.py": "X = 1\n",
        "late.py": "value = 1\n",
        "pack/__init__.py": "",
        "pack/inner.py": "from . import beside\n",
        "pack/beside.py": "Y = 1\n",
        "pack/sub.py": "thing = 1\n",
        "pack/__main__.py": "import pack.inner\n",
        "unused.py": "Z = 1\n",
        "run.sh": "echo 1\n",
        "conf.yaml": "lr: 1\n",
        "data.csv": "1,2\n",
        "other.txt": "text\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\0\1\2")
    return tmp_path


def version(words, folder):
    return version_of_program(words, files_among(words, str(folder)), str(folder))


def names(words, folder):
    return sorted(path[len(str(folder)) + 1 :] for path in version(words, folder).files)


def test_text_files_among_the_words_count(folder):
    words = ["python", "train.py", "conf.yaml", "data.csv", "other.txt", "binary", "--x", "{lr}"]
    assert files_among(words, str(folder)) == {
        1: str(folder / "train.py"),
        2: str(folder / "conf.yaml"),
    }
    assert files_among(["./run.sh"], str(folder)) == {0: str(folder / "run.sh")}
    assert files_among(["run.sh"], str(folder)) == {}  # looked for on PATH
    assert files_among(["/usr/bin/env", "python3"], str(folder)) == {}


def test_own_imports_are_followed(folder):
    assert names(["python", "train.py"], folder) == [
        *("deeper.py", "helper.py", "late.py", "pack/__init__.py", "pack/__main__.py"),
        *("pack/beside.py", "pack/inner.py", "pack/sub.py", "train.py"),
    ]
    assert version(["python", "train.py"], folder).files[0] == str(folder / "train.py")


def test_a_module_that_is_run_counts(folder):
    assert "pack/beside.py" in names(["python3", "-m", "pack", "--lr", "{lr}"], folder)
    assert names(["python", "-m", "unused"], folder) == ["unused.py"]


@pytest.mark.parametrize("name", ["train.py", "deeper.py", "pack/beside.py", "pack/sub.py"])
def test_an_edit_of_what_is_imported_is_another_version(folder, name):
    words = ["python", "train.py"]
    before = version(words, folder).hash
    path = folder / name
    path.write_text(path.read_text() + "# a comment\n")
    assert version(words, folder).hash == before
    path.write_text(path.read_text() + "W = 2\n")
    assert version(words, folder).hash != before


@pytest.mark.parametrize(
    ("words", "name"),
    [(["sh", "run.sh"], "run.sh"), (["python", "-c", "", "conf.yaml"], "conf.yaml")],
)
def test_another_text_counts_as_it_is(folder, words, name):
    before = version(words, folder).hash
    (folder / "unused.py").write_text("Z = 2\n")
    assert version(words, folder).hash == before
    (folder / name).write_text("other\n")
    assert version(words, folder).hash != before


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["true", "--config=conf.yaml"], "conf.yaml"),
        (["sh", "-c", "cd . && python 'train.py' --lr {lr}; echo"], "deeper.py"),
    ],
)
def test_files_within_a_word_count_too(folder, words, name):
    assert name in names(words, folder)


def test_the_words_count_and_the_folder_does_not(folder, tmp_path_factory):
    assert version(["sh", "run.sh", "{a}"], folder).hash != version(["sh", "run.sh"], folder).hash
    other = tmp_path_factory.mktemp("other")
    (other / "run.sh").write_text("echo 1\n")
    assert version(["sh", "run.sh"], folder).hash == version(["sh", "run.sh"], other).hash


def test_what_is_no_python_or_imports_itself_does_no_harm(folder):
    (folder / "deeper.py").write_text("import train, helper\n")
    (folder / "late.py").write_text("def (:\n")
    assert "late.py" in names(["python", "train.py"], folder)


def test_version_of_a_command_has_its_name_without_secrets(folder):
    version = version_of(command_target(["sh", "run.sh", "--api-key", "abc", "{lr}"]).function)
    assert version.name == "`sh run.sh --api-key *** {lr}`"
    assert version.function == "sh run.sh --api-key *** {lr}"
    assert version.files == (str(folder / "run.sh"),)


def test_a_script_of_several_lines_is_named_in_one(folder):
    version = version_of(command_target(["sh", "-c", "echo 1\n" * 50]).function)
    assert "\n" not in version.name and len(version.name) < 70


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train:train", []),
        ("__main__:Model.fit", []),
        (None, []),
        ("python 'my train.py' {lr}", ["python", "my train.py", "{lr}"]),
        ("./solve", ["./solve"]),
        ("broken 'quote", []),
    ],
)
def test_a_recorded_command_is_known_from_a_function(name, words):
    assert recorded_words(name) == words


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["bash", "nosuch.sh", "{lr}"], "nosuch.sh"),
        (["bash", "-e", "nosuch.sh"], "nosuch.sh"),
        (["/usr/bin/python3.11", "-u", "nosuch.py"], "nosuch.py"),
        (["env", "A=1", "python", "nosuch.py"], "nosuch.py"),
        (["Rscript", "--vanilla", "nosuch.R"], "nosuch.R"),
        (["python", "train.py", "--out", "nosuch.py"], None),
        (["bash", "run.sh"], None),
        (["python", "-m", "nosuch.py"], None),
        (["python", "-c", "nosuch.py"], None),
        (["Rscript", "-e", "nosuch.R"], None),
        (["python", "{model}.py"], None),
        (["python", "/nosuch/train.py"], "/nosuch/train.py"),
        (["python"], None),
        (["echo", "python", "nosuch.py"], None),
        (["python", "nosuch"], None),
    ],
)
def test_a_script_after_an_interpreter_that_is_not_there(folder, words, missing):
    assert missing_script(words, str(folder)) == missing
