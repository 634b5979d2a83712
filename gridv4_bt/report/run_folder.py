"""A run's folder: its figures, closings, bars, parameters, picture and page, as `RUN_FILES` names them.

Times are ISO 8601 UTC. Everything is written to a folder beside the target first and moved into place
at the end, so that a full disk or Ctrl-C leaves no half-written run behind.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gridv4_bt.config import GridConfig
from gridv4_bt.errors import ConfigError
from gridv4_bt.free_memory import give_back
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.metrics.summary import daily_returns, wallet_curve
from gridv4_bt.own_strategy import StrategyValues, run_as_toml
from gridv4_bt.record.bars import write_bars
from gridv4_bt.record.equity import EQUITY_FILES, write_equity
from gridv4_bt.record.trades import write_trades
from gridv4_bt.report.page import write_report

SUMMARY_FILE = "summary.json"
BARS_FILE = "bars.parquet"
RUN_FILES = (
    SUMMARY_FILE, "trades.csv", *EQUITY_FILES, "returns.csv", "config.toml", BARS_FILE, "overview.png", "report.html",
)  # fmt: skip


def target_folder(out: Path) -> Path:
    """Return the folder that a path such as p/new/.. means.

    Raises
    ------
    ConfigError
        It cannot be a path.
    """
    try:
        if "\0" in str(out):
            raise ValueError("it has a NUL byte")
        folder = out.resolve() if ".." in out.parts or not out.name else out
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--out {str(out)[:200]!r}: cannot be a folder ({error}); name another") from None
    return folder


def check_folder(folder: Path, known: Sequence[str] = RUN_FILES, finished: str = "", *, force: bool = False) -> None:
    """Refuse a target that is a file, or a folder that holds anything but an earlier run, whose files are `known`.

    An earlier run is finished if it has the file `finished`. Where that is named, files are replaced only by `force`.

    Raises
    ------
    ConfigError
        Naming what is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    above = next(one for one in (folder, *folder.parents) if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigError(f"--out {folder}: {above} is no folder that can be written; name another")
    if finished and not force and (folder / finished).exists():
        raise ConfigError(f"--out {folder}: holds a finished run; name another folder, or replace it with --force")
    there = next((name for name in known if (folder / name).exists()), "") if finished and not force else ""
    if there:
        raise ConfigError(f"--out {folder}: holds {there} already; name another folder, or replace it with --force")
    foreign = sorted(path.name for path in folder.glob("*") if path.name not in known) if folder.is_dir() else []
    if foreign:
        raise ConfigError(f"--out {folder}: holds other files ({foreign[0]}); name a new or empty folder")


def write_run(
    folder: Path,
    records: Sequence[SymbolRecord],
    summary: dict[str, Any],
    config: GridConfig,
    plot: bool,
    equity: str = EQUITY_FILES[0],
    own: StrategyValues | None = None,
) -> None:
    """Write all files of a run.

    `plot` adds bars.parquet, the picture and the page; `equity` is the curve's file; `own` is in the grid's place.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (draft / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        (draft / "config.toml").write_text(run_as_toml(config, own), encoding="utf-8")
        write_trades(draft / "trades.csv", records)
        write_equity(draft / equity, records)
        write_returns(draft / "returns.csv", records, summary["start_equity"])
        if plot:
            from gridv4_bt.report.overview import plot_overview  # matplotlib takes 30 MB

            write_bars(draft / BARS_FILE, records)
            plot_overview(records, summary, draft / "overview.png")
            give_back()
            write_report(draft / "report.html", records, summary, config, own)
        folder.mkdir(exist_ok=True)
        for name in RUN_FILES:
            if (draft / name).exists():
                os.replace(draft / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_returns(path: Path, records: Sequence[SymbolRecord], start_equity: float) -> None:
    """Write date and return of each UTC day traded, a fraction, for pyfolio, quantstats and the like.

    ``pandas.read_csv(path, index_col=0, parse_dates=True)["return"]`` is what they take.
    """
    days, returns = daily_returns(*wallet_curve(records), start_equity)
    dates = np.datetime_as_string(days.astype("datetime64[D]"))
    rows = "".join(f"{date},{change!r}\n" for date, change in zip(dates.tolist(), returns.tolist(), strict=True))
    path.write_text("date,return\n" + rows, encoding="utf-8")
