import logging

import pytest
from live_market import Market


@pytest.fixture
def market(tmp_path):
    """Make a market: ``market(bars=..., faults=[{...}])``."""
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    return lambda **more: Market(tmp_path / "state", **more)
