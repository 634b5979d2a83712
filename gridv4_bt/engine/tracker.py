"""The fills of one leg, kept as objects."""

from gridv4_bt.engine.leg import average_price, sum_up, unrealized
from gridv4_bt.engine.position import LOT_NOISE, part_of, takes_all
from gridv4_bt.engine.state import FillColumns, LegState
from gridv4_bt.engine.types import Fill, PositionSide


class PositionTracker:
    """The open fills of one positionSide of one symbol, oldest first.

    Fills are kept as columns (``ids``, ``qtys``, ``prices``, ...), one list for each field of `Fill`, because the rules
    that run every bar work on flat arrays. ``qty`` and ``cost`` are summed anew at every change, so they never drift;
    ``version`` counts the changes. `leg` and `columns` are what the steps of a strategy and the phases of a bar see.
    """

    __slots__ = (
        "closed_nets",
        "closed_qtys",
        "columns",
        "fees",
        "fundings",
        "ids",
        "leg",
        "prices",
        "qtys",
        "regimes",
        "side",
        "sign",
        "spacings",
        "times",
        "version",
    )  # fmt: skip

    def __init__(self, side: PositionSide) -> None:
        self.side = side
        self.sign = int(side)
        self.leg = LegState(sign=self.sign)
        self.columns = columns = FillColumns(*([] for _ in Fill._fields))
        self.ids, self.times, self.regimes = columns.id, columns.time, columns.regime
        self.qtys, self.prices, self.spacings = columns.qty, columns.price, columns.spacing_pct
        self.fundings, self.fees = columns.funding, columns.fee
        self.closed_qtys, self.closed_nets = columns.closed_qty, columns.closed_net
        self.version = 0

    def __len__(self) -> int:
        return len(self.ids)

    def fill(self, index: int) -> Fill:
        """Return the fill at an index of the columns."""
        return Fill(
            self.ids[index],
            self.qtys[index],
            self.prices[index],
            self.times[index],
            self.regimes[index],
            self.spacings[index],
            self.fundings[index],
            self.fees[index],
            self.closed_qtys[index],
            self.closed_nets[index],
        )

    @property
    def qty(self) -> float:
        """Base units held."""
        return self.leg.qty

    @property
    def cost(self) -> float:
        """Sum of qty*price, quote."""
        return self.leg.cost

    @property
    def fills(self) -> list[Fill]:
        """All open fills, oldest first."""
        return [self.fill(index) for index in range(len(self.ids))]

    @property
    def average(self) -> float:
        """Average entry price; NaN when nothing is held."""
        return average_price(self.leg) if self.ids else float("nan")

    def unrealized(self, price: float) -> float:
        """Return the unrealised PnL at a price, before the cost of closing, quote."""
        return unrealized(self.leg, price)

    def add(self, fill: Fill) -> None:
        """Append a new fill.

        Raises
        ------
        ValueError
            The quantity or the price is not above zero.
        """
        if not fill.qty > 0.0 or not fill.price > 0.0:
            raise ValueError(f"fill {fill.id}: qty {fill.qty} and price {fill.price} must be above 0")
        self.ids.append(fill.id)
        self.qtys.append(fill.qty)
        self.prices.append(fill.price)
        self.times.append(fill.time)
        self.regimes.append(fill.regime)
        self.spacings.append(fill.spacing_pct)
        self.fundings.append(fill.funding)
        self.fees.append(fill.fee)
        self.closed_qtys.append(fill.closed_qty)
        self.closed_nets.append(fill.closed_net)
        self._sum()

    def close(self, index: int, qty: float) -> Fill:
        """Take `qty` out of the fill at `index` and return the closed part.

        A qty within `LOT_NOISE` of the whole fill closes the whole fill. Its entry fee and funding are shared in
        proportion; the last part takes the rest. `note_closed` is called once the part's net is known.

        Raises
        ------
        ValueError
            `qty` is not above 0, or more than is open.
        """
        open_qty = self.qtys[index]
        if not 0.0 < qty <= open_qty * (1.0 + LOT_NOISE):
            raise ValueError(f"fill {self.ids[index]}: cannot close {qty} of {open_qty}")
        whole = self.fill(index)
        if takes_all(qty, open_qty):
            for column in self._columns():
                del column[index]
            self._sum()
            return whole
        part = Fill(
            whole.id,
            qty,
            whole.price,
            whole.time,
            whole.regime,
            whole.spacing_pct,
            part_of(whole.funding, qty, open_qty),
            part_of(whole.fee, qty, open_qty),
            whole.closed_qty,
            whole.closed_net,
        )
        self.qtys[index] = open_qty - qty
        self.fundings[index] = whole.funding - part.funding
        self.fees[index] = whole.fee - part.fee
        self._sum()
        return part

    def note_closed(self, fill_id: int, qty: float, net: float) -> bool:
        """Note what all closed parts of a fill have taken and brought; return False if nothing of it is open."""
        if fill_id not in self.ids:
            return False
        index = self.ids.index(fill_id)
        self.closed_qtys[index], self.closed_nets[index] = qty, net
        return True

    def _columns(self) -> tuple[list[int] | list[float], ...]:
        return (
            self.ids, self.qtys, self.prices, self.times, self.regimes, self.spacings, self.fundings, self.fees,
            self.closed_qtys, self.closed_nets,
        )  # fmt: skip

    def _sum(self) -> None:
        self.leg.fills = len(self.qtys)
        sum_up(self.leg, self.columns)
        self.version += 1
