// What all our pages share: elements, colours, the charts' library, complaints.

function element(tag, content = "", className = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const part of [content].flat()) node.append(part);
  return node;
}

function button(content, className, onClick) {
  const node = element("button", content, className);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

// Asking for a style is slow, and marks ask for one each; the colours change only with the scheme.
const tones = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tones.clear());

function colour(name) {
  if (!tones.has(name)) tones.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return tones.get(name);
}

function faded(name, share) {
  const hex = colour(name).replace("#", "");
  const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
}

async function loadLibrary() {
  const script = element("script");
  script.textContent = new TextDecoder().decode(await unzipped(document.getElementById("library").textContent));
  document.head.append(script);
}

// Say what is wrong in place of the charts.
function complain(error) {
  const place = document.getElementById("problem");
  const old = typeof DecompressionStream === "undefined";
  place.textContent = old ? "This browser is too old for the charts: it needs to be of 2023 or later." : error.message;
  place.hidden = false;
  document.getElementById("charts").hidden = true;
}
