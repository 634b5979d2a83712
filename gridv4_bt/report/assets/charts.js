// The panels: what each draws of the time in view.

const LADDER_BARS = 1500; // resting orders are drawn when no more bars than this are in view
const CANDLE_BARS = 300;
const FARTHEST = 1000; // a liquidation price farther away is not drawn
const MONEY_FORMAT = ",.8~f"; // thousands apart, no zeros at the end
const MOST_FILLS = 600; // fills drawn at once; those that won or lost most

const REGIME_COLOURS = { 0: "--noise", 1: "--up", 2: "--breakup", "-1": "--down", "-2": "--breakdown" };
const REGIME_ORDER = [-2, -1, 0, 1, 2];
const HALTED = 3; // beside the codes of the regimes
const RIBBON_ROWS = 12;

// How a trade's closing is marked, and under which words the legend has it.
function kindOfClosing(run, trade) {
  return run.kinds[run.labels[trade.label].kind];
}

// What all panels share: the run, the chosen symbol, the time in view, the chosen bar.
class Board {
  constructor(run, symbols, wallet) {
    Object.assign(this, { run, symbols, wallet });
    this.hidden = new Set();
    this.allLevels = false;
    this.row = -1;
    this.choose(0);
  }

  choose(index) {
    this.symbol = this.symbols[index];
    this.series = new Map();
    this.ladder = this.symbol.ladder ? new Ladder(this.symbol) : null;
  }

  // A series computed once for the chosen symbol.
  once(name, make) {
    if (!this.series.has(name)) this.series.set(name, make());
    return this.series.get(name);
  }

  get drawdown() {
    this.madeDrawdown ??= (() => {
      let peak = this.run.start_equity;
      return this.wallet.equity.map((equity) => {
        peak = Math.max(peak, equity);
        return -(1 - equity / peak);
      });
    })();
    return this.madeDrawdown;
  }
}

const PANELS = [
  { id: "equity", title: "Equity", note: "wallet and unrealised profit", height: 170, draw: drawEquity },
  { id: "price", title: "Price, fills and ladder", note: "", height: 400, draw: drawPrice },
  { id: "drawdown", title: "Under water", note: "how far the equity lies below its highest point so far", height: 130, draw: drawDrawdown },
  { id: "inventory", title: "Inventory", note: "value of LONG (up) and SHORT (down), quote", height: 160, draw: drawInventory },
  { id: "margin", title: "Margin ratio", note: "maintenance margin ÷ equity; at 100 % the exchange liquidates", height: 130, draw: drawMargin },
  { id: "liquidation", title: "Distance to liquidation", note: "how far the price may fall or rise until the account is liquidated; no line: no such price", height: 130, draw: drawLiquidation },
  { id: "funding", title: "Funding paid", note: "since the start, by side, open fills included; falling: received", height: 130, draw: drawFunding },
];

function drawEquity(board, view, buckets) {
  const { time, equity } = board.wallet;
  const [from, to] = rowsIn(time, view.from, view.to);
  const traces = [];
  if (board.symbols.length === 1 && board.symbol.rows) {
    traces.push(line(linePoints(time, board.symbol.column("wallet"), from, to, buckets), "wallet", "--muted", { line: { width: 1 } }));
  }
  traces.push(line(linePoints(time, equity, from, to, buckets), "equity", "--accent"));
  const { start_equity: start } = board.run;
  const values = traces.flatMap((trace) => trace.y);
  // Far from the start its line would only flatten the curve.
  const near = values.some((value) => value >= start) && values.some((value) => value <= start);
  const note = traces.length > 1 ? "wallet and unrealised profit; grey: the wallet alone" : "wallet and unrealised profit of all symbols";
  return { traces, note, layout: { yaxis: { tickformat: MONEY_FORMAT }, shapes: near ? [level(start, "--muted", "dot")] : [] } };
}

