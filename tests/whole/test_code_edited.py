"""Code that is edited while a sweep of it is under way."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import sys
sys.dont_write_bytecode = True
import edited_model
from ztxexp import ExperimentPipeline

ExperimentPipeline("r").grid({"x": list(range(4))}).run(
    edited_model.train, mode="process_pool", workers=1, fresh_process=True)
"""
MODEL = """
import pathlib
VERSION = 1

def train(ctx):
    if ctx.config["x"] == 1:  # somebody saves the file
        path = pathlib.Path(__file__)
        path.write_text(path.read_text().replace("VERSION = 1", "VERSION = 222"))
    return {"version": VERSION}
"""


def test_no_run_bears_the_hash_of_code_that_it_did_not_run(tmp_path):
    (tmp_path / "edited_model.py").write_text(MODEL)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    hashes = {1: set(), 222: set()}
    for folder in (tmp_path / "r").glob("[!.]*"):
        run = json.loads((folder / "run.json").read_text())
        meta = json.loads((folder / "meta.json").read_text())
        version = json.loads((folder / "metrics.json").read_text())["version"]
        hashes[version].add(run["code_hash"])
        assert meta["code_hash"] == run["code_hash"]
        if version == 222:
            assert meta["function_hash"] is None
            assert "edited_model.py was edited after the launch began" in meta["code_note"]
    assert hashes[222] == {None} and len(hashes[1]) == 1 and None not in hashes[1]
    assert done.stderr.count("edited_model.py was edited") == 1
