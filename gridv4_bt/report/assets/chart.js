// One chart with one time axis: candles, equity against holding, drawdown, exposure, and margin where it mattered.

const LENGTHS = [[1, "15 min"], [4, "1 h"], [16, "4 h"], [96, "1 day"], [672, "1 week"]].map(([bars, name]) => [bars * BAR_MS, name]);
const PX_A_CANDLE = 1.3; // candles are made longer until each has so many pixels
const MOST_CANDLES = 20000; // of a length that the reader has chosen
const HOLD_HIDES = 8; // holding is drawn at first unless it moves so many times as far as the equity

const LINES = [
  ["ladder", true, "the open orders of the ladder, where at most 15 days are shown"],
  ["joined", true, "entries joined with their closings: green won, red lost, dotted still open"],
  ["average entry", true, "of what each side holds"],
  ["stops", true, "stage 1 (dashed: acts on a close beyond it) and stage 2 (rests at the exchange), while something is held"],
  ["take-profit", true, "the exit of each fill, one spacing from its entry"],
  ["KAMA", true, "Kaufman's adaptive moving average, where at most 60 days are shown; deviance cuts fills by the distance from it"],
  ["centre", false, "of the ladder: the anchor moved by the inventory"],
  ["reservation price", false, "the price at which the strategy would neither add nor shed: the close moved by the inventory"],
  ["regimes", true, "the strip under the candles; red above it: entries halted by the circuit breaker"],
  ["volume", true, "of each candle"],
];

