// Puts the page together: panels, toolbar, the chosen bar.

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: false, doubleClick: false, showTips: false };
const COARSE = matchMedia("(pointer: coarse)");

class Page {
  constructor(board) {
    this.board = board;
    this.trace = new Trace(board);
    const { time } = board.wallet;
    this.view = new View(time[0], time[time.length - 1] + BAR_MS);
    this.view.listeners.push(() => this.draw());
    this.panels = PANELS.map((panel) => this.makePanel(panel));
    this.seen = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "200px" });
    for (const panel of this.panels) this.seen.observe(panel.section);
    this.toolbar();
    this.form();
    this.suggest();
    this.shown();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    const place = document.getElementById("panels");
    let width = place.clientWidth;
    new ResizeObserver(() => {
      if (place.clientWidth === width) return;
      width = place.clientWidth;
      this.draw();
    }).observe(place);
  }

  makePanel(panel) {
    const section = element("section", "", "panel");
    const heading = element("h2", panel.title);
    const note = element("span", panel.note, "note");
    heading.append(" ", note);
    const chart = element("div", "", "chart");
    chart.id = `chart-${panel.id}`;
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", `${panel.title}: ${panel.note || "prices with every fill"}`);
    section.append(heading, chart);
    if (panel.id === "price") section.append(this.legend());
    document.getElementById("panels").append(section);
    return { ...panel, section, chart, noteElement: note, visible: false, stale: true, drawn: false };
  }

  onSeen(entries) {
    for (const entry of entries) {
      const panel = this.panels.find((candidate) => candidate.section === entry.target);
      panel.visible = entry.isIntersecting;
      if (panel.visible && panel.stale) this.drawPanel(panel);
    }
  }

  // Panels in sight at once, the others when they come into sight.
  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.shown();
      for (const panel of this.panels) {
        panel.stale = true;
        if (panel.visible) this.drawPanel(panel);
      }
    });
  }

  drawPanel(panel) {
    const { board, view } = this;
    const width = panel.chart.clientWidth;
    if (!width) return;
    panel.stale = false;
    const buckets = Math.max(Math.min(Math.floor(width - 70), 1200), 100);
    const { traces, layout, note } = panel.draw(board, view, buckets);
    if (note !== undefined) panel.noteElement.textContent = note;
    const height = window.innerWidth < 700 ? Math.round(panel.height * 0.85) : panel.height;
    Plotly.react(panel.chart, traces, this.layout(layout, width, height), CONFIG);
    if (!panel.drawn) this.listen(panel);
    panel.drawn = true;
  }

  layout(own, width, height) {
    const ink = colour("--muted");
    const grid = colour("--grid");
    const { row, symbol } = this.board;
    const shapes = [...(own.shapes ?? [])];
    if (row >= 0) {
      const x = symbol.time[row];
      shapes.push({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: colour("--ink"), width: 1, dash: "dot" } });
    }
    return {
      width, height, margin: { l: 58, r: 10, t: 6, b: this.view.width < 12 * 96 * BAR_MS ? 36 : 22 }, showlegend: false, hovermode: "closest", hoverdistance: 30,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "inherit", size: 11, color: ink },
      dragmode: COARSE.matches ? false : "zoom",
      hoverlabel: { bgcolor: colour("--ground"), bordercolor: colour("--grid"), font: { color: colour("--ink"), size: 12 } },
      ...own,
      shapes,
      xaxis: {
        type: "date", range: [this.view.from, this.view.to], autorange: false, gridcolor: grid, linecolor: grid, zeroline: false,
        rangeslider: { visible: false }, hoverformat: "%Y-%m-%d %H:%M", ...own.xaxis,
      },
      yaxis: { gridcolor: grid, zerolinecolor: grid, fixedrange: true, nticks: 6, ...own.yaxis },
    };
  }

  listen(panel) {
    const { chart } = panel;
    chart.on("plotly_relayout", (change) => {
      const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (range[0] !== undefined) this.view.set(asTime(range[0]), asTime(range[1]));
    });
    chart.on("plotly_doubleclick", () => this.view.all());
    // A click anywhere chooses the bar under it; a drag zooms and is no click.
    let down = null;
    chart.addEventListener("pointerdown", (event) => (down = [event.clientX, event.clientY]), true);
    chart.addEventListener("click", (event) => this.clicked(chart, event, down), true);
    chart.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.view.zoom(Math.exp(event.deltaY / 200), timeUnder(chart, event));
    }, { passive: false });
  }

  clicked(chart, event, down) {
    if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 6) return;
    const time = timeUnder(chart, event);
    if (time >= this.view.from && time <= this.view.to) this.choose(this.board.symbol.rowAt(time));
  }

  // Show why the bar in a row did what it did.
  choose(row) {
    const { board } = this;
    if (!(row >= 0 && row < board.symbol.rows)) return false;
    board.row = row;
    document.getElementById("bar").value = timeText(board.symbol.time[row]);
    this.trace.show(row, document.getElementById("trace"));
    document.getElementById("to-why").hidden = false;
    this.view.include(board.symbol.time[row]);
    this.draw();
    return true;
  }

  chooseSymbol(index) {
    const time = this.board.row >= 0 ? this.board.symbol.time[this.board.row] : NaN;
    this.board.choose(index);
    this.board.row = -1;
    this.updateLegend();
    this.suggest();
    if (!this.choose(this.board.symbol.rowAt(time))) document.getElementById("trace").replaceChildren(element("p", "This symbol did not trade at that time.", "hint"));
    this.draw();
  }

  shown() {
    const { from, to, width } = this.view;
    const bars = Math.round(width / BAR_MS);
    document.getElementById("shown").textContent = `${timeText(from).slice(0, 10)} to ${timeText(to).slice(0, 10)}, ${bars.toLocaleString("en")} bars`;
    for (const button of document.querySelectorAll("[data-span]")) {
      const days = Number(button.dataset.span) || (this.view.last - this.view.first) / (96 * BAR_MS);
      button.setAttribute("aria-pressed", Math.abs(days * 96 * BAR_MS - width) < BAR_MS);
    }
  }

  toolbar() {
    for (const button of document.querySelectorAll(".toolbar button")) {
      button.addEventListener("click", () => {
        const { span, move, zoom } = button.dataset;
        if (span === "all") this.view.all();
        else if (span) this.spanDays(Number(span));
        if (move) this.view.move(Number(move));
        if (zoom) this.view.zoom(Number(zoom));
      });
    }
    const select = document.getElementById("symbol");
    this.board.symbols.forEach((symbol, index) => select.append(new Option(symbol.symbol, index)));
    document.getElementById("pick").hidden = this.board.symbols.length < 2;
    select.addEventListener("change", () => this.chooseSymbol(Number(select.value)));
  }

  // Show so many days around the chosen bar if it is in view, else up to the end of what is in view.
  spanDays(days) {
    const { board, view } = this;
    const width = days * 96 * BAR_MS;
    const chosen = board.row >= 0 ? board.symbol.time[board.row] : NaN;
    const end = chosen >= view.from && chosen <= view.to ? chosen + width / 2 : view.to;
    view.set(end - width, end);
  }

  form() {
    const input = document.getElementById("bar");
    document.getElementById("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      const found = this.choose(this.trace.rowOf(input.value));
      input.setAttribute("aria-invalid", !found);
      if (!found) this.say(`There is no bar “${input.value}”. Bars are 1 to ${this.board.symbol.rows.toLocaleString("en")}, times are UTC: 2024-01-05 12:15.`);
    });
    for (const button of document.querySelectorAll("[data-step], [data-event]")) {
      button.addEventListener("click", () => {
        const { step, event } = button.dataset;
        const row = step ? this.board.row + Number(step) : this.trace.eventFrom(this.board.row, Number(event));
        if (!this.choose(row)) this.say(step ? "There is no bar beyond this one." : "There is no execution beyond this bar.");
      });
    }
  }

  // Bars worth a look, each a button that shows the days around it.
  suggest() {
    const { board } = this;
    const { symbol } = board;
    const extreme = (items, value) => items.reduce((best, item) => (best === null || value(item) > value(best) ? item : best), null);
    const rows = Array.from({ length: symbol.rows }, (_, row) => row);
    const top = (name, sign) => {
      const values = symbol.column(name);
      const row = extreme(rows.filter((i) => Number.isFinite(values[i])), (i) => sign * values[i]);
      return row === null ? null : { row, value: values[row] };
    };
    const found = [];
    const add = (words, row, value) => found.push({ words, row, value });
    const lost = extreme(symbol.tradeList, (trade) => -trade.net);
    const won = extreme(symbol.tradeList, (trade) => trade.net);
    if (lost && lost.net < 0) add("largest loss", lost.closeRow, signed(lost.net));
    if (won && won.net > 0) add("largest win", won.closeRow, signed(won.net));
    for (const trade of symbol.tradeList.filter((one) => board.run.labels[one.label].name === "liquidation").slice(0, 1)) add("LIQUIDATION", trade.closeRow, signed(trade.net));
    const deepest = extreme(Array.from(board.drawdown.keys()), (i) => -board.drawdown[i]);
    if (board.drawdown[deepest] < 0) add("deepest under water", symbol.rowAt(board.wallet.time[deepest]), percent(board.drawdown[deepest]));
    const ratio = top("margin_ratio", 1);
    if (ratio && ratio.value > 0) add("highest margin ratio", ratio.row, percent(ratio.value));
    const lowest = top("z", -1);
    if (lowest) add("lowest z", lowest.row, plainNumber(lowest.value, 2));
    const list = element("ul", found.filter(({ row }) => row >= 0).map(({ words, row, value }) => {
      const button = element("button", [`${words} `, element("b", value), ` ${timeText(symbol.time[row])}`]);
      button.type = "button";
      button.addEventListener("click", () => {
        this.choose(row);
        this.view.set(symbol.time[row] - 144 * BAR_MS, symbol.time[row] + 144 * BAR_MS);
      });
      return element("li", button);
    }), "suggested");
    document.getElementById("suggested").replaceChildren(list);
  }

  say(text) {
    document.getElementById("trace").prepend(element("p", text, "hint"));
  }

  legend() {
    this.legendElement = element("div", "", "legend");
    this.updateLegend();
    return this.legendElement;
  }

  updateLegend() {
    const { board } = this;
    const counts = new Map();
    for (const trade of board.symbol.tradeList) {
      const kind = kindOfClosing(board.run, trade);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    const key = (tone, text, mark) => {
      const item = element("span", [element("i", mark), text], "key");
      item.firstChild.style.color = `var(${tone})`;
      return item;
    };
    const items = [key("--long", "LONG entry", "▲"), key("--short", "SHORT entry", "▼")];
    for (const [kind, count] of counts) {
      const button = element("button", [element("i", { circle: "●", x: "✕", diamond: "◆", star: "★", hexagram: "✸", square: "■" }[kind.symbol]), `${kind.text} (${count.toLocaleString("en")})`], "key");
      button.firstChild.style.color = `var(${kind.colour})`;
      button.setAttribute("aria-pressed", !board.hidden.has(kind));
      button.title = "show or hide";
      button.addEventListener("click", () => {
        if (!board.hidden.delete(kind)) board.hidden.add(kind);
        button.setAttribute("aria-pressed", !board.hidden.has(kind));
        this.draw();
      });
      items.push(button);
    }
    if (board.ladder) {
      const button = element("button", [element("i", "═"), "all levels"], "key more");
      button.title = "show the whole ladder, or only the levels near the price";
      button.setAttribute("aria-pressed", board.allLevels);
      button.addEventListener("click", () => {
        board.allLevels = !board.allLevels;
        button.setAttribute("aria-pressed", board.allLevels);
        this.draw();
      });
      items.push(button);
    }
    const regimes = REGIME_ORDER.map((code) => key(REGIME_COLOURS[code], board.run.regimes[code].toLowerCase().replace("_", " "), "■"));
    items.push(element("span", "ribbon:", "key quiet"), ...regimes, key("--bad", "halted", "▀"));
    this.legendElement.replaceChildren(...items);
  }
}

