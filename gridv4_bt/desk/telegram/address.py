"""What the words after a command speak of: a bot, a symbol, a leg, a number, a share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.errors import GridV4Error
from gridv4_bt.live.command_files import ACCOUNT

_SIDES = {"LONG": "LONG", "L": "LONG", "SHORT": "SHORT", "S": "SHORT"}


class Misunderstood(GridV4Error):
    """The words make no sense; the message is the answer."""


@dataclass(frozen=True)
class Address:
    """What a command speaks of."""

    bot: str
    symbol: str | None = None
    side: str | None = None  #: LONG or SHORT
    count: int | None = None
    is_account: bool = False  #: the account was named
    share: float = 1.0  #: above 0, at most 1: how much of it

    @property
    def scope(self) -> str:
        """The scope of a command to the bot: the account, a symbol, or a symbol and its leg."""
        if self.symbol is None:
            return ACCOUNT
        return f"{self.symbol} {self.side}" if self.side else self.symbol


def read_address(words: Sequence[str], bots: Mapping[str, BotFiles]) -> Address:
    """Return what the words after a command speak of; the bot may be left out if there is only one.

    Raises
    ------
    Misunderstood
        A word means nothing, or more than one thing.
    """
    if not bots:
        raise Misunderstood("there is no bot yet")
    left = list(words)
    named = {name.lower(): name for name in bots}
    if left and left[0].lower() in named:
        bot = named[left.pop(0).lower()]
    elif len(bots) == 1:
        bot = next(iter(bots))
    else:
        raise Misunderstood(f"name one of the bots after the command: {', '.join(bots)}")
    symbols = bots[bot].symbols()
    symbol = side = count = None
    is_account, share = False, 1.0
    for word in left:
        if word.lower() in (ACCOUNT, "all"):
            is_account = True
        elif word.isdecimal() and len(word) <= 4:
            count = int(word)
        elif word.endswith("%"):
            share = _share(word)
        elif word.upper() in _SIDES:
            side = _SIDES[word.upper()]
        else:
            symbol = _symbol(word, symbols, bot)
    if side is not None and symbol is None:
        if len(symbols) != 1:
            raise Misunderstood(f"name the symbol of the leg: {', '.join(symbols) or 'none yet'}")
        symbol = symbols[0]
    if is_account and symbol is not None:
        raise Misunderstood("name the account, a symbol, or a symbol and its leg, not two of them")
    return Address(bot, symbol, side, count, is_account, share)


def _share(word: str) -> float:
    number = word.removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number[:4]) <= 100:
        raise Misunderstood(f"{word[:40]!r} is no share: write 1% to 100%")
    return int(number) / 100.0


def _symbol(word: str, symbols: Sequence[str], bot: str) -> str:
    """Return the symbol that a word names, whole, in ccxt's form, or by its beginning."""
    name = word.partition(":")[0].replace("/", "").upper()
    found = [one for one in symbols if one == name] or [one for one in symbols if name and one.startswith(name)]
    if len(found) > 1:
        raise Misunderstood(f"{word[:40]!r} may be {', '.join(found)}")
    if not found:
        raise Misunderstood(f"{word[:40]!r} is no symbol of {bot}, which trades {', '.join(symbols) or 'none yet'}")
    return found[0]
