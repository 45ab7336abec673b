"""What holds for every test: nothing is downloaded, and torch keeps to one thread, where sums have one order."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no test looks at a clock
settings.load_profile("house")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if (torch := sys.modules.get("torch")) is not None:  # most tests of the seam never import it
        torch.set_num_threads(1)
