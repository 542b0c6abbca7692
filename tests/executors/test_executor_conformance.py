"""The built-in executors pass the suite that is shipped to authors of executors."""

from __future__ import annotations

import pytest

from ztxexp_testing import ExecutorSuite

pytestmark = pytest.mark.slow


class TestSequential(ExecutorSuite):
    name = "sequential"
    runs_at_once = "one run after the other is what it is for"


class TestProcessPool(ExecutorSuite):
    name = "process_pool"


class TestJoblib(ExecutorSuite):
    name = "joblib"


class TestDynamic(ExecutorSuite):
    name = "dynamic"
    # However busy the machine is: what it waits for then is tested by itself.
    options = {"cpu_threshold": 100, "min_free_memory": 0}