function drawDrawdown(board, view, buckets) {
  const { time } = board.wallet;
  const [from, to] = rowsIn(time, view.from, view.to);
  const points = linePoints(time, board.drawdown, from, to, buckets);
  const trace = line(points, "drawdown", "--bad", { rest: { fill: "tozeroy", fillcolor: faded("--bad", 0.18) } });
  return { traces: [trace], layout: { yaxis: { tickformat: ".1%", rangemode: "tozero" } } };
}

function drawInventory(board, view, buckets) {
  const { symbol } = board;
  const [from, to] = rowsIn(symbol.time, view.from, view.to);
  const price = symbol.has("close") ? symbol.column("close") : symbol.column("anchor");
  const value = (name, sign) => board.once(name, () => combined(symbol.column(name), price, (qty, price_) => sign * qty * price_));
  const traces = [
    ["LONG", value("long_qty", 1), "--long"],
    ["SHORT", value("short_qty", -1), "--short"],
  ].map(([name, values, tone]) =>
    line(linePoints(symbol.time, values, from, to, buckets), name, tone, { line: { shape: "hv" }, rest: { fill: "tozeroy", fillcolor: faded(tone, 0.25) } }),
  );
  return { traces, layout: {} };
}

function drawMargin(board, view, buckets) {
  const { symbol } = board;
  const [from, to] = rowsIn(symbol.time, view.from, view.to);
  const points = linePoints(symbol.time, symbol.column("margin_ratio"), from, to, buckets);
  const highest = Math.max(...points.y.map((value) => value ?? 0), 0);
  const trace = line(points, "margin ratio", "--warn", { rest: { fill: "tozeroy", fillcolor: faded("--warn", 0.15) } });
  const limits = [["margin call", board.run.config.margin_call, "--bad"], ["its target", board.run.config.margin_target, "--muted"]];
  return { traces: [trace], layout: { yaxis: { tickformat: highest < 0.02 ? ".2%" : ".0%", rangemode: "tozero" }, ...thresholds(limits, highest) } };
}

function drawLiquidation(board, view, buckets) {
  const { symbol } = board;
  const [from, to] = rowsIn(symbol.time, view.from, view.to);
  const traces = [["falls", "liquidation_down", "--long"], ["rises", "liquidation_up", "--short"]].map(([name, column, tone]) =>
    line(linePoints(symbol.time, symbol.column(column), from, to, buckets), `if the price ${name}`, tone),
  );
  const shown = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  if (!shown.length) return { traces, layout: { annotations: [remark("nothing could liquidate the account in this time")] } };
  const highest = Math.max(...shown);
  if (highest <= 5) return { traces, layout: { yaxis: { tickformat: ".0%", rangemode: "tozero" }, ...thresholds([["warning", board.run.config.liquidation_warning, "--bad"]], highest) } };
  const range = [Math.log10(0.9 * Math.min(...shown)), Math.log10(Math.min(1.1 * highest, FARTHEST))];
  return { traces, layout: { yaxis: { tickformat: ",.0%", type: "log", range, autorange: false, dtick: 1 } } };
}

function drawFunding(board, view, buckets) {
  const { symbol } = board;
  const { time, long, short } = symbol.fundingPaid;
  if (!time.length) return { traces: [], layout: { annotations: [remark("no funding was settled")] } };
  const [from, to] = rowsIn(time, view.from, view.to);
  const both = board.once("funding", () => combined(long, short, (a, b) => a + b));
  const traces = [["LONG", long, "--long"], ["SHORT", short, "--short"], ["both", both, "--ink"]].map(([name, values, tone]) =>
    line(linePoints(time, values, from, to, buckets), name, tone, { line: { shape: "hv" } }),
  );
  return { traces, layout: {} };
}

function thresholds(limits, highest) {
  const near = limits.filter(([, value]) => value <= 4 * highest);
  const shapes = near.map(([, value, tone]) => level(value, tone, "dash"));
  const annotations = near.map(([name, value, tone]) => ({ xref: "paper", x: 0, y: value, xanchor: "left", yanchor: "bottom", text: name, showarrow: false, font: { size: 11, color: colour(tone) } }));
  return { shapes, annotations };
}

