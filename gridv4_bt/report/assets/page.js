// What all our pages share: elements, colours, the charts' library, complaints.

function element(tag, content = "", className = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const part of [content].flat()) node.append(part);
  return node;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function faded(name, share) {
  const hex = colour(name).replace("#", "");
  const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
}

function line(points, name, colourName, more = {}) {
  return {
    type: "scatter", mode: "lines", name, ...points,
    line: { color: colour(colourName), width: 1.3, ...more.line }, hoverinfo: "x+y", ...more.rest,
  };
}

async function loadCharts() {
  const script = element("script");
  script.textContent = new TextDecoder().decode(await unzipped(document.getElementById("plotly").textContent));
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
