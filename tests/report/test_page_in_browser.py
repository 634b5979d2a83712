"""The report's page as a reader meets it, in a browser; skipped where there is none."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_runs import CONFIG, empty_record, small_run, summary_of

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.ladder import PLACE, REPLACE, TRACE_ACTIONS
from gridv4_bt.report.page import write_report
from gridv4_bt.report.page_data import entry_price

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser")

LAPTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
DRAWN = "window.page && page.panels.every((panel) => !panel.visible || (panel.drawn && !panel.stale))"
RANGES = """page.panels.filter((panel) => panel.drawn && !panel.stale)
    .map((panel) => panel.chart.layout.xaxis.range.map(Number))"""


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
        """Wait until everything in sight is drawn."""
        self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if self.tab.evaluate("Boolean(window.page)"):
            self.tab.wait_for_function(DRAWN)

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
    opened.ask("scrollTo(0, 0); page.board.row = -1; page.board.hidden.clear(); page.updateLegend(); page.view.all()")
    opened.settle()
    return opened


def test_the_page_opens_from_a_file_without_a_complaint_or_a_request(reader, path):
    assert reader.complaints == []
    assert [url for url in reader.requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    drawn = reader.ask("page.panels.filter((panel) => panel.drawn).map((panel) => panel.id)")
    assert drawn[:2] == ["equity", "price"]
    assert reader.tab.get_attribute("[data-span='all']", "aria-pressed") == "true"
    assert reader.ask("document.querySelectorAll('#chart-price .main-svg path').length") > 10


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
    for row, codes in enumerate(record.ladder.tolist()):
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


def test_a_zoom_shows_other_data_and_all_panels_stay_linked(reader):
    points = "page.panels.map((panel) => panel.chart.data?.reduce((sum, trace) => sum + trace.x.length, 0))"
    before = reader.ask(points)
    reader.tab.click("[data-span='1']")
    reader.settle()
    assert reader.ask(points)[1] != before[1]
    assert reader.ask("page.panels[1].chart.data.some((trace) => trace.type === 'candlestick')")
    ranges = reader.ask(RANGES)
    assert len(ranges) >= 3
    assert all(one == ranges[0] for one in ranges)
    assert ranges[0][1] - ranges[0][0] == 86_400_000
    # The others follow when they are scrolled to.
    reader.tab.locator("#chart-funding").scroll_into_view_if_needed()
    reader.tab.wait_for_function("page.panels.every((panel) => panel.drawn)")
    reader.settle()
    ranges = reader.ask(RANGES)
    assert len(ranges) == 7
    assert all(one == ranges[0] for one in ranges)


def test_a_drag_in_one_panel_zooms_all(reader):
    box = reader.tab.locator("#chart-equity").bounding_box()
    y = box["y"] + box["height"] / 2
    reader.tab.mouse.move(box["x"] + 300, y)
    reader.tab.mouse.down()
    reader.tab.mouse.move(box["x"] + 500, y, steps=5)
    reader.tab.mouse.up()
    reader.tab.wait_for_function("page.view.width < 0.5 * (page.view.last - page.view.first)")
    reader.settle()
    ranges = reader.ask(RANGES)
    assert all(one == ranges[0] for one in ranges)
    assert reader.ask("page.board.row") == -1  # a drag is no click
    assert reader.complaints == []


def test_lines_of_any_length_are_drawn_with_few_points_and_keep_their_peaks(reader):
    script = """() => { const n = 162000, t = Float64Array.from({ length: n }, (_, i) => i);
        const v = Float64Array.from({ length: n }, (_, i) => Math.sin(i / 700)); v[98765] = 50; v[98766] = -50;
        const { x, y } = linePoints(t, v, 0, n, 1000);
        return [x.length, Math.max(...y), Math.min(...y), x.every((value, i) => !i || value > x[i - 1])]; }"""
    count, most, least, ascending = reader.ask(script)
    assert (count <= 2000, most, least, ascending) == (True, 50, -50, True)


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
    box = reader.tab.locator("#chart-price").bounding_box()
    reader.tab.mouse.click(box["x"] + 400, box["y"] + 150)
    assert reader.ask("page.board.row") not in (-1, row)
    assert reader.complaints == []


def test_holdings_of_the_trace_are_those_of_the_log(reader):
    record = small_run("BTCUSDT").records[0]
    script = "() => Array.from({ length: page.board.symbol.rows }, (_, row) => page.trace.heldAfter(row)[SIDE].qty)"
    for name, side in (("long_qty", "1"), ("short_qty", "-1")):
        np.testing.assert_allclose(reader.ask(script.replace("SIDE", side)), record.column(name), atol=1e-9)


def test_a_kind_of_closing_can_be_hidden(reader):
    count = "page.panels[1].chart.data.filter((trace) => trace.name === 'at its exit').length"
    assert reader.ask(count) == 1
    reader.tab.click("button.key:has-text('at its exit')")
    reader.settle()
    assert reader.ask(count) == 0


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


def test_a_phone_needs_no_sideways_scrolling(browser, path):
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="dark")
    reader = Reader(context.new_page())
    reader.open(path)
    assert reader.ask("document.documentElement.scrollWidth") == PHONE["width"]
    box = reader.tab.locator("#chart-equity").bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]  # the first screen tells how it went
    reader.tab.touchscreen.tap(box["x"] + 200, box["y"] + 60)
    assert reader.ask("page.board.row") >= 0
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
    write_report(tmp_path / "plain.html", [record], summary_of(), GridConfig())
    reader = Reader(browser.new_page(viewport=LAPTOP))
    reader.open(tmp_path / "plain.html")
    reader.tab.fill("#bar", "7")
    reader.tab.press("#bar", "Enter")
    assert reader.tab.locator("#trace ol.steps > li").count() == 2  # funding and equity
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
