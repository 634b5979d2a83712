"""Each flag fires on its planted fault, and a sound run has none."""

import numpy as np
import pytest
from made_runs import closed, record, recording, wallet

from gridv4_bt.metrics.sanity import sanity_flags
from gridv4_bt.metrics.whole_run import WholeRun

BARS = 200 * 96


def sound(**changes):
    """Two hundred days, plus 3 and minus 2 in turn, fifty trades, funding and volume in the data."""
    days = np.arange(BARS) // 96
    equity = changes.pop("equity", 1_000.0 + days // 2 + 3.0 * (days % 2))
    trades = changes.pop("trades", [closed(id=i, opened=i * 100 + 1, closes=i * 100 + 2) for i in range(1, 51)])
    one = record([100.0] * BARS, equity=equity, trades=trades, settled=changes.pop("settled", [0.0] * BARS))
    one.volume = changes.pop("volume", np.full(BARS, 1_000.0))
    for name, value in changes.items():
        one.column(name)[:] = value
    return one


def flags(one, **changes):
    return sanity_flags(WholeRun([one], wallet(**changes)))


def test_a_sound_run_has_no_flag():
    assert flags(sound()) == []


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (sound(trades=[closed()]), "Few trades: 1 says little"),
        (sound(trades=[]), "No trade was closed, so there is nothing to judge."),
        (sound(equity=np.linspace(1_000.0, 5_000.0, BARS) + np.sin(np.arange(BARS) / 50.0)), "Absurd: "),
        (sound(equity=1_000.0 + 0.001 * np.arange(BARS)), "Absurd: a Sharpe ratio"),
        (
            sound(equity=np.where(np.arange(BARS) < 5_000, 1_000.0, 1_050.0)),
            "100 % of the profit comes from the 10 best",
        ),
        (sound(settled=[]), "Synthetic funding: no rates were given for TEST"),
        (
            sound(volume=np.full(BARS, 10.0)),
            "Thin bars: 50 entries took more than 5 % of their bar's volume, up to 10 %",
        ),
        (sound(volume=np.zeros(BARS)), "in a bar without volume"),
        (sound(margin_ratio=0.6), "Margin: maintenance reached 60 %"),
    ],
)
def test_a_planted_fault_is_flagged(one, words):
    assert any(words in text for text in flags(one)), flags(one)


def test_settlements_in_part_synthetic_are_flagged_with_their_share():
    one = sound()
    one.synthetic_share = 0.69
    assert flags(one) == ["Synthetic funding: no rates were given for 69 % of TEST's; a formula stands in for them."]


def test_a_short_run_and_a_liquidation_are_flagged():
    assert any(text.startswith("Short: ") for text in sanity_flags(recording(record([100.0] * 96))))
    run = recording(sound())
    run.wallet.liquidations = 1
    run.wallet.ambiguous_bars = BARS // 50
    assert "The account was liquidated." in sanity_flags(run)
    assert any("unknown order" in text for text in sanity_flags(run))
