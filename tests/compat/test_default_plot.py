"""`cerebro.plot()` without arguments, as users of Backtrader call it, and the marks of LONG and SHORT."""

import subprocess
import sys
from pathlib import Path

import backtrader as bt
import pytest
from scripted import FREE, Scripted, candle_feed, flat, new_cerebro

from gridv4_bt.compat import default_plot, plotting
from gridv4_bt.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def both(strategy):
    strategy.buy(size=1.0, positionSide="LONG")
    strategy.sell(size=1.0, positionSide="SHORT", exectype=bt.Order.Limit, price=101.0)


def close_both(strategy):
    strategy.close(positionSide="LONG")
    strategy.close(positionSide="SHORT", exectype=bt.Order.Limit, price=99.0)


@pytest.fixture(scope="module")
def cerebro():
    """Both legs open in bar 2, at 100 and 101, and close in bar 5, at 100 and 99."""
    done = new_cerebro([candle_feed(flat(8))], FREE, stdstats=True)
    done.addstrategy(Scripted, script={1: both, 4: close_both})
    done.run()
    return done


def marks(figure):
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()), line.get_marker(), line.get_color())
        for axis in figure.axes
        for line in axis.lines
        if line.get_label().startswith(("LONG", "SHORT"))
    }


def test_each_leg_is_marked_where_it_opens_and_where_it_closes(cerebro):
    [[figure]] = cerebro.plot()
    assert marks(figure) == {
        "LONG opens": ([1], [100.0], "^", "green"),
        "SHORT opens": ([1], [101.0], "v", "purple"),
        "LONG closes": ([4], [100.0], "v", "green"),
        "SHORT closes": ([4], [99.0], "^", "purple"),
    }
    legends = [text.get_text() for axis in figure.axes if axis.get_legend() for text in axis.get_legend().get_texts()]
    assert {"LONG opens", "SHORT closes", "Broker (None)"} <= {text.split("\n")[0] for text in legends}


def test_marks_outside_of_the_picture_are_not_drawn(cerebro):
    [[figure]] = cerebro.plot(start=3, end=8)
    assert sorted(marks(figure)) == ["LONG closes", "SHORT closes"]
    assert marks(figure)["LONG closes"][0] == [1]  # of five bars


def test_stop_without_executions_has_no_marks():
    done = new_cerebro([candle_feed(flat(4))])
    done.addstrategy(Scripted, script={})
    done.run()
    [[figure]] = done.plot()
    assert marks(figure) == {}


def test_options_of_backtrader_go_on_to_the_plotter(cerebro):
    [[figure]] = cerebro.plot(style="candlestick", volume=False, width=8, height=4)
    assert tuple(figure.get_size_inches()) == (8.0, 4.0)
    with pytest.raises(ConfigError, match="stile: no option"):
        cerebro.plot(stile="bar")


def test_plotter_of_ones_own_is_taken_as_before(cerebro):
    class Recording:
        def plot(self, strategy, **options):
            return "drawn", options["numfigs"]

        def show(self):
            pass

    assert cerebro.plot(plotter=Recording(), numfigs=2) == [("drawn", 2)]


def test_backtraders_own_plot_is_taken_where_it_works(cerebro, monkeypatch):
    class Own:
        def __init__(self, **options):
            self.options = options

        def plot(self, strategy, **others):
            return self.options

        def show(self):
            pass

    monkeypatch.setattr("matplotlib.dates.get_epoch", lambda: "0000-12-31T00:00:00")
    assert default_plot.stock_plot_works()
    monkeypatch.setattr(plotting._plot, "Plot", Own)
    assert cerebro.plot(style="bar") == [{"style": "bar"}]


@pytest.mark.parametrize(("first", "backend"), [("brokers.hedge", ""), ("feeds.candles", "TkAgg")])
def test_script_of_a_user_draws_without_a_screen(first, backend, tmp_path):
    code = f"""
import {first}
import backtrader as bt
cerebro = bt.Cerebro()
cerebro.adddata(bt.feeds.GenericCSVData(dataname="d.csv", dtformat="%Y-%m-%d", openinterest=-1))
cerebro.run()
[[figure]] = cerebro.plot()
figure.canvas.draw()
labels = [label.get_text() for axis in figure.axes for label in axis.get_xticklabels()]
assert any(label.startswith("2024-01-0") for label in labels), labels
"""
    rows = "".join(f"2024-01-0{day},1,2,0.5,1.5,10\n" for day in range(1, 9))
    (tmp_path / "d.csv").write_text("date,open,high,low,close,volume\n" + rows)
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""} | ({"MPLBACKEND": backend} if backend else {})
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
