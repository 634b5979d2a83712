import datetime
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from .comminfo import CommInfoBase
from .feed import AbstractDataBase
from .metabase import AutoOrderedDict, MetaParams
from .strategy import Strategy

class OrderData:
    exbits: deque[Any]
    dt: float | None
    size: float
    remsize: float
    price: float
    pricelimit: float
    value: float
    comm: float
    pnl: float
    def __init__(
        self,
        dt: float | None = None,
        size: float = 0,
        price: float = 0.0,
        pricelimit: float = 0.0,
        remsize: float = 0,
        pclose: float = 0.0,
        trailamount: float = 0.0,
        trailpercent: float = 0.0,
    ) -> None: ...
    def add(
        self,
        dt: float,
        size: float,
        price: float,
        closed: float = 0,
        closedvalue: float = 0.0,
        closedcomm: float = 0.0,
        opened: float = 0,
        openedvalue: float = 0.0,
        openedcomm: float = 0.0,
        pnl: float = 0.0,
        psize: float = 0,
        pprice: float = 0.0,
    ) -> None: ...
    def addbit(self, exbit: Any) -> None: ...
    def markpending(self) -> None: ...

class OrderBase(metaclass=MetaParams):
    DAY: datetime.timedelta
    Market: int
    Close: int
    Limit: int
    Stop: int
    StopLimit: int
    StopTrail: int
    StopTrailLimit: int
    Historical: int
    Created: int
    Submitted: int
    Accepted: int
    Partial: int
    Completed: int
    Canceled: int
    Expired: int
    Margin: int
    Rejected: int
    refbasis: Iterator[int]
    p: Any
    # Parameters, of which every order has its own.
    owner: Strategy | None
    data: AbstractDataBase
    size: float
    price: float | None
    pricelimit: float | None
    exectype: int
    valid: datetime.date | datetime.timedelta | float | None
    tradeid: int
    trailamount: float | None
    trailpercent: float | None
    oco: Order | None
    parent: Order | None
    transmit: bool

    ref: int
    status: int
    triggered: bool
    _limitoffset: float
    created: OrderData
    executed: OrderData
    info: AutoOrderedDict
    def __init__(self, **params: Any) -> None: ...
    def clone(self) -> Self: ...
    def isbuy(self) -> bool: ...
    def issell(self) -> bool: ...
    def alive(self) -> bool: ...
    def active(self) -> bool: ...
    def activate(self) -> None: ...
    def getstatusname(self, status: int | None = None) -> str: ...
    def getordername(self, exectype: int | None = None) -> str: ...
    def addcomminfo(self, comminfo: CommInfoBase) -> None: ...
    def addinfo(self, **kwargs: Any) -> None: ...
    def submit(self, broker: Any = None) -> None: ...
    def accept(self, broker: Any = None) -> None: ...
    def reject(self, broker: Any = None) -> bool: ...
    def cancel(self) -> None: ...
    def completed(self) -> None: ...
    def partial(self) -> None: ...
    def expire(self) -> bool: ...
    def execute(
        self,
        dt: float,
        size: float,
        price: float,
        closed: float,
        closedvalue: float,
        closedcomm: float,
        opened: float,
        openedvalue: float,
        openedcomm: float,
        margin: float | None,
        pnl: float,
        psize: float,
        pprice: float,
    ) -> None: ...

class Order(OrderBase): ...
class BuyOrder(Order): ...
class SellOrder(Order): ...
