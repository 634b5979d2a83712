import logging

import pytest
from live_market import Market

from gridv4_bt.audit.audit import audit


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """Let a session trade a lively market and return what its audit finds: ``live(bars=..., faults=[{...}])``."""
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)

    def trade(**more):
        scene = Market(tmp_path_factory.mktemp("audit") / "state", **more)
        scene.live()
        return audit(scene.folder)

    return trade


@pytest.fixture(scope="session")
def calm(live):
    """The audit of a session of two days without any fault."""
    return live(bars=190)
