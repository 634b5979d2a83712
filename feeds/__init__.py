"""Market data: candles, funding and mark prices from files, an exchange's history or a live session."""

import gridv4_bt.compat  # noqa: F401  (adapts Backtrader)
