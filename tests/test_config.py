import json
import math
import os
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from brokers.hedge import HedgeBroker
from gridv4_bt.config import (
    GridConfig,
    backtrader_params,
    bounds,
    changed_meanings,
    check_parameter,
    config_as_toml,
    departure_line,
    departures,
    is_defined,
    load_config,
    make_config,
)
from gridv4_bt.engine.warm_up import warm_up_bars
from gridv4_bt.errors import ConfigError
from strategies.grid_v4 import GridStrategyV4

#: The numbers of SPEC, sections 2 to 5.
DEFAULTS = {
    "cap_leg": 0.0,
    "cap_symbol": 0.0,
    "cap_side": 0.0,
    "cap_gross": 0.0,
    "cap_net": 0.0,
    "regime": "kama",
    "er_bars": 10,
    "kama_fast": 2,
    "kama_slow": 30,
    "atr_bars": 14,
    "adx_bars": 14,
    "adx_min": 25.0,
    "z_bars": 20,
    "breakout_slope": 0.25,
    "trend_slope": 0.05,
    "hysteresis": 0.5,
    "gmm_components": 5,
    "gmm_window": 2_880,
    "gmm_refit": 96,
    "gmm_stride": 4,
    "gmm_span": 16,
    "gmm_trend": 0.5,
    "gmm_breakout": 1.0,
    "gmm_dwell": 4,
    "warm_up": 0,
    "sigma_bars": 96,
    "k": 0.8,
    "floor_pct": 0.004,
    "levels": 15,
    "gamma": 1.0,
    "kappa": 30.0,
    "spread_sigmas": 0.0,
    "horizon": 30,
    "reopen_bars": 4,
    "nudge_pct": 0.0015,
    "trail_share": 0.5,
    "keep_price": 0.25,
    "keep_qty": 0.15,
    "order_pct": 0.05,
    "max_inventory": 1.0,
    "kelly_fraction": 0.25,
    "kelly_window": 50,
    "kelly_min_trades": 20,
    "kelly_floor": 0.25,
    "kelly_cap": 2.0,
    "funding_tilt": 0.25,
    "cooldown_stops": 2,
    "cooldown_bars": 48,
    "cooldown_factor": 0.5,
    "z_halt": -3.0,
    "z_resume": -1.0,
    "stop1_atr": 9.0,
    "stop1_share": 0.5,
    "stop2_atr": 13.0,
    "margin_call": 0.8,
    "margin_target": 0.5,
    "liquidation_warning": 0.05,
    "var_pct": 0.10,
    "var_z": 1.65,
    "delever_share": 0.75,
    "deviance_atr": 3.0,
    "max_age_hours": 24.0,
    "gap_spacings": 3.0,
    "funding_share": 0.5,
    "offset_spacings": 1.0,
    "maker_fee": 0.0002,
    "taker_fee": 0.0005,
    "slippage": 0.0002,
    "liquidation_fee": 0.0125,
    "fill_rule": "touch",
    "intrabar": "pessimistic",
    "funding_hours": 8.0,
}
#: Those that the definition gives; the others are free.
DEFINED = {
    "er_bars", "kama_fast", "kama_slow", "atr_bars", "adx_bars", "adx_min", "z_bars", "nudge_pct", "trail_share",
    "kelly_fraction", "funding_tilt", "cooldown_stops", "cooldown_bars", "cooldown_factor", "z_halt", "z_resume",
    "stop1_share", "var_z", "delever_share", "deviance_atr", "max_age_hours", "gap_spacings", "funding_share",
}  # fmt: skip
#: Where 0 switches a rule off.
SWITCHES = {"deviance_atr", "max_age_hours", "gap_spacings", "funding_share", "offset_spacings"}
FIELDS = GridConfig.model_fields
NUMBERS = [name for name, field in FIELDS.items() if field.annotation in (int, float)]


# --- the list


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_default_is_specs(name):
    assert getattr(GridConfig(), name) == DEFAULTS[name]


@pytest.mark.parametrize("name", FIELDS)
def test_every_parameter_has_unit_meaning_and_section(name):
    field = FIELDS[name]
    assert field.description and field.description[0].islower()
    assert field.json_schema_extra["unit"]
    assert field.json_schema_extra["section"] in {"signals", "grid", "sizing", "guards", "exchange"}


