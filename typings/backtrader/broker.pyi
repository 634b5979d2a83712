from collections.abc import Sequence
from typing import Any

from .comminfo import CommInfoBase
from .feed import AbstractDataBase
from .metabase import MetaParams
from .order import Order
from .position import Position

class BrokerBase(metaclass=MetaParams):
    params: Any
    p: Any
    startingcash: float
    cerebro: Any  #: that runs it
    def __init__(self, **params: Any) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def next(self) -> None: ...
    def getcommissioninfo(self, data: AbstractDataBase) -> CommInfoBase: ...
    def getcash(self) -> float: ...
    def getvalue(self, datas: Sequence[AbstractDataBase] | None = None) -> float: ...
    def getposition(self, data: AbstractDataBase) -> Position: ...
    def submit(self, order: Order) -> Order: ...
    def cancel(self, order: Order) -> bool: ...
    # What follows the prices (type of the order, its end, the user's own words) comes by name.
    def buy(
        self,
        owner: Any,
        data: AbstractDataBase,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        **kwargs: Any,
    ) -> Order: ...
    def sell(
        self,
        owner: Any,
        data: AbstractDataBase,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        **kwargs: Any,
    ) -> Order: ...
