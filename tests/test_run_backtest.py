"""The command line as a user meets it; where nothing hangs on it, without a process of its own."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from busy import BUSY, BUSY_FILE, busy
from in_process import run_inside

from feeds.synthetic import sample_market
from gridv4_bt.cli.backtest import main
from gridv4_bt.cli.market_options import matching_modes
from gridv4_bt.config import GridConfig, config_as_toml, load_config
from gridv4_bt.engine.columns import EQUITY_COLUMNS
from gridv4_bt.record.trades import TRADE_COLUMNS
from gridv4_bt.report.run_folder import RUN_FILES

SCRIPT = Path(__file__).resolve().parents[1] / "run_backtest.py"
TRADING = ("--config", BUSY_FILE)  #: for runs whose trades are looked at


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_inside(main, *arguments, cwd=cwd)


def call_process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def candles(tmp_path_factory) -> Path:
    """Three weeks of the sample market as a file."""
    frame = sample_market(days=21, start="2024-03-01").candles
    path = tmp_path_factory.mktemp("data") / "BTCUSDT-15m.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def run_folder(candles, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    options = ("--out", folder, "--set", "levels=5", "--cash", 20000)
    done = call_process("--data", candles, *TRADING, *options, cwd=candles.parent)
    assert done.returncode == 0, done.stderr
    assert "largest drawdown" in done.stdout
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_folder_holds_every_file(run_folder):
    names = {path.name for path in run_folder.iterdir()}
    tables = {"summary.json", "trades.csv", "equity.csv", "returns.csv", "config.toml"}
    assert names == tables | {"bars.parquet", "overview.png", "report.html"}
    assert (run_folder / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_files_have_the_columns_of_the_contract(run_folder):
    assert (run_folder / "trades.csv").read_text().splitlines()[0] == ",".join(TRADE_COLUMNS)
    assert (run_folder / "equity.csv").read_text().splitlines()[0] == ",".join(EQUITY_COLUMNS)
    row = read(run_folder / "equity.csv")[0]
    assert row["time"] == "2024-03-02T00:00:00Z"  # 96 returns of sigma, counted from the second bar
    assert row["regime"] in {"NOISE", "UPTREND", "DOWNTREND", "BREAKOUT_UP", "BREAKOUT_DOWN"}


def test_trades_add_up_to_the_wallet(run_folder):
    summary = json.loads((run_folder / "summary.json").read_text())
    trades, bars = read(run_folder / "trades.csv"), read(run_folder / "equity.csv")
    assert sum(group["trades"] for group in summary["by_label"].values()) == len(trades) > 5
    fills = len({trade["trade_id"] for trade in trades})  # some may still be open in part
    assert fills - summary["open_fills"] <= summary["trades"] <= fills
    for trade in trades:
        net = float(trade["gross"]) - float(trade["fees"]) - float(trade["funding"])
        assert float(trade["net"]) == pytest.approx(net, abs=1e-9)
    flat = [bar for bar in bars if float(bar["long_qty"]) == 0.0 == float(bar["short_qty"])][-1]
    nets = sum(float(trade["net"]) for trade in trades if trade["close_time"] <= flat["time"])
    assert float(flat["wallet"]) == pytest.approx(20_000.0 + nets, rel=1e-9)


def test_the_config_written_is_the_config_used(run_folder):
    config = load_config(run_folder / "config.toml")
    assert config.levels == 5
    assert config.k == 3.0


def test_the_same_input_gives_the_same_bytes(candles, run_folder, tmp_path):
    again = tmp_path / "again"
    options = ("--out", again, "--set", "levels=5", "--cash", 20000, "--quiet")
    call("--data", candles, *TRADING, *options, cwd=tmp_path)
    for name in set(RUN_FILES) - {"summary.json", "equity.parquet"}:
        assert (again / name).read_bytes() == (run_folder / name).read_bytes(), name
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (run_folder, again))
    first.pop("seconds"), second.pop("seconds")
    assert first == second


def test_a_run_that_departs_from_the_definition_says_so(candles, tmp_path, run_folder):
    options = ("--set", "adx_bars=20", "--set", "gap_spacings=0", "--no-report", "--out", tmp_path / "out")
    done = call("--data", candles, *options, cwd=tmp_path)
    assert "departs from the definition: adx_bars = 20 (14), gap_spacings = 0 (3)" in done.stdout.splitlines()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["departs_from_definition"] == {"adx_bars": 20, "gap_spacings": 0.0}
    assert json.loads((run_folder / "summary.json").read_text())["departs_from_definition"] == {}
    assert load_config(tmp_path / "out" / "config.toml").adx_bars == 20


def test_an_old_offset_of_0_is_told_what_it_means_now(candles, tmp_path):
    (tmp_path / "old.toml").write_text("offset_spacings = 0.0\n")
    options = ("--config", tmp_path / "old.toml", "--no-report", "--out", tmp_path / "out")
    done = call("--data", candles, *options, cwd=tmp_path)
    assert "offset_spacings = 0 switches offset off now; it meant 'any loss'" in done.stdout
    again = ("--config", tmp_path / "out" / "config.toml", "--no-report", "--out", tmp_path / "again")
    assert "any loss" not in call("--data", candles, *again, cwd=tmp_path).stdout


def test_quiet_prints_nothing_and_no_report_draws_nothing(candles, tmp_path):
    done = call_process("--data", candles, "--out", tmp_path / "q", "--quiet", "--no-report", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("overview.png", "report.html", "bars.parquet"):
        assert not (tmp_path / "q" / name).exists()


def test_without_out_a_second_run_leaves_the_first_alone(candles, tmp_path):
    for _ in range(2):
        assert call("--data", candles, "--no-report", "--quiet", cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "runs").glob("BTCUSDT-*"))) == 2


def test_from_and_to_cut_the_bars(candles, tmp_path):
    span = ("--from", "2024-03-03", "--to", "2024-03-06")
    call("--data", candles, "--out", tmp_path / "cut", *span, "--quiet", cwd=tmp_path)
    bars = read(tmp_path / "cut" / "equity.csv")
    assert bars[0]["time"] == "2024-03-03T00:00:00Z"  # the two days before it have warmed up the indicators
    assert bars[-1]["time"] == "2024-03-06T23:45:00Z"
    assert json.loads((tmp_path / "cut" / "summary.json").read_text())["bars"] == len(bars) == 4 * 96


def test_with_too_little_before_it_the_span_is_traded_when_the_indicators_are_warm(candles, tmp_path):
    span = ("--from", "2024-03-01T10:00", "--to", "2024-03-02")
    done = call("--data", candles, "--out", tmp_path / "late", *span, "--no-report", cwd=tmp_path)
    # 40 bars before 10:00; the volatility needs 96, which are there at midnight.
    notice = "BTCUSDT: 40 bars of history before --from, the indicators need 96: trading begins 56 bars later"
    assert notice in " ".join(done.stdout.split())
    bars = read(tmp_path / "late" / "equity.csv")
    assert bars[0]["time"] == "2024-03-02T00:00:00Z"
    assert json.loads((tmp_path / "late" / "summary.json").read_text())["bars"] == 56 + 96


def test_trials_are_traded_from_the_first_day(candles, tmp_path):
    span = ("--from", "2024-03-03", "--to", "2024-03-06", "--quiet")
    axes = ("--optimize", "sigma_bars=48,96,150", *TRADING)
    assert call("--data", candles, *axes, *span, "--out", tmp_path / "trials", cwd=tmp_path).returncode == 0
    for row in read(tmp_path / "trials" / "trials.csv"):
        one = tmp_path / row["sigma_bars"]
        options = (*TRADING, "--set", f"sigma_bars={row['sigma_bars']}", "--no-report")
        assert call("--data", candles, *options, *span, "--out", one, cwd=tmp_path).returncode == 0
        assert read(one / "equity.csv")[0]["time"] == "2024-03-03T00:00:00Z"
        assert json.loads((one / "summary.json").read_text())["net_return"] == float(row["net_return"])


def test_data_in_another_order_writes_the_same_files(candles, tmp_path):
    """Trades, equity and all figures of three symbols, byte by byte."""
    frame = pd.read_csv(candles)
    prices = ["open", "high", "low", "close"]
    files = []
    for symbol, turn in (("ETHUSDT", 500), ("SOLUSDT", 1_100)):
        other = frame.assign(**{name: np.roll(frame[name], turn).round(1) for name in ("volume", *prices)})
        files.append(tmp_path / f"{symbol}-15m.csv")
        other.iloc[96:].to_csv(files[-1], index=False)
    files.append(candles)
    written = []
    for order in (files, files[::-1]):
        folder = tmp_path / f"first-{order[0].stem}"
        given = [part for file in order for part in ("--data", file)]
        done = call(*given, *TRADING, "--set", "order_pct=0.4", "--out", folder, "--quiet", "--no-report", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        summary = json.loads((folder / "summary.json").read_text())
        summary.pop("seconds")
        written.append((summary, *((folder / name).read_bytes() for name in ("trades.csv", "equity.csv"))))
    assert written[0] == written[1]
    assert written[0][0]["symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"] and written[0][0]["trades"] > 50


def test_two_symbols_share_one_wallet(candles, tmp_path):
    files = ("--data", candles, "--data", f"ETHUSDT={candles}", *TRADING)
    assert call(*files, "--out", tmp_path / "two", "--quiet", cwd=tmp_path).returncode == 0
    bars = read(tmp_path / "two" / "equity.csv")
    assert {bar["symbol"] for bar in bars} == {"BTCUSDT", "ETHUSDT"}
    by_time: dict[str, set[str]] = {}
    for bar in bars:
        by_time.setdefault(bar["time"], set()).add(bar["equity"])
    assert all(len(values) == 1 for values in by_time.values())
    assert len(set.union(*by_time.values())) > 100  # positions were held


BAD_CALLS = [
    (("--set", "levles=5"), "levles"),
    (("--set", "k=-1"), "k:"),
    (("--set", "stop2_atr=3"), "stop2_atr"),
    (("--set", "levels"), "name=value"),
    (("--cash", "0"), "--cash"),
    (("--cash", "lots"), "--cash"),
    (("--gaps", "maybe"), "--gaps"),
    (("--config", "missing.toml"), "missing.toml"),
    (("--data", "missing.csv"), "missing.csv"),
    (("--funding", "f.csv"), "--data"),
    (("--from", "yesterday"), "--from"),
    (("--nonsense",), "--nonsense"),
    (("--out", "taken.txt"), "taken.txt"),
    (("--out", "foreign"), "keep.me"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD_CALLS, ids=lambda value: str(value)[:40])
def test_bad_input_ends_with_one_line_on_stderr_and_code_2(arguments, word, tmp_path):
    (tmp_path / "taken.txt").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "keep.me").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_ctrl_c_ends_with_one_line_and_writes_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # the notice: data is being made, the run is next
    errors = ""
    for _ in range(5):  # as a person does: a callback of the compiler's library may swallow the first one
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=15)
            break
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 130
    assert errors.endswith("error: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_too_few_bars_are_refused_with_the_number_needed(candles, tmp_path):
    span = ("--from", "2024-03-01", "--to", "2024-03-01T12:00")
    done = call_process("--data", candles, *span, cwd=tmp_path)
    assert done.returncode == 2
    assert "97" in done.stderr


# --- the inside of the bars


@pytest.fixture(scope="session")
def detail(candles) -> Path:
    """Three candles of 5 minutes a bar that run open-high-low-close, whatever the bar; the last one is missing."""
    bars = pd.read_csv(candles)
    corners = [bars["open"], bars["high"], bars["low"], bars["close"]]
    minutes = pd.to_timedelta([0, 5, 10], unit="min")
    parts = [
        pd.DataFrame(
            {
                "time": pd.to_datetime(bars["time"]) + later,
                "open": start,
                "high": np.maximum(start, end),
                "low": np.minimum(start, end),
                "close": end,
                "volume": bars["volume"] / 3,
            }
        )
        for later, start, end in zip(minutes, corners, corners[1:], strict=False)
    ]
    path = candles.parent / "BTCUSDT-5m.csv"
    pd.concat(parts).sort_values("time").iloc[:-1].to_csv(path, index=False)
    return path


#: Stops so near that some bars reach a stop and an exit. The preset's file would choose how bars are matched.
NARROW = BUSY | {"k": 0.3, "floor_pct": 0.001, "stop1_atr": 0.8, "stop2_atr": 1.0, "regime": "none"}
NARROWLY = [word for name in NARROW if name != "intrabar" for word in ("--set", f"{name}={NARROW[name]}")]


@pytest.fixture(scope="session")
def compared(candles, detail, tmp_path_factory) -> tuple[Path, str]:
    """A run of `--intrabar all` and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "all"
    span = ("--from", "2024-03-17", "--to", "2024-03-21")
    options = ("--data", candles, "--detail", detail, "--intrabar", "all", *span, *NARROWLY)
    done = call(*options, "--out", folder, "--no-report", cwd=candles.parent)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_intrabar_all_prints_and_writes_what_hangs_on_it(compared):
    folder, printed = compared
    summary = json.loads((folder / "summary.json").read_text())
    modes = summary["by_intrabar"]
    assert list(modes) == ["detail", "pessimistic", "path"]
    assert "how much hangs on the unknown inside of the bars" in printed
    for word in (*modes, "bars of uncertain order", "share of all bars", f"{modes['path']['end_equity']:,.2f}"):
        assert word in printed
    # the run itself is the one by detail; the others only lend it their figures
    assert load_config(folder / "config.toml").intrabar == "detail"
    for name in ("end_equity", "net_return", "max_drawdown", "trades", "gross", "fees", "ambiguous_bars"):
        assert modes["detail"][name] == summary[name]
    assert modes["detail"]["stop2"] == summary["by_label"]["stop2"]["trades"]
    assert len({mode["end_equity"] for mode in modes.values()}) == 3
    for mode in modes.values():
        assert mode["ambiguous_bars"] > 0
        assert mode["ambiguous_share"] == mode["ambiguous_bars"] / (5 * 96)
        assert mode["end_equity"] == pytest.approx(10_000.0 * (1.0 + mode["net_return"]))


