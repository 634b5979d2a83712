"""What the defaults make of real candles: `python benchmarks/results.py` writes docs/results.md anew.

Everything is a backtest of the product, as `run_backtest.py` does it. It reads ../shared/data and takes some ten
minutes of one core. `--only BTCUSDT` prints the rows of one symbol by year and writes nothing.
"""

import argparse
import gc
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.metrics.performance import daily_returns, drawdowns, sharpe
from gridv4_bt.metrics.whole_run import WholeRun
from presets import BUSY

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "results.md"
CASH = 10_000.0
CHOSEN = ("BTCUSDT", "ETHUSDT", "SOLUSDT")  #: the defaults were chosen on 2022-23 of these
OTHERS = ("ADAUSDT", "TRXUSDT")
EVERY = (*CHOSEN, *OTHERS)
#: Price steps of the symbols that the packaged table lacks; the rest is below.
TICKS = {"ADAUSDT": 0.0001, "TRXUSDT": 0.00001}
MONTH = (date(2025, 1, 27), date(2025, 2, 26))  #: of which there are minutes
DEFAULTS = GridConfig()
BUSY_CONFIG = load_config(BUSY)


def defaults_but(**values: object) -> GridConfig:
    """Return the defaults with other values in some places."""
    return GridConfig(**values)


#: Variants that the page shows by year too.
BY_YEAR = ("filled strictly through", "slippage 0.1 %")
#: What is varied, one thing at a time.
VARIANTS = {
    "defaults": DEFAULTS,
    "filled strictly through": defaults_but(fill_rule="through"),
    "slippage 0.1 %": defaults_but(slippage=0.001),
    "slippage 0.3 %": defaults_but(slippage=0.003),
    "through, slippage 0.1 %": defaults_but(fill_rule="through", slippage=0.001),
    "inside of the bar: path": defaults_but(intrabar="path"),
    "regime none": defaults_but(regime="none"),
    "regime gmm": defaults_but(regime="gmm"),
    "kappa 1000": defaults_but(kappa=1000.0),
    "old defaults (`presets/busy.toml`)": BUSY_CONFIG,
}


@dataclass(frozen=True)
class Span:
    """The figures of a stretch of a run; returns and drawdown are fractions."""

    name: str
    total: float
    sharpe: float | None
    drawdown: float
    fills: int  #: entries that filled
    longs: int  #: of them LONG
    trades: int  #: bullets closed
    wins: int
    labels: dict[str, int]  #: closings
    held: float  #: share of the bars at whose close something is held
    most: float  #: largest notional of all that is held at a close, multiple of the equity


def files_of(folder: Path, symbol: str, detail: bool = False) -> SymbolData:
    """Return the files of a symbol: candles and funding, and the minutes if wanted."""
    minutes = folder / "candles" / f"{symbol}-1m-2025-01-27_2025-02-26.parquet"
    return SymbolData(
        symbol,
        folder / "candles" / f"{symbol}-15m.parquet",
        folder / "funding" / f"{symbol}-funding.parquet",
        detail=minutes if detail else None,
    )


def rules_file(folder: Path) -> Path:
    """Write a table of rules with the symbols that the packaged one lacks; return its path."""
    table = json.loads((ROOT / "gridv4_bt" / "markets.json").read_text("utf-8"))
    symbols = table["symbols"]
    for symbol, tick in TICKS.items():
        filters = {"tick": tick, "step": 1, "min_qty": 1, "min_notional": 5, "filters_as_of": "benchmarks/results.py"}
        symbols[symbol] = symbols["DEFAULT"] | filters
    path = folder / "markets.json"
    path.write_text(json.dumps(table), "utf-8")
    return path


def backtest(
    folder: Path,
    symbols: Sequence[str],
    config: GridConfig = DEFAULTS,
    start: date | None = None,
    end: date | None = None,
    detail: bool = False,
) -> WholeRun:
    """Return the recording of a backtest of some symbols in one wallet."""
    gc.collect()  # what earlier runs left behind are circles of large objects
    feeds = make_feeds([files_of(folder, symbol, detail) for symbol in symbols], start=start, end=end)
    with tempfile.TemporaryDirectory() as place:
        cerebro = make_cerebro(feeds, config, CASH, rules_file(Path(place)))
    recorders = [strategy.analyzers.record for strategy in cerebro.run()]
    return WholeRun([recorder.record for recorder in recorders], recorders[0].wallet)


