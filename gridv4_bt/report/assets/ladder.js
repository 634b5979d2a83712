// Where the levels lie and what rests there: the same sums as gridv4_bt/core/grid.py and engine/ladder.py.

const KEEP = 0, CANCEL = 1, PLACE = 2, REPLACE = 3;
const ACTION_COUNT = 4;
const PLACED = 0;

function levelPrice(centre, spacing, level) {
  return centre * (1 + spacing) ** level;
}

function roundBoundary(price) {
  if (price >= 10000) return 1000;
  if (price >= 1000) return 100;
  return 10 ** (Math.floor(Math.log10(price) + 1e-12) - 1);
}

function nudgeRoundNumber(price, isBuy, pct) {
  const boundary = roundBoundary(price);
  const number = Math.floor(price / boundary + 0.5) * boundary;
  const below = number * (1 - pct);
  const above = number * (1 + pct);
  if (price >= above || price <= below) return price;
  if (Math.abs(price - number) <= 1e-12 * price) return isBuy ? above : below;
  return price >= number ? above : below;
}

function multiple(count, step) {
  const inverse = Math.floor(1 / step + 0.5);
  return Math.abs(inverse * step - 1) < 1e-9 ? count / inverse : count * step;
}

function roundDown(value, step) {
  return multiple(Math.floor((value / step) * (1 + 1e-15) + 1e-9), step);
}

function roundUp(value, step) {
  return multiple(-Math.floor(-value / step / (1 + 1e-15) + 1e-9), step);
}

function orderPrice(side, raw, tick, pct) {
  const price = nudgeRoundNumber(raw, side > 0, pct);
  const down = price === raw ? side > 0 : price < raw;
  return down ? roundDown(price, tick) : roundUp(price, tick);
}

// One symbol's ladder. A place is a column of the trace: LONG 1..levels, then SHORT 1..levels.
class Ladder {
  constructor(symbol) {
    this.symbol = symbol;
    this.levels = symbol.ladder.levels;
    this.places = 2 * this.levels;
    this.trace = symbol.bytes.subarray(symbol.ladder.trace.at, symbol.ladder.trace.at + symbol.ladder.trace.size);
    this.centre = symbol.column("centre");
    this.spacing = symbol.column("spacing_pct");
    const at = columnValues(symbol.ladder.missed_at, symbol.bytes);
    const ticks = columnValues(symbol.ladder.missed_ticks, symbol.bytes);
    this.missed = new Map(Array.from(at, (index, i) => [index, ticks[i]]));
  }

  action(row, place) {
    return this.trace[row * this.places + place] % ACTION_COUNT;
  }

  code(row, place) {
    return Math.floor(this.trace[row * this.places + place] / ACTION_COUNT);
  }

  side(place) {
    return place < this.levels ? 1 : -1;
  }

  level(place) {
    return (place % this.levels) + 1;
  }

  tick(row) {
    const { ticks, time } = this.symbol;
    let tick = ticks[0][1];
    for (const [from, step] of ticks) if (time[row] >= from) tick = step;
    return tick;
  }

  // The price wanted at a bar; exact where an order was placed, else true to a tick.
  wanted(row, place) {
    const side = this.side(place);
    const raw = levelPrice(this.centre[row], this.spacing[row], -side * this.level(place));
    if (!(raw > 0)) return NaN;
    const tick = this.tick(row);
    const price = orderPrice(side, raw, tick, this.symbol.ladder.nudge_pct);
    const missed = this.missed.get(row * this.places + place);
    return missed ? multiple(Math.round(price / tick) + missed, tick) : price;
  }

  // The bar whose order rests after this bar, -1 for none.
  placedAt(row, place) {
    if (this.code(row, place) !== PLACED) return -1;
    for (let i = row; i >= 0; i--) {
      const action = this.action(i, place);
      if (action === PLACE || action === REPLACE) return i;
    }
    return -1;
  }

  // The price of the order that rests after a bar, NaN for none.
  resting(row, place) {
    const placed = this.placedAt(row, place);
    return placed < 0 ? NaN : this.wanted(placed, place);
  }

  // The pieces of one level's resting order within rows [from, to): [first row, row after the last, price].
  pieces(place, from, to) {
    const found = [];
    let price = NaN;
    let since = from;
    for (let row = from; row < to; row++) {
      const action = this.action(row, place);
      let now = price;
      if (this.code(row, place) !== PLACED) now = NaN;
      else if (row === from) now = this.resting(row, place);
      else if (action === PLACE || action === REPLACE) now = this.wanted(row, place);
      if (now === price || (now !== now && price !== price)) continue;
      if (price === price) found.push([since, row, price]);
      price = now;
      since = row;
    }
    if (price === price) found.push([since, to, price]);
    return found;
  }
}
