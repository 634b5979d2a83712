"""Whether a result can be believed: look-ahead, warm-up, regimes, overfitting, and live trading under faults."""
