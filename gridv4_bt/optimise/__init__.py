"""Optimisation of parameters: optstrategy, the compiled sweep, searches, and guards against overfitting."""
