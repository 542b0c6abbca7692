"""The command line: what is printed where, exit codes, the list of plugins, sync."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from terminals import on_terminal

from ztxexp import ExpRunner
from ztxexp.cli.main import COMMANDS, main
from ztxexp.plugin_tools.plugin_states import plugin_states
from ztxexp_testing import FakeDistribution

PYPROJECT = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "ztxexp"]

HOOK = """
    from ztxexp_core import hookimpl

    @hookimpl
    def ztxexp_execute(specs, run_one):
        return map(run_one, specs)
"""


def run(*words):
    """Return exit code, standard output and standard error."""
    result = CliRunner(catch_exceptions=False).invoke(main, words, prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


def start(*words, **env):
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )


def states(*words):
    code, out, _ = run("plugins", "--json", *words)
    return code, {(plugin["kind"], plugin["name"]): plugin for plugin in json.loads(out)}


# ---- the frame -------------------------------------------------------------------------------


def test_every_command_has_its_module_and_help():
    for name in COMMANDS:
        code, out, err = run(name, "--help")
        assert (code, err) == (0, "") and out.startswith(f"Usage: ztxexp {name} ")
    code, out, _ = run("--help")
    assert code == 0 and all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["plugins", "--nonsense"], ["plugin", "old"]])
def test_a_command_line_that_makes_no_sense_is_told_on_standard_error(words):
    code, out, err = run(*words)
    assert (code, out) == (2, "") and "Usage: ztxexp" in err


def test_the_script_that_pip_makes_and_the_module_are_the_same():
    assert '\n[project.scripts]\nztxexp = "ztxexp.cli.main:main"\n' in PYPROJECT
    done = start("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ztxexp 2.0.0.dev0\n", "")


def test_help_is_quick_for_it_imports_no_command():
    code = (
        "import sys; from ztxexp.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'numpy', 'rich', 'pluggy', 'orjson', 'psutil', 'packaging'}\n"
        "found = heavy & set(sys.modules)\n"
        "found |= {m for m in sys.modules if m.startswith('ztxexp.cli.')}\n"
        "found -= {'ztxexp.cli.main', 'ztxexp.cli.third_party'}\n"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_it_at_once_with_130_and_without_a_traceback(tmp_path):
    with FakeDistribution(
        "slow", {"slow": "import time, pathlib\npathlib.Path('here').touch()\ntime.sleep(60)"},
        executors={"slow": "slow"},
    ):  # fmt: skip
        child = subprocess.Popen(
            [*COMMAND, "plugins", "slow"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 30
        while not (tmp_path / "here").exists() and time.monotonic() < until:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=15)
    assert (child.returncode, err) == (130, "")


@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_nobody_reading_on_is_no_error():
    child = subprocess.Popen(
        [*COMMAND, "plugins", "sequential"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(30) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs pseudo-terminals")
@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_and_not_for_who_does_not_want_them(tmp_path, variable, coloured):
    script = "from ztxexp.cli.main import main\nmain(['plugins', 'sequential'])"
    seen = on_terminal(tmp_path, script, **variable)
    assert any("ready" in line for line in seen.lines)
    assert (b"\x1b[32mready" in seen.raw) == coloured and (b"\x1b[3" in seen.raw) == coloured
    assert (b"\x1b[" in seen.raw) == coloured, "neither bold nor dim"


def test_a_shell_can_complete_commands_and_names_of_plugins():
    words = {
        "ztxexp plug": "plugins",
        "ztxexp sync . jso": "jsonl",
        "ztxexp plugins seq": "sequential",
    }
    for typed, completed in words.items():
        count = str(len(typed.split()) - 1)
        done = start(_ZTXEXP_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=count)
        assert f"plain,{completed}\n" in done.stdout


# ---- plugins ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_built_in_plugin_is_listed_with_its_origin_and_is_ready():
    code, found = states()
    assert code == 0
    ours = {key: p for key, p in found.items() if p["distribution"] == "ztxexp"}
    assert {("executor", "joblib"), ("tracker", "jsonl"), ("expander", "grid")} <= set(ours)
    assert len(ours) >= 13
    for plugin in ours.values():
        assert plugin["state"] == "ready" and plugin["problem"] == plugin["hint"] == ""
        assert plugin["version"] == "2.0.0.dev0" and plugin["about"]
    assert ours["tracker", "mlflow"]["source"] == "ztxexp_trackers.mlflow:MlflowTracker"
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    assert "kind" in out.splitlines()[0] and len(out.splitlines()) == len(found) + 1


BAD = {
    "exits": "import os\nos._exit(7)",
    "leaves": "raise SystemExit(3)",
    "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "import time\nprint('waiting')\ntime.sleep(60)",
    "raises": "1 / 0",
    "hookless": "x = 1",
    "lacks": "import no_such_package.at_all",
    "loud": "import os, sys\nprint('loud')\nos.write(1, b'loud')" + HOOK.replace("\n    ", "\n"),
    "asks": "input()",
}
SAID = {
    "exits": "its import ends the process (exit code 7)",
    "leaves": "SystemExit: 3",
    "crashes": "its import ends the process (SIGSEGV)",
    "hangs": "its import takes longer than 3 s",
    "raises": "ZeroDivisionError: division by zero",
    "hookless": "has no hook; define ztxexp_execute",
    "asks": "EOFError",
}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_whatever_an_import_does_the_list_is_whole_and_says_it():
    modules = {f"bad_{name}": source for name, source in BAD.items()}
    entries = {name: f"bad_{name}" for name in BAD}
    with FakeDistribution("bad", modules, executors=entries, extras=["lacks"]):
        code, found = states("--timeout", "3")
        told, out, _ = run("plugins", "raises")
    assert code == 0 and found["executor", "sequential"]["state"] == "ready"
    for name, said in SAID.items():
        plugin = found["executor", name]
        assert plugin["state"] == "broken", name
        assert plugin["problem"].startswith(said)
        assert plugin["hint"] == "fix or reinstall bad"
    lacks = found["executor", "lacks"]
    assert (lacks["state"], lacks["problem"]) == ("missing", "'no_such_package' is not installed")
    assert lacks["hint"] == 'pip install "bad[lacks]"'
    assert found["executor", "loud"]["state"] == "ready"
    assert told == 1 and "ZeroDivisionError: division by zero; fix or reinstall bad" in out


def test_a_tracker_that_lacks_a_package_says_what_to_install():
    source = """
        class Needy:
            requires = ("no_such_package", "json")
            def on_run_start(self, ctx, meta): ...
            def on_metric(self, ctx, event): ...
            def on_run_end(self, ctx, summary): ...
    """
    with FakeDistribution("needy", {"needy": source}, trackers={"needy": "needy:Needy"}):
        _, found = states("needy")
        code, out, _ = run("plugins", "needy")
    assert found["tracker", "needy"]["state"] == "missing"
    assert code == 1
    assert "'no_such_package' is not installed; pip install no_such_package" in out


@pytest.mark.slow
def test_blocked_plugins_and_clashes_are_listed_as_such(monkeypatch):
    one = FakeDistribution("one", {"one": HOOK}, executors={"same": "one", "only": "one"})
    two = FakeDistribution("two", {"two": HOOK}, executors={"same": "two"})
    with one, two:
        found = plugin_states("same")
        assert [plugin.state for plugin in found] == ["name clash"] * 2
        assert "claimed twice" in found[0].problem and "two 1.0, two" in found[0].problem
        assert "ZTXEXP_DISABLE_PLUGINS=one:same or two:same" in found[0].hint
        monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "two, only")
        _, states_ = states()
        assert states_["executor", "only"]["state"] == "blocked"
        assert "remove 'only' from the environment" in states_["executor", "only"]["hint"]
        found = {plugin.distribution: plugin.state for plugin in plugin_states("same")}
        assert found == {"one": "ready", "two": "blocked"}


@pytest.mark.parametrize(
    ("requires", "state"),
    [
        (["ztxexp<2"], "incompatible"),
        (["ztxexp>=3"], "incompatible"),
        (["ztxexp>=2,<3", "numpy"], "ready"),
        (["ztxexp>=2.0.0.dev0"], "ready"),
        (["ztxexp<2; extra == 'old'"], "ready"),
        (["ZTXexp[mlflow]<2"], "incompatible"),
        (["this is no requirement!"], "ready"),
    ],
)
def test_a_package_that_asks_for_another_version_is_incompatible(requires, state):
    with FakeDistribution("aged", {"aged": HOOK}, executors={"aged": "aged"}, requires=requires):
        (plugin,) = plugin_states("aged")
    assert plugin.state == state
    if state == "incompatible":
        assert "it requires" in plugin.problem and "this is" in plugin.problem
        assert "<2" in plugin.problem or ">=3" in plugin.problem
        assert "ztxexp 2.0.0.dev0".lower() in plugin.problem.lower()
        assert plugin.hint == "pip install --upgrade aged"


def test_one_plugin_is_shown_with_its_options():
    code, out, _ = run("plugins", "dynamic")
    assert code == 0
    assert out.startswith("executor dynamic: A pool of worker processes that starts another run")
    assert "supports  fresh_process, gpus, refill, timeout" in out
    row = next(line for line in out.splitlines() if "min_free_gpu_memory" in line)
    assert row.split()[1:5] == ["float", "|", "None", "None"] and "GiB that must be free" in row


def test_a_name_of_several_kinds_shows_each():
    tracker = """
        class T:
            def on_run_start(self, ctx, meta): ...
            def on_metric(self, ctx, event): ...
            def on_run_end(self, ctx, summary): ...
    """
    with FakeDistribution("more", {"more": tracker}, trackers={"grid": "more:T"}):
        _, found = states("grid")
    assert set(found) == {("tracker", "grid"), ("expander", "grid")}


def test_an_unknown_name_tells_the_nearest():
    code, out, err = run("plugins", "dynamik")
    assert (code, out) == (2, "") and "did you mean 'dynamic'?" in err


def test_what_plugins_say_of_themselves_does_nothing_to_the_terminal():
    source = '"""Red\\x1b[31m [bold]and[/bold] \\x07 :smile:."""' + HOOK
    with FakeDistribution("odd", {"odd": source.replace("\n    ", "\n")}, executors={"odd": "odd"}):
        _, out, _ = run("plugins", "odd")
    assert out.startswith("executor odd: Red [bold]and[/bold] \\x07 :smile:.\n")


# ---- sync ------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path):
    def train(ctx):
        ctx.log_metric(step=1, metrics={"loss": 0.5})

    ExpRunner([{"lr": 0.1}, {"lr": 0.2}], tmp_path / "r").run(train, progress=False)
    return str(tmp_path / "r")


def test_sync_sends_what_is_missing_and_says_what(results, tmp_path):
    words = ["sync", results, "tensorboard", f"log_dir={tmp_path / 'tb'}"]
    code, out, _ = run(*words)
    assert code == 0 and out.startswith("tensorboard: 2 of 2 runs sent, 2 events, ")
    assert len(list((tmp_path / "tb").iterdir())) == 2
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)["sent"] == [] and json.loads(out)["runs"] == 2


TRACKER = """
    class Typed:
        def __init__(self, name: str, tries: int = 1, tags: list[str] = (), on: bool = False,
                     rate: float | None = 1.0, anything=None):
            print("noise")
            told = {"name": name, "tries": tries, "tags": tags, "on": on, "rate": rate}
            if anything is not None:
                raise ValueError(f"told {told} {anything!r}")

        def on_run_start(self, ctx, meta):
            raise OSError("down")

        def on_metric(self, ctx, event): ...
        def on_run_end(self, ctx, summary): ...
"""


def test_words_become_values_of_the_types_that_the_tracker_declares(results):
    words = ["name=7", "tries=3", 'tags=["a"]', "on=True", "rate=null", "anything=x=y"]
    with FakeDistribution("typed", {"typed": TRACKER}, trackers={"typed": "typed:Typed"}):
        with pytest.raises(ValueError, match="told") as caught:
            run("sync", results, "typed", *words)
        told = "{'name': '7', 'tries': 3, 'tags': ['a'], 'on': True, 'rate': None} 'x=y'"
        assert told in str(caught.value)
        code, _, err = run("sync", results, "typed", "name=a", "tries=many")
        assert code == 2 and "option 'tries' must be int, got 'many' (str)" in err


def test_runs_that_cannot_be_sent_are_a_failure_and_json_stays_alone(results):
    with FakeDistribution("typed", {"typed": TRACKER}, trackers={"typed": "typed:Typed"}):
        code, out, err = run("sync", results, "typed", "name=a", "--json")
    report = json.loads(out)
    assert code == 1 and len(report["failed"]) == 2 and "noise" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "jsonl"], 1, "there is no results root"),
        ([".", "nonsense"], 2, "unknown tracker 'nonsense'"),
        ([".", "jsonl", "events"], 2, "'events' is not an option; write key=value"),
        ([".", "jsonl", "file=x"], 2, "known: 'events_filename'"),
    ],
)
def test_what_cannot_be_synced_is_said_in_one_line(monkeypatch, tmp_path, words, code, said):
    monkeypatch.chdir(tmp_path)
    found, out, err = run("sync", *words)
    assert (found, out) == (code, "")
    assert err.startswith("ztxexp: ") and said in err and err.count("\n") == 1
