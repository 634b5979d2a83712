"""What the columns of a file mean, by the names that exchanges, data vendors and charting sites give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Names of each field, lower case without blanks and signs, the preferred first.
_TIMES = (
    "time", "opentime", "timestamp", "unix", "unixtime", "unixtimestamp", "timestampms", "ts", "t", "date", "datetime",
    "dateutc", "timeutc", "datetimeutc", "opentimeutc", "timestamputc", "calctime", "fundingtime", "fundingtimestamp",
    "fundingratetimestamp",
    "settlementtime", "starttime", "start", "startat", "gmttime", "utctime", "klineopentime", "candletime", "bartime",
    "localtime", "datelocal", "timelocal",
)  # fmt: skip
_INDEX = ("", "index", "indexlevel0", "level0", "unnamed0")
_NAMES = {
    "open": ("open", "o", "openprice", "priceopen"),
    "high": ("high", "h", "highprice", "pricehigh", "max"),
    "low": ("low", "l", "lowprice", "pricelow", "min"),
    "close": ("close", "c", "closeprice", "priceclose", "last"),
    # OKX calls contracts "vol" and coins "volCcy".
    "volume": ("basevolume", "volumebase", "basevol", "volccy", "volume", "vol", "v"),
    "rate": ("rate", "fundingrate", "lastfundingrate", "realizedrate"),
}
#: Columns of files without names, as in Binance's klines and funding archive.
_KLINE = ("time", "open", "high", "low", "close", "volume")
_QUOTES = (
    "usdt",
    "usdc",
    "busd",
    "fdusd",
    "tusd",
    "usd",
    "eur",
    "quote",
    "currency",
    "ccyquote",
    "notional",
    "contracts",
)
#: Quote currencies that end a symbol.
_QUOTE = r"(?:USDT|USDC|BUSD|FDUSD|TUSD|USD)"
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_NUMBER = re.compile(r"[-+]?[\d.,'\s]*\d[\d.,'\s]*(e[-+]?\d+)?\s*%?|[-+]?nan|", re.IGNORECASE)
_DAY = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(\D.*)?")
#: Folders by which a data lake names the symbol: symbol=BTCUSDT.
HIVE_KEYS = ("symbol", "pair", "ticker", "instrument")


@dataclass(frozen=True)
class ColumnLayout:
    """Where the fields of a table are."""

    #: position of each field's column
    columns: dict[str, int]
    #: position of a column with the time of day of the days in the column "time"
    clock: int | None = None
    #: rates are written in percent
    percent: bool = False
    #: the name of the time's column says that it is local
    local: bool = False


class NoLayout(Exception):
    """The columns do not hold the fields."""


def layout_of(names: Sequence[str], sample: Sequence[str], fields: Sequence[str]) -> ColumnLayout:
    """Return where `fields` and the time are in a table with named columns; `sample` is one of its rows, as text.

    Raises
    ------
    NoLayout
        A field is missing or occurs twice; the message says which, and what there is.
    """
    folded = [_fold(name) for name in names]
    sample = [*sample, *[""] * (len(names) - len(sample))]
    time = _time_column(folded, sample)
    columns = {} if time is None else {"time": time}
    for field in fields:
        place = _column(folded, field)
        if place is not None:
            columns[field] = place
    if "rate" in fields and "rate" not in columns and _is_freqtrade_funding(folded, sample):
        columns["rate"] = folded.index("open")
    missing = [field for field in ("time", *fields) if field not in columns]
    if missing:
        raise NoLayout(_what_is_missing(missing, names, folded, ("time", *fields)))
    for place in columns.values():
        if list(names).count(names[place]) > 1:
            raise NoLayout(f"a column occurs twice: {names[place]}. Keep one each of {','.join(('time', *fields))}.")
    clock = None
    if ":" not in sample[columns["time"]]:
        clock = next(
            (i for i, name in enumerate(folded) if name == "time" and _CLOCK.fullmatch(sample[i].strip())), None
        )
    title = names[columns["time"]].lower()
    local = "local" in title or re.search(r"\((?!utc|gmt|ms|s|us|ns|unix|z\b)[^)]*\)", title) is not None
    percent = "rate" in columns and ("%" in names[columns["rate"]] or "percent" in names[columns["rate"]].lower())
    return ColumnLayout(columns, clock, percent, local)


def nameless_layout(sample: Sequence[str], fields: Sequence[str]) -> ColumnLayout | None:
    """Return where `fields` are in a table without names, as Binance's archive has them; None for anything else."""
    if len(sample) < 2:
        return None
    if not (is_number(sample[0]) or _DAY.fullmatch(sample[0].strip())) or not all(map(is_number, sample[2:])):
        return None
    clock = 1 if _CLOCK.fullmatch(sample[1].strip()) else None
    first = 1 if clock is None else 2
    if clock is None and not is_number(sample[1]):
        return None
    if "rate" in fields:
        places = {2: 1, 3: 2}  # time, rate; time, hours, rate
        return ColumnLayout({"time": 0, "rate": places[len(sample)]}) if len(sample) in places else None
    if len(sample) < first + len(fields):
        return None
    return ColumnLayout({"time": 0, **{field: first + i for i, field in enumerate(fields)}}, clock)