def spans(run: WholeRun) -> list[Span]:
    """Return the figures of each UTC year of a run, and last those of the whole of it."""
    times, equity = run.curve
    years = times.astype(np.int64).astype("datetime64[ms]").astype("datetime64[Y]")
    long, short = run.notionals
    exposure = (long + short) / equity
    opened = pd.DatetimeIndex(np.concatenate([table.time for table in run.fills]).astype("datetime64[ms]"))
    signs = np.concatenate([table.sign for table in run.fills])
    whole = run.whole_trades
    start, found = run.wallet.start, []
    for year in [*np.unique(years), None]:
        rows = np.flatnonzero(years == year) if year is not None else np.arange(len(times))
        before = start if year is None or rows[0] == 0 else float(equity[rows[0] - 1])
        began, ended = times[rows[0]], times[rows[-1]]
        here = (opened >= pd.Timestamp(began, unit="ms")) & (opened <= pd.Timestamp(ended, unit="ms"))
        closed = [trade for trade in whole if began <= trade.close_time <= ended]
        labels: dict[str, int] = {}
        for closing in run.trades:
            if began <= closing.close_time <= ended:
                labels[closing.label.value] = labels.get(closing.label.value, 0) + 1
        found.append(
            Span(
                name="all" if year is None else str(year),
                total=float(equity[rows[-1]]) / before - 1.0,
                sharpe=sharpe(daily_returns(times[rows], equity[rows], before)[1]),
                drawdown=float(drawdowns(equity[rows], before).max()),
                fills=int(here.sum()),
                longs=int((here & (signs > 0)).sum()),
                trades=len(closed),
                wins=sum(trade.net > 0.0 for trade in closed),
                labels=labels,
                held=float(np.mean(exposure[rows] > 0.0)),
                most=float(exposure[rows].max()),
            )
        )
    return found


# --- the page


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)) + "\n"


def percent(value: float, digits: int = 1) -> str:
    """Return a signed percentage."""
    return f"{value:+.{digits}%}".replace("%", " %")


def number(value: float | None) -> str:
    """Return a ratio with two digits."""
    return "-" if value is None else f"{value:.2f}"


YEAR_HEADS = (
    "symbol", "year", "return", "Sharpe", "drawdown", "fills (LONG)", "trades (won)", "deviance", "grid", "others",
    "time in market", "most held",
)  # fmt: skip


def year_row(name: str, one: Span) -> list[str]:
    """Return the row of a year."""
    others = sum(one.labels.values()) - one.labels.get("deviance", 0) - one.labels.get("grid", 0)
    return [
        name, one.name, percent(one.total), number(one.sharpe), percent(one.drawdown)[1:], f"{one.fills} ({one.longs})",
        f"{one.trades} ({one.wins})", str(one.labels.get("deviance", 0)), str(one.labels.get("grid", 0)), str(others),
        percent(one.held, 3)[1:], f"{one.most:.2f}",
    ]  # fmt: skip


def symbol_rows(folder: Path, symbol: str) -> list[list[str]]:
    """Return the rows of one symbol by year."""
    return [year_row(symbol, one) for one in spans(backtest(folder, [symbol]))]


def cell(one: Span) -> str:
    """Return the figures of a whole run in one cell."""
    return f"{percent(one.total)}; {percent(one.drawdown)[1:]}; {number(one.sharpe)}; {one.fills:,}"


def data_rows(folder: Path) -> Iterator[list[str]]:
    """Yield the first and last bar of every candle file, and its hash."""
    for path in sorted((folder / "candles").glob("*-15m.parquet")):
        times = pd.read_parquet(path, columns=["time"])["time"]
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        yield [
            path.name,
            f"{times.iloc[0]:%Y-%m-%d %H:%M}",
            f"{times.iloc[-1]:%Y-%m-%d %H:%M}",
            f"{len(times):,}",
            content,
        ]


