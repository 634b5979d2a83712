// The page of the desk. Everything a bot or an exchange has written is put in as text, never as markup.

import { drawCandles, drawCurve } from "./live_chart.js";

const view = document.getElementById("view");
const ask = document.getElementById("ask");
const state = { csrf: "", role: "", bars: new Map(), fillsFrom: 0, charts: [], changes: null, busy: false, again: false, actions: null };

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function get(path, body) {
  const wish = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-CSRF-Token": state.csrf } };
  const answer = await fetch(`/api/v1${path}`, wish);
  const value = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, typeof value.detail === "string" ? value.detail : "the desk did not understand");
  return value;
}

function tell(error) {
  const place = document.getElementById("problem");
  place.textContent = error ? error.message : "";
  place.hidden = !error;
  if (error instanceof Refused && error.status === 401) showLogin();
}

function showLogin() {
  document.getElementById("login").hidden = false;
  document.getElementById("logout").hidden = true;
  state.changes?.close();
  view.replaceChildren();
  document.getElementById("token").focus();
}

// --- tables

function table(columns, rows, rowClass = () => "", onClick = null) {
  const head = element("tr", columns.map(([name, , kind]) => element("th", name, kind ?? "")));
  const body = rows.map((row) => {
    const line = element("tr", columns.map(([, cell, kind]) => element("td", cell(row) ?? "–", kind ?? "")), rowClass(row));
    if (onClick) line.addEventListener("click", () => onClick(row));
    return line;
  });
  return element("div", element("table", [element("thead", head), element("tbody", body)]), "scroll");
}

function section(title, ...parts) {
  return element("section", [element("h2", title), ...parts]);
}

function tiles(pairs) {
  return element("dl", pairs.map(([name, value, className]) => element("div", [element("dt", name), element("dd", value, className ?? "")])), "tiles");
}

function profitOf(value) {
  const node = element("span", value === null || value === undefined ? "–" : signed(value));
  node.className = value > 0 ? "good" : value < 0 ? "bad" : "";
  return node;
}

const far = (value) => (value === null || value === undefined ? "none" : percent(value, 1));
const clock = (text) => (text ? `${text.slice(0, 16).replace("T", " ")}` : "–");

function stateOf(bot) {
  const paused = Object.keys(bot.pauses ?? {}).length > 0;
  return element("span", paused ? `${bot.state}, paused` : bot.state, `state ${paused && bot.state === "running" ? "paused" : bot.state}`);
}

// --- all bots

async function showAll() {
  const bots = await get("/bots");
  document.getElementById("where").textContent = `${bots.length} bots`;
  const columns = [
    ["bot", (bot) => bot.bot], ["state", stateOf], ["equity", (bot) => money(bot.equity), "n"], ["profit", (bot) => profitOf(bot.profit), "n"],
    ["drawdown", (bot) => percent(bot.drawdown, 1), "n"], ["long", (bot) => money(bot.exposure_long), "n less"], ["short", (bot) => money(bot.exposure_short), "n less"],
    ["margin", (bot) => percent(bot.margin_ratio, 1), "n less"], ["liquidation", (bot) => far(bot.liquidation_distance), "n"],
    ["last bar", (bot) => clock(bot.last_bar), "less"], ["last alert", (bot) => bot.last_alert ?? "", "less"],
  ];
  view.replaceChildren(
    bots.length ? table(columns, bots, () => "row", (bot) => (location.hash = `bot/${bot.bot}`)) : element("p", "No bot has begun here yet; one that does appears by itself."),
  );
}

// --- one bot

