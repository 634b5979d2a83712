"""Checks of a result: look-ahead, warm-up, regimes, overfitting, and live trading under faults."""
