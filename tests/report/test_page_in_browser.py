"""The report's page as a reader meets it, in a browser; skipped where there is none."""

import random
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import recording
from report_runs import CONFIG, empty_record, long_record, small_run, summary_of

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.ladder import PLACE, REPLACE, TRACE_ACTIONS
from gridv4_bt.metrics.benchmark import hold_curve
from gridv4_bt.metrics.cycles import leg_cycles
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.performance import drawdowns
from gridv4_bt.metrics.trading import whole_trades
from gridv4_bt.own_strategy import StrategyValues
from gridv4_bt.report.page import write_report
from gridv4_bt.report.page_data import entry_price

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser")

LAPTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
#: Pixels of the chart that are not the ground's.
INKED = """() => { const canvas = page.chart.api.takeScreenshot(true); let sum = 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] && data[i] + data[i + 1] + data[i + 2] < 700) sum++;
    return sum; }"""


class Reader:
    """A browser's tab that notes every complaint."""

    def __init__(self, tab) -> None:
        self.tab = tab
        self.complaints: list[str] = []
        self.requests: list[str] = []
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> None:
        self.tab.goto(path.as_uri())
        self.tab.wait_for_function("window.page || !document.getElementById('problem').hidden")
        self.settle()

    def settle(self) -> None:
        """Wait until the chart is drawn."""
        frame = "requestAnimationFrame(() => "
        frames = f"new Promise((done) => {3 * frame}done(){3 * ')'})"
        self.tab.evaluate(frames)
        if self.tab.evaluate("Boolean(window.page)"):
            self.tab.wait_for_function("!page.chart.loading && !page.chart.settling")
            self.tab.evaluate(frames)

    def ask(self, script: str, argument=None):
        return self.tab.evaluate(script, argument)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    result = small_run("BTCUSDT")
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, result.records, result.summary, CONFIG)
    return path


@pytest.fixture(scope="module")
def opened(browser, path) -> Iterator[Reader]:
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(path)
    yield reader
    reader.tab.close()


@pytest.fixture
def reader(opened) -> Reader:
    """The page as it was when it opened."""
    opened.ask("scrollTo(0, 0); page.board.row = -1; page.board.hidden.clear(); page.chart.fixed = 0; page.switches()")
    opened.ask("page.view.all()")
    opened.tab.mouse.move(2, 2)
    opened.settle()
    return opened