async function showBot(name) {
  const at = `/bots/${encodeURIComponent(name)}`;
  const bot = await get(at);
  const symbol = bot.symbol_names[0];
  const one = symbol ? `symbol=${encodeURIComponent(symbol)}` : "";
  const bar = state.bars.get(name);
  const [legs, orders, fills, curve, candles, alerts, commands, why] = await Promise.all([
    get(`${at}/legs`), get(`${at}/orders?${one}`), get(`${at}/fills?first=${state.fillsFrom}&count=20`), get(`${at}/equity?points=800`),
    get(`${at}/candles?${one}&count=300`), get(`${at}/logs?count=20`), get(`${at}/commands`), get(`${at}/why?${one}${bar ? `&bar=${encodeURIComponent(bar)}` : ""}`),
  ]);
  document.getElementById("where").replaceChildren(name, " · ", stateOf(bot));
  const small = element("div", "", "curve");
  const chart = element("div", "", "chart");
  view.replaceChildren(
    figures(bot),
    legTable(legs),
    state.role === "commands" ? actions(name, bot, legs) : element("p", "This token only reads.", "span"),
    ...bot.mismatch.slice(0, 3).map((one) => element("div", `${clock(one.clock)} ${one.what.replaceAll("_", " ")}: ${one.text ?? one.symbol ?? ""}`, "banner")),
    commandTable(commands),
    small,
    section("Profit", profitTable(bot.pnl)),
    section("Candles, open orders and fills", chart),
    section("Fills that are open, and what would cut them", bulletTable(legs)),
    section("Planned against open orders", ladderTable(orders.ladder)),
    whySection(name, why, candles),
    section(`Fills (${fills.total.toLocaleString("en")})`, fillTable(fills), pager(name, fills)),
    section("Alerts and failures", table([["when", (one) => clock(one.clock ?? one.at)], ["what", (one) => one.what ?? one.kind], ["text", (one) => one.text ?? "", "wide"]], alerts)),
    bot.audit ? section("Latest audit", element("pre", JSON.stringify(bot.audit, null, 1))) : "",
    element("p", Object.assign(element("a", "Incident bundle: the latest records without any secret"), { href: `/api/v1${at}/bundle` })),
  );
  for (const old of state.charts) old.remove();
  state.charts = [drawCurve(small, curve), drawCandles(chart, candles, orders.open, legs, (await get(`${at}/fills?count=200`)).rows)];
}

function figures(bot) {
  return tiles([
    ["equity", money(bot.equity)], ["profit", profitOf(bot.profit)], ["drawdown", percent(bot.drawdown, 2)],
    ["long / short", `${shortNumber(bot.exposure_long)} / ${shortNumber(bot.exposure_short)}`], ["margin ratio", percent(bot.margin_ratio, 2)], ["to liquidation", far(bot.liquidation_distance)],
  ]);
}

function legTable(legs) {
  const several = new Set(legs.map((leg) => leg.symbol)).size > 1;
  return table(
    [
      ["leg", (leg) => (several ? `${leg.symbol} ${leg.side}` : leg.side)], ["qty", (leg) => plainNumber(leg.qty), "n"], ["average", (leg) => (leg.average ? plainNumber(leg.average, 2) : "–"), "n"],
      ["unrealised", (leg) => profitOf(leg.unrealized), "n"], ["break-even", (leg) => (leg.break_even ? plainNumber(leg.break_even, 2) : "–"), "n less"],
      ["stop", (leg) => (leg.stop ? plainNumber(leg.stop, 2) : "–"), "n less"], ["fees", (leg) => money(leg.fees), "n less"], ["funding", (leg) => money(leg.funding), "n less"],
      ["fills", (leg) => String(leg.fills), "n"], ["entries", (leg) => (leg.paused?.length ? "paused" : String(leg.entries)), "n"],
    ],
    legs,
    (leg) => leg.side,
  );
}

function profitTable(pnl) {
  const parts = [["realised by the grid", "realized_grid"], ["fees", "fees"], ["funding", "funding"], ["unrealised", "unrealized"], ["total", "total"]];
  const rows = parts.map(([name, key]) => ({ name, value: pnl[key] }));
  if (Math.abs(pnl.difference ?? 0) >= 0.01) rows.push({ name: "does not add up to the recorded equity by", value: pnl.difference });
  return table([["part", (row) => row.name], ["USDT", (row) => profitOf(row.value), "n"]], rows);
}

function cutText(cut) {
  const due = cut.due ? " NOW" : "";
  if (cut.rule === "oldest") return `oldest in ${cut.hours_left.toFixed(1)} h${due}`;
  if (cut.rule === "funding") return `funding ${money(cut.paid)} of ${money(cut.limit)}${due}`;
  if (cut.rule === "offset") return `offset below ${plainNumber(cut.price, 2)}, costs ${money(cut.cost)}`;
  return `${cut.rule} at ${plainNumber(cut.price, 2)} (${percent(cut.distance, 1)})${due}`;
}

