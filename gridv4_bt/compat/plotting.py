"""`cerebro.plot()` for today's matplotlib, with or without a screen, and with marks for LONG and SHORT.

``cerebro.plot()`` takes it by itself. What else it can do::

    from gridv4_bt.report.cerebro_plot import Plotter

    cerebro.plot(plotter=Plotter())             # the same: windows, or inline in a notebook, or only figures
    cerebro.plot(plotter=Plotter("run.png"))    # a file instead of windows
    [[figure]] = cerebro.plot(plotter=Plotter(style="candle", volume=False), start=date(2024, 3, 1))

Panels, styles and options are Backtrader's own. Executions of a hedge-mode broker have a mark at their price: where a
leg opens a filled one, where it closes a hollow one; LONG green, SHORT purple, upwards where it was bought. The curve
of the wallet and marks of all that was bought and sold are drawn by Backtrader's observers: run with
``bt.Cerebro(stdstats=True)``, which is its default, or add those you want::

    cerebro.addobserver(bt.observers.BuySell, barplot=True)

Backtrader keeps every bar in a picture: plot some weeks (`start`, `end`), or spread them over ``numfigs=4``.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import backtrader as bt
import matplotlib
import numpy as np
from matplotlib import dates as mdates
from matplotlib import pyplot
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import Locator
from numpy.typing import NDArray

from gridv4_bt.compat.fast_loops import EPOCH_DAYS
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import ConfigError


def _backtrader_plot() -> Any:
    """Return the module `backtrader.plot`, imported without its choice of a backend."""
    choose = matplotlib.use
    matplotlib.use = lambda *_, **__: None
    try:
        import backtrader.plot
    finally:
        matplotlib.use = choose
    return backtrader.plot


_plot = _backtrader_plot()

#: How the executions of a leg are marked, by positionSide and whether it opens: label, marker, colour, filled.
MARKS = {
    ("LONG", True): ("LONG opens", "^", "green", "full"),
    ("LONG", False): ("LONG closes", "v", "green", "none"),
    ("SHORT", True): ("SHORT opens", "v", "purple", "full"),
    ("SHORT", False): ("SHORT closes", "^", "purple", "none"),
}


class Plotter(_plot.Plot):
    """Backtrader's plotter, to give as ``plotter=`` to ``cerebro.plot``; see the module's head.

    Parameters
    ----------
    path : PNG, SVG or PDF file to write instead of opening windows; the second figure goes to ``NAME-2``, and so on.
    size : width and height of a file or of figures without a screen, inches.
    dpi : pixels per inch of the same.
    The others are attributes of `backtrader.plot.PlotScheme`, such as ``style``, ``volume``, ``barup``.

    Raises
    ------
    ConfigError
        There is no such option.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        size: tuple[float, float] = (16.0, 9.0),
        dpi: float = 100.0,
        **options: Any,
    ) -> None:
        scheme = _plot.PlotScheme()  # Backtrader's default is one object for all plotters
        unknown = [name for name in options if not hasattr(scheme, name)]
        if unknown:
            raise ConfigError(f"{unknown[0]}: no option of backtrader.plot.PlotScheme")
        self.p.scheme = scheme
        super().__init__(**options)
        self._path = None if path is None else Path(path)
        self._on_screen = path is None and _has_screen()
        self._desk = _Screen() if self._on_screen else _Paper(size, dpi)
        self._saved = 0
        self._dated: list[Axes] = []

    @property
    def mpyplot(self) -> "_Screen | _Paper":
        """The stand-in for pyplot that Backtrader draws with."""
        return self._desk

    @mpyplot.setter
    def mpyplot(self, module: Any) -> None:
        pass  # `plot` brings pyplot itself, which numbers figures anew at every call

    def plot(self, strategy: bt.Strategy, figid: int = 0, numfigs: int = 1, iplot: bool = True, **others: Any):
        """Draw one strategy and return its figures; `cerebro.plot` calls it."""
        if numfigs < 1:
            raise ConfigError(f"numfigs {numfigs}: draw at least one figure")
        self._dated.clear()
        self._strategy = strategy
        # With iplot Backtrader would choose a backend that notebooks of today do not know.
        figures = super().plot(strategy, figid, min(numfigs, max(len(strategy), 1)), iplot=False, **others) or []
        for ax in self._dated:
            # Backtrader hides the labels of all axes and looks for those to show again among the visible ones.
            ax.tick_params(axis="x", labelbottom=True, labelrotation=self.p.scheme.tickrotation)
            ax.figure.subplots_adjust(bottom=0.09)
        if self._path is not None:
            for figure in figures:
                self._saved += 1
                number = "" if self._saved == 1 else f"-{self._saved}"
                figure.savefig(self._path.with_name(f"{self._path.stem}{number}{self._path.suffix}"))
        return figures

    def plotdata(self, data: bt.AbstractDataBase, indicators: Sequence[Any]) -> None:
        """Draw a feed with the executions of its legs."""
        super().plotdata(data, indicators)
        ax = self.pinf.daxis[data]
        handles, labels = self.pinf.handles[ax], self.pinf.labels[ax]
        for (label, marker, colour, filled), points in self._executions(data).items():
            style = dict(marker=marker, color=colour, fillstyle=filled, markersize=7.0, linestyle="")
            handles += ax.plot(*zip(*points), label=label, zorder=self.pinf.zorder[ax] + 2.0, **style)
            labels.append(label)
        if handles:
            loc = data.plotinfo.legendloc or self.pinf.sch.legenddataloc
            ax.legend(handles, labels, loc=loc, frameon=False, prop=self.pinf.prop, numpoints=1, alignment="left")

    def _executions(self, data: bt.AbstractDataBase) -> dict[tuple[str, ...], list[tuple[int, float]]]:
        """Return number of the bar and price of a feed's executions within the picture, by how they are marked."""
        times = self.pinf.xreal
        found: dict[tuple[str, ...], list[tuple[int, float]]] = {mark: [] for mark in MARKS.values()}
        for order in self._strategy._orders:
            if order.data is data and order.status in (order.Partial, order.Completed):
                for bit in order.executed.iterpending():
                    mark = MARKS.get((order.info.get("positionSide"), bit.opened != 0.0))
                    if mark and times[0] <= bit.dt <= times[-1]:
                        found[mark].append((bisect_left(times, bit.dt), bit.price))
        return {mark: points for mark, points in found.items() if points}

    def show(self) -> None:
        """Open the windows, if there are any."""
        if self._on_screen:
            pyplot.show()

    def setlocators(self, ax: Axes) -> None:
        """Show dates on the axis of bar numbers."""
        super().setlocators(ax)
        days = np.asarray(self.pinf.xreal) - EPOCH_DAYS
        dates = mdates.date2num(np.round(days * DAY_MS).astype("datetime64[ms]"))
        locator = _BarLocator(dates)
        ax.xaxis.set_major_locator(locator)
        if self.pinf.sch.fmt_x_ticks is None:
            ax.xaxis.set_major_formatter(_BarFormatter(dates, locator))
        self._dated.append(ax)