#: Symbols that share one wallet, and the span traded.
WALLETS = {
    "three in one wallet": (CHOSEN, date(2022, 1, 1), None),
    "five in one wallet": (EVERY, date(2022, 1, 1), date(2025, 1, 14)),
}


def wallet(folder: Path, name: str, config: GridConfig = DEFAULTS) -> WholeRun:
    """Return the recording of one of `WALLETS`."""
    symbols, start, end = WALLETS[name]
    return backtest(folder, symbols, config, start, end)


def variant_spans(folder: Path) -> Iterator[tuple[str, dict[str, list[Span]]]]:
    """Yield each variant with its years: of every symbol, then of the wallets."""
    for name, config in VARIANTS.items():
        found = {symbol: spans(backtest(folder, [symbol], config)) for symbol in EVERY}
        found |= {where: spans(wallet(folder, where, config)) for where in WALLETS}
        sys.stderr.write(f"{name}\n")
        yield name, found


def month_rows(folder: Path) -> Iterator[list[str]]:
    """Yield how each way to match the inside of a bar ends in the month of which there are minutes."""
    for symbol in CHOSEN[:2]:
        for config, settings in ((DEFAULTS, "defaults"), (BUSY_CONFIG, "busy")):
            for mode in ("pessimistic", "path", "detail"):
                run = backtest(folder, [symbol], config.model_copy(update={"intrabar": mode}), *MONTH, detail=True)
                one = spans(run)[-1]
                row = [symbol, settings, mode, percent(one.total, 2), percent(one.drawdown, 2)[1:]]
                yield [*row, str(one.fills), str(one.trades), str(run.wallet.ambiguous_bars)]


def concentration(name: str, run: WholeRun) -> list[str]:
    """Return on how few bars and days a result rests."""
    times = np.concatenate([table.time for table in run.fills])
    bars = np.unique(times, return_counts=True)[1]
    days = daily_returns(*run.curve, run.wallet.start)[1]
    best = np.sort(days)[::-1]
    without = [float(np.prod(1.0 + best[count:]) - 1.0) for count in (0, 1, 5, 10)]
    return [
        name,
        str(len(times)),
        str(len(bars)),
        str(bars.max()),
        *(percent(one) for one in without),
        percent(best[-1], 2),
    ]


SHORT_YEARS = ("2022", "2023", "2024", "2025", "2026", "all")
SHORT_HEADS = ("", *SHORT_YEARS, "time in market", "most held")
THREE_HEADS = ("", "return", "drawdown", "Sharpe", "fills")


def short_row(name: str, years: Sequence[Span]) -> list[str]:
    """Return the years of a run in one row."""
    found = {one.name: f"{percent(one.total)}, {percent(one.drawdown)[1:]}, {one.fills}" for one in years}
    last = year_row(name, years[-1])
    return [name, *(found.get(year, "") for year in SHORT_YEARS), *last[-2:]]


FEW_HEADS = (
    "", "fills", "bars with a fill", "most fills in one bar", "return", "without the best day", "best 5", "best 10",
    "worst day",
)  # fmt: skip
MONTH_HEADS = (
    "symbol", "parameters", "inside of a bar", "return", "drawdown", "fills", "trades", "bars decided by the order",
)  # fmt: skip
#: The parameters named on the page.
NAMED = ("kappa", "k", "floor_pct", "levels", "gamma", "horizon", "stop1_atr", "stop2_atr", "var_pct", "order_pct")


