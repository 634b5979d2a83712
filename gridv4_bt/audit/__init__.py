"""The audit of a live session: its replay as a backtest, compared fill by fill."""
