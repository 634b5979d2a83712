"""The command `gridv4` as a user meets it."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest
from busy import BUSY_FILE

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import COMMANDS, main
from gridv4_bt.cli.examples import EXAMPLES
from gridv4_bt.version import VERSION
from strategies.grid_v4 import GridStrategyV4

ROOT = Path(__file__).resolve().parents[1]
TRADING = ("--config", BUSY_FILE)  #: so that there are fills to decide about
WARM_UP_BIAS = "warm-up bias found: even 100 bars decide otherwise than 120 bars\n"


@pytest.fixture(scope="session")
def candles(tmp_path_factory) -> Path:
    """Two weeks of the sample market as a file."""
    path = tmp_path_factory.mktemp("data") / "BTCUSDT-15m.csv"
    sample_market(days=14, start="2024-03-01").candles.to_csv(path, index=False)
    return path


@pytest.fixture
def gridv4(monkeypatch, capsys, tmp_path):
    """gridv4(*arguments) -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gridv4", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


class Foresight(GridStrategyV4):
    """Centres its ladder on the next close."""

    def trail_anchor(self):
        super().trail_anchor()
        if len(self.feed) < self.feed.buflen():
            self.memory.anchor = self.feed.close[1]


def test_installing_provides_the_command():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "gridv4 = gridv4_bt.__main__:main" in setup["options.entry_points"]["console_scripts"].splitlines()


def test_help_lists_every_command_and_loads_none_of_their_libraries():
    code = "import sys\nfrom gridv4_bt.__main__ import main\nsys.argv[1:] = ['--help']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    heavy = "('backtrader', 'ccxt', 'matplotlib', 'numba', 'numpy', 'pandas', 'aiohttp')"
    check = f"print('loaded:', [name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    lines = done.stdout.partition("Commands:")[2].splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert listed == list(COMMANDS)
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_where_the_list_says(name, gridv4):
    code, said, _ = gridv4(name, "--help")
    assert code == 0 and said.startswith(f"Usage: gridv4 {name} ")
    assert f"Examples: gridv4 {name}" in said or f" gridv4 {name}" in said.partition("Examples:")[2]


def test_every_line_of_the_help_is_a_whole_sentence(gridv4):
    for group in ((), ("data",), ("bias",), ("config",)):
        code, said, _ = gridv4(*group, "--help")
        assert code == 0 and "..." not in said.partition("Commands:")[2]
    assert all(line.endswith(".") and line[0].isupper() for _, line in COMMANDS.values())


@pytest.mark.parametrize("command", sorted(EXAMPLES.keys() - {"bias", "config", "data"}))  # the groups' own are below
def test_an_example_names_options_that_are_there(command, gridv4):
    code, said, _ = gridv4(*command.split(), "--help")
    assert code == 0
    used = {word for line in EXAMPLES[command] for word in line.split() if word.startswith("--")}
    options = said.partition("Options:")[2].partition("Examples:")[0]
    assert [option for option in used if f"{option} " not in options] == []


@pytest.mark.parametrize(
    ("words", "near"), [(("backtst",), "backtest"), (("data", "lst"), "list"), (("params", "--jsn"), "--json")]
)
def test_a_misspelt_command_or_option_names_the_near_one(words, near, gridv4):
    code, out, error = gridv4(*words)
    assert (code, out) == (2, "") and near in error and len(error.splitlines()) == 1


def test_the_version_is_that_of_the_package(gridv4):
    assert gridv4("--version") == (0, VERSION, "")


def test_an_unknown_command_is_bad_input(gridv4):
    code, _, error = gridv4("nonsense")
    assert code == 2 and "nonsense" in error


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "gridv4_bt", "bias", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No such command 'nonsense'.\n"


def test_lookahead_shows_every_cut_and_ends_with_0_when_there_is_none(gridv4, candles):
    code, out, err = gridv4("bias", "lookahead", "--data", candles, *TRADING, "--cuts", 1, "--to", "2024-03-04")
    # Of the 288 bars from 2024-03-02 on, which decide, the one even cut is after the 144th.
    assert (code, err) == (0, "")
    assert "2024-03-03 11:45 │ 144 │ ok" in out
    assert out.endswith("no look-ahead found: all 2 cuts decide as the whole run does")


def test_lookahead_ends_with_1_and_the_first_difference_when_it_finds_one(gridv4, candles, monkeypatch):
    monkeypatch.setattr("gridv4_bt.backtest.GridStrategyV4", Foresight)
    span = ("--data", candles, *TRADING, "--to", "2024-03-04")
    code, out, err = gridv4("bias", "lookahead", *span, "--cuts", 1)
    assert code == 1
    assert "BTCUSDT anchor" in out
    [line] = err.splitlines()
    assert line.startswith(
        "look-ahead found: 2 of 2 cuts decide otherwise than the whole run. First difference: BTCUSDT"
    )
    assert "step 6, trailing: anchor: " in line
    assert gridv4("bias", "lookahead", *span, "--cuts", 1, "--quiet") == (1, "", err)


