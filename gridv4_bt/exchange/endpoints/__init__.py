"""All paths of the REST interface; importing the modules registers their handlers."""

from gridv4_bt.exchange.endpoints import account_data, conditional, market_data, market_trades, trade  # noqa: F401
from gridv4_bt.exchange.endpoints.paths import ENDPOINTS

__all__ = ["ENDPOINTS"]
