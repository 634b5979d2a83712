"""``cerebro.plot()`` by our `Plotter` where Backtrader's own does not work.

That is with every matplotlib since 3.3, whose dates begin in 1970, and wherever there is no Tk: Backtrader asks for its
windows and fails before it has drawn anything.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import backtrader as bt

_stock_plot = bt.Cerebro.plot


def stock_plot_works() -> bool:
    """Return whether Backtrader's own plotter can draw here."""
    from matplotlib import dates

    if not dates.get_epoch().startswith("0000-12-31"):
        return False  # it would put the labels of the time axis some thousand years away
    try:
        import_module("backtrader.plot")  # chooses windows by Tk
    except ImportError:
        return False
    return True


def _plot(
    self: bt.Cerebro,
    plotter: Any = None,
    numfigs: int = 1,
    iplot: bool = True,
    start: Any = None,
    end: Any = None,
    width: float = 16,
    height: float = 9,
    dpi: float = 100,
    tight: bool = True,
    use: str | None = None,
    **options: Any,
) -> Any:
    if plotter is None and not self.p.oldsync and not stock_plot_works():
        if use is not None:
            import matplotlib

            matplotlib.use(use)
        from gridv4_bt.compat.plotting import Plotter

        plotter, options = Plotter(size=(width, height), dpi=dpi, **options), {}
    return _stock_plot(self, plotter, numfigs, iplot, start, end, width, height, dpi, tight, use, **options)


_plot.__doc__ = _stock_plot.__doc__
bt.Cerebro.plot = _plot
