"""Hedge-mode brokers for Backtrader: the simulated exchange and the live account behind one interface."""
