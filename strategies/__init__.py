"""Strategies of the project; modules of a folder `strategies` of the user's own import beside them."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from strategies.grid_v4 import GridStrategyV4

__all__ = ["GridStrategyV4"]