def test_the_defined_parameters():
    assert {name for name in FIELDS if is_defined(name)} == DEFINED


def test_0_switches_off_where_the_meaning_says_so():
    assert {name for name, field in FIELDS.items() if field.description.endswith("; 0: off")} == SWITCHES
    assert all(getattr(make_config({name: 0}), name) == 0.0 for name in SWITCHES)


def test_bounds_as_text():
    assert [bounds(name) for name in ("k", "z_halt", "levels", "fill_rule")] == [
        "(0, 100]", "[-1000, 0)", "[1, 100]", "touch through",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_bounded_on_both_sides(name):
    bounds = {type(bound).__name__ for bound in FIELDS[name].metadata}
    assert bounds & {"Gt", "Ge"} and bounds & {"Lt", "Le"}


@pytest.mark.parametrize("params", [GridStrategyV4.params, HedgeBroker.params])
def test_backtraders_parameters_are_the_same_list(params):
    theirs = {name: value for name, value in params._getpairs().items() if name in FIELDS}
    assert theirs.items() <= DEFAULTS.items() | {("leverage", FIELDS["leverage"].default)}
    assert theirs


def test_the_strategy_has_every_parameter():
    assert set(FIELDS) <= set(GridStrategyV4.params._getkeys())


def test_parameters_of_a_section():
    assert [name for name, _ in backtrader_params("exchange")] == [
        "leverage",
        "cap_leg",
        "cap_symbol",
        "cap_side",
        "cap_gross",
        "cap_net",
        "maker_fee",
        "taker_fee",
        "slippage",
        "liquidation_fee",
        "fill_rule",
        "intrabar",
        "funding_hours",
    ]


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        GridConfig().k = 5.0


# --- what is refused


def test_an_unknown_name_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"^spacing: unknown parameter"):
        make_config({"spacing": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0.0), ("k", -1.0), ("floor_pct", 0.5), ("levels", 0), ("levels", 101), ("gamma", -0.1), ("kappa", 0.0),
        ("horizon", 0), ("sigma_bars", 1), ("hysteresis", 0.0), ("hysteresis", 1.01), ("keep_price", 0.5),
        ("keep_qty", 1.0), ("order_pct", 0.0), ("order_pct", 1.01), ("max_inventory", 0.0), ("leverage", 0.99),
        ("leverage", 126.0), ("margin_call", 1.0), ("var_pct", 0.0), ("maker_fee", -0.002), ("taker_fee", -0.0001),
        ("slippage", 0.5), ("funding_hours", 0.0), ("funding_hours", 24.5), ("reopen_bars", -1), ("kelly_window", 0),
        ("er_bars", 1), ("kama_fast", 0), ("adx_min", 101.0), ("z_halt", 0.0), ("nudge_pct", 0.005),
        ("funding_tilt", 1.0), ("stop1_share", 0.0), ("cooldown_stops", 21), ("cooldown_factor", 0.0),
        ("trail_share", 1.5), ("var_z", 0.0), ("deviance_atr", -1.0), ("max_age_hours", -1.0),
        ("gap_spacings", -1.0), ("funding_share", -0.5),
        ("gmm_components", 6), ("gmm_window", 479), ("gmm_refit", 0), ("gmm_stride", 17), ("gmm_dwell", 0),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: .*got {value}"):
        make_config({name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "abc", "", None, [1], True, False])
def test_what_is_no_finite_number_is_refused_for_every_number(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        make_config({name: value})


@pytest.mark.parametrize(("name", "value"), [("levels", 2.5), ("levels", "2.5"), ("sigma_bars", 96.1)])
def test_a_fraction_is_no_count(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        make_config({name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("regime", "sma"), ("regime", 1), ("fill_rule", "TOUCH"), ("fill_rule", "")]
)
def test_an_unknown_choice_is_refused_with_the_choices(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: .*'"):
        make_config({name: value})


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"trend_slope": 0.25}, ("trend_slope = 0.25", "breakout_slope = 0.25")),
        ({"gmm_trend": 1.0}, ("gmm_trend = 1.0", "gmm_breakout = 1.0")),
        ({"breakout_slope": 0.01}, ("trend_slope = 0.05", "breakout_slope = 0.01")),
        ({"kama_fast": 30}, ("kama_fast = 30", "kama_slow = 30")),
        ({"kama_slow": 2}, ("kama_fast = 2", "kama_slow = 2")),
        ({"z_halt": -1.0}, ("z_halt = -1.0", "z_resume = -1.0")),
        ({"z_resume": -5.0}, ("z_halt = -3.0", "z_resume = -5.0")),
        ({"stop1_atr": 13.0}, ("stop1_atr = 13.0", "stop2_atr = 13.0")),
        ({"stop2_atr": 3.0}, ("stop1_atr = 9.0", "stop2_atr = 3.0")),
        ({"margin_target": 0.8}, ("margin_target = 0.8", "margin_call = 0.8")),
        ({"kelly_floor": 2.5}, ("kelly_floor = 2.5", "kelly_cap = 2.0")),
        ({"kelly_window": 10}, ("kelly_min_trades = 20", "kelly_window = 10")),
    ],
)
def test_a_contradiction_names_both_fields(values, names):
    with pytest.raises(ConfigError) as refused:
        make_config(values)
    assert all(name in str(refused.value) for name in names)