def is_number(text: str) -> bool:
    """Return whether a cell is a number however written, or empty."""
    return _NUMBER.fullmatch(text.strip()) is not None


def symbol_of(path: str) -> str:
    """Return the symbol that a path names, the exchange's way: BTCUSDT.

    It is the name of the folder `symbol=BTCUSDT`, else the file's name before the first "-" or ".", in which the two
    currencies may be parted or stand among other words: BTC_USDT_USDT-15m-futures.feather, BTC-USDT.csv,
    Binance_BTCUSDT_1h.csv, "BINANCE_BTCUSDT.P, 15.csv".
    """
    for part in reversed(re.split(r"[/\\]", path)):
        key, equals, value = part.partition("=")
        if equals and key.lower() in HIVE_KEYS and value:
            return value.upper()
    name = re.split(r"[/\\]", path)[-1].upper()
    if match := re.match(rf"([A-Z0-9]+)[-_]({_QUOTE})(?![A-Z0-9])", name):
        return match[1] + match[2]
    stem = re.split(r"[-.,]", name, maxsplit=1)[0].strip()
    found = [word for word in stem.split("_") if re.fullmatch(rf"[A-Z0-9]+{_QUOTE}(?:PERP)?", word)]
    return found[-1].removesuffix("PERP") if "_" in stem and found else stem


def tells_symbol(symbol: str) -> bool:
    """Return whether a name is one of a symbol for sure: it ends in a currency that symbols are quoted in."""
    return re.fullmatch(rf"[A-Z0-9]+{_QUOTE}", symbol) is not None


def _fold(name: str) -> str:
    name = re.sub(r"^\s*\d+\.\s+", "", str(name).lower())  # "1. open"
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[(\[].*[)\]]", "", name)) or re.sub(r"[^a-z0-9]", "", name)


def _time_column(folded: Sequence[str], sample: Sequence[str]) -> int | None:
    """Return the column of the time: one that needs no zone, a number since 1970, before any other."""
    found = [folded.index(name) for name in _TIMES if name in folded]
    if not found:  # the index that pandas writes without a name of its own
        index = next((i for i, name in enumerate(folded) if name in _INDEX and (name or i == 0)), None)
        if index is not None and (_DAY.fullmatch(sample[index].strip()) or len(sample[index]) > 9):
            return index
    whole = [i for i in found if not _CLOCK.fullmatch(sample[i].strip())]
    numbers = [i for i in whole if is_number(sample[i]) and len(sample[i].strip()) >= 10]
    return next(iter(numbers or whole or found), None)


def _column(folded: Sequence[str], field: str) -> int | None:
    for name in _NAMES[field]:
        if name in folded:
            return folded.index(name)
    if field == "volume":  # "Volume BTC" beside "Volume USDT"
        for i, name in enumerate(folded):
            if name.startswith("vol") and not name.endswith(_QUOTES):
                return i
    return None


def _is_freqtrade_funding(folded: Sequence[str], sample: Sequence[str]) -> bool:
    """Return whether a funding rate stands in the column open of candles without any other price."""
    rest = [name for name in ("high", "low", "close") if name in folded]
    return "open" in folded and len(rest) == 3 and all(_is_zero(sample[folded.index(name)]) for name in rest)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0.0
    except ValueError:
        return False


def _what_is_missing(missing: list[str], names: Sequence[str], folded: Sequence[str], wanted: Sequence[str]) -> str:
    found = ", ".join(map(str, names)) or "none"
    text = f"column {', '.join(missing)} is missing (found: {found}). "
    if "open" in missing and _column(folded, "rate") is not None:
        return text + "These are funding rates: give them to --funding."
    if "rate" in missing and _column(folded, "open") is not None:
        return text + "These are candles: give them to --data or --mark."
    if missing == ["volume"] and any(name.startswith("vol") or "volume" in name for name in folded):
        return text + "The volume must be in coins: name its column volume."
    if missing == ["volume"]:
        return text + "Export the candles with their volume in coins (on TradingView: with the indicator Volume shown)."
    if missing == ["time"] and any("closetime" in name for name in folded):
        return text + "A bar's time is its open: give the open times."
    return text + f"The first line must name the columns {','.join(wanted)}."
