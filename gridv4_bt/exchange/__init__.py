"""A local Binance USDⓈ-M: the exchange's REST interface in front of the simulated exchange's own rules.

    HTTP (server) -> api: limits, signature, faults -> endpoints -> exchange -> engine (Venue, SingleOrders, Book)

Matching, fees, funding, brackets, margin and liquidation are the functions that `brokers.hedge.HedgeBroker` calls, so a
backtest and a bot on this exchange cannot disagree about them. What the owner is told is Binance's view: one average
entry for each positionSide, PnL realised against it, the wallet as the sum of its income.

Where it stands apart from the real one:

* The market stands at a bar's open until the bar ends, then all of the bar happens; there is no book and no spread.
* Fills are the backtest's: a limit at its own price even when it crosses, MARKET worse by the slippage. Prices with
  slippage are not rounded to the tick.
* A limit fills whole, unless a participation rate is given. Orders of the owner never meet each other.
* A bar without volume fills nothing: MARKET orders wait for the next one that trades.
* Post-only and stop orders are held against the last price, which after a bar is the next open; a backtest holds them
  against the close. They differ only where the market opens with a gap.
* Funding rates of the future are not told: `premiumIndex` shows the latest that was settled.
* STOP_MARKET and STOP are simulated; take-profit and trailing orders, isolated margin and multi-assets mode are not.
* A stop with `closePosition` expires when other orders empty its leg.
* Where only some symbols have finer candles, the bars of the others happen with the first of them.
* Only USDT, only this account: its own trades are all there are.
"""
