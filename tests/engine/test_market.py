import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from gridv4_bt.core.risk import Bracket, maintenance_margin
from gridv4_bt.engine.market import (
    Market,
    MarketHistory,
    check_tick,
    exchange_symbol,
    has_tick_of_prices,
    is_listed,
    load_market,
    load_market_history,
    tick_of,
)
from gridv4_bt.errors import MarketError

ANSWER = [
    {
        "symbol": "BTCUSDT",
        "brackets": [
            {
                "bracket": 1,
                "initialLeverage": 75,
                "notionalCap": 10000,
                "notionalFloor": 0,
                "maintMarginRatio": 0.0065,
                "cum": 0.0,
            },
            {
                "bracket": 2,
                "initialLeverage": 50,
                "notionalCap": 50000,
                "notionalFloor": 10000,
                "maintMarginRatio": 0.01,
                "cum": 35.0,
            },
        ],
    }
]
ANSWERED = (Bracket(0, 10_000, 0.0065, 0), Bracket(10_000, 50_000, 0.01, 35))

TIERS = [
    {"notionalFloor": 0, "notionalCap": 1000, "maintMarginRate": 0.01, "maintAmount": 0, "maxLeverage": 50},
    {"notionalFloor": 1000, "notionalCap": 5000, "maintMarginRate": 0.02, "maintAmount": 10, "maxLeverage": 25},
]

INFO = {
    "serverTime": 1774946629551,
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "maxPrice": "809484", "minPrice": "261.10", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "maxQty": "1000", "minQty": "0.002", "stepSize": "0.0001"},
                {"filterType": "MARKET_LOT_SIZE", "maxQty": "120", "minQty": "0.0001", "stepSize": "0.0001"},
                {"filterType": "MIN_NOTIONAL", "notional": "100"},
            ],
        }
    ],
}


@pytest.fixture
def write(tmp_path):
    def write_json(content):
        path = tmp_path / "market.json"
        path.write_text(json.dumps(content))
        return path

    return write_json


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/USDT", "BTC/USDT:USDT", "btc/usdt"])
def test_all_spellings_name_the_same_market(symbol):
    assert exchange_symbol(symbol) == "BTCUSDT"
    assert load_market(symbol).symbol == "BTCUSDT"


@pytest.mark.parametrize(
    "symbol", ["", "/", "BTC/", "/USDT", "BTC/USD:BTC", "BTC:USDT", "BTC/USDT:USDT-240628", "BTCUSDT_240628"]
)
def test_other_products_are_refused(symbol):
    with pytest.raises(MarketError, match="not a linear perpetual"):
        exchange_symbol(symbol)


@pytest.mark.parametrize(
    ("symbol", "tick", "step", "min_qty", "min_notional", "first_rate"),
    [
        ("BTCUSDT", 0.1, 0.001, 0.001, 50.0, 0.004),
        ("ETHUSDT", 0.01, 0.001, 0.001, 20.0, 0.004),
        ("SOLUSDT", 0.01, 0.01, 0.01, 5.0, 0.005),
        ("SAMPLEUSDT", 0.1, 0.001, 0.001, 5.0, 0.004),
        ("WHOKNOWSUSDT", 0.0001, 0.001, 0.001, 5.0, 0.05),
    ],
)
def test_packaged_markets(symbol, tick, step, min_qty, min_notional, first_rate):
    market = load_market(symbol)
    assert (market.symbol, market.tick, market.step) == (symbol, tick, step)
    assert (market.min_qty, market.min_notional) == (min_qty, min_notional)
    assert market.brackets[0].rate == first_rate
    assert "filters" in market.as_of and "brackets" in market.as_of


@pytest.mark.parametrize(("symbol", "listed"), [("BTC/USDT:USDT", True), ("SOLUSDT", True), ("WHOKNOWSUSDT", False)])
def test_a_symbol_of_the_packaged_table_is_listed(symbol, listed):
    assert is_listed(symbol) is listed


def test_packaged_brackets_are_those_of_the_shared_table(shared_data):
    path = shared_data / "brackets" / "leverage_brackets_2026-09.json"
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        packaged, published = load_market(symbol), load_market(symbol, path)
        assert (packaged.brackets, packaged.max_leverages) == (published.brackets, published.max_leverages)


