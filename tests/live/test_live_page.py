"""docs/live.md against the code: each alert is explained, each command and option exists."""

import re
from pathlib import Path

import pytest
import typer

pytest.importorskip("aiohttp")

from gridv4_bt.cli.live import app
from gridv4_bt.live.monitor import _ALERTS
from gridv4_bt.live.order_sync import _REFUSED_AGAIN

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")


def alerts() -> set[str]:
    """Return all alerts the code may raise, as a person reads them."""
    found = {*_ALERTS.values(), *_REFUSED_AGAIN.values()}
    sources = [*(ROOT / "gridv4_bt").rglob("*.py"), *(ROOT / "brokers").glob("*.py"), *(ROOT / "feeds").glob("*.py")]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        found.update(re.findall(r"\.alert\(\s*\"(\w+)\"", text))
        for what in re.findall(r"\bwhat=([^\n]*?)(?:,|\)|$)", text, flags=re.MULTILINE):
            found.update(re.findall(r"\"(\w+)\"", what))
    return {name.replace("_", " ") for name in found}


def explained() -> list[str]:
    table = PAGE.split("## Alerts")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    return [name for row in rows[2:] for name in row.split(", ")]


def test_every_alert_is_explained_and_nothing_else():
    assert "drawdown" in alerts() and "adopted" in alerts() and "desync" in alerts()
    assert alerts() == set(explained())
    assert len(explained()) == len(set(explained()))


def test_every_option_on_the_page_exists():
    commands = re.findall(r"run_live\.py ([^\n`]*)", PAGE)
    known = {option for one in typer.main.get_command(app).params for option in one.opts}
    used = {word for words in commands for word in words.split("#")[0].split() if word.startswith("--")}
    assert len(commands) > 6 and used <= known
    others = {"--live", "--faults", "--desk"}  # those are of gridv4 exchange and chaos
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - others <= known


def test_every_exit_code_and_file_on_the_page_exists():
    from gridv4_bt.cli import live

    codes = PAGE.split("## Exit codes")[1].split("\n## ")[0]
    assert re.findall(r"\b(\d) ", codes) == [str(n) for n in (0, 1, 2, live.NEEDS_A_PERSON, live.FAILED_CHECK)]
