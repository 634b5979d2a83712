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
def calm_scene(tmp_path_factory):
    """A market on which a session has traded for two days without any fault."""
    scene = Market(tmp_path_factory.mktemp("calm") / "state", bars=190)
    scene.live()
    return scene


@pytest.fixture(scope="session")
def calm(calm_scene):
    """The audit of that session."""
    return audit(calm_scene.folder)
