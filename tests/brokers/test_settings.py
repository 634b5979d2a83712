"""The settings of Backtrader's broker: each works, or a ConfigError names the way."""

import backtrader as bt
import pytest
from busy import BUSY
from scripted import FREE, Scripted, candle_feed, flat, new_cerebro

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import sample_market
from gridv4_bt.errors import ConfigError
from strategies.grid_v4 import GridStrategyV4


def at_100(script, bars=6, prepare=None, **broker):
    """Run a script with a broker that was prepared before the run; the price is 100."""
    cerebro = new_cerebro([candle_feed(flat(bars))], {"slippage": 0.0} | broker)
    if prepare:
        prepare(cerebro.broker)
    cerebro.addstrategy(Scripted, script=script)
    [strategy] = cerebro.run()
    return strategy


BUY_1 = {1: lambda s: s.buy(size=1.0)}


# --- cash


def test_before_the_run_cash_and_value_are_those_it_will_begin_with():
    broker = HedgeBroker(cash=5_000.0)
    assert (broker.getcash(), broker.getvalue(), broker.startingcash, broker.get_leverage()) == (5_000.0,) * 3 + (0.0,)
    assert (dict(broker.positions), broker.get_orders_open()) == ({}, [])
    broker.setcash(7_000)
    assert (broker.getcash(), broker.getvalue(), broker.startingcash) == (7_000.0,) * 3
    broker.add_cash(500.0)
    assert broker.getcash() == 7_500.0


def test_set_cash_is_the_wallet_of_the_run():
    strategy = at_100({}, prepare=lambda broker: broker.set_cash(1_234.0))
    assert strategy.values[0] == (1_234.0, 1_234.0)


def test_set_cash_in_a_run_names_add_cash():
    with pytest.raises(ConfigError, match="add_cash"):
        at_100({1: lambda s: s.broker.setcash(1.0)})


def test_cash_paid_in_is_there_at_the_next_bar_and_is_no_profit():
    strategy = at_100({2: lambda s: s.broker.add_cash(1_000.0)} | BUY_1, taker_fee=0.0)
    assert [value for _, value in strategy.values] == [10_000.0, 10_000.0, *[11_000.0] * 4]
    account = strategy.broker.account
    assert account.wallet == account.start + account.gross - account.fees - account.funding == 11_000.0


def test_only_what_is_free_can_be_paid_out():
    strategy = at_100({2: lambda s: s.broker.add_cash(-9_000.0)}, taker_fee=0.0)
    assert strategy.broker.getcash() == 1_000.0
    with pytest.raises(ConfigError, match="add_cash: 9990 cannot be paid out, only 9980 is free"):
        # 1 coin of 100 binds 20 at leverage 5
        at_100(BUY_1 | {3: lambda s: s.broker.add_cash(-9_990.0)}, taker_fee=0.0)


def test_a_fund_measures_returns_by_its_share_which_deposits_do_not_change():
    cerebro = new_cerebro([candle_feed([*flat(3), (100, 111, 99, 110), *flat(2, 110.0)])], FREE)
    cerebro.broker.set_fundmode(True, fundstartval=10.0)
    seen = []

    class Depositing(bt.Strategy):
        def next(self):
            broker = self.broker
            seen.append((broker.getvalue(), broker.fundshares, broker.fundvalue))
            if len(self) == 1:
                self.buy(size=100.0)
            if len(self) == 2:
                broker.add_cash(10_000.0)

    cerebro.addstrategy(Depositing)
    cerebro.addanalyzer(bt.analyzers.TimeReturn, timeframe=bt.TimeFrame.NoTimeFrame)
    [strategy] = cerebro.run()
    # 10,000 in shares of 10; 10,000 more buy as many; 100 coins win 1,000 of 20,000
    assert seen[0] == (10_000.0, 1_000.0, 10.0)
    assert seen[2] == (20_000.0, 2_000.0, 10.0)
    assert seen[-1] == (21_000.0, 2_000.0, 10.5)
    assert list(strategy.analyzers.timereturn.get_analysis().values()) == pytest.approx([0.05])


# --- fees, leverage, slippage: buying 1 at 100 costs 100 times the fee


@pytest.mark.parametrize(
    ("prepare", "fee"),
    [
        (lambda b: None, 0.05),
        (lambda b: b.setcommission(commission=0.01), 1.0),
        (lambda b: b.setcommission(commission=1.0, percabs=False), 1.0),
        (lambda b: b.setcommission(commission=0.01, name="TEST"), 1.0),
        (lambda b: b.setcommission(commission=0.01, name="ELSE"), 0.05),
        (lambda b: b.addcommissioninfo(bt.CommInfoBase(commission=1.0)), 1.0),  # its percents are not absolute
        (lambda b: b.addcommissioninfo(bt.CommissionInfo(commission=0.01), name="TEST"), 1.0),
    ],
)
def test_fee_that_was_set_is_charged(prepare, fee):
    strategy = at_100(BUY_1, prepare=prepare)
    assert strategy.broker.account.fees == pytest.approx(fee)
    assert strategy.broker.getcommissioninfo(strategy.data).getcommission(1.0, 100.0) == pytest.approx(fee)


