"""docs/cli.md is tested as it stands: its commands are typed, and must print what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_prints_what_the_page_says():
    script = REPOSITORY / "docs" / "cli_transcripts.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("heading", ["From a function to a table", "From a script as it is"])
def test_the_whole_job_takes_five_commands_and_no_line_of_glue(heading):
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ (.*)$", section, re.M)
    assert len(commands) == 5 and all(command.startswith("ztxexp ") for command in commands)
    assert "killed" in section or "SIGKILL" in section
