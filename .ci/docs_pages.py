"""Write the pages of the documentation that come from the code: parameters.md, reference.md, worked-day.md.

Of troubleshooting.md the table of the exchange's codes.

With --pictures also the pictures of docs/how-it-trades.md.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))

from gridv4_bt.__main__ import COMMANDS  # noqa: E402
from gridv4_bt.cli.common import EXIT_CODES  # noqa: E402
from gridv4_bt.cli.examples import EXAMPLES  # noqa: E402
from gridv4_bt.config import GridConfig, RunSettings, bounds, is_defined, section_of, unit_of  # noqa: E402
from gridv4_bt.engine.labels import TradeLabel  # noqa: E402
from gridv4_bt.exchange.api_errors import CODES  # noqa: E402
from gridv4_bt.live.error_codes import TABLE  # noqa: E402

#: The days of the sample market, traded by presets/busy.toml, that docs/worked-day.md goes through.
DAYS = ("2024-01-15", "2024-01-24")
MONEY = ("gross", "fees", "funding", "net")
CASES_SPAN = ("2024-01-08", "2024-03-31")
_NO_CUTS = {
    "stop1_atr": 900, "stop2_atr": 1000, "deviance_atr": 0, "max_age_hours": 0, "gap_spacings": 0, "funding_share": 0,
    "offset_spacings": 0,
}  # fmt: skip
#: The cases of docs/risks.md, each with what it changes in presets/busy.toml.
CASES = {
    "fifteen times the equity a side, with all stops": {
        "max_inventory": 15, "order_pct": 1, "leverage": 20, "var_pct": 10
    },
    "no stop in reach and no pruning": _NO_CUTS,
    "the same with eight times the equity: liquidated": _NO_CUTS
    | {"max_inventory": 8, "order_pct": 0.5, "leverage": 20, "var_pct": 10},
}  # fmt: skip


def parameters() -> str:
    """Return docs/parameters.md."""
    text = (
        "# Every parameter\n\n"
        "By `gridv4 params`. What is *defined* belongs to the definition of the strategy: a run with another value "
        "says that it departs. Set one with `--set NAME=VALUE`, in a settings file, or by `GRIDV4__NAME=VALUE` in the "
        "environment; `gridv4 config show` has the value in force and its origin.\n"
    )
    names = list(GridConfig.model_fields)
    for section in dict.fromkeys(map(section_of, names)):
        text += f"\n## {section}\n\n| parameter | default | allowed | unit | meaning |\n|---|---|---|---|---|\n"
        for name in names:
            if section_of(name) == section:
                field = GridConfig.model_fields[name]
                meaning = f"{field.description}{' *(defined)*' if is_defined(name) else ''}"
                text += f"| `{name}` | {field.default} | {bounds(name)} | {unit_of(name)} | {meaning} |\n"
    text += "\n## The table [run] of a settings file\n\n| setting | default | meaning |\n|---|---|---|\n"
    for name, field in RunSettings.model_fields.items():
        text += f"| `{name}` | {field.default} | {field.description} |\n"
    return text


def reference() -> str:
    """Return docs/reference.md."""
    text = "# Labels, exit codes, commands\n\n## Why a fill was closed: the labels\n\n| label | meaning |\n|---|---|\n"
    for label in TradeLabel:
        text += f"| `{label}` | {label.meaning} |\n"
    text += "\n## Exit codes\n\n| code | meaning |\n|---|---|\n"
    for code, meaning in EXIT_CODES.items():
        text += f"| {code} | {meaning} |\n"
    text += "\n## Alerts\n\nEach alert and what to do about it: [the table of the live page](live.md#alerts).\n"
    text += "\n## Commands\n\n"
    for name, (_, line) in COMMANDS.items():
        lines = [one for key, some in EXAMPLES.items() if key.split()[0] == name for one in some]
        text += f"### gridv4 {name}\n\n{line}\n\n```text\n" + "\n".join(dict.fromkeys(lines)) + "\n```\n\n"
    return text.rstrip() + "\n"


def troubleshooting() -> str:
    """Return docs/troubleshooting.md: what is written by hand in it, and the table of the exchange's codes."""
    heading = "## By the exchange's code\n"
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").partition(heading)[0] + heading
    text += (
        "\nIn the order of their causes; the words are the exchange's. With a code that is not here the bot gives the "
        "order up, and the next candle decides anew.\n\n"
        "| code | cause | the bot | check | cure |\n|---|---|---|---|---|\n"
    )
    for row in TABLE:
        codes = "<br>".join(
            f'<a id="code{code}"></a>{code} {CODES[code][0].replace("{}", "...")}' for code in row.codes
        )
        text += f"| {codes} | {row.cause} | {row.reaction.meaning} | {row.check} | {row.cure} |\n"
    return text


