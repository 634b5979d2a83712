"""Market data: candles, funding and mark prices from files, an exchange's history or a live session."""