def test_the_page_opens_from_a_file_without_a_complaint_or_a_request(reader, path):
    assert reader.complaints == []
    assert [url for url in reader.requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert reader.tab.get_attribute("[data-span='all']", "aria-pressed") == "true"
    assert reader.ask("page.chart.api.panes().length") == 4
    assert reader.ask(INKED) > 5_000


def test_the_page_decodes_what_the_record_held(reader):
    record = small_run("BTCUSDT").records[0]
    units = {"time": 0, "equity": 0.005, "unrealized": 0.01, "z": 0.0005, "long_qty": 0, "anchor": 0.05, "regime": 0}
    for name, least in units.items():
        values = np.array(reader.ask("(name) => Array.from(page.board.symbol.column(name))", name))
        np.testing.assert_allclose(values, record.column(name), rtol=0, atol=least + 1e-9)
    for name in ("open", "high", "low", "close"):
        values = np.array(reader.ask("(name) => Array.from(page.board.symbol.column(name))", name))
        np.testing.assert_array_equal(values, getattr(record, name))
    far = reader.ask("Array.from(page.board.symbol.column('liquidation_up'), (value) => Number.isFinite(value))")
    assert far == np.isfinite(record.column("liquidation_up")).tolist()


def test_the_page_rounds_and_nudges_prices_like_the_strategy(reader):
    rng = random.Random(5)
    cases = []
    for _ in range(5_000):
        tick = rng.choice((0.1, 0.01, 0.001, 1e-5, 0.05, 0.5))
        centre = 10.0 ** rng.uniform(2.0, 5.0) * tick / 0.1
        case = (rng.choice((1, -1)), rng.randint(1, 20), centre, rng.uniform(0.002, 0.05), tick)
        cases.append(case)
    script = """(cases) => cases.map(([side, level, centre, spacing, tick]) =>
        orderPrice(side, levelPrice(centre, spacing, -side * level), tick, 0.0015))"""
    assert reader.ask(script, cases) == [entry_price(*case) for case in cases]


def test_the_page_knows_every_resting_order(reader):
    record = small_run("BTCUSDT").records[0]
    levels = record.ladder.shape[1] // 2
    resting = [None] * (2 * levels)
    centres, spacings = record.column("centre").tolist(), record.column("spacing_pct").tolist()
    expected = []
    for row, codes in enumerate(record.ladder[:].tolist()):
        for place, byte in enumerate(codes):
            if byte // TRACE_ACTIONS:
                resting[place] = None
            elif byte % TRACE_ACTIONS in (PLACE, REPLACE):
                side = 1 if place < levels else -1
                resting[place] = entry_price(side, place % levels + 1, centres[row], spacings[row], 0.1)
        expected.append(list(resting))
    script = """() => { const { ladder, symbol } = page.board; const rows = [];
        for (let row = 0; row < symbol.rows; row++) rows.push(Array.from({ length: ladder.places },
            (_, place) => { const price = ladder.resting(row, place); return price === price ? price : null; }));
        return rows; }"""
    assert reader.ask(script) == expected
    for place in range(2 * levels):
        found = reader.ask("(place) => page.board.ladder.pieces(place, 300, 600)", place)
        drawn = [None] * 300
        for first, end, price in found:
            drawn[first - 300 : end - 300] = [price] * (end - first)
        assert drawn == [row[place] for row in expected[300:600]]


def test_kama_atr_and_stops_are_those_of_the_strategy(reader):
    record = small_run("BTCUSDT").records[0]
    for name in ("kama", "atr"):
        values = np.array(reader.ask("(name) => Array.from(page.board.signals[name])", name))
        np.testing.assert_allclose(values, getattr(record, name), rtol=1e-9)
    [row] = np.flatnonzero(record.column("long_qty") > 0.0)[:1]
    average = reader.ask("(row) => page.board.held[1].average[row]", int(row))
    stop = reader.ask("(row) => page.board.stopPrice(1, 1, row)", int(row))
    assert stop == pytest.approx(average - CONFIG.stop1_atr * record.atr[row])


def test_holding_and_exposure_are_those_of_the_summary(reader):
    result = small_run("BTCUSDT")
    [record] = result.records
    run = recording(record, start=result.summary["start_equity"], taker_fee=CONFIG.taker_fee)
    for exposure in (1.0, result.summary["benchmark"]["hold_same_exposure"]["exposure"]):
        curve = np.array(reader.ask("(share) => Array.from(page.board.hold(share))", exposure))
        np.testing.assert_allclose(curve, hold_curve(run, exposure), rtol=1e-9)
    long = reader.ask("page.board.exposure.long.reduce((most, value) => Math.max(most, value), 0)")
    assert long == pytest.approx(result.summary["exposure"]["long"]["max"], rel=1e-3)


def test_the_time_in_view_decides_the_length_of_candles_and_the_reader_may_choose(reader):
    assert reader.ask("page.chart.length") == 4 * 900_000  # three weeks
    reader.tab.click("[data-span='1']")
    reader.settle()
    assert reader.ask("page.chart.length") == 900_000
    assert reader.ask("page.view.width") == 86_400_000
    assert reader.tab.get_attribute("[data-span='1']", "aria-pressed") == "true"
    shown = reader.ask("page.chart.scale.getVisibleLogicalRange()")
    assert shown["to"] - shown["from"] + 1 == pytest.approx(96)
    reader.tab.select_option("#resolution", label="1 h")
    reader.settle()
    assert reader.ask("page.chart.length") == 4 * 900_000
    reader.tab.select_option("#resolution", "0")
    assert reader.complaints == []


def test_all_panes_have_one_time_axis_and_a_drag_moves_it(reader):
    reader.tab.click("[data-span='7']")
    reader.tab.click("[data-move='-0.5']")
    reader.settle()
    before = reader.ask("[page.view.from, page.view.to]")
    box = reader.tab.locator("#chart").bounding_box()
    reader.tab.mouse.move(box["x"] + 300, box["y"] + 520)  # in the pane of the equity
    reader.tab.mouse.down()
    reader.tab.mouse.move(box["x"] + 500, box["y"] + 520, steps=5)
    reader.tab.mouse.up()
    reader.settle()
    after = reader.ask("[page.view.from, page.view.to]")
    assert after[0] < before[0] and after[1] < before[1]
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], rel=0.01)
    assert reader.ask("page.board.row") == -1  # a drag is no click
    assert reader.complaints == []


