"""settings: what a script sets at its top holds in workers, and a run does not leave its own."""

from __future__ import annotations

import decimal
import importlib
import locale
import logging
import sys
import warnings

import numpy
import pytest
from reading import python, strict

from ztxexp_core.pickling import load_by_value, pickle_by_value
from ztxexp_core.run import settings

LAUNCH = """
import sys
{top}
from ztxexp import ExpRunner

def train(ctx):
    {body}

ExpRunner([{{}}], sys.argv[1], train).run(mode="process_pool", initializer={initializer})
"""


def in_worker(root, top: str, body: str, initializer: str = "None"):
    """Launch a script in a worker; return the run."""
    done = python(LAUNCH.format(top=top, body=body, initializer=initializer), root.path)
    assert done.returncode == 0, done.stderr
    return root.only()


@pytest.fixture
def restored():
    before = settings.present_settings()
    yield
    settings.put_back_settings(before)


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    ("top", "figure", "expected"),
    [
        (
            "import decimal; decimal.getcontext().prec = 6",
            "str(decimal.Decimal(1) / 3)",
            "0.333333",
        ),
        ("import numpy; numpy.seterr(divide='raise')", "numpy.geterr()['divide']", "raise"),
        (
            "import numpy; numpy.set_printoptions(precision=2)",
            "str(numpy.array([1 / 3]))",
            "[0.33]",
        ),
        ("import warnings; warnings.simplefilter('error')", "warnings.filters[0][0]", "error"),
        ("import matplotlib; matplotlib.use('svg')", "matplotlib.get_backend()", "svg"),
        ("sys.setrecursionlimit(4321)", "sys.getrecursionlimit()", 4321),
    ],
)
def test_a_setting_of_the_script_holds_in_a_worker(root, top, figure, expected):
    run = in_worker(root, top, f"return {{'figure': {figure}}}")
    assert strict(run["dir"] / "metrics.json") == {"figure": expected}


@pytest.mark.slow
def test_settings_of_torch_hold_in_a_worker_that_had_not_imported_it(root):
    pytest.importorskip("torch")
    run = in_worker(
        root,
        "import torch; torch.set_default_dtype(torch.float64); "
        "torch.use_deterministic_algorithms(True, warn_only=True); "
        "torch.backends.cudnn.benchmark = True",
        "import torch as t; return {'a': str(t.zeros(1).dtype), "
        "'b': t.is_deterministic_algorithms_warn_only_enabled(), "
        "'c': t.backends.cudnn.benchmark}",
    )
    kept = strict(run["dir"] / "metrics.json")
    assert kept == {"a": "torch.float64", "b": True, "c": True}


def test_messages_that_the_script_lets_through_are_in_the_log_of_the_run(root):
    run = in_worker(
        root,
        "import logging; logging.basicConfig(level=logging.INFO, format='<%(message)s>'); "
        "logging.getLogger('quiet').setLevel(logging.ERROR)",
        "logging.getLogger('mine').info('one'); logging.getLogger('quiet').warning('two')",
    )
    log = (run["dir"] / "run.log").read_text()
    assert "<one>" in log
    assert "two" not in log


def test_the_initializer_is_called_before_the_first_run_and_prints_into_its_log(root):
    run = in_worker(
        root,
        "import builtins\ndef begin():\n    builtins.begun = True; print('hello')",
        "import builtins; return {'begun': builtins.begun}",
        "begin",
    )
    assert strict(run["dir"] / "metrics.json") == {"begun": True}
    assert "hello" in (run["dir"] / "run.log").read_text()


def test_nothing_is_captured_that_a_new_process_has_anyway():
    code = (
        "from ztxexp_core.run.settings import captured_settings; print(sorted(captured_settings()))"
    )
    assert python(code).stdout.strip() == "['logging', 'warning filters']"


def test_settings_are_put_back(restored):
    before = settings.present_settings()
    decimal.getcontext().prec = 9
    numpy.seterr(all="raise")
    settings.put_back_settings(before)
    assert decimal.getcontext().prec == before["decimal context"][0]
    assert numpy.geterr() == before["numpy errstate"]


def test_a_filter_of_a_class_that_is_not_loaded_is_left_out(monkeypatch):
    monkeypatch.setattr(warnings, "filters", [("default", None, Warning, None, 0)])
    mine = ("error", None, ("nowhere.at_all", "Odd"), None, 0)
    settings.apply_settings(
        {"warning filters": [mine, ("ignore", None, ("builtins", "UserWarning"), None, 0)]}
    )
    assert [each[0] for each in warnings.filters] == ["ignore", "default"]


def test_a_handler_of_a_library_is_left_to_its_import(monkeypatch):
    logger = logging.getLogger("numpy.made_up")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    try:
        assert "numpy.made_up" not in settings.captured_settings()["logging"]["loggers"]
    finally:
        logger.removeHandler(handler)


def test_a_formatter_of_a_package_that_a_worker_lacks_costs_its_format_only(tmp_path, monkeypatch):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "their_format.py").write_text("import logging\nclass F(logging.Formatter): ...\n")
    monkeypatch.syspath_prepend(packages)
    logger, handler = logging.getLogger("of_my_script"), logging.StreamHandler()
    handler.setFormatter(importlib.import_module("their_format").F())
    logger.addHandler(handler)
    sent = pickle_by_value(settings.captured_settings()["logging"])
    logger.removeHandler(handler)
    monkeypatch.delitem(sys.modules, "their_format")
    monkeypatch.setitem(sys.modules, "their_format", None)  # importing it raises ImportError
    try:
        settings.apply_settings({"logging": load_by_value(sent)})
        (applied,) = logger.handlers
        assert applied.formatter is None
    finally:
        logger.handlers.clear()


def test_a_locale_of_the_script_is_captured(monkeypatch):
    other = {"LC_NUMERIC": "xx", "LC_TIME": "C", "LC_COLLATE": "C", "LC_MONETARY": "C"}
    monkeypatch.setattr(
        locale, "setlocale", lambda which: "xx" if which == locale.LC_NUMERIC else "C"
    )
    assert settings.captured_settings()["locale"] == other
    assert sys.getrecursionlimit() > 0
