"""`cerebro.plot(plotter=Plotter())` without a screen, and as if there were one."""

import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest
from busy import BUSY
from matplotlib import pyplot

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import sample_market
from gridv4_bt.errors import ConfigError
from gridv4_bt.report import cerebro_plot
from gridv4_bt.report.cerebro_plot import Plotter
from strategies.grid_v4 import GridStrategyV4

ROOT = Path(__file__).resolve().parents[2]


def ran(symbols=("BTCUSDT",), days=8, **cerebro_options):
    """A finished Cerebro as a user's script makes it."""
    cerebro = bt.Cerebro(**cerebro_options)
    for symbol in symbols:
        candles = sample_market(days=days, start="2024-03-01").candles
        cerebro.adddata(CandleFeed(dataname=candles, name=symbol))
        cerebro.addstrategy(GridStrategyV4, symbol=symbol, **BUSY)
    cerebro.setbroker(HedgeBroker(cash=100_000.0))
    cerebro.run()
    return cerebro


@pytest.fixture(scope="module")
def cerebro():
    return ran()


@pytest.fixture(scope="module")
def figure(cerebro):
    """What the shortest call gives."""
    [[figure]] = cerebro.plot(plotter=Plotter())
    return figure


@pytest.fixture
def screen(monkeypatch):
    """Pretend that there is one, and count how often it was shown to."""
    shown = []
    monkeypatch.setattr(cerebro_plot, "_has_screen", lambda: True)
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    yield shown
    pyplot.close("all")


def tick_labels(figure):
    """The labels of the time axis that are drawn, by panel from top to bottom."""
    figure.draw_without_rendering()
    panels = [[tick.label1 for tick in axis.xaxis.get_major_ticks()] for axis in figure.axes]
    return [[label.get_text() for label in labels if label.get_visible() and label.get_text()] for labels in panels]


def legend(figure):
    boxes = [axis.get_legend() for axis in figure.axes]
    return "\n".join(text.get_text() for box in boxes if box for text in box.get_texts())


def lines(figure, label):
    return next(line for axis in figure.axes for line in axis.lines if line.get_label().startswith(label))


def test_without_a_screen_the_figures_are_returned_and_nothing_is_left_to_pyplot(figure):
    assert "BTCUSDT (15 Minutes)" in legend(figure)
    assert pyplot.get_fignums() == []


def test_the_lowest_axis_shows_the_dates_of_the_bars(figure):
    *above, lowest = tick_labels(figure)
    assert not any(above)
    assert lowest == [f"2024-03-0{day} 00:00" for day in range(1, 9)]
    ticks = figure.axes[-1].get_xticks()
    assert list(ticks) == [96.0 * number for number in range(8)]


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        (date(2024, 3, 4), date(2024, 3, 7), ["03-04 00", "03-04 12", "03-05 00", "03-05 12", "03-06 00", "03-06 12"]),
        (datetime(2024, 3, 4, 10), datetime(2024, 3, 4, 13), ["03-04 10", "03-04 11", "03-04 12"]),
    ],
)
def test_a_shorter_span_has_finer_ticks(cerebro, start, end, labels):
    [[figure]] = cerebro.plot(plotter=Plotter(fmt_x_ticks="%m-%d %H"), start=start, end=end)
    shown = tick_labels(figure)[-1]
    assert set(labels) <= set(shown)


def test_dates_as_matplotlib_writes_them_where_no_format_is_asked_for(cerebro):
    [[figure]] = cerebro.plot(plotter=Plotter(fmt_x_ticks=None))
    assert tick_labels(figure)[-1][0] == "2024-03-01"


def test_the_cursor_reads_the_bars_date(figure):
    assert figure.axes[-1].format_xdata(5) == "2024-03-01 01:15"


def test_executions_at_the_hedge_broker_have_marks(cerebro, figure):
    [strategy] = cerebro.runstrats[0]
    trades = strategy.broker.account.closed
    assert len(trades) > 3
    for name in ("buy", "sell"):
        marked = np.isfinite(lines(figure, f"BuySell (True, 0.015)\n{name}" if name == "buy" else name).get_ydata())
        sides = {"buy": (1, -1), "sell": (-1, 1)}[name]
        times = {each.open_time for each in trades if each.side == sides[0]}
        times |= {each.close_time for each in trades if each.side == sides[1]}
        assert marked.sum() >= len(times)