def test_bars_without_their_detail_are_told(compared):
    assert "BTCUSDT: bars without detail, matched as a whole: 1 (1 of them known in part)" in " ".join(
        compared[1].split()
    )


def test_detail_is_used_by_itself_where_it_is_given(candles, detail, compared, tmp_path):
    span = ("--from", "2024-03-17", "--to", "2024-03-21")
    options = ("--data", candles, "--detail", detail, *span, *NARROWLY, "--quiet", "--no-report")
    done = call(*options, "--out", tmp_path / "run", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("trades.csv", "equity.csv", "config.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (compared[0] / name).read_bytes()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "by_intrabar" not in summary
    minutes = {int(row["close_time"][14:16]) % 15 for row in read(tmp_path / "run" / "trades.csv")}
    assert {0, 5} <= minutes <= {0, 5, 10}


@pytest.mark.parametrize(
    ("parameter", "option", "detailed", "chosen", "others"),
    [
        (None, "", False, "pessimistic", []),
        (None, "", True, "detail", []),
        ("path", "", False, "path", []),
        ("path", "", True, "path", []),
        ("detail", "", True, "detail", []),
        ("path", "pessimistic", False, "pessimistic", []),
        ("detail", "pessimistic", True, "pessimistic", []),
        (None, "path", False, "path", []),
        (None, "path", True, "path", []),
        (None, "detail", True, "detail", []),
        (None, "all", False, "pessimistic", ["path"]),
        ("path", "all", False, "pessimistic", ["path"]),
        (None, "all", True, "detail", ["pessimistic", "path"]),
    ],
)
def test_way_to_match_that_is_chosen(parameter, option, detailed, chosen, others):
    given = {} if parameter is None else {"intrabar": parameter}
    run, rest = matching_modes(GridConfig(levels=7, **given), option, detailed)
    assert (run.intrabar, [other.intrabar for other in rest]) == (chosen, others)
    assert all(config.levels == 7 for config in (run, *rest))


@pytest.mark.parametrize("mode", ["pessimistic", "path", "detail"])
def test_config_given_back_beside_the_same_detail_means_the_same_run(mode, tmp_path):
    (tmp_path / "config.toml").write_text(config_as_toml(busy(intrabar=mode)))
    again, _ = matching_modes(load_config(tmp_path / "config.toml"), "", True)
    assert again.intrabar == mode


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--intrabar", "nonsense"), "--intrabar nonsense: one of pessimistic, path, detail, all"),
        (("--intrabar", "detail"), "give --detail FILE"),
        (("--detail", "DATA"), "BTCUSDT: the detail has candles of 15m"),
        (("--detail", "LATER"), "BTCUSDT: the detail covers none of the bars wholly"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_detail_ends_with_one_line_on_stderr_and_code_2(arguments, words, candles, detail, tmp_path):
    later = pd.read_csv(detail).iloc[:300]
    later["time"] = pd.to_datetime(later["time"]) + pd.Timedelta(days=60)
    later.to_csv(tmp_path / "BTCUSDT-5m.csv", index=False)
    files = {"DATA": candles, "LATER": tmp_path / "BTCUSDT-5m.csv"}
    done = call("--data", candles, *(files.get(word, word) for word in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["BTCUSDT-5m.csv"]


# --- rules by date


def test_brackets_of_a_file_replace_the_packaged_ones(candles, tmp_path):
    tiers = [{"notionalFloor": 0, "notionalCap": 1e9, "maintMarginRate": 0.02, "maintAmount": 0, "maxLeverage": 20}]
    common = ("--data", candles, *TRADING, "--quiet", "--no-report")
    for name, content in (("table", tiers), ("history", [{"first_seen": "2024-01-01", "tiers": tiers}])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"symbols": {"BTCUSDT": content}}))
        done = call(*common, "--brackets", path, "--out", tmp_path / name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "brackets" in json.loads((tmp_path / name / "summary.json").read_text())["rules"]["BTCUSDT"]
    # the margin of 2 % instead of 0.4 %
    assert call(*common, "--out", tmp_path / "plain", cwd=tmp_path).returncode == 0
    table, dated, packaged = (
        json.loads((tmp_path / name / "summary.json").read_text())["max_margin_ratio"]
        for name in ("table", "history", "plain")
    )
    assert packaged > 0.0
    assert table == dated == pytest.approx(5.0 * packaged)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "not a market table"),
        ('{"symbols": {"ETHUSDT": []}}', "has nothing about BTCUSDT"),
        ("not json", "cannot be read as JSON"),
    ],
)
def test_brackets_that_cannot_be_used_end_with_one_line_and_code_2(content, words, candles, tmp_path):
    (tmp_path / "brackets.json").write_text(content)
    done = call("--data", candles, "--brackets", tmp_path / "brackets.json", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert words in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_sample_market_names_the_preset_that_shows_more(tmp_path):
    week = ("--to", "2024-01-07", "--no-report", "--out")
    by_default = call(*week, tmp_path / "defaults", cwd=tmp_path)
    assert "SYNTHETIC DATA" in by_default.stdout
    assert "run this again with --config busy" in by_default.stdout
    assert "To see every mechanism" not in call(*week, tmp_path / "busy", *TRADING, cwd=tmp_path).stdout
