"""report.html: one page that shows whether a run made money, from what, at what risk, and why it did what it did.

The page is self-contained: figures and tables are plain HTML, the charts' library and the run's columns are compressed
blocks inside it, and nothing is loaded. The same run gives the same bytes.
"""

import gzip
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from feeds.synthetic import NOTICE, SYMBOL
from gridv4_bt.config import GridConfig, departure_line, departures
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.report import page_tables as tables
from gridv4_bt.report.packing import as_text
from gridv4_bt.report.page_data import pack_run

SCRIPTS = ("codec.js", "page.js", "ladder.js", "view.js", "charts.js", "trace.js", "main.js")


def write_report(path: Path, records: Sequence[SymbolRecord], summary: dict[str, Any], config: GridConfig) -> None:
    """Write the page of a run.

    Parameters
    ----------
    records : one for each symbol; those that kept no history give tables only.
    summary : content of summary.json; figures unknown here are shown under their own names.
    config : the parameters as used.
    """
    path.write_text(make_report(records, summary, config), encoding="utf-8")


def make_report(records: Sequence[SymbolRecord], summary: dict[str, Any], config: GridConfig) -> str:
    """Return the page of a run as HTML."""
    start = float(summary.get("start_equity") or 0.0)
    symbols = [record.symbol for record in records]
    more = {"config": config.model_dump()}
    notices = [NOTICE] if SYMBOL in symbols else []
    if departed := departures(config):
        notices.append(f"This run {departure_line(departed)}.")
    parts = {
        "title": escape(", ".join(symbols) or "empty run"),
        "span": tables.span(summary),
        "notice": "".join(f'<p class="notice" role="note">{escape(text)}</p>' for text in notices),
        "verdict": tables.verdict(summary),
        "tiles": tables.tiles(summary),
        "sources": tables.sources(summary),
        "months": tables.months(records, start),
        "falls": tables.falls(records, start),
        "figures": tables.figures(summary),
        "parameters": tables.parameters(config),
        "data": as_text(pack_run(records, start, more)),
    }
    return fill_page("template.html", parts, SCRIPTS)


def fill_page(template: str, parts: Mapping[str, str], scripts: Sequence[str]) -> str:
    """Return a template filled with its parts, the common style, the charts' library and scripts."""
    common = {"style": _asset("report.css"), "script": "\n".join(map(_asset, scripts)), "plotly": _plotly()}
    whole = {**common, **parts}
    return re.sub(r"<!--\{(\w+)\}-->", lambda match: whole[match[1]], _asset(template))


def _asset(name: str) -> str:
    return (files("gridv4_bt.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """Return the charts' library of the plotly package, compressed: it is 5 MB as it comes."""
    library = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return as_text(gzip.compress(library, 9, mtime=0))