def test_a_mixture_of_one_is_refused():
    with pytest.raises(ConfigError, match="gmm_components = 1: .*0 lets the BIC choose"):
        make_config({"gmm_components": 1})


@pytest.mark.parametrize("values", [{"kelly_floor": 2.0}, {"kelly_min_trades": 50}])
def test_equal_is_no_contradiction_where_it_makes_sense(values):
    assert make_config(values)


def test_every_wrong_field_is_named_in_one_line():
    with pytest.raises(ConfigError) as refused:
        make_config({"k": -1, "levels": "many", "colour": "red"})
    message = str(refused.value)
    assert all(f"{name}: " in message for name in ("k", "levels", "colour")) and "\n" not in message


# --- files and settings


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "config.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_without_file_and_settings_the_defaults_hold():
    assert load_config() == GridConfig()


def test_a_file_overrides_the_defaults(written):
    config = load_config(written('k = 2.5\nlevels = 7\nregime = "none"\n'))
    assert (config.k, config.levels, config.regime, config.gamma) == (2.5, 7, "none", 1.0)


def test_a_setting_overrides_the_file(written):
    assert load_config(written("k = 2.5\nlevels = 7\n"), ["k=1.5"]).k == 1.5
    assert load_config(written("k = 2.5\nlevels = 7\n"), ["k=1.5"]).levels == 7


def test_the_last_setting_of_a_name_wins():
    assert load_config(settings=["k=1", "k=2"]).k == 2.0


@pytest.mark.parametrize("setting", ["levels=5", "levels = 5", " levels=5 "])
def test_blanks_around_a_setting_do_not_matter(setting):
    assert load_config(settings=[setting]).levels == 5


@pytest.mark.parametrize("setting", ["levels", "=5", "", " = 5"])
def test_a_setting_without_name_or_value_is_refused(setting):
    with pytest.raises(ConfigError, match="expected name=value"):
        load_config(settings=[setting])


