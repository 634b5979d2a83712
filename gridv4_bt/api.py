"""Backtests, sweeps and searches for notebooks and scripts.

    from gridv4_bt.api import backtest, sweep, optimize, load_run

    run = backtest("BTCUSDT-15m.parquet", start="2024-01-01", levels=8)
    run.trades.groupby("label")["net"].sum()
    run.report("report.html")

Data is a symbol to download, a file, a DataFrame, several of them in a list or by name, or nothing: the sample market.
Days and times may be text. Parameters are those of `gridv4 params`, given by name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gridv4_bt import own_packages

own_packages.check()

from feeds.history import load_history
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.backtest import run as run_cerebro
from gridv4_bt.config import GridConfig, load_config, make_config
from gridv4_bt.core.time import day_or_time
from gridv4_bt.engine.warm_up import span_warm_up
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.compiled_broker import quickest_broker
from gridv4_bt.own_strategy import StrategyValues, stored_values
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report.compare import read_run
from gridv4_bt.report.frames import decisions_frame, equity_frame, orders_frame, trades_frame
from gridv4_bt.report.numbers import number, quote_of
from gridv4_bt.report.page import make_card, write_report
from gridv4_bt.report.run_folder import BARS_FILE, check_folder, write_run
from gridv4_bt.report.stored_records import stored_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gridv4_bt.optimise.result import SearchResult

__all__ = ["Run", "SearchRun", "SweepRun", "backtest", "load_run", "optimize", "sweep"]

_FILE = re.compile(r"\.(csv|csv\.gz|parquet)$")


@dataclass(frozen=True, repr=False)
class Run:
    """A finished backtest. Times of all tables are UTC, money is quote, rates and returns are fractions."""

    records: list[SymbolRecord]
    summary: dict[str, Any]  #: content of summary.json
    config: GridConfig
    folder: Path | None = None  #: it was read from; None for one that has just run
    strategy: StrategyValues | None = None  #: of the user's own, in the grid's place; `config` is then the exchange's

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a closing, by `close_time`: the columns of trades.csv. Parts of one fill share `trade_id`."""
        return trades_frame(self.records)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Equity, wallet, unrealised profit, margin ratio and drawdown of the account at every bar."""
        return equity_frame(self.records, self.summary["start_equity"])

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row a bar and symbol: regime, halt, signals, centre, spacing, value at risk, what is held."""
        return decisions_frame(self.records)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row for each entry order placed, replaced or cancelled: symbol, side, level, action, price, reason.

        Raises
        ------
        DataError
            The run was read from a folder written with --no-report, which holds no orders.
        """
        if self.folder is not None and not (self.folder / BARS_FILE).exists():
            raise DataError(
                f"{self.folder}: holds no orders, for want of {BARS_FILE}: run it again without --no-report"
            )
        return orders_frame(self.records)

    def figure(self) -> Figure:
        """Return the overview as a matplotlib figure: price, inventory, equity, drawdown, closings by label."""
        from gridv4_bt.report.overview import overview_figure  # takes a second to import

        return overview_figure(self.records, self.summary)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page of the run, "report.html" if no path is given, and return its path.

        Without a path, a run read from its folder returns the page that is there.
        """
        if path is None and self.folder is not None and (page := self.folder / "report.html").exists():
            return page
        target = Path(path or "report.html")
        write_report(target, self.records, self.summary, self.config, self.strategy)
        return target

    def save(self, folder: str | Path) -> Path:
        """Write the run's folder as `run_backtest.py` does, and return it.

        Raises
        ------
        ConfigError
            The folder holds other files than a run's.
        """
        check_folder(Path(folder))
        write_run(Path(folder), self.records, self.summary, self.config, plot=True, own=self.strategy)
        return Path(folder)

    def __repr__(self) -> str:
        first, last = (str(self.summary.get(key))[:10] for key in ("from", "to"))
        figures = (
            f"{number(self.summary['net_return'], 'percent')}, {number(self.summary.get('trades'), 'count')} trades, "
            f"drawdown {number(self.summary['max_drawdown'], 'percent')}"
        )
        return f"<Run {', '.join(self.summary['symbols'])} {first} to {last}: {figures}>"

    def _repr_html_(self) -> str:
        return make_card(self.summary, quote_of(self.summary["symbols"]))


@dataclass(frozen=True, repr=False)
class SweepRun:
    """Many parameter sets over one market, best first."""

    table: pd.DataFrame  #: a row a set: its values and its figures
    configs: list[GridConfig] = field(repr=False)  #: of the rows, in their order

    @property
    def best(self) -> GridConfig:
        """The config of the first row. The best of many looks better than it is."""
        return self.configs[0]

    def __repr__(self) -> str:
        best = number(float(self.table["net_return"].iloc[0]), "percent")
        return f"<SweepRun {len(self.table):,} parameter sets, the best {best}>"

    def _repr_html_(self) -> str:
        return self.table.head(20).to_html()