def test_candles_of_any_length_keep_highs_lows_and_volume(reader):
    record = small_run("BTCUSDT").records[0]
    day = np.flatnonzero(
        np.floor(record.column("time") / 86_400_000) == np.floor(record.column("time")[500] / 86_400_000)
    )
    script = """(time) => { const { chart } = page; chart.fixed = DAY_MS; chart.load();
        const value = (name) => chart.series.get(name).dataByIndex(chart.times.indexOf(time));
        const found = [value('candles'), value('volume').value, value('drawdown').value];
        chart.fixed = 0; chart.load(); return found; }"""
    candle, volume, fall = reader.ask(script, float(record.column("time")[500] // 86_400_000 * 86_400_000))
    assert [candle[name] for name in ("open", "high", "low", "close")] == [
        record.open[day[0]], record.high[day].max(), record.low[day].min(), record.close[day[-1]],
    ]  # fmt: skip
    assert volume == pytest.approx(record.volume[day].sum(), rel=0.01)
    assert -fall == pytest.approx(drawdowns(record.column("equity"), 20_000.0)[day].max(), abs=1e-5)


def test_the_crosshair_reads_candle_and_time(reader):
    record = small_run("BTCUSDT").records[0]
    reader.tab.click("[data-span='1']")
    reader.settle()
    box = reader.tab.locator("#chart").bounding_box()
    reader.tab.mouse.move(box["x"] + 400, box["y"] + 200)
    reader.settle()
    text = reader.tab.inner_text(".legend >> nth=0").replace("\n", " ")
    stamp = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d) UTC", text)[1]
    row = int(np.searchsorted(record.column("time"), np.datetime64(stamp, "ms").astype(float)))
    for letter, name in (("O", "open"), ("H", "high"), ("L", "low"), ("C", "close")):
        assert f"{letter} {getattr(record, name)[row]:,.1f}".replace(".0 ", " ").removesuffix(".0") in text
    assert "Equity" in reader.tab.inner_text(".legend >> nth=1")


def test_lines_and_marks_can_be_switched(reader):
    reader.tab.click("[data-span='7']")
    reader.settle()
    before = reader.ask(INKED)
    for name in ("KAMA", "ladder", "joined"):
        reader.tab.click(f"[data-line='{name}']")
        assert reader.tab.get_attribute(f"[data-line='{name}']", "aria-pressed") == "false"
    reader.settle()
    less = reader.ask(INKED)
    assert less < 0.98 * before
    for name in ("KAMA", "ladder", "joined"):
        reader.tab.click(f"[data-line='{name}']")
    reader.settle()
    assert reader.ask(INKED) == pytest.approx(before, rel=0.005)
    marks = reader.ask("page.chart.overlay.marks.length")
    reader.tab.click("button.key:has-text('at its exit')")
    reader.settle()
    assert reader.ask("page.chart.overlay.marks.length") < marks
    assert reader.complaints == []


def test_over_more_than_ninety_days_marks_are_put_together_with_their_count(browser, tmp_path):
    write_report(tmp_path / "long.html", [long_record(rows=30_000, trades=400)], summary_of(), GridConfig())
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "long.html")
    clusters = reader.ask("page.chart.overlay.clusters.map((one) => one.fills.length)")
    assert sum(clusters) == 400
    assert len(clusters) < 40
    assert reader.ask("page.chart.overlay.marks.length") == 0
    x, y = reader.ask("(({ x, y }) => [x, y])(page.chart.overlay.clusters[5])")
    box = reader.tab.locator("#chart").bounding_box()
    reader.tab.mouse.click(box["x"] + x, box["y"] + y)  # looks closer
    reader.settle()
    assert reader.ask("page.view.width") < 40 * 86_400_000
    assert reader.ask("page.chart.overlay.marks.length") > 0
    assert reader.complaints == []
    reader.tab.close()


