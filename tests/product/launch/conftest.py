"""A stand-in for a batch system, for launches that submit jobs."""

from __future__ import annotations

import pytest
from local_jobs import LocalJobs
from submitted import hurry


@pytest.fixture
def jobs(request, tmp_path, monkeypatch):
    """The stand-in, asked often; it has room for two jobs, or for the module's ``SLOTS``."""
    hurry(monkeypatch.setattr)
    with LocalJobs(tmp_path / "jobs", slots=getattr(request.module, "SLOTS", 2)) as jobs:
        yield jobs
