"""Trying many parameters without fooling oneself: optstrategy, searches, and the guards against overfitting."""
