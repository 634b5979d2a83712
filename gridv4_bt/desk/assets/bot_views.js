// The tables and tiles of a bot. Everything a bot or an exchange has written is put in as text, never as markup.

export function table(columns, rows, rowClass = () => "", onClick = null) {
  const head = element("tr", columns.map(([name, , kind]) => element("th", name, kind ?? "")));
  const body = rows.map((row) => {
    const line = element("tr", columns.map(([, cell, kind]) => element("td", cell(row) ?? "–", kind ?? "")), rowClass(row));
    if (onClick) line.addEventListener("click", () => onClick(row));
    return line;
  });
  return element("div", element("table", [element("thead", head), element("tbody", body)]), "scroll");
}

// Those that were opened stay open when what is in them is drawn anew.
const opened = new Set();

function details(name, summary, content) {
  const node = element("details", [element("summary", summary), content]);
  node.open = opened.has(name);
  node.addEventListener("toggle", () => (node.open ? opened.add(name) : opened.delete(name)));
  return node;
}

function tiles(pairs) {
  return element("dl", pairs.map(([name, value, className]) => element("div", [element("dt", name), element("dd", value, className ?? "")])), "tiles");
}

function profitOf(value) {
  const node = element("span", value === null || value === undefined ? "–" : signed(value));
  node.className = value > 0 ? "good" : value < 0 ? "bad" : "";
  return node;
}

const nothing = (text) => element("p", text, "span");
const far = (value) => (value === null || value === undefined ? "none" : value > 10 ? "> 1000 %" : percent(value, 1));
const price = (value, digits = 8) => (value ? plainNumber(value, digits) : "–");
export const clock = (text) => (text ? `${text.slice(0, 16).replace("T", " ")}` : "–");
// Prices that are worked out have more digits than the market: as many as say them well.
const digitsOf = (value) => Math.max(6 - Math.ceil(Math.log10(Math.abs(value) || 1)), 0);
const priceDigits = (leg) => digitsOf(leg.average);
// Breaks between day and time only.
const when = (text) => element("span", [element("span", text.slice(0, 10), "day"), text.slice(10)]);
const words = (text) => String(text ?? "").replaceAll("_", " ");

export function stateOf(bot) {
  const paused = Object.keys(bot.pauses ?? {}).length > 0;
  return element("span", paused ? `${bot.state}, paused` : bot.state, `state ${paused && bot.state === "running" ? "paused" : bot.state}`);
}

// --- all bots

export function botTable(bots, onClick) {
  const columns = [
    ["bot", (bot) => bot.bot], ["state", stateOf], ["equity", (bot) => money(bot.equity), "n"], ["profit", (bot) => profitOf(bot.profit), "n"],
    ["drawdown", (bot) => percent(bot.drawdown, 1), "n less"], ["long", (bot) => money(bot.exposure_long), "n less"], ["short", (bot) => money(bot.exposure_short), "n less"],
    ["margin", (bot) => percent(bot.margin_ratio, 1), "n less"], ["to liquidation", (bot) => element("span", far(bot.liquidation_distance), bot.liquidation_warning ? "bad" : ""), "n"],
    ["last bar", (bot) => clock(bot.last_bar), "less"], ["what a person should look at", (bot) => looksAt(bot), "wide less"],
  ];
  return table(columns, bots, () => "row", onClick);
}

function looksAt(bot) {
  const mismatch = bot.mismatches ? `exchange and bot differed ${bot.mismatches} times in a day` : "";
  const alert = bot.last_alert ? `${clock(bot.last_alert)} ${words(bot.last_alert.split(" ").slice(1).join(" "))}` : "";
  return [bot.reason, bot.liquidation_warning, mismatch, alert].filter(Boolean).join("; ");
}

// --- one bot

export function figures(bot) {
  const together = bot.risk?.together ?? {};
  const warned = bot.liquidation_warning ? "bad" : "";
  return tiles([
    ["equity", money(bot.equity)], ["profit", profitOf(bot.profit)], ["drawdown", percent(bot.drawdown, 2)],
    ["long / short", `${shortNumber(Math.round(bot.exposure_long))} / ${shortNumber(Math.round(bot.exposure_short))}`], ["margin ratio", percent(bot.risk?.margin_ratio ?? bot.margin_ratio, 2), warned], ["to liquidation", far(bot.liquidation_distance), warned],
    ...(Object.keys(bot.symbols ?? {}).length > 1 ? [["if all fall / rise", `${far(together.down)} / ${far(together.up)}`, warned]] : []),
  ]);
}

