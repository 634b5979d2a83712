// The candles of a bot with its open orders, its fills and the prices of its legs; and curves of its equity.

const BAR = 900; // seconds
const SEEN = 120; // candles shown at first
const NEAR_PX = 7; // within which a line is named

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
const legTone = (side) => (side === "LONG" ? "--long" : "--short");

function tip(place) {
  const node = element("div", "", "tip");
  node.hidden = true;
  place.append(node);
  return node;
}

function tell(node, place, point, lines) {
  node.hidden = !lines.length;
  if (node.hidden) return;
  node.replaceChildren(...lines.map((text) => element("span", text)));
  const left = point.x + 16 + node.offsetWidth > place.clientWidth ? point.x - 16 - node.offsetWidth : point.x + 16;
  node.style.left = `${Math.max(left, 0)}px`;
  node.style.top = `${Math.max(Math.min(point.y + 12, place.clientHeight - node.offsetHeight), 0)}px`;
}

// --- candles

export class CandleChart {
  constructor(place, onBar) {
    this.place = place;
    this.api = LightweightCharts.createChart(place, options(place));
    this.series = this.api.addSeries(LightweightCharts.CandlestickSeries, { upColor: colour("--up"), downColor: colour("--down"), wickUpColor: colour("--up"), wickDownColor: colour("--down"), borderVisible: false });
    this.marks = LightweightCharts.createSeriesMarkers(this.series, []);
    this.lines = []; // what is drawn across the chart: { price, text, drawn }
    this.fills = new Map(); // by the time of their candle
    this.tip = tip(place);
    this.api.subscribeCrosshairMove((param) => this.hovered(param));
    this.api.subscribeClick((param) => param.time && onBar(`${new Date(1000 * param.time).toISOString().slice(0, 19)}Z`));
  }

  // Candles that have come are added, so that what is looked at stays where it is.
  update({ symbol, candles, orders, legs, fills }) {
    const bars = candles.map(([time, open, high, low, close]) => ({ time: seconds(time), open, high, low, close }));
    const goesOn = this.symbol === symbol && bars.some((bar) => bar.time === this.last);
    if (goesOn) for (const bar of bars) if (bar.time >= this.last) this.series.update(bar);
    if (!goesOn) {
      const digits = Math.max(...bars.slice(-50).map((bar) => (String(bar.close).split(".")[1] ?? "").length), 0);
      this.series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
      this.series.setData(bars);
      this.api.timeScale().setVisibleLogicalRange({ from: bars.length - SEEN, to: bars.length + 3 });
    }
    Object.assign(this, { symbol, last: bars.at(-1)?.time });
    this.drawLines(orders, legs);
    this.drawFills(fills);
  }

  drawLines(orders, legs) {
    for (const line of this.lines) this.series.removePriceLine(line.drawn);
    this.lines = [];
    const line = (price, tone, title, lineStyle, text, lineWidth = 1) => {
      const drawn = this.series.createPriceLine({ price, color: colour(tone), title, lineWidth, lineStyle, axisLabelVisible: title !== "" });
      this.lines.push({ price, text, drawn });
    };
    for (const order of orders) {
      if (!(order.price > 0)) continue;
      const what = order.kind === "entry" ? `entry, level ${order.ref}` : order.kind === "exit" ? `exit of fill ${order.ref}` : order.kind;
      const size = order.qty ? plainNumber(order.qty - order.filled) : "all that is held";
      const text = `${order.side} ${what}: ${size} at ${plainNumber(order.price)}${order.status === "open" ? "" : ", unknown"}`;
      line(order.price, order.kind === "stop" ? "--bad" : legTone(order.side), order.kind === "stop" ? `${order.side} stop` : "", order.kind === "entry" ? 1 : 2, text);
    }
    for (const leg of legs) {
      if (!leg.qty) continue;
      line(leg.average, legTone(leg.side), `${leg.side} average`, 0, `${leg.side} average entry ${plainNumber(leg.average, 8)}, ${plainNumber(leg.qty)} held`, 2);
      if (leg.break_even) line(leg.break_even, "--good", `${leg.side} break-even`, 3, `${leg.side} break-even ${plainNumber(leg.break_even, 8)}: closing at market brings back cost, fees and funding`);
      if (leg.liquidation) line(leg.liquidation, "--bad", `${leg.side} liquidation`, 0, `${leg.side} liquidation at ${plainNumber(leg.liquidation, 8)}`, 2);
    }
  }