function asTime(value) {
  return typeof value === "number" ? value : Date.parse(`${value.replace(" ", "T").padEnd(16, ":00").slice(0, 23)}Z`);
}

function timeUnder(chart, event) {
  const { xaxis } = chart._fullLayout;
  const x = event.clientX - chart.getBoundingClientRect().left - xaxis._offset;
  return xaxis.p2c ? xaxis.p2c(x) : NaN;
}

// How finely this page knows the run's numbers.
function precision(run) {
  const units = (per) => plainNumber(1 / per, 9);
  const [first] = run.symbols;
  const text = [`Rounded to: money ${units(run.money)}`];
  if (first) {
    const price = first.columns.close ?? first.columns.anchor;
    text.push(`prices ${units(price.per)}, quantities ${units(10 ** first.qty_decimals)}, z ${units(first.columns.z.per)}, volatility ${units(first.columns.sigma.per)}, spacing ${units(first.columns.spacing_pct.per)}, ratios and distances ${units(first.columns.margin_ratio.per)} and ${units(first.columns.liquidation_down.per)}`);
  }
  return `${text.join(", ")}. The prices of orders are computed from centre and spacing as the strategy does: exact for orders placed, true to a tick for those marked ≈. The run's CSV files have every digit.`;
}

async function start() {
  const [, { run, bytes }] = await Promise.all([loadCharts(), unpacked(document.getElementById("data").textContent)]);
  document.getElementById("precision").textContent = precision(run);
  const symbols = run.symbols.map((symbol) => new SymbolData(symbol, bytes));
  const traded = symbols.filter((symbol) => symbol.rows);
  if (!traded.length) throw new Error("No bar was traded, so there is nothing to draw.");
  const wallet = run.wallet
    ? { time: columnValues(run.wallet.time, bytes), equity: columnValues(run.wallet.equity, bytes) }
    : { time: traded[0].time, equity: traded[0].column("equity") };
  window.page = new Page(new Board(run, traded, wallet));
}

start().catch(complain);