function bulletTable(legs) {
  const rows = legs.flatMap((leg) => (leg.bullets ?? []).map((bullet) => ({ ...bullet, leg: `${leg.symbol} ${leg.side}` })));
  if (!rows.length) return element("p", "Nothing is held.", "span");
  return table(
    [
      ["leg", (one) => one.leg], ["qty", (one) => plainNumber(one.qty), "n"], ["entry", (one) => plainNumber(one.price, 2), "n"], ["exit", (one) => (one.exit ? plainNumber(one.exit, 2) : "–"), "n"],
      ["age", (one) => duration(one.age_hours * 3600000), "n"], ["unrealised", (one) => profitOf(one.unrealized), "n"], ["funding", (one) => money(one.funding), "n"],
      ["next", (one) => (one.cut_now ? `${one.cut_now} now; ` : "") + one.cuts.map(cutText).join(" · "), "wide"],
    ],
    rows,
  );
}

function ladderTable(ladder) {
  const rows = ladder.map((level) => ({ ...level, why: level.open ? "open" : level.why }));
  return table(
    [["side", (one) => one.side], ["level", (one) => String(one.level), "n"], ["planned", (one) => (one.price ? plainNumber(one.price, 8) : "–"), "n"], ["open at", (one) => (one.open_price ? plainNumber(one.open_price, 8) : "–"), "n"], ["why", (one) => one.why, "wide"]],
    rows,
  );
}

function whySection(name, why, candles) {
  const choose = element("select");
  choose.append(...candles.map(([time]) => element("option", time)).reverse());
  if (why.bar) choose.value = why.bar;
  choose.setAttribute("aria-label", "bar");
  choose.addEventListener("change", () => {
    state.bars.set(name, choose.value);
    show();
  });
  const latest = button("latest", "", () => {
    state.bars.delete(name);
    show();
  });
  const row = Object.entries(why.row ?? {}).map(([key, value]) => ({ key, value }));
  const counts = new Map();
  for (const level of why.levels) counts.set(`${level.side}: ${level.why}`, (counts.get(`${level.side}: ${level.why}`) ?? 0) + 1);
  const reasons = [...counts].map(([text, count]) => ({ text, count }));
  const figures = table([["figure", (one) => one.key.replaceAll("_", " ")], ["value", (one) => String(one.value)]], row);
  return section(
    "Why",
    element("div", [choose, latest], "actions"),
    reasons.length ? table([["levels", (one) => String(one.count), "n"], ["of", (one) => one.text, "wide"]], reasons) : element("p", "No decision is on record at this bar.", "span"),
    element("details", [element("summary", "the figures of the bar"), figures]),
    element("details", [element("summary", `${why.events.length} orders, cancels and fills then`), table([["what", (one) => one.kind], ["order", (one) => one.id ?? one.order ?? ""], ["price", (one) => (one.price ? plainNumber(one.price, 8) : "–"), "n"], ["qty", (one) => (one.qty ? plainNumber(one.qty) : "–"), "n"]], why.events)]),
  );
}

function fillTable(fills) {
  return table(
    [["when", (one) => timeText(one.time)], ["leg", (one) => `${one.symbol} ${one.side}`], ["", (one) => (one.buy ? "buy" : "sell")], ["qty", (one) => plainNumber(one.qty), "n"], ["price", (one) => plainNumber(one.price, 8), "n"], ["fee", (one) => plainNumber(one.fee, 4), "n less"], ["order", (one) => one.order ?? "", "less"]],
    fills.rows,
  );
}

function pager(name, fills) {
  const go = (first) => () => {
    state.fillsFrom = first;
    show();
  };
  const newer = button("newer", "", go(Math.max(fills.first - 20, 0)));
  const older = button("older", "", go(fills.first + 20));
  newer.disabled = fills.first === 0;
  older.disabled = fills.first + 20 >= fills.total;
  return element("div", [newer, older], "actions");
}

// --- commands

// The buttons stay while what is around them changes, so that a click meets what it was aimed at and the scope stays.
function actions(name, bot, legs) {
  const key = [name, ...legs.map((leg) => `${leg.symbol} ${leg.side}`)].join();
  if (state.actions?.key !== key) state.actions = { key, node: newActions(name, bot, legs) };
  return state.actions.node;
}

