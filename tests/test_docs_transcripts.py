"""Pages of the documentation as they stand: their commands are typed, and print what is there."""

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
@pytest.mark.parametrize("page", ["cli.md"])
def test_every_command_prints_what_the_page_says(page):
    docs = REPOSITORY / "docs"
    done = subprocess.run(
        [sys.executable, docs / "transcripts.py", docs / page, "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("heading", ["From a function to a table", "From a script as it is"])
def test_the_whole_job_takes_five_commands_and_no_line_of_glue(heading):
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ (.*)$", section, re.M)
    assert len(commands) == 5 and all(command.startswith("ztxexp ") for command in commands)
    assert "killed" in section or "SIGKILL" in section
