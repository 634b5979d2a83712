"""The report's page without a browser: what is packed into it is what the record held, and its tables say it all."""

import re
from importlib.resources import files

import numpy as np
import pytest
from busy import busy
from report_runs import CONFIG, empty_record, long_record, packed, small_run, summary_of

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.core.mixture import STATES
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import PLACE, REPLACE, TRACE_ACTIONS
from gridv4_bt.metrics.cycles import leg_cycles
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.excursions import excursions
from gridv4_bt.report.packing import Packer, as_text, column_values, from_text, unpack
from gridv4_bt.report.page import page_pieces, write_report
from gridv4_bt.report.page_data import CENTRE_UNITS_A_TICK, decimals, entry_price, funding_paid


def make_report(*run):
    """Return the page of a run as one text."""
    return "".join(page_pieces(*run))


TICK = 0.1


@pytest.fixture(scope="module")
def page() -> str:
    result = small_run("BTCUSDT")
    return make_report(result.records, result.summary, CONFIG)


def rebuilt_price(symbol: dict, content: bytes, row: int, place: int, missed: dict[int, float]) -> float:
    """The price of an order placed, computed from what is packed alone."""
    levels = symbol["ladder"]["levels"]
    centre, spacing = (column_values(symbol["columns"][name], content)[row] for name in ("centre", "spacing_pct"))
    price = entry_price(1 if place < levels else -1, place % levels + 1, float(centre), float(spacing), TICK)
    return round(price / TICK + missed.get(row * 2 * levels + place, 0.0)) / 10.0


# --- packing


def test_numbers_come_back_to_half_a_unit_and_what_is_not_finite_as_it_was():
    values = np.array([1.234, -5.678, np.inf, 0.0, np.nan, -np.inf, 1e9])
    packer = Packer()
    column = packer.add(values, 100)
    back = column_values(column, unpack(packer.pack({}))[1])
    finite = np.isfinite(values)
    assert np.abs(back[finite] - values[finite]).max() <= 0.005 + 1e-9
    np.testing.assert_array_equal(back[~finite], values[~finite])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_order_of_differences_comes_back(order):
    values = np.array([5.0, 5.0, 7.0, -3.0, 2.0**40])
    packer = Packer()
    column = packer.add(values, 1, order)
    np.testing.assert_array_equal(column_values(column, unpack(packer.pack({}))[1]), values)


def test_numbers_too_large_for_their_unit_are_rounded_coarser_and_not_cut_off():
    packer = Packer()
    column = packer.add(np.array([3.0e20, 1.0]), 10**8)
    assert column_values(column, unpack(packer.pack({}))[1])[0] == pytest.approx(3.0e20)


def test_bytes_as_text_come_back_and_hold_nothing_that_html_reads():
    block = bytes(range(256)) * 3 + b"\x00\xff\x01"
    text = "".join(as_text(block))
    assert from_text(text) == block
    assert not set(text) & set("<>&\"'\\")


@pytest.mark.parametrize(("values", "count"), [([1.0, 2.0], 0), ([0.1, 0.3], 1), ([0.001, 5.0], 3), ([], 0)])
def test_decimals_are_those_the_numbers_have(values, count):
    assert decimals(np.array(values)) == count


# --- what is packed is the record


def test_every_column_of_the_log_comes_back_within_its_unit(page):
    record = small_run("BTCUSDT").records[0]
    description, content = packed(page)
    columns = description["symbols"][0]["columns"]
    assert set(LOG_COLUMNS) - set(columns) == {"unrealized"}  # equity - wallet
    for name in set(LOG_COLUMNS) - {"unrealized"}:
        values, back = record.column(name), column_values(columns[name], content)
        finite = np.isfinite(values)
        assert (np.isfinite(back) == finite).all(), name
        values, back = values[finite], back[finite]
        rough = np.where(name.startswith("liquidation") & (values > 1.0), 0.005, 0.0)  # far away: to 1 %
        assert (np.abs(back - values) <= rough + 0.5 / columns[name]["per"] + 1e-9).all(), name


def test_candles_come_back_to_the_tick(page):
    record = small_run("BTCUSDT").records[0]
    description, content = packed(page)
    columns = description["symbols"][0]["columns"]
    close, gap, above, below = (column_values(columns[name], content) for name in ("close", "open", "high", "low"))
    open_ = gap + np.concatenate(([0.0], close[:-1]))
    np.testing.assert_allclose(close, record.close, atol=1e-6)
    np.testing.assert_allclose(open_, record.open, atol=1e-6)
    np.testing.assert_allclose(np.maximum(open_, close) + above, record.high, atol=1e-6)
    np.testing.assert_allclose(np.minimum(open_, close) - below, record.low, atol=1e-6)


