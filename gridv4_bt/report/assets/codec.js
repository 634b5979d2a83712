"use strict";

// The way back from what packing.py packed.

const CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+,-./:;=?@[]^_{|";

// Five characters for four bytes, after their number and a colon.
function fromText(text) {
  const start = text.indexOf(":") + 1;
  const length = Number(text.slice(0, start - 1));
  const places = new Uint8Array(128);
  for (let i = 0; i < 85; i++) places[CHARACTERS.charCodeAt(i)] = i;
  const words = new DataView(new ArrayBuffer(length + 4));
  for (let i = start, at = 0; at < length; i += 5, at += 4) {
    let word = 0;
    for (let k = 0; k < 5; k++) word = word * 85 + places[text.charCodeAt(i + k)];
    words.setUint32(at, word);
  }
  return new Uint8Array(words.buffer, 0, length);
}

async function unzipped(text) {
  // Written straight into the stream: the way through a Blob leaves the page's process and takes many times as long.
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  const written = writer.write(fromText(text.trim())).then(() => writer.close());
  const parts = [];
  const reader = readable.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value);
  await written;
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function unpacked(text) {
  const content = await unzipped(text);
  const end = content.length - 4;
  const start = end - new DataView(content.buffer).getUint32(end, true);
  const run = JSON.parse(new TextDecoder().decode(content.subarray(start, end)));
  return { run, bytes: content.subarray(0, start) };
}

function columnValues(column, bytes) {
  const { n, planes, order, per, at } = column;
  const values = new Float64Array(n);
  let factor = 1;
  for (let plane = 0; plane < planes; plane++) {
    const start = at + plane * n;
    for (let i = 0; i < n; i++) values[i] += bytes[start + i] * factor;
    factor *= 256;
  }
  for (let i = 0; i < n; i++) values[i] = values[i] % 2 ? -(values[i] + 1) / 2 : values[i] / 2;
  for (let round = 0; round < order; round++) {
    let sum = 0;
    for (let i = 0; i < n; i++) values[i] = sum += values[i];
  }
  if (per !== 1) for (let i = 0; i < n; i++) values[i] /= per;
  if (column.special) {
    const meanings = [0, NaN, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      const code = bytes[column.special.at + i];
      if (code) values[i] = meanings[code];
    }
  }
  return values;
}

// One symbol's columns, decoded when they are first asked for.
class SymbolData {
  constructor(description, bytes) {
    Object.assign(this, description);
    this.bytes = bytes;
    this.decoded = new Map();
  }

  has(name) {
    return name in this.columns;
  }

  column(name) {
    if (!this.decoded.has(name)) this.decoded.set(name, this.decode(name));
    return this.decoded.get(name);
  }

  decode(name) {
    if (name === "unrealized") return combined(this.column("equity"), this.column("wallet"), (equity, wallet) => equity - wallet);
    const values = columnValues(this.columns[name], this.bytes);
    const units = this.columns[name].per;
    const tidy = (value) => Math.round(value * units) / units;
    // Open, high and low are packed as their distance to the closes and to each other.
    if (name === "open") return combined(values, this.column("close"), (gap, _, i, close) => tidy(gap + (i ? close[i - 1] : 0)));
    if (name === "high" || name === "low") {
      const open = this.column(this.has("open") ? "open" : "close");
      const sign = name === "high" ? 1 : -1;
      const outer = sign > 0 ? Math.max : Math.min;
      return combined(values, this.column("close"), (gap, close, i) => tidy(outer(open[i], close) + sign * gap));
    }
    return values;
  }

  get time() {
    return this.column("time");
  }

  // When the last bar begins.
  get last() {
    return this.time[this.rows - 1];
  }

  // The row of the last bar that opened at or before a time, -1 before the first.
  rowAt(time) {
    return lastAtOrBefore(this.time, time);
  }

  get fills() {
    this.madeFills ??= fillsOf(this);
    return this.madeFills;
  }

  get tradeList() {
    this.madeTrades ??= tradesOf(this);
    return this.madeTrades;
  }

  get fundingPaid() {
    this.madeFunding ??= Object.fromEntries(
      Object.entries(this.funding).map(([name, column]) => [name, columnValues(column, this.bytes)]),
    );
    return this.madeFunding;
  }
}

function combined(first, second, rule) {
  const result = new Float64Array(first.length);
  for (let i = 0; i < first.length; i++) result[i] = rule(first[i], second[i], i, second);
  return result;
}

function lastAtOrBefore(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// Every closing execution, in the order they closed.
function tradesOf(symbol) {
  const names = Object.keys(symbol.trades);
  const columns = Object.fromEntries(names.map((name) => [name, columnValues(symbol.trades[name], symbol.bytes)]));
  const list = [];
  for (let i = 0; i < (columns.trade_id?.length ?? 0); i++) {
    const trade = Object.fromEntries(names.map((name) => [name, columns[name][i]]));
    trade.net = trade.gross - trade.fees - trade.funding;
    trade.openRow = symbol.rowAt(trade.open_time);
    trade.closeRow = symbol.rowAt(trade.close_time);
    list.push(trade);
  }
  return list;
}

// Every fill as it was opened; its qty is the sum of what was closed of it and what is still open.
function fillsOf(symbol) {
  const fills = new Map();
  const fill = (id, side, price, time) => {
    const key = `${side}:${id}`;
    if (!fills.has(key)) fills.set(key, { id, side, price, time, row: symbol.rowAt(time), qty: 0, closings: [], stillOpen: 0, openFee: 0, openFunding: 0 });
    return fills.get(key);
  };
  for (const trade of symbol.tradeList) {
    const opened = fill(trade.trade_id, trade.side, trade.entry, trade.open_time);
    opened.qty += trade.qty;
    opened.closings.push(trade);
    opened.regime = trade.regime;
  }
  for (const open of symbol.open_fills) {
    const opened = fill(open.id, open.side, open.price, open.time);
    opened.qty += open.qty;
    Object.assign(opened, { stillOpen: open.qty, regime: open.regime, openFee: open.fee, openFunding: open.funding });
  }
  const more = tableOf(symbol.entries, symbol.bytes);
  const places = new Map(Array.from(more.id ?? [], (id, i) => [id, i]));
  const wallet = symbol.column("wallet");
  for (const one of fills.values()) {
    const i = places.get(one.id);
    const spacing = i === undefined ? 0 : more.spacing_pct[i];
    one.level = i === undefined ? 0 : more.level[i];
    one.target = spacing ? one.price * (1 + one.side * spacing) : 0;
    one.end = one.stillOpen || !one.closings.length ? Infinity : one.closings[one.closings.length - 1].close_time;
    for (const name of ["gross", "fees", "funding", "net"]) one[name] = one.closings.reduce((sum, trade) => sum + trade[name], 0);
    const share = one.qty / wallet[Math.max(one.row, 0)];
    for (const name of ["adverse", "favourable"]) {
      const price = i === undefined ? NaN : more[name][i];
      one[name] = { price, levels: spacing ? price / (spacing * one.price) : NaN, wallet: price * share };
    }
  }
  return [...fills.values()].sort((a, b) => a.row - b.row || a.id - b.id);
}

// Packed columns of one table by their names.
function tableOf(columns, bytes) {
  return Object.fromEntries(Object.entries(columns ?? {}).map(([name, column]) => [name, columnValues(column, bytes)]));
}

// The cycles of both legs: from the first fill until flat.
function cyclesOf(symbol) {
  const columns = tableOf(symbol.cycles, symbol.bytes);
  return Array.from(columns.side ?? [], (side, i) => {
    const at = (name) => columns[name][i];
    const excursion = (name) => ({ price: at(name), levels: at(`${name}_levels`), wallet: at(`${name}_wallet`) });
    return {
      side, time: at("first_time"), end: Number.isFinite(at("last_time")) ? at("last_time") : Infinity, fills: at("fills"), deepest: at("deepest"),
      most: at("most"), net: at("net"), adverse: excursion("adverse"), favourable: excursion("favourable"),
    };
  });
}
