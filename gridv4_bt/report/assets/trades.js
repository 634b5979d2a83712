// The list of all fills and of all cycles: sorted, filtered, joined with the chart by a click.

const PAGE_ROWS = 50;
const WORDS = ["symbol", "side", "label", "regime"]; // columns of words begin at their left
const EXCURSION_UNITS = [["levels", "levels"], ["price", "price"], ["wallet", "% of the wallet"]];

class TradeList {
  constructor(board, place, show) {
    Object.assign(this, { board, place, show, mode: "fills", unit: board.run.grid ? "levels" : "price", page: 0, sort: { key: "time", down: false } });
    this.filters = { symbol: "", side: "", label: "", regime: "", result: "" };
    this.rows = { fills: this.fillRows(), cycles: this.cycleRows() };
    this.controls = element("div", "", "filters");
    this.table = element("table");
    this.scroller = element("div", this.table, "table trades");
    this.scroller.tabIndex = 0;
    this.foot = element("div", "", "pager");
    place.replaceChildren(this.controls, this.scroller, this.foot);
    this.makeControls();
    this.draw();
  }

  fillRows() {
    const { run, symbols } = this.board;
    return symbols.flatMap((symbol, index) => symbol.fills.map((fill) => {
      const parts = fill.closings;
      const labels = [...new Set(parts.map((trade) => run.labels[trade.label]))];
      const closed = parts.reduce((sum, trade) => sum + trade.qty, 0);
      const mark = symbol.has("close") ? symbol.column("close")[symbol.rows - 1] : fill.price;
      const unrealised = fill.stillOpen ? fill.side * (mark - fill.price) * fill.stillOpen : 0;
      return {
        index, fill, symbol: symbol.symbol, id: fill.id, side: sideName(fill.side), labels,
        label: [...labels.map((label) => label.name.replaceAll("_", " ")), ...(fill.stillOpen ? ["open"] : [])].join(" + "),
        regime: (run.regimes[fill.regime] ?? "").toLowerCase().replaceAll("_", " "), level: fill.level, time: fill.time, end: fill.end,
        held: (Number.isFinite(fill.end) ? fill.end : symbol.last + BAR_MS) - fill.time, entry: fill.price,
        exit: closed ? parts.reduce((sum, trade) => sum + trade.qty * trade.exit, 0) / closed : NaN,
        qty: fill.qty, gross: fill.gross + unrealised, fees: fill.fees + fill.openFee, funding: fill.funding + fill.openFunding,
        net: fill.net + unrealised - fill.openFee - fill.openFunding, share: (fill.net + unrealised - fill.openFee - fill.openFunding) / (fill.price * fill.qty),
        adverse: fill.adverse, favourable: fill.favourable, decimals: symbol.price_decimals,
      };
    }));
  }

  cycleRows() {
    return this.board.symbols.flatMap((symbol, index) => cyclesOf(symbol).map((cycle, number) => ({
      ...cycle, index, symbol: symbol.symbol, id: number + 1, side: sideName(cycle.side), label: Number.isFinite(cycle.end) ? "closed" : "open",
      held: (Number.isFinite(cycle.end) ? cycle.end : symbol.last + BAR_MS) - cycle.time, decimals: symbol.price_decimals,
    })));
  }

