"""The executors for engines, on real clusters; each in a pytest of its own."""

from __future__ import annotations

import sys

import own_process
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SKIPPED = {
    "test_a_run_sees_the_gpu_that_it_was_given": "supports has no 'gpus'",
    "test_it_can_be_called_again_and_runs_see_the_present": "sees_the_environment: workers on",
}


def test_dask(tmp_path):
    own_process.library("distributed")
    file = "executors/engines/dask_suite.py"
    own_process.check(file, tmp_path, 1400, at_least=55, skipped=SKIPPED)


def test_ray(tmp_path):
    own_process.library("ray", exists=sys.version_info < (3, 14) and sys.platform != "win32")
    file = "executors/engines/ray_suite.py"
    own_process.check(file, tmp_path, 1400, at_least=55, skipped=SKIPPED)
