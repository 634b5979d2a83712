"""Pictures for the phone: the equity, and the price with the ladder. matplotlib is loaded for the first one."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from gridv4_bt.desk import bot_overview, held, ladder_view
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.telegram.address import Address
from gridv4_bt.desk.telegram.readings import balance, status
from gridv4_bt.desk.telegram.replies import Reply
from gridv4_bt.report.palette import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE, _DPI = (6.4, 4.4), 150
_POINTS = 800
_CANDLES = 192  # two days
_COLOURS = {"LONG": "--long", "SHORT": "--short"}


def equity(address: Address, bot: BotFiles) -> Reply:
    """Return the equity and the drawdown over the bot's life."""
    curve = bot_overview.equity_curve(bot, _POINTS)
    if not curve["bars"]:
        return Reply(f"{address.bot}: equity", ["nothing is decided yet"])
    figure = _figure()
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    times = np.array(curve["time"], "datetime64[ms]")
    top.plot(times, curve["equity"], color=colour("--long"), linewidth=1.2)
    top.set_title(f"{address.bot}: equity", fontsize=10, loc="left")
    bottom.fill_between(times, -100.0 * np.array(curve["drawdown"]), color=colour("--short"), linewidth=0)
    bottom.set_ylabel("drawdown, %", fontsize=8)
    _dates(bottom)
    return Reply(f"{address.bot}: equity", balance(address, bot).lines, picture=_png(figure))


def ladder(address: Address, bot: BotFiles) -> Reply:
    """Return the latest price with the levels of a symbol, average entries and stops."""
    symbol = address.symbol or next(iter(bot.symbols()), "")
    candles = bot.candles(symbol, _CANDLES)
    if not candles:
        return Reply(f"{address.bot}: ladder", ["there are no candles yet"])
    figure = _figure()
    axis = figure.subplots()
    times = np.array([str(row[0]).removesuffix("Z") for row in candles], "datetime64[ms]")
    axis.fill_between(times, [row[3] for row in candles], [row[2] for row in candles], color="0.8", linewidth=0)
    axis.plot(times, [row[4] for row in candles], color="0.3", linewidth=1.0)
    for level in ladder_view.ladder(bot, symbol):
        price = level["open_price"] or level["price"]
        if price:
            style = "-" if level["open"] else "--" if level["planned"] else ":"
            strength = 1.0 if level["open"] or level["planned"] else 0.35
            shade = colour(_COLOURS[level["side"]])
            axis.axhline(price, xmin=0.85, color=shade, linestyle=style, linewidth=1.2, alpha=strength)
    for row in held.leg_rows(bot):
        if row["symbol"] == symbol and row["side"] != "NET":
            _lines_of_leg(axis, row)
    axis.set_title(f"{address.bot}: {symbol}", fontsize=10, loc="left")
    axis.margins(x=0.0)
    _dates(axis)
    words = "At the right the levels: a line rests, a dashed one is planned, a dotted one is held back (/orders)."
    return Reply(f"{address.bot}: ladder of {symbol}", [words, *status(address, bot).lines], picture=_png(figure))


#: The pictures of one bot, by command.
PICTURES = {"equity": equity, "ladder": ladder}


def _lines_of_leg(axis: "Axes", row: dict[str, Any]) -> None:
    """Draw where a leg was entered and where its stop is, with the prices at the left."""
    for name, price, style in (("entry", row["average"], "-"), ("stop", row["stop"], "-.")):
        if price and row["qty"]:
            shade = colour(_COLOURS[row["side"]])
            axis.axhline(price, color=shade, linestyle=style, linewidth=0.8, alpha=0.7)
            words = f"{row['side']} {name} {price:,.6g}"
            axis.annotate(
                words, (0.01, price), xycoords=("axes fraction", "data"), fontsize=7, color=shade, va="bottom"
            )


def _figure() -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _dates(axis: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator: Any = AutoDateLocator()  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _png(figure: "Figure") -> bytes:
    from matplotlib.ticker import StrMethodFormatter

    for axis in figure.axes:
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    data = io.BytesIO()
    figure.savefig(data, dpi=_DPI, format="png")
    return data.getvalue()