  columns() {
    const several = this.board.symbols.length > 1;
    const excursion = (value, row) => {
      const found = value[this.unit];
      return this.unit === "price" ? plainNumber(found, row.decimals) : this.unit === "wallet" ? percent(found, 3) : (Number.isFinite(found) ? numberFormat(2, 2).format(found) : "–");
    };
    const price = (value, row) => (Number.isFinite(value) ? plainNumber(value, row.decimals) : "–");
    const all = {
      id: ["#", "number of the fill; of a cycle, in the order of its symbol"], symbol: ["symbol", ""], side: ["side", "positionSide"], label: ["closed by", "why it was closed: see the list below"],
      regime: ["regime", "that ruled at the decision before the entry"], level: ["level", "of the ladder; −: LONG", (value) => (value ? plainNumber(value) : "–")],
      deepest: ["deepest", "level farthest from the centre that filled", (value) => (value ? plainNumber(value) : "–")], fills: ["fills", "entries in the cycle", (value) => plainNumber(value)],
      time: ["opened, UTC", "bar of the entry", (value) => timeText(value)], end: ["closed, UTC", "bar of the last closing", (value) => timeText(value)], held: ["held", "from bar to bar", (value) => duration(value)],
      entry: ["entry", "price", price], exit: ["exit", "price; the mean of the parts", price], qty: ["size", "base units", (value) => plainNumber(value)],
      most: ["most held", "largest notional at entry prices", money], gross: ["price move", "profit before costs, unrealised profit included", money], fees: ["fees", "of entry and exit", money],
      funding: ["funding", "paid; negative: received", money], net: ["net", "after fees and funding; of what is open, unrealised profit too", signed], share: ["net, %", "of the entry notional", (value) => percent(value)],
      adverse: ["MAE", "farthest the price went against it", excursion], favourable: ["MFE", "farthest the price went for it", excursion],
    };
    const names = this.mode === "fills"
      ? ["id", "symbol", "side", "label", "regime", "level", "time", "end", "held", "entry", "exit", "qty", "gross", "fees", "funding", "net", "share", "adverse", "favourable"]
      : ["id", "symbol", "side", "label", "fills", "deepest", "time", "end", "held", "most", "net", "adverse", "favourable"];
    // A phone shows the first columns only: the result is one of them.
    if (innerWidth < 700) names.splice(names.indexOf("side") + 1, 0, ...names.splice(names.indexOf("net"), 1));
    const absent = [...(several ? [] : ["symbol"]), ...(this.board.run.grid ? [] : ["label", "regime", "level", "deepest"])];
    return names.filter((name) => !absent.includes(name)).map((name) => [name, ...all[name]]);
  }

  makeControls() {
    const modes = element("span", [["fills", "fills"], ["cycles", "cycles"]].map(([mode, text]) => {
      const made = button(`${text} (${plainNumber(this.rows[mode].length)})`, "", () => {
        Object.assign(this, { mode, page: 0 });
        this.makeControls();
        this.draw();
      });
      made.setAttribute("aria-pressed", this.mode === mode);
      made.dataset.mode = mode;
      made.title = mode === "cycles" ? "a leg from its first fill until it is flat again" : "every entry, one row each";
      return made;
    }), "group");
    const rows = this.rows[this.mode];
    const pick = (key, all, values) => {
      const select = element("select");
      select.name = key;
      select.setAttribute("aria-label", all);
      select.append(new Option(all, ""), ...values.map((value) => new Option(value, value)));
      select.value = this.filters[key];
      select.addEventListener("change", () => {
        this.filters[key] = select.value;
        this.page = 0;
        this.draw();
      });
      return select;
    };
    const different = (key) => [...new Set(rows.map((row) => row[key]))].filter(Boolean).sort();
    const unit = element("select");
    unit.name = "unit";
    unit.setAttribute("aria-label", "unit of MAE and MFE");
    unit.append(...EXCURSION_UNITS.filter(([value]) => this.board.run.grid || value !== "levels").map(([value, text]) => new Option(`MAE, MFE in ${text}`, value)));
    unit.value = this.unit;
    unit.addEventListener("change", () => {
      this.unit = unit.value;
      this.draw();
    });
    const made = [modes];
    if (this.board.symbols.length > 1) made.push(pick("symbol", "all symbols", different("symbol")));
    made.push(pick("side", "both sides", different("side")));
    if (this.board.run.grid) made.push(pick("label", "all reasons", different("label")));
    if (this.board.run.grid && this.mode === "fills") made.push(pick("regime", "all regimes", different("regime")));
    made.push(pick("result", "won and lost", ["won", "lost"]), unit, button("CSV", "", () => this.download()));
    this.controls.replaceChildren(...made);
  }