class _BarLocator(Locator):
    """Ticks at round dates where x is the number of a bar."""

    def __init__(self, dates: NDArray[np.float64]) -> None:
        self._dates = dates
        self.by_date = mdates.AutoDateLocator(tz="UTC")

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        ends = np.clip(np.round(sorted((vmin, vmax))), 0, len(self._dates) - 1).astype(int)
        first, last = self._dates[ends]
        if first == last:
            return [float(ends[0])]
        ticks = np.asarray(self.by_date.tick_values(*mdates.num2date((first, last))))
        return np.searchsorted(self._dates, ticks[(ticks >= first) & (ticks <= last)]).astype(float)


class _BarFormatter(mdates.AutoDateFormatter):
    """The date of a bar by its number, as fine as the ticks are apart."""

    def __init__(self, dates: NDArray[np.float64], locator: _BarLocator) -> None:
        super().__init__(locator.by_date, tz="UTC")
        self._dates = dates

    def __call__(self, x: float, pos: int | None = None) -> str:
        index = min(max(round(x), 0), len(self._dates) - 1)
        return super().__call__(self._dates[index], pos)


class _Screen:
    """The part of pyplot that Backtrader uses, with a new number for every figure."""

    subplot2grid = staticmethod(pyplot.subplot2grid)
    setp = staticmethod(setp)
    autoscale = staticmethod(pyplot.autoscale)

    def figure(self, number: int) -> Figure:
        return pyplot.figure()


class _Paper:
    """The same part of pyplot for figures without a window, which pyplot does not keep."""

    setp = staticmethod(setp)
    _numbers = count(1)

    def __init__(self, size: tuple[float, float], dpi: float) -> None:
        self._size = size
        self._dpi = dpi
        self._figure: Figure | None = None

    def figure(self, number: int) -> Figure:
        self._figure = Figure(figsize=self._size, dpi=self._dpi)
        self._figure.set_label(f"Figure {next(self._numbers)}")
        FigureCanvasAgg(self._figure)
        return self._figure

    def subplot2grid(self, shape: tuple[int, int], loc: tuple[int, int], rowspan: int, sharex: Axes | None) -> Axes:
        row, column = loc
        return self._figure.add_subplot(self._figure.add_gridspec(*shape)[row : row + rowspan, column], sharex=sharex)

    def autoscale(self, **options: Any) -> None:
        self._figure.gca().autoscale(**options)


def _has_screen() -> bool:
    """Return whether matplotlib can show figures here; the backend is the one pyplot chooses."""
    try:
        pyplot.draw_if_interactive()
    except ImportError:  # a backend with windows was asked for, but there is no screen
        return False
    backend = matplotlib.get_backend().lower()
    return backend not in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