def test_trades_come_back(page):
    record = small_run("BTCUSDT").records[0]
    description, content = packed(page)
    columns = {name: column_values(c, content) for name, c in description["symbols"][0]["trades"].items()}
    assert len(record.trades) > 20
    for index, trade in enumerate(record.trades):
        assert LABELS[int(columns["label"][index])] == str(trade.label)
        for name in ("trade_id", "side", "regime", "open_time", "close_time"):
            assert columns[name][index] == getattr(trade, name)
        for name in ("qty", "entry", "exit", "gross", "fees", "funding"):
            assert columns[name][index] == pytest.approx(getattr(trade, name), abs=6e-7)


def test_the_page_has_the_table_of_labels(page):
    description, _ = packed(page)
    kinds = [tuple(kind.values()) for kind in description["kinds"]]
    rows = [(row["name"], kinds[row["kind"]], row["step"], row["meaning"]) for row in description["labels"]]
    assert rows == [(str(label), tuple(label.kind), label.step, label.meaning) for label in LABELS]


def test_the_price_of_every_order_placed_is_exact(page):
    record = small_run("BTCUSDT").records[0]
    description, content = packed(page)
    symbol = description["symbols"][0]
    levels = symbol["ladder"]["levels"]
    at, ticks = (column_values(symbol["ladder"][name], content) for name in ("missed_at", "missed_ticks"))
    missed = dict(zip(at.astype(int).tolist(), ticks.tolist(), strict=True))
    rows, places = np.nonzero(np.isin(np.asarray(record.ladder) % TRACE_ACTIONS, (PLACE, REPLACE)))
    assert len(rows) > 500
    for row, place in list(zip(rows.tolist(), places.tolist(), strict=True))[::7]:
        side = 1 if place < levels else -1
        centre, spacing = record.column("centre")[row], record.column("spacing_pct")[row]
        real = entry_price(side, place % levels + 1, float(centre), float(spacing), TICK)
        assert rebuilt_price(symbol, content, row, place, missed) == real


def test_prices_that_rounding_moves_are_put_right():
    # With centres rounded to whole ticks instead of a hundredth nearly every price would be off without the list.
    assert CENTRE_UNITS_A_TICK == 100
    record = small_run("BTCUSDT").records[0]
    ladder = packed(make_report([record], summary_of(), CONFIG))[0]["symbols"][0]["ladder"]
    assert ladder["missed_at"]["n"] == ladder["missed_ticks"]["n"] < 0.02 * record.ladder.size


def test_every_entry_filled_at_a_price_that_rested_the_bar_before(page):
    record = small_run("BTCUSDT").records[0]
    levels = record.ladder.shape[1] // 2
    times = record.column("time")
    centres, spacings = record.column("centre"), record.column("spacing_pct")
    resting = np.zeros(2 * levels)
    before = []
    for row, codes in enumerate(record.ladder):
        for place, byte in enumerate(codes.tolist()):
            if byte // TRACE_ACTIONS:
                resting[place] = 0.0
            elif byte % TRACE_ACTIONS in (PLACE, REPLACE):
                side = 1 if place < levels else -1
                resting[place] = entry_price(side, place % levels + 1, centres[row], spacings[row], TICK)
        before.append(resting.copy())
    for trade in record.trades:
        row = int(np.searchsorted(times, trade.open_time)) - 1
        places = before[row][:levels] if trade.side > 0 else before[row][levels:]
        assert trade.entry in places


def test_what_the_list_of_trades_shows_comes_back(page):
    record = small_run("BTCUSDT").records[0]
    table = fill_table(record)
    found = excursions(record, table)
    description, content = packed(page)
    [symbol] = description["symbols"]
    entries = {name: column_values(column, content) for name, column in symbol["entries"].items()}
    np.testing.assert_array_equal(entries["id"], table.id)
    np.testing.assert_array_equal(entries["level"], table.level)
    np.testing.assert_allclose(entries["adverse"], found.adverse, atol=1e-8)
    np.testing.assert_allclose(entries["favourable"], found.favourable, atol=1e-8)
    cycles = leg_cycles(record, table)
    columns = {name: column_values(column, content) for name, column in symbol["cycles"].items()}
    assert columns["fills"].tolist() == [one.fills for one in cycles]
    assert columns["net"] == pytest.approx([one.net for one in cycles], abs=1e-4)
    volume = column_values(symbol["columns"]["volume"], content)
    assert np.abs(volume - record.volume).max() <= 0.005 * np.median(record.volume)


@pytest.mark.parametrize(("ratio", "distance", "mattered"), [(0.05, 0.5, False), (0.2, 0.5, True), (0.05, 0.1, True)])
def test_margin_is_drawn_only_where_it_mattered(ratio, distance, mattered):
    record = empty_record(rows=5)
    for name, value in (("margin_ratio", ratio), ("liquidation_down", distance), ("liquidation_up", np.inf)):
        record.column(name)[:] = value
    record.column("long_qty")[:] = 1.0
    page = make_report([record], summary_of(max_margin_ratio=ratio, min_liquidation_distance=distance), GridConfig())
    assert packed(page)[0]["margin"] is mattered
    assert ("Margin never mattered" in page) is not mattered


def test_funding_paid_ends_at_what_the_summary_says():
    result = small_run("BTCUSDT")
    paid = funding_paid(result.records[0])
    assert len(paid) > 10
    assert paid[-1, 1] + paid[-1, 2] == pytest.approx(result.summary["funding"], abs=1e-9)


