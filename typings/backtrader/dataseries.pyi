from .linebuffer import LineBuffer
from .lineseries import LineSeries

class TimeFrame:
    Ticks: int
    Seconds: int
    Minutes: int
    Days: int
    Weeks: int
    Months: int
    Years: int

class DataSeries(LineSeries):
    _name: str
    Close: int
    Low: int
    High: int
    Open: int
    Volume: int
    OpenInterest: int
    DateTime: int

class OHLCDateTime(DataSeries):
    datetime: LineBuffer
    open: LineBuffer
    high: LineBuffer
    low: LineBuffer
    close: LineBuffer
    volume: LineBuffer
    openinterest: LineBuffer
