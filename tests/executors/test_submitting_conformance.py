"""The suite for executors that submit jobs, passed by one whose jobs are local processes."""

from __future__ import annotations

import pytest
from local_jobs import NAME, LocalJobs

from ztxexp_testing import SubmittingSuite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def jobs(tmp_path_factory):
    with LocalJobs(tmp_path_factory.mktemp("jobs"), slots=4) as jobs:
        yield jobs


class TestLocalJobs(SubmittingSuite):
    name = NAME
