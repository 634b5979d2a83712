"""The settings of Backtrader's own broker on a margin account: each works as documented there, or says what to do.

`cash`, fees, leverage and slippage can be set by the constructor, as attributes of ``broker.p`` or by Backtrader's
``setcash``, ``setcommission``, ``set_slippage_perc``; all of it is checked when it is given and when a run starts.
"""

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from numbers import Real
from typing import Any, NoReturn

import backtrader as bt

from brokers.base import HedgeModeBroker
from gridv4_bt.config import backtrader_params, bounds, check_parameter
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.market import Market, MarketHistory
from gridv4_bt.errors import ConfigError

#: The parameters of a simulated exchange, all numbers but those of TEXTS.
TERMS = tuple(name for name, _ in backtrader_params("exchange"))
TEXTS = ("fill_rule", "intrabar")
FEES = ("maker_fee", "taker_fee")
#: What this account does in place of settings of Backtrader's broker, by the name of the setting.
INSTEAD = {
    "coc": "a market order fills at the next open, never at a close that was already seen",
    "coo": "a market order fills at the next open; order in next(), not in next_open()",
    "slip_perc": "give slippage, a fraction of the price of market and stop orders",
    "slip_fixed": "slippage is a fraction of the price: use set_slippage_perc() or slippage",
    "slip_open": "market orders fill at the open and always slip; slippage=0 for none",
    "slip_limit": "a limit order fills at its limit price and never slips",
    "slip_match": "slippage is not capped by the bar's high and low",
    "slip_out": "slippage is not capped by the bar's high and low",
    "filler": "a bar with volume fills the whole order; fill_rule='through' is stricter",
    "checksubmit": "margin is always checked, as at the exchange",
    "eosbar": "orders at the close of a session are not supported: a perpetual has no session",
    "int2pnl": "there is no interest; funding is part of each trade's costs",
    "shortcash": "a short moves no cash on a margin account",
    "fundmode": "call set_fundmode(True)",
    "fundstartval": "call set_fundmode(True, fundstartval)",
}


def refuse(setting: str, instead: str) -> NoReturn:
    """Raise the ConfigError that says what to do in place of a setting."""
    raise ConfigError(f"{setting}: {instead}")


