"""`regime=gmm` live: the mixtures of the backtest, before and after a restart."""

import pytest
from live_market import LIVELY, InProcess, differences, rows, run_until_killed

from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades

pytest.importorskip("sklearn")

GMM = (
    *LIVELY, "regime=gmm", "gmm_window=480", "gmm_components=4", "gmm_refit=16", "gmm_trend=0.1", "gmm_dwell=1",
    "warm_up=600",
)  # fmt: skip


@pytest.mark.parametrize("ends", [(None,), (7, 11, None)], ids=["at one go", "restarted twice"])
def test_the_mixture_says_live_what_it_says_in_the_backtest(market, tmp_path, ends):
    scene = market(settings=GMM, bars=32, first=4_160)
    with InProcess(scene.api) as server:
        for until in ends:
            with scene.session(server.url, until) as session:
                run_until_killed(session)
                session.save()
    records, _ = scene.backtest()
    write_trades(tmp_path / "trades.csv", records)
    write_equity(tmp_path / "equity.csv", records)
    assert len(rows(tmp_path / "trades.csv")) > 4
    told = rows(scene.folder / "equity.csv")
    assert len({row["regime"] for row in told}) > 1, "the scene must know more than one regime"
    for name in ("trades.csv", "equity.csv"):
        assert differences(rows(scene.folder / name), rows(tmp_path / name)) == []


def test_a_session_that_turns_to_the_mixture_reads_the_longer_history_it_needs(market):
    """The exchange has it: nobody waits until as many bars have come by themselves."""
    scene = market(settings=GMM, bars=12)
    short = scene.config.model_copy(update={"regime": "kama", "warm_up": 100})
    scene.config, longer = short, scene.config
    with InProcess(scene.api) as server:
        with scene.session(server.url, 4) as session:
            run_until_killed(session)
            session.save()
        scene.config = longer
        with scene.session(server.url) as session:
            session.run()
    assert session.bars >= 7
    assert len(rows(scene.folder / "equity.csv")) >= 12
