"""All paths of the REST interface; importing the modules of them registers what they serve."""

from gridv4_bt.exchange import account_endpoints, algo_endpoints, market_endpoints, order_endpoints  # noqa: F401
from gridv4_bt.exchange.routes import ENDPOINTS

__all__ = ["ENDPOINTS"]