class BrokerSettings(HedgeModeBroker):
    """A broker whose cash, fees, leverage and slippage can be set as those of Backtrader's own.

    Raises
    ------
    ConfigError
        A value is out of bounds or of the wrong kind, or the broker has no such parameter.
    """

    params = (("cash", 10000.0), ("commission", None), ("markets", None), *backtrader_params("exchange"))

    def __init__(self, **unknown: Any) -> None:
        for name in unknown:
            refuse(name, INSTEAD.get(name, f"no parameter of {type(self).__name__}; see `gridv4 params`"))
        super().__init__()
        self._is_running = False
        self._fees_of: dict[str, float] = {}  # that replace maker and taker fee, by the feed's name
        self._fundmode = False
        self._fund_start = 100.0  # value of a share at the start
        self._deposits: deque[float] = deque()
        self._checked: tuple[Any, ...] = ()
        if self.p.commission is not None:
            self._take_commission(self.p.commission)
        self.open_account()

    def start(self) -> None:
        """Check the parameters and reset the account."""
        super().start()
        self._is_running = True
        self.open_account()

    def stop(self) -> None:
        """Allow settings again: the run is over."""
        super().stop()
        self._is_running = False

    def open_account(self) -> None:
        """Check the parameters and begin with an account of `cash`."""
        self.check()
        self.startingcash = self.p.cash
        self.account = Account(self.p.cash)
        self._shares: float = self.p.cash / self._fund_start
        self._deposits.clear()

    def check(self) -> None:
        """Refuse parameters that make no account."""
        p = self.p
        given = (p.cash, *(getattr(p, name) for name in TERMS))
        if given == self._checked:
            return
        p.cash = _number("cash", p.cash)
        if p.cash < 0.0:
            refuse("cash", f"expected 0 or more, got {p.cash:g}")
        for name in TERMS:
            value = getattr(p, name)
            if name in TEXTS and value not in bounds(name).split():
                refuse(name, f"{value!r} is none of {', '.join(bounds(name).split())}")
            setattr(p, name, check_parameter(name, value if name in TEXTS else _number(name, value)))
        markets = p.markets or {}
        if not isinstance(markets, Mapping) or not all(isinstance(m, Market | MarketHistory) for m in markets.values()):
            refuse("markets", "expected a Market or MarketHistory by symbol, see gridv4_bt.engine.market")
        self._checked = (p.cash, *(getattr(p, name) for name in TERMS))

    @abstractmethod
    def available_margin(self) -> float:
        """Return the equity that is not initial margin of positions or opening orders, quote."""

    def terms(self, data: bt.AbstractDataBase) -> dict[str, Any]:
        values = {name: getattr(self.p, name) for name in TERMS}
        fee = self._fees_of.get(data._name)
        return values if fee is None else values | dict.fromkeys(FEES, fee)

    # --- cash

    def set_cash(self, cash: float) -> None:
        """Set the wallet with which a run begins, quote."""
        self._before_the_run("setcash", "call it before cerebro.run(); add_cash() pays in and out during a run")
        self.p.cash = cash
        self.open_account()

    setcash = set_cash

    def add_cash(self, cash: float) -> None:
        """Pay in, or out if negative: at once before a run, during one with the next bar. It is no profit."""
        cash = _number("add_cash", cash)
        if not self._is_running:
            self.p.cash += cash
            self.open_account()
            return
        free = self.available_margin() + math.fsum(self._deposits)
        if -cash > free:
            refuse("add_cash", f"{-cash:g} cannot be paid out, only {free:g} is free")
        self._deposits.append(cash)

    def _pay_in(self) -> None:
        """Book what was paid in since the bar before; the fund issues shares for it."""
        while self._deposits:
            cash = self._deposits.popleft()
            if (value := self.get_fundvalue()) > 0.0:
                self._shares += cash / value
            self.account.start += cash
            self.account.wallet += cash
            self.account.value += cash

    # --- the performance of a fund, which deposits do not change

    def set_fundmode(self, fundmode: bool, fundstartval: float | None = None) -> None:
        """Measure returns by the value of a share (`fundstartval` at the start, 100 by default)."""
        if fundstartval is not None:
            self.set_fundstartval(fundstartval)
        self._fundmode = bool(fundmode)

    def get_fundmode(self) -> bool:
        """Return whether returns are measured by the value of a share."""
        return self._fundmode

    fundmode = property(get_fundmode, set_fundmode)

    def set_fundstartval(self, fundstartval: float) -> None:
        """Set the value of a share at the start."""
        self._before_the_run("set_fundstartval", "call it before cerebro.run()")
        value = _number("fundstartval", fundstartval)
        if value <= 0.0:
            refuse("fundstartval", f"expected more than 0, got {value:g}")
        self._fund_start = value
        self.open_account()

    def get_fundshares(self) -> float:
        """Return the number of shares."""
        return self._shares

    fundshares = property(get_fundshares)

    def get_fundvalue(self) -> float:
        """Return the value of a share."""
        value: float = self.account.value
        return value / self._shares if self._shares else 0.0

    fundvalue = property(get_fundvalue)

    # --- fees, leverage and slippage

    def setcommission(
        self,
        commission: float = 0.0,
        margin: float | None = None,
        mult: float = 1.0,
        commtype: int | None = None,
        percabs: bool = True,
        stocklike: bool = False,
        interest: float = 0.0,
        interest_long: bool = False,
        leverage: float | None = None,
        automargin: bool | float = False,
        name: str | None = None,
    ) -> None:
        """Set one fee for makers and takers, a fraction of the notional, of all symbols or of one; and the leverage.

        Raises
        ------
        ConfigError
            A fee by contract, a fixed margin, a multiplier, interest, or the leverage of a single symbol.
        """
        if commtype == bt.CommInfoBase.COMM_FIXED or margin is not None or automargin:
            refuse("setcommission", "the fee is a fraction of the notional, and leverage decides the margin")
        _refuse_scheme(mult, interest)
        if stocklike:
            refuse("setcommission", "a perpetual is not stock-like; leverage=1 binds the whole notional")
        self._set_fee(_number("commission", commission) / (1.0 if percabs else 100.0), leverage, name)

    def addcommissioninfo(self, comminfo: bt.CommInfoBase, name: str | None = None) -> None:
        """Take the fee of a scheme that charges a fraction of the notional, and its leverage unless that is 1."""
        leverage = comminfo.get_leverage()
        _refuse_scheme(comminfo.p.mult, comminfo.p.interest)
        self._set_fee(_rate_of(comminfo), None if leverage == 1.0 else leverage, name)

    def set_slippage_perc(
        self,
        perc: float,
        slip_open: bool = True,
        slip_limit: bool = True,
        slip_match: bool = True,
        slip_out: bool = False,
    ) -> None:
        """Set the slippage of market and stop orders, a fraction of the price; the bar's range does not cap it."""
        for setting, value in (("slip_open", slip_open), ("slip_limit", slip_limit), ("slip_match", slip_match)):
            if not value:
                refuse(setting, INSTEAD[setting])
        self._before_the_run("set_slippage_perc", "call it before cerebro.run()")
        self.p.slippage = perc
        self.check()

    def set_slippage_fixed(self, fixed: float, **slip: bool) -> None:
        """Refuse a slippage in units of price; 0 is none."""
        if fixed:
            refuse("set_slippage_fixed", INSTEAD["slip_fixed"])
        self.set_slippage_perc(0.0, **slip)

    def _take_commission(self, commission: Any) -> None:
        for name, value in backtrader_params("exchange"):
            if name in FEES and getattr(self.p, name) != value:
                refuse("commission", f"it is one fee for makers and takers; give it or {name}, not both")
        if isinstance(commission, bt.CommInfoBase):
            self.addcommissioninfo(commission)
        else:
            self.setcommission(commission)

    def _set_fee(self, fee: float, leverage: float | None, name: str | None) -> None:
        self._before_the_run("setcommission", "call it before cerebro.run()")
        for fee_name in FEES:
            check_parameter(fee_name, fee)
        if name is not None:
            if leverage is not None:
                refuse("setcommission", "the leverage is the account's: set it without a name")
            self._fees_of[name] = fee
            return
        self.p.maker_fee = self.p.taker_fee = fee
        if leverage is not None:
            self.p.leverage = leverage
        self.check()

    def _before_the_run(self, setting: str, instead: str) -> None:
        if self._is_running:
            refuse(setting, instead)

    # --- settings that would change the rules of the exchange

    def set_coc(self, coc: bool) -> None:
        """Refuse cheat-on-close."""
        _only(False, coc, "coc")

    def set_coo(self, coo: bool) -> None:
        """Refuse cheat-on-open."""
        _only(False, coo, "coo")

    def set_filler(self, filler: Any) -> None:
        """Refuse a volume filler."""
        _only(None, filler, "filler")

    def set_checksubmit(self, checksubmit: bool) -> None:
        """Refuse to leave the margin unchecked."""
        _only(True, checksubmit, "checksubmit")

    def set_eosbar(self, eosbar: bool) -> None:
        """Refuse sessions."""
        _only(False, eosbar, "eosbar")

    seteosbar = set_eosbar

    def set_int2pnl(self, int2pnl: bool) -> None:
        """Refuse to keep funding out of the trades."""
        _only(True, int2pnl, "int2pnl")

    def set_shortcash(self, shortcash: bool) -> None:
        """Refuse cash for shorts."""
        refuse("set_shortcash", INSTEAD["shortcash"])

    def add_order_history(self, orders: Any, notify: bool = False) -> None:
        """Refuse a history of orders."""
        refuse("add_order_history", "orders that were executed elsewhere cannot be matched here; place them in next()")

    def set_fund_history(self, fund: Any) -> None:
        """Refuse a history of a fund."""
        refuse("add_fund_history", "value and cash are those of the account; set_fundmode(True) measures it as a fund")

    def get_value_lever(self, datas: Any = None, mkt: bool = False) -> float:
        """Refuse a second measure of the value."""
        refuse("get_value_lever", "getvalue() is the equity, get_leverage() the notional held by unit of it")


def _only(allowed: object, value: object, setting: str) -> None:
    if bool(value) != bool(allowed):
        refuse(f"set_{setting}", INSTEAD[setting])


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        refuse(name, f"expected a number, got {value!r}")
    return float(value)


def _refuse_scheme(mult: float, interest: float) -> None:
    if mult != 1.0:
        refuse("mult", "a linear perpetual has none; sizes are base units")
    if interest:
        refuse("interest", "a perpetual charges funding: give CandleFeed(funding=...)")


def _rate_of(comminfo: bt.CommInfoBase) -> float:
    """Return the fraction of the notional that a scheme charges; refuse one that charges something else."""
    rate = comminfo.getcommission(1.0, 100.0) / 100.0
    for size, price in ((-2.0, 100.0), (0.5, 40_000.0), (1_000.0, 0.25)):
        if not math.isclose(comminfo.getcommission(size, price), rate * abs(size) * price, rel_tol=1e-9, abs_tol=1e-12):
            refuse("addcommissioninfo", "the fee must be one fraction of the notional, such as commission=0.0004")
    return rate