def test_every_indicator_of_the_strategy_has_its_place(figure):
    for name in ("KAMA", "WilderATR", "WilderADX", "RegimeFSM", "ZScore", "RollingVolatility", "Broker", "Trades"):
        assert name in legend(figure)
    price = lines(figure, "KAMA").axes
    assert any(line.get_label().startswith("BTCUSDT") for line in price.lines)  # KAMA lies upon the price


def test_without_observers_there_is_still_a_picture():
    [[figure]] = ran(stdstats=False).plot(plotter=Plotter())
    assert "KAMA" in legend(figure)
    assert "BuySell" not in legend(figure)


def test_two_plots_on_a_screen_have_figures_of_their_own(cerebro, screen):
    [[first]], [[second]] = cerebro.plot(plotter=Plotter()), cerebro.plot(plotter=Plotter())
    assert first is not second
    assert first.number != second.number
    assert len(first.axes) == len(second.axes)  # the second was not drawn into the first
    assert screen == [[first.number], [first.number, second.number]]


def test_two_plots_without_a_screen_have_figures_of_their_own(cerebro):
    [[first]], [[second]] = cerebro.plot(plotter=Plotter()), cerebro.plot(plotter=Plotter())
    assert first is not second
    assert first.get_label() != second.get_label()


def test_every_strategy_has_its_figure():
    [[btc], [eth]] = ran(("BTCUSDT", "ETHUSDT")).plot(plotter=Plotter())
    assert btc is not eth
    assert all("BTCUSDT (15 Minutes)" in legend(each) and "ETHUSDT (15 Minutes)" in legend(each) for each in (btc, eth))


def test_a_path_saves_instead_of_showing(cerebro, screen, tmp_path):
    [[figure]] = cerebro.plot(plotter=Plotter(tmp_path / "run.png", size=(8.0, 4.5), dpi=50.0))
    header = (tmp_path / "run.png").read_bytes()[:24]
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (400, 225)
    assert screen == []
    assert pyplot.get_fignums() == []


def test_more_figures_get_a_number_each(cerebro, tmp_path):
    [figures] = cerebro.plot(plotter=Plotter(tmp_path / "run.png", size=(8.0, 4.5), dpi=50.0), numfigs=2)
    assert len(figures) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-2.png", "run.png"]
    assert [tick_labels(figure)[-1][0][:10] for figure in figures] == ["2024-03-01", "2024-03-05"]


def test_options_are_those_of_backtrader_and_stay_with_their_plotter(cerebro):
    end = date(2024, 3, 2)
    [[figure]] = cerebro.plot(plotter=Plotter(style="candle", volume=False), end=end)
    assert " O:" in legend(figure)
    assert "Volume" not in legend(figure)
    [[figure]] = cerebro.plot(plotter=Plotter(), end=end)
    assert " O:" not in legend(figure)
    assert "Volume" in legend(figure)


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="stile: no option"):
        Plotter(stile="candle")


def test_a_backend_for_windows_is_kept_and_yet_there_are_figures_without_a_screen(tmp_path):
    code = """
import matplotlib
matplotlib.use("QtAgg")
import backtrader as bt
from gridv4_bt.report.cerebro_plot import Plotter
data = bt.feeds.GenericCSVData(dataname="d.csv", dtformat="%Y-%m-%d", openinterest=-1)
cerebro = bt.Cerebro()
cerebro.adddata(data)
cerebro.run()
[[figure]] = cerebro.plot(plotter=Plotter())
figure.canvas.draw()
assert matplotlib.get_backend().lower() == "qtagg"
"""
    rows = "".join(f"2024-01-0{day},1,2,0.5,1.5,10\n" for day in range(1, 9))
    (tmp_path / "d.csv").write_text("date,open,high,low,close,volume\n" + rows)
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}  # and so no DISPLAY
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