// What is wrong now.
export function banners(bot) {
  const found = [];
  if (bot.state === "stale") found.push(element("div", `Stale: ${bot.reason}. Its stops stay at the exchange; look at its log and start it again.`, "banner"));
  if (bot.liquidation_warning) found.push(element("div", `Liquidation: ${bot.liquidation_warning}.`, "banner"));
  return found;
}

// Where exchange and bot have differed on the last day.
export function mismatches(bot) {
  if (!bot.mismatch.length) return "";
  const lines = bot.mismatch.slice(0, 3).map((one) => element("p", `${clock(one.clock)} ${words(one.what)}: ${eventText(one)}`));
  const more = bot.mismatch.length > 3 ? [element("p", `and ${bot.mismatch.length - 3} more of the last day, in the log below`)] : [];
  return element("div", [element("p", "Exchange and bot have differed:"), ...lines, ...more], "banner mild");
}

export function legTable(legs) {
  const several = new Set(legs.map((leg) => leg.symbol)).size > 1;
  return table(
    [
      ["leg", (leg) => (several ? `${leg.symbol} ${leg.side}` : leg.side), "leg"], ["qty", (leg) => plainNumber(leg.qty), "n"], ["average", (leg) => price(leg.average, priceDigits(leg)), "n"],
      ["unrealised", (leg) => profitOf(leg.unrealized), "n"], ["break-even", (leg) => price(leg.break_even, priceDigits(leg)), "n less"],
      ["stop", (leg) => price(leg.stop), "n less"], ["liquidation", (leg) => price(leg.liquidation, priceDigits(leg)), "n less"], ["fees", (leg) => money(leg.fees), "n less"], ["funding", (leg) => money(leg.funding), "n less"],
      ["fills", (leg) => String(leg.fills), "n"], ["entries", (leg) => (leg.paused?.length ? "paused" : String(leg.entries)), "n"],
    ],
    legs,
    (leg) => leg.side,
  );
}

export function profitTable(pnl) {
  if (!pnl) return nothing("Nothing is decided yet.");
  const parts = [["realised by the grid", "realized_grid"], ["fees", "fees"], ["funding", "funding"], ["unrealised", "unrealized"], ["total", "total"]];
  const rows = parts.map(([name, key]) => ({ name, value: pnl[key] }));
  if (Math.abs(pnl.difference ?? 0) >= 0.01) rows.push({ name: "does not add up to the recorded equity by", value: pnl.difference });
  return table([["part", (row) => row.name], ["USDT", (row) => profitOf(row.value), "n"]], rows, (row) => (row.name === "total" ? "NET" : ""));
}

export function profitRows(rows, by) {
  const parts = [["realised", "realized_grid"], ["fees", "fees"], ["funding", "funding"], ["unrealised", "unrealized"], ["total", "total"]];
  const columns = [[by, (row) => row[by]], ...parts.map(([name, key]) => [name, (row) => profitOf(row[key]), key === "total" || key === "realized_grid" ? "n" : "n less"]), ["closings", (row) => plainNumber(row.trades), "n"]];
  return rows.length ? table(columns, by === "day" ? [...rows].reverse() : rows) : nothing("No trade is closed yet.");
}

export function cycleTable(cycles) {
  const columns = [["leg", (one) => `${one.symbol} ${one.side}`], ["from", (one) => clock(one.begin)], ["until flat", (one) => clock(one.end)], ["closings", (one) => String(one.closings), "n"], ["net", (one) => profitOf(one.net), "n"]];
  return cycles.length ? table(columns, cycles) : nothing("No trade is closed yet.");
}

function cutText(cut) {
  const due = cut.due ? " NOW" : "";
  if (cut.rule === "oldest") return `oldest in ${cut.hours_left.toFixed(1)} h${due}`;
  if (cut.rule === "funding") return `funding ${money(cut.paid)} of ${money(cut.limit)}${due}`;
  if (cut.rule === "offset") return `offset below ${plainNumber(cut.price, digitsOf(cut.price))}, costs ${money(cut.cost)}`;
  return `${cut.rule} at ${plainNumber(cut.price, digitsOf(cut.price))} (${percent(cut.distance, 1)})${due}`;
}

