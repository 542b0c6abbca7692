"""Real clients without a network, and contexts to follow."""

import logging
import subprocess
import sys
import tempfile
import textwrap

import pytest

from ztxexp_core import MetricEvent, RunContext, RunMetadata

_OURS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}


@pytest.fixture(autouse=True)
def clean_clients(monkeypatch, tmp_path):
    """Let no setting of the machine reach a client, and no client write outside ``tmp_path``."""
    import os

    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "WANDB_")):
            monkeypatch.delenv(name)
    for name, value in _OURS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # lock files of the mlflow tracker
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def make_ctx(tmp_path):
    """Return a maker of contexts whose folders exist."""

    def make(run_id="run-1", config=None, meta=None):
        run_dir = tmp_path / "results" / run_id
        run_dir.mkdir(parents=True, exist_ok=True)
        return RunContext(
            run_id=run_id,
            run_dir=run_dir,
            config={"lr": 0.1} if config is None else config,
            logger=logging.getLogger("ztxexp.tests"),
            meta=meta or RunMetadata(),
        )

    return make


@pytest.fixture
def make_event():
    """Return a maker of metric events; every one has its own second."""

    def make(step, metrics, split="train"):
        stamp = f"2026-01-02T03:04:{step % 60:02d}.500000+00:00"
        return MetricEvent(step=step, timestamp=stamp, metrics=metrics, split=split)

    return make


@pytest.fixture
def without():
    """Return a runner of code in a fresh process where a package cannot be imported."""

    def run(package, code):
        blocker = f"""
            import sys

            class Blocker:
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] == {package!r}:
                        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

            sys.meta_path.insert(0, Blocker())
        """
        program = textwrap.dedent(blocker) + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
