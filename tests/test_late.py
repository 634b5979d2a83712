"""A live bot loads no library that it does not use to trade, and trades the same without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from busy import BUSY_FILE
from busy_market import busy_market
from pyarrow import csv, parquet

from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.server import ServerThread

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["numba", "pandas", "pyarrow", "matplotlib", "sklearn", "scipy", "aiohttp"]
FIRST, BARS = 4_740, 30  #: a stretch of the busy market in which much is traded
LIVELY = [word for setting in ("floor_pct=0.003", "k=0.8", "levels=4") for word in ("--set", setting)]
PROGRAM = f"""
import json, sys
if {{late}}:
    from gridv4_bt.__main__ import main
else:
    from gridv4_bt.cli.live import main
    del sys.argv[1]
try:
    main()
except SystemExit as end:
    code = end.code
loaded = [name for name in {HEAVY} if "__file__" in getattr(sys.modules.get(name), "__dict__", ())]
pages = int(open("/proc/self/statm").read().split()[1])
print(json.dumps({{{{"code": code, "loaded": loaded, "mb": pages * 4096 / 1e6}}}}))
"""


def run(code, *words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """What two sessions at local exchanges say at their end, with their state directories: sparing, and not."""
    folder = tmp_path_factory.mktemp("late")
    market = busy_market(days=60)
    candles = market.candles.iloc[: FIRST + BARS]
    found = []
    for late in (True, False):
        feeds = make_feeds([SymbolData("BTCUSDT", candles, market.funding)])
        start = int(feeds[0].candles.time[-BARS])
        with ServerThread(open_api(feeds, load_config(BUSY_FILE), start_ms=start)) as server:
            words = ["live", "--endpoint", server.url, "--symbol", "BTCUSDT", "--config", str(BUSY_FILE), "--quiet"]
            state = folder / f"late-{late}"
            done = run(PROGRAM.format(late=late), *words, *LIVELY, "--state-dir", str(state))
        assert done.returncode == 0, done.stderr
        found.append((json.loads(done.stdout.splitlines()[-1]), state))
    return found


def test_nothing_is_loaded_that_is_not_used_to_trade(sessions):
    said, _ = sessions[0]
    assert (said["code"], said["loaded"]) == (0, [])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_bot_takes_less_than_150_mb(sessions):
    said, _ = sessions[0]
    assert said["mb"] < 150.0


def test_it_trades_the_same_bits(sessions):
    (_, sparing), (other, full) = sessions
    assert "pyarrow" in other["loaded"]  # else this compares a thing with itself
    for name in ("equity.csv", "trades.csv"):
        assert (sparing / name).read_bytes() == (full / name).read_bytes()
    assert len((full / "equity.csv").read_text().splitlines()) > BARS / 2
    assert len((full / "trades.csv").read_text().splitlines()) > 5


def test_threads_that_are_first_together_all_get_the_library():
    code = """
import sys, threading
from gridv4_bt.late import _Late
sys.setswitchinterval(1e-7)
failed = []
for _ in range(100):
    sys.modules["colorsys"] = late = _Late("colorsys")
    together = threading.Barrier(8)
    def use():
        together.wait()
        try:
            late.rgb_to_hsv
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=use) for _ in range(8)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert sys.modules["colorsys"] is not late
assert not failed, failed
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_that_is_loaded_late_is_the_whole_library():
    code = """
from gridv4_bt.late import save_memory
save_memory(plain=True)
import sys, pandas as pd
from pandas import DataFrame
import pandas.testing
assert DataFrame is pd.DataFrame is sys.modules["pandas"].DataFrame
import ccxt
assert ccxt.binanceusdm is ccxt.binanceusdm and issubclass(ccxt.binanceusdm, ccxt.Exchange)
assert "ccxt.okx" not in sys.modules and issubclass(ccxt.RateLimitExceeded, ccxt.BaseError)
import ccxt.async_support
assert ccxt.async_support.binanceusdm.__module__ == "ccxt.async_support.binanceusdm"
assert len(ccxt.exchanges) > 90
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


CANDLES = "time,open,high,low,close,volume\n" + "".join(
    f"2024-01-{1 + bar // 96:02}T{bar % 96 // 4:02}:{bar % 4 * 15:02}:00Z,100,101,99,100,1\n" for bar in range(480)
)


def test_a_backtest_of_files_loads_neither_pandas_nor_ta_lib(tmp_path):
    (tmp_path / "BTCUSDT.csv").write_text(CANDLES)
    parquet.write_table(csv.read_csv(tmp_path / "BTCUSDT.csv"), tmp_path / "ETHUSDT.parquet")
    code = """
import sys
from gridv4_bt.__main__ import main
try:
    main()
finally:
    print([name for name in ("pandas", "talib") if name in sys.modules])
"""
    words = [word for name in ("BTCUSDT.csv", "ETHUSDT.parquet") for word in ("--data", str(tmp_path / name))]
    done = run(code, "backtest", *words, "--quiet", "--out", str(tmp_path / "run"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_strategy_of_the_command_line_has_backtraders_ta_lib():
    pytest.importorskip("talib")
    code = """
import sys, gridv4_bt.cli.backtest, backtrader as bt
assert "talib" not in sys.modules
assert issubclass(bt.talib.SMA, bt.Indicator)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