export function bulletTable(legs) {
  const rows = legs.flatMap((leg) => (leg.bullets ?? []).map((bullet) => ({ ...bullet, leg: `${leg.symbol} ${leg.side}` })));
  if (!rows.length) return nothing("Nothing is held.");
  const node = table(
    [
      ["leg", (one) => one.leg, "leg"], ["qty", (one) => plainNumber(one.qty), "n"], ["entry", (one) => price(one.price), "n"], ["exit", (one) => price(one.exit), "n"],
      ["age", (one) => duration(one.age_hours * 3600000), "n"], ["unrealised", (one) => profitOf(one.unrealized), "n"], ["funding", (one) => money(one.funding), "n less"],
    ],
    rows,
  );
  node.querySelectorAll("tbody tr").forEach((line, i) => {
    const { cut_now: now, cuts } = rows[i];
    const text = element("td", [now ? element("b", `${now} now; `, "bad") : "", cuts.map(cutText).join(" · ")], "wide");
    text.colSpan = line.children.length;
    line.after(element("tr", text, "more"));
  });
  return node;
}

export function orderTable(orders, close) {
  if (!orders.length) return nothing("No order is open.");
  const away = (one) => (close && one.price ? percent(one.price / close - 1, 1) : "–");
  const what = (one) => (one.kind === "entry" ? `entry, level ${one.ref}` : one.kind === "exit" ? `exit of fill ${one.ref}` : one.kind);
  return table(
    [
      ["leg", (one) => one.side], ["for", what], ["price", (one) => price(one.price, 8), "n"], ["away", away, "n"], ["qty", (one) => (one.qty ? plainNumber(one.qty) : "all"), "n"],
      ["filled", (one) => (one.filled ? plainNumber(one.filled) : "–"), "n less"], ["", (one) => (one.status === "open" ? "" : one.status)], ["id", (one) => one.id, "less"],
    ],
    orders,
  );
}

export function ladderTable(ladder) {
  const rows = ladder.map((level) => ({ ...level, why: level.open ? "open" : level.why }));
  return table(
    [["side", (one) => one.side], ["level", (one) => String(one.level), "n"], ["planned", (one) => price(one.price, 8), "n"], ["open at", (one) => price(one.open_price, 8), "n"], ["why", (one) => one.why, "wide"]],
    rows,
  );
}

const FIGURES = ["equity", "wallet", "unrealized", "long_qty", "short_qty", "regime", "halted", "z", "sigma", "q", "anchor", "centre", "var", "margin_ratio", "resting_orders"];

export function whyTables(why) {
  const row = FIGURES.filter((key) => why.row?.[key] !== undefined && why.row[key] !== "").map((key) => ({ key, value: why.row[key] }));
  for (const key of ["close", "kama", "atr", "spacing_pct", "kelly", "notional", "funding_rate", "realized_today", "cools"]) {
    if (why.decision?.[key] !== undefined && why.decision[key] !== null) row.push({ key, value: why.decision[key] });
  }
  const counts = new Map();
  for (const level of why.levels) counts.set(`${level.side}: ${level.why}`, [...(counts.get(`${level.side}: ${level.why}`) ?? []), level.level]);
  const reasons = [...counts].map(([text, levels]) => ({ text, levels }));
  const figure = (value) => (Number.isFinite(Number(value)) && value !== true && value !== false ? plainNumber(Number(value), 6) : String(value));
  const orders = [["what", (one) => words(one.kind)], ["order", (one) => one.id ?? one.order ?? ""], ["price", (one) => price(one.price, 8), "n"], ["qty", (one) => (one.qty ? plainNumber(one.qty) : "–"), "n"]];
  return [
    reasons.length ? table([["levels", (one) => spans(one.levels)], ["of", (one) => one.text, "wide"]], reasons) : nothing(why.bar ? `No decision is on record for ${clock(why.bar)}.` : "Nothing is decided yet."),
    details("figures", "the figures of the bar", table([["figure", (one) => words(one.key)], ["value", (one) => figure(one.value), "n"]], row)),
    details("orders", `${why.events.length} orders, cancels and fills then`, table(orders, why.events)),
  ];
}

