"""The suite for executors that submit jobs, passed by slurm on a real cluster of two nodes."""

from __future__ import annotations

import pytest
import slurm_cluster

from ztxexp_testing import SubmittingSuite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with slurm_cluster.cluster() as slurm:
        yield slurm


class TestSlurm(SubmittingSuite):
    name = "slurm"
    refused_options = {"partition": "none-such"}
    gone_sec = 15.0
    patience = 150.0
