"""Strategies and analyzers of Backtrader that ask a hedge-mode broker where they would reckon with one net position.

A broker that has ``targets`` (`brokers.targets.Targets`) answers them; with any other broker they are as they were.
"""

from __future__ import annotations

from typing import Any

import backtrader as bt


def _feed_of(strategy: bt.Strategy, data: Any) -> Any:
    return strategy.getdatabyname(data) if isinstance(data, str) else strategy.data if data is None else data


class _Stock:
    """Backtrader's own methods."""

    order_target_size = bt.Strategy.order_target_size
    order_target_value = bt.Strategy.order_target_value
    close = bt.Strategy.close
    getsizing = bt.Strategy.getsizing
    gross_leverage = bt.analyzers.GrossLeverage.next
    pf_items = bt.analyzers.PyFolio.get_pf_items


def _order_target_size(self: bt.Strategy, data: Any = None, target: float = 0, **kwargs: Any) -> Any:
    targets = getattr(self.broker, "targets", None)
    if targets is None:
        return _Stock.order_target_size(self, data, target, **kwargs)
    return targets.order_size(self, _feed_of(self, data), target, **kwargs)


def _order_target_value(
    self: bt.Strategy, data: Any = None, target: float = 0.0, price: float | None = None, **kwargs: Any
) -> Any:
    targets = getattr(self.broker, "targets", None)
    if targets is None:
        return _Stock.order_target_value(self, data, target, price, **kwargs)
    return targets.order_value(self, _feed_of(self, data), target, price, **kwargs)


def _close(self: bt.Strategy, data: Any = None, size: float | None = None, **kwargs: Any) -> Any:
    targets = getattr(self.broker, "targets", None)
    if targets is None:
        return _Stock.close(self, data, size, **kwargs)
    return targets.close(self, _feed_of(self, data), size, **kwargs)


def _getsizing(self: bt.Strategy, data: Any = None, isbuy: bool = True) -> Any:
    size = _Stock.getsizing(self, data, isbuy)
    targets = getattr(self.broker, "targets", None)
    return size if targets is None or not size else targets.fit(_feed_of(self, data), size, isbuy)


def _gross_leverage(self: bt.Analyzer) -> None:
    broker = self.strategy.broker
    if getattr(broker, "targets", None) is None:
        _Stock.gross_leverage(self)
    else:  # the wallet of a margin account does not pay for positions, so value less cash says nothing about them
        self.rets[self.data0.datetime.datetime()] = broker.get_leverage()


def _pf_items(self: bt.Analyzer) -> Any:
    returns, positions, transactions, leverage = _Stock.pf_items(self)
    rows = dict(self.rets["positions"])
    names = rows.pop("Datetime")
    if getattr(self.strategy.broker, "targets", None) is not None and len(names) > len(positions.columns):
        import pandas as pd  # Backtrader keeps the last feed and the cash alone

        positions = pd.DataFrame.from_dict(rows, orient="index", columns=names).set_axis(positions.index)
    return returns, positions, transactions, leverage


for _name, _method in (
    ("order_target_size", _order_target_size),
    ("order_target_value", _order_target_value),
    ("close", _close),
    ("getsizing", _getsizing),
):
    _method.__doc__ = getattr(bt.Strategy, _name).__doc__
    setattr(bt.Strategy, _name, _method)
bt.analyzers.GrossLeverage.next = _gross_leverage
bt.analyzers.PyFolio.get_pf_items = _pf_items
