"""The liquidation distance of an account, through the desk's interface, against Binance's published formula."""

import json

import pytest

pytest.importorskip("fastapi")

from gridv4_bt.desk.access import READS
from gridv4_bt.desk.account_risk import account_risk
from gridv4_bt.desk.state_dirs import StateDirs

#: Binance's table of brackets of a symbol: up to 50,000 USDT at 0.4 %, then at 0.5 % less 50 ("cum").
TABLE = [[0.0, 50_000.0, 0.004, 0.0, 50.0], [50_000.0, 1e9, 0.005, 50.0, 20.0]]
FILL = {"time": 0, "regime": 0, "spacing": 0.01, "funding": 0.0, "fee": 0.0}


def account(folder, wallet, **symbols):
    """Write a state directory: of each symbol its close and the fills (qty, price) of its legs."""
    folder.mkdir()
    for name in ("lock", "events.jsonl", "orders.jsonl"):
        (folder / name).write_text("")
    books = {}
    for symbol, (close, *legs) in symbols.items():
        fills = [[[number, qty, price, *FILL.values()] for number, (qty, price) in enumerate(leg)] for leg in legs]
        books[symbol] = {"bar": 0, "regime": 0, "legs": [
            {"fills": own, "entries": [], "exits": [], "stop": None, "closes": []} for own in fills
        ]}  # fmt: skip
        row = f"2024-01-01T00:00:00Z,{close},{close},{close},{close},1.0"
        (folder / f"candles-{symbol}.csv").write_text(f"time,open,high,low,close,volume\n{row}\n")
    totals = {"start": wallet, "wallet": wallet, "gross": 0.0, "fees": 0.0, "funding": 0.0}
    (folder / "state.json").write_text(json.dumps({"broker": {"account": totals, "books": books}}))
    rules = {"tick": 0.1, "step": 0.001, "min_qty": 0.001, "min_notional": 5.0, "filters_as_of": "2024-01-01, x",
             "brackets_as_of": "2024-01-01, x", "brackets": TABLE}  # fmt: skip
    (folder / "markets.json").write_text(json.dumps({"symbols": dict.fromkeys(symbols, rules)}))
    return StateDirs([folder]).bots()[folder.name]


def by_binance(wallet, others, long, short):
    """Return Binance's liquidation price in hedge mode: (WB - TMM1 + UPNL1 + cumL + cumS - L*EPl + S*EPs) / (...).

    `others`: unrealised PnL less maintenance margin of the other contracts; a leg: quantity, entry, rate and cum.
    """
    (long_qty, long_entry, long_rate, long_cum), (short_qty, short_entry, short_rate, short_cum) = long, short
    top = wallet + others + long_cum + short_cum - long_qty * long_entry + short_qty * short_entry
    return top / (long_qty * long_rate + short_qty * short_rate - long_qty + short_qty)


def test_a_hedged_account_of_two_symbols_has_the_prices_that_binance_gives(desk, tmp_path):
    """BTC: long 1.5 at 40,000, short 0.5 at 42,000, now 41,000; ETH: short 10 at 2,500, now 2,600; wallet 5,000.

    ETH leaves 5,000 - 10*100 - (26,000*0.004) = 3,896 to BTC. Where BTC liquidates, 35,390, the long leg is worth
    53,085 (0.5 %, cum 50), the short one 17,695 (0.4 %):
    (3,896 + 50 - 60,000 + 21,000) / (1.5*0.005 + 0.5*0.004 - 1.5 + 0.5) = 35,054 / 0.9905 = 35,390.21.
    """
    account(
        tmp_path / "hedged", 5_000.0, BTCUSDT=(41_000.0, [(1.0, 39_500.0), (0.5, 41_000.0)], [(0.5, 42_000.0)]),
        ETHUSDT=(2_600.0, [], [(10.0, 2_500.0)]),
    )  # fmt: skip
    browser = desk(tmp_path)
    browser.headers = {"Authorization": f"Bearer {browser.rights.tokens[READS]}"}
    status, found = browser.get("/bots/hedged/risk")
    btc, eth = found["symbols"]
    assert status == 200 and btc["up"] is None and eth["down"] is None
    assert btc["down"] == pytest.approx(35_390.21, abs=0.005)
    assert btc["down"] == pytest.approx(
        by_binance(5_000.0, -1_104.0, (1.5, 40_000.0, 0.005, 50.0), (0.5, 42_000.0, 0.004, 0.0))
    )
    # BTC: +1,500 and +500 unrealised, less 61,500*0.005 - 50 and 20,500*0.004: 1,660.5 for ETH.
    assert eth["up"] == pytest.approx(by_binance(5_000.0, 1_660.5, (0.0, 0.0, 0.0, 0.0), (10.0, 2_500.0, 0.004, 0.0)))
    assert btc["down_distance"] == pytest.approx(1.0 - btc["down"] / 41_000.0)
    legs = {(row["symbol"], row["side"]): row["liquidation"] for row in browser.get("/bots/hedged/legs")[1]}
    assert legs["BTCUSDT", "LONG"] == btc["down"] and legs["ETHUSDT", "SHORT"] == eth["up"]
    assert legs["BTCUSDT", "SHORT"] is None  # no rise liquidates: the long leg wins more


def test_both_symbols_falling_alike_are_liquidated_sooner_than_one_alone(tmp_path):
    """Long 1 at 100 and long 1 at 100, both at 100, wallet 30; rate 0.4 %: at a fall f, 30 - 200 f = 0.8 (1 - f)."""
    bot = account(tmp_path / "two", 30.0, AUSDT=(100.0, [(1.0, 100.0)], []), BUSDT=(100.0, [(1.0, 100.0)], []))
    found = account_risk(bot)
    assert found["together"]["down"] == pytest.approx(29.2 / 199.2)
    assert found["distance"] == found["together"]["down"] < found["symbols"][0]["down_distance"]
    assert found["together"]["up"] is None


@pytest.mark.parametrize(("wallet", "says"), [(5.0, "liquidation price is 4.6% away"), (11.0, ""), (0.5, "80%")])
def test_what_is_near_is_warned_of(tmp_path, wallet, says):
    """Long 1 at 100: liquidated at (100 - wallet) / 0.996; maintenance is 0.4."""
    found = account_risk(account(tmp_path / "near", wallet, AUSDT=(100.0, [(1.0, 100.0)], [])))
    assert found["symbols"][0]["down"] == pytest.approx((100.0 - wallet) / 0.996)
    assert found["margin_ratio"] == pytest.approx(0.4 / wallet)
    assert (says in found["warning"]) if says else found["warning"] == ""


def test_an_account_that_holds_nothing_has_no_distance(tmp_path):
    found = account_risk(account(tmp_path / "flat", 100.0, AUSDT=(100.0, [], [])))
    assert (found["distance"], found["symbols"], found["warning"], found["equity"]) == (None, [], "", 100.0)