# --- the page


def test_the_page_loads_nothing(page):
    outside = re.sub(r'<script type="application/octet-stream".*?</script>', "", page, flags=re.DOTALL)
    assert re.findall(r"https?://[^\s<\"]+", outside) == 2 * ["https://www.tradingview.com/"]  # whom the licence names
    assert not re.search(r'src="(?!data:,)', outside)
    assert not re.search(r'<link[^>]*href="(?!data:,)', outside)


def test_the_same_run_gives_the_same_bytes(page):
    result = small_run("BTCUSDT")
    later = result.summary | {"seconds": 99.0}
    assert make_report(result.records, later, CONFIG) == page


def test_the_longest_run_stays_below_five_megabytes(tmp_path):
    write_report(tmp_path / "report.html", [long_record()], summary_of(), GridConfig())
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_a_run_without_a_bar_and_one_without_a_trade_give_a_page():
    assert "Nothing was traded" in make_report([empty_record()], {"symbols": ["BTCUSDT"]}, GridConfig())
    page = make_report([empty_record(rows=50)], summary_of(), GridConfig())
    assert packed(page)[0]["symbols"][0]["rows"] == 50
    assert packed(page)[0]["symbols"][0]["ladder"] is None


def test_two_symbols_have_their_own_columns_and_one_wallet():
    result = small_run("BTCUSDT", "ETHUSDT")
    description, content = packed(make_report(result.records, result.summary, CONFIG))
    assert [symbol["symbol"] for symbol in description["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    equity = column_values(description["wallet"]["equity"], content)
    assert equity[-1] == pytest.approx(result.summary["end_equity"], abs=0.01)


def test_a_hostile_name_stays_text():
    name = '<script>alert("1")</script><!--{data}-->'
    summary = summary_of(symbols=[name], rules={name: name}, by_label={name: {"trades": 1, "win_rate": 1, "net": 1.0}})
    page = make_report([empty_record(name, 10)], summary, GridConfig())
    assert "<script>alert" not in page
    assert page.count('id="data"') == 1
    assert "&lt;script&gt;" in page
    assert packed(page)[0]["symbols"][0]["symbol"] == name


def test_the_invented_market_is_named_as_such():
    assert "SYNTHETIC DATA" in make_report([empty_record("SAMPLEUSDT", 5)], summary_of(), GridConfig())
    assert "SYNTHETIC DATA" not in make_report([empty_record("BTCUSDT", 5)], summary_of(), GridConfig())


def test_a_liquidation_is_loud():
    assert "LIQUIDATED 2×" in make_report([empty_record(rows=3)], summary_of(liquidations=2), GridConfig())
    assert (
        "LIQUIDATED"
        not in make_report([empty_record(rows=3)], summary_of(liquidations=0), GridConfig()).split("<main")[0]
    )


def test_the_page_of_a_run_that_departs_from_the_definition_says_so(page):
    result = small_run("BTCUSDT")
    html = make_report(result.records, result.summary, GridConfig(er_bars=12, cooldown_factor=0.4))
    line = "This run departs from the definition: er_bars = 12 (10), cooldown_factor = 0.4 (0.5)."
    assert f'<p class="notice" role="note">{line}</p>' in html
    assert "departs from the definition" not in page


def test_how_sure_the_mixture_was_is_on_the_page():
    pytest.importorskip("sklearn")
    market = sample_market(days=36, start="2024-03-01")
    feeds = make_feeds([SymbolData("BTCUSDT", market.candles, market.funding)])
    config = busy(regime="gmm", gmm_window=960)
    result = run(make_cerebro(feeds, config, 20_000.0))
    [record] = result.records
    known = np.isfinite(record.posteriors).all(axis=1)
    assert record.posteriors.shape == (len(record.log), 5)
    assert known.mean() > 0.5 and not known[0]  # there is no fit before the first window is full
    assert record.posteriors[known].sum(axis=1) == pytest.approx(1.0)
    # the regime is the most probable state, but for the bars that a state has to stay
    likely = np.array(STATES)[np.nan_to_num(record.posteriors).argmax(axis=1)]
    assert (likely == record.column("regime"))[known].mean() > 0.7
    description, content = packed(make_report(result.records, result.summary, config))
    assert [code for code, _ in description["states"]] == list(STATES)
    for (_, name), values in zip(description["states"], record.posteriors.T, strict=True):
        back = column_values(description["symbols"][0]["columns"][name], content)
        assert back[known] == pytest.approx(values[known], abs=0.5 / 20 + 1e-9)


def test_no_rule_of_the_style_reaches_into_the_charts_of_a_search():
    """Plotly calls its groups `bars`; hidden on phones by a rule for table cells, they left empty axes there."""
    style = (files("gridv4_bt.report") / "assets" / "report.css").read_text(encoding="utf-8")
    assert "td.bars" in style
    assert re.findall(r"(?<![\w])\.bars\b", style) == []
