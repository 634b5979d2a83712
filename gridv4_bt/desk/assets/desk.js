// The page of the desk. Everything a bot or an exchange has written is put in as text, never as markup.

import { auditText, banners, botTable, bulletTable, clock, commandTable, cycleTable, differenceTable, eventTable, figures, fillTable, fundingTable, ladderTable, legTable, mismatches, orderTable, parameterTable, profitRows, profitTable, stateOf, whyTables } from "./bot_views.js";
import { CandleChart, ComparedCurves, EquityCurve } from "./live_chart.js";

const LOOK_MS = 20000;
const view = document.getElementById("view");
const ask = document.getElementById("ask");
const state = { csrf: "", role: "", shown: null, changes: null, busy: false, again: false, actions: null };

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
  state.role = "";
  leave();
  document.getElementById("where").replaceChildren();
  document.getElementById("token").focus();
}

// --- all bots

async function showAll() {
  const bots = await get("/bots");
  leave();
  document.getElementById("where").textContent = `${bots.length} ${bots.length === 1 ? "bot" : "bots"}`;
  view.replaceChildren(bots.length ? botTable(bots, (bot) => (location.hash = `bot/${bot.bot}`)) : element("p", "No bot has begun here yet; one that does appears by itself."));
}

// --- one bot

// The parts of a bot's page, which stay while what is in them is drawn anew.
class BotPage {
  constructor(name) {
    this.name = name;
    this.at = `/bots/${encodeURIComponent(name)}`;
    this.chosen = { symbol: "", bar: "", fills: 0, profit: "day", log: "alerts", logFrom: 0, funding: 0 };
    this.parts = new Map();
    const place = (key) => this.parts.set(key, element("div")).get(key);
    const part = (key, title, ...tools) => element("section", [element("h2", title), ...tools, place(key)]);
    this.symbols = this.choice("symbol", "symbol", []);
    this.symbols.parentNode.hidden = true;
    this.bar = element("input");
    Object.assign(this.bar, { type: "datetime-local", step: 900, id: "bar" });
    this.bar.setAttribute("aria-label", "open time of the bar, UTC");
    this.bar.addEventListener("change", () => this.choose("bar", this.bar.value ? `${this.bar.value.slice(0, 16)}:00Z` : ""));
    const steps = element("div", [button("earlier", "", () => this.step(-1)), this.bar, button("later", "", () => this.step(1)), button("latest", "", () => this.choose("bar", "")), element("span", "UTC; or click a candle", "span")], "actions");
    this.equity = element("div", "", "curve");
    this.candles = element("div", "", "chart");
    this.compared = element("div", "", "curve");
    this.compared.hidden = true;
    const profits = this.choice("profit", "by", ["day", "symbol", "side", "cycle"]);
    const logs = this.choice("log", "show", ["alerts", "log", "all events", "funding"], () => (this.chosen.logFrom = 0));
    this.node = element("div", [
      place("figures"), place("banners"), place("legs"), place("actions"), place("commands"), place("mismatches"),
      element("section", [element("h2", "Equity"), this.equity]),
      this.symbols.parentNode,
      element("section", [element("h2", "Candles, open orders and fills"), this.candles, place("left")]),
      part("bullets", "Fills that are open, and what would cut them"),
      element("div", [
        element("div", [part("why", "Why", steps), part("ladder", "Planned against open orders")]),
        element("div", [part("orders", "Open orders"), part("profit", "Profit"), part("profits", "Profit by", profits.parentNode)]),
      ], "pairs"),
      element("section", [element("h2", "Beside the backtest"), place("audit"), this.compared, place("differences")]),
      part("fills", "Fills"),
      part("log", "Log", logs.parentNode),
      this.parameters(),
      element("p", Object.assign(element("a", "Incident bundle: the latest records without any secret"), { href: `/api/v1${this.at}/bundle` })),
    ]);
    view.replaceChildren(this.node);
    this.charts = [new EquityCurve(this.equity), new CandleChart(this.candles, (bar) => this.choose("bar", bar))];
  }

  // They change only with a restart of the bot, and are asked for when somebody wants to see them.
  parameters() {
    const node = element("details", element("summary", "Parameters"));
    node.addEventListener("toggle", async () => {
      if (node.open) node.replaceChildren(node.firstChild, parameterTable(await get(`${this.at}/config`)));
    });
    return node;
  }

