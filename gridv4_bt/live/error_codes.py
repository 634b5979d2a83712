"""The one table of the exchange's error codes: the reaction to each, its cause, where to look, what a person does.

docs/troubleshooting.md is written from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reaction(StrEnum):
    """The reaction to a failure. A row: name in the log, what the bot does."""

    #: The request may have been executed.
    UNKNOWN = "unknown", "asks for the order by its client id before anything is sent again"
    #: It was not executed.
    RETRY = "retry", "waits a little and sends it again"
    WAIT = "wait", "sends nothing for as long as the exchange says"
    WAIT_ORDERS = "wait_orders", "places no orders for a while; other requests go on"
    RESYNC_CLOCK = "resync_clock", "sets its clock by the exchange's and sends it again once"
    #: A post-only order would have crossed.
    REPRICE = "reprice", "places it a tick away, or at the next candle"
    #: The order is not open any more.
    GONE = "gone", "asks what has become of the order"
    #: An earlier attempt has this id.
    ADOPT = "adopt", "takes the order that is there as its own"
    SUCCESS = "success", "goes on: it is as asked for"
    #: Not at this price or size.
    SKIP = "skip", "gives the order up; the next candle decides anew"
    #: The filters have changed.
    REQUANTISE = "requantise", "reads the market's rules again and rounds anew, once"
    #: The book is too thin for this market order.
    SMALLER = "smaller", "closes by a limit 1 % beyond the last price"
    #: The exchange accepts no entries for now.
    STOP_ADDING = "stop_adding", "adds nothing for now; exits and stops stay"
    FEWER_ORDERS = "fewer_orders", "cancels the entry farthest from the market"
    #: The price has passed the stop.
    CLOSE_NOW = "close_now", "closes the leg at market"
    #: The position is smaller than the books say.
    RESYNC = "resync", "reads positions and trades; its books follow"
    #: Key or clock are refused, which may pass.
    LOCKED_OUT = "locked_out", "tries for five minutes, then ends with exit code 3"
    HALT = "halt", "ends with exit code 3; stops stay"
    #: The request was wrong.
    BUG = "bug", "never sends it again, and alerts"

    meaning: str  #: what the bot does

    def __new__(cls, name: str, meaning: str) -> Self:
        """Make a reaction of its row."""
        reaction = str.__new__(cls, name)
        reaction._value_ = name
        reaction.meaning = meaning
        return reaction


R = Reaction


@dataclass(frozen=True, slots=True)
class CodeRow:
    """What codes of one cause mean, and what is done about them."""

    codes: tuple[int, ...]
    reaction: Reaction
    cause: str
    check: str  #: where a person sees it
    cure: str  #: what a person does; "none" where the bot sees to it


_EVENTS = "the rows `failure` of `events.jsonl`"
_ORDER = "the rows `order_failed` of `events.jsonl`"
_OWN = "the warning `refused` in the log, `order.info.reason`"
_KEY = "row `key may trade` of `--check`"
_NOTHING = "none"

#: Codes of Binance's official list and of measurements; any other code is `Reaction.SKIP`.
TABLE: tuple[CodeRow, ...] = (
    # --- the way to the exchange
    CodeRow(
        (-1000, -1001, -1006, -1007), R.UNKNOWN, "the exchange is overloaded or restarts; the request may have passed",
        "the exchange's status page, the alert `error rate`", "none; if it lasts for hours, `gridv4 status`",
    ),
    CodeRow((-1008,), R.RETRY, "the exchange sheds load; closing orders and cancels pass", _EVENTS, _NOTHING),
    CodeRow(
        (-1003,), R.WAIT, "too many requests from this address (HTTP 429), or a ban (418)", "the alert `silenced`",
        "what else uses this address? stop it, or give the bot an address of its own",
    ),
    CodeRow(
        (-1015,), R.WAIT_ORDERS, "too many orders in ten seconds or a minute, of all bots of this account", _ORDER,
        "fewer bots on this account, or fewer `levels`",
    ),
    CodeRow(
        (-1021, -5028), R.RESYNC_CLOCK, "this machine's clock is wrong, or the way to the exchange takes seconds",
        "row `clock` of `--check`", "synchronise this machine's clock (NTP)",
    ),
    # --- key and account
    CodeRow((-1022,), R.LOCKED_OUT, "the signature is wrong: another secret than the key's", _KEY, "check the secret"),
    CodeRow((-2014,), R.LOCKED_OUT, "the key is not written as keys are", _KEY, "check the key"),
    CodeRow(
        (-2015,), R.LOCKED_OUT, "the key is unknown, lacks a right, or is used from another address",
        _KEY,
        "check the key, its futures permission and its list of addresses",
    ),
    CodeRow(
        (-2023,), R.HALT, "the account is being liquidated", "the exchange's page",
        "decide what becomes of the positions that are left, then start again",
    ),
    CodeRow(
        (-4061,), R.HALT, "the account is in one-way mode, or an own strategy's order names no positionSide",
        "row `hedge mode` of `--check`",
        "close all positions and cancel all orders, then set hedge mode again",
    ),
    CodeRow(
        (-4067, -4068), R.HALT, "hedge mode cannot be set while there are orders (-4067) or positions (-4068)",
        "row `hedge mode` of `--check`", "close all positions and cancel all orders of the account, then start again",
    ),
    CodeRow(
        (-4531,), R.HALT, "hedge mode cannot be set: the coin-margined account has orders or positions",
        "the exchange's page of COIN-M futures", "close them there, then start again",
    ),
    CodeRow(
        (-4047, -4048), R.HALT, "cross margin cannot be set while there are orders (-4047) or a position (-4048)",
        "row `leverage` of `--check`", "close this symbol's positions and orders, then start again",
    ),
    CodeRow((-4059, -4046, -5027), R.SUCCESS, "the setting or order is as asked for already", _EVENTS, _NOTHING),
    CodeRow(
        (-4087, -4088, -4192, -4400), R.STOP_ADDING,
        "the exchange lets this account only close: its rights (-4087, -4088), a cooling-off period (-4192), its rules "
        "on order flow (-4400)",
        "the alert `entries refused`, the exchange's messages to you",
        "wait for the time it names, or ask the exchange",
    ),
    CodeRow(
        (-4140, -4188), R.SKIP, "the symbol does not trade now, or is to be delisted", "the exchange's notice",
        "close by the exchange's date; trade another symbol",
    ),
    CodeRow(
        (-4411,), R.SKIP, "the account has not signed the agreement for this kind of contract", "the exchange's page",
        "sign it there, or trade another symbol",
    ),
    # --- margin and size
    CodeRow(
        (-2018, -2019, -2024), R.STOP_ADDING, "margin is short", "`margin_ratio` in `gridv4 status`",
        "a larger wallet, smaller `order_pct` or `max_inventory`",
    ),
    CodeRow(
        (-2027,), R.STOP_ADDING, "the leg would pass the bracket of this leverage", "the exchange's bracket table",
        "a smaller `leverage` or `max_inventory`",
    ),
    CodeRow(
        (-2028,), R.STOP_ADDING, "the wallet is too small for a change to this leverage",
        "row `leverage` of `--check`", "`--set leverage=...`, larger, or a larger wallet",
    ),
    CodeRow(
        (-4028,), R.SKIP, "the symbol does not have this leverage", "the exchange's bracket table",
        "`--set leverage=...`, smaller",
    ),
    CodeRow(
        (-4164,), R.SKIP, "the order is below the least notional", "row `order size` of `--check`",
        "a larger wallet or `order_pct`",
    ),
    CodeRow(
        (-1111, -4003, -4004, -4005, -4013, -4014, -4023), R.REQUANTISE,
        "price or quantity do not fit the market's filters", "the alert `rules changed`",
        "none; in an own strategy, round both to the market's steps",
    ),
    CodeRow(
        (-4016, -4024), R.SKIP, "a limit too far through the market for the price filter", _ORDER, _NOTHING,
    ),
    CodeRow(
        (-4131,), R.SMALLER, "the book is too thin for an order at market", "the alert `order refused`",
        "none; if it repeats, trade a symbol with a deeper book",
    ),
    CodeRow(
        (-2025, -4045), R.FEWER_ORDERS, "too many open orders (-2025) or stops (-4045), a person's included",
        "`gridv4 status`, the exchange's list", "cancel orders that are not the bot's, or fewer `levels`",
    ),
    # --- one order
    CodeRow((-2010, -2020), R.SKIP, "the exchange takes or fills this order not now", _ORDER, _NOTHING),
    CodeRow(
        (-2011, -2013), R.GONE, "the order is over, or not yet known to the server that was asked", _EVENTS,
        "none; if the alert `order not found` repeats, look at the exchange's page",
    ),
    CodeRow(
        (-2021, -4142), R.CLOSE_NOW, "the price is beyond the stop already", "the alert `stop passed`", _NOTHING,
    ),
    CodeRow(
        (-2022, -4118), R.RESYNC, "the leg holds less than the order would close", "the alert `written off`",
        "was it you? if not, change the key; in an own strategy, close no more than the leg holds",
    ),
    CodeRow((-4116,), R.ADOPT, "an order with this client id is open: an earlier attempt arrived", _EVENTS, _NOTHING),
    CodeRow((-4130,), R.SKIP, "the leg has a stop for the whole position already", _ORDER, _NOTHING),
    CodeRow(
        (-5021, -5022), R.REPRICE, "a FOK order would not have filled (-5021), a post-only one have taken (-5022)",
        _ORDER, _NOTHING,
    ),
    # --- what the request says
    CodeRow(
        (-1102, -1106, -1116, -1128, -1130, -4060, -4120), R.BUG,
        "the request is not as the exchange wants it: of an own strategy, arguments of its order; else the exchange "
        "has changed its rules, or it is a fault of the bot",
        f"{_OWN}; the alert `order refused`", "the arguments that the text names; else update the bot",
    ),
    CodeRow(
        (-1104, -1115, -1117, -2007, -4015), R.SKIP,
        "an argument of an own strategy's order: one that is not read (-1104), `timeInForce` (-1115), the side "
        "(-1117), `trailpercent` (-2007), the client id (-4015)",
        _OWN, "the arguments that the text names",
    ),
    CodeRow((-4141,), R.SKIP, "an order for a symbol whose data are over: it was delisted", _OWN, "place it before"),
    CodeRow(
        (-1120, -1121), R.SKIP, "the exchange has no such interval (-1120) or symbol (-1121)",
        "`gridv4 config show`", "the name as the exchange writes it, BTC/USDT:USDT",
    ),
    CodeRow(
        (-1101, -5000), R.SKIP, "the exchange does not have this request, or not so (HTTP 404)",
        "`gridv4 live ... --check`", "update the bot; at the local exchange: it answers what the bot asks, no more",
    ),
)  # fmt: skip

ROWS: Mapping[int, CodeRow] = {code: row for row in TABLE for code in row.codes}
