"""What is printed in a worker outside of its runs: nothing on the console, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

CHATTY = """
    import atexit, os, subprocess, sys
    print("while loading")
    subprocess.run(["echo", "by a child while loading"])
    os.write(2, b"from below while loading\\n")
    atexit.register(print, "at the end")

    def train(ctx):
        print("hello", ctx.config["i"])
        sys.stderr.write("on stderr\\n")
        os.write(1, b"from below\\n")
"""
SCRIPT = """
    import sys
    from ztxexp import ExpRunner

    class Late:  # chatty is imported in the workers only
        def __call__(self, ctx):
            raise AssertionError

        def __reduce__(self):
            return getattr, (Module(), "train")

    class Module:
        def __reduce__(self):
            return __import__, ("chatty",)

    ExpRunner([{"i": i} for i in range(3)], sys.argv[1]).run(Late(), mode=sys.argv[2], workers=1)
"""


@pytest.mark.parametrize("mode", ["process_pool", "joblib", "dynamic"])
def test_workers_print_nothing_on_the_console_and_lose_nothing(root, mode, tmp_path):
    (tmp_path / "chatty.py").write_text(textwrap.dedent(CHATTY))
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    out = subprocess.run(
        [sys.executable, script, root.path, mode], env=env, capture_output=True, text=True
    )
    assert out.stdout == ""
    assert "loading" not in out.stderr
    assert "hello" not in out.stderr
    logs = [(run["config"]["i"], (run["dir"] / "run.log").read_text()) for run in root.runs()]
    for i, log in logs:
        assert [f"hello {i}", "on stderr", "from below"] == [
            line for line in log.splitlines() if "loading" not in line and "at the end" not in line
        ]
    said = sorted(line for _, log in logs for line in log.splitlines() if "loading" in line)
    assert said == ["by a child while loading", "from below while loading", "while loading"]
    assert sum("at the end" in log for _, log in logs) == 1
