// Numbers and times as text, as `numbers.py` writes them.

// Making a format takes a hundred times as long as using it.
const formats = new Map();

function numberFormat(least, most) {
  const key = `${least}-${most}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most }));
  return formats.get(key);
}

function plainNumber(value, digits = 8) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  const text = numberFormat(0, digits).format(Math.abs(value));
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
}

function money(value) {
  if (!Number.isFinite(value)) return "–";
  const text = numberFormat(2, 2).format(Math.abs(value));
  return value < 0 && text !== "0.00" ? `−${text}` : text;
}

function signed(value) {
  return value > 0 ? `+${money(value)}` : money(value);
}

function percent(value, digits = 2) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  return `${(100 * value).toFixed(digits).replace("-", "−")} %`;
}

// A volume as people write it: 1,234, 12.3 K, 4.56 M.
function shortNumber(value) {
  if (!Number.isFinite(value)) return "–";
  const [unit, name] = [[1e9, " B"], [1e6, " M"], [1e4, " K"]].find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return `${plainNumber(value / (name === " K" ? 1e3 : unit), name ? 2 : 3)}${name}`;
}

function timeText(time) {
  return Number.isFinite(time) ? new Date(time).toISOString().slice(0, 16).replace("T", " ") : "–";
}

function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  const minutes = Math.round(ms / 60000);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  return `${(minutes / 1440).toFixed(1)} days`;
}

function sideName(side) {
  return side > 0 ? "LONG" : "SHORT";
}
