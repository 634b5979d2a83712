// Puts the page together: chart, toolbar, the chosen bar, the list of trades, the tabs of figures.

class Page {
  constructor(board) {
    this.board = board;
    this.trace = new Trace(board);
    const { time } = board.wallet;
    this.view = new View(time[0], time[time.length - 1] + BAR_MS);
    this.chart = new Chart(board, this.view, document.getElementById("chart"), {
      shown: (length) => this.shown(length),
      bar: (row) => this.choose(row),
      fill: (fill, row) => {
        board.selected = fill;
        this.choose(row);
        this.list.draw();
      },
    });
    this.view.listeners.push(() => this.chart.load());
    this.list = new TradeList(board, document.getElementById("list"), (row) => this.jump(row));
    this.toolbar();
    this.switches();
    if (board.run.grid) {
      this.form();
      this.suggest();
    }
    this.chart.load();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.chart.recolour());
  }

  // Show why the bar in a row did what it did.
  choose(row) {
    const { board } = this;
    if (!(row >= 0 && row < board.symbol.rows)) return false;
    board.row = row;
    if (board.run.grid) {
      document.getElementById("bar").value = timeText(board.symbol.time[row]);
      this.trace.show(row, document.getElementById("trace"));
      document.getElementById("to-why").hidden = false;
      document.getElementById("why").classList.add("open");
    }
    this.view.include(board.symbol.time[row]);
    this.chart.overlay.update?.();
    return true;
  }

  // Show a fill or a cycle of the list in the chart.
  jump(row) {
    const { board, view } = this;
    if (board.symbols[row.index] !== board.symbol) this.chooseSymbol(row.index);
    board.selected = row.fill ?? null;
    const end = Math.min(row.end, board.symbol.last);
    const room = Math.max(0.5 * (end - row.time), 48 * BAR_MS);
    view.set(row.time - room, end + room);
    this.choose(row.fill ? row.fill.row : board.symbol.rowAt(row.time));
    if (innerWidth < 1100) document.getElementById("why")?.classList.remove("open");
    document.getElementById("charts").scrollIntoView({ block: "start" });
  }

  chooseSymbol(index) {
    const { board } = this;
    const time = board.row >= 0 ? board.symbol.time[board.row] : NaN;
    board.choose(index);
    board.row = -1;
    document.getElementById("symbol").value = index;
    this.switches();
    if (board.run.grid) this.suggest();
    if (!this.choose(board.symbol.rowAt(time)) && time === time && board.run.grid) document.getElementById("trace").replaceChildren(element("p", "This symbol did not trade at that time.", "hint"));
    this.chart.load();
  }

  shown(length) {
    const { from, to, width, first, last } = this.view;
    const day = (time) => timeText(time).slice(0, width < 4 * DAY_MS ? 16 : 10);
    document.getElementById("shown").textContent = `${day(from)} to ${day(to)}`;
    for (const made of document.querySelectorAll("[data-span]")) {
      const span = made.dataset.span === "all" ? last - first : Number(made.dataset.span) * DAY_MS;
      made.setAttribute("aria-pressed", Math.abs(span - width) < BAR_MS);
    }
    document.querySelector("#resolution option").textContent = `auto: ${LENGTHS.find(([one]) => one === length)?.[1] ?? ""}`;
  }

  toolbar() {
    for (const made of document.querySelectorAll(".toolbar button")) {
      made.addEventListener("click", () => {
        const { span, move, zoom } = made.dataset;
        if (span === "all") this.view.all();
        else if (span) this.spanDays(Number(span));
        if (move) this.view.move(Number(move));
        if (zoom) this.view.zoom(Number(zoom));
      });
    }
    const select = document.getElementById("symbol");
    this.board.symbols.forEach((symbol, index) => select.append(new Option(symbol.symbol, index)));
    select.value = this.board.symbols.indexOf(this.board.symbol);
    document.getElementById("pick").hidden = this.board.symbols.length < 2;
    select.addEventListener("change", () => this.chooseSymbol(Number(select.value)));
    const resolution = document.getElementById("resolution");
    resolution.append(...LENGTHS.map(([length, name]) => new Option(name, length)));
    resolution.addEventListener("change", () => {
      this.chart.fixed = Number(resolution.value);
      this.chart.load();
    });
    document.getElementById("to-why")?.addEventListener("click", () => document.getElementById("why").classList.add("open"));
    document.getElementById("close-why")?.addEventListener("click", () => document.getElementById("why").classList.remove("open"));
    for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => this.openTab(tab));
    this.openTab(document.querySelector("[role=tab]"));
    // A finger cannot point: a tap on a dotted word shows its definition below it, another hides it.
    document.getElementById("figures").addEventListener("click", (event) => {
      const term = event.target.closest(".term");
      if (!term) return;
      const shown = term.nextElementSibling;
      if (shown) shown.remove();
      else term.after(element("small", term.title, "meaning"));
    });
    if (innerWidth < 700) document.querySelector(".flags")?.removeAttribute("open");
  }

  openTab(chosen) {
    for (const tab of document.querySelectorAll("[role=tab]")) {
      tab.setAttribute("aria-selected", tab === chosen);
      document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
  }

  // Show so many days around the chosen bar if it is in view, else up to the end of what is in view.
  spanDays(days) {
    const { board, view } = this;
    const width = days * DAY_MS;
    const chosen = board.row >= 0 ? board.symbol.time[board.row] : NaN;
    const end = chosen >= view.from && chosen <= view.to ? chosen + width / 2 : view.to;
    view.set(end - width, end);
  }

  // A button for each line, and for each kind of closing with its count.
  switches() {
    const { board, chart } = this;
    const lines = chart.switches().map(([name, meaning]) => {
      const made = button(name, "key", () => {
        chart.switch(name);
        made.setAttribute("aria-pressed", chart.on(name));
        if (name === "volume") chart.load();
        else chart.values();
      });
      made.title = meaning;
      made.dataset.line = name;
      made.setAttribute("aria-pressed", chart.on(name));
      return made;
    });
    const counts = new Map();
    for (const trade of board.symbol.tradeList) {
      const kind = kindOfClosing(board.run, trade);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    const signs = { circle: "●", x: "✕", diamond: "◆", star: "★", hexagram: "✸", square: "■" };
    const marks = Array.from(counts, ([kind, count]) => {
      const made = button([element("i", signs[kind.symbol]), `${kind.text} (${count.toLocaleString("en")})`], "key", () => {
        if (!board.hidden.delete(kind)) board.hidden.add(kind);
        made.setAttribute("aria-pressed", !board.hidden.has(kind));
        chart.overlay.update?.();
      });
      made.firstChild.style.color = `var(${kind.colour})`;
      made.setAttribute("aria-pressed", !board.hidden.has(kind));
      return made;
    });
    const sides = [["▲", "LONG", "long"], ["▼", "SHORT", "short"]].map(([sign, name, tone]) => element("span", [element("i", sign, tone), `${name} entry`], "key"));
    const place = document.getElementById("lines");
    place.replaceChildren(element("span", "lines", "quiet"), ...lines, ...(marks.length ? [element("span", "marks", "quiet"), ...sides, ...marks] : []));
  }

  form() {
    const input = document.getElementById("bar");
    document.getElementById("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      const found = this.choose(this.trace.rowOf(input.value));
      input.setAttribute("aria-invalid", !found);
      if (!found) this.say(`There is no bar “${input.value}”. Bars are 1 to ${this.board.symbol.rows.toLocaleString("en")}, times are UTC: 2024-01-05 12:15.`);
    });
    for (const made of document.querySelectorAll("[data-step], [data-event]")) {
      made.addEventListener("click", () => {
        const { step, event } = made.dataset;
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
    const top = (name, sign) => {
      const values = symbol.column(name);
      let row = -1;
      for (let i = 0; i < symbol.rows; i++) if (Number.isFinite(values[i]) && (row < 0 || sign * values[i] > sign * values[row])) row = i;
      return row < 0 ? null : { row, value: values[row] };
    };
    const found = [];
    const add = (words, row, value) => found.push({ words, row, value });
    const lost = extreme(symbol.tradeList, (trade) => -trade.net);
    const won = extreme(symbol.tradeList, (trade) => trade.net);
    if (lost && lost.net < 0) add("largest loss", lost.closeRow, signed(lost.net));
    if (won && won.net > 0) add("largest win", won.closeRow, signed(won.net));
    for (const trade of symbol.tradeList.filter((one) => board.run.labels[one.label].name === "liquidation").slice(0, 1)) add("LIQUIDATION", trade.closeRow, signed(trade.net));
    let deepest = 0;
    for (let i = 1; i < board.drawdown.length; i++) if (board.drawdown[i] < board.drawdown[deepest]) deepest = i;
    if (board.drawdown[deepest] < 0) add("deepest under water", symbol.rowAt(board.wallet.time[deepest]), percent(-board.drawdown[deepest]));
    const ratio = top("margin_ratio", 1);
    if (ratio && ratio.value > 0) add("highest margin ratio", ratio.row, percent(ratio.value));
    const lowest = top("z", -1);
    if (lowest) add("lowest z", lowest.row, plainNumber(lowest.value, 2));
    const list = element("ul", found.filter(({ row }) => row >= 0).map(({ words, row, value }) => element("li", button([`${words} `, element("b", value), ` ${timeText(symbol.time[row])}`], "", () => {
      this.view.set(symbol.time[row] - 144 * BAR_MS, symbol.time[row] + 144 * BAR_MS);
      this.choose(row);
    }))), "suggested");
    document.getElementById("suggested").replaceChildren(list);
  }

  say(text) {
    document.getElementById("trace").prepend(element("p", text, "hint"));
  }
}

// How finely this page knows the run's numbers.
function precision(run) {
  const units = (per) => plainNumber(1 / per, 9);
  const [first] = run.symbols;
  const text = [`Rounded to: money ${units(run.money)}`];
  if (first) {
    const price = first.columns.close ?? first.columns.anchor;
    text.push(`prices ${units(price.per)}, quantities ${units(10 ** first.qty_decimals)}`);
    if (run.grid) text.push(`z ${units(first.columns.z.per)}, volatility ${units(first.columns.sigma.per)}, spacing ${units(first.columns.spacing_pct.per)}, ratios and distances ${units(first.columns.margin_ratio.per)} and ${units(first.columns.liquidation_down.per)}`);
  }
  const orders = run.grid ? " The prices of orders are computed from centre and spacing as the strategy does: exact for orders placed, true to a tick for those marked ≈." : "";
  return `${text.join(", ")}.${orders} The run's CSV files have every digit.`;
}

async function start() {
  const [, { run, bytes }] = await Promise.all([loadLibrary(), unpacked(document.getElementById("data").textContent)]);
  document.getElementById("precision").textContent = precision(run);
  const symbols = run.symbols.map((symbol) => new SymbolData(symbol, bytes));
  const traded = symbols.filter((symbol) => symbol.rows);
  if (!traded.length) throw new Error("No bar was traded, so there is nothing to draw.");
  const wallet = run.wallet
    ? { time: columnValues(run.wallet.time, bytes), equity: columnValues(run.wallet.equity, bytes) }
    : { time: traded[0].time, equity: traded[0].column("equity") };
  const board = new Board(run, traded, wallet);
  board.choose(traded.reduce((busiest, symbol, i) => (symbol.tradeList.length > traded[busiest].tradeList.length ? i : busiest), 0));
  window.page = new Page(board);
}

start().catch(complain);
