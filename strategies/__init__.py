"""Strategies of the project."""

from strategies.grid_v4 import GridStrategyV4

__all__ = ["GridStrategyV4"]
