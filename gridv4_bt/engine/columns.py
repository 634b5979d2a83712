"""The columns of the log, a row a bar."""

#: The columns of equity.csv. The time is in ms; regime and halted are codes; liquidation_down and liquidation_up are
#: the distances of the liquidation prices, as fractions of the price, infinite where there is none.
EQUITY_COLUMNS = (
    "time", "equity", "wallet", "unrealized", "long_qty", "short_qty", "regime", "halted", "z", "sigma",
    "q", "anchor", "centre", "var", "margin_ratio", "resting_orders", "liquidation_down", "liquidation_up",
)  # fmt: skip
#: Those of them that only a grid has; the equity.csv of a run without one has not.
GRID_COLUMNS = ("regime", "halted", "z", "sigma", "q", "anchor", "centre", "var", "resting_orders")
#: The log also has the spacing as a fraction of the price, the Kelly multiplier, and the notional of a level before the
#: funding tilt, quote.
LOG_COLUMNS = (*EQUITY_COLUMNS, "spacing_pct", "kelly", "notional")
