"""A paper week on the phone: `python tests/desk/telegram/week.py [--days N]` prints the conversation as text.

The real bot trades BTC of ../shared/data, else the sample market, by the busy preset; a person asks and commands, a
stranger tries to, Telegram has faults and the Telegram bot is started again. Quiet hours, digests and buttons go by the
bot's clock. It ends with exit code 1 if something was told twice, not at all, or to the stranger.
"""

import argparse
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from bot_api import BotApi
from phone import ANN, BOB, Phone

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.core.time import moment
from gridv4_bt.desk.telegram.quiet_hours import read_quiet_hours
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.monitor import Limits
from gridv4_bt.live.paper import paper_gateway
from gridv4_bt.live.runner import Session
from presets import BUSY

SHARED = ROOT.parent / "shared" / "data"
BEGIN = pd.Timestamp("2024-08-02", tz="UTC")  #: two days before a crash
QUARTER = pd.Timedelta(minutes=15)
LOOK_S = 0.01


def market(days, history):
    """Return a week of candles and those that warm it up."""
    if not SHARED.is_dir():
        sample = sample_market()
        candles, symbol, funding = sample.candles, SYMBOL, sample.funding
    else:
        candles, symbol = pd.read_parquet(SHARED / "candles" / "BTCUSDT-15m.parquet"), "BTCUSDT"
        funding = pd.read_parquet(SHARED / "funding" / "BTCUSDT-funding.parquet")
    inside = (candles["time"] >= BEGIN - history * QUARTER) & (candles["time"] < BEGIN + pd.Timedelta(days=days))
    return SymbolData(symbol, candles[inside].reset_index(drop=True), funding)


