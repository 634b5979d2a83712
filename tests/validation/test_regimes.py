import json
import sys
from datetime import date

import numpy as np
import pytest
import typer
from busy import BUSY_FILE, busy

pytest.importorskip("sklearn")

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli.common import run_app
from gridv4_bt.cli.regimes import show_regimes
from gridv4_bt.config import load_config
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import iso
from gridv4_bt.errors import DataError
from gridv4_bt.validation.regimes import agreement, confusion, filter_regimes, plot_regimes, state_figures, stays

NOISE, UP, DOWN, BREAK_UP, BREAK_DOWN = 0, 1, -1, 2, -2
#: A mixture that is fitted after 6 days.
SETTINGS = ["gmm_window=480"]


@pytest.fixture(scope="session")
def candles(tmp_path_factory):
    path = tmp_path_factory.mktemp("regimes") / "BTCUSDT-15m.csv"
    sample_market(days=12, start="2024-03-01").candles.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def record(candles):
    [feed] = make_feeds([SymbolData("BTCUSDT", candles)])
    return filter_regimes(feed, load_config(BUSY_FILE, SETTINGS))


# --- figures by hand


def test_stays_by_hand():
    assert stays(np.array([UP, UP, NOISE, DOWN, DOWN, DOWN])) == [(UP, 2), (NOISE, 1), (DOWN, 3)]
    assert stays(np.array([], dtype=int)) == []


def test_state_figures_by_hand():
    # Days of 2 bars. The price doubles at each of the first 4 bars and then rests.
    codes = np.array([UP, UP, NOISE, NOISE, NOISE, UP])
    close = np.array([1.0, 2.0, 4.0, 8.0, 8.0, 8.0])
    figures = state_figures(codes, close, day=2)
    up, noise, ln2 = figures[Regime.UPTREND], figures[Regime.NOISE], np.log(2.0)
    assert (up.bars, up.share, up.stays, up.mean_stay, up.median_stay) == (3, 0.5, 2, 1.5, 1.5)
    assert (noise.bars, noise.stays, noise.mean_stay) == (3, 1, 3.0)
    # After bars 0 and 1: ln 4 each; after 2: ln 2; after 3: 0. Bars 4 and 5 have no whole day after them.
    assert up.next_move == pytest.approx(2 * ln2)
    assert noise.next_move == pytest.approx((ln2 + 0.0) / 2)
    # Returns ln2, ln2: no deviation; ln2, 0: ln2/2 a bar, times the root of 2 bars; 0, 0: none.
    assert up.next_volatility == pytest.approx(0.0, abs=1e-7)
    assert noise.next_volatility == pytest.approx(ln2 / 2 * np.sqrt(2) / 2)
    assert sum(one.share for one in figures.values()) == 1.0


def test_a_state_that_never_came_has_no_means():
    one = state_figures(np.zeros(5, dtype=int), np.ones(5), day=2)[Regime.BREAKOUT_UP]
    assert (one.bars, one.share, one.stays) == (0, 0.0, 0)
    assert np.isnan([one.mean_stay, one.median_stay, one.next_move, one.next_volatility]).all()


@pytest.mark.parametrize("bars", [1, 2])
def test_less_than_a_day_has_no_next_day(bars):
    one = state_figures(np.zeros(bars, dtype=int), np.ones(bars), day=2)[Regime.NOISE]
    assert one.bars == bars and np.isnan([one.next_move, one.next_volatility]).all()


def test_confusion_and_agreement_by_hand():
    # 4 bars: NOISE/NOISE twice, UP/UP once, UP/DOWN once. Same 3/4; by chance 2/4*2/4 + 2/4*1/4 = 3/8.
    counts = confusion(np.array([NOISE, NOISE, UP, UP]), np.array([NOISE, NOISE, UP, DOWN]))
    assert counts[:3, :3].tolist() == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert counts.sum() == 4
    assert agreement(counts) == (0.75, pytest.approx((3 / 4 - 3 / 8) / (5 / 8)))


