"""The executors for engines, on real clusters; each in a pytest of its own."""

from __future__ import annotations

import own_process
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SKIPPED = {
    "test_a_run_sees_the_gpu_that_it_was_given": "supports has no 'gpus'",
    "test_it_can_be_called_again_and_runs_see_the_present": "sees_the_environment: workers on",
}


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_an_engine(engine, tmp_path):
    own_process.needs_engine(engine)
    file = f"executors/engines/{engine}_suite.py"
    own_process.check(file, tmp_path, 1400, at_least=55, skipped=SKIPPED)
