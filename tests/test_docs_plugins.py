"""docs/plugins.md is tested as it stands: its snippets run, and what it lists is what there is."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ztxexp_core
from ztxexp.cli.main import COMMANDS
from ztxexp_core import contracts
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.entries import BLOCKING_VARIABLE
from ztxexp_core.plugins.options import REQUIRED
from ztxexp_core.plugins.trackers import OPTIONAL_MEMBERS
from ztxexp_testing import ExecutorSuite, ExpanderSuite, SubmittingSuite, TrackerSuite
from ztxexp_testing.executors import CAPABILITIES

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")
SNIPPETS = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.S | re.M))


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE, re.S | re.M).group(1)


def table(heading: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    rows = re.findall(r"^\|(.*)\|$", section(heading), re.M)[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows]


def named(heading: str) -> list[str]:
    return [row[0].strip("`") for row in table(heading)]


def lines(name: str) -> int:
    return len([line for line in SNIPPETS[name].splitlines() if line.strip()])


# ---- the snippets ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The package of the tutorial: written file by file, and installed by pip beside itself."""
    folder = tmp_path_factory.mktemp("lab")
    for name, text in SNIPPETS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (lab_init,) = re.findall(r"an empty `([\w/.]+)`", PAGE)
    (folder / lab_init).touch()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "site", folder], check=True)
    return folder


def run(lab, *command):
    env = {**os.environ, "PYTHONPATH": str(lab / "site"), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [sys.executable, *command], cwd=lab, env=env, capture_output=True, text=True, check=False
    )


def test_every_python_and_toml_snippet_names_its_file():
    assert len(re.findall(r"^```(?:python|toml)$", PAGE, re.M)) == len(SNIPPETS) == 9


def test_the_plugins_are_as_short_as_it_says():
    assert lines("my_lab/tracker.py") <= 15
    assert lines("my_lab/executor.py") <= 30
    assert lines("my_lab/expander.py") <= 10


@pytest.mark.slow
def test_the_three_plugins_are_used_by_name_in_the_sweep_of_the_page(lab):
    done = run(lab, "sweep.py")
    assert re.match(r"4 runs in \S+ s: 4 succeeded\n", done.stdout), done.stderr
    curves = [path.read_text().splitlines() for path in (lab / "curves").glob("*.csv")]
    assert [[line.split(",", 1)[1] for line in curve] for curve in curves] == 4 * [
        ["train,0,loss,1.0", "train,1,loss,0.5", f"train,2,loss,{1 / 3}"]
    ]


@pytest.mark.slow
def test_they_pass_the_suites_as_the_page_tests_them(lab):
    files = ("tests/test_my_lab.py", "tests/test_broken.py")
    done = run(lab, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 75
    assert "failed" not in done.stdout and "error" not in done.stdout.lower()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(os.name == "nt", reason="nohup is for POSIX")
def test_the_executor_that_submits_jobs_passes_its_suite(lab):
    chosen = "tests/test_my_jobs.py"
    done = run(lab, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", chosen)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30
    assert lines("my_lab/nohup.py") <= 50


@pytest.mark.slow
def test_the_message_about_an_option_is_the_one_on_the_page(lab):
    code = (
        "from ztxexp import ExpRunner\n"
        "try: ExpRunner([{}], 'r').run(print, mode='futures', options={'grace': 'long'})\n"
        "except ValueError as exc: print(exc)\n"
    )
    said = run(lab, "-c", code).stdout.strip()
    assert said and said in " ".join(section("Options").split())


# ---- the reference ---------------------------------------------------------------------------


def signature(function) -> str:
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return f"{function.__name__}({', '.join(names)})"


def test_it_names_every_hook_with_its_arguments():
    hooks = [value for name, value in vars(contracts).items() if name.startswith("ztxexp_")]
    assert named("Hooks") == [signature(hook) for hook in hooks]


def test_it_names_the_methods_of_a_tracker_with_their_arguments():
    calls = [value for name, value in vars(contracts.Tracker).items() if name.startswith("on_")]
    assert named("What a tracker has") == [signature(call) for call in calls]


def test_it_names_what_a_tracker_may_have_as_the_contract_does():
    told = named("What a tracker may have")
    assert [name.partition("(")[0] for name in told] == list(OPTIONAL_MEMBERS)
    for name in told:
        assert re.search(rf"^    ``{re.escape(name)}[`\s]", contracts.__doc__, re.M), name


def test_it_names_the_capabilities_of_executors_as_contract_and_suite_do():
    told = named("What an executor may declare")
    assert told == re.findall(r'^    ``"(\w+)"``$', contracts.__doc__, re.M)
    assert sorted(told) == sorted(CAPABILITIES)


def test_it_names_the_abilities_that_the_suites_ask_for():
    for suite in (TrackerSuite, ExecutorSuite, SubmittingSuite, ExpanderSuite):
        (told,) = [row[1] for row in table("What the suites ask") if suite.__name__ in row[0]]
        assert re.findall(r"`(\w+)`", told) == list(suite.abilities())


def test_it_names_every_option_of_the_built_in_plugins_with_type_and_default():
    found = []
    for known in (registry.executors(), registry.trackers(), registry.expanders()):
        for name in known.names():
            if known.resolve(name).distribution == "ztxexp":
                found += _options(known, name)
    assert [[cell.strip("`").replace("\\|", "|") for cell in row] for row in _told()] == found


def _told():
    told = table("Options of the built-in plugins")
    return [[row[0].replace("`", ""), *row[1:]] for row in told]


def _options(known, name):
    options = known.load(name).options()
    label = f"{known.kind} {name}"
    return [
        [label, o.name, o.type, "needed" if o.default is REQUIRED else repr(o.default)]
        for o in options
    ] or [[label, "none", "", ""]]


def test_it_names_all_that_may_be_imported():
    told = [
        name for row in table("What may be imported") for name in re.findall(r"`(\w+)`", row[0])
    ]
    assert sorted(told) == sorted(ztxexp_core.__all__)


def test_it_names_the_groups_and_the_variable():
    assert named("Entry points") == [
        f"ztxexp.{kind}s" for kind in ("tracker", "executor", "expander")
    ]
    assert f"`{BLOCKING_VARIABLE}=" in section("Entry points")


def test_the_commands_in_it_exist():
    code = "".join(re.findall(r"`+[^`]+`+", PAGE))
    words = set(re.findall(r"\bztxexp ([a-z]+)", code)) - {"import"}
    assert words and words <= set(COMMANDS)


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(#([\w-]+)\)", PAGE):
        assert target in [
            re.sub(r"\W+", "-", h.lower()) for h in re.findall(r"^#+ (.*)$", PAGE, re.M)
        ]
