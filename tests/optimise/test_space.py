import tomllib
from pathlib import Path

import pytest
from fake_market import space

from gridv4_bt.config import GridConfig, is_defined
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.space import Limit, load_space

SPACES = Path(__file__).resolve().parents[2] / "presets" / "spaces"
GOOD = """
limits = ["max_drawdown < 0.10", "liquidations = 0", "fills_per_day > 1 in 2024"]

[[symbols]]
name = "BTCUSDT"
candles = "BTCUSDT-15m.parquet"

[[windows]]
name = "2024"
from = 2024-01-01
to = 2024-12-31

[[windows]]
name = "later"
from = 2025-01-01
use = "test"

[[objectives]]
figure = "sharpe"

[parameters]
k = { low = 1.0, high = 6.0, log = true }
levels = { low = 4, high = 12, step = 2 }
regime = { choices = ["kama", "none"] }

[fixed]
order_pct = 0.04
"""


def write(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return path


def test_a_space_file_is_read_with_its_files_beside_it(tmp_path):
    loaded = load_space(write(tmp_path, GOOD))
    assert loaded.symbols[0].candles == tmp_path / "BTCUSDT-15m.parquet"
    assert [window.name for window in loaded.search_windows] == ["2024"]
    assert [window.name for window in loaded.test_windows] == ["later"]
    assert loaded.fixed == {"order_pct": 0.04}
    assert [limit.window for limit in loaded.limits] == [None, None, "2024"]


def test_a_defined_number_is_searched_where_the_space_names_it(tmp_path):
    text = GOOD.replace("[fixed]", "er_bars = { low = 5, high = 20 }\nz_halt = { low = -4.0, high = -2.0 }\n\n[fixed]")
    loaded = load_space(write(tmp_path, text))
    assert {"er_bars", "z_halt"} < set(loaded.parameters) and loaded.is_whole("er_bars")


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_spaces_that_come_along_leave_the_definition_alone(path):
    assert not any(is_defined(name.split(".")[-1]) for name in load_space(path).parameters)


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_defaults_lie_inside_the_spaces_that_come_along(path):
    loaded, defaults = load_space(path), GridConfig().model_dump()
    spread = "spread_sigmas" if path.stem == "portfolio-sigmas" else "kappa"
    parameters = [(name.split(".")[-1], one) for name, one in loaded.parameters.items()]  # wild.k is a k
    assert {"k", "floor_pct", "levels", "gamma", spread, "regime"} == {name for name, _ in parameters}
    for name, one in parameters:
        if name == "spread_sigmas":  # 0 is no spread but leaves it to kappa
            continue
        assert defaults[name] in one.choices if one.choices else one.low < defaults[name] < one.high, name


def test_the_spaces_of_one_symbol_differ_in_it_and_in_the_end_of_its_data_alone():
    spaces = [load_space(SPACES / f"{name}.toml") for name in ("btc", "eth", "sol", "ada", "trx")]
    first, *others = (one.model_dump(exclude={"symbols", "windows"}) for one in spaces)
    assert others == [first] * 4
    assert {one.search_windows for one in spaces} == {spaces[0].search_windows}


def test_the_spaces_of_several_symbols_differ_in_how_wide_they_are_and_in_their_limits_alone():
    spaces = [load_space(path) for path in sorted(SPACES.glob("*.toml")) if path.stem.startswith(("port", "active"))]
    same = {"symbols", "windows", "objectives", "wallet", "cash"}
    first, *others = (one.model_dump(include=same) for one in spaces)
    assert others == [first] * 5 and first["wallet"] == "shared"
    assert [one.name for one in spaces[0].symbols if one.use == "test"] == ["ADAUSDT", "TRXUSDT"]


BAD = [
    ("sharpe", "luck", "objectives.0.figure: no such figure; one of net_return"),
    ("max_drawdown < 0.10", "max_drawdown is small", "limits: 'max_drawdown is small': write a limit like"),
    ("max_drawdown < 0.10", "luck < 0.10", "no such figure"),
    ("> 1 in 2024", "> 1 in 2023", "no search window has this name"),
    ("> 1 in 2024", "> 1 in later", "no search window has this name"),
    ("low = 1.0", "low = 9.0", "parameters.k: a range needs a low below its high"),
    ("low = 1.0", "low = 0.0", "parameters.k: a log range lies above 0"),
    ("log = true", "log = true, step = 1.0", "parameters.k: a log range lies above 0 and has no step"),
    ("high = 6.0", "high = 600.0", "parameters.k: k: Input should be less than or equal to 100"),
    ("k = {", "kk = {", "parameters.kk: kk: unknown parameter"),
    ("low = 4", "low = 4.5", "levels"),
    ('"none"', '"best"', "parameters.regime: regime: Input should be 'kama', 'gmm' or 'none'"),
    ('"none"', '"kama"', "a choice comes twice"),
    ("choices =", "low = 1, choices =", "give either low and high, or choices"),
    ("order_pct = 0.04", "order_pct = 4", "fixed.order_pct: order_pct: Input should be less than or equal to 1"),
    ("order_pct = 0.04", "k = 2.0", "fixed: k is searched already"),
    ('name = "later"', 'name = "2024"', "windows: 2024 is given twice"),
    ("from = 2025-01-01", "from = 2024-12-31", "windows: later is to be unseen, but shares days with 2024"),
    ("from = 2025-01-01", "", "windows: later is to be unseen, but shares days with 2024"),
    ("candles =", "candels =", "symbols.0.candels: unknown key"),
    ('use = "test"', 'use = "rest"', "windows.1.use: Input should be 'search' or 'test'"),
    ("from = 2024-01-01", 'from = "yesterday"', "windows.0.from"),
    ("[fixed]", "[search]\nsampler = 'grid'\n[fixed]", "parameters.k: the grid sampler needs a step or choices"),
    ("[fixed]", "[search]\ntrials = 1\n[fixed]", "search.trials: Input should be greater than or equal to 2"),
    ("[[objectives]]", "[objectives", "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "words"), BAD, ids=lambda text: str(text)[:30])
def test_mistakes_are_named_with_their_place(old, new, words, tmp_path):
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        load_space(write(tmp_path, GOOD.replace(old, new, 1)))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.toml: cannot be read"):
        load_space(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("max_drawdown < 0.10", 0.05, -0.5),
        ("max_drawdown < 0.10", 0.20, 1.0),
        ("fills_per_day > 2", 1.0, 0.5),
        ("fills_per_day >= 2", 2.0, 0.0),
        ("liquidations = 0", 0, 0.0),
        ("liquidations = 0", 3, 3.0),
        ("net_return > -1e-1", 0.0, -1.0),
        ("sharpe > 1", None, 1.0),
    ],
)
def test_how_far_a_limit_is_broken(text, value, violation):
    assert Limit.parse(text).violation(value) == pytest.approx(violation)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_drawdown < 0.10", "max drawdown < 10 %"), ("net_return >= 0.125 in 2024", "net return ≥ 12.5 % in 2024"),
        ("liquidations = 0", "liquidations = 0"), ("sharpe > 1.5", "sharpe > 1.5"),
    ],
)  # fmt: skip
def test_a_limit_reads_in_the_units_of_the_page(text, words):
    assert Limit.parse(text).words == words