class Chart {
  constructor(board, view, place, events) {
    Object.assign(this, { board, view, place, events, length: 0, fixed: 0, loading: false, pressed: false });
    this.shown = new Map(LINES.map(([name, on]) => [name, on]));
    this.api = LightweightCharts.createChart(place, { autoSize: true, ...this.look() });
    this.scale = this.api.timeScale();
    this.series = new Map();
    this.makeSeries();
    this.overlay = new Overlay(this, board);
    this.candles.attachPrimitive(this.overlay);
    this.panes();
    this.tip = element("div", "", "tip");
    this.tip.hidden = true;
    place.append(this.tip);
    this.scale.subscribeVisibleLogicalRangeChange((range) => this.moved(range));
    this.api.subscribeCrosshairMove((param) => this.hovered(param));
    this.api.subscribeClick((param) => this.clicked(param));
    const release = () => {
      this.pressed = false;
      this.settle();
    };
    place.addEventListener("pointerdown", () => (this.pressed = true), true);
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, release, true);
    place.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.load()).observe(place);
  }

  look() {
    const phone = innerWidth < 700;
    const [ink, grid, ground] = ["--muted", "--grid", "--ground"].map(colour);
    const label = { labelBackgroundColor: colour("--price") };
    return {
      layout: {
        background: { type: "solid", color: ground }, textColor: ink, fontSize: phone ? 10 : 11, attributionLogo: true,
        fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
        panes: { separatorColor: grid, separatorHoverColor: faded("--muted", 0.3) },
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderColor: grid, entireTextOnly: true, minimumWidth: phone ? 52 : 76 },
      timeScale: { borderColor: grid, timeVisible: true, secondsVisible: false, minBarSpacing: 0.05, rightOffset: 0 },
      crosshair: { mode: 0, vertLine: { color: ink, ...label }, horzLine: { color: ink, ...label } },
      localization: { locale: "en", timeFormatter: (time) => `${timeText(1000 * time)} UTC` },
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false, axisPressedMouseMove: { time: false, price: true } },
      kineticScroll: { touch: false, mouse: false },
    };
  }

  // Whether a line is drawn.
  on(name) {
    return this.shown.get(name) === true;
  }

  makeSeries() {
    const { board } = this;
    const L = LightweightCharts;
    const plain = { priceLineVisible: false, lastValueVisible: false };
    const add = (name, kind, options, pane) => this.series.set(name, this.api.addSeries(kind, { ...plain, ...options }, pane)).get(name);
    const share = { priceFormat: { type: "custom", minMove: 0.00001, formatter: (value) => percent(value, Math.abs(value) < 0.01 ? 2 : 1) } };
    const amount = { priceFormat: { type: "custom", minMove: 0.01, formatter: (value) => plainNumber(value, 2) } };
    const priced = { priceFormat: { type: "custom", minMove: 10 ** -board.symbol.price_decimals, formatter: (value) => (value < 0 ? "" : plainNumber(value, board.symbol.price_decimals)) } };
    this.candles = add("candles", L.CandlestickSeries, { ...priced, lastValueVisible: true }, 0);
    add("volume", L.HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" } }, 0);
    this.api.priceScale("volume", 0).applyOptions({ scaleMargins: { top: 0.86, bottom: 0.03 }, visible: false });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.14 } });
    add("hold, same exposure", L.LineSeries, { ...amount, lineWidth: 1, lineStyle: 2, crosshairMarkerVisible: false }, 1);
    add("hold 1×", L.LineSeries, { ...amount, lineWidth: 1, crosshairMarkerVisible: false }, 1);
    add("balance", L.LineSeries, { ...amount, lineWidth: 1, lineType: 1, crosshairMarkerVisible: false }, 1);
    add("equity", L.LineSeries, { ...amount, lineWidth: 2, lastValueVisible: true }, 1);
    const room = (name, top) => this.series.get(name).priceScale().applyOptions({ scaleMargins: { top, bottom: 0.08 } });
    room("equity", 0.24);
    // A run that never held anything has neither drawdown nor exposure: their charts would be empty.
    const held = board.symbols.some((symbol) => ["long_qty", "short_qty"].some((name) => symbol.column(name).some((qty) => qty > 0)));
    if (held) {
      add("drawdown", L.BaselineSeries, { ...share, baseValue: { type: "price", price: 0 }, lineWidth: 1, lastValueVisible: true }, 2);
      add("LONG", L.HistogramSeries, { ...share, base: 0 }, 3);
      add("SHORT", L.HistogramSeries, { ...share, base: 0 }, 3);
      room("drawdown", 0.24);
      room("LONG", 0.24);
    }
    if (board.run.margin) {
      add("margin ratio", L.LineSeries, { ...share, lineWidth: 2, lineType: 1 }, 4);
      add("liquidation distance", L.LineSeries, { ...share, lineWidth: 1 }, 4);
    }
    this.shown.set("balance", true);
    if (board.symbols.some((symbol) => symbol.has("close"))) {
      const move = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value / board.run.start_equity - 1)), 0);
      this.shown.set("hold 1×", !held || move(board.hold(1)) <= HOLD_HIDES * Math.max(move(board.wallet.equity), 1e-4));
      if (board.run.exposure) this.shown.set("hold, same exposure", true);
    }
    this.paint();
  }

  // The lines that can be switched: name, what it is.
  switches() {
    const { board } = this;
    const known = new Map(LINES.map(([name, , text]) => [name, text]));
    known.set("hold 1×", "the equity of the wallet, had it bought all symbols in equal parts and held them");
    known.set("hold, same exposure", `the same with the run's mean exposure only: ${percent(board.run.exposure ?? NaN)} of the wallet`);
    known.set("balance", "the wallet without unrealised profit");
    const missing = new Set();
    if (!board.ladder) missing.add("ladder");
    if (!board.signals) ["KAMA", "stops"].forEach((name) => missing.add(name));
    if (!board.run.grid) ["centre", "reservation price", "regimes", "take-profit"].forEach((name) => missing.add(name));
    if (!board.symbol.has("volume")) missing.add("volume");
    return Array.from(this.shown.keys()).filter((name) => !missing.has(name)).map((name) => [name, known.get(name)]);
  }

  switch(name) {
    this.shown.set(name, !this.on(name));
    this.paint();
    this.overlay.update?.();
  }

  paint() {
    const tones = {
      candles: { upColor: colour("--good"), downColor: colour("--bad"), wickUpColor: colour("--good"), wickDownColor: colour("--bad"), borderVisible: false },
      volume: {},
      equity: { color: colour("--accent") }, balance: { color: colour("--muted") }, "hold 1×": { color: colour("--warn") }, "hold, same exposure": { color: colour("--warn") },
      drawdown: { topLineColor: colour("--bad"), bottomLineColor: colour("--bad"), topFillColor1: "transparent", topFillColor2: "transparent", bottomFillColor1: faded("--bad", 0.12), bottomFillColor2: faded("--bad", 0.35) },
      LONG: { color: colour("--long") }, SHORT: { color: colour("--short") },
      "margin ratio": { color: colour("--warn") }, "liquidation distance": { color: colour("--bad") },
    };
    for (const [name, series] of this.series) series.applyOptions({ ...tones[name], visible: this.shown.get(name) ?? true });
  }

  panes() {
    const phone = innerWidth < 700;
    const heights = phone ? [300, 120, 70, 80, 80] : [430, 150, 90, 100, 100];
    const panes = this.api.panes();
    panes.forEach((pane, i) => pane.setStretchFactor(heights[i]));
    this.place.style.height = `${panes.reduce((sum, _, i) => sum + heights[i], 30)}px`;
    this.legends ??= panes.map(() => element("div", "", "legend"));
    this.place.append(...this.legends);
  }

  // --- the time in view

  // The continuous place of a time among the loaded candles: whole numbers are where candles begin.
  placeOf(time) {
    const { times, length } = this;
    if (!times?.length) return 0;
    const i = lastAtOrBefore(times, time);
    if (i < 0) return (time - times[0]) / length;
    if (i === times.length - 1) return i + (time - times[i]) / length;
    return i + Math.min((time - times[i]) / length, 1);
  }

  timeAt(place) {
    const { times, length } = this;
    const i = Math.floor(place);
    if (i < 0) return times[0] + place * length;
    if (i >= times.length) return times[times.length - 1] + (place - times.length + 1) * length;
    return times[i] + (place - i) * length;
  }

  // Where a candle that begins at a time begins on the screen.
  xOf(time) {
    return this.zero + (this.placeOf(time) - 0.5) * this.spacing;
  }

  // Half a candle, where marks stand.
  get half() {
    return 0.5 * this.spacing;
  }

  get zero() {
    return this.scale.logicalToCoordinate(0) ?? 0;
  }

  get spacing() {
    return (this.scale.logicalToCoordinate(1000) ?? 0) / 1000 - this.zero / 1000;
  }

  wantedLength() {
    const width = Math.max(this.place.clientWidth - 80, 200);
    const found = LENGTHS.find(([length]) => this.view.width / length <= width / PX_A_CANDLE) ?? LENGTHS[LENGTHS.length - 1];
    return this.fixed && this.view.width / this.fixed <= MOST_CANDLES ? this.fixed : found[0];
  }

  // Load the candles around the time in view and show it.
  load() {
    const { board, view } = this;
    if (!this.place.clientWidth) return;
    this.loading = true;
    const length = this.wantedLength();
    const room = view.width + 50 * length;
    this.loaded = { from: view.from - room, to: view.to + room };
    this.length = length;
    this.fill();
    this.scale.setVisibleLogicalRange({ from: this.placeOf(view.from), to: this.placeOf(view.to) - 1 });
    this.overlay.update?.();
    this.events.shown(length);
    this.values();
    requestAnimationFrame(() => requestAnimationFrame(() => (this.loading = false)));
  }

  fill() {
    const { board, length } = this;
    const { symbol, wallet } = board;
    const own = this.part(symbol.time, `candles-${length}`);
    const all = wallet.time === symbol.time ? own : this.part(wallet.time, `wallet-${length}`);
    this.times = own === all ? own.begins : Float64Array.from(new Set([...own.begins, ...all.begins])).sort();
    const points = (part, value) => part.begins.map((begin, i) => ({ time: begin / 1000, value: value(part.starts[i], part.starts[i + 1]) })).filter((point) => Number.isFinite(point.value));
    const last = (values) => (from, to) => values[to - 1];
    const most = (values, sign) => (from, to) => {
      let found = -Infinity;
      for (let i = from; i < to; i++) if (sign * values[i] > found) found = sign * values[i];
      return sign * found;
    };
    this.candles.setData(this.prices(own));
    this.series.get("volume").setData(this.on("volume") && symbol.has("volume") ? this.volumes(own) : []);
    const set = (name, part, value) => this.series.get(name)?.setData(points(part, value));
    set("equity", all, last(wallet.equity));
    set("balance", own, last(symbol.column("wallet")));
    if (this.shown.has("hold 1×")) set("hold 1×", all, last(board.hold(1)));
    if (this.shown.has("hold, same exposure")) set("hold, same exposure", all, last(board.hold(board.run.exposure)));
    if (this.series.has("LONG")) {
      set("drawdown", all, most(board.drawdown, -1));
      set("LONG", all, most(board.exposure.long, 1));
      set("SHORT", all, most(board.exposure.short, -1));
    }
    if (board.run.margin) {
      set("margin ratio", own, most(symbol.column("margin_ratio"), 1));
      const [down, up] = [symbol.column("liquidation_down"), symbol.column("liquidation_up")];
      set("liquidation distance", own, (from, to) => {
        let least = Infinity;
        for (let i = from; i < to; i++) least = Math.min(least, down[i], up[i]);
        return Math.min(least, 1);
      });
    }
  }

  // The candles of the loaded time: when each begins, and its first row; one more row ends the last.
  part(times, name) {
    const { starts, begins } = this.board.once(name, () => candlesOf(times, this.length));
    const first = Math.max(lastAtOrBefore(begins, this.loaded.from), 0);
    const end = lastAtOrBefore(begins, this.loaded.to) + 1;
    return { starts: starts.slice(first, end + 1), begins: begins.slice(first, end) };
  }

  prices({ starts, begins }) {
    const { symbol } = this.board;
    if (!symbol.has("close")) return begins.map((begin) => ({ time: begin / 1000 }));
    const close = symbol.column("close");
    const [open, high, low] = ["open", "high", "low"].map((name) => (symbol.has(name) ? symbol.column(name) : close));
    return begins.map((begin, i) => {
      let [top, bottom] = [-Infinity, Infinity];
      for (let row = starts[i]; row < starts[i + 1]; row++) {
        if (high[row] > top) top = high[row];
        if (low[row] < bottom) bottom = low[row];
      }
      return { time: begin / 1000, open: open[starts[i]], high: top, low: bottom, close: close[starts[i + 1] - 1] };
    });
  }

  volumes({ starts, begins }) {
    const { symbol } = this.board;
    const [volume, close] = [symbol.column("volume"), symbol.column("close")];
    const open = symbol.has("open") ? symbol.column("open") : close;
    const [up, down] = [faded("--good", 0.4), faded("--bad", 0.4)];
    return begins.map((begin, i) => {
      let sum = 0;
      for (let row = starts[i]; row < starts[i + 1]; row++) sum += volume[row];
      return { time: begin / 1000, value: sum, color: close[starts[i + 1] - 1] >= open[starts[i]] ? up : down };
    });
  }

  // The reader has moved the time axis.
  moved(range) {
    if (!range || this.loading || !this.times?.length) return;
    this.view.from = this.timeAt(range.from);
    this.view.to = this.timeAt(range.to + 1);
    this.events.shown(this.length);
    this.settle();
  }

  // Load other candles where those loaded no longer do; not while a finger or button is down, the drag would jump.
  settle() {
    if (this.pressed || this.settling) return;
    const { view, loaded } = this;
    const edge = 0.2 * view.width;
    const short = (view.from - edge < loaded.from && loaded.from > view.first) || (view.to + edge > loaded.to && loaded.to < view.last);
    const outside = view.to < view.first + 0.1 * view.width || view.from > view.last - 0.1 * view.width || view.width > 1.2 * (view.last - view.first);
    if (!short && !outside && this.wantedLength() === this.length) return;
    this.settling = true;
    requestAnimationFrame(() => {
      this.settling = false;
      if (outside) view.set(view.from, view.to);
      else this.load();
    });
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const x = event.clientX - this.place.getBoundingClientRect().left;
    this.view.zoom(Math.exp(event.deltaY / 200), this.timeAt((x - this.zero) / this.spacing + 0.5));
  }

  // --- pointer

  hovered({ point, logical, paneIndex }) {
    const found = point && paneIndex === 0 ? this.overlay.near(point.x, point.y) : null;
    this.place.classList.toggle("over", found !== null);
    this.tip.hidden = found === null;
    if (found) {
      this.tip.replaceChildren(...found.text.map((text, i) => element(i ? "span" : "b", text)));
      const left = Math.min(point.x + 14, this.place.clientWidth - this.tip.offsetWidth - 4);
      Object.assign(this.tip.style, { left: `${Math.max(left, 4)}px`, top: `${point.y + 14}px` });
    }
    this.values(point && Number.isFinite(logical) ? Math.round(logical) : undefined);
  }

  // The values at a candle, the last one in view if none is given, in the corner of each pane.
  values(index) {
    const { board, times } = this;
    if (!times?.length) return;
    const at = Math.min(Math.max(index ?? lastAtOrBefore(times, this.view.to - 1), 0), times.length - 1);
    const value = (name) => this.series.get(name)?.dataByIndex(at);
    const candle = value("candles");
    const price = (number) => plainNumber(number, board.symbol.price_decimals);
    const lengthName = LENGTHS.find(([length]) => length === this.length)?.[1] ?? "";
    const pieces = [[["b", board.symbol.symbol], ["i", lengthName], ["span", `${timeText(times[at])} UTC`]], [["b", "Equity"]], [["b", "Under water"]], [["b", "Exposure"]], [["b", "Margin"]]];
    if (candle?.open !== undefined) {
      for (const [letter, name] of [["O", "open"], ["H", "high"], ["L", "low"], ["C", "close"]]) pieces[0].push(["span", `${letter} ${price(candle[name])}`, candle.close >= candle.open ? "good" : "bad"]);
      const change = candle.close / candle.open - 1;
      pieces[0].push(["span", `${change > 0 ? "+" : ""}${percent(change)}`, change >= 0 ? "good" : "bad"]);
    }
    const volume = value("volume");
    if (volume) pieces[0].push(["span", `volume ${shortNumber(volume.value)}`]);
    const { signals } = board;
    if (signals && this.on("KAMA") && this.length <= 4 * BAR_MS) {
      const row = Math.min(Math.max(board.symbol.rowAt(times[at] + this.length - 1), 0), board.symbol.rows - 1);
      pieces[0].push(["span", `KAMA ${price(signals.kama[row])}`, "prune"]);
    }
    const add = (pane, name, text, tone, words = name) => value(name) && (this.shown.get(name) ?? true) && pieces[pane].push(["span", `${words} ${text(value(name).value)}`, tone]);
    add(1, "equity", money, "accent", "");
    add(1, "balance", money, "muted");
    add(1, "hold 1×", money, "warn");
    add(1, "hold, same exposure", money, "warn");
    add(2, "drawdown", (fall) => percent(-fall), "bad", "");
    add(3, "LONG", percent, "long");
    add(3, "SHORT", (share) => percent(-share), "short");
    add(4, "margin ratio", percent, "warn");
    add(4, "liquidation distance", percent, "bad", "liquidated if the price moves");
    let top = 0;
    this.api.panes().forEach((pane, i) => {
      const legend = this.legends[i];
      legend.replaceChildren(...pieces[i].map(([tag, text, tone]) => element(tag, text, tone ?? "")));
      legend.style.top = `${top + 3}px`;
      top += pane.getHeight() + 1;
    });
  }

  clicked({ point, logical, paneIndex }) {
    if (!point || !Number.isFinite(logical)) return;
    const found = paneIndex === 0 ? this.overlay.near(point.x, point.y) : null;
    if (found?.fills) {
      const room = Math.max(0.15 * (found.last - found.first), 40 * BAR_MS);
      this.view.set(found.first - room, found.last + room);
    } else if (found) this.events.fill(found.fill, found.row);
    else this.events.bar(this.eventful(this.timeAt(Math.round(logical))));
  }

  // The row to ask about for a candle: the first of its bars in which something was executed, else its first.
  eventful(begin) {
    const { symbol } = this.board;
    const first = Math.max(symbol.rowAt(begin - 1) + 1, 0);
    const end = symbol.rowAt(begin + this.length - 1);
    const rows = symbol.fills.flatMap((fill) => [fill.row, ...fill.closings.map((trade) => trade.closeRow)]).filter((row) => row >= first && row <= end);
    return rows.length ? Math.min(...rows) : Math.min(first, end);
  }

  recolour() {
    this.api.applyOptions(this.look());
    this.paint();
    this.load();
  }
}
