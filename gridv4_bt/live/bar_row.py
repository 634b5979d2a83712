"""The log's row of a bar that no grid has decided."""

import numpy as np

from brokers.feed_book import FeedBook
from brokers.live import LiveHedgeBroker
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.guards import margin_ratio


def bar_row(broker: LiveHedgeBroker, book: FeedBook) -> np.ndarray:
    """Return account and legs at a symbol's last close, in the order of `LOG_COLUMNS`; NaN for what only a grid has."""
    equity, wallet = broker.getvalue(), broker.getcash()
    down, up = broker.liquidation_range(book.data)
    known = {
        "time": book.bar.time,
        "equity": equity,
        "wallet": wallet,
        "unrealized": equity - wallet,
        "long_qty": book.long.tracker.qty,
        "short_qty": book.short.tracker.qty,
        "regime": book.state.regime,
        "halted": 0,
        "margin_ratio": margin_ratio(broker.maintenance_margin(), equity),
        "resting_orders": len([order for order in broker.get_orders_open() if order.data is book.data]),
        "liquidation_down": 1.0 - down / book.bar.close if down > 0.0 else np.inf,
        "liquidation_up": up / book.bar.close - 1.0,
    }
    return np.array([known.get(name, np.nan) for name in LOG_COLUMNS])
