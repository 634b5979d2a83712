"""The project's own exceptions. Every message names the cause and the cure."""


class GridV4Error(Exception):
    """Base of everything this project raises on purpose."""


class ConfigError(GridV4Error):
    """A parameter is unknown, out of bounds or contradicts another one."""


class DataError(GridV4Error):
    """A data file cannot be trusted: missing column, bad row, wrong interval, gap."""


class MarketError(GridV4Error):
    """A market's filters or notional brackets are missing or inconsistent."""


class StateError(GridV4Error):
    """The state of a live session cannot be used."""


class LiveError(GridV4Error):
    """A live session cannot go on without intervention."""


class StrategyError(GridV4Error):
    """A strategy of the user's own has failed; the message names its line."""


def place_of_code(code: int) -> str:
    """Return the place in the documentation that explains an error code of the exchange."""
    return f"docs/troubleshooting.md#code{code}"
