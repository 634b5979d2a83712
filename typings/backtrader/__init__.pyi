# The parts of Backtrader 1.9.78.123 that this project uses, for mypy.
#
# Classes with `params` are called with the parameters of all their bases. Backtrader's metaclass takes them out of the
# call before `__init__`, which no type can express: see `gridv4_bt.compat.takes_params`.
# `lines`, `params` and `plotinfo` are declared as tuples and dicts and become objects in an instance, hence Any. In a
# class that declares `lines` itself, use `self.l`, which mypy does not take for the tuple.

from . import dataseries as dataseries
from . import feed as feed
from . import metabase as metabase
from .analyzer import Analyzer as Analyzer
from .broker import BrokerBase as BrokerBase
from .cerebro import Cerebro as Cerebro
from .comminfo import CommInfoBase as CommInfoBase
from .dataseries import TimeFrame as TimeFrame
from .feed import AbstractDataBase as AbstractDataBase
from .indicator import Indicator as Indicator
from .linebuffer import LineBuffer as LineBuffer
from .lineiterator import LineIterator as LineIterator
from .metabase import AutoOrderedDict as AutoOrderedDict
from .observer import Observer as Observer
from .order import BuyOrder as BuyOrder
from .order import Order as Order
from .order import OrderBase as OrderBase
from .order import SellOrder as SellOrder
from .position import Position as Position
from .strategy import Strategy as Strategy
from .trade import Trade as Trade
from .utils import date2num as date2num
from .utils import num2date as num2date

__version__: str