def test_default_is_stricter_than_every_published_market(shared_data):
    default = load_market("DEFAULT")
    path = shared_data / "brackets" / "leverage_brackets_history.json"
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT"):
        for _, market in load_market_history(symbol, path).changes:
            for leverage in default.max_leverages:
                assert default.max_notional(leverage) <= market.max_notional(leverage)
            for row in (*default.brackets, *market.brackets):
                margin = maintenance_margin(row.floor, market.brackets)
                assert maintenance_margin(row.floor, default.brackets) >= margin


@pytest.mark.parametrize(
    ("leverage", "notional"), [(150, 300_000.0), (101, 300_000.0), (100, 800_000.0), (76, 800_000.0), (151, 0.0)]
)
def test_largest_notional_is_the_cap_of_the_last_bracket_that_allows_the_leverage(leverage, notional):
    assert load_market("BTCUSDT").max_notional(leverage) == notional


def test_everything_is_allowed_without_leverage():
    market = load_market("BTCUSDT")
    assert market.max_notional(1.0) == market.brackets[-1].cap


def test_leverage_bracket_answer_replaces_the_brackets_only(write):
    market, packaged = load_market("BTC/USDT:USDT", write(ANSWER)), load_market("BTCUSDT")
    assert (market.brackets, market.max_leverages) == (ANSWERED, (75.0, 50.0))
    assert market == replace(packaged, brackets=market.brackets, max_leverages=market.max_leverages, as_of=market.as_of)
    assert market.as_of.endswith("brackets undated, leverageBracket answer")


def test_leverage_bracket_answer_for_one_symbol(write):
    assert load_market("BTCUSDT", write(ANSWER[0])).brackets == ANSWERED


def test_dated_bracket_table_replaces_the_brackets_only(write):
    market = load_market("BTCUSDT", write({"as_of": "2027-01-01", "symbols": {"BTCUSDT": TIERS}}))
    assert market.brackets == (Bracket(0, 1_000, 0.01, 0), Bracket(1_000, 5_000, 0.02, 10))
    assert market.max_leverages == (50.0, 25.0)
    assert market.tick == 0.1
    assert market.as_of.endswith("; brackets 2027-01-01")


def test_exchange_info_answer_replaces_the_filters_and_the_fee(write):
    market, packaged = load_market("BTCUSDT", write(INFO)), load_market("BTCUSDT")
    assert (market.tick, market.step, market.min_qty, market.min_notional) == (0.1, 0.0001, 0.002, 100.0)
    assert market.brackets == packaged.brackets
    assert market.as_of.startswith("filters 2026-03-31, exchangeInfo answer; brackets 2026-09-29")


def test_exchange_info_of_the_shared_data(shared_data):
    path = next((shared_data / "exchange_info").glob("*.json"))
    market = load_market("SOL/USDT", path)
    assert (market.tick, market.step, market.min_qty, market.min_notional) == (0.01, 0.01, 0.01, 5.0)


def test_newer_table_in_the_packaged_shape_replaces_everything(write):
    facts = {
        "tick": 0.5,
        "step": 1,
        "min_qty": 2,
        "min_notional": 10,
        "filters_as_of": "2027-01-01",
        "brackets_as_of": "2027-01-02",
        "brackets": [[0, 1000, 0.01, 0, 50]],
    }
    expected = Market(
        symbol="BTCUSDT",
        tick=0.5,
        step=1.0,
        min_qty=2.0,
        min_notional=10.0,
        brackets=(Bracket(0, 1_000, 0.01, 0),),
        max_leverages=(50.0,),
        as_of="filters 2027-01-01; brackets 2027-01-02",
    )
    assert load_market("BTCUSDT", write({"symbols": {"BTCUSDT": facts}})) == expected
    assert load_market("BTCUSDT", write({"symbols": {"DEFAULT": facts}})) == expected
    with pytest.raises(MarketError, match="has nothing about BTCUSDT, only about ETHUSDT"):
        load_market("BTCUSDT", write({"symbols": {"ETHUSDT": facts}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "has nothing about BTCUSDT"),
        ({"symbols": {"ETHUSDT": TIERS}}, "has nothing about BTCUSDT, only about ETHUSDT"),
        ({"symbols": []}, "has nothing about BTCUSDT"),
        ({"symbols": {"BTCUSDT": []}}, "not a market table"),
        ({"symbols": {"BTCUSDT": TIERS[1:]}}, "BTCUSDT: bracket 1 starts at 1000.0, expected floor 0.0"),
        ({"symbols": {"BTCUSDT": [{"first_seen": "2027-01-01", "tiers": TIERS}]}}, "is a history of rules by date"),
        ({"symbols": {"BTCUSDT": [{"notionalFloor": 0}]}}, "maintMarginRate|notionalCap"),
        ({}, "not a market table"),
        (3, "not a market table"),
        ("BTCUSDT", "not a market table"),
        (INFO | {"symbols": [INFO["symbols"][0] | {"filters": []}]}, "LOT_SIZE"),
    ],
)
def test_file_that_does_not_answer_is_refused_by_name(write, content, message):
    path = write(content)
    with pytest.raises(MarketError, match=f"{re.escape(str(path))}: .*({message})"):
        load_market("BTCUSDT", path)


