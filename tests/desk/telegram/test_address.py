"""The words after a command."""

import pytest

from gridv4_bt.desk.telegram.address import Misunderstood, read_address


class Trades:
    def __init__(self, *symbols):
        self._symbols = symbols

    def symbols(self):
        return list(self._symbols)


ONE = {"busy": Trades("BTCUSDT", "ETHUSDT")}
TWO = {"busy": Trades("BTCUSDT"), "calm": Trades("SOLUSDT", "SOLUSDC")}


@pytest.mark.parametrize(
    ("words", "bots", "scope", "bot", "count"),
    [
        ("", ONE, "account", "busy", None),
        ("BTCUSDT", ONE, "BTCUSDT", "busy", None),
        ("btc long", ONE, "BTCUSDT LONG", "busy", None),
        ("ETH/USDT:USDT S", ONE, "ETHUSDT SHORT", "busy", None),
        ("BUSY eth 12", ONE, "ETHUSDT", "busy", 12),
        ("calm", TWO, "account", "calm", None),
        ("busy short", TWO, "BTCUSDT SHORT", "busy", None),  # it has one symbol
        ("calm SOLUSDC", TWO, "SOLUSDC", "calm", None),
        ("calm all", TWO, "account", "calm", None),
    ],
)
def test_they_name_bot_symbol_leg_and_number(words, bots, scope, bot, count):
    found = read_address(words.split(), bots)
    assert (found.scope, found.bot, found.count) == (scope, bot, count)


@pytest.mark.parametrize(
    ("words", "bots", "said"),
    [
        ("", {}, "there is no bot yet"),
        ("BTCUSDT", TWO, "name one of the bots after the command: busy, calm"),
        ("DOGE", ONE, "'DOGE' is no symbol of busy, which trades BTCUSDT, ETHUSDT"),
        ("calm SOL", TWO, "'SOL' may be SOLUSDT, SOLUSDC"),
        ("long", ONE, "name the symbol of the leg: BTCUSDT, ETHUSDT"),
        ("account btc", ONE, "name the account, a symbol, or a symbol and its leg"),
        ("/", ONE, "is no symbol"),
        ("btc 0%", ONE, "'0%' is no share: write 1% to 100%"),
        ("btc 101%", ONE, "'101%' is no share"),
        ("btc half%", ONE, "'half%' is no share"),
    ],
)
def test_what_means_nothing_or_two_things_is_asked_back(words, bots, said):
    with pytest.raises(Misunderstood) as error:
        read_address(words.split(), bots)
    assert said in str(error.value)


def test_a_share_is_a_whole_percentage():
    assert read_address(["btc", "long", "50%"], ONE).share == 0.5 and read_address(["btc"], ONE).share == 1.0