def test_warmup_says_how_many_bars_are_enough(gridv4, candles):
    code, out, err = gridv4("bias", "warmup", "--data", candles, *TRADING, "--warm-ups", "1000, 500,100,1000,800")
    assert (code, err) == (0, "")
    assert "decisions from 2024-03-11 10:00 UTC on" in out  # 1,000 bars are 10 days and 10 hours
    assert "│ 500 │ 344 │ ok" in out
    assert out.endswith("500 bars (5.2 days) of history are enough: all longer warm-ups decide the same")


def test_warmup_ends_with_1_when_even_the_second_longest_decides_otherwise(gridv4, candles):
    code, out, err = gridv4("bias", "warmup", "--data", candles, *TRADING, "--warm-ups", "100,120")
    assert code == 1
    assert "BTCUSDT" in out
    assert err == WARM_UP_BIAS


def test_two_symbols_share_one_wallet(gridv4, candles):
    files = ("--data", candles, "--data", f"ETHUSDT={candles}", *TRADING, "--to", "2024-03-03")
    code, out, _ = gridv4("bias", "lookahead", *files, "--cuts", 1)
    assert code == 0
    assert "2024-03-02 23:45 │ 192 │ ok" in out  # 96 bars of each


def test_without_data_the_sample_market_is_examined(gridv4):
    code, out, _ = gridv4("bias", "lookahead", "--from", "2024-06-01", "--to", "2024-06-02", "--cuts", 1)
    assert code == 0
    assert "SYNTHETIC DATA" in out


def test_lookahead_of_a_span_decides_from_its_first_bar_on(gridv4, candles):
    span = ("--from", "2024-03-03", "--to", "2024-03-05")
    code, out, err = gridv4("bias", "lookahead", "--data", candles, *TRADING, "--cuts", 1, *span)
    assert (code, err) == (0, "")
    assert "2024-03-04 11:45 │ 144 │ ok" in out  # the even cut is after half of the 288 bars


def test_warmup_of_a_span_begins_to_trade_at_its_first_bar(gridv4, candles):
    options = ("--data", candles, *TRADING, "--warm-ups", "500,800")
    code, out, err = gridv4("bias", "warmup", *options, "--from", "2024-03-10")
    assert (code, err) == (0, "")
    assert "decisions from 2024-03-10 00:00 UTC on" in out
    assert "bars of history before --from" not in out
    code, out, _ = gridv4("bias", "warmup", *options, "--from", "2024-03-09")
    assert "768 bars of history before --from, the longest warm-up has 800: trading begins 32 bars later" in out
    assert "decisions from 2024-03-09 08:00 UTC on" in out


def test_quiet_prints_nothing_but_a_bias(gridv4, candles):
    quiet = ("--data", candles, *TRADING, "--quiet")
    assert gridv4("bias", "lookahead", *quiet, "--cuts", 1, "--to", "2024-03-03") == (0, "", "")
    assert gridv4("bias", "warmup", *quiet, "--warm-ups", "500,1000") == (0, "", "")
    assert gridv4("bias", "warmup", *quiet, "--warm-ups", "100,120") == (1, "", WARM_UP_BIAS)


BAD_CALLS = [
    ((), "command"),
    (("bias",), "command"),
    (("bias", "lookahead", "--cuts", "0"), "cuts"),
    (("bias", "lookahead", "--cuts", "many"), "--cuts"),
    (("bias", "lookahead", "--cash", "-1"), "--cash"),
    (("bias", "lookahead", "--gaps", "maybe"), "--gaps"),
    (("bias", "lookahead", "--set", "levles=5"), "levles"),
    (("bias", "lookahead", "--data", "missing.csv"), "missing.csv"),
    (("bias", "lookahead", "--funding", "f.csv"), "--data"),
    (("bias", "lookahead", "--set", "intrabar=detail"), "--detail"),
    (("bias", "lookahead", "--data", "CANDLES", "--to", "2024-03-01"), "96 bars are too few"),
    (("bias", "warmup", "--warm-ups", "100,lots"), "--warm-ups 100,lots"),
    (("bias", "warmup", "--warm-ups", "100"), "two or more"),
    (("bias", "warmup", "--warm-ups", "0,100"), "two or more"),
    (("bias", "warmup", "--data", "CANDLES", "--warm-ups", "100,9000"), "too few for a warm-up of 9,000"),
    (("bias", "warmup", "--data", "CANDLES", "--warm-ups", "90,200"), "needs at least 96"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_CALLS, ids=lambda value: str(value)[-40:])
def test_bad_input_ends_with_one_line_on_stderr_and_code_2(arguments, words, gridv4, candles):
    code, _, err = gridv4(*(candles if word == "CANDLES" else word for word in arguments))
    assert code == 2
    [line] = err.splitlines()
    assert words in line
