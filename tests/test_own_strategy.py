"""A strategy of the user's own: how it is named, what its parameters may be, and what is told of its errors."""

from pathlib import Path

import backtrader as bt
import pytest

from gridv4_bt.config import OF_ANY_STRATEGY
from gridv4_bt.errors import ConfigError, StrategyError
from gridv4_bt.own_strategy import OwnStrategy, load_strategy, split_settings, stored_values

MINE = """
import backtrader as bt


class Mine(bt.Strategy):
    params = (("bars", 20), ("share", 0.5), ("eager", False), ("side", "LONG"), ("steps", (1, 2)), ("leverage", 1.0))

    def next(self):
        if len(self) == 3:
            self.nothing_of_the_kind


class Other:
    pass
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.fixture
def mine(file):
    return load_strategy(f"{file}:Mine")


def refusal(source):
    with pytest.raises(ConfigError) as refused:
        load_strategy(str(source))
    return str(refused.value)


def test_a_file_gives_its_class_with_its_defaults(mine, file):
    assert issubclass(mine.kind, bt.Strategy)
    assert (mine.name, mine.source) == ("Mine", f"{file}:Mine")
    assert mine.params["bars"] == 20 and mine.named == frozenset()


def test_a_module_gives_its_class_too(file, monkeypatch):
    (file.parent / "mine_as_module.py").write_text(MINE)
    monkeypatch.syspath_prepend(file.parent)
    assert load_strategy("mine_as_module:Mine").source == "mine_as_module:Mine"


def test_a_file_may_import_what_lies_beside_it(file):
    (file.parent / "beside_mine.py").write_text("BARS = 7\n")
    other = file.parent / "uses.py"
    other.write_text(
        "import backtrader as bt\nimport beside_mine\n\n\nclass Uses(bt.Strategy):\n"
        "    params = (('bars', beside_mine.BARS),)\n"
    )
    assert load_strategy(f"{other}:Uses").params == {"bars": 7}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine.py", "write PATH/TO/FILE.py:CLASS or MODULE:CLASS"),
        ("none.py:Mine", "no such file"),
        ("mine.py:Mime", "no class Mime; did you mean Mine? strategies there: Mine"),
        ("mine.py:Other", "Other is no strategy; derive it from bt.Strategy"),
    ],
)
def test_what_is_no_strategy_is_refused_with_the_cure(file, name, told):
    assert told in refusal(file.parent / name)


def test_a_module_that_is_nowhere_is_refused():
    assert "no module no_such_module_at_all in this folder or installed" in refusal("no_such_module_at_all:A")


def test_an_error_on_import_is_told_with_the_users_own_line(file):
    file.write_text("import backtrader as bt\nPERIOD = int('ten')\n")
    assert f"ValueError: invalid literal for int() with base 10: 'ten' at {file} line 2" in refusal(f"{file}:Mine")


def test_a_syntax_error_is_told_with_its_line(file):
    file.write_text("import backtrader as bt\nclass Mine(bt.Strategy)\n    pass\n")
    assert f"{file} line 2: expected ':'" in refusal(f"{file}:Mine")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bars", "30", 30),
        ("share", "1", 1.0),
        ("eager", "true", True),
        ("side", "SHORT", "SHORT"),
        ("steps", "[3, 4, 5]", (3, 4, 5)),
    ],
)
def test_a_text_becomes_the_type_of_the_default(mine, name, text, value):
    taken = mine.value_of(name, text)
    assert taken == value and type(taken) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bars", "2.5"), ("bars", 2.5), ("bars", True), ("share", "half"), ("share", "nan"), ("eager", 1), ("side", 1),
        ("steps", "3"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(mine, name, value):
    with pytest.raises(ConfigError, match=f"Mine.{name}: expected .* as its default"):
        mine.value_of(name, value)


def test_options_win_over_the_table_of_the_class(mine):
    content = {"levels": 3, "Mine": {"bars": 5, "share": 0.1}, "Another": {"x": 1}}
    own, others = split_settings(
        mine, {Path("my.toml"): content}, ["bars=6", "Mine.eager=true", "slippage=0.001"], OF_ANY_STRATEGY
    )
    assert (own.params["bars"], own.params["share"], own.params["eager"]) == (6, 0.1, True)
    assert own.named == {"bars", "share", "eager"}
    assert others == ["slippage=0.001"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("bras=5", "bras: no parameter of Mine or the exchange; did you mean bars?"),
        ("levels=5", "levels: no parameter of Mine or the exchange"),
        ("leverage=2", "leverage: Mine and the exchange both have it; write Mine.leverage or exchange.leverage"),
        ("Yours.bars=5", "write Mine.bars for the strategy's, exchange.bars for the exchange's"),
    ],
)
def test_a_name_that_is_of_neither_or_of_both_is_refused(mine, setting, told):
    with pytest.raises(ConfigError) as refused:
        split_settings(mine, {}, [setting], OF_ANY_STRATEGY)
    assert told in str(refused.value)


def test_a_prefix_says_whose_parameter_is_meant(mine):
    own, others = split_settings(mine, {}, ["Mine.leverage=2", "exchange.leverage=3"], OF_ANY_STRATEGY)
    assert own.params["leverage"] == 2.0 and others == ["leverage=3"]


def test_a_table_whose_name_is_misspelt_is_refused(mine):
    with pytest.raises(ConfigError, match=r"\[Mines\]: the strategy is Mine; name the table \[Mine\]"):
        split_settings(mine, {Path("my.toml"): {"Mines": {"bars": 5}}}, [], OF_ANY_STRATEGY)


def test_what_is_written_down_is_read_back_equal(mine):
    import tomllib

    named = mine.with_values({"side": 'a "b" \\ \t c', "share": 1e-7})
    stored = stored_values(tomllib.loads(named.as_toml()))
    assert stored.source == mine.source
    assert mine.with_values(stored.params).params == named.params


def test_a_parameter_that_no_file_can_hold_is_left_as_it_is():
    class Odd(bt.Strategy):
        params = (("average", bt.ind.SMA),)

    odd = OwnStrategy("odd.py:Odd", {"average": bt.ind.SMA}, Odd)
    assert "# average = <class" in odd.as_toml()
    with pytest.raises(ConfigError, match="set in the strategy's file alone"):
        odd.value_of("average", "EMA")


def test_an_error_in_next_is_told_with_file_and_line(mine, file):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=candles()))
    cerebro.addstrategy(mine.kind, **mine.params)
    with (
        pytest.raises(
            StrategyError, match=rf"Mine failed at {file} line 10 \(self.nothing_of_the_kind\): AttributeErr"
        ),
        mine.failures(),
    ):
        cerebro.run()


def candles():
    import pandas as pd

    times = pd.date_range("2024-01-01", periods=10, freq="15min")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0), index=times)


def test_errors_that_are_not_the_strategys_pass(mine):
    with pytest.raises(ZeroDivisionError), mine.failures():
        raise ZeroDivisionError


def test_a_delayed_strategy_comes_to_next_after_so_many_bars():
    class Counts(bt.Strategy):
        first = 0

        def next(self):
            self.first = self.first or len(self)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=candles()))
    cerebro.addstrategy(OwnStrategy("x.py:Counts", {}, Counts).delayed(4))
    [strategy] = cerebro.run()
    assert strategy.first == 5
