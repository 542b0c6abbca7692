"""The helper functions of 1.0.3, in ``ztxexp.utils``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import inspect
import json
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ztxexp import utils

# As inspect.signature gives them for the package of 1.0.3.
SIGNATURES = {
    "add_to_sys_path": "path",
    "append_jsonl": "file_path, record",
    "as_plain_dict": "value",
    "build_run_name": "config, keys=None, prefix='run', max_length=120, hash_length=8",
    "config_to_hash": "config, length=8",
    "create_dir": "path",
    "deep_merge_dicts": "base, override",
    "delete_dir": "path",
    "dict_diff": "left, right",
    "flatten_dict": "data, parent_key='', sep='.'",
    "format_time_delta": "seconds",
    "get_file_creation_time": "file_path",
    "get_memory_usage": "",
    "get_subdirectories": "path",
    "load_dill": "file_path",
    "load_json": "file_path",
    "load_jsonl": "file_path, skip_invalid=False",
    "load_torch_model": "model, optimizer, path",
    "pretty_print_dict": "d, items_per_line=3",
    "pretty_print_namespace": "args, items_per_line=3",
    "retry_call": (
        "fn, *args, max_attempts=3, wait_sec=0.0, backoff=1.0, jitter_sec=0.0, "
        "retry_exceptions=(<class 'Exception'>,), **kwargs"
    ),
    "sanitize_filename": "name, replacement='_', max_length=128",
    "save_dill": "obj, file_path",
    "save_json": "data, file_path, indent=2",
    "save_json_atomic": "data, file_path, indent=2",
    "save_torch_model": "model, optimizer, epoch, path",
    "setup_logger": "name, log_file, level=20",
    "split_batches": "items, batch_size",
    "timer": "name, logger=None",
    "unflatten_dict": "data, sep='.'",
    "utc_now_iso": "",
    "write_text_atomic": "file_path, text, encoding='utf-8'",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_1_0_3(name):
    signature = inspect.signature(getattr(utils, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == f"({SIGNATURES[name]})"


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys; from ztxexp import utils\n"
        "print({m.partition('.')[0] for m in sys.modules} & {'numpy', 'pandas', 'psutil', 'torch'})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# ---- files


def test_folders(tmp_path):
    utils.create_dir(tmp_path / "a" / "b")
    utils.create_dir(str(tmp_path / "a"))
    (tmp_path / "file").touch()
    (tmp_path / "z").mkdir()
    assert utils.get_subdirectories(tmp_path) == [tmp_path / "a", tmp_path / "z"]
    assert utils.get_subdirectories(tmp_path / "none") == []
    assert utils.get_subdirectories(tmp_path / "file") == []
    utils.delete_dir(tmp_path / "a")
    utils.delete_dir(tmp_path / "a")
    utils.delete_dir(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["file", "z"]


def test_a_link_to_a_folder_is_not_deleted_with_its_target(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError):  # the message depends on the version of Python
        utils.delete_dir(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


@pytest.mark.parametrize("save", [utils.save_json, utils.save_json_atomic])
def test_json_is_written_and_read_back(tmp_path, save):
    path = tmp_path / "new" / "x.json"
    data = {"text": "é中", "pair": (1, 2), "nan": math.nan, "none": None}
    save(data, path)
    assert path.read_text("utf-8").startswith('{\n  "text": "é中",\n  "pair": [\n    1,')
    back = utils.load_json(path)
    assert math.isnan(back.pop("nan"))
    assert back == {"text": "é中", "pair": [1, 2], "none": None}
    save({"a": 1}, str(path), indent=None)
    assert path.read_text() == '{"a": 1}'
    assert os.listdir(path.parent) == ["x.json"]


class Colour(enum.Enum):
    RED = "red"


class Thing:
    def __init__(self):
        self.a = 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Path("a") / "b", "a/b"),
        ({3, 1, 10}, [1, 3, 10]),
        (argparse.Namespace(x=1), {"x": 1}),
        (Thing(), {"a": 1}),
        (np.int64(3), 3),
        (np.array([1.5]), [1.5]),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (Colour.RED, "red"),
    ],
)
def test_values_that_json_does_not_know(tmp_path, value, kept):
    utils.save_json({"v": value}, tmp_path / "x.json")
    utils.append_jsonl(tmp_path / "x.jsonl", {"v": value})
    assert utils.load_json(tmp_path / "x.json") == {"v": kept}
    assert utils.load_jsonl(tmp_path / "x.jsonl") == [{"v": kept}]
    assert utils.config_to_hash({"v": value}) == utils.config_to_hash({"v": kept})


def test_what_json_cannot_hold_is_a_type_error_and_leaves_the_old_file(tmp_path):
    utils.save_json({"a": 1}, tmp_path / "x.json")
    with pytest.raises(TypeError):
        utils.save_json({"a": (i for i in "x")}, tmp_path / "x.json")
    assert utils.load_json(tmp_path / "x.json") == {"a": 1}


def test_load_json_gives_objects_only(tmp_path):
    assert utils.load_json(tmp_path / "none.json") is None
    path = tmp_path / "x.json"
    path.write_text("[1]")
    assert utils.load_json(path) is None
    path.write_text('{"a":')
    with pytest.raises(json.JSONDecodeError):
        utils.load_json(path)


def test_jsonl_grows_by_lines(tmp_path):
    path = tmp_path / "new" / "x.jsonl"
    assert utils.load_jsonl(path) == []
    utils.append_jsonl(path, {"a": "é", "b": math.inf})
    utils.append_jsonl(path, {"c": (1,)})
    assert path.read_text("utf-8") == '{"a": "é", "b": Infinity}\n{"c": [1]}\n'
    assert utils.load_jsonl(path) == [{"a": "é", "b": math.inf}, {"c": [1]}]


def test_lines_that_are_no_records(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n  \nnonsense\n{"b": 2}\n')
    with pytest.raises(json.JSONDecodeError):
        utils.load_jsonl(path)
    assert utils.load_jsonl(path, skip_invalid=True) == [{"a": 1}, {"b": 2}]
    path.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(ValueError, match="line 2"):
        utils.load_jsonl(path, skip_invalid=True)


def test_a_torn_line_does_not_spoil_the_next_one(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"b":')
    utils.append_jsonl(path, {"c": 1})
    assert utils.load_jsonl(path, skip_invalid=True) == [{"a": 1}, {"c": 1}]


def test_text_is_written_as_it_is(tmp_path):
    path = tmp_path / "new" / "t.txt"
    utils.write_text_atomic(path, "é\r\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n"
    utils.write_text_atomic(path, "é", encoding="latin-1")
    assert path.read_bytes() == b"\xe9"
    with pytest.raises(UnicodeEncodeError):
        utils.write_text_atomic(path, "中", encoding="latin-1")
    assert path.read_bytes() == b"\xe9"
    assert os.listdir(path.parent) == ["t.txt"]


def test_the_time_of_a_file(tmp_path):
    text = utils.get_file_creation_time(tmp_path)
    made = datetime.datetime.strptime(text, "%Y/%m/%d-%H:%M:%S")
    assert abs(made.timestamp() - os.path.getctime(tmp_path)) < 1


# ---- dictionaries


@dataclasses.dataclass
class Point:
    x: int = 1
    deep: dict = dataclasses.field(default_factory=lambda: {"y": [2]})


def test_plain_dicts_are_copies():
    given = {"a": [1]}
    for value in (given, argparse.Namespace(**given)):
        copied = utils.as_plain_dict(value)
        assert copied == given
        copied["a"].append(2)
    assert given == {"a": [1]}
    assert utils.as_plain_dict(Point()) == {"x": 1, "deep": {"y": [2]}}
    assert utils.as_plain_dict(Thing()) == {"a": 1}


@pytest.mark.parametrize("value", [None, 3, "text", [("a", 1)], Point, len])
def test_what_is_no_dict_is_a_type_error(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        utils.as_plain_dict(value)


def test_flatten_and_unflatten():
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": None}
    flat = {"a.b": 1, "a.c.d": [2], "e": None}
    assert utils.flatten_dict(tree) == flat
    assert utils.unflatten_dict(flat) == tree
    assert utils.flatten_dict({"a": {"b": 1, "none": {}}}, sep="/") == {"a/b": 1}
    assert utils.flatten_dict({"a": {1: 2}}, parent_key="p") == {"p.a.1": 2}
    assert utils.unflatten_dict({"a/b": 1}, sep="/") == {"a": {"b": 1}}


@pytest.mark.parametrize("flat", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"a.b": 1, "a": None}])
def test_a_key_that_is_both_a_value_and_a_parent_is_refused(flat):
    with pytest.raises(ValueError, match="'a"):
        utils.unflatten_dict(flat)


def test_unflatten_leaves_its_input_alone():
    flat = {"a": {"x": 1}, "a.b": 2}
    assert utils.unflatten_dict(flat) == {"a": {"x": 1, "b": 2}}
    assert flat == {"a": {"x": 1}, "a.b": 2}


def test_deep_merge_leaves_its_inputs_alone():
    base, override = {"l": [1], "d": {"k": [2], "z": 1}}, {"m": [3], "d": {"z": {"n": [4]}}}
    merged = utils.deep_merge_dicts(base, override)
    assert merged == {"l": [1], "d": {"k": [2], "z": {"n": [4]}}, "m": [3]}
    for part in (merged["l"], merged["m"], merged["d"]["k"], merged["d"]["z"]["n"]):
        part.append("changed")
    assert base == {"l": [1], "d": {"k": [2], "z": 1}}
    assert override == {"m": [3], "d": {"z": {"n": [4]}}}
    assert utils.deep_merge_dicts({"a": {"x": 1}}, {"a": None}) == {"a": None}
    assert utils.deep_merge_dicts({"a": {"x": 1}}, {"a": {}}) == {"a": {"x": 1}}


def test_dict_diff():
    left = {"m": {"x": 1, "y": 2}, "gone": 0, "same": [1]}
    right = {"m": {"x": 1, "y": 3, "z": 4}, "same": [1]}
    assert utils.dict_diff(left, right) == {
        "added": {"m.z": 4},
        "removed": {"gone": 0},
        "changed": {"m.y": {"left": 2, "right": 3}},
    }
    assert utils.dict_diff({"m": {"x": 1}}, {"m": 5})["added"] == {"m": 5}


@pytest.mark.parametrize("print_it", [utils.pretty_print_dict, None])
def test_pretty_printing(capsys, print_it):
    values = {"b": 2, "ab": "x", "d": 3, "c": None}
    if print_it:
        print_it(values)
    else:
        utils.pretty_print_namespace(argparse.Namespace(**values))
    out = re.sub("\x1b\\[\\d+m", "", capsys.readouterr().out)
    cells = [[cell.split() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert cells == [[["ab", "x"], ["b", "2"], ["c", "None"]], [["d", "3"]]]


def test_pretty_printing_of_nothing_says_so(capsys):
    utils.pretty_print_dict({})
    assert "No items" in capsys.readouterr().out


# ---- names


def test_hashes_are_those_of_1_0_3():
    assert utils.config_to_hash({"lr": 0.01}) == "ef2e0e7b"
    assert utils.config_to_hash({"a": {"b": "é"}}) == "accf9e99"
    assert utils.config_to_hash({"p": Path("x")}) == utils.config_to_hash({"p": "x"}) == "2de281bd"
    assert utils.config_to_hash({"a": (1, 2)}) == "0bf464f8"
    assert utils.config_to_hash({"b": 2, "a": 1}, 6) == "d8497d"
    assert len(utils.config_to_hash({}, length=64)) == 64


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("model:tiny/lr=1e-3", "model_tiny_lr=1e-3"),
        ('a<>:"/\\|?*b', "a_b"),
        ("  a b\t", "a_b"),
        ("a__b", "a_b"),
        ("...hidden.", "hidden"),
        ("a/../b", "a_.._b"),
        ("é中", "é中"),
        ("..", "untitled"),
        ("", "untitled"),
        ("x" * 300, "x" * 128),
    ],
)
def test_file_names_are_clean(name, clean):
    assert utils.sanitize_filename(name) == clean


def test_file_names_by_other_rules():
    assert utils.sanitize_filename("--a/b", replacement="-") == "a-b"
    assert utils.sanitize_filename("a/b", replacement="") == "ab"
    assert utils.sanitize_filename("ab/cd", max_length=3) == "ab"
    with pytest.raises(ValueError, match="max_length"):
        utils.sanitize_filename("a", max_length=0)


@pytest.mark.parametrize(
    ("config", "options", "name"),
    [
        ({"lr": 0.001, "m": "tiny"}, {"keys": ["m", "lr"]}, "run_m-tiny_lr-0.001_HASH"),
        ({"m": "tiny", "lr": 0.001}, {}, "run_lr-0.001_m-tiny_HASH"),
        ({"a": 1}, {"keys": ["none"], "hash_length": 4}, "run_f9d8"),
        ({"a": 1}, {"prefix": "my run/x"}, "my_run_x_a-1_f9d86028"),
        ({"a": 1}, {"max_length": 14}, "run_a_f9d86028"),
        ({"a": 1}, {"max_length": 13}, "run_f9d86028"),
        ({"p": Path("/x/y")}, {}, "run_p-_x_y_HASH"),
    ],
)  # fmt: skip
def test_run_names_are_those_of_1_0_3(config, options, name):
    name = name.replace("HASH", utils.config_to_hash(config))
    assert utils.build_run_name(config, **options) == name


def test_a_long_run_name_is_cut_before_its_hash():
    config = {f"key{i}": "v" * 60 for i in range(9)}
    name = utils.build_run_name(config)
    assert len(name) <= 120
    assert name.endswith("_" + utils.config_to_hash(config))
    with pytest.raises(ValueError, match="max_length"):
        utils.build_run_name(config, max_length=9)


# ---- running code


def test_batches():
    assert utils.split_batches([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert utils.split_batches(range(2), 5) == [[0, 1]]
    assert utils.split_batches([], 2) == []
    with pytest.raises(ValueError, match="batch_size"):
        utils.split_batches([1], 0)


def flaky(failures, error=RuntimeError):
    calls = []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) <= failures:
            raise error(f"failure {len(calls)}")
        return len(calls), args, kwargs

    return call


def test_retries_end_with_a_result_or_the_last_error():
    assert utils.retry_call(flaky(2), 1, key=2) == (3, (1,), {"key": 2})
    with pytest.raises(RuntimeError, match="failure 3"):
        utils.retry_call(flaky(3))
    with pytest.raises(KeyError):
        utils.retry_call(flaky(1, KeyError), retry_exceptions=(ValueError,))
    with pytest.raises(KeyboardInterrupt):
        utils.retry_call(flaky(1, KeyboardInterrupt))


def test_pauses_between_retries_grow(monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    utils.retry_call(flaky(3), max_attempts=4, wait_sec=1, backoff=2)
    assert pauses == [1, 2, 4]
    pauses.clear()
    utils.retry_call(flaky(1), wait_sec=1, jitter_sec=0.5)
    assert 1 <= pauses[0] <= 1.5
    pauses.clear()
    utils.retry_call(flaky(2))
    assert pauses == []


@pytest.mark.parametrize(
    "options", [{"max_attempts": 0}, {"wait_sec": -1}, {"backoff": -1}, {"jitter_sec": -1}]
)
def test_retries_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        utils.retry_call(flaky(0), **options)


def test_a_timer_prints_or_logs(capsys, caplog):
    with utils.timer("step"):
        pass
    assert re.fullmatch(r"\[step\] done in 0\.\d{4}s\n", capsys.readouterr().out)
    with caplog.at_level("INFO"), utils.timer("step", logging.getLogger("mine")):
        pass
    assert re.fullmatch(r"\[step\] done in 0\.\d{4}s", caplog.messages[0])


def test_times_as_text():
    assert utils.format_time_delta(3723.9) == "1h 2m 3s"
    assert utils.format_time_delta(90061) == "25h 1m 1s"
    assert utils.format_time_delta(0) == "0h 0m 0s"
    assert datetime.datetime.fromisoformat(utils.utc_now_iso()).utcoffset() == datetime.timedelta(0)


@pytest.fixture
def logger_name():
    yield "ztxexp_test_of_utils"
    logger = logging.getLogger("ztxexp_test_of_utils")
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()


def test_a_logger_writes_to_file_and_stderr_and_is_set_up_once(tmp_path, logger_name, capsys):
    logger = utils.setup_logger(logger_name, tmp_path / "new" / "a.log")
    logger.info("héllo")
    logger.debug("hidden")
    again = utils.setup_logger(logger_name, tmp_path / "b.log", level=logging.DEBUG)
    again.debug("shown")
    assert again is logger
    assert not (tmp_path / "b.log").exists()
    lines = (tmp_path / "new" / "a.log").read_text("utf-8").splitlines()
    assert [line.split(" - ", 1)[1] for line in lines] == [
        f"{logger_name} - INFO - héllo",
        f"{logger_name} - DEBUG - shown",
    ]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_folder_comes_first_on_the_path_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["other"])
    monkeypatch.chdir(tmp_path)
    utils.add_to_sys_path("sub")
    utils.add_to_sys_path(tmp_path / "sub")
    assert sys.path == [str(tmp_path.resolve() / "sub"), "other"]


def test_memory_is_told_in_megabytes():
    assert 5 < float(re.fullmatch(r"(\d+\.\d\d) MB", utils.get_memory_usage()).group(1)) < 1e5


# ---- models and objects


@pytest.mark.slow
def test_a_torch_model_comes_back(tmp_path):
    torch = pytest.importorskip("torch")
    model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    utils.save_torch_model(model, optimizer, 7, tmp_path / "x.pt")
    fresh = torch.optim.Adam(other.parameters())
    loaded = utils.load_torch_model(other, fresh, tmp_path / "x.pt")
    assert loaded == (other, fresh, 7)
    assert torch.equal(other.weight, model.weight)
    assert str(fresh.state_dict()) == str(optimizer.state_dict())
    utils.save_torch_model(model, None, 8, tmp_path / "y.pt")
    assert utils.load_torch_model(other, None, tmp_path / "y.pt") == (other, None, 8)


class Dill:
    """A pickle by another name."""

    from pickle import dump, load


def test_dill_keeps_an_object(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dill", Dill)
    utils.save_dill({"a": (1,)}, tmp_path / "x.dill")
    assert utils.load_dill(tmp_path / "x.dill") == {"a": (1,)}


@pytest.mark.parametrize(
    ("package", "call", "install"),
    [
        ("dill", lambda: utils.save_dill(1, "x"), "pip install dill"),
        ("dill", lambda: utils.load_dill("x"), "pip install dill"),
        ("torch", lambda: utils.save_torch_model(1, 1, 1, "x"), 'pip install "ztxexp[torch]"'),
        ("torch", lambda: utils.load_torch_model(1, 1, "x"), 'pip install "ztxexp[torch]"'),
    ],
)
def test_a_missing_package_names_the_line_that_installs_it(monkeypatch, package, call, install):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=re.escape(f"{package} is missing")) as caught:
        call()
    assert install in str(caught.value)


def test_files_are_written_to_and_read_from_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    utils.create_dir("~/made/inner")
    utils.save_json({"a": 1}, "~/kept/a.json")
    utils.append_jsonl("~/kept/a.jsonl", {"b": 2})
    assert (utils.load_json("~/kept/a.json"), utils.load_jsonl("~/kept/a.jsonl")) == (
        {"a": 1},
        [{"b": 2}],
    )
    assert [f.name for f in utils.get_subdirectories("~/made")] == ["inner"]
    assert os.listdir(tmp_path) == ["home"]


def test_a_folder_that_is_named_like_the_home_folder_can_be_deleted_and_costs_nothing_else(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "~").mkdir()
    utils.delete_dir("~")
    assert os.listdir(tmp_path) == ["home"]
