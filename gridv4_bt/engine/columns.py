"""The names of what is noted at every bar."""

#: The columns of equity.csv, one row a bar; the time is in ms, regime and halted are codes; liquidation_down and _up
#: are how far the price may fall and rise until the account is liquidated, as fractions of it, infinite without such a
#: price.
EQUITY_COLUMNS = (
    "time", "equity", "wallet", "unrealized", "long_qty", "short_qty", "regime", "halted", "z", "sigma",
    "q", "anchor", "centre", "var", "margin_ratio", "resting_orders", "liquidation_down", "liquidation_up",
)  # fmt: skip
#: What the log holds beside them: the spacing as a fraction of the price, the Kelly multiplier, and the notional of a
#: level before the funding tilt.
LOG_COLUMNS = (*EQUITY_COLUMNS, "spacing_pct", "kelly", "notional")