  chosen() {
    const { filters, sort } = this;
    const fits = (row) => Object.entries(filters).every(([key, value]) => !value || row[key] === undefined && key !== "result" || (key === "result" ? (value === "won") === row.net > 0 : row[key] === value));
    const valueOf = (row) => (typeof row[sort.key] === "object" ? row[sort.key][this.unit] : row[sort.key]);
    const order = (a, b) => {
      const [one, other] = [valueOf(a), valueOf(b)];
      if (typeof one === "string") return one.localeCompare(other);
      if (one !== one || other !== other) return (one !== one) - (other !== other);
      return one === other ? a.time - b.time || a.id - b.id : one < other ? -1 : 1;
    };
    const rows = this.rows[this.mode].filter(fits).sort(order);
    return sort.down ? rows.reverse() : rows;
  }

  draw() {
    const rows = this.chosen();
    const pages = Math.max(Math.ceil(rows.length / PAGE_ROWS), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const columns = this.columns();
    const head = element("tr", columns.map(([key, name, meaning]) => {
      const cell = element("th", button(name, "sort", () => {
        this.sort = { key, down: this.sort.key === key ? !this.sort.down : key !== "time" && key !== "id" };
        this.draw();
      }));
      cell.scope = "col";
      cell.title = meaning;
      if (WORDS.includes(key)) cell.className = "text";
      cell.dataset.key = key;
      cell.setAttribute("aria-sort", this.sort.key !== key ? "none" : this.sort.down ? "descending" : "ascending");
      return cell;
    }));
    const body = rows.slice(this.page * PAGE_ROWS, (this.page + 1) * PAGE_ROWS).map((row) => this.line(row, columns));
    this.table.replaceChildren(element("thead", head), element("tbody", body));
    const sum = rows.reduce((total, row) => total + row.net, 0);
    const words = this.mode === "fills" ? "fills" : "cycles";
    const text = rows.length ? `${plainNumber(rows.length)} ${words}, net ${signed(sum)} ${this.board.run.quote}` : `No ${words}.`;
    const step = (by, sign) => {
      const made = button(sign, "", () => {
        this.page += by;
        this.draw();
      });
      made.disabled = this.page + by < 0 || this.page + by >= pages;
      made.setAttribute("aria-label", by < 0 ? "rows before" : "next rows");
      return made;
    };
    this.foot.replaceChildren(element("span", text), ...(pages > 1 ? [step(-1, "‹"), element("span", `${this.page + 1} of ${pages}`), step(1, "›")] : []));
  }

  line(row, columns) {
    const cells = columns.map(([key, , , text], i) => {
      const content = text ? text(row[key], row) : String(row[key]);
      if (i === 0) {
        const jump = button(content, "jump", () => this.open(row));
        jump.title = "show it in the chart";
        const cell = element("th", jump);
        cell.scope = "row";
        return cell;
      }
      const cell = element("td", content);
      if (key === "side") cell.className = `text ${row.side.toLowerCase()}`;
      if (key !== "side" && WORDS.includes(key)) cell.className = "text";
      if (key === "label" && row.labels?.length) cell.title = row.labels.map((label) => label.meaning).join(" ");
      if (key === "net") cell.className = row.net >= 0 ? "good" : "bad";
      return cell;
    });
    const line = element("tr", cells);
    if (row.fill && row.fill === this.board.selected) line.className = "selected";
    line.addEventListener("click", (event) => {
      if (!event.target.closest("button")) this.open(row);
    });
    return line;
  }

  open(row) {
    this.show(row);
    this.draw();
  }

  download() {
    const columns = this.columns();
    const raw = (row, key) => {
      const value = row[key];
      if (key === "time" || key === "end") return Number.isFinite(value) ? new Date(value).toISOString() : "";
      if (key === "held") return value / 3600000;
      return typeof value === "object" ? value[this.unit] : value;
    };
    const cell = (value) => (typeof value === "number" && !Number.isFinite(value) ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    const head = columns.map(([key]) => (key === "adverse" ? `mae_${this.unit}` : key === "favourable" ? `mfe_${this.unit}` : key === "held" ? "held_hours" : key));
    const lines = [head, ...this.chosen().map((row) => columns.map(([key]) => cell(raw(row, key))))].map((line) => line.join(","));
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = `${this.mode}.csv`;
    link.click();
  }
}