def test_two_filters_that_never_move_agree_without_kappa():
    same, kappa = agreement(confusion(np.zeros(3, dtype=int), np.zeros(3, dtype=int)))
    assert same == 1.0 and np.isnan(kappa)


# --- on candles


def test_the_record_begins_with_the_first_fit(record):
    # 96 bars for sigma, 480 for the window: the first midnight after is bar 576.
    assert (record.bars, len(record.gmm), record.day) == (12 * 96, 12 * 96 - 576, 96)
    assert record.time[0] == np.datetime64("2024-03-07", "ms").astype(np.int64)
    assert np.isfinite(record.probabilities).all() and record.probabilities.shape == (len(record.gmm), 5)
    assert set(record.gmm) | set(record.kama) <= set(Regime)
    assert record.warnings == {"gmm_too_few_bars": 5}  # the midnights of bars 96 to 480


def test_a_span_is_filtered_from_its_first_bar(candles, record):
    [feed] = make_feeds([SymbolData("BTCUSDT", candles)], start=date(2024, 3, 9), end=date(2024, 3, 11))
    span = filter_regimes(feed, load_config(BUSY_FILE, SETTINGS))
    assert (span.bars, len(span.gmm), iso(span.time[0])) == (288, 288, "2024-03-09T00:00:00Z")
    first = record.time.tolist().index(span.time[0])
    for name in ("kama", "gmm", "close"):  # the same as of the whole file, which begins at the same bar
        np.testing.assert_array_equal(getattr(span, name), getattr(record, name)[first : first + 288])
    assert span.warnings == {}  # those of the bars before are not counted


def test_too_few_bars_for_a_fit_are_refused(candles):
    [feed] = make_feeds([SymbolData("BTCUSDT", candles)])
    with pytest.raises(DataError, match=r"no mixture could be fitted to 1,152 bars .*3,072"):
        filter_regimes(feed, busy())


def test_the_picture_is_the_same_twice(record, tmp_path):
    for name in ("a.png", "b.png"):
        plot_regimes([record, record], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


# --- the command


@pytest.fixture
def regimes(monkeypatch, capsys):
    """regimes(*arguments) -> exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command()(show_regimes)
        monkeypatch.setattr(sys, "argv", ["regimes", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as end:
            run_app(app)
        written = capsys.readouterr()
        return end.value.code, written.out, written.err

    return call


def test_the_command_prints_the_figures_as_json(regimes, candles):
    code, out, err = regimes("--data", candles, "--set", *SETTINGS, "--json")
    [found] = json.loads(out)
    assert (code, err, found["symbol"], found["states"]) == (0, "", "BTCUSDT", list(found["kama"]))
    assert set(found) == {
        "symbol", "bars", "bars_of_mixture", "kama", "gmm", "states", "kama_by_gmm", "agreement", "cohens_kappa",
        "warnings",
    }  # fmt: skip
    counts = found["kama_by_gmm"]
    assert sum(map(sum, counts)) == found["bars_of_mixture"]
    assert [sum(row) for row in counts] == [found["kama"][state]["bars"] for state in found["states"]]
    assert found["agreement"] == sum(counts[one][one] for one in range(5)) / found["bars_of_mixture"]


def test_the_command_prints_both_filters_and_writes_a_picture(regimes, candles, tmp_path):
    picture = tmp_path / "regimes.png"
    code, out, err = regimes("--data", candles, "--set", *SETTINGS, "--out", picture)
    assert (code, err) == (0, "")
    for text in ("BTCUSDT by kama", "BTCUSDT by gmm", "BREAKOUT_DOWN", "mean next-day move", "Cohen's kappa"):
        assert text in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_quiet_prints_nothing(regimes, candles):
    assert regimes("--data", candles, "--set", *SETTINGS, "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "picture.pdf"], "name a file that ends in .png"),
        (["--out", "nowhere/picture.png"], "there is no folder nowhere"),
        (["--set", "gmm_components=1"], "0 lets the BIC choose"),
        (["--gaps", "fill"], "refuse or flat"),
        ([], "no mixture could be fitted"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(regimes, candles, arguments, message):
    code, _, err = regimes("--data", candles, *arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
