"""`gridv4 optimize` from space file to page, on two weeks of the sample market."""

import csv
import json
import re
import shutil
import sys
from datetime import date
from pathlib import Path

import pytest
from busy import BUSY, busy

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import main
from gridv4_bt.api import optimize
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import load_config

pytest.importorskip("optuna")
pytest.importorskip("scipy")

#: The other values of the busy preset, so that every trial trades.
FIXED = "\n".join(f"{name} = {value!r}" for name, value in BUSY.items() if name not in ("k", "levels", "order_pct"))

SPACE = f"""
limits = ["liquidations = 0"]

[search]
engine = "backtrader"
sampler = "tpe"
trials = 6
batch = 3
seed = 1
finalists = 2

[[symbols]]
name = "BTCUSDT"
candles = "BTCUSDT-15m.csv"

[[windows]]
name = "first half"
from = 2024-03-01
to = 2024-03-12

[[windows]]
name = "second half"
from = 2024-03-13
use = "test"

[[objectives]]
figure = "net_return"

[[objectives]]
figure = "max_drawdown"
over = "worst"

[parameters]
k = {{ low = 1.0, high = 4.0, log = true }}
levels = {{ choices = [3, 5] }}

[fixed]
order_pct = 0.04
{FIXED}

[folds]
count = 2
trials = 2
"""
TRIALS = 6
FILES = ("finalist-1.toml", "finalist-2.toml", "optimize.html", "optimize.json", "trials.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with candles and a space."""
    path = tmp_path_factory.mktemp("search")
    sample_market(days=20, start="2024-03-01").candles.to_csv(path / "BTCUSDT-15m.csv", index=False)
    (path / "space.toml").write_text(SPACE)
    return path


def gridv4(*arguments: object) -> int:
    before = sys.argv
    sys.argv = ["gridv4", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
    raise AssertionError("the command did not end")


@pytest.fixture(scope="module")
def found(folder) -> Path:
    out = folder / "two"
    assert gridv4("optimize", "--space", folder / "space.toml", "--out", out, "--jobs", 2, "--quiet") == 0
    return out


@pytest.fixture(scope="module")
def result(found) -> dict:
    return json.loads((found / "optimize.json").read_text())


def traded(folder: Path, params: dict, first: str | date, last: str | date) -> dict:
    """Figures of a run of our own."""
    data = SymbolData("BTCUSDT", folder / "BTCUSDT-15m.csv")
    feeds = make_feeds([data], start=date.fromisoformat(str(first)), end=date.fromisoformat(str(last)))
    return run(make_cerebro(feeds, busy(order_pct=0.04, **params), 10_000.0)).summary


def test_with_one_job_and_started_again_in_the_middle_it_ends_in_the_same_bytes(folder, found, capsys):
    out = folder / "again"
    options = ("--space", folder / "space.toml", "--out", out, "--jobs", 1)
    assert gridv4("optimize", *options, "--trials", 4, "--quiet") == 0
    assert gridv4("optimize", *options) == 0
    assert "search: 4 of 6 trials are done already" in capsys.readouterr().out
    for name in FILES:
        assert (out / name).read_bytes() == (found / name).read_bytes(), name


def test_a_finished_search_prints_its_result_as_json(folder, found, result, tmp_path, capsys):
    out = shutil.copytree(found, tmp_path / "copy")
    assert gridv4("optimize", "--space", folder / "space.toml", "--out", out, "--jobs", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out) == result


def test_a_notebook_s_search_gives_the_same_bytes_and_its_verdict_as_text_and_table(folder, found, result, tmp_path):
    out = shutil.copytree(found, tmp_path / "copy")  # it goes on where the command has ended
    search = optimize(folder / "space.toml", out)
    for name in FILES:
        assert (out / name).read_bytes() == (found / name).read_bytes(), name
    assert search.verdict == result["verdict"]["sentence"]
    assert repr(search) == f"<SearchRun {TRIALS} trials. {search.verdict}>"
    assert search.checks["question"].tolist() == [check["question"] for check in result["verdict"]["checks"]]
    assert len(search.trials) == TRIALS and str(search.page) == str(out / "optimize.html")
    assert search.best.levels == result["finalists"][0]["params"]["levels"]


def test_every_trial_is_in_the_table(found, folder):
    with (found / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [str(number) for number in range(1, TRIALS + 1)]
    row = rows[3]
    summary = traded(folder, {"k": float(row["k"]), "levels": int(row["levels"])}, "2024-03-01", "2024-03-12")
    assert float(row["mean net_return"]) == float(row["net_return BTCUSDT in first half"]) == summary["net_return"]
    assert float(row["worst max_drawdown"]) == summary["max_drawdown"]
    assert summary["trades"] > 5


def test_finalists_are_the_best_and_run_on_what_the_search_has_not_seen(result, found, folder):
    first, second = result["finalists"]
    assert first["objectives"][0] >= second["objectives"][0] or first["objectives"][1] <= second["objectives"][1]
    summary = traded(folder, first["params"], "2024-03-13", "2024-03-20")
    assert summary["trades"] > 5
    assert first["backtrader"]["BTCUSDT in second half"]["net_return"] == summary["net_return"]
    assert first["tests"]["second half"]["return"] == pytest.approx(summary["net_return"], abs=1e-12)
    config = load_config(found / "finalist-1.toml")
    assert (config.k, config.levels, config.order_pct) == (first["params"]["k"], first["params"]["levels"], 0.04)
    text = (found / "finalist-1.toml").read_text()
    assert f"# BTCUSDT in second half (not searched): return {summary['net_return']:+.2%}" in text


@pytest.mark.parametrize("scheme", ["anchored", "rolling"])
def test_folds_trade_what_their_own_past_chose(scheme, result, folder):
    folds = result["walk_forward"][scheme]
    assert [fold["test"] for fold in folds] == [["2024-03-07", "2024-03-09"], ["2024-03-10", "2024-03-12"]]
    assert folds[1]["train"][0] == ("2024-03-01" if scheme == "anchored" else "2024-03-04")
    for fold in folds:
        past = traded(folder, fold["params"], *fold["train"])
        assert past["trades"] > 0
        assert fold["objective"] == past["net_return"]
        assert fold["return"] == pytest.approx(traded(folder, fold["params"], *fold["test"])["net_return"], abs=1e-12)


def test_the_verdict_is_in_the_result_the_page_and_the_configs(result, found):
    sentence = result["verdict"]["sentence"]
    assert result["verdict"]["answer"] in ("yes", "doubtful", "no")
    assert len(result["verdict"]["checks"]) == 10
    assert result["guards"]["deflated_by_trials"] == TRIALS
    page = (found / "optimize.html").read_text()
    assert sentence in page and sentence in (found / "finalist-1.toml").read_text()
    assert page.rindex(sentence) > page.index("<h2>What was searched</h2>")  # it ends in the verdict
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_limits_that_nothing_keeps_end_in_a_plain_no(folder, capsys):
    text = SPACE.replace('"liquidations = 0"', '"net_return > 5"')
    (folder / "hopeless.toml").write_text(text)
    assert gridv4("optimize", "--space", folder / "hopeless.toml", "--out", folder / "none", "--trials", 2) == 0
    assert "No: none of 2 trials keeps all limits." in " ".join(capsys.readouterr().out.split())
    assert "none of 2 trials keeps all limits" in (folder / "none" / "optimize.html").read_text()


BAD_CALLS = [
    (("--space", "missing.toml"), "missing.toml: cannot be read"),
    (("--space", "bad.toml"), "parameters.k: a range needs a low below its high"),
    (("--space", "long.toml"), "too few for 9 folds"),
    (("--space", "late.toml"), "window first half: the symbols have no whole day in common"),
    (("--space", "space.toml", "--trials", "1"), "--trials 1"),
    (("--space", "space.toml", "--jobs", "-2"), "--jobs -2"),
    (("--space", "space.toml", "--out", "."), "holds other files"),
    (("--space", "space.toml", "--cluster", "tcp://127.0.0.1:9"), "no scheduler answers there"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_CALLS, ids=lambda value: str(value)[-40:])
@pytest.mark.filterwarnings("ignore")
def test_bad_input_ends_with_one_line_on_stderr_and_code_2(arguments, words, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    if "--cluster" in arguments:
        pytest.importorskip("distributed")
        monkeypatch.setattr("gridv4_bt.optimise.cluster.CONNECT_SECONDS", 0.2)
    (folder / "bad.toml").write_text(SPACE.replace("low = 1.0", "low = 5.0"))
    (folder / "long.toml").write_text(SPACE.replace("count = 2", "count = 9"))
    (folder / "late.toml").write_text(SPACE.replace("from = 2024-03-01", "from = 2025-03-01"))
    out = () if "--out" in arguments else ("--out", "bad")
    assert gridv4("optimize", *arguments, *out) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (folder / "bad").exists()


# --- the page in a browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_the_page_draws_everything_without_a_complaint_or_a_request(found):
    playwright = pytest.importorskip("playwright.sync_api")
    path = found / "optimize.html"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        tab.wait_for_function("window.page || !document.getElementById('problem').hidden")
        for width, height in ((1440, 900), (390, 844)):  # a laptop, a phone
            tab.set_viewport_size({"width": width, "height": height})
            tab.wait_for_function("page.panels.every((panel) => panel.place.layout.width === panel.place.clientWidth)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        drawn = tab.evaluate("page.panels.map((panel) => [panel.id, panel.place.querySelectorAll('.main-svg').length])")
        assert [name for name, _ in drawn[:6]] == ["pareto", "importance", "samples", "curves", "logits", "intervals"]
        assert all(count for _, count in drawn)
        assert tab.evaluate("page.data.trials.length") == TRIALS
        assert complaints == []
        assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
        browser.close()


# --- the compiled engine


def test_the_sweep_evaluates_a_market_as_backtrader_does(folder):
    pytest.importorskip("numba")
    from gridv4_bt.optimise.markets import make_market

    [feed] = make_feeds([SymbolData("BTCUSDT", folder / "BTCUSDT-15m.csv")])
    span = ([SymbolData("BTCUSDT", feed.candles)], date(2024, 3, 1), date(2024, 3, 12), 10_000.0)
    markets = [make_market(*span, engine) for engine in ("sweep", "backtrader")]
    for config in (busy(), busy(k=1.2, levels=4, regime="none")):
        swept, run_ = (market.evaluate(config) for market in markets)
        assert run_.figures["fills_per_day"] > 1.0
        assert swept.figures == pytest.approx(run_.figures, rel=1e-9, abs=1e-12)
        assert swept.days.tolist() == run_.days.tolist()
        assert swept.returns == pytest.approx(run_.returns, abs=1e-12)