def test_a_strict_limit_is_broken_where_it_is_touched():
    assert Limit.parse("max_drawdown < 0.10").violation(0.10) > 0.0
    assert Limit.parse("max_drawdown <= 0.10").violation(0.10) == 0.0


def test_objectives_are_means_or_the_worst_of_all_symbols_and_windows():
    cells = [{"sharpe": 1.0, "max_drawdown": 0.1}, {"sharpe": None, "max_drawdown": 0.3}]
    objectives = space(objectives=[{"figure": "sharpe"}, {"figure": "max_drawdown"}]).objectives
    assert [one.value(cells) for one in objectives] == [0.5, pytest.approx(0.2)]
    worst = [one.model_copy(update={"over": "worst"}) for one in objectives]
    assert [one.value(cells) for one in worst] == [0.0, 0.3]


def test_the_fingerprint_knows_what_a_trial_number_means():
    base = space()
    windows = [{"name": "main", "to": "2024-12-31"}, {"name": "later", "from": "2025-01-01", "use": "test"}]
    alike = [space(search={"trials": 500, "finalists": 9}), space(folds={"count": 2})]
    assert {one.fingerprint("data") for one in alike} == {base.fingerprint("data")}
    assert space(windows=windows).fingerprint("") == space(windows=windows[:1]).fingerprint("")
    symbols = [{"name": "TEST", "candles": "TEST.csv"}, {"name": "HELD", "candles": "HELD.csv", "use": "test"}]
    assert space(symbols=symbols).fingerprint("") == base.fingerprint("")
    others = [
        base.fingerprint("other"),
        space(search={"seed": 6}).fingerprint("data"),
        space(search={"batch": 9}).fingerprint("data"),
        space(limits=[]).fingerprint("data"),
        space(fixed={"gamma": 1.0}).fingerprint("data"),
        space(wallet="shared").fingerprint("data"),
    ]
    assert len({base.fingerprint("data"), *others}) == 7


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_limits_choose_among_trials_that_do_not_depend_on_them(sampler):
    search = {"sampler": sampler}
    assert space(search=search, limits=[]).fingerprint("") == space(search=search).fingerprint("")


