"""GridStrategyV4: hedge-mode grid trading for crypto perpetual futures, on Backtrader."""
