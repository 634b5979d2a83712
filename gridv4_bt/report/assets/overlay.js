// What is drawn over the candles: regimes, resting orders, lines of the strategy, lives of fills, marks or their counts.

const LADDER_BARS = 1500; // resting orders are drawn when no more bars than this are in view
const LINE_BARS = 6000; // and the strategy's lines, which follow single bars, up to so many
const CLUSTER_DAYS = 90; // over more time than this, marks are put together with their count
const CLUSTER_PX = 34;
const MOST_TARGETS = 80;

class Overlay {
  constructor(chart, board) {
    Object.assign(this, { chart, board, marks: [], clusters: [] });
    this.views = [{ renderer: () => ({ draw: (target) => target.useMediaCoordinateSpace((space) => this.draw(space)) }), zOrder: () => "normal" }];
  }

  attached({ requestUpdate }) {
    this.update = requestUpdate;
  }

  paneViews() {
    return this.views;
  }

  y(price) {
    return this.chart.candles.priceToCoordinate(price);
  }

  draw({ context: pen, mediaSize }) {
    const { board, chart } = this;
    const { view } = chart;
    const { symbol } = board;
    this.marks = [];
    this.clusters = [];
    if (!symbol.rows || this.y(1) === null) return;
    const from = Math.max(symbol.rowAt(view.from) - 1, 0);
    const to = Math.min(symbol.rowAt(view.to) + 2, symbol.rows);
    pen.save();
    this.regimes(pen, mediaSize, from, to);
    if (chart.on("ladder") && board.ladder && to - from <= LADDER_BARS) this.ladder(pen, from, to);
    this.lines(pen, from, to);
    const fills = this.fillsInView(view);
    if (chart.on("take-profit") && board.run.grid) this.targets(pen, fills);
    if (view.width > CLUSTER_DAYS * DAY_MS) this.count(pen, fills);
    else {
      if (chart.on("joined")) this.lives(pen, fills);
      this.mark(pen, fills);
    }
    this.chosen(pen, mediaSize);
    pen.restore();
  }

  // A strip under the candles by the regime that ruled most of each candle, and a line above it where entries were halted.
  regimes(pen, { height }, from, to) {
    const { board, chart } = this;
    const regime = board.symbol.column("regime");
    if (!chart.on("regimes") || !Number.isFinite(regime[Math.max(to - 1, 0)])) return;
    const halted = board.symbol.column("halted");
    const step = Math.max(1, Math.floor((to - from) / 1200));
    const { time } = board.symbol;
    for (let row = from; row < to; ) {
      // Parts of one regime are drawn as one.
      let end = row;
      const code = this.ruling(regime, row, Math.min(row + step, to));
      do end = Math.min(end + step, to);
      while (end < to && this.ruling(regime, end, Math.min(end + step, to)) === code);
      const [x0, x1] = [chart.xOf(time[row]), chart.xOf(time[end - 1] + BAR_MS)];
      pen.fillStyle = colour(REGIME_COLOURS[code] ?? "--noise");
      pen.fillRect(x0, height - 8, Math.max(x1 - x0, 0.5), 8);
      row = end;
    }
    pen.fillStyle = colour("--bad");
    for (let row = from; row < to; ) {
      let end = row;
      while (end < to && this.ruling(halted, end, Math.min(end + step, to)) === 1) end = Math.min(end + step, to);
      if (end > row) pen.fillRect(chart.xOf(time[row]), height - 11, Math.max(chart.xOf(time[end - 1] + BAR_MS) - chart.xOf(time[row]), 1), 3);
      row = Math.max(end, Math.min(row + step, to));
    }
  }

  ruling(regime, from, to) {
    if (to - from <= 1) return regime[from];
    const counts = new Map();
    for (let row = from; row < to; row++) counts.set(regime[row], (counts.get(regime[row]) ?? 0) + 1);
    return [...counts].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
  }

  ladder(pen, from, to) {
    const { board, chart } = this;
    const { ladder, symbol } = board;
    pen.lineWidth = 1;
    for (let place = 0; place < ladder.places; place++) {
      pen.strokeStyle = faded(ladder.side(place) > 0 ? "--long" : "--short", 0.55);
      pen.beginPath();
      for (const [first, end, price] of ladder.pieces(place, from, to)) {
        // An order placed at a bar's close rests from then on, that is from the next bar's open.
        const y = Math.round(this.y(price)) + 0.5;
        pen.moveTo(chart.xOf(symbol.time[first] + BAR_MS), y);
        pen.lineTo(chart.xOf(symbol.time[end - 1] + 2 * BAR_MS), y);
      }
      pen.stroke();
    }
  }

