// The candles of a bot with its open orders, fills, average entries and stops; and the curve of its equity.

const options = (place) => ({
  autoSize: true,
  layout: { background: { type: "solid", color: colour("--ground") }, textColor: colour("--muted"), fontSize: 11, attributionLogo: false },
  grid: { vertLines: { color: colour("--grid") }, horzLines: { color: colour("--grid") } },
  timeScale: { timeVisible: true, secondsVisible: false, borderColor: colour("--grid") },
  rightPriceScale: { borderColor: colour("--grid"), minimumWidth: place.clientWidth < 500 ? 52 : 76 },
  crosshair: { mode: 0 },
  localization: { locale: "en", timeFormatter: (time) => `${timeText(1000 * time)} UTC` },
});

const seconds = (text) => Math.floor(Date.parse(text) / 1000);

export function drawCandles(place, candles, orders, legs, fills) {
  place.replaceChildren();
  const chart = LightweightCharts.createChart(place, options(place));
  const series = chart.addSeries(LightweightCharts.CandlestickSeries, { upColor: colour("--up"), downColor: colour("--down"), wickUpColor: colour("--up"), wickDownColor: colour("--down"), borderVisible: false });
  series.setData(candles.map(([time, open, high, low, close]) => ({ time: seconds(time), open, high, low, close })));
  const line = (price, tone, title, lineStyle) => series.createPriceLine({ price, color: colour(tone), title, lineWidth: 1, lineStyle, axisLabelVisible: false });
  for (const order of orders) {
    if (!(order.price > 0)) continue;
    const tone = order.kind === "stop" ? "--bad" : order.side === "LONG" ? "--long" : "--short";
    line(order.price, tone, order.kind === "entry" ? "" : `${order.side} ${order.kind}`, order.kind === "entry" ? 1 : 2);
  }
  for (const leg of legs) {
    if (leg.side === "NET" || !leg.average) continue;
    line(leg.average, leg.side === "LONG" ? "--long" : "--short", `${leg.side} average`, 0);
    if (leg.break_even) line(leg.break_even, "--good", `${leg.side} break-even`, 3);
  }
  const first = candles.length ? seconds(candles[0][0]) : 0;
  const bar = 900;
  const marks = fills
    .map((fill) => ({ time: Math.floor(fill.time / 1000 / bar) * bar, position: fill.buy ? "belowBar" : "aboveBar", shape: fill.buy ? "arrowUp" : "arrowDown", color: colour(fill.side === "LONG" ? "--long" : "--short") }))
    .filter((mark) => mark.time >= first)
    .sort((one, other) => one.time - other.time);
  LightweightCharts.createSeriesMarkers(series, marks);
  chart.timeScale().setVisibleLogicalRange({ from: candles.length - 120, to: candles.length + 3 });
  return chart;
}

export function drawCurve(place, curve) {
  place.replaceChildren();
  const chart = LightweightCharts.createChart(place, options(place));
  const series = chart.addSeries(LightweightCharts.AreaSeries, { lineColor: colour("--accent"), topColor: faded("--accent", 0.25), bottomColor: faded("--accent", 0), lineWidth: 2, priceLineVisible: false });
  series.setData(curve.time.map((time, i) => ({ time: time / 1000, value: curve.equity[i] })));
  chart.timeScale().fitContent();
  return chart;
}
