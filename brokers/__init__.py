"""Hedge-mode brokers for Backtrader: the simulated exchange and the live account behind one interface."""

import gridv4_bt.compat  # noqa: F401  (adapts Backtrader)