def test_unreadable_file_is_refused_by_name(tmp_path):
    with pytest.raises(MarketError, match="absent.json: cannot be read"):
        load_market("BTCUSDT", tmp_path / "absent.json")
    (tmp_path / "half.json").write_text('{"symbols": ')
    with pytest.raises(MarketError, match="half.json: cannot be read"):
        load_market_history("BTCUSDT", tmp_path / "half.json")


@pytest.mark.parametrize(
    "change",
    [
        {"min_notional": 0.0},
        {"tick": 1e-9, "step": 1e-9, "min_qty": 1e-9},
        {"brackets": (Bracket(0.0, 1.0, 0.999, 0.0),), "max_leverages": (1.0,)},
        {"brackets": (Bracket(0.0, 1.0, 0.5, 0.0), Bracket(1.0, 2.0, 0.5, 0.0)), "max_leverages": (1.0, 1.0)},
    ],
)
def test_a_market_may_go_to_the_bounds(change):
    market = replace(load_market("BTCUSDT"), **change)
    assert {name: getattr(market, name) for name in change} == change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick": 0.0}, "tick is 0.0"),
        ({"min_qty": -1.0}, "min_qty is -1.0, expected a positive number"),
        ({"min_notional": float("inf")}, "min_notional is inf, expected 0 or more"),
        ({"brackets": (Bracket(0.0, 1.0, 0.5, 0.0),), "max_leverages": (0.99,)}, "leverage of 1 or more"),
        ({"brackets": (Bracket(0.0, 1.0, 0.5, 0.0),), "max_leverages": (float("nan"),)}, "leverage of 1 or more"),
        ({"brackets": (Bracket(0.0, 1.0, 0.5, 0.0),), "max_leverages": (5.0, 5.0)}, "for each bracket"),
        ({"step": float("nan")}, "step is nan"),
        ({"min_qty": float("inf")}, "min_qty is inf"),
        ({"min_notional": -1.0}, "min_notional is -1.0"),
        ({"max_leverages": (20.0,)}, "maximum leverage of 1 or more for each"),
        ({"brackets": ()}, "table is empty"),
    ],
)
def test_contradictory_market_cannot_be_built(change, message):
    with pytest.raises(MarketError, match=f"BTCUSDT: .*{message}"):
        replace(load_market("BTCUSDT"), **change)


def history(*entries):
    return {"symbols": {"BTCUSDT": [{"first_seen": seen, "tiers": tiers} for seen, tiers in entries]}}


def test_history_gives_the_rules_in_force(write):
    path = write(history(("2024-01-02T02:00:00+02:00", TIERS), ("2023-01-01", TIERS[:1])))
    markets = load_market_history("BTCUSDT", path)
    first, second = (change[1] for change in markets.changes)
    assert [change[0] for change in markets.changes] == [1_672_531_200_000, 1_704_153_600_000]
    assert (len(first.brackets), len(second.brackets)) == (1, 2)
    assert markets.at(0) is first
    assert markets.at(1_704_153_599_999) is first
    assert markets.at(1_704_153_600_000) is second
    assert second.tick == 0.1