  lines(pen, from, to) {
    const { board, chart } = this;
    const { symbol, signals } = board;
    if (to - from > LINE_BARS) return;
    const step = Math.max(1, Math.floor((to - from) / 2000));
    const draw = (name, tone, value, dash = []) => {
      if (chart.on(name)) this.line(pen, from, to, step, value, tone, dash);
    };
    if (signals) draw("KAMA", "--prune", (row) => signals.kama[row]);
    const [centre, anchor] = [symbol.column("centre"), symbol.column("anchor")];
    if (Number.isFinite(anchor[from])) {
      draw("centre", "--accent", (row) => centre[row], [6, 3]);
      if (symbol.has("close")) {
        const close = symbol.column("close");
        draw("reservation price", "--muted", (row) => close[row] + centre[row] - anchor[row], [2, 2]);
      }
    }
    for (const side of [1, -1]) {
      const { average } = board.held[side];
      draw("average entry", side > 0 ? "--long" : "--short", (row) => average[row]);
      draw("stops", "--warn", (row) => board.stopPrice(side, 1, row), [5, 3]);
      draw("stops", "--bad", (row) => board.stopPrice(side, 2, row));
    }
  }

  line(pen, from, to, step, value, tone, dash) {
    const { time } = this.board.symbol;
    pen.strokeStyle = colour(tone);
    pen.lineWidth = 1.3;
    pen.setLineDash(dash);
    pen.beginPath();
    let down = false;
    for (let row = from; row < to; row += step) {
      const price = value(row);
      if (price === price) {
        const [x, y] = [this.chart.xOf(time[row]) + this.chart.half, this.y(price)];
        if (down) pen.lineTo(x, y);
        else pen.moveTo(x - this.chart.half, y);
        down = true;
      } else if (down) {
        pen.lineTo(this.chart.xOf(time[row]), this.y(value(row - step)));
        down = false;
      }
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  fillsInView({ from, to }) {
    const { board } = this;
    const wanted = (fill) => fill.stillOpen || fill.closings.some((trade) => !board.hidden.has(kindOfClosing(board.run, trade)));
    return board.symbol.fills.filter((fill) => fill.time <= to && fill.end + BAR_MS >= from && wanted(fill));
  }

  targets(pen, fills) {
    pen.setLineDash([2, 3]);
    pen.strokeStyle = colour("--good");
    pen.lineWidth = 1;
    pen.beginPath();
    for (const fill of fills.filter((one) => one.target).slice(0, MOST_TARGETS)) {
      const y = this.y(fill.target);
      pen.moveTo(this.chart.xOf(fill.time), y);
      pen.lineTo(this.chart.xOf(Math.min(fill.end, this.board.symbol.last) + BAR_MS), y);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  // Entry and closings joined: by colour whether the part won or lost, dotted while open.
  lives(pen, fills) {
    const { board, chart } = this;
    const { symbol } = board;
    const from = (fill) => [chart.xOf(fill.time) + chart.half, this.y(fill.price)];
    pen.lineWidth = 1.3;
    for (const fill of fills) {
      for (const trade of fill.closings) {
        if (board.hidden.has(kindOfClosing(board.run, trade))) continue;
        pen.strokeStyle = faded(trade.net >= 0 ? "--good" : "--bad", 0.75);
        pen.beginPath();
        pen.moveTo(...from(fill));
        pen.lineTo(chart.xOf(trade.close_time) + chart.half, this.y(trade.exit));
        pen.stroke();
      }
      if (fill.stillOpen && symbol.has("close")) {
        pen.strokeStyle = colour("--accent");
        pen.setLineDash([3, 3]);
        pen.beginPath();
        pen.moveTo(...from(fill));
        pen.lineTo(chart.xOf(symbol.last) + chart.half, this.y(symbol.column("close")[symbol.rows - 1]));
        pen.stroke();
        pen.setLineDash([]);
      }
    }
  }

  mark(pen, fills) {
    const { board, chart } = this;
    const size = fills.length > 150 ? 4 : 5.5;
    for (const fill of fills) {
      const side = sideName(fill.side);
      const level = fill.level ? ` at level ${plainNumber(fill.level)}` : "";
      this.sign(pen, fill.side > 0 ? "up" : "down", chart.xOf(fill.time) + chart.half, this.y(fill.price), size, fill.side > 0 ? "--long" : "--short", fill,
        fill.row, [`${side} fill ${fill.id}${level}`, `${plainNumber(fill.qty)} at ${plainNumber(fill.price)}`, timeText(fill.time)]);
      for (const trade of fill.closings) {
        const kind = kindOfClosing(board.run, trade);
        if (board.hidden.has(kind)) continue;
        this.sign(pen, kind.symbol, chart.xOf(trade.close_time) + chart.half, this.y(trade.exit), size, kind.colour, fill, trade.closeRow,
          [`${side} fill ${fill.id} closed: ${board.run.labels[trade.label].name.replaceAll("_", " ")}`, `${plainNumber(trade.qty)} at ${plainNumber(trade.exit)}, net ${signed(trade.net)}`, `after ${duration(trade.close_time - fill.time)}, ${timeText(trade.close_time)}`]);
      }
    }
  }

  sign(pen, shape, x, y, size, tone, fill, row, text) {
    pen.fillStyle = colour(tone);
    pen.strokeStyle = colour("--ground");
    pen.lineWidth = 1;
    pen.beginPath();
    outline(pen, shape, x, y, size);
    pen.fill();
    pen.stroke();
    if (fill === this.board.selected) {
      pen.strokeStyle = colour("--ink");
      pen.beginPath();
      pen.arc(x, y, size + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
    this.marks.push({ x, y, fill, row, text });
  }

  // Fills of one stretch of the axis as one circle with their number, coloured by what they made together.
  count(pen, fills) {
    const groups = new Map();
    for (const fill of fills) {
      const place = Math.floor(this.chart.xOf(fill.time) / CLUSTER_PX);
      if (!groups.has(place)) groups.set(place, []);
      groups.get(place).push(fill);
    }
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const group of groups.values()) {
      const net = group.reduce((sum, fill) => sum + fill.net, 0);
      const x = this.chart.xOf(group.reduce((sum, fill) => sum + fill.time, 0) / group.length);
      const y = this.y(group.reduce((sum, fill) => sum + fill.price, 0) / group.length);
      const radius = Math.min(8 + 2 * Math.log2(group.length), 16);
      pen.fillStyle = faded(net >= 0 ? "--good" : "--bad", 0.9);
      pen.strokeStyle = colour("--ground");
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
      pen.fillStyle = colour("--ground");
      pen.font = `600 ${group.length > 99 ? 9 : 11}px system-ui, sans-serif`;
      pen.fillText(group.length, x, y + 0.5);
      const times = group.map((fill) => fill.time);
      const [first, last] = [Math.min(...times), Math.max(...group.map((fill) => Math.min(fill.end, this.board.symbol.last)))];
      this.clusters.push({
        x, y, radius, first, last, fills: group,
        text: [`${group.length} fill${group.length > 1 ? "s" : ""}, net ${signed(net)}`, `${timeText(first)} to ${timeText(last)}`, "click: look closer"],
      });
    }
  }

  chosen(pen, { height }) {
    const { board, chart } = this;
    if (board.row < 0) return;
    const x = Math.round(chart.xOf(board.symbol.time[board.row]) + chart.half) + 0.5;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 1;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(x, 0);
    pen.lineTo(x, height);
    pen.stroke();
    pen.setLineDash([]);
  }

  // What lies under the pointer, null if nothing near it.
  near(x, y) {
    const distance = (one) => Math.hypot(one.x - x, one.y - y);
    const cluster = this.clusters.find((one) => distance(one) <= one.radius + 2);
    if (cluster) return cluster;
    const close = this.marks.filter((one) => distance(one) <= 12);
    return close.length ? close.reduce((best, one) => (distance(one) < distance(best) ? one : best)) : null;
  }
}

// The outline of a mark.
function outline(pen, shape, x, y, size) {
  const points = (list) => list.forEach(([a, b], i) => (i ? pen.lineTo(x + size * a, y + size * b) : pen.moveTo(x + size * a, y + size * b)));
  const star = (tips, inner) =>
    points(Array.from({ length: 2 * tips }, (_, i) => {
      const [length, angle] = [i % 2 ? inner : 1.3, (i * Math.PI) / tips - Math.PI / 2];
      return [length * Math.cos(angle), length * Math.sin(angle)];
    }));
  if (shape === "up") points([[0, -1], [1, 0.8], [-1, 0.8]]);
  else if (shape === "down") points([[0, 1], [1, -0.8], [-1, -0.8]]);
  else if (shape === "circle") pen.arc(x, y, 0.8 * size, 0, 2 * Math.PI);
  else if (shape === "square") points([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]);
  else if (shape === "diamond") points([[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]]);
  else if (shape === "x") points([[-1, -0.6], [-0.6, -1], [0, -0.4], [0.6, -1], [1, -0.6], [0.4, 0], [1, 0.6], [0.6, 1], [0, 0.4], [-0.6, 1], [-1, 0.6], [-0.4, 0]]);
  else star(shape === "hexagram" ? 6 : 5, 0.6);
  pen.closePath();
}
