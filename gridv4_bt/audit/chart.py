"""The picture of an audit: equity side by side, the drift, and where the fills differ."""

from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from gridv4_bt.audit.audit import Audit
from gridv4_bt.audit.causes import Cause
from gridv4_bt.report.overview import DPI, LONG_COLOUR, SHORT_COLOUR, WIDTH

_COLOURS = dict(zip(Cause, (f"C{number}" for number in range(10)), strict=False))
_BEYOND = "#333333"  # causes beyond the ten colours
_HEIGHT = 6.0


def plot_audit(audit: Audit, max_drift: float, path: Path) -> None:
    """Draw an audit into a PNG file.

    Above the equity of both sides with a mark for every fill that differs, below the drift and its bound.
    """
    with style.context("default"):
        figure = Figure(figsize=(WIDTH, _HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.4])
        times = audit.times.astype("datetime64[ms]")
        above.plot(times, audit.live, color=LONG_COLOUR, linewidth=2.5, alpha=0.6, label="live")
        above.plot(times, audit.backtest, color=SHORT_COLOUR, linewidth=1.0, label="backtest")
        for cause in dict.fromkeys(one.cause for one in audit.differences):
            bars = np.array([one.pair.bar for one in audit.differences if one.cause is cause])
            rows = np.clip(audit.times.searchsorted(bars, side="right") - 1, 0, None)
            above.scatter(
                bars.astype("datetime64[ms]"),
                audit.live[rows],
                s=18,
                zorder=3,
                color=_COLOURS.get(cause, _BEYOND),
                label=f"{cause.replace('_', ' ')} ({len(bars)})",
            )
        above.legend(fontsize=8)
        above.set_ylabel("equity")
        above.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        above.set_title(f"{', '.join(audit.session.symbols)}: live and backtest", loc="left", fontsize=10)
        below.plot(times, audit.drifts, color="black", linewidth=1.0)
        if audit.drift > 0.1 * max_drift:  # else the bound would flatten the curve
            for bound in (-max_drift, max_drift):
                below.axhline(bound, color="#c8102e", linewidth=0.8, linestyle="--")
        below.set_ylabel("live - backtest")
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        for axis in (above, below):
            axis.grid(alpha=0.3)
            axis.tick_params(labelsize=8)
        locator = AutoDateLocator()
        below.xaxis.set_major_locator(locator)
        below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        figure.savefig(path, dpi=DPI)