function level(value, tone, dash) {
  return { type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: colour(tone), width: 1, dash } };
}

function remark(text) {
  return { xref: "paper", yref: "paper", x: 0.5, y: 0.5, text, showarrow: false, font: { color: colour("--muted"), size: 12 } };
}

// --- the price panel

function drawPrice(board, view, buckets) {
  const { symbol } = board;
  const [from, to] = rowsIn(symbol.time, view.from, view.to);
  const traces = regimeRibbon(board, from, to, Math.min(buckets, 400));
  const ladderShown = board.ladder && to - from <= LADDER_BARS;
  if (ladderShown) traces.push(...ladderTraces(board, from, to));
  traces.push(...priceTraces(symbol, from, to, buckets));
  const { drawn, inView } = fillsInView(board, view);
  traces.push(...fillTraces(board, drawn));
  const notes = [];
  if (drawn.length < inView) notes.push(`${drawn.length} of ${inView.toLocaleString("en")} fills, those that won or lost most`);
  if (!ladderShown && board.ladder) notes.push("zoom to 15 days for all resting orders");
  if (!symbol.has("close")) notes.push("the run kept no prices");
  const range = ladderShown && !board.allLevels ? priceRange(board, from, to) : null;
  return {
    traces,
    note: notes.join("; "),
    layout: {
      xaxis: { anchor: "y2" },
      yaxis: { domain: [0.1, 1], tickformat: MONEY_FORMAT, ...(range ? { range, autorange: false } : { autorange: true }) },
      yaxis2: { domain: [0, 0.075], fixedrange: true, showticklabels: false, ticks: "", showgrid: false, zeroline: false, range: [-0.5, RIBBON_ROWS + 3.5] },
    },
  };
}

// The prices in view with room for the nearest levels, so that far ones do not squeeze the candles; null without prices.
function priceRange(board, from, to) {
  const { symbol } = board;
  if (!symbol.has("close")) return null;
  const [low, high] = ["low", "high"].map((name) => symbol.column(symbol.has(name) ? name : "close"));
  let [least, most, widest] = [Infinity, -Infinity, 0];
  for (let row = from; row < to; row++) {
    least = Math.min(least, low[row]);
    most = Math.max(most, high[row]);
    widest = Math.max(widest, symbol.column("spacing_pct")[row]);
  }
  const room = Math.max(0.15 * (most - least), 1.6 * Math.min(widest, 0.03) * most);
  return [Math.max(least - room, 0), most + room];
}

// A column for each part of the time in view, filled from below by the share of each regime, and a strip above it by
// how much of the part the circuit breaker had halted. One picture, because thousands of bars would be slow.
function regimeRibbon(board, from, to, parts) {
  const { run, symbol } = board;
  const regime = symbol.column("regime");
  if (to <= from || !Number.isFinite(regime[from])) return [];
  const { x, width, shares } = sharesOf(symbol.time, regime, REGIME_ORDER, from, to, parts);
  const halted = sharesOf(symbol.time, symbol.column("halted"), [1], from, to, parts).shares[0];
  const rows = Array.from({ length: RIBBON_ROWS + 4 }, () => []);
  const words = x.map((_, part) => {
    const named = REGIME_ORDER.map((code, i) => [run.regimes[code].toLowerCase().replace("_", " "), shares[i][part]]);
    const text = [...named, ["halted", halted[part]]].filter(([, share]) => share > 0);
    return text.map(([name, share]) => (share < 1 ? `${name} ${percent(share, 0)}` : name)).join(", ");
  });
  for (let part = 0; part < x.length; part++) {
    let [filled, row] = [0, 0];
    REGIME_ORDER.forEach((code, i) => {
      filled += shares[i][part];
      while (row < RIBBON_ROWS && (row + 0.5) / RIBBON_ROWS <= filled + 1e-9) rows[row++].push(code);
    });
    while (row < RIBBON_ROWS) rows[row++].push(null);
    rows[row].push(null);
    for (let i = 0; i < 3; i++) rows[row + 1 + i].push(halted[part] > i / 3 ? HALTED : null);
  }
  const tones = [...REGIME_ORDER.map((code) => REGIME_COLOURS[code]), "--bad"];
  return [{
    type: "heatmap", name: "regime", x: [...x, x[x.length - 1] + width[x.length - 1]], z: rows, yaxis: "y2", zmin: -2.5, zmax: 3.5,
    showscale: false, zsmooth: false, text: rows.map(() => words), hovertemplate: "%{text}<extra></extra>",
    colorscale: tones.flatMap((tone, i) => [[i / tones.length, colour(tone)], [(i + 1) / tones.length, colour(tone)]]),
  }];
}

