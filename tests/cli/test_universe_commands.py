"""`gridv4 data rank` and `gridv4 params --wallet` on files."""

import json

import pytest
from typer.testing import CliRunner

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import make_app


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("markets")
    market = sample_market(days=8)
    market.candles.to_csv(folder / "BTCUSDT.csv", index=False)
    thin = market.candles.assign(volume=market.candles["volume"] / 50.0)
    thin.to_csv(folder / "ETHUSDT.csv", index=False)
    return [word for name in ("BTCUSDT", "ETHUSDT") for word in ("--data", str(folder / f"{name}.csv"))]


def answer(*words):
    result = CliRunner().invoke(make_app([words[0]]), list(words))
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_list_is_ordered_as_asked_and_each_way_round(files):
    rows = answer("data", "rank", *files, "--days", "5", "--json")
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert rows[0]["volume"] == pytest.approx(50.0 * rows[1]["volume"])
    assert rows[0]["range"] == rows[1]["range"]


def test_an_order_that_there_is_not_is_refused(files):
    result = CliRunner().invoke(make_app(["data"]), ["data", "rank", *files, "--by", "luck"])
    assert result.exit_code != 0


def test_a_wallet_is_told_which_symbols_it_can_trade(files):
    small, large = (answer("params", "--wallet", wallet, *files, "--json") for wallet in ("30", "1000000"))
    assert [row["verdict"] for row in small] == ["none", "none"]
    assert [row["verdict"] for row in large] == ["all", "all"]
    assert small[0]["needed"] == large[0]["needed"]
