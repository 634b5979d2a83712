"""report.html: one page that shows whether a run made money, from what, at what risk, and why it did what it did.

The page is self-contained: figures and tables are plain HTML, the chart's library and the run's columns are compressed
blocks inside it, and nothing is loaded. The same run gives the same bytes.
"""

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from feeds.synthetic import NOTICE, SYMBOL
from gridv4_bt.config import OF_ANY_STRATEGY, GridConfig, departure_line, departures
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.metrics.cycles import leg_cycles
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.excursions import excursions
from gridv4_bt.own_strategy import StrategyValues
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report import page_tables as tables
from gridv4_bt.report.numbers import number, quote_of, sign_of, words
from gridv4_bt.report.packing import as_text
from gridv4_bt.report.page_data import margin_mattered, pack_run
from gridv4_bt.report.sentences import made_and_lost, open_legs, span, tells_a_year, verdict

SCRIPTS = (
    "codec.js", "page.js", "text.js", "ladder.js", "board.js", "overlay.js", "chart.js", "trace.js", "trades.js",
    "main.js",
)  # fmt: skip
LIBRARY = "vendor/lightweight-charts.standalone.production.js"
TABS = (
    ("result", "Result"), ("periods", "Days, months, years"), ("trades", "Trades"), ("risk", "Risk"),
    ("execution", "Execution"), ("parameters", "Parameters"),
)  # fmt: skip


def write_report(
    path: Path,
    records: Sequence[SymbolRecord],
    summary: dict[str, Any],
    config: GridConfig,
    own: StrategyValues | None = None,
) -> None:
    """Write the page of a run.

    Parameters
    ----------
    records : one for each symbol; those that kept no history give tables only.
    summary : content of summary.json; figures unknown here are shown under their own names.
    config : the parameters as used.
    own : the strategy in the grid's place; the page then has neither ladder nor decisions.
    """
    pieces = page_pieces(records, summary, config, own)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(pieces)


def page_pieces(
    records: Sequence[SymbolRecord], summary: dict[str, Any], config: GridConfig, own: StrategyValues | None = None
) -> Iterator[str]:
    """Return the page of a run as pieces of HTML."""
    start = float(summary.get("start_equity") or 0.0)
    symbols = [record.symbol for record in records]
    quote = quote_of(symbols)
    exposure = tables.find(summary, "benchmark.hold_same_exposure.exposure")
    more = {"config": config.model_dump(), "grid": own is None, "exposure": exposure, "quote": quote}
    notices = [NOTICE] if SYMBOL in symbols else []
    if departed := departures(config):
        notices.append(f"This run {departure_line(departed)}.")
    return fill_page(
        "report.html",
        SCRIPTS,
        _asset(LIBRARY).encode(),
        as_text(pack_run(records, start, more)),
        title=", ".join(symbols) or "empty run",
        strategy="" if own is None else own.name,
        span=span(summary),
        notices=notices,
        liquidations=summary.get("liquidations") or 0,
        verdict=verdict(summary, quote),
        open_legs=open_legs(summary, quote),
        tiles=tiles(summary),
        flags=[*(summary.get("flags") or []), *(tables.cap_breaches(records, config) if own is None else [])],
        calm="" if margin_mattered(records) else _calm(summary),
        labels=[(words(str(label)), label.meaning) for label in LABELS],
        quote=quote,
        tabs=TABS,
        tables=_tabs(records, summary, config, start, own),
        notice_chart=_asset("vendor/NOTICE").split(" https://")[0].replace("\n", ". "),
    )


