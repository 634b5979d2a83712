// What chart, trades and decisions share: the run, the chosen symbol, the chosen bar, the time in view.

const BAR_MS = 900000;
const DAY_MS = 96 * BAR_MS;

const REGIME_COLOURS = { 0: "--noise", 1: "--up", 2: "--breakup", "-1": "--down", "-2": "--breakdown" };

// How a trade's closing is marked, and under which words the legend has it.
function kindOfClosing(run, trade) {
  return run.kinds[run.labels[trade.label].kind];
}

class Board {
  constructor(run, symbols, wallet) {
    Object.assign(this, { run, symbols, wallet });
    this.hidden = new Set();
    this.row = -1;
    this.choose(0);
  }

  choose(index) {
    this.symbol = this.symbols[index];
    this.selected = null;
    this.series = new Map();
    this.ladder = this.symbol.ladder ? new Ladder(this.symbol) : null;
  }

  // A series computed once for the chosen symbol.
  once(name, make) {
    if (!this.series.has(name)) this.series.set(name, make());
    return this.series.get(name);
  }

  get drawdown() {
    this.madeDrawdown ??= (() => {
      let peak = this.run.start_equity;
      return this.wallet.equity.map((equity) => {
        peak = Math.max(peak, equity);
        return -(1 - equity / peak);
      });
    })();
    return this.madeDrawdown;
  }

  // The equity of a wallet that buys all symbols in equal parts at their first closes and holds them; see benchmark.py.
  hold(exposure) {
    this.madeHold ??= new Map();
    if (!this.madeHold.has(exposure)) {
      const { run, wallet } = this;
      const priced = this.symbols.filter((symbol) => symbol.has("close"));
      const part = (run.start_equity * exposure) / priced.length;
      const equity = new Float64Array(wallet.time.length).fill(run.start_equity * (1 - exposure));
      for (const symbol of priced) {
        const close = symbol.column("close");
        let row = -1;
        for (let i = 0; i < equity.length; i++) {
          while (row + 1 < symbol.rows && symbol.time[row + 1] <= wallet.time[i]) row++;
          equity[i] += row < 0 ? part : part * (1 - run.config.taker_fee) * (close[row] / close[0]);
        }
      }
      this.madeHold.set(exposure, equity);
    }
    return this.madeHold.get(exposure);
  }

  // Notional of both sides of all symbols over the equity, at the times of the wallet; SHORT below 0.
  get exposure() {
    this.madeExposure ??= (() => {
      const { wallet } = this;
      const [long, short] = [new Float64Array(wallet.time.length), new Float64Array(wallet.time.length)];
      for (const symbol of this.symbols) {
        const price = symbol.has("close") ? symbol.column("close") : symbol.column("anchor");
        const [up, down] = [symbol.column("long_qty"), symbol.column("short_qty")];
        let row = -1;
        for (let i = 0; i < long.length; i++) {
          while (row + 1 < symbol.rows && symbol.time[row + 1] <= wallet.time[i]) row++;
          if (row < 0 || !(wallet.equity[i] > 0)) continue;
          if (up[row] > 0) long[i] += (up[row] * price[row]) / wallet.equity[i];
          if (down[row] > 0) short[i] -= (down[row] * price[row]) / wallet.equity[i];
        }
      }
      return { long, short };
    })();
    return this.madeExposure;
  }

  // KAMA and ATR of every bar, from those of the first ones, by the formulas of the strategy's indicators.
  get signals() {
    return this.once("signals", () => {
      const { symbol, run } = this;
      const seed = symbol.signals;
      if (!seed || !symbol.has("high")) return null;
      const [close, high, low] = ["close", "high", "low"].map((name) => symbol.column(name));
      const { er_bars: bars, kama_fast: fast, kama_slow: slow, atr_bars: period } = run.config;
      const [fastest, slowest] = [2 / (fast + 1), 2 / (slow + 1)];
      const kama = new Float64Array(symbol.rows);
      const atr = new Float64Array(symbol.rows);
      atr[0] = seed.atr[0];
      for (let i = 0; i < symbol.rows; i++) {
        if (i > 0) {
          const range = Math.max(high[i], close[i - 1]) - Math.min(low[i], close[i - 1]);
          atr[i] = (atr[i - 1] * (period - 1) + range) / period;
        }
        if (i < seed.kama.length) {
          kama[i] = seed.kama[i];
          continue;
        }
        let path = 0;
        for (let k = i - bars + 1; k <= i; k++) path += Math.abs(close[k] - close[k - 1]);
        const ratio = path === 0 ? 0 : Math.min(Math.abs(close[i] - close[i - bars]) / path, 1);
        const root = ratio * (fastest - slowest) + slowest;
        kama[i] = kama[i - 1] + root * root * (close[i] - kama[i - 1]);
      }
      return { kama, atr };
    });
  }

  // What each side holds after every bar, and at which average entry; NaN where nothing.
  get held() {
    return this.once("held", () => {
      const { symbol } = this;
      const sides = {};
      for (const side of [1, -1]) {
        const moves = [];
        for (const fill of symbol.fills.filter((one) => one.side === side)) {
          moves.push([Math.max(fill.row, 0), fill.qty, fill.price]);
          for (const trade of fill.closings) moves.push([Math.max(trade.closeRow, 0), -trade.qty, fill.price]);
        }
        moves.sort((a, b) => a[0] - b[0]);
        const average = new Float64Array(symbol.rows).fill(NaN);
        const qty = new Float64Array(symbol.rows);
        let [held, cost, next, most] = [0, 0, 0, 0];
        for (let row = 0; row < symbol.rows; row++) {
          for (; next < moves.length && moves[next][0] <= row; next++) {
            held += moves[next][1];
            cost += moves[next][1] * moves[next][2];
            most = Math.max(most, held);
          }
          if (held <= 1e-9 * most) [held, cost] = [0, 0]; // sums of decimal lots leave noise
          else [qty[row], average[row]] = [held, cost / held];
        }
        sides[side] = { qty, average };
      }
      return sides;
    });
  }

  // The price of a stop of a side at a bar's close, NaN where nothing is held or the ATR is unknown.
  stopPrice(side, stage, row) {
    const { signals, run } = this;
    return signals ? this.held[side].average[row] - side * run.config[`stop${stage}_atr`] * signals.atr[row] : NaN;
  }
}

// Which part of time is shown.
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
    const width = Math.min(Math.max(to - from, 4 * BAR_MS), this.last - this.first);
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

// Where the candles of a length begin: their times, and for each its first row; a last entry ends the last one.
function candlesOf(times, length) {
  const starts = [];
  const begins = [];
  let before = NaN;
  for (let row = 0; row < times.length; row++) {
    // Weeks begin on Monday; the epoch was a Thursday.
    const shift = length === 7 * DAY_MS ? 4 * DAY_MS : 0;
    const begin = Math.floor((times[row] - shift) / length) * length + shift;
    if (begin === before) continue;
    starts.push(row);
    begins.push(begin);
    before = begin;
  }
  starts.push(times.length);
  return { starts, begins };
}
