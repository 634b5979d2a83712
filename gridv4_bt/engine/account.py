"""One cross-margin wallet; all its bookings are made here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.position import add_part, fee_of, net_pnl, realized_pnl, settle_fills
from gridv4_bt.engine.state import FillColumns, LegState
from gridv4_bt.engine.tracker import PositionTracker
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide

_TOTALS = (
    "start", "wallet", "gross", "fees", "funding", "fills", "maker_executions", "taker_executions", "liquidations",
)  # fmt: skip


class Execution(NamedTuple):
    """One execution, as it is reported to the owner of the order."""

    symbol: str
    side: PositionSide
    opens: bool  #: True adds to the leg, False reduces it
    fill_id: int
    qty: float  #: base units, always positive
    price: float
    fee: float  #: quote, of this execution
    costs: float  #: quote: the fee if it opens; the exit fee plus the funding of the part if it closes
    gross: float  #: realised PnL before costs, quote; 0 if it opens
    label: TradeLabel
    maker: bool


class Account:
    """The wallet, its totals and the executions not yet reported.

    After every booking ``wallet = start + gross - fees - funding``. Each amount is added to the wallet on its own, so
    that the identity is a check.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.wallet = start  #: quote, without unrealised PnL
        self.value = start  #: equity at the last closes, quote
        self.held_notional = 0.0  #: of all positions at the last closes, quote
        self.gross = 0.0  #: realised PnL before costs
        self.fees = 0.0
        self.funding = 0.0  #: paid; negative if received
        self.fills = 0  #: fills opened so far; also the id of the last one
        self.maker_executions = 0
        self.taker_executions = 0
        self.liquidations = 0
        self.closed: list[ClosedTrade] = []
        self.executions: list[Execution] = []

    def totals(self) -> dict[str, Any]:
        """Return wallet and running totals by name, to be saved."""
        return {name: getattr(self, name) for name in _TOTALS}

    def restore(self, totals: Mapping[str, Any]) -> None:
        """Set wallet and running totals to saved ones."""
        for name in _TOTALS:
            setattr(self, name, totals[name])

    def open_fill(
        self,
        symbol: str,
        leg: PositionTracker,
        qty: float,
        price: float,
        time: int,
        regime: int,
        spacing_pct: float,
        fee_rate: float,
        maker: bool,
    ) -> int:
        """Book an entry and return the new fill's id. `fee_rate` is a fraction of the notional."""
        return self.book_open(symbol, leg, qty, price, time, regime, spacing_pct, fee_of(qty, price, fee_rate), maker)

    def book_open(
        self,
        symbol: str,
        leg: PositionTracker,
        qty: float,
        price: float,
        time: int,
        regime: int,
        spacing_pct: float,
        fee: float,
        maker: bool,
    ) -> int:
        """Book an entry at a given fee, quote, and return the new fill's id."""
        charge_entry(self, fee, maker)
        leg.add(Fill(self.fills, qty, price, time, regime, spacing_pct, 0.0, fee))
        self.executions.append(
            Execution(symbol, leg.side, True, self.fills, qty, price, fee, fee, 0.0, TradeLabel.GRID, maker)
        )
        return self.fills

    def close_fill(
        self,
        symbol: str,
        leg: PositionTracker,
        index: int,
        qty: float,
        price: float,
        time: int,
        label: TradeLabel,
        fee_rate: float,
        maker: bool,
    ) -> ClosedTrade:
        """Close `qty` of the fill at `index` of a leg and return the trade."""
        part = leg.close(index, qty)
        fee = fee_of(part.qty, price, fee_rate)
        return self.book_close(symbol, leg, part, price, time, label, fee, maker)

    def book_close(
        self,
        symbol: str,
        leg: PositionTracker,
        part: Fill,
        price: float,
        time: int,
        label: TradeLabel,
        fee: float,
        maker: bool,
    ) -> ClosedTrade:
        """Book the part that `PositionTracker.close` of a leg returned, at a given fee, quote, and return the trade."""
        side, qty, fees = leg.side, part.qty, part.fee + fee
        gross = realized_pnl(int(side), qty, part.price, price)
        charge_exit(self, gross, fee, maker)
        closed = add_part(part.closed_qty, part.closed_net, qty, net_pnl(gross, fees, part.funding))
        bullet = (0.0, 0.0) if leg.note_closed(part.id, *closed) else closed
        trade = ClosedTrade(
            part.id, symbol, side, label, part.regime, part.time, time,
            qty, part.price, price, gross, fees, part.funding, *bullet,
        )  # fmt: skip
        self.closed.append(trade)
        self.executions.append(
            Execution(symbol, side, False, part.id, qty, price, fee, fee + part.funding, gross, label, maker)
        )
        return trade

    def correct_funding(self, legs: Sequence[PositionTracker], paid: float) -> None:
        """Charge funding that no settlement has booked, quote, shared among the open fills by quantity."""
        self.wallet -= paid
        self.funding += paid
        held = plain_sum(leg.qty for leg in legs)
        for leg in legs:
            for index, qty in enumerate(leg.qtys):
                leg.fundings[index] += paid * qty / held


# --- the bookings, on a sweep's records too ---------------------------------------------------------------


def charge_entry(account: Account, fee: float, maker: bool) -> None:
    """Count an opened fill and charge its fee, quote."""
    account.fills += 1
    account.wallet -= fee
    account.fees += fee
    count_execution(account, maker)


def charge_exit(account: Account, gross: float, fee: float, maker: bool) -> None:
    """Book what closing a fill, or a part of it, brings and costs, quote."""
    account.wallet += gross
    account.wallet -= fee
    account.gross += gross
    account.fees += fee
    count_execution(account, maker)


def count_execution(account: Account, maker: bool) -> None:
    """Count an execution."""
    if maker:
        account.maker_executions += 1
    else:
        account.taker_executions += 1


def settle_funding(account: Account, leg: LegState, fills: FillColumns, mark: float, rate: float) -> None:
    """Charge a funding settlement to the fills of a leg."""
    paid = settle_fills(leg.sign, mark, rate, fills.qty, fills.funding, leg.fills)
    account.wallet -= paid
    account.funding += paid