function priceTraces(symbol, from, to, buckets) {
  if (!symbol.has("close")) return [];
  const { time } = symbol;
  const close = symbol.column("close");
  if (!symbol.has("high")) return [line(linePoints(time, close, from, to, buckets), "close", "--price")];
  const [high, low] = ["high", "low"].map((name) => symbol.column(name));
  if (to - from > 2 * buckets) return [line(rangePoints(time, low, high, from, to, buckets), "lowest and highest", "--price", { line: { width: 1 } })];
  if (to - from > CANDLE_BARS || !symbol.has("open")) return [line(linePoints(time, close, from, to, buckets), "close", "--price")];
  const cut = (values) => Array.from(values.subarray(from, to));
  return [
    {
      type: "candlestick", name: "candles", x: cut(time), open: cut(symbol.column("open")), high: cut(high), low: cut(low), close: cut(close),
      increasing: { line: { color: colour("--price"), width: 1 }, fillcolor: colour("--ground") },
      decreasing: { line: { color: colour("--price"), width: 1 }, fillcolor: colour("--price") },
      hoverinfo: "x+y", whiskerwidth: 0,
    },
  ];
}

function ladderTraces(board, from, to) {
  const { ladder, symbol } = board;
  const { time } = symbol;
  const sides = { 1: { x: [], y: [], text: [] }, "-1": { x: [], y: [], text: [] } };
  for (let place = 0; place < ladder.places; place++) {
    const points = sides[ladder.side(place)];
    const name = `${ladder.side(place) > 0 ? "LONG" : "SHORT"} level ${ladder.level(place)}`;
    for (const [first, end, price] of ladder.pieces(place, from, to)) {
      // An order placed at a bar's close rests from then on, that is from the next bar's open.
      points.x.push(time[first] + BAR_MS, time[end - 1] + 2 * BAR_MS, null);
      points.y.push(price, price, null);
      points.text.push(name, name, "");
    }
  }
  return [[1, "LONG entries resting", "--long"], [-1, "SHORT entries resting", "--short"]].map(([side, name, tone]) => ({
    type: "scatter", mode: "lines", name, ...sides[side], line: { color: faded(tone, 0.55), width: 1 },
    hovertemplate: "%{text}: %{y}<extra></extra>",
  }));
}

// The fills whose life touches the time in view; too many are cut down to those that won or lost most.
function fillsInView(board, view) {
  const { symbol } = board;
  const wanted = (fill) => fill.stillOpen || fill.closings.some((trade) => !board.hidden.has(kindOfClosing(board.run, trade)));
  const end = (fill) => (fill.stillOpen ? Infinity : fill.closings[fill.closings.length - 1].close_time);
  const inside = symbol.fills.filter((fill) => fill.time <= view.to && end(fill) >= view.from && wanted(fill));
  const weight = (fill) => (fill.stillOpen ? Infinity : Math.abs(fill.closings.reduce((sum, trade) => sum + trade.net, 0)));
  const drawn = inside.length <= MOST_FILLS ? inside : [...inside].sort((a, b) => weight(b) - weight(a)).slice(0, MOST_FILLS);
  return { drawn, inView: inside.length };
}

