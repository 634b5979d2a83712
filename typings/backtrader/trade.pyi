from .feed import AbstractDataBase

class Trade:
    ref: int
    data: AbstractDataBase
    tradeid: int
    size: float
    price: float
    commission: float
    pnl: float
    pnlcomm: float
    justopened: bool
    isopen: bool
    isclosed: bool
