"""The result in sentences."""

from report_runs import small_run, summary_of

from gridv4_bt.report.sentences import made_and_lost, verdict


def test_the_verdict_says_what_was_made_from_what_and_what_holding_had_made():
    figures_ = dict(net_return=-0.02, end_equity=980.0, gross=-15.0, fees=4.0, funding=1.0, unrealized=0.0)
    found = verdict(summary_of(**figures_, benchmark={"hold": {"net_return": 0.5}}), "USDT")
    assert (found["lead"], found["share"], found["style"]) == ("Lost", "2.00 %", "bad")
    assert found["rest"] == (
        ": 1,000.00 became 980.00 USDT. Price moves brought −15.00, fees cost 4.00, funding cost 1.00. "
        "Buying and holding: +50.00 %."
    )


def test_nothing_is_said_of_what_did_not_happen():
    figures = dict(net_return=0.0, end_equity=1_000.0, gross=0.0, fees=0.0, funding=0.0)
    assert verdict(summary_of(**figures), "USDT")["rest"] == ": 1,000.00 became 1,000.00 USDT."
    assert verdict({}, "USDT")["lead"] == "Nothing was traded."
    assert made_and_lost(summary_of()) == []


def test_what_made_most_and_what_lost_most_is_named():
    labels = {
        "grid": {"net": 12.5, "trades": 4},
        "margin_call": {"net": -3.0, "trades": 1},
        "gap": {"net": -1.0, "trades": 2},
    }
    sides = {"long": {"net": 10.0}, "short": {"net": -1.5}}
    days = {"best_day": {"date": "2024-01-05", "return": 0.01}, "worst_day": {"date": "2024-01-09", "return": -0.002}}
    assert made_and_lost(summary_of(by_label=labels, by_side=sides, returns=days)) == [
        "Grid made most (+12.50 in 4 closings); margin call lost most (−3.00 in 1 closing).",
        "By side: LONG +10.00, SHORT −1.50.",
        "Best day 2024-01-05 (+1.00 %), worst day 2024-01-09 (−0.20 %).",
    ]


def test_a_day_that_neither_won_nor_lost_is_not_named():
    days = {"best_day": {"date": "2024-01-05", "return": 0.01}, "worst_day": {"date": "2024-01-01", "return": 0.0}}
    assert made_and_lost(summary_of(returns=days)) == ["Best day 2024-01-05 (+1.00 %)."]


def test_a_real_run_is_told_from_its_summary():
    summary = small_run("BTCUSDT").summary
    text = " ".join(made_and_lost(summary))
    best = max(summary["by_label"], key=lambda name: summary["by_label"][name]["net"])
    assert text.lower().startswith(best.replace("_", " "))
