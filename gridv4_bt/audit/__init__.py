"""Live held against backtest: what a session did, replayed and lined up fill by fill."""
