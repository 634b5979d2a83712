"""The log's row of a bar that no grid has decided."""

import numpy as np

from brokers.feed_book import FeedBook
from brokers.live import LiveHedgeBroker
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.guards import liquidation_distances, margin_ratio


def bar_row(broker: LiveHedgeBroker, book: FeedBook) -> np.ndarray:
    """Return account and legs at a symbol's last close, in the order of `LOG_COLUMNS`; NaN for what only a grid has."""
    equity, wallet = broker.getvalue(), broker.getcash()
    down, up = liquidation_distances(*broker.liquidation_range(book.data), book.bar.close)
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
        "liquidation_down": down,
        "liquidation_up": up,
    }
    return np.array([known.get(name, np.nan) for name in LOG_COLUMNS])