def _tabs(
    records: Sequence[SymbolRecord],
    summary: dict[str, Any],
    config: GridConfig,
    start: float,
    own: StrategyValues | None,
) -> dict[str, dict[str, Any]]:
    """Return the content of each tab."""
    changed, rest = tables.parameters(config, OF_ANY_STRATEGY if own is not None else ())
    mine = None if own is None else tables.own_parameters(own)
    fills = [fill_table(record) for record in records]
    pairs = list(zip(records, fills, strict=True))
    adverse = [excursions(record, table).adverse_wallet for record, table in pairs]
    cycles = [cycle.net for record, table in pairs for cycle in leg_cycles(record, table)]
    further = tables.others(summary)
    below = tables.falls(records, start)
    return {
        "result": {
            "plain": _those(tables.compared(summary), tables.legs(summary)),
            "text": " ".join(made_and_lost(summary)),
        },
        "periods": {
            "plain": _those(tables.months(records, start), tables.rolling(records, start), below),
            "pairs": tables.sections(summary, "periods"),
            "text": "" if below else "The equity never fell below an earlier height.",
        },
        "trades": {
            "plain": _those(
                *tables.grouped_trades(summary, records), tables.cycles(summary), tables.excursions(summary)
            ),
            "pairs": tables.sections(summary, "trades"),
            "histograms": tables.histograms(records, np.concatenate([*adverse, np.empty(0)]), np.array(cycles)),
        },
        "risk": {"pairs": tables.sections(summary, "risk")},
        "execution": {
            "plain": tables.execution(summary),
            "pairs": [*tables.sections(summary, "execution"), *tables.notes(summary), *_those(further)],
            "text": "summary.json also holds the figures under passivbot's names and formulas.",
        },
        "parameters": {
            "plain": _those(mine, changed),
            "folded": rest,
            "text": "" if changed or mine else "Every parameter has its default.",
        },
    }


def _those(*found: tables.Table | None) -> list[tables.Table]:
    return [table for table in found if table is not None]


def tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the key figures: name, value, style, definition."""
    meanings = {key: meaning for key, _, _, meaning in tables.known.COMPARED}
    meanings |= {one.path: one.meaning for one in tables.known.FIGURES}
    rows = (
        ("return a year", "annual_return" if tells_a_year(summary) else "", "percent", True),
        ("largest drawdown", "max_drawdown", "percent", False),
        ("Sharpe", "sharpe", "ratio", True),
        ("trades", "trades", "count", False),
        ("with a profit", "win_rate", "percent", False),
        ("profit factor", "profit_factor", "ratio", False),
        ("longest under water", "recovery.longest_days", "days", False),
        ("bars with a position", "time_in_market", "percent", False),
    )
    return [
        (
            name,
            number(value := tables.find(summary, path), kind),
            sign_of(value) if coloured else "",
            meanings.get(path, ""),
        )
        for name, path, kind, coloured in rows
    ]


def _calm(summary: Mapping[str, Any]) -> str:
    """Return why the page draws neither margin nor liquidation."""
    ratio, distance = summary.get("max_margin_ratio"), summary.get("min_liquidation_distance")
    if not ratio:
        return ""
    away = f", the nearest liquidation price {number(distance, 'percent')} away" if distance else ""
    return f"Margin never mattered: its ratio was at most {number(ratio, 'percent')}{away}."


def make_card(summary: Mapping[str, Any], quote: str) -> str:
    """Return a run in a few lines of HTML, as a notebook shows it."""
    return _template("card.html").render(
        title=", ".join(summary["symbols"]),
        span=span(summary),
        verdict=verdict(summary, quote),
        tiles=tiles(summary),
        open_legs=open_legs(summary, quote),
        flags=summary.get("flags") or [],
    )


def fill_page(
    template: str, scripts: Sequence[str], library: bytes, data: Iterable[str], **parts: Any
) -> Iterator[str]:
    """Return the pieces of a template filled with its parts.

    `library` is the charts' and goes in compressed, `data` is packed, as text.
    """
    from markupsafe import Markup

    # Our own files, and characters that are none of HTML's.
    trusted = {
        "asset": lambda name: Markup(_asset(name)),  # noqa: S704
        "library": Markup(_zipped(library)),  # noqa: S704
        "data": map(Markup, data),
    }
    return _template(template).generate(scripts=scripts, **trusted, **parts)


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader  # loaded only where a page is made

    return Environment(loader=PackageLoader("gridv4_bt.report"), autoescape=True, trim_blocks=True).get_template(name)


@cache
def _asset(name: str) -> str:
    return (files("gridv4_bt.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _zipped(library: bytes) -> str:
    return "".join(as_text(gzip.compress(library, 9, mtime=0)))
