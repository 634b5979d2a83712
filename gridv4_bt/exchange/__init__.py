"""A local Binance USDⓈ-M: the exchange's REST interface in front of the simulated exchange's own rules."""