def test_the_longest_run_moves_smoothly(browser, tmp_path):
    write_report(tmp_path / "longest.html", [long_record()], summary_of(), GridConfig())
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "longest.html")
    script = """() => { const began = performance.now(); for (let i = 0; i < 10; i++) {
        page.view.set(page.view.last - (i + 2) * 5 * DAY_MS, page.view.last - i * 5 * DAY_MS); }
        return (performance.now() - began) / 10; }"""
    reader.ask(script)  # decodes what was not asked for before
    assert reader.ask(script) < 250.0  # ms for other candles; about 20 on an idle machine
    assert reader.ask("page.chart.times.length") < 5_000
    assert reader.complaints == []
    reader.tab.close()


def test_the_longest_run_is_written_and_painted_whole(browser, tmp_path):
    """4.6 years of bars and 8,000 fills; `make check-all` prints the times: 3, 0.2 and 1 s on an idle machine."""
    record, path = long_record(trades=8_000), tmp_path / "longest.html"
    began = time.perf_counter()
    write_report(path, [record], summary_of(), GridConfig())
    written = time.perf_counter() - began
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(path)
    paint = reader.ask("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    drawn = reader.ask("performance.now() / 1000")
    print(f"\n{len(record.log):,} bars, {path.stat().st_size / 1e6:.1f} MB: written in {written:.1f} s, "
          f"first paint after {paint:.2f} s, the chart by {drawn:.1f} s")  # fmt: skip
    assert sum(reader.ask("page.chart.overlay.clusters.map((one) => one.fills.length)")) == 8_000  # none is left out
    assert reader.complaints == []
    reader.tab.close()


def test_the_list_of_trades_sorts_filters_and_jumps(reader):
    record = small_run("BTCUSDT").records[0]
    fills = len({trade.trade_id for trade in record.trades}) + len(record.open_fills)
    assert f"{fills} fills" in reader.tab.inner_text(".pager")
    reader.tab.click("#list th[data-key='net'] button")
    reader.tab.click("#list th[data-key='net'] button")
    assert reader.tab.get_attribute("#list th[data-key='net']", "aria-sort") == "ascending"
    nets = reader.ask("page.list.chosen().map((row) => row.net)")
    assert nets == sorted(nets)
    whole = whole_trades(record.trades)
    assert nets[0] == pytest.approx(min(trade.net for trade in whole), abs=1e-4)
    reader.tab.select_option("#list select[name='result']", "lost")
    assert reader.ask("page.list.chosen().every((row) => row.net <= 0)")
    reader.tab.click("#list tbody tr >> nth=0")
    reader.settle()
    worst = min(whole, key=lambda trade: trade.net)
    row = int(np.searchsorted(record.column("time"), worst.open_time))
    assert reader.ask("page.board.row") == row
    assert reader.ask("page.view.from") < worst.open_time < worst.close_time < reader.ask("page.view.to")
    assert reader.tab.locator("#list tr.selected").count() == 1
    assert f"fill {worst.trade_id} opened" in reader.tab.inner_text("#trace")
    reader.tab.select_option("#list select[name='result']", "")
    reader.tab.click("[data-mode='cycles']")
    assert f"{len(leg_cycles(record, fill_table(record)))} cycles" in reader.tab.inner_text(".pager")
    reader.tab.select_option("#list select[name='unit']", "wallet")
    assert "%" in reader.tab.inner_text("#list tbody tr >> nth=0")
    with reader.tab.expect_download() as download:
        reader.tab.click("#list button:has-text('CSV')")
    assert download.value.suggested_filename == "cycles.csv"
    reader.tab.click("[data-mode='fills']")
    assert reader.complaints == []


def test_figures_stand_in_tabs_one_at_a_time(reader):
    for name in ("periods", "trades", "risk", "execution", "parameters", "result"):
        reader.tab.click(f"#tab-{name}")
        assert reader.ask(
            "[...document.querySelectorAll('[role=tabpanel]')].filter((one) => !one.hidden).map((one) => one.id)"
        ) == [f"panel-{name}"]
        assert reader.tab.inner_text(f"#panel-{name}").strip()
    reader.tab.click("#panel-result .term >> text=Sharpe")
    assert "Mean over deviation of daily returns" in reader.tab.inner_text("#panel-result")
    reader.tab.click("#panel-result .term >> text=Sharpe")
    assert "Mean over deviation of daily returns" not in reader.tab.inner_text("#panel-result")


def test_the_decisions_of_a_bar_are_told(reader):
    record = small_run("BTCUSDT").records[0]
    trade = next(trade for trade in record.trades if trade.label != "grid")
    row = int(np.searchsorted(record.column("time"), trade.close_time))
    stamp = str(np.datetime64(trade.close_time, "ms"))[:16].replace("T", " ")
    reader.tab.fill("#bar", stamp)
    reader.tab.press("#bar", "Enter")
    text = reader.tab.inner_text("#trace")
    assert f"Bar {row + 1:,}, {stamp} UTC" in text
    assert f"fill {trade.trade_id} closed ({trade.label})" in text
    for step in (
        "Regime",
        "Circuit breaker",
        "Stop loss",
        "Margin",
        "Pruning",
        "Anchor",
        "Value at risk",
        "Grid",
        "Orders",
        "Funding",
        "Equity",
    ):
        assert step in text
    assert reader.tab.locator("#trace ol.steps > li").count() == 11
    assert reader.tab.locator("#trace table tbody tr").count() == record.ladder.shape[1]
    reader.tab.click("[data-step='-1']")  # the bar before decided it
    before = reader.tab.inner_text("#trace")
    assert f"Bar {row:,}," in before
    assert f"fill {trade.trade_id} is closed ({trade.label})" in before


def test_the_trace_tells_how_sure_the_mixture_was(browser, tmp_path):
    result = small_run("BTCUSDT")
    record = replace(result.records[0], posteriors=np.full((len(result.records[0].log), 5), 0.05))
    record.posteriors[:, 1] = 0.8  # UPTREND
    write_report(tmp_path / "mixture.html", [record], result.summary, CONFIG)
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "mixture.html")
    reader.tab.fill("#bar", "200")
    reader.tab.press("#bar", "Enter")
    assert "Probable: UPTREND 80 %, NOISE 5 %" in reader.tab.inner_text("#trace")
    assert reader.complaints == []
    reader.tab.close()