function fillTraces(board, fills) {
  const { run, symbol } = board;
  const lives = { won: { x: [], y: [] }, lost: { x: [], y: [] }, open: { x: [], y: [] } };
  const entries = { 1: { x: [], y: [], text: [] }, "-1": { x: [], y: [], text: [] } };
  const closings = new Map(run.kinds.map((kind) => [kind, { x: [], y: [], text: [] }]));
  const last = symbol.time[symbol.rows - 1];
  for (const fill of fills) {
    const side = fill.side > 0 ? "LONG" : "SHORT";
    entries[fill.side].x.push(fill.time);
    entries[fill.side].y.push(fill.price);
    entries[fill.side].text.push(`${side} fill ${fill.id}: ${plainNumber(fill.qty)} at ${plainNumber(fill.price)}`);
    if (fill.stillOpen) segment(lives.open, fill.time, fill.price, last, symbol.has("close") ? symbol.column("close")[symbol.rows - 1] : fill.price);
    for (const trade of fill.closings) {
      const kind = kindOfClosing(run, trade);
      if (board.hidden.has(kind)) continue;
      segment(trade.net >= 0 ? lives.won : lives.lost, fill.time, fill.price, trade.close_time, trade.exit);
      const points = closings.get(kind);
      points.x.push(trade.close_time);
      points.y.push(trade.exit);
      points.text.push(
        `${side} fill ${fill.id} closed: ${run.labels[trade.label].name}<br>${plainNumber(trade.qty)} at ${plainNumber(trade.exit)}, net ${signed(trade.net)}<br>after ${duration(trade.close_time - fill.time)}`,
      );
    }
  }
  const traces = [["won", "--good", "solid"], ["lost", "--bad", "solid"], ["open", "--accent", "dot"]].map(([name, tone, dash]) => ({
    type: "scatter", mode: "lines", name: `fills that ${name}`, ...lives[name], line: { color: faded(tone, 0.6), width: 1.2, dash }, hoverinfo: "skip",
  }));
  for (const [side, name, tone, symbol_] of [[1, "LONG entry", "--long", "triangle-up"], [-1, "SHORT entry", "--short", "triangle-down"]]) {
    traces.push({
      type: "scatter", mode: "markers", name, ...entries[side], hovertemplate: "%{text}<extra></extra>",
      marker: { color: colour(tone), symbol: symbol_, size: fills.length > 250 ? 6 : 9, line: { color: colour("--ground"), width: 1 } },
    });
  }
  for (const [kind, points] of closings) {
    if (points.x.length) {
      traces.push({
        type: "scatter", mode: "markers", name: kind.text, ...points, hovertemplate: "%{text}<extra></extra>",
        marker: { color: colour(kind.colour), symbol: kind.symbol, size: fills.length > 250 ? 5 : 7, line: { color: colour("--ground"), width: 1 } },
      });
    }
  }
  return traces;
}

function segment(points, x0, y0, x1, y1) {
  points.x.push(x0, x1, null);
  points.y.push(y0, y1, null);
}

// --- numbers and times as text

// Making a format takes a hundred times as long as using it.
const formats = new Map();

function numberFormat(least, most) {
  const key = `${least}-${most}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most }));
  return formats.get(key);
}

function plainNumber(value, digits = 8) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  const text = numberFormat(0, digits).format(Math.abs(value));
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
}

function money(value) {
  if (!Number.isFinite(value)) return "–";
  const text = numberFormat(2, 2).format(Math.abs(value));
  return value < 0 && text !== "0.00" ? `−${text}` : text;
}

function signed(value) {
  return value > 0 ? `+${money(value)}` : money(value);
}

function percent(value, digits = 2) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  return `${(100 * value).toFixed(digits).replace("-", "−")} %`;
}

function timeText(time) {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}

function duration(ms) {
  const minutes = Math.round(ms / 60000);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${(minutes / 1440).toFixed(1)} days`;
}