  choice(key, label, names, also = () => {}) {
    const choose = element("select", names.map((name) => element("option", name)));
    choose.setAttribute("aria-label", label);
    choose.addEventListener("change", () => {
      also();
      this.choose(key, choose.value);
    });
    element("div", [element("span", label, "span"), choose], "actions");
    return choose;
  }

  choose(key, value) {
    this.chosen[key] = value;
    show();
  }

  step(bars) {
    const time = Date.parse(this.chosen.bar || this.latest || "");
    if (Number.isFinite(time)) this.choose("bar", `${new Date(time + 900000 * bars).toISOString().slice(0, 19)}Z`);
  }

  put(key, ...content) {
    this.parts.get(key).replaceChildren(...content.flat());
  }

  // Ask for all that is shown, then draw it at once: an answer that is refused leaves the page as it was.
  async read() {
    const { at, chosen } = this;
    const bot = await get(at);
    const held = Object.entries(bot.symbols).find(([, row]) => row.long_qty || row.short_qty)?.[0];
    if (!bot.symbol_names.includes(chosen.symbol)) chosen.symbol = held && bot.symbol_names.includes(held) ? held : (bot.symbol_names[0] ?? "");
    if (!chosen.symbol) return { bot };
    const one = `symbol=${encodeURIComponent(chosen.symbol)}`;
    const ways = {
      legs: "/legs", orders: `/orders?${one}`, chart: `/chart?${one}&count=500`, curve: "/equity?points=800", commands: "/commands", comparison: "/comparison",
      why: `/why?${one}${chosen.bar ? `&bar=${encodeURIComponent(chosen.bar)}` : ""}`, fills: `/fills?first=${chosen.fills}&count=20`,
      profits: chosen.profit === "cycle" ? "/cycles?count=50" : `/pnl?by=${chosen.profit}`,
      log: { alerts: `/alerts?first=${chosen.logFrom}&count=20`, funding: `/funding?first=${chosen.logFrom}&count=20`, log: "/logs?count=100", "all events": "/events?count=200" }[chosen.log],
    };
    const found = await Promise.all(Object.entries(ways).map(async ([name, path]) => [name, await get(at + path)]));
    return { bot, ...Object.fromEntries(found) };
  }

  draw({ bot, legs, orders, chart, curve, commands, comparison, why, fills, profits, log }) {
    const { chosen, name } = this;
    document.getElementById("where").replaceChildren(name, " · ", stateOf(bot), bot.last_bar ? ` · last bar ${clock(bot.last_bar)}` : "");
    this.put("banners", banners(bot));
    if (!legs) return this.put("figures", element("p", "The bot has not decided yet; its page fills by itself."));
    this.latest = why.bar && !chosen.bar ? why.bar : this.latest;
    this.put("figures", figures(bot));
    this.put("legs", legTable(legs));
    this.put("actions", state.role === "commands" ? actions(name, bot, legs) : element("p", "This token only reads.", "span"));
    this.put("commands", commandTable(commands));
    this.put("mismatches", mismatches(bot));
    if (this.symbols.options.length !== bot.symbol_names.length) this.symbols.replaceChildren(...bot.symbol_names.map((text) => element("option", text)));
    this.symbols.value = chosen.symbol;
    this.symbols.parentNode.hidden = bot.symbol_names.length < 2;
    this.charts[0].update(curve);
    this.charts[1].update(chart);
    this.put("left", chart.left_out ? element("p", `${chart.left_out} older fills of these candles are not drawn`, "span") : "");
    this.put("bullets", bulletTable(legs));
    if (document.activeElement !== this.bar) this.bar.value = (why.bar ?? "").slice(0, 16);
    this.put("why", whyTables(why));
    this.put("orders", orderTable(orders.open.filter((order) => order.symbol === chosen.symbol), chart.candles.at(-1)?.[4]));
    this.put("ladder", ladderTable(orders.ladder));
    this.put("profit", profitTable(bot.pnl));
    this.put("profits", chosen.profit === "cycle" ? cycleTable(profits) : profitRows(profits.rows, chosen.profit));
    this.drawAudit(bot.audit, comparison);
    this.put("fills", fillTable(fills, bot.symbol_names.length > 1), this.pager("fills", fills));
    this.put("log", chosen.log === "funding" ? fundingTable(log) : eventTable(log.rows ?? log), log.rows ? this.pager("logFrom", log) : "");
  }

