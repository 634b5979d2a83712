"""The overview picture: what is drawn, for any run, and that it keeps matplotlib's settings as they were."""

import time

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.dates import num2date

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import iso_seconds
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.metrics.summary import grouped, wallet_curve
from gridv4_bt.metrics.trading import whole_trades
from gridv4_bt.report.overview import CROWD, HALTED, RIBBON, overview_figure, plot_overview
from gridv4_bt.report.palette import colour, palette

QUARTER = 900_000
START = 1_704_067_200_000  # 2024-01-01


def trade(number, side, label, bar, net=1.0, symbol="BTCUSDT"):
    return ClosedTrade(
        number, symbol, side, label, 0, START + bar * QUARTER, START + (bar + 2) * QUARTER, 1.0, 100.0, 101.0, net, 0, 0
    )


def record(bars, trades=(), symbol="BTCUSDT", open_fills=(), **columns):
    log = np.zeros((bars, len(LOG_COLUMNS)))
    values = {"time": START + QUARTER * np.arange(bars), "equity": 10_000.0 + np.sin(np.arange(bars) / 50.0)}
    for name, column in (values | columns).items():
        log[:, LOG_COLUMNS.index(name)] = column
    close = 100.0 + np.cos(np.arange(bars) / 70.0)
    return SymbolRecord(
        symbol, "", bars, log, close, np.empty((0, 20)), np.empty((0, 3)), list(trades), open_fills=list(open_fills)
    )


def summary_of(*records, liquidations=0):
    times, equity = wallet_curve(records)
    end = equity[-1] if len(equity) else 10_000.0
    trades = [trade for one in records for trade in one.trades]
    span = [iso_seconds(int(times[0])), iso_seconds(int(times[-1]))] if len(times) else [None, None]
    return {
        "symbols": [one.symbol for one in records], "from": span[0], "to": span[1], "start_equity": 10_000.0,
        "end_equity": end, "net_return": end / 10_000.0 - 1.0, "gross": 0.0, "fees": 0.0, "funding": 0.0,
        "liquidations": liquidations, "by_label": grouped(trades, whole_trades(trades), "label"),
    }  # fmt: skip


def figure_of(*records, **options):
    return overview_figure(records, summary_of(*records, **options))


def panel(figure, label):
    [axis] = [axis for axis in figure.axes if axis.get_ylabel().startswith(label)]
    return axis


def texts(figure):
    return "\n".join(text.get_text() for axis in figure.axes for text in axis.texts)


def test_the_price_shows_each_fill_from_entry_to_closing_by_whether_it_won():
    long, short = PositionSide.LONG, PositionSide.SHORT
    trades = [
        trade(1, long, TradeLabel.STOP1, 3, -1.0),
        trade(1, long, TradeLabel.STOP2, 3, -1.0),  # the other half of the same entry
        trade(2, short, TradeLabel.GRID, 4),
    ]
    still_open = ("LONG", Fill(5, 1.0, 99.0, START, 0, 0.01, 0.0, 0.0))
    figure = figure_of(record(20, trades, open_fills=[still_open]))
    axis = panel(figure, "BTCUSDT")
    lives = [to_hex(line.get_color()) for line in axis.lines[1:]]  # the first is the price
    assert (lives.count(colour("--bad")), lives.count(colour("--good"))) == (2, 2)
    assert [len(marks.get_offsets()) for marks in axis.collections] == [3, 1]  # entries LONG and SHORT
    assert "LONG fills  2\nSHORT fills  1\nclosings won  1\nclosings lost  2\nstill open  1" in texts(figure)


def test_many_fills_are_put_together_as_circles_that_count_them_all():
    trades = [trade(i, PositionSide.LONG, TradeLabel.GRID, i % 200) for i in range(2 * CROWD)]
    axis = panel(figure_of(record(210, trades)), "BTCUSDT")
    assert 10 < len(axis.collections) <= 61
    sizes = [marks.get_sizes()[0] for marks in axis.collections]
    assert sum(round(((size - 14.0) / 9.0) ** (1.0 / 0.75)) for size in sizes) == 2 * CROWD


def test_picture_and_page_have_one_palette():
    assert {label.kind.colour for label in TradeLabel} <= set(palette())
    figure = figure_of(record(20, [trade(1, PositionSide.LONG, TradeLabel.DEVIANCE, 3)]))
    [lane] = panel(figure, "closed by").collections
    assert to_hex(lane.get_colors()[0]) == colour("--prune")


def test_every_label_has_a_line_of_its_own_with_its_times_and_its_net_profit():
    trades = [
        trade(1, PositionSide.LONG, TradeLabel.GRID, 1, 5.0),
        trade(2, PositionSide.LONG, TradeLabel.GRID, 7, 3.0),
        trade(3, PositionSide.LONG, TradeLabel.DEVIANCE, 4, -200.0),
    ]
    figure = figure_of(record(20, trades))
    axis = panel(figure, "closed by")
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["deviance", "grid"]  # the worst at the bottom
    times = [[num2date(x).strftime("%H:%M") for x in lane.get_positions()] for lane in axis.collections]
    assert times == [["01:30"], ["00:45", "02:15"]]
    bars = next(other for other in figure.axes if other.get_title() == "net PnL")
    assert [bar.get_width() for bar in bars.patches] == [-200.0, 8.0]
    assert [text.get_text() for text in bars.texts] == ["−200", "+8.00"]


def test_charts_of_nothing_are_left_out():
    named = {axis.get_ylabel().split(",")[0] for axis in figure_of(record(20)).axes}
    assert {"equity", "regime"} <= named and not {"inventory", "drawdown"} & named