@dataclass(frozen=True, repr=False)
class SearchRun:
    """A search by `gridv4 optimize`, with its verdict."""

    result: SearchResult
    folder: Path

    @property
    def verdict(self) -> str:
        """Whether the winner is expected to survive, in one sentence."""
        return self.result.verdict.sentence

    @property
    def checks(self) -> pd.DataFrame:
        """The questions behind the verdict: answer, and whether it speaks for the winner, leaves a doubt or against."""
        signs = {1: "for", 0: "doubt", -1: "against"}
        rows = [(check.question, check.answer, signs[check.sign]) for check in self.result.verdict.checks]
        return pd.DataFrame(rows, columns=["question", "answer", "speaks"])

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial: the content of trials.csv."""
        return pd.read_csv(self.folder / "trials.csv", index_col="trial")

    @property
    def best(self) -> GridConfig:
        """The winner's config.

        Raises
        ------
        DataError
            Nothing kept the limits.
        """
        path = self.folder / "finalist-1.toml"
        if not path.exists():
            raise DataError(f"{self.folder}: no trial kept all limits, so there is no winner")
        return load_config(path)

    @property
    def page(self) -> Path:
        """The page of the search."""
        return self.folder / "optimize.html"

    def __repr__(self) -> str:
        return f"<SearchRun {len(self.result.trials):,} trials. {self.verdict}>"

    def _repr_html_(self) -> str:
        return self.checks.to_html(index=False)


def backtest(
    data: Any = None,
    *,
    funding: Any = None,
    start: str | date | None = None,
    end: str | date | None = None,
    cash: float = 10_000.0,
    config: GridConfig | Mapping[str, Any] | str | Path | None = None,
    gaps: str = "refuse",
    **parameters: Any,
) -> Run:
    """Backtest GridStrategyV4 on one or several symbols that share one wallet.

    Parameters
    ----------
    data : a symbol (BTC/USDT:USDT, downloaded once), a file, a DataFrame with time, open, high, low, close and volume,
        a `SymbolData`, a list of these, a mapping of symbol to file or DataFrame, or None: the sample market.
    funding : rates for `data`: a file or DataFrame, or a mapping of symbol to one. Without it a formula stands in.
    start, end : first and last day or time that is traded, UTC: "2024-01-31", or "2024-01-31T12:00".
    cash : the wallet, quote.
    config : parameters: a config, a TOML file, or a mapping.
    gaps : missing bars: refuse, or flat.
    parameters : single parameters by name; they win over `config`.

    Raises
    ------
    ConfigError, DataError, MarketError
        What is wrong and what to do about it.
    """
    settings = _config(config, parameters)
    if not 0.0 < cash < float("inf"):
        raise ConfigError(f"cash {cash}: must be a number above 0")
    feeds = _feeds(data, funding, start, end, gaps, span_warm_up(settings, {}))
    result = run_cerebro(make_cerebro(feeds, settings, float(cash), broker=quickest_broker()))
    return Run(result.records, result.summary, settings)


def sweep(
    data: Any,
    grid: Mapping[str, Sequence[Any]],
    *,
    funding: Any = None,
    start: str | date | None = None,
    end: str | date | None = None,
    cash: float = 10_000.0,
    config: GridConfig | Mapping[str, Any] | str | Path | None = None,
    gaps: str = "refuse",
    threads: int = 1,
    rank: str = "net_return",
    **parameters: Any,
) -> SweepRun:
    """Run every combination of parameter values over one symbol at compiled speed; the others as for `backtest`.

    Parameters
    ----------
    grid : values of each parameter: ``{"k": [0.8, 1.0], "levels": [5, 10]}``.
    rank : column of the table by which the best come first.

    Raises
    ------
    ConfigError, DataError, MarketError
        As `backtest`; also several symbols, an empty grid, an unknown column, or no numba.
    """
    from gridv4_bt.optimise.sweep_market import SweepMarket
    from gridv4_bt.optimise.sweeps import sweep as run_sets

    base = _config(config, parameters)
    if not grid or not all(len(values) for values in grid.values()):
        raise ConfigError("grid: name at least one parameter with at least one value")
    if rank not in _SWEPT:
        raise ConfigError(f"rank {rank}: one of {', '.join(_SWEPT)}")
    sets = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    configs = [make_config(base.model_dump() | values) for values in sets]
    axes = {name: list(values) for name, values in grid.items()}
    feeds = _feeds(data, funding, start, end, gaps, span_warm_up(base, axes))
    if len(feeds) != 1:
        raise ConfigError("a sweep takes one symbol; backtest several one after another")
    results = run_sets(SweepMarket.of(feeds[0]), configs, float(cash), threads)
    rows = [
        values | {name: getattr(result, name) for name in _SWEPT} for values, result in zip(sets, results, strict=True)
    ]
    table = pd.DataFrame(rows).sort_values(rank, ascending=rank in _LESS_IS_BETTER, kind="stable")
    return SweepRun(table.reset_index(drop=True), [configs[place] for place in table.index])


#: Columns of a sweep's table; of these, less is better.
_SWEPT = (
    "net_return", "max_drawdown", "trades", "win_rate", "profit_factor", "gross", "fees", "funding", "stops",
    "liquidations",
)  # fmt: skip
_LESS_IS_BETTER = {"max_drawdown", "fees", "funding", "stops", "liquidations"}


def optimize(space: str | Path, out: str | Path, jobs: int = 1) -> SearchRun:
    """Search the space of a TOML file and judge the winner, as `gridv4 optimize` does; a search begun in `out` goes on.

    Raises
    ------
    ConfigError, DataError
        What is wrong with the space, its data or the folder.
    """
    from gridv4_bt.optimise.result import load_data, run_search
    from gridv4_bt.optimise.search_folder import STORAGE_FILE, known_files, write_search
    from gridv4_bt.optimise.space import load_space
    from gridv4_bt.optimise.study import Search
    from gridv4_bt.optimise.workers import Forks

    wanted, folder, forks = load_space(Path(space)), Path(out), Forks(jobs)
    check_folder(folder, known_files(wanted.search.finalists))

    def watch(search: Search, title: str) -> None:
        for _ in search.run(forks):
            pass

    loaded = load_data(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    storage = wanted.search.storage or f"sqlite:///{folder / STORAGE_FILE}"
    result = run_search(loaded, storage, forks, forks, watch)
    write_search(folder, result)
    return SearchRun(result, folder)


def load_run(folder: str | Path) -> Run:
    """Return the run of a folder written by `run_backtest.py` or `Run.save`.

    One that was run with --no-report has no orders and no prices.

    Raises
    ------
    DataError
        A file is missing or damaged; the message names it.
    """
    path = Path(folder)
    stored = read_run(path, path.name)
    config = load_config(path / "config.toml")
    return Run(stored_records(stored, path), stored.summary, config, path, stored_values(stored.config))


# --- what is given


def _config(config: Any, parameters: Mapping[str, Any]) -> GridConfig:
    if isinstance(config, (str, Path)):
        config = load_config(Path(config))
    values = config.model_dump() if isinstance(config, GridConfig) else dict(config or {})
    return make_config(values | parameters)


def _feeds(data: Any, funding: Any, start: Any, end: Any, gaps: str, warm_up: int) -> list[Any]:
    if gaps not in ("refuse", "flat"):
        raise ConfigError(f"gaps {gaps}: refuse or flat")
    first, last = _moment("start", start), _moment("end", end)
    symbols = _symbols(data, first, last, warm_up)
    if funding is not None:
        symbols = _funded(symbols, funding)
    return make_feeds(symbols, gaps, first, last, warm_up)


def _moment(name: str, given: str | date | None) -> date | None:
    if given is None or isinstance(given, date):
        return given
    try:
        return day_or_time(given)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} {given}: write a day like 2024-01-31 or a time like 2024-01-31T12:00") from None


def _symbols(data: Any, first: date | None, last: date | None, warm_up: int) -> list[SymbolData]:
    if data is None:
        market = sample_market()
        return [SymbolData(SYMBOL, market.candles, market.funding)]
    if isinstance(data, Mapping):
        return [SymbolData(name, candles) for name, candles in data.items()]
    if isinstance(data, (list, tuple)):
        return [one for item in data for one in _symbols(item, first, last, warm_up)]
    if isinstance(data, SymbolData):
        return [data]
    if isinstance(data, pd.DataFrame):
        return [SymbolData(str(data.attrs.get("symbol", "DATA")), data)]
    if isinstance(data, Path) or (isinstance(data, str) and _FILE.search(data)):
        return [SymbolData(re.split(r"[-.]", Path(data).name)[0].upper(), Path(data))]
    if isinstance(data, str):
        found = load_history(data, first, last, warm_up=warm_up)
        return [SymbolData(found.symbol, found.candles, found.funding, found.mark)]
    raise ConfigError(f"data: a symbol, a file, a DataFrame, or several; not {type(data).__name__}")


def _funded(symbols: Sequence[SymbolData], funding: Any) -> list[SymbolData]:
    """Return the symbols with the rates given for them."""
    if not isinstance(funding, Mapping):
        if len(symbols) != 1:
            raise ConfigError("funding: several symbols need a mapping of symbol to rates")
        funding = {symbols[0].symbol: funding}
    names = [one.symbol for one in symbols]
    unknown = [name for name in funding if name not in names]
    if unknown:
        raise ConfigError(f"funding {unknown[0]}: no data for it; symbols are {', '.join(names)}")
    return [
        SymbolData(one.symbol, one.candles, funding.get(one.symbol, one.funding), one.mark, one.detail)
        for one in symbols
    ]
