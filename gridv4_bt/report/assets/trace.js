// One bar in words: the eleven steps of its decision and what was executed in it.

const ACTION_WORDS = ["kept", "cancelled", "placed", "replaced"];

// Plain text only: names come from files.
class Trace {
  constructor(board) {
    this.board = board;
  }

  // The row of a bar given as a number (1 is the first) or as a UTC time; -1 if there is none.
  rowOf(text) {
    const { symbol } = this.board;
    const trimmed = text.trim().replaceAll(",", "");
    if (/^\d+$/.test(trimmed) && !/^(19|20)\d\d$/.test(trimmed)) {
      const row = Number(trimmed) - 1;
      return row >= 0 && row < symbol.rows ? row : -1;
    }
    const match = trimmed.match(/^(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?(?:[T ]+(\d{1,2})(?::?(\d{2}))?(?::\d{2})?)?\s*(?:Z|UTC)?$/i);
    if (!match) return -1;
    const [year, month, day, hour, minute] = match.slice(1).map((part) => Number(part ?? 0));
    const time = Date.UTC(year, (month || 1) - 1, day || 1, hour, minute);
    const row = symbol.rowAt(time);
    return row >= 0 && time < symbol.time[symbol.rows - 1] + BAR_MS ? row : -1;
  }

  // The row of the next bar in a direction in which something was executed; -1 if there is none.
  eventFrom(row, direction) {
    const { symbol } = this.board;
    const rows = this.board.once("events", () => {
      const found = new Set(symbol.fills.map((fill) => fill.row));
      for (const trade of symbol.tradeList) found.add(trade.closeRow);
      return Float64Array.from(found).sort();
    });
    if (direction > 0) return rows[lastAtOrBefore(rows, row) + 1] ?? -1;
    const before = lastAtOrBefore(rows, row - 1);
    return before < 0 ? -1 : rows[before];
  }

  // The eleven steps of a bar: [title, state, list of sentences].
  steps(row) {
    const { run, symbol } = this.board;
    const { config } = run;
    const at = (name, shift = 0) => (row + shift >= 0 ? symbol.column(name)[row + shift] : NaN);
    const closings = symbol.tradeList.filter((trade) => trade.closeRow === row + 1);
    const ordered = (step) => closings.filter((trade) => run.labels[trade.label].step === step);
    const held = this.heldAfter(row);
    return [
      this.regimeStep(at), this.breakerStep(at, config), this.stopStep(row, held, ordered(3), config),
      this.marginStep(row, at, ordered(4), config), this.pruneStep(ordered(5), held),
      this.anchorStep(row, at), this.varStep(at, config), this.gridStep(at, config), this.orderStep(row),
      this.fundingStep(row), this.equityStep(row, at),
    ];
  }

  regimeStep(at) {
    const regime = at("regime");
    const may = { 0: "LONG and SHORT may add", 1: "only LONG may add", "-1": "only SHORT may add" }[regime] ?? "no side may add";
    const before = at("regime", -1);
    const came = before === before && before !== regime ? [`It was ${this.board.run.regimes[before]} a bar before.`] : [];
    // How sure the mixture was, where the regime is its.
    const sure = this.board.run.states
      .map(([code, name]) => [this.board.run.regimes[code], at(name)])
      .filter(([, probability]) => probability >= 0.005)
      .sort((one, other) => other[1] - one[1])
      .map(([name, probability]) => `${name} ${Math.round(100 * probability)} %`);
    const mixture = sure.length ? [`Probable: ${sure.join(", ")}.`] : [];
    return ["Regime", this.board.run.regimes[regime], [`${may}; exits always stay.`, ...came, ...mixture]];
  }

  breakerStep(at, config) {
    const halted = at("halted") === 1;
    const was = at("halted", -1) === 1;
    const state = halted ? (was ? "still halted" : "HALTED now") : was ? "resumed now" : "not halted";
    return ["Circuit breaker", state, [`z is ${plainNumber(at("z"), 3)}; it halts below ${plainNumber(config.z_halt)} and resumes above ${plainNumber(config.z_resume)}.`]];
  }

  stopStep(row, held, ordered, config) {
    const lines = [];
    const close = this.close(row);
    for (const side of [1, -1]) {
      const { qty, average } = held[side];
      if (!qty) continue;
      const loss = side * (average - close);
      const where = Number.isFinite(loss) ? `, the close lies ${percent(Math.abs(loss) / average)} ${loss > 0 ? "against" : "for"} it` : "";
      lines.push(`${sideName(side)} holds ${plainNumber(qty)} at ${this.price(average)} on average${where}.`);
      const stops = [1, 2].map((stage) => [stage, this.board.stopPrice(side, stage, row)]).filter(([, price]) => Number.isFinite(price));
      if (stops.length) lines.push(`${stops.map(([stage, price]) => `Stage ${stage} at ${this.price(price)} (${config[`stop${stage}_atr`]} ATR)`).join(", ")}.`);
    }
    if (!lines.length) lines.push("Nothing is held, so nothing to stop.");
    else lines.push(`Stage 1 closes ${percent(config.stop1_share, 0)} when a candle closes beyond it, stage 2 all on the wick.`);
    return ["Stop loss", ordered.length ? "STOP follows" : "", [...lines, ...this.orderedLines(ordered)]];
  }

  marginStep(row, at, ordered, config) {
    const ratio = at("margin_ratio");
    const distance = Math.min(at("liquidation_down"), at("liquidation_up"));
    const lines = [
      `Margin ratio ${percent(ratio, 3)}; the margin call comes above ${percent(config.margin_call, 0)}.`,
      this.liquidationLine(at("liquidation_down"), at("liquidation_up")),
    ];
    const state = ratio > config.margin_call ? "MARGIN CALL" : distance < config.liquidation_warning ? "warning" : "safe";
    return ["Margin", state, [...lines, ...this.orderedLines(ordered)]];
  }

  liquidationLine(down, up) {
    const ways = [[down, "falls"], [up, "rises"]].filter(([by]) => Number.isFinite(by)).map(([by, way]) => `${way} by ${percent(by)}`);
    return ways.length ? `Liquidated if the price ${ways.join(" or ")}.` : "No price would liquidate the account.";
  }

  pruneStep(ordered, held) {
    if (ordered.length) return ["Pruning", `${ordered.length} cut`, this.orderedLines(ordered)];
    return ["Pruning", "", [held[1].qty || held[-1].qty ? "No fill was cut." : "Nothing is held."]];
  }

  anchorStep(row, at) {
    const anchor = at("anchor");
    const before = at("anchor", -1);
    const moved = before === before && anchor !== before;
    let how = "It stays.";
    if (moved) {
      const fresh = Math.abs(anchor - this.close(row)) <= 0.5 * (10 ** -this.board.symbol.price_decimals);
      how = fresh ? `It was ${this.price(before)} and starts anew at the close.` : `It was ${this.price(before)} and trails the price up by ${this.price(anchor - before)}.`;
    }
    return ["Anchor", this.price(anchor), [how]];
  }

  varStep(at, config) {
    const limit = config.var_pct * at("equity");
    const over = at("var") > limit;
    return ["Value at risk", over ? "NO NEW ENTRIES" : "within its limit", [`${money(at("var"))} of ${money(limit)} (${percent(config.var_pct, 1)} of the equity).`]];
  }

  gridStep(at, config) {
    const spacing = at("spacing_pct");
    const shift = at("centre") - at("anchor");
    return ["Grid", `centre ${this.price(at("centre"))}`, [
      `q is ${plainNumber(at("q"), 4)}: the inventory moves the centre by ${this.price(shift)} from the anchor.`,
      `Spacing ${percent(spacing, 3)}${Math.abs(spacing - config.floor_pct) < 1e-8 ? ", its floor" : ""}; volatility ${percent(at("sigma"), 3)} a bar.`,
      `A level is worth ${money(at("notional"))} before the funding tilt; Kelly multiplies by ${plainNumber(at("kelly"), 4)}.`,
    ]];
  }

  orderStep(row) {
    const { ladder, symbol } = this.board;
    const resting = `${symbol.column("resting_orders")[row]} resting, exits and stops included`;
    if (!ladder) return ["Orders", resting, ["The run kept no trace of the levels."]];
    return ["Orders", resting, [this.orderTable(row)]];
  }

  orderTable(row) {
    const { ladder } = this.board;
    const { blocked } = this.board.run;
    const table = element("table");
    table.append(element("caption", "Entries by level"));
    const head = element("tr");
    for (const name of ["level", "wanted", "resting", "what happened"]) {
      const cell = element("th", name);
      cell.scope = "col";
      head.append(cell);
    }
    table.append(element("thead", head));
    const body = element("tbody");
    const farFirst = (place) => (ladder.side(place) > 0 ? ladder.levels - place : ladder.levels + ladder.level(place));
    const places = Array.from({ length: ladder.places }, (_, place) => place).sort((a, b) => farFirst(b) - farFirst(a));
    for (const place of places) {
      const code = ladder.code(row, place);
      const action = ladder.action(row, place);
      const resting = ladder.resting(row, place);
      const exact = action === PLACE || action === REPLACE;
      const happened = code === PLACED ? ACTION_WORDS[action] : `${action === CANCEL ? "cancelled: " : "none: "}${blocked[code]}`;
      const name = element("th", `${sideName(ladder.side(place))} ${ladder.level(place)}`, ladder.side(place) > 0 ? "long" : "short");
      name.scope = "row";
      const wanted = ladder.wanted(row, place);
      const line_ = element("tr", [
        name, element("td", Number.isFinite(wanted) ? `${exact ? "" : "≈ "}${this.price(wanted)}` : "–"),
        element("td", Number.isFinite(resting) ? this.price(resting) : "–"), element("td", happened, "text"),
      ]);
      if (action !== KEEP) line_.className = "changed";
      if (code !== PLACED) line_.classList.add("blocked");
      body.append(line_);
    }
    table.append(body);
    return table;
  }

  fundingStep(row) {
    const { fundingPaid, time } = this.board.symbol;
    const index = lastAtOrBefore(fundingPaid.time, time[row]);
    if (index < 0 || fundingPaid.time[index] !== time[row]) return ["Funding", "", ["No settlement in this bar."]];
    const paid = ["long", "short"].map((side) => fundingPaid[side][index]);
    return ["Funding", "settled", [`Paid since the start: LONG ${money(paid[0])}, SHORT ${money(paid[1])}.`]];
  }

  equityStep(row, at) {
    const change = at("equity") - at("equity", -1);
    const index = lastAtOrBefore(this.board.wallet.time, this.board.symbol.time[row]);
    const lines = [`Wallet ${money(at("wallet"))}, unrealised ${signed(at("unrealized"))}.`];
    if (change === change) lines.push(`${signed(change)} since the bar before; ${percent(-this.board.drawdown[index])} below the highest.`);
    return ["Equity", money(at("equity")), lines];
  }

  // What LONG and SHORT hold after a bar, and at which average, from the fills.
  heldAfter(row) {
    const { held } = this.board;
    return Object.fromEntries([1, -1].map((side) => [side, { qty: held[side].qty[row], average: held[side].average[row] }]));
  }

  executions(row) {
    const { run, symbol } = this.board;
    const found = [];
    for (const trade of symbol.tradeList) {
      if (trade.closeRow !== row) continue;
      found.push(`${sideName(trade.side)} fill ${trade.trade_id} closed (${run.labels[trade.label].name}): ${plainNumber(trade.qty)} at ${this.price(trade.exit)}, opened at ${this.price(trade.entry)}${trade.close_time > trade.open_time ? `, ${duration(trade.close_time - trade.open_time)} before` : " in this very bar"}; net ${signed(trade.net)} (gross ${signed(trade.gross)}, fees ${money(trade.fees)}, funding ${money(trade.funding)}).`);
    }
    for (const fill of symbol.fills) {
      if (fill.row === row) found.push(`${sideName(fill.side)} fill ${fill.id} opened: ${plainNumber(fill.qty)} at ${this.price(fill.price)}.`);
    }
    return found;
  }

  // Closings decided at a bar are executed in the next one.
  orderedLines(trades) {
    const { run } = this.board;
    return trades.map((trade) => `In the next bar ${sideName(trade.side)} fill ${trade.trade_id} is closed (${run.labels[trade.label].name}): ${plainNumber(trade.qty)} at ${this.price(trade.exit)}, net ${signed(trade.net)}.`);
  }

  show(row, place) {
    const { symbol } = this.board;
    const { time } = symbol;
    place.replaceChildren();
    const candle = ["open", "high", "low", "close"].filter((name) => symbol.has(name)).map((name) => `${name} ${this.price(symbol.column(name)[row])}`);
    place.append(element("h3", `Bar ${(row + 1).toLocaleString("en")}, ${timeText(time[row])} UTC`));
    place.append(element("p", `${symbol.symbol} ${candle.join(", ")}`, "candle"));
    const executed = this.executions(row);
    place.append(element("h4", "Executed in this bar"));
    place.append(executed.length ? element("ul", executed.map((text) => element("li", text))) : element("p", "Nothing.", "quiet"));
    place.append(element("h4", "Decided at its close"));
    const list = element("ol", "", "steps");
    for (const [title, state, lines] of this.steps(row)) {
      const item = element("li");
      item.append(element("b", title), element("span", state, /[A-Z]{4}/.test(state) && title !== "Regime" ? "state loud" : "state"));
      for (const line_ of lines) item.append(line_ instanceof Node ? line_ : element("p", line_));
      list.append(item);
    }
    place.append(list);
  }

  close(row) {
    return this.board.symbol.has("close") ? this.board.symbol.column("close")[row] : NaN;
  }

  price(value) {
    return plainNumber(value, this.board.symbol.price_decimals);
  }
}