def colours(figure, label, points):
    """The colours of a panel at points given as fractions of its data's span and of its height."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    axis = panel(figure, label)
    found = []
    for x, y in points:
        span = axis.dataLim
        column, row = axis.transData.transform((span.xmin + x * span.width, y))
        found.append(to_hex(pixels[len(pixels) - 1 - round(row), round(column)] / 255.0))
    return found


def test_the_ribbon_shows_the_regime_of_every_bar_and_a_halt_before_it():
    regime = [Regime.NOISE, Regime.UPTREND, Regime.BREAKOUT_DOWN, Regime.NOISE]
    figure = figure_of(record(4, regime=regime, halted=[0, 0, 0, 1]))
    shown = [Regime.NOISE, Regime.UPTREND, Regime.BREAKOUT_DOWN, HALTED]
    middles = [(number / 4 + 0.125, 0.5) for number in range(4)]
    assert colours(figure, "regime", middles) == [RIBBON[code][1] for code in shown]


def test_where_many_bars_share_a_pixel_the_ribbon_shows_their_shares():
    regime = np.tile([Regime.UPTREND, Regime.NOISE, Regime.NOISE, Regime.NOISE], 2_500)
    figure = figure_of(record(10_000, regime=regime))
    uptrend, noise = RIBBON[Regime.UPTREND][1], RIBBON[Regime.NOISE][1]
    assert colours(figure, "regime", [(0.5, 0.1), (0.5, 0.5), (0.5, 0.9)]) == [uptrend, noise, noise]


def test_inventory_is_a_share_of_the_equity_and_margin_a_ratio():
    figure = figure_of(record(10, long_qty=10.0, short_qty=0.0, equity=5_000.0, margin_ratio=0.25))
    assert "LONG up to 20.2 %" in texts(figure)  # 10 at 101 of 5,000
    assert "highest  25 %" in texts(figure)
    assert panel(figure, "inventory").dataLim.ymax == pytest.approx(20.2)
    assert panel(figure, "margin").dataLim.ymax == pytest.approx(25.0)


def test_a_margin_that_never_mattered_has_no_panel():
    labels = [axis.get_ylabel() for axis in figure_of(record(10, margin_ratio=0.002, liquidation_down=0.9)).axes]
    assert not any(label.startswith("margin") for label in labels)


def test_a_long_run_is_drawn_by_its_extremes():
    equity = np.full(50_000, 10_000.0)
    equity[31_234], equity[40_001] = 12_000.0, 9_000.0  # one bar each
    figure = figure_of(record(50_000, equity=equity))
    limits = panel(figure, "equity").dataLim
    assert (limits.ymin, limits.ymax) == (9_000.0, 12_000.0)
    assert panel(figure, "drawdown").dataLim.ymin == pytest.approx(-25.0)
    assert "deepest  25.00 %" in texts(figure)


def test_every_symbol_has_its_own_price_regime_and_inventory_but_the_wallet_is_one():
    btc = record(50, [trade(1, PositionSide.LONG, TradeLabel.GRID, 1)])
    eth = record(30, [trade(2, PositionSide.SHORT, TradeLabel.GRID, 1, symbol="ETHUSDT")], "ETHUSDT")
    figure = figure_of(btc, eth)
    assert "LONG fills  1" in texts(figure) and "SHORT fills  1" in texts(figure)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels.count("regime") == 2
    assert labels.count("equity") == 1
    assert len(panel(figure, "closed by").collections[0].get_positions()) == 2


def test_a_liquidation_stands_in_the_title():
    figure = figure_of(record(10, [trade(1, PositionSide.LONG, TradeLabel.LIQUIDATION, 1)]), liquidations=1)
    assert figure.get_suptitle().endswith("LIQUIDATED 1x")


RUNS = {
    "no bar traded": record(0),
    "one bar": record(1),
    "no trade": record(500),
    "no prices kept": record(10, [trade(1, PositionSide.LONG, TradeLabel.GRID, 1)]),
    "equity gone": record(10, equity=0.0, margin_ratio=np.inf, long_qty=1.0),
    "not a grid": record(10, regime=np.nan, halted=np.nan, margin_ratio=np.nan, long_qty=np.nan, short_qty=np.nan),
}
RUNS["no prices kept"].close = np.empty(0)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_any_run_gives_a_picture_as_wide_as_a_mail(run, tmp_path):
    path = tmp_path / "overview.png"
    plot_overview([run], summary_of(run), path)
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20], "big") == 1200


def test_a_run_without_trades_says_so():
    assert "no trade closed" in texts(figure_of(record(50)))


def test_the_same_run_gives_the_same_bytes_whatever_the_user_has_set(tmp_path):
    run = record(300, [trade(1, PositionSide.LONG, TradeLabel.GRID, 1)])
    plot_overview([run], summary_of(run), tmp_path / "a.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "lines.linewidth": 9.0}):
        plot_overview([run], summary_of(run), tmp_path / "b.png")
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_figure_is_left_to_pyplot_and_the_backend_stays(tmp_path, monkeypatch):
    # Reading it in the usual way would make matplotlib choose one.
    before = dict.__getitem__(matplotlib.rcParams, "backend")
    monkeypatch.setattr(matplotlib, "use", None)
    plot_overview([record(5)], summary_of(record(5)), tmp_path / "overview.png")
    assert dict.__getitem__(matplotlib.rcParams, "backend") is before
    assert pyplot.get_fignums() == []


def test_four_years_take_less_than_four_seconds(tmp_path):
    labels = list(TradeLabel)
    trades = [trade(i, PositionSide.LONG, labels[i % 8], 60 * i) for i in range(2_500)]
    run = record(162_000, trades, regime=np.arange(162_000) % 5 - 2)
    summary = summary_of(run)
    began = time.process_time()
    plot_overview([run], summary, tmp_path / "overview.png")
    assert time.process_time() - began < 4.0