def test_fee_of_the_constructor_is_that_of_makers_and_takers():
    assert at_100(BUY_1, commission=0.01).broker.account.fees == pytest.approx(1.0)
    scheme = bt.CommissionInfo(commission=0.01, leverage=2.0)
    strategy = at_100(BUY_1, commission=scheme)
    assert (strategy.broker.p.maker_fee, strategy.broker.p.taker_fee, strategy.broker.p.leverage) == (0.01, 0.01, 2.0)


class ByTheCoin(bt.CommInfoBase):
    """A scheme of a user's own that charges a fraction of the notional."""

    params = (("stocklike", True), ("commtype", bt.CommInfoBase.COMM_PERC))

    def _getcommission(self, size, price, pseudoexec):
        return abs(size) * price * 0.003


def test_scheme_of_ones_own_is_taken_if_it_charges_a_fraction_of_the_notional():
    strategy = at_100(BUY_1, prepare=lambda b: b.addcommissioninfo(ByTheCoin()))
    assert strategy.broker.account.fees == pytest.approx(0.3)


def test_leverage_of_a_commission_is_that_of_the_account():
    broker = HedgeBroker()
    broker.setcommission(commission=0.0004, leverage=20.0)
    assert broker.p.leverage == 20.0


def test_slippage_in_percent_moves_market_orders():
    strategy = at_100(BUY_1, prepare=lambda b: b.set_slippage_perc(0.01))
    assert strategy.executions() == [(2, 1.0, pytest.approx(101.0))]


def test_commission_scheme_knows_margin_and_lot():
    strategy = at_100(BUY_1)
    info = strategy.broker.getcommissioninfo(strategy.data)
    # at leverage 5 a coin of 300 binds 60: 100 buy 1.666 of it in lots of 0.001
    assert info.get_margin(300.0) == 60.0
    assert info.getoperationcost(2.0, 300.0) == 120.0
    assert info.getsize(300.0, 100.0) == 1.666
    assert info.getvaluesize(-2.0, 300.0) == 600.0


# --- what is refused

