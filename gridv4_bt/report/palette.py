"""The one palette of page and pictures: the colours of `assets/report.css` by their names there."""

import re
from functools import cache
from importlib.resources import files

from gridv4_bt.core.regime import Regime

#: Colour of each regime, by name in the palette.
REGIME_COLOURS = {
    Regime.BREAKOUT_UP: "--breakup",
    Regime.UPTREND: "--up",
    Regime.NOISE: "--noise",
    Regime.DOWNTREND: "--down",
    Regime.BREAKOUT_DOWN: "--breakdown",
}


@cache
def palette() -> dict[str, str]:
    """Return the colours on a light ground by name, ``--long`` and the like, as #rrggbb."""
    style = (files("gridv4_bt.report") / "assets" / "report.css").read_text(encoding="utf-8")
    light = style[style.index(":root {") : style.index("}")]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", light))


def colour(name: str) -> str:
    """Return a colour of the palette on a light ground."""
    return palette()[name]
