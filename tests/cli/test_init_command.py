"""`gridv4 init` as a user meets it."""

import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridv4_bt.__main__ import main, make_app
from gridv4_bt.config import load_config, named_run_settings

FILE = Path("gridv4.toml")


@pytest.fixture
def init(monkeypatch, capsys, tmp_path):
    """init(*arguments) -> exit code, stdout, stderr, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", "init", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def settings():
    return {name: one.value for name, one in named_run_settings([FILE]).items()}


def test_without_questions_the_file_trades_on_paper(init):
    code, out, err = init("--symbol", "ETH/USDT:USDT", "--cash", "2000", "--yes")
    assert (code, err) == (0, "")
    assert "gridv4 backtest" in out
    assert settings() == {"symbol": ["ETH/USDT:USDT"], "cash": 2000.0, "exchange": "binanceusdm", "paper": True}
    assert load_config(FILE) == load_config()
    assert not Path(".env").exists()


def test_answers_are_written_and_the_keys_are_for_the_owner_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = "SOLUSDT\n300\nokx\nkey-word\nsecret-word\n"
    done = CliRunner().invoke(make_app(["init"]), ["init"], input=answers)
    assert done.exit_code == 0, done.output
    assert settings() == {"symbol": ["SOLUSDT"], "cash": 300.0, "exchange": "okx", "paper": True}
    assert Path(".env").read_text() == "BINANCE_API_KEY=key-word\nBINANCE_API_SECRET=secret-word\n"
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    assert "secret-word" not in done.output


def test_a_file_that_is_there_stays(init):
    FILE.write_text("levels = 3\n")
    code, _, err = init("--yes")
    assert code == 2 and "--force" in err
    assert FILE.read_text() == "levels = 3\n"
    assert init("--yes", "--force")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--symbol", "BTC-PERP"), "linear perpetual"), (("--cash", "0"), "--cash"), (("--exchange", "ftx"), "okx")],
)
def test_bad_input_writes_nothing(words, message, init):
    code, _, err = init("--yes", *words)
    assert code == 2 and message in err
    assert not FILE.exists()