WRONG = {
    "cash is negative": ({"cash": -5.0}, "cash: expected 0 or more, got -5"),
    "cash is a text": ({"cash": "10000"}, "cash: expected a number, got '10000'"),
    "cash is nothing": ({"cash": None}, "cash: expected a number"),
    "cash is not finite": ({"cash": float("nan")}, "cash: expected a number"),
    "leverage 0": ({"leverage": 0}, "leverage: .* greater than or equal to 1, got 0"),
    "leverage is a text": ({"leverage": "5"}, "leverage: expected a number"),
    "fee of 200 %": ({"maker_fee": 2}, "maker_fee: .* less than 0.05"),
    "commission of 200 %": ({"commission": 2}, "maker_fee: .* less than 0.05"),
    "commission is a text": ({"commission": "0.1 %"}, "commission: expected a number"),
    "commission and a fee": ({"commission": 0.01, "maker_fee": 0.02}, "give it or maker_fee, not both"),
    "slippage is a switch": ({"slippage": True}, "slippage: expected a number, got True"),
    "fill rule": ({"fill_rule": "cross"}, "fill_rule: 'cross' is none of touch, through"),
    "markets": ({"markets": {"TEST": {"tick": 0.1}}}, "markets: expected a Market or MarketHistory by symbol"),
    "unknown": ({"lever": 5}, "lever: no parameter of HedgeBroker"),
    "of BackBroker": ({"slip_perc": 0.01}, "slip_perc: give slippage"),
    "cheating": ({"coc": True}, "coc: a market order fills at the next open"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameter_is_refused_when_it_is_given(case):
    given, words = WRONG[case]
    with pytest.raises(ConfigError, match=words):
        HedgeBroker(**given)


def test_wrong_parameter_that_is_set_later_is_refused_at_the_start():
    def prepare(broker):
        broker.p.leverage = 0

    with pytest.raises(ConfigError, match="leverage"):
        at_100({}, prepare=prepare)


REFUSED = {
    "set_coc": (lambda b: b.set_coc(True), "next open"),
    "set_coo": (lambda b: b.set_coo(True), "order in next"),
    "set_filler": (lambda b: b.set_filler(bt.fillers.FixedSize()), "fill_rule"),
    "set_checksubmit": (lambda b: b.set_checksubmit(False), "margin is always checked"),
    "set_eosbar": (lambda b: b.set_eosbar(True), "no session"),
    "set_int2pnl": (lambda b: b.set_int2pnl(False), "funding"),
    "set_shortcash": (lambda b: b.set_shortcash(False), "moves no cash"),
    "set_slippage_fixed": (lambda b: b.set_slippage_fixed(0.5), "set_slippage_perc"),
    "slippage without the open": (lambda b: b.set_slippage_perc(0.01, slip_open=False), "slippage=0"),
    "fixed commission": (lambda b: b.setcommission(2.0, commtype=bt.CommInfoBase.COMM_FIXED), "fraction of the"),
    "margin": (lambda b: b.setcommission(0.001, margin=100.0), "leverage decides"),
    "multiplier": (lambda b: b.setcommission(0.001, mult=10.0), "mult"),
    "interest": (lambda b: b.setcommission(0.001, interest=0.05), "funding"),
    "stock-like": (lambda b: b.setcommission(0.001, stocklike=True), "leverage=1"),
    "leverage of one symbol": (lambda b: b.setcommission(0.001, leverage=2.0, name="TEST"), "without a name"),
    "fee by the contract": (lambda b: b.addcommissioninfo(bt.CommissionInfo(commission=2.0, margin=50.0)), "fraction"),
    "interest of a scheme": (lambda b: b.addcommissioninfo(bt.CommissionInfo(interest=0.1)), "funding"),
    "fee of 200 %": (lambda b: b.setcommission(2.0), "less than 0.05"),
    "order history": (lambda b: b.add_order_history([], False), "place them in next"),
    "fund history": (lambda b: b.set_fund_history([]), "set_fundmode"),
    "lever value": (lambda b: b.get_value_lever(), "get_leverage"),
    "share of 0": (lambda b: b.set_fundstartval(0.0), "more than 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_setting_that_would_change_the_exchange_names_the_way(case):
    setting, words = REFUSED[case]
    with pytest.raises(ConfigError, match=words):
        setting(HedgeBroker())


@pytest.mark.parametrize(
    "setting",
    [
        lambda b: b.set_coc(False),
        lambda b: b.set_coo(False),
        lambda b: b.set_filler(None),
        lambda b: b.set_checksubmit(True),
        lambda b: b.seteosbar(False),
        lambda b: b.set_int2pnl(True),
        lambda b: b.set_slippage_fixed(0.0),
    ],
)
def test_setting_that_is_the_rule_anyway_changes_nothing(setting):
    setting(HedgeBroker())


@pytest.mark.parametrize("setting", ["set_slippage_perc", "setcommission", "set_fundstartval"])
def test_setting_belongs_before_the_run(setting):
    with pytest.raises(ConfigError, match=r"before cerebro.run\(\)"):
        at_100({1: lambda s: getattr(s.broker, setting)(0.001)})


def test_cheating_on_the_open_is_refused_wherever_it_is_asked_for():
    class Early(bt.Strategy):
        def next_open(self):
            self.buy(size=1.0)

    for options in ({"cheat_on_open": True}, {"cheat_on_open": True, "broker_coo": False}):
        cerebro = new_cerebro([candle_feed(flat(4))], None, **options)
        cerebro.addstrategy(Early)
        with pytest.raises(ConfigError, match=r"next\(\)"):
            cerebro.run()


# --- the strategy and its broker


def test_grid_strategy_plans_with_the_fees_of_its_broker():
    def planned(**fees):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(CandleFeed(dataname=sample_market(days=4).candles, name="BTCUSDT"))
        cerebro.setbroker(HedgeBroker(cash=100_000.0, **fees))
        cerebro.addstrategy(GridStrategyV4, **BUSY)
        [strategy] = cerebro.run()
        return strategy

    strategy = planned(maker_fee=0.003, taker_fee=0.004, leverage=3)
    assert (strategy.config.maker_fee, strategy.config.taker_fee, strategy.config.leverage) == (0.003, 0.004, 3.0)


@pytest.mark.parametrize("given", [{"maker_fee": 0.01}, {"taker_fee": 0.02}, {"leverage": 1}])
def test_fee_given_to_the_strategy_that_differs_from_the_brokers_is_refused(given):
    cerebro = new_cerebro([candle_feed(flat(4))])
    cerebro.addstrategy(GridStrategyV4, **given)
    [name] = given
    with pytest.raises(ConfigError, match=f"{name}: .* give it to the broker alone"):
        cerebro.run()


def test_fee_given_to_both_is_taken():
    cerebro = new_cerebro([candle_feed(flat(4))], {"maker_fee": 0.01})
    cerebro.addstrategy(GridStrategyV4, maker_fee=0.01)
    assert cerebro.run()[0].config.maker_fee == 0.01


def test_grid_strategy_without_a_hedge_broker_says_so_in_one_sentence():
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(candle_feed(flat(4)))
    cerebro.addstrategy(GridStrategyV4)
    with pytest.raises(ConfigError, match=r"GridStrategyV4 needs a hedge-mode broker: cerebro.setbroker"):
        cerebro.run()
