// Which part of time the charts show, and few enough points to draw of it.

class View {
  constructor(first, last) {
    this.first = first;
    this.last = Math.max(last, first + 1);
    this.from = this.first;
    this.to = this.last;
    this.listeners = [];
  }

  get width() {
    return this.to - this.from;
  }

  set(from, to) {
    if (!Number.isFinite(from) || !Number.isFinite(to)) return;
    const least = 4 * BAR_MS;
    const width = Math.min(Math.max(to - from, least), this.last - this.first);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - width / 2, this.first), this.last - width);
    this.to = this.from + width;
    for (const listener of this.listeners) listener();
  }

  all() {
    this.set(this.first, this.last);
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    this.set(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  move(share) {
    this.set(this.from + share * this.width, this.to + share * this.width);
  }

  include(time) {
    if (time < this.from || time > this.to) this.set(time - this.width / 2, time + this.width / 2);
  }
}

const BAR_MS = 900000;

// Rows [from, to) that a span of time shows, with one beyond each end so that lines leave the picture.
function rowsIn(times, from, to) {
  const first = Math.max(lastAtOrBefore(times, from), 0);
  const last = Math.min(lastAtOrBefore(times, to) + 2, times.length);
  return [first, Math.max(last, first)];
}

// The indices to draw of rows [from, to): all, or the lowest and highest of each of `buckets` equal parts, in order.
function thinned(low, high, from, to, buckets) {
  const count = to - from;
  if (count <= 2 * buckets) return Array.from({ length: count }, (_, i) => from + i);
  const kept = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    const start = from + Math.floor((bucket * count) / buckets);
    const end = from + Math.floor(((bucket + 1) * count) / buckets);
    let least = -1;
    let most = -1;
    for (let i = start; i < end; i++) {
      if (Number.isFinite(low[i]) && (least < 0 || low[i] < low[least])) least = i;
      if (Number.isFinite(high[i]) && (most < 0 || high[i] > high[most])) most = i;
    }
    if (least < 0 && most < 0) kept.push(start);
    else if (least === most) kept.push(least);
    else kept.push(...[least, most].filter((i) => i >= 0).sort((a, b) => a - b));
  }
  return kept;
}

// The points of a line; at a thinned extreme the value is the low or the high of its row.
function linePoints(times, values, from, to, buckets) {
  const kept = thinned(values, values, from, to, buckets);
  return { x: kept.map((i) => times[i]), y: kept.map((i) => (Number.isFinite(values[i]) ? values[i] : null)) };
}

// Like `linePoints` for a range: each bucket gives its lowest low and its highest high.
function rangePoints(times, low, high, from, to, buckets) {
  const x = [];
  const y = [];
  const count = to - from;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const start = from + Math.floor((bucket * count) / buckets);
    const end = from + Math.floor(((bucket + 1) * count) / buckets);
    let least = start;
    let most = start;
    for (let i = start + 1; i < end; i++) {
      if (low[i] < low[least]) least = i;
      if (high[i] > high[most]) most = i;
    }
    const points = [[least, low[least]], [most, high[most]]];
    if (least > most) points.reverse();
    for (const [row, value] of points) {
      x.push(times[row]);
      y.push(value);
    }
  }
  return { x, y };
}

// Each part of rows [from, to): when it begins, how long it lasts, and for each of the values its share of the rows.
function sharesOf(times, values, wanted, from, to, buckets) {
  const count = to - from;
  const parts = Math.min(count, buckets);
  const x = [];
  const width = [];
  const shares = wanted.map(() => []);
  for (let part = 0; part < parts; part++) {
    const start = from + Math.floor((part * count) / parts);
    const end = from + Math.floor(((part + 1) * count) / parts);
    const seen = new Map();
    for (let i = start; i < end; i++) seen.set(values[i], (seen.get(values[i]) ?? 0) + 1);
    x.push(times[start]);
    width.push(times[end - 1] + BAR_MS - times[start]);
    wanted.forEach((value, i) => shares[i].push((seen.get(value) ?? 0) / (end - start)));
  }
  return { x, width, shares };
}