def test_a_space_without_a_symbol_to_search_is_refused():
    with pytest.raises(ValueError, match='symbols: at least one needs use = "search"'):
        space(symbols=[{"name": "TEST", "candles": "TEST.csv", "use": "test"}])


def test_the_spaces_of_the_presets_load():
    folder = Path(__file__).resolve().parents[2] / "presets" / "spaces"
    files = sorted(folder.glob("*.toml"))
    alone, together = ["ada", "btc", "eth", "sol", "trx"], ["portfolio", "portfolio-sigmas", "portfolio-classes"]
    assert sorted(file.stem for file in files) == sorted(
        [*alone, *together, "active-high", "active-low", "active-medium"]
    )
    for file in files:
        symbols = tomllib.loads(file.read_text())["symbols"]
        assert symbols[0]["name"] == f"{file.stem.upper()}USDT" if file.stem in alone else len(symbols) == 5
        assert load_space(file).test_windows


# --- classes of symbols

TWO = {
    "classes": 2,
    "symbols": [{"name": name, "candles": f"{name}.csv"} for name in ("CALM", "WILD")],
    "parameters": {"k": {"low": 1.0, "high": 6.0, "by_class": True}, "levels": {"low": 2, "high": 12}},
}


def test_a_parameter_by_class_is_one_for_each_class():
    assert list(space(**TWO).parameters) == ["calm.k", "wild.k", "levels"]
    symbols = [{"name": name, "candles": f"{name}.csv"} for name in "ABC"]
    three = space(**TWO | {"classes": 3, "symbols": symbols})
    assert list(three.parameters) == ["calm.k", "middle.k", "wild.k", "levels"]


def test_the_values_of_a_class_are_those_of_its_symbols():
    symbols = [
        {"name": "A", "candles": "A.csv", "class": "wild"},
        {"name": "B", "candles": "B.csv", "class": "calm"},
        {"name": "C", "candles": "C.csv", "class": "wild", "use": "test"},
    ]
    some = space(**TWO | {"symbols": symbols, "fixed": {"gamma": 2.0}})
    assert some.values({"calm.k": 1.5, "wild.k": 3.0, "levels": 4}) == {
        "gamma": 2.0, "levels": 4, "B.k": 1.5, "A.k": 3.0, "C.k": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": 1}, "k: by_class needs classes = 2 or 3"),
        ({"parameters": {"k": {"low": 1.0, "high": 6.0}}}, "classes: no parameter has by_class = true"),
        ({"classes": 3}, "classes: 3 of them need as many symbols to search"),
        ({"symbols": [{"name": n, "candles": "A.csv", "class": "mild"} for n in "AB"]}, "symbols: A: no class 'mild'"),
        (
            {"parameters": {"leverage": {"low": 1, "high": 5, "by_class": True}}},
            "calm.leverage: leverage is one for all symbols of a wallet",
        ),
    ],
)
def test_what_is_wrong_with_classes_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        space(**TWO | changes)


def test_the_fingerprint_knows_the_classes():
    one = space(**TWO)
    symbols = [{**symbol, "class": name} for symbol, name in zip(TWO["symbols"], ("wild", "calm"), strict=True)]
    assert one.fingerprint("") != space(**TWO | {"symbols": symbols}).fingerprint("")
