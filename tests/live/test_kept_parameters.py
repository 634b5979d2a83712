"""With which parameters a session goes on in its state directory."""

import pytest

from gridv4_bt.config import GridConfig, config_as_toml, load_config, make_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.kept_parameters import kept_parameters
from gridv4_bt.live.state import StateFile

NOTHING = GridConfig()  # names nothing


def begun(folder, text, place="paper"):
    """A state directory whose session began with a config.toml."""
    (folder / "config.toml").write_text(text, encoding="utf-8")
    StateFile(folder, place).save({"bot": "g4abcd"})
    return folder


def values(config, *names):
    return tuple(getattr(config, name) for name in names)


def test_what_is_named_counts_then_the_file_then_todays_default(tmp_path):
    begun(tmp_path, "k = 2.5\nlevels = 7\ngamma = 1.5\n")
    config = tmp_path / "mine.toml"
    config.write_text("levels = 12\n")
    kept = kept_parameters(tmp_path, "paper", load_config(config, ["gamma=4"]))
    assert values(kept.config, "k", "levels", "gamma", "horizon") == (2.5, 12, 4.0, GridConfig().horizon)


def test_a_whole_file_is_kept_whole(tmp_path):
    config = make_config({"k": 2.5, "regime": "none", "warm_up": 1_000})
    begun(tmp_path, config_as_toml(config))
    kept = kept_parameters(tmp_path, "paper", NOTHING)
    assert kept.config == config and kept.added == {}


def test_what_differs_from_todays_defaults_is_listed_and_what_is_named_is_not(tmp_path):
    begun(tmp_path, "k = 2.5\nlevels = 7\ngamma = 1.5\n")
    named = load_config(None, ["gamma=4"])
    kept = kept_parameters(tmp_path, "paper", named)
    today = GridConfig()
    assert kept.differing(kept.config, named) == {"k": (2.5, today.k), "levels": (7, today.levels)}


def test_a_parameter_that_the_file_does_not_have_is_new(tmp_path):
    whole = config_as_toml(GridConfig())
    begun(tmp_path, "\n".join(line for line in whole.splitlines() if not line.startswith(("kappa ", "horizon "))))
    assert kept_parameters(tmp_path, "paper", NOTHING).added == {
        "kappa": GridConfig().kappa,
        "horizon": GridConfig().horizon,
    }
    assert kept_parameters(tmp_path, "paper", load_config(None, ["kappa=7"])).added == {"horizon": GridConfig().horizon}


def test_parameters_of_single_symbols_are_kept_and_named_one_by_one(tmp_path):
    begun(tmp_path, "k = 2.5\n[symbols.SOLUSDT]\nk = 3.0\nlevels = 7\n")
    kept = kept_parameters(tmp_path, "paper", load_config(None, ["SOLUSDT.k=4"]))
    assert values(kept.config.of("SOLUSDT"), "k", "levels") == (4.0, 7)
    assert kept.config.of("BTCUSDT").k == 2.5
    today = GridConfig()
    assert kept.differing(kept.config, today) == {
        "k": (2.5, today.k), "SOLUSDT.k": (4.0, today.k), "SOLUSDT.levels": (7, today.levels),
    }  # fmt: skip


def test_a_new_session_keeps_nothing(tmp_path):
    assert kept_parameters(tmp_path, "paper", NOTHING) is None
    (tmp_path / "config.toml").write_text("k = 2.5\n")  # written at a start that came to no decision
    assert kept_parameters(tmp_path, "paper", NOTHING) is None
    begun(tmp_path, "k = 2.5\n", place="demo")  # what another exchange knows does not go on here
    assert kept_parameters(tmp_path, "paper", NOTHING) is None
    (tmp_path / "config.toml").unlink()
    assert kept_parameters(tmp_path, "demo", NOTHING) is None


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("grid_step = 2.5\n", [], "grid_step: unknown parameter"),
        ("levels = 100000\n", [], "levels: "),
        ("stop1_atr = 9.0\nstop2_atr = 6.0\n", [], "stage 2 must lie farther away"),
        ("k = = 2\n", [], "not valid TOML"),
        ("grid_step = 2.5\n", ["k=3"], "grid_step: unknown parameter"),
    ],
)
def test_a_file_that_is_none_any_more_is_named_with_the_cure(tmp_path, text, settings, words):
    begun(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        kept_parameters(tmp_path, "paper", load_config(None, settings))
    message = str(refused.value)
    assert str(tmp_path / "config.toml") in message and words in message and "--new-defaults" in message


def test_a_value_not_allowed_any_more_does_not_matter_where_another_one_is_named(tmp_path):
    begun(tmp_path, "levels = 100000\nk = 2.5\n")
    kept = kept_parameters(tmp_path, "paper", load_config(None, ["levels=8"]))
    assert values(kept.config, "k", "levels") == (2.5, 8)


def test_a_named_value_that_contradicts_a_kept_one_is_refused_with_both(tmp_path):
    begun(tmp_path, "stop1_atr = 3.0\nstop2_atr = 3.5\n")
    with pytest.raises(ConfigError) as refused:
        kept_parameters(tmp_path, "paper", load_config(None, ["stop1_atr=4"]))
    message = str(refused.value)
    assert message.startswith("stop1_atr = 4.0 against stop2_atr = 3.5")
    assert f"what you do not name is kept from {tmp_path / 'config.toml'}" in message and "--new-defaults" in message