function newActions(name, bot, legs) {
  const scope = element("select");
  scope.id = "scope";
  scope.setAttribute("aria-label", "what the command is about");
  const scopes = ["account", ...bot.symbol_names, ...legs.filter((leg) => leg.side !== "NET").map((leg) => `${leg.symbol} ${leg.side}`)];
  scope.append(...scopes.map((text) => element("option", text)));
  const act = (action, text, className = "") => button(text, className, () => preview(name, action, scope.value).catch(tell));
  return element("div", [scope, act("pause", "Pause"), act("resume", "Resume"), act("flatten", "Flatten…", "danger"), act("take_out", "Take out", "less"), act("cancel", "Cancel entries"), act("resync", "Resync")], "actions");
}

async function preview(name, action, scope) {
  const at = `/bots/${encodeURIComponent(name)}`;
  const found = await get(`${at}/preview?action=${action}&scope=${encodeURIComponent(scope)}`);
  const says = [`${found.legs.join(", ")}`, `${found.entries_cancelled} entries are cancelled`];
  for (const close of found.closes) says.push(`${close.symbol} ${close.side}: ${plainNumber(close.qty)} is closed at market, ${money(close.exposure)} USDT`);
  if (action === "flatten") says.push(`fee about ${money(found.fee)}, realises about ${signed(found.realizes)} USDT`);
  if (found.pauses) says.push("it stays paused until you resume it");
  if (found.exits_and_stops_stay) says.push("exits and stops stay");
  const typed = element("input");
  typed.id = "confirm";
  typed.setAttribute("aria-label", "type to confirm");
  const go = button(action.replace("_", " "), action === "flatten" ? "danger" : "", async () => {
    try {
      await get(`${at}/commands`, { action, scope, confirm: typed.value });
      ask.close();
      await show();
    } catch (error) {
      tell(error);
    }
  });
  go.id = "go";
  if (found.confirm) {
    go.disabled = true;
    typed.addEventListener("input", () => (go.disabled = typed.value !== found.confirm));
  }
  const confirm = found.confirm ? [element("p", `To confirm, type ${found.confirm}`), typed] : [];
  ask.replaceChildren(element("h2", `${action.replace("_", " ")} ${scope}`), element("ul", says.map((text) => element("li", text))), ...confirm, element("div", [go, button("leave it", "", () => ask.close())], "actions"));
  ask.showModal();
}

function commandTable(commands) {
  if (!commands.length) return "";
  const columns = [["command", (one) => `${one.action ?? ""} ${one.scope ?? one.id}`], ["state", (one) => (one.state === "waits" ? "waits for the bot" : one.state)], ["obeyed", (one) => clock(one.answered)], ["what was done", (one) => one.text ?? "", "wide"]];
  return element("details", [element("summary", `commands: the latest is ${commands[0].action ?? ""} ${commands[0].scope ?? ""}, ${commands[0].state === "waits" ? "waiting for the bot" : commands[0].state}`), table(columns, commands.slice(0, 10))]);
}

// --- what is shown

// One at a time: an older answer must not be drawn over a newer one.
async function show() {
  state.again = true;
  if (state.busy) return;
  state.busy = true;
  while (state.again) {
    state.again = false;
    try {
      const [kind, name] = location.hash.replace("#", "").split("/");
      if (kind === "bot" && name) await showBot(decodeURIComponent(name));
      else await showAll();
      tell(null);
    } catch (error) {
      tell(error);
    }
  }
  state.busy = false;
}

function follow() {
  state.changes?.close();
  state.changes = new EventSource("/api/v1/stream");
  const live = document.getElementById("live");
  state.changes.addEventListener("changed", () => {
    live.textContent = "live";
    if (!ask.open) show();
  });
  state.changes.addEventListener("error", () => (live.textContent = "not connected"));
}

async function begin() {
  try {
    Object.assign(state, await get("/session"));
    document.getElementById("login").hidden = true;
    document.getElementById("logout").hidden = false;
    follow();
    await show();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) showLogin();
    else tell(error);
  }
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await get("/login", { token: document.getElementById("token").value });
    document.getElementById("token").value = "";
    await begin();
  } catch (error) {
    document.getElementById("problem").hidden = false;
    document.getElementById("problem").textContent = error.message;
  }
});
document.getElementById("logout").addEventListener("click", async () => {
  await get("/logout", {}).catch(() => null);
  showLogin();
});
addEventListener("hashchange", () => {
  state.fillsFrom = 0;
  show();
});
begin();
