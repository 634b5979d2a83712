"""The pages of the documentation that come from the code are those of this code, and the site lists all pages."""

import ast
import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import changed_meanings, make_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import halt_text
from gridv4_bt.live.error_codes import TABLE, Reaction
from gridv4_bt.live.failures import Failure
from gridv4_bt.live.monitor import Limits, Monitor
from gridv4_bt.live.prometheus import serve_metrics
from gridv4_bt.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def pages():
    """The program that writes the pages."""
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / ".ci" / "docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["parameters", "reference", "troubleshooting"])
def test_a_generated_page_is_of_this_code(name, pages):
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == getattr(pages, name)(), "make docs"


def test_every_page_is_in_the_list_of_the_site():
    listed = set(re.findall(r"[a-z-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.name for path in DOCS.glob("*.md")}


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "least"), [("fills.md", 12), ("risks.md", 5)])
def test_each_assumption_and_promise_names_a_test_that_is_there(page, least):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text(page))
    assert len(named) >= least
    assert [name for file, name in named if f"\ndef {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []


def test_each_assumption_of_the_backtest_has_its_test():
    table = text("fills.md").split("|---|---|\n")[1].split("\n\n")[0]
    assert [row for row in table.splitlines() if "::test_" not in row] == []


def test_each_answer_names_a_command_to_check_it_with():
    answers = text("faq.md").split("\n## ")[1:]
    assert len(answers) >= 10 and [one.splitlines()[0] for one in answers if "gridv4 " not in one] == []


def code_numbers():
    """Return the numbers in the sources of brokers, engine, exchange and live that are codes of the exchange."""
    found = {}
    for folder in ("brokers", "gridv4_bt/engine", "gridv4_bt/exchange", "gridv4_bt/live"):
        for path in sorted({*(ROOT / folder).rglob("*.py")} - {ROOT / "gridv4_bt/live/error_codes.py"}):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
                    value = getattr(node.operand, "value", None)
                    if isinstance(value, int) and 1_000 <= value < 10_000:
                        found[-value] = path.name
    return found


def test_each_code_that_is_raised_or_answered_to_has_its_place_on_the_page():
    places = {int(code) for code in re.findall(r'<a id="code(-\d+)"></a>', text("troubleshooting.md"))}
    assert len(code_numbers()) >= 60
    assert {code: name for code, name in code_numbers().items() if code not in places} == {}


def test_no_code_stands_in_two_rows():
    codes = [code for row in TABLE for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("words", [halt_text, lambda failure: failure.told], ids=["halt", "alert"])
def test_an_error_names_the_place_of_its_code(words):
    failure = Failure(Reaction.HALT, -2015, "refused")
    link = re.search(r"docs/(\S+\.md)#([\w-]+)", words(failure))
    assert f'<a id="{link[2]}"></a>' in text(link[1])


def test_what_changed_its_meaning_is_in_the_table_of_upgrades():
    [line] = changed_meanings(make_config({"offset_spacings": 0}))
    version = re.search(r"until version ([\d.]+\d)", line)[1]
    [row] = [row for row in text("operate.md").splitlines() if row.startswith("| `offset_spacings = 0`")]
    assert f"| {version} |" in row and "0.0001" in line and "0.0001" in row


def test_the_site_lists_its_releases_newest_first(tmp_path):
    for name in ("1.9.0", "1.10.0", "assets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text("")
    subprocess.run([sys.executable, ROOT / ".ci" / "docs_versions.py", tmp_path], check=True, timeout=60)
    links = re.findall(r'href="([^"]+)"', (tmp_path / "index.html").read_text(encoding="utf-8"))
    assert links == ["1.10.0/index.html", "1.9.0/index.html"]


def test_the_documentation_names_its_release():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for line in (
        f"site_name: GridStrategyV4 {VERSION}\n",
        f"site_dir: site/{VERSION} ",
        f"copyright: Version {VERSION}.",
    ):
        assert line in settings
    assert f"version {VERSION}" in text("index.md")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="open sockets are read from /proc")
def test_servers_listen_on_this_machine_alone(tmp_path):
    pytest.importorskip("prometheus_client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    market = sample_market(days=2)
    end = serve_metrics(Monitor(tmp_path, Limits(), lambda title, text: None), port)
    try:
        with ServerThread(open_api(make_feeds([SymbolData("BTCUSDT", market.candles)]), make_config({}))) as server:
            ports = {f"{number:04X}" for number in (port, int(server.url.rpartition(":")[2]))}
            tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
    finally:
        end()
    rows = [line.split() for table in tables for line in table.splitlines()]
    listening = [row[1].split(":") for row in rows if row[3] == "0A" and row[1].rpartition(":")[2] in ports]
    assert {number for _, number in listening} == ports
    assert {address for address, _ in listening} == {"0100007F"}  # 127.0.0.1