def test_a_bar_is_found_by_number_time_click_and_execution(reader):
    record = small_run("BTCUSDT").records[0]
    reader.tab.fill("#bar", "500")
    reader.tab.press("#bar", "Enter")
    assert reader.ask("page.board.row") == 499
    reader.tab.click("[data-event='1']")
    row = reader.ask("page.board.row")
    times = record.column("time")
    executions = {trade.open_time for trade in record.trades} | {trade.close_time for trade in record.trades}
    assert row == min(int(np.searchsorted(times, time)) for time in executions if time > times[499])
    reader.tab.fill("#bar", "tomorrow")
    reader.tab.press("#bar", "Enter")
    assert "There is no bar" in reader.tab.inner_text("#trace")
    assert reader.ask("page.board.row") == row
    reader.settle()
    box = reader.tab.locator("#chart").bounding_box()
    reader.tab.mouse.click(box["x"] + 403, box["y"] + 370)
    assert reader.ask("page.board.row") not in (-1, row)
    assert reader.complaints == []


def test_holdings_of_the_trace_are_those_of_the_log(reader):
    record = small_run("BTCUSDT").records[0]
    script = "() => Array.from({ length: page.board.symbol.rows }, (_, row) => page.trace.heldAfter(row)[SIDE].qty)"
    for name, side in (("long_qty", "1"), ("short_qty", "-1")):
        np.testing.assert_allclose(reader.ask(script.replace("SIDE", side)), record.column(name), atol=1e-9)


