import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any_machine", deadline=None)  # beside other work an example takes what it takes
settings.load_profile("any_machine")
pytest.register_assert_rewrite("same_runs")  # so that a failure there shows both values


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="every case of a law of which some are enough otherwise")


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether every case is to be shown, as `make check-all` asks, or those that differ most."""
    return bool(request.config.getoption("--thorough"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the repository; a test that needs it is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder


@pytest.fixture(autouse=True)
def live_logging() -> Iterator[None]:
    """Leave the logger of live sessions as it was: a command that runs in this process sets it up for its terminal."""
    log = logging.getLogger("gridv4.live")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(level)
    log.propagate, log.handlers[:] = propagate, handlers