// Numbers as people write them: 1-3, 7.
function spans(numbers) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");
}

export function fillTable(fills, several) {
  if (!fills.total) return nothing("Nothing is filled yet.");
  return table(
    [["when", (one) => when(timeText(one.time)), "leg"], ["leg", (one) => (several ? `${one.symbol} ${one.side}` : one.side), "leg"], ["", (one) => (one.buy ? "buy" : "sell")], ["qty", (one) => plainNumber(one.qty), "n"], ["price", (one) => plainNumber(one.price, 8), "n"], ["for", (one) => words(one.reason)], ["fee", (one) => (one.fee === null ? "–" : plainNumber(one.fee, 4)), "n less"], ["order", (one) => one.order ?? "", "less"]],
    fills.rows,
  );
}

export function fundingTable(page) {
  if (!page.total) return nothing("No funding is settled yet.");
  const columns = [["when", (one) => when(timeText(one.time)), "leg"], ["symbol", (one) => one.symbol], ["rate", (one) => percent(one.rate, 4), "n"], ["mark", (one) => price(one.mark, 8), "n less"], ["received", (one) => profitOf(-one.paid), "n"]];
  return table(columns, page.rows);
}

const SHOWN = new Set(["at", "kind", "clock", "what", "text"]);

function eventText(one) {
  const value = (each) => (typeof each === "number" && !Number.isInteger(each) ? plainNumber(each, 6) : String(each));
  const rest = Object.entries(one).filter(([key, each]) => !SHOWN.has(key) && each !== null && typeof each !== "object");
  return [one.text, rest.map(([key, each]) => `${words(key)} ${value(each)}`).join(", ")].filter(Boolean).join("; ");
}

export function eventTable(rows) {
  if (!rows.length) return nothing("There is none.");
  return table([["when", (one) => when(clock(one.clock ?? one.at)), "leg"], ["what", (one) => words(one.what ?? one.kind), "leg"], ["text", eventText, "wide"]], rows);
}

export function auditText(audit) {
  if (!audit) return nothing("The bot has not audited itself yet: started with --max-drift, it compares itself with its backtest once a day.");
  const drift = percent(audit.drift ?? 0, 4);
  const causes = Object.entries(audit.causes).map(([cause, count]) => `${words(cause)} (${count})`).join(", ");
  const fills = `${audit.matched} fills match, ${audit.missed} only in the backtest, ${audit.extra} only live`;
  return element("p", `Audit of ${clock(audit.clock ?? audit.at)}: drift ${drift} of the start equity at most; ${fills}; ${causes ? `differences by ${causes}` : "nothing differs"}.`);
}

export function differenceTable(rows) {
  const both = (one, name) => `${one[`live_${name}`] ?? "–"} / ${one[`backtest_${name}`] ?? "–"}`;
  const columns = [["when", (one) => clock(one.time)], ["leg", (one) => `${one.symbol} ${one.side}`], ["for", (one) => one.purpose], ["differs", (one) => one.differs], ["cause", (one) => words(one.cause) + (one.follows ? " (follows)" : "")], ["qty: live / backtest", (one) => both(one, "qty"), "n"], ["price: live / backtest", (one) => both(one, "price"), "n"]];
  return rows.length ? details("differences", `${rows.length} fills differ`, table(columns, [...rows].reverse().slice(0, 200))) : "";
}

export function parameterTable(config) {
  return table([["name", ([name]) => name], ["value", ([, value]) => String(value)]], Object.entries(config));
}

export function commandTable(commands) {
  if (!commands.length) return "";
  const waits = (one) => (one.state === "waits" ? "waits for the bot" : one.state);
  const columns = [["given", (one) => clock(one.at)], ["by", (one) => one.by ?? "", "less"], ["command", (one) => `${words(one.action)} ${one.scope ?? one.id}`], ["state", waits], ["obeyed", (one) => clock(one.answered)], ["what was done", (one) => one.text ?? "", "wide"]];
  const [latest] = commands;
  return details("commands", `commands: the latest is ${latest.action ?? ""} ${latest.scope ?? ""}, ${latest.state === "waits" ? "waiting for the bot" : latest.state}`, table(columns, commands.slice(0, 50)));
}