def test_history_knows_when_the_rules_change_next(write):
    markets = load_market_history("BTCUSDT", write(history(("2023-01-01", TIERS[:1]), ("2024-01-02", TIERS))))
    first, second = (time for time, _ in markets.changes)
    assert [markets.next_change(time) for time in (0, first, second - 1, second)] == [first, second, second, math.inf]


def test_history_may_change_filters_and_keeps_what_an_entry_does_not_name(write):
    entries = [
        {"first_seen": "2022-01-01", "tick": 0.01, "tiers": TIERS[:1]},
        {"first_seen": "2022-04-11", "tick": 0.1},
        {"first_seen": "2023-01-01", "tiers": TIERS, "min_notional": 100},
    ]
    markets = [market for _, market in load_market_history("BTCUSDT", write({"symbols": {"BTCUSDT": entries}})).changes]
    assert [market.tick for market in markets] == [0.01, 0.1, 0.1]
    assert [len(market.brackets) for market in markets] == [1, 1, 2]
    assert [market.min_notional for market in markets] == [50.0, 50.0, 100.0]
    assert [market.step for market in markets] == [load_market("BTCUSDT").step] * 3


FACTS = {
    "tick": 0.5, "step": 1, "min_qty": 2, "min_notional": 10, "filters_as_of": "2027-01-01",
    "brackets_as_of": "2027-01-02", "brackets": [[0, 1000, 0.01, 0, 50]],
}  # fmt: skip


@pytest.mark.parametrize(
    "content", [None, ANSWER, ANSWER[0], INFO, {"symbols": {"BTCUSDT": TIERS}}, {"symbols": {"BTCUSDT": FACTS}}]
)
def test_file_without_dates_and_no_file_are_rules_that_never_change(write, content):
    path = None if content is None else write(content)
    markets = load_market_history("BTCUSDT", path)
    assert markets.changes == ((0, load_market("BTCUSDT", path)),)
    assert markets.next_change(0) == math.inf
    assert (content is None) == (markets.at(0) == load_market("BTCUSDT"))


def test_a_history_is_known_by_the_entries_of_the_symbol_itself(write):
    dated = history(("2023-01-01", TIERS))["symbols"]["BTCUSDT"]
    path = write({"symbols": {"AAAUSDT": TIERS, "BTCUSDT": dated}})
    assert [time for time, _ in load_market_history("BTCUSDT", path).changes] == [1_672_531_200_000]


def test_history_names_file_date_and_bracket_of_a_broken_table(write):
    broken = [TIERS[0], TIERS[1] | {"maintAmount": 12}]
    path = write(history(("2023-01-01", TIERS), ("2024-01-01", broken)))
    message = "market.json: table first seen 2024-01-01: BTCUSDT: bracket 2 .* expected 10"
    with pytest.raises(MarketError, match=message):
        load_market_history("BTCUSDT", path)


def test_history_needs_distinct_dates_and_the_symbol(write):
    with pytest.raises(MarketError, match="ascending"):
        load_market_history("BTCUSDT", write(history(("2023-01-01", TIERS), ("2023-01-01", TIERS))))
    with pytest.raises(MarketError, match="has nothing about ETHUSDT"):
        load_market_history("ETHUSDT", write(history(("2023-01-01", TIERS))))
    with pytest.raises(MarketError, match="not a history of brackets by date"):
        load_market_history("BTCUSDT", write({"symbols": {"BTCUSDT": [{"first_seen": "2023-01-01"}, 3]}}))
    with pytest.raises(MarketError, match="at least one"):
        MarketHistory(())


def test_published_history_at_the_time_of_luna(shared_data):
    markets = load_market_history("BTC/USDT:USDT", shared_data / "brackets" / "leverage_brackets_history.json")
    luna = markets.at(int(datetime(2022, 5, 10, tzinfo=UTC).timestamp() * 1000))
    assert luna.brackets[0] == Bracket(0, 50_000, 0.004, 0)
    assert luna.brackets[3] == Bracket(1_000_000, 7_500_000, 0.025, 16_300)
    assert luna.max_leverages[0] == 125
    assert markets.at(1_790_000_000_000).brackets == load_market("BTCUSDT").brackets