class Week:
    """The conversation; `on_bar` is called at every bar and goes on when the phone has looked."""

    def __init__(self, api, phone, session):
        self.api, self.phone, self.session = api, phone, session
        self.shown = 0
        self.plan = {  # by bar: what happens
            4: lambda: self.ask("/help"), 6: lambda: self.ask("/status"), 8: self.stranger,
            20: lambda: self.ask("/balance"), 40: lambda: self.ask("/orders"), 60: lambda: self.ask("/ladder"),
            110: lambda: self.ask("/pause btc short" if session.plan.symbols[0] == "BTCUSDT" else "/pause short"),
            130: lambda: self.ask("/resume"), 150: self.slow_telegram, 200: self.close_too_late,
            240: self.close, 260: lambda: self.ask("/risk"), 300: self.second_program, 330: self.restart,
            380: lambda: self.ask("/profit"), 400: lambda: self.ask("/daily"), 420: lambda: self.ask("/fills 5"),
            440: lambda: self.ask("/statsu"), 500: lambda: self.ask("/equity"),
            560: lambda: self.ask("/logs 3"), 640: lambda: self.ask("/weekly"), 660: lambda: self.ask("/health"),
        }  # fmt: skip

    def now(self):
        return self.session.clock.now() / 1_000.0

    def on_bar(self, symbol):
        if (happens := self.plan.get(self.session.bars)) is not None:
            happens()
        time.sleep(4 * LOOK_S)
        self.show()

    def say(self, text, user=ANN, name="Ann"):
        self.show()
        self.line(name, text)
        return self.api.say(text, user, user, name)

    def ask(self, text):
        before = len(self.api.sent)
        self.say(text)
        self.api.until(lambda: self.api.sent[before:], 30.0, what=text)
        self.show()
        return self.api.sent[before]

    def press(self, sent):
        self.line("Ann", f"(presses {sent.buttons[0]['text']!r})")
        before = sent.edits
        self.api.press(sent)
        self.api.until(lambda: [1] * (sent.edits - before), 30.0, what="the button")
        self.line("bot", sent.text)

    def note(self, text):
        self.show()
        self.line("--", text)

    def stranger(self):
        self.say("/status", BOB, "Bob")
        self.say("/close account", BOB, "Bob")
        self.ask("/version")

    def close_too_late(self):
        if (leg := self.held()) is None:
            self.plan[self.session.bars + 1] = self.close_too_late
            return
        sent = self.ask(f"/close {leg}")
        self.plan[self.session.bars + 1] = lambda: self.press(sent)  # a quarter of an hour later

    def close(self):
        if (leg := self.held()) is None:
            self.plan[self.session.bars + 1] = self.close
            return
        self.press(self.ask(f"/close {leg}"))
        self.plan[self.session.bars + 8] = lambda: self.ask("/resume")

    def held(self):
        """Return a leg that is held."""
        legs = [leg for book in self.session.broker.books for leg in book.legs if leg.tracker.ids]
        return legs[0].side.name.lower() if legs else None

    def slow_telegram(self):
        self.note("Telegram wants no messages for a second (429)")
        self.api.fail("sendMessage", 429, retry_after=1)
        self.ask("/profit")

    def second_program(self):
        self.note("another program asks with the same token (409)")
        self.api.fail("getUpdates", 409)
        self.ask("/version")

    def restart(self):
        self.note("the Telegram bot is stopped; Ann writes to it meanwhile")
        self.phone.stop()
        self.say("/health")
        self.api.say("/pause", ANN, ANN, "Ann", age=1_200.0)
        self.line("Ann", "/pause (20 minutes ago)")
        self.phone.start(**self.timing())
        self.api.wait_for("/pause: not given", 30.0)
        self.note("it has been started again")

    def timing(self):
        quiet = read_quiet_hours("22:00-06:00")
        one_chat = frozenset({ANN})
        return {
            "look": LOOK_S, "poll": 1.0, "gather": 4 * 3_600.0, "now": self.now, "quiet": quiet, "chats": one_chat
        }  # fmt: skip

    def show(self):
        """Print what the bot has sent since."""
        sent = list(self.api.sent)
        for one in sent[self.shown :]:
            kind = " (picture)" if one.photo else "" if not one.is_silent else " (silent)"
            self.line(f"bot{kind}", one.text + "".join(f"\n[{button['text']}]" for button in one.buttons))
        self.shown = len(sent)

    def line(self, who, text):
        text = (
            text.replace("<b>", "").replace("</b>", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        )
        first, *rest = text.split("\n")
        print(f"{moment(int(1_000 * self.now()))[5:16]}  {who}: {first}")
        for line in rest:
            print(f"{' ' * 13}{line}")


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=7)
    days = parser.parse_args().days
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    config = load_config(BUSY, ["floor_pct=0.003", "k=0.8", "levels=5"])  # levels near to each other
    data = market(days, history_bars(config))
    feeds = make_feeds([data])
    rules = {data.symbol: load_market_history(data.symbol)}
    with tempfile.TemporaryDirectory() as place, BotApi() as api:
        folder = Path(place) / "bots" / "paper"
        folder.parent.mkdir()
        phone = Phone(api, folder.parent, Path(place) / "telegram.json")
        plan = SessionPlan([data.symbol], config, folder, limits=Limits(drawdown=0.0005))
        with (
            paper_gateway(feeds, rules, config, 10_000.0, threading.Event()) as gateway,
            Session(plan, gateway, lambda title, text: None) as session,
        ):
            week = Week(api, phone, session)
            session._on_bar = week.on_bar
            phone.start(**week.timing())
            session.prepare()
            session.run()
        time.sleep(1.0)
        week.show()
        phone.stop()
        alerts = [line for line in (folder / "orders.jsonl").read_text().splitlines() if '"kind": "alerted"' in line]
        told = sum("⚠" in text for text in api.texts(ANN))
        wrong = []
        if api.texts(BOB):
            wrong.append("the stranger was answered")
        if alerts and not told:
            wrong.append("alerts were not told")
        notices = [one.text for one in api.sent if one.is_silent and one.chat == ANN]
        if len(notices) != len(set(notices)):
            wrong.append("something was told twice")
        if sum("digest of the day" in text for text in notices) != days - 1:
            wrong.append("the digests are not one a day")
    print("; ".join(wrong) or "as it should be")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