def worked_day() -> str:
    """Return docs/worked-day.md: the closings of some days of the sample market and their sums."""
    from gridv4_bt.api import backtest

    first, last = DAYS
    run = backtest(start=first, end=last, config=ROOT / "presets" / "busy.toml")
    text = (
        "# Some worked days\n\n"
        f"`gridv4 backtest --config busy --from {first} --to {last}` on the sample market, computed by the code when "
        "this page is built. Money in USDT.\n\n"
        "| opened | closed | leg | label | qty | entry | exit | gross | fees | funding | net |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    trades = run.trades.reset_index()
    for one in trades.itertuples():
        times = (f"{time:%m-%d %H:%M}" for time in (one.open_time, one.close_time))
        money = " | ".join(f"{value:+.2f}" for value in (one.gross, -one.fees, -one.funding, one.net))
        text += (
            f"| {' | '.join(times)} | {one.side} | `{one.label}` | {one.qty:g} | {one.entry:,.1f} | {one.exit:,.1f} | "
            f"{money} |\n"
        )
    gross, fees, funding, net = (trades[name].sum() for name in MONEY)
    text += (
        f"\nGross {gross:+.2f}, fees {-fees:+.2f}, funding {-funding:+.2f}: net {net:+.2f}. What a grid lives on are "
        "the rows `grid`: each closes one spacing from its entry. The wallet is always start + gross - fees - funding; "
        "what is still open counts in the equity, at the close of each bar.\n"
    )
    return text + money_words(hedge_cycle(trades)) + cases()


def hedge_cycle(trades: "pd.DataFrame") -> "pd.DataFrame":
    """Return the closings from flat to flat of the first time in which both legs were held and funding was paid."""
    ordered = trades.sort_values(["open_time", "close_time"])
    begins = ordered["open_time"] >= ordered["close_time"].cummax().shift()
    cycles = [group for _, group in ordered.groupby(begins.cumsum())]
    return next(one for one in cycles if set(one["side"]) == {"LONG", "SHORT"} and one["funding"].any())


def money_words(cycle: "pd.DataFrame") -> str:
    """Return the words of money, each with its sum worked out for one cycle."""
    times = (f"{time:%m-%d %H:%M}" for time in (cycle["open_time"].min(), cycle["close_time"].max()))
    text = (
        "\n## The words of money, by one hedge cycle\n\n"
        f"From flat ({next(times)}) to flat ({next(times)}): the closings of that time, both legs, each worked out.\n\n"
        "| leg | label | gross: (exit - entry) × qty, of SHORT (entry - exit) × qty "
        "| fees: both notionals × their rates | funding | net |\n|---|---|---|---|---|---|\n"
    )
    for one in cycle.itertuples():
        first, second = (one.exit, one.entry) if one.side == "LONG" else (one.entry, one.exit)
        if abs((first - second) * one.qty - one.gross) > 1e-9 * one.entry:
            raise ValueError(f"closing {one.Index}: the page would show a wrong product")
        text += (
            f"| {one.side} | `{one.label}` | ({first:,.1f} - {second:,.1f}) × {one.qty:g} = {one.gross:+.4f} | "
            f"{one.fees:.4f} of {one.qty * one.entry:,.2f} and {one.qty * one.exit:,.2f} | {one.funding:+.4f} | "
            f"{one.net:+.4f} |\n"
        )
    gross, fees, funding, net = (cycle[name].sum() for name in MONEY)
    if abs(gross - fees - funding - net) > 1e-9:
        raise ValueError("the page would show a wrong sum")
    return text + (
        f"\n{gross:+.4f} gross - {fees:.4f} fees - ({funding:+.4f}) funding = {net:+.4f} net.\n\n"
        "| word | meaning |\n|---|---|\n"
        "| notional | quantity × price: what a fill is worth |\n"
        "| gross | what the price alone has brought, before costs |\n"
        "| fees | the exchange's share of each notional: 0.02 % of a limit order that rested (maker), 0.05 % of an "
        "order at market (taker) |\n"
        "| funding | what the fill has paid at the exchange's settlements: quantity × mark price × rate, for SHORT the "
        "other way round; below zero: received |\n"
        "| net, realised | gross - fees - funding of what is closed |\n"
        "| wallet | start + net of what is closed - fees and funding of what is open; the exchange's balance |\n"
        "| unrealised | what closing all open fills at the last price would bring, before costs |\n"
        "| equity | wallet + unrealised: what drawdown and returns are computed of |\n"
        "| margin | initial: notional ÷ leverage, bound by orders and positions; maintenance: what the equity must "
        "stay above, else everything is liquidated |\n"
    )


def cases() -> str:
    """Return three runs on the sample market in which the strategy loses."""
    from gridv4_bt.api import backtest

    text = (
        "\n## Where it loses: three runs\n\n"
        f"On the sample market, {CASES_SPAN[0]} to {CASES_SPAN[1]}, with `--config busy` and these settings. "
        "[Where it fails](risks.md#where-it-fails) says why.\n\n"
        "| case | settings | net return | largest drawdown | nearest liquidation | stops | liquidations |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    for case, settings in CASES.items():
        run = backtest(start=CASES_SPAN[0], end=CASES_SPAN[1], config=ROOT / "presets" / "busy.toml", **settings)
        figures = run.summary
        words = " ".join(f"{name}={value:g}" for name, value in settings.items()) or "none"
        text += (
            f"| {case} | `{words}` | {figures['net_return']:+.1%} | {figures['max_drawdown']:.1%} | "
            f"{figures['min_liquidation_distance']:.1%} | {figures['stops']} | {figures['liquidations']} |\n"
        )
    return text


def pictures() -> None:
    """Draw the pictures of docs/how-it-trades.md."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from gridv4_bt.api import backtest

    run = backtest(start="2024-01-08", end="2024-01-22", config=ROOT / "presets" / "busy.toml")
    figure = run.figure()
    figure.savefig(DOCS / "img" / "overview.png", dpi=80)
    decisions = run.decisions
    some = decisions.iloc[300:600]
    figure, axes = plt.subplots(2, 1, figsize=(10, 6), sharex=True, height_ratios=[3, 1])
    times = some.index
    axes[0].plot(times, some["close"], color="black", linewidth=0.8, label="close")
    axes[0].plot(times, some["centre"], color="tab:blue", linewidth=1.0, label="centre of the ladder")
    spacing = some["spacing_pct"]
    for level in range(1, 6):
        for sign, colour in ((1, "tab:red"), (-1, "tab:green")):
            line = some["centre"] * (1.0 + spacing) ** (sign * level)
            axes[0].plot(times, line, color=colour, linewidth=0.4, alpha=0.7)
    axes[0].set_ylabel("USDT")
    axes[0].legend(loc="upper left")
    axes[0].set_title("Buys that open LONG rest below (green), sells that open SHORT above (red)")
    axes[1].step(times, some["regime"].astype(str), where="post", color="tab:purple", linewidth=0.9)
    axes[1].set_ylabel("regime")
    figure.autofmt_xdate()
    figure.tight_layout()
    figure.savefig(DOCS / "img" / "ladder.png", dpi=80)


if __name__ == "__main__":
    for name, page in (
        ("parameters", parameters), ("reference", reference), ("troubleshooting", troubleshooting),
        ("worked-day", worked_day),
    ):  # fmt: skip
        (DOCS / f"{name}.md").write_text(page(), encoding="utf-8")
    if "--pictures" in sys.argv:
        pictures()