@pytest.mark.parametrize(
    ("prices", "tick"),
    [
        ([100.25, 99.5], 0.01),
        ([60_000.0, 61_234.0], 1.0),
        ([0.0000123, 0.0000124], 1e-7),
        ([1.23e-5, 1.2345e-5], 1e-9),
        ([0.1 + 0.2, 0.3], 1e-7),  # an average keeps to no step: a millionth of its decade, 0.1
    ],
)
def test_the_tick_of_an_unknown_symbol_is_that_of_its_prices(prices, tick):
    assert tick_of(np.array(prices)) == tick
    market = load_market_history("PEPEUSDT", prices=np.array(prices)).at(0)
    assert market.tick == tick and has_tick_of_prices(market)


def test_a_known_symbol_keeps_its_own_tick():
    market = load_market_history("BTCUSDT", prices=np.array([1.5])).at(0)
    assert market == load_market("BTCUSDT") and not has_tick_of_prices(market)


def test_a_tick_as_coarse_as_the_price_is_refused():
    market = load_market("BTCUSDT")  # tick 0.1
    check_tick(market, 2.0)
    with pytest.raises(MarketError, match=r"BTCUSDT: its tick 0\.1 is too coarse for a price of 1\.99"):
        check_tick(market, 1.99)


def test_the_leverage_tiers_of_ccxt_are_brackets(write):
    """Amounts: 0; 0 + 50,000*(0.005 - 0.004) = 50; 50 + 250,000*(0.01 - 0.005) = 1,300."""
    rows = [(0, 50_000, 0.004, 125), (50_000, 250_000, 0.005, 100), (250_000, 1_000_000, 0.01, 50)]
    tiers = [
        {"tier": number, "currency": "USDT", "minNotional": floor, "maxNotional": cap, "maintenanceMarginRate": rate,
         "maxLeverage": leverage, "info": {"bracket": str(number)}}
        for number, (floor, cap, rate, leverage) in enumerate(rows, 1)
    ]  # fmt: skip
    market = load_market("BTCUSDT", write({"ETH/USDT:USDT": [], "BTC/USDT:USDT": tiers}))
    assert [row.amount for row in market.brackets] == pytest.approx([0.0, 50.0, 1_300.0])
    assert market.max_leverages == (125.0, 100.0, 50.0) and market.brackets[-1].cap == 1_000_000.0
    with pytest.raises(MarketError, match="has nothing about SOLUSDT, only about BTCUSDT, ETHUSDT"):
        load_market("SOLUSDT", write({"ETH/USDT:USDT": [], "BTC/USDT:USDT": tiers}))
    of_one = load_market("BTCUSDT", write([tier | {"symbol": "BTC/USDT:USDT"} for tier in tiers]))
    assert of_one == market
    with pytest.raises(MarketError, match="ccxt's leverage tiers name no symbol; write them as"):
        load_market("BTCUSDT", write(tiers))
    endless = load_market("BTCUSDT", write({"BTC/USDT:USDT": [*tiers[:2], tiers[2] | {"maxNotional": None}]}))
    assert endless.brackets[-1].cap == math.inf


def test_what_a_table_lacks_is_named(write):
    with pytest.raises(
        MarketError, match="not a market table, bracket table or exchange answer: 'brackets' is missing"
    ):
        load_market("BTCUSDT", write([{"symbol": "BTCUSDT"}]))


def test_a_number_that_no_float_holds_is_refused(write):
    tiers = [{"notionalFloor": 0, "notionalCap": 10**400, "maintMarginRatio": 0.004, "cum": 0, "initialLeverage": 125}]
    with pytest.raises(MarketError, match="too large to convert to float"):
        load_market("BTCUSDT", write([{"symbol": "BTCUSDT", "brackets": tiers}]))


def test_an_error_answer_in_place_of_rules_is_told(write):
    with pytest.raises(MarketError, match="not a market table, bracket table or exchange answer: Invalid symbol"):
        load_market("BTCUSDT", write({"code": -1121, "msg": "Invalid symbol."}))


def test_rules_of_which_nothing_is_left_as_of_a_pipe_that_was_read_are_refused_with_the_way(tmp_path):
    (tmp_path / "rules.json").write_text(" \n")
    with pytest.raises(MarketError, match="empty; of a pipe make a file"):
        load_market_history("BTCUSDT", tmp_path / "rules.json")
