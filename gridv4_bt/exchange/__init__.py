"""A local Binance USDⓈ-M: the exchange's REST interface in front of the simulated exchange's own rules.

    HTTP (server) -> api: limits, signature, faults -> endpoints -> exchange -> engine (Venue, SingleOrders, Book)

Matching, fees, funding, brackets, margin and liquidation are the functions that `brokers.hedge.HedgeBroker` calls, so a
backtest and a bot on this exchange cannot disagree about them. The API shows Binance's view: one average entry for each
positionSide, PnL realised against it, the wallet as the sum of its income.

Differences from the real one:

* The market stays at a bar's open until the bar ends; then the whole bar is matched. There is no book and no spread.
* Fills are the backtest's: a limit at its own price even when it crosses, MARKET worse by the slippage. Prices with
  slippage are not rounded to the tick.
* A limit order fills whole, unless a participation rate is given. Orders of the account never match each other.
* A bar without volume fills nothing: MARKET orders wait for the next one that trades.
* Post-only and stop orders are checked against the last price, the close of the bar before, as in a backtest.
* The next funding rate is not predicted: `premiumIndex` shows the latest settled one.
* STOP_MARKET and STOP are simulated; take-profit and trailing orders, isolated margin and multi-assets mode are not.
* A stop with `closePosition` expires when other orders close its leg.
* Where only some symbols have finer candles, the whole bars of the others are matched with the first of these.
* There is only USDT and only this account. `trades` and `aggTrades` show each closed candle as four trades.
"""