def test_two_symbols_are_chosen_by_name(browser, tmp_path):
    result = small_run("BTCUSDT", "ETHUSDT")
    write_report(tmp_path / "two.html", result.records, result.summary, CONFIG)
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "two.html")
    reader.tab.fill("#bar", "700")
    reader.tab.press("#bar", "Enter")
    reader.tab.select_option("#symbol", label="ETHUSDT")
    reader.settle()
    assert reader.ask("page.board.symbol.symbol") == "ETHUSDT"
    assert "ETHUSDT" in reader.tab.inner_text("#trace .candle")
    assert reader.ask("page.board.row") == 699
    assert reader.complaints == []
    reader.tab.close()


def test_a_phone_needs_no_sideways_scrolling_and_has_the_reasons_in_a_sheet_from_below(browser, path):
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="dark")
    reader = Reader(context.new_page())
    reader.open(path)
    assert reader.ask("document.documentElement.scrollWidth") == PHONE["width"]
    box = reader.tab.locator("#chart").bounding_box()
    assert box["y"] < 0.7 * PHONE["height"]  # the first screen tells how it went
    assert not reader.tab.locator("#why").is_visible()
    reader.tab.touchscreen.tap(box["x"] + 200, box["y"] + 220)
    reader.tab.wait_for_function("page.board.row >= 0")
    reader.tab.wait_for_timeout(400)
    sheet = reader.tab.locator("#why").bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(PHONE["height"], abs=1)
    assert sheet["y"] > 0.3 * PHONE["height"]
    reader.tab.tap("#close-why")
    reader.tab.wait_for_timeout(400)
    assert not reader.tab.locator("#why").is_visible()
    heads = reader.tab.locator("#list thead th").all_inner_texts()
    assert heads[:3] == ["#", "side", "net"]  # the result is among what a phone shows
    reader.ask("document.querySelector('.trades').scrollLeft = 200")
    left = reader.ask("document.querySelector('.trades tbody th').getBoundingClientRect().left")
    assert left == reader.ask(
        "document.querySelector('.trades').getBoundingClientRect().left"
    )  # the first column stays
    assert reader.complaints == []
    context.close()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_without_a_trade_opens_too(browser, tmp_path, rows):
    summary = summary_of() if rows else {"symbols": ["BTCUSDT"]}
    write_report(tmp_path / "empty.html", [empty_record(rows=rows)], summary, GridConfig())
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "empty.html")
    assert reader.complaints == []
    if rows:
        assert reader.ask("page.chart.api.panes().length") == 2  # nothing was held: no chart of drawdown and exposure
        reader.tab.fill("#bar", "1")
        reader.tab.press("#bar", "Enter")
        assert "Nothing." in reader.tab.inner_text("#trace")
        assert reader.complaints == []
    else:
        assert "No bar was traded" in reader.tab.inner_text("#problem")
    reader.tab.close()


def test_a_strategy_without_a_grid_opens_too(browser, tmp_path):
    record = empty_record(rows=30)
    record.ladder = np.empty((0, 0), np.uint8)
    for name in set(LOG_COLUMNS) - {"time", "equity", "wallet", "unrealized", "long_qty", "short_qty"}:
        record.log[:, LOG_COLUMNS.index(name)] = np.nan
    own = StrategyValues("mine.py:Mine", {"period": 20})
    write_report(tmp_path / "plain.html", [record], summary_of(), GridConfig(), own)
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "plain.html")
    assert reader.tab.locator("#bar").count() == 0  # it has no decisions of a grid
    assert "Mine" in reader.tab.inner_text("body")
    assert "NaN" not in reader.tab.inner_text("body") and "undefined" not in reader.tab.inner_text("body")
    assert reader.complaints == []
    reader.tab.close()


def test_a_hostile_name_runs_nothing(browser, tmp_path):
    name = "<img src=x onerror=\"document.title='taken'\">"
    records = [empty_record(name, 30), empty_record("BTCUSDT", 30)]
    write_report(tmp_path / "hostile.html", records, summary_of(symbols=[name], rules={name: name}), GridConfig())
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "hostile.html")
    reader.tab.fill("#bar", "3")
    reader.tab.press("#bar", "Enter")
    assert name in reader.tab.inner_text("#trace")
    assert reader.ask("document.querySelectorAll('img').length") == 0
    assert "taken" not in reader.tab.title()[:5]
    assert reader.complaints == []
    reader.tab.close()