  drawAudit(audit, comparison) {
    this.put("audit", auditText(audit));
    this.compared.hidden = !comparison;
    this.put("differences", comparison ? differenceTable(comparison.differences) : "");
    if (!comparison) return;
    if (!this.charts[2]) this.charts.push(new ComparedCurves(this.compared));
    this.charts[2].update(comparison);
  }

  pager(key, page) {
    if (page.total <= 20) return "";
    const newer = button("newer", "", () => this.choose(key, Math.max(page.first - 20, 0)));
    const older = button("older", "", () => this.choose(key, page.first + 20));
    newer.disabled = page.first === 0;
    older.disabled = page.first + 20 >= page.total;
    const last = Math.min(page.first + 20, page.total);
    return element("div", [newer, older, element("span", `${(page.first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${page.total.toLocaleString("en")}`, "span")], "actions");
  }

  remove() {
    for (const chart of this.charts) chart.remove();
  }
}

async function showBot(name) {
  if (state.shown?.name !== name) {
    leave();
    state.shown = new BotPage(name);
  }
  const page = state.shown;
  const found = await page.read();
  if (state.shown === page) page.draw(found);
}

function leave() {
  state.shown?.remove();
  state.shown = null;
  view.replaceChildren();
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

async function preview(name, action, scope, how = { share: 1 }) {
  const at = `/bots/${encodeURIComponent(name)}`;
  const wish = { action, scope, ...how };
  const asked = (state.asked = (state.asked ?? 0) + 1);
  const found = await get(`${at}/preview?${new URLSearchParams(wish)}`);
  if (asked !== state.asked) return; // something else was chosen meanwhile
  const says = [`${found.legs.join(", ")}`, `${found.entries_cancelled} entries are cancelled`];
  for (const close of found.closes) says.push(`${close.symbol} ${close.side}: ${plainNumber(close.qty)} of ${plainNumber(close.held)} is closed ${found.limit === null ? "at market" : `by exits at ${plainNumber(close.price, 8)}`}, ${money(close.exposure)} USDT`);
  if (action === "flatten") says.push(`fee about ${money(found.fee)}, realises about ${signed(found.realizes)} USDT`);
  if (found.pauses) says.push("it stays paused until you resume it");
  if (found.exits_and_stops_stay) says.push("exits and stops stay");
  const typed = element("input");
  typed.id = "confirm";
  typed.setAttribute("aria-label", "type to confirm");
  const go = button(action.replace("_", " "), action === "flatten" ? "danger" : "", async () => {
    try {
      await get(`${at}/commands`, { ...wish, confirm: typed.value });
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
  const again = () => preview(name, action, scope, how).catch(tell);
  const share = choice("how much", how.share, [["all", 1], ["75 %", 0.75], ["half", 0.5], ["25 %", 0.25]], (value) => {
    how.share = value;
    again();
  });
  const limit = choice("at what price", how.limit ?? -1, [["at market", -1], ["at the best price, as maker", 0]], (value) => {
    if (value < 0) delete how.limit;
    else how.limit = value;
    again();
  });
  const confirm = found.confirm ? [element("div", [share, limit], "actions"), element("p", `To confirm, type ${found.confirm}`), typed] : [];
  ask.replaceChildren(element("h2", `${action.replace("_", " ")} ${scope}`), element("ul", says.map((text) => element("li", text))), ...confirm, element("div", [go, button("leave it", "", () => ask.close())], "actions"));
  if (!ask.open) ask.showModal();
}

function choice(label, chosen, pairs, onChange) {
  const node = element("select");
  node.setAttribute("aria-label", label);
  node.append(...pairs.map(([text, value]) => Object.assign(element("option", text), { value, selected: value === chosen })));
  node.addEventListener("change", () => onChange(Number(node.value)));
  return node;
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
  state.changes.addEventListener("changed", (event) => {
    live.textContent = "live";
    const names = JSON.parse(event.data);
    if (!ask.open && (!state.shown || names.includes(state.shown.name))) show();
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
addEventListener("hashchange", show);
// A bot that is killed writes nothing any more: that it is stale is seen by looking.
setInterval(() => {
  if (state.role && !ask.open && !document.hidden) show();
}, LOOK_MS);
begin();