def page(folder: Path) -> str:
    """Return docs/results.md."""
    runs = {symbol: backtest(folder, [symbol]) for symbol in EVERY}
    wallets = {name: wallet(folder, name) for name in WALLETS}
    years = [year_row(symbol, one) for symbol, run in runs.items() for one in spans(run)]
    together = [year_row(name, one) for name, run in wallets.items() for one in spans(run)]
    few = [concentration(name, run) for name, run in {**runs, **wallets}.items()]
    short = [short_row(name, spans(run)) for name, run in {**runs, **wallets}.items()]
    files, variants = list(data_rows(folder)), dict(variant_spans(folder))
    cells = [[name, *(cell(years[-1]) for years in found.values())] for name, found in variants.items()]
    return PAGE_TEXT.format(
        last=max(row[2] for row in files)[:10],
        parameters=", ".join(f"{name} {getattr(DEFAULTS, name):g}" for name in NAMED),
        short=table(SHORT_HEADS, short),
        data=table(("candles", "first bar, UTC", "last bar", "bars", "SHA-256"), files),
        years=table(YEAR_HEADS, years),
        wallets=table(("wallet", *YEAR_HEADS[1:]), together),
        few=table(FEW_HEADS, few),
        three=table(THREE_HEADS, [[row[0], *row[1 + len(EVERY)].split("; ")] for row in cells]),
        variants=table(("", *EVERY, *WALLETS), cells),
        by_year="\n".join(
            f"{name[0].upper()}{name[1:]}:\n\n"
            + table(SHORT_HEADS, [short_row(where, found) for where, found in variants[name].items()])
            for name in BY_YEAR
        ),
        month=table(MONTH_HEADS, month_rows(folder)),
    )


PAGE_TEXT = """# What the defaults make of real candles

`python benchmarks/results.py` writes this page. Data up to {last}. Every number is a backtest from 10,000 USDT, all
costs included: maker 0.02 %, taker 0.05 %, slippage 0.02 % of market orders, funding as settled; pessimistic inside the
bar. Defaults: {parameters}.

**They were chosen on 2022-23 of BTC, ETH and SOL, by someone who had seen all years.** So 2022-23 of these three is the
search itself; 2024-26, ADA and TRX are weak evidence; nothing here is a test on data that nobody had looked at.
[research.md](research.md) says how they were found.

{short}
In each cell: return, largest drawdown, fills. Time in market and most held are of the whole run.

{data}
Binance USDⓈ-M perpetuals, 15m. Filters and brackets are today's in all years: the packaged table for BTC, ETH and SOL;
for ADA and TRX, which it lacks, tick 0.0001 and 0.00001, step 1, least notional 5, and the cautious brackets of its
DEFAULT. Funding of ADA and TRX is known from 2024-02-15 on; before, the synthetic rate is charged.

## By symbol and year

One run over all years of a symbol; a year begins with the equity that the year before left.

{years}
* Fills are entries. A trade is one bullet, counted in the year it closed; won: net above zero. Deviance, grid and
  others are closings by label.
* Time in market: share of the bars at whose close something is held. Most held: largest notional at a close ÷ equity.
* Sharpe of daily returns, sqrt(365). Where a year has a handful of days on which anything happens it says little.

## Several symbols in one wallet

From 2022-01-01; the five until 2025-01-14, where ADA and TRX end.

{wallets}
## On how few bars it rests

The return without the best days of the whole run.

{few}
## One thing at a time

BTC, ETH and SOL in one wallet from 2022-01-01:

{three}
All the runs of above; in each cell return; largest drawdown; Sharpe; fills.

{variants}
Slippage is that of market orders: of every fill that a guard cuts, at the open after a bar that moved some percent,
when the book is thin. Filled strictly through: a limit fills only if the price went beyond it. kappa 1000 is half a
spread of about 0.1 %: an ordinary grid with the defaults' spacing.

{by_year}
## The inside of the bar

2025-01-27 to 2025-02-26, the month of which the minutes are there (the crash of 02-03). `detail` matches the minutes.

{month}"""


def main() -> None:
    """Write the page, or print the rows of a symbol."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=EVERY, help="print the rows of one symbol and write nothing")
    arguments = parser.parse_args()
    if arguments.only:
        sys.stdout.write(table(YEAR_HEADS, symbol_rows(SHARED, arguments.only)))
        return
    PAGE.write_text(page(SHARED), "utf-8")


if __name__ == "__main__":
    main()