@pytest.mark.parametrize("setting", ["levels=", "k=three", "k=1,5", "k=nan", "k=1e999", "k=true", "levels=0x10"])
def test_a_setting_that_is_no_number_is_refused_by_name(setting):
    with pytest.raises(ConfigError, match=f"^{setting.partition('=')[0]}: "):
        load_config(settings=[setting])


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ConfigError, match="^leverages: unknown"):
        load_config(settings=["leverages=5"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [("leverages", "did you mean leverage? "), ("zhalt", "did you mean z_halt? "), ("colour_of_money", "")],
)
def test_an_unknown_name_gets_the_nearest_one(name, hint):
    message = f"{name}: unknown parameter; {hint}`gridv4 params` lists all"
    for refused in (lambda: load_config(settings=[f"{name}=5"]), lambda: check_parameter(name, 5)):
        with pytest.raises(ConfigError) as error:
            refused()
        assert str(error.value) == message


# --- the definition


def test_the_defaults_depart_from_nothing():
    assert departures(GridConfig()) == {}


def test_only_defined_numbers_depart():
    config = make_config({"k": 1, "er_bars": 12, "z_halt": -4, "adx_min": 25})
    assert departures(config) == {"er_bars": 12, "z_halt": -4.0}
    assert departure_line(departures(config)) == "departs from the definition: er_bars = 12 (10), z_halt = -4 (-3)"


@pytest.mark.parametrize("settings", [["offset_spacings=0"], ["offset_spacings=0", "k=2"]])
def test_an_offset_of_0_in_an_old_config_says_what_it_means_now(settings, written):
    [line] = changed_meanings(load_config(settings=settings))
    assert line == (
        "offset_spacings = 0 switches offset off now; it meant 'any loss' until version 0.1: "
        "use a small number such as 0.0001"
    )
    assert changed_meanings(load_config(written("offset_spacings = 0.0\n"))) == [line]


def test_who_knows_the_other_switches_is_told_nothing(written):
    config = load_config(settings=["offset_spacings=0", "gap_spacings=0"])
    assert changed_meanings(config) == changed_meanings(GridConfig()) == []
    assert changed_meanings(load_config(written(config_as_toml(make_config({"offset_spacings": 0}))))) == []


def test_a_contradiction_between_file_and_setting_is_found(written):
    with pytest.raises(ConfigError, match="stop1_atr = 7.0 against stop2_atr = 6.0"):
        load_config(written("stop2_atr = 6.0\n"), ["stop1_atr=7"])


def test_a_setting_can_cure_what_the_file_contradicts(written):
    assert load_config(written("stop1_atr = 7.0\n"), ["stop2_atr=8"]).stop2_atr == 8.0


@pytest.mark.parametrize("content", ["k = \n", "k 3", "k = 3\nk = 4\n", "[grid\n", b"\xff\xfe\x00", b"k = 3 \x00"])
def test_bad_toml_is_refused_with_the_files_name(written, content):
    path = written(content)
    with pytest.raises(ConfigError, match="not valid TOML") as refused:
        load_config(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_toml_table_is_an_unknown_parameter(written):
    with pytest.raises(ConfigError, match="config.toml: grid: unknown"):
        load_config(written("[grid]\nk = 3\n"))


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read \(No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


# --- writing


def test_the_written_file_loads_back_equal(written):
    config = load_config(settings=["k=2.7182818284590452", "levels=3", "regime=none", "maker_fee=-0.0001"])
    assert load_config(written(config_as_toml(config))) == config


def test_the_written_file_holds_every_parameter_with_unit_and_meaning():
    text = config_as_toml(GridConfig())
    assert list(tomllib.loads(text)) == list(FIELDS)
    for name, field in FIELDS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        assert line.endswith(f"# {field.json_schema_extra['unit']}: {field.description}")


@given(
    st.fixed_dictionaries(
        {
            "k": st.floats(0, 100, exclude_min=True),
            "kappa": st.floats(0, 1e7, exclude_min=True),
            "maker_fee": st.floats(-0.001, 0.05, exclude_max=True),
            "var_pct": st.floats(0, 10, exclude_min=True),
            "levels": st.integers(1, 100),
            "regime": st.sampled_from(["kama", "gmm", "none"]),
        }
    )
)
def test_every_value_survives_the_file(values):
    config = make_config(values)
    assert make_config(tomllib.loads(config_as_toml(config))) == config


def test_a_config_is_serialisable():
    assert GridConfig(**json.loads(json.dumps(GridConfig().model_dump()))) == GridConfig()


def test_sections_follow_each_other_without_return():
    sections = [field.json_schema_extra["section"] for field in FIELDS.values()]
    changes = [section for before, section in pairwise(["", *sections]) if section != before]
    assert len(changes) == len(set(changes))


def test_a_byte_order_mark_and_windows_lines_are_no_matter(tmp_path):
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbflevels = 6\r\nk = 0.5\r\n")
    assert (load_config(path).levels, load_config(path).k) == (6, 0.5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a = " + "[" * 20_000, "not valid TOML"),
        ("a = " + "1" * 5_000, r"not valid TOML \(Exceeds the limit"),
        ("levels" + ".a" * 1_500 + " = 1", "levels: Input should be a valid integer, got {'a': {'a': "),
        ("levels" + ".a" * 20_000 + " = 1", r"not valid TOML \(nested too deeply\)"),
        ("x." * 40_000, "larger than 64 kB"),
        ("levels = 6".encode("utf-16"), r"not valid TOML \(byte 0 is not UTF-8\); save it as UTF-8"),
    ],
)
def test_deep_long_and_foreign_files_are_refused_with_one_line(tmp_path, content, words):
    path = tmp_path / "config.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=words) as refusal:
        load_config(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "a\0b", "x" * 5_000])
def test_what_is_neither_file_nor_pipe_is_refused(place):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Path(place))


def test_a_config_may_come_through_a_pipe(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"levels = 6\n")
    os.close(writer)
    assert load_config(Path(f"/dev/fd/{reader}")).levels == 6
    os.close(reader)


def test_funding_settles_no_more_often_than_bars_come():
    with pytest.raises(ConfigError, match=r"funding_hours: .* greater than or equal to 0\.25"):
        load_config(None, ["funding_hours=1e-9"])


# --- parameters of single symbols


BY_SYMBOL = """
k = 1.0
levels = 8

[symbols.SOLUSDT]
k = 2.0

[symbols."TRX-USDT"]
regime = "none"
"""


def test_a_symbol_has_its_own_parameters_and_those_of_all(written):
    config = load_config(written(BY_SYMBOL))
    assert [config.of(name).k for name in ("BTCUSDT", "SOLUSDT", "TRX-USDT")] == [1.0, 2.0, 1.0]
    assert [one.regime for one in config.variants] == ["kama", "kama", "none"]
    assert config.of("SOLUSDT") == make_config({"k": 2.0, "levels": 8})
    assert load_config(written("k = 1.0")).of("SOLUSDT").k == 1.0


def test_a_symbols_parameter_goes_before_that_of_all_whatever_layer_names_it(written):
    path = written(BY_SYMBOL)
    assert load_config(path, ["k=3"]).of("SOLUSDT").k == 2.0
    assert load_config(path, ["SOLUSDT.k=3"]).of("SOLUSDT").k == 3.0
    assert load_config(path, [], {"GRIDV4__SOLUSDT__K": "4"}).of("SOLUSDT").k == 4.0
    assert load_config(path, ["SOLUSDT.k=3"], {"GRIDV4__SOLUSDT__K": "4"}).of("SOLUSDT").k == 3.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[symbols.SOLUSDT]\nkapa = 2", "line 2: kapa: unknown parameter; did you mean kappa"),
        ("[symbols.SOLUSDT]\nk = -1", "SOLUSDT: .*line 2: k: .*greater than 0, got -1"),
        ("[symbols.SOLUSDT]\nleverage = 3", "line 2: SOLUSDT.leverage: leverage is one for all symbols of a wallet"),
        ("[symbols.SOLUSDT]\nsigma_bars = 48", "SOLUSDT.sigma_bars: sigma_bars is one for all symbols"),
        ("stop1_atr = 9\n[symbols.SOLUSDT]\nstop2_atr = 8", "SOLUSDT: stop1_atr = 9.0 against stop2_atr = 8.0"),
        ("symbols = {SOLUSDT = 3}", "symbols.SOLUSDT: expected a table of parameters, got 3"),
    ],
)
def test_a_wrong_parameter_of_a_symbol_is_named_with_its_place(written, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(written(text))


def test_parameters_of_symbols_survive_the_file(written):
    config = load_config(written(BY_SYMBOL))
    assert load_config(written(config_as_toml(config))) == config
    assert make_config(config.model_dump()) == config


def test_departures_name_the_symbol():
    config = make_config({"symbols": {"SOLUSDT": {"er_bars": 12, "k": 3.0}}})
    assert departures(config) == {"SOLUSDT.er_bars": 12}
    assert departure_line(departures(config)) == "departs from the definition: SOLUSDT.er_bars = 12 (10)"


def test_a_history_is_as_long_as_the_longest_symbol_needs():
    config = make_config({"SOLUSDT.adx_bars": 200})
    assert warm_up_bars(config) == warm_up_bars(make_config({"adx_bars": 200})) == 401
