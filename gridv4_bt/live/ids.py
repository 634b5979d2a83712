"""Client order ids, from which bot, symbol, leg and purpose of an order can be read.

`g4a7f.BTCUSDT.EL3.1z` is the bot g4a7f's entry at LONG level 3, generation 71. A generation is used once in the life
of a bot, so no two of its orders share an id.
"""

import hashlib
import re
from enum import StrEnum
from typing import NamedTuple

from gridv4_bt.engine.types import PositionSide

#: What Binance accepts as newClientOrderId and clientAlgoId; ccxt does not check it.
ACCEPTED = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_OURS = re.compile(r"([a-z0-9]{1,6})\.([A-Z0-9]{1,12})\.([EXSCOR])([LS])([a-z0-9]{1,6})\.([a-z0-9]{1,6})")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LARGEST = 36**6 - 1


class Purpose(StrEnum):
    """What an order is for."""

    ENTRY = "E"  #: rests at a grid level and adds to the leg
    EXIT = "X"  #: rests at the take-profit price of one fill
    STOP = "S"  #: closes the whole leg
    CLOSE = "C"  #: closes a fill, or a part of it, at market
    OPEN = "O"  #: an order of a strategy of the user's own that adds to the leg
    REDUCE = "R"  #: one that closes the leg, or a part of it

    @property
    def opens(self) -> bool:
        """Return whether such an order adds to its leg."""
        return self in (Purpose.ENTRY, Purpose.OPEN)


class OrderKey(NamedTuple):
    """What an order is for; every attempt to place it has the same key and an id of its own."""

    symbol: str  #: the exchange's name
    side: PositionSide
    purpose: Purpose
    #: Of an entry its grid level from 1, of an exit or close its fill id, of a strategy's own order a hash of what it
    #: asks for; 0 for the stop of the leg.
    ref: int


class OrderId(NamedTuple):
    """The parts of a client order id."""

    bot: str
    tag: str  #: the symbol, see `symbol_tag`
    side: PositionSide
    purpose: Purpose
    ref: int
    generation: int

    def serves(self, key: OrderKey) -> bool:
        """Return whether the order was placed for a key."""
        return (self.tag, self.side, self.purpose, self.ref) == (symbol_tag(key.symbol), *key[1:])


def make_id(bot: str, key: OrderKey, generation: int) -> str:
    """Return the client order id of the `generation`-th order of a bot.

    Raises
    ------
    ValueError
        The exchange would refuse the id: the bot's name is not 1 to 6 small letters and digits, or a number has more
        than six digits in base 36.
    """
    leg = f"{key.purpose}{key.side.name[0]}{_base36(key.ref)}"
    text = f"{bot}.{symbol_tag(key.symbol)}.{leg}.{_base36(generation)}"
    if not _OURS.fullmatch(text) or not ACCEPTED.fullmatch(text):
        raise ValueError(f"{text!r} is no client order id: the bot's name is 1 to 6 of a-z and 0-9")
    return text


def parse_id(text: str | None) -> OrderId | None:
    """Return the parts of an id made by `make_id`, None for any other id."""
    match = _OURS.fullmatch(text or "")
    if match is None:
        return None
    bot, tag, purpose, side, ref, generation = match.groups()
    leg = PositionSide.LONG if side == "L" else PositionSide.SHORT
    return OrderId(bot, tag, leg, Purpose(purpose), int(ref, 36), int(generation, 36))


def parse_own_id(text: str) -> OrderId:
    """Return the parts of an id made by `make_id`.

    Raises
    ------
    ValueError
        The id is of another form.
    """
    parsed = parse_id(text)
    if parsed is None:
        raise ValueError(f"{text!r} is no client order id of ours")
    return parsed


def content_ref(*content: object) -> int:
    """Return a number that the same content gives always, for the `ref` of an order."""
    return int.from_bytes(hashlib.sha256(repr(content).encode()).digest()[:8], "big") % _LARGEST


def symbol_tag(symbol: str) -> str:
    """Return a symbol in at most 12 letters and digits; a longer one is cut and ends in a hash of the whole."""
    plain = re.sub(r"[^A-Z0-9]", "", symbol.upper())
    if len(plain) <= 12 and plain == symbol:
        return plain
    return plain[:7] + hashlib.sha256(symbol.encode()).hexdigest()[:5].upper()


def _base36(number: int) -> str:
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{number} does not fit into an id")
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