  drawFills(fills) {
    this.fills = new Map();
    const marks = [...fills].sort((one, other) => one.time - other.time).map((fill) => {
      const time = Math.floor(fill.time / 1000 / BAR) * BAR;
      this.fills.set(time, [...(this.fills.get(time) ?? []), fill]);
      const opens = (fill.side === "LONG") === fill.buy;
      const shape = opens ? (fill.buy ? "arrowUp" : "arrowDown") : fill.reason === "grid" ? "circle" : "square";
      return { time, position: "atPriceMiddle", price: fill.price, shape, color: colour(legTone(fill.side)), size: 0.8 };
    });
    this.marks.setMarkers(marks);
  }

  hovered(param) {
    if (!param.point) return tell(this.tip, this.place, null, []);
    const bar = param.seriesData.get(this.series);
    const lines = bar ? [`${timeText(1000 * param.time)}  open ${bar.open}  high ${bar.high}  low ${bar.low}  close ${bar.close}`] : [];
    for (const fill of this.fills.get(param.time) ?? []) lines.push(`${fill.side} ${fill.buy ? "bought" : "sold"} ${plainNumber(fill.qty)} at ${plainNumber(fill.price)}: ${fill.reason.replaceAll("_", " ")}`);
    const near = this.lines.filter((line) => Math.abs(this.series.priceToCoordinate(line.price) - param.point.y) <= NEAR_PX);
    tell(this.tip, this.place, param.point, [...lines, ...near.map((line) => line.text)]);
  }

  remove() {
    this.api.remove();
  }
}

// --- curves

class Curves {
  constructor(place) {
    this.place = place;
    this.api = LightweightCharts.createChart(place, options(place));
    this.tip = tip(place);
    this.fitted = false;
  }

  // The whole curve is shown until the reader moves it.
  fit() {
    if (!this.fitted) this.api.timeScale().fitContent();
    this.fitted = true;
  }

  remove() {
    this.api.remove();
  }
}

export class EquityCurve extends Curves {
  constructor(place) {
    super(place);
    this.series = this.api.addSeries(LightweightCharts.AreaSeries, { lineColor: colour("--accent"), topColor: faded("--accent", 0.25), bottomColor: faded("--accent", 0), lineWidth: 2, priceLineVisible: false });
    this.marks = LightweightCharts.createSeriesMarkers(this.series, []);
    this.api.subscribeCrosshairMove((param) => {
      const point = param.seriesData.get(this.series);
      tell(this.tip, place, param.point, point ? [timeText(1000 * param.time), `equity ${money(point.value)}`, `drawdown ${percent(this.drawdowns.get(param.time) ?? 0)}`] : []);
    });
  }

  update(curve) {
    this.drawdowns = new Map(curve.time.map((time, i) => [time / 1000, curve.drawdown[i]]));
    this.series.setData(curve.time.map((time, i) => ({ time: time / 1000, value: curve.equity[i] })));
    this.marks.setMarkers(curve.transfers.map(([time, amount]) => ({ time: time / 1000, position: "aboveBar", shape: "square", color: colour("--muted"), text: `${amount > 0 ? "paid in" : "paid out"} ${money(Math.abs(amount))}` })));
    this.fit();
  }
}

export class ComparedCurves extends Curves {
  constructor(place) {
    super(place);
    const line = (tone, lineWidth, title) => this.api.addSeries(LightweightCharts.LineSeries, { color: colour(tone), lineWidth, title, priceLineVisible: false, lastValueVisible: true });
    this.live = line("--long", 3, "live");
    this.backtest = line("--short", 1, "backtest");
    this.marks = LightweightCharts.createSeriesMarkers(this.live, []);
    this.api.subscribeCrosshairMove((param) => {
      const [live, backtest] = [this.live, this.backtest].map((series) => param.seriesData.get(series)?.value);
      tell(this.tip, place, param.point, live === undefined ? [] : [timeText(1000 * param.time), `live ${money(live)}`, `backtest ${money(backtest)}`, `difference ${signed(live - backtest)}`]);
    });
  }

  update({ times, live, backtest, differences }) {
    const points = (values) => times.map((time, i) => ({ time: time / 1000, value: values[i] }));
    this.live.setData(points(live));
    this.backtest.setData(points(backtest));
    this.marks.setMarkers(differences.map((one) => ({ time: seconds(one.time), position: "aboveBar", shape: "circle", color: colour("--bad"), size: 0.6 })));
    this.fit();
  }
}
