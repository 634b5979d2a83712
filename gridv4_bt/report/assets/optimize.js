// The charts of a search.

const PLOT = { displayModeBar: false, displaylogo: false, responsive: false, doubleClick: "reset", showTips: false };
const SERIES = ["--accent", "--warn", "--prune", "--good"];

const CHARTS = [
  { id: "pareto", title: "Trials", wide: true, height: 340, draw: drawTrials },
  { id: "importance", title: "Which parameters matter", height: 280, draw: drawImportance },
  { id: "samples", title: "In sample against out of sample", height: 280, draw: drawSamples },
  { id: "curves", title: "Out of sample", wide: true, height: 300, draw: drawCurves },
  { id: "logits", title: "Where the best of one half ranks in the other", height: 260, draw: drawLogits },
  { id: "intervals", title: "What else the return could have been", height: 260, draw: drawIntervals },
];

function marks(points, name, colourName, more = {}) {
  return {
    type: "scatter", mode: "markers", name, hoverinfo: "text", ...points,
    marker: { color: colour(colourName), size: 7, opacity: 0.8, ...more },
  };
}

function line(points, name, tone, more = {}) {
  return {
    type: "scatter", mode: "lines", name, ...points,
    line: { color: colour(tone), width: 1.3, ...more.line }, hoverinfo: "x+y", ...more.rest,
  };
}

function drawTrials({ trials, objectives, percent: shares }) {
  const two = objectives.length > 1;
  const place = (some) => ({
    x: some.map((trial) => (two ? trial.objectives[1] : trial.number)),
    y: some.map((trial) => trial.objectives[0]),
    text: some.map((trial) => `trial ${trial.number}<br>${objectives.map((name, i) => `${name} ${shares[i] ? percent(trial.objectives[i]) : plain(trial.objectives[i])}`).join("<br>")}<br>${trial.params}${trial.broken ? `<br>breaks ${trial.broken}` : ""}`),
  });
  const kinds = [
    ["breaks a limit", "--noise", (trial) => trial.broken],
    ["within all limits", "--accent", (trial) => !trial.broken && !trial.front],
    [two ? "Pareto front" : "the best", "--good", (trial) => trial.front && !trial.winner],
    ["winner", "--warn", (trial) => trial.winner],
  ];
  const traces = kinds.map(([name, tone, is]) => marks(place(trials.filter(is)), name, tone, name === "winner" ? { size: 13, symbol: "star", opacity: 1 } : {}));
  return { traces: traces.filter((trace) => trace.x.length), x: two ? objectives[1] : "trial", y: objectives[0], legend: true,
    layout: { xaxis: { tickformat: two ? axisFormat(shares[1]) : ",d" }, yaxis: { tickformat: axisFormat(shares[0]) } },
    note: two ? "Every trial by two objectives. A trial of the front is beaten by none in all of them." : "Every trial in the order in which it was made." };
}

function axisFormat(share) {
  return share ? ".1~%" : "";
}

function drawImportance({ importance }) {
  const names = Object.keys(importance).reverse();
  const traces = [{ type: "bar", orientation: "h", y: names, x: names.map((name) => importance[name]), marker: { color: colour("--accent") }, hovertemplate: "%{x:.1%}<extra></extra>" }];
  return { traces, x: "share of the differences", layout: { margin: { l: 110 }, xaxis: { tickformat: ".0%" } },
    note: names.length ? "Share of each in the differences of the first objective, by analysis of variance between the best trials and all (PED-ANOVA)." : "Too few trials to tell." };
}

function drawSamples({ samples }) {
  const traces = [marks({ x: samples.inside, y: samples.outside, hoverinfo: "x+y" }, "", "--accent", { size: 4, opacity: 0.35 })];
  const shapes = [{ type: "line", x0: 0, x1: 1, xref: "paper", y0: 0, y1: 0, line: { color: colour("--bad"), width: 1 } }];
  return { traces, x: "Sharpe of the best trial in one half, a year", y: "the same trial in the other half", layout: { shapes },
    note: "A point for each way to halve the days. Points that fall to the right: the better it looks, the worse it does. Below the line it loses." };
}

function drawCurves({ curves }) {
  const traces = curves.map((curve, i) => line({ x: curve.days, y: curve.equity }, curve.name, SERIES[i % SERIES.length], { line: { dash: curve.seen ? "dot" : "solid" } }));
  return { traces, y: "growth of 1", legend: true, layout: { xaxis: { type: "date" } },
    note: "Walk-forward: each fold trades what its own past chose. Dotted: the winner in windows that the search has seen." };
}

function drawLogits({ logits }) {
  const traces = [{ type: "bar", x: logits.places, y: logits.counts, marker: { color: logits.places.map((place) => colour(place <= 0 ? "--bad" : "--good")) }, hoverinfo: "x+y" }];
  return { traces, x: "logit of its relative rank", y: "splits", layout: { yaxis: { tickformat: ",d", rangemode: "tozero" } },
    note: "Left of 0 (red) the best of one half is in the worse half of all trials in the other: that share is the probability of overfitting." };
}

function drawIntervals({ intervals }) {
  const names = intervals.map((one) => one.name);
  const traces = [{
    type: "scatter", mode: "markers", y: names, x: intervals.map((one) => one.median), marker: { color: colour("--accent"), size: 9 },
    error_x: { type: "data", symmetric: false, array: intervals.map((one) => one.high - one.median), arrayminus: intervals.map((one) => one.median - one.low), color: colour("--accent"), thickness: 2 },
    hoverinfo: "text", text: intervals.map((one) => `${percent(one.low)} to ${percent(one.high)}, median ${percent(one.median)}`),
  }];
  const shapes = [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { color: colour("--bad"), width: 1 } }];
  return { traces, layout: { margin: { l: 140 }, shapes, xaxis: { tickformat: ".0%" } },
    note: "Compound return, 90 % of 2,000 resamples of the days in blocks (stationary bootstrap)." };
}

function heat(map, share) {
  const traces = [{
    type: "heatmap", x: map.x, y: map.y, z: map.z, colorscale: [[0, colour("--bad")], [0.5, colour("--raised")], [1, colour("--good")]],
    zmid: map.middle, hovertemplate: `${map.across} %{x}<br>${map.up} %{y}<br>%{z:${share ? ".2%" : ".3g"}}<extra></extra>`, colorbar: { thickness: 8, outlinewidth: 0, tickformat: axisFormat(share) },
  }];
  return { traces, x: map.across, y: map.up, layout: { xaxis: { type: "category", nticks: 5 }, yaxis: { type: "category", nticks: 6 }, margin: { l: 70, b: 40 } } };
}

function plain(value) {
  return Number(value.toPrecision(4)).toString();
}

function makePanel(chart) {
  const section = element("section", "", chart.wide ? "panel wide" : "panel");
  const note = element("p");
  const place = element("div", "", "chart");
  place.id = `chart-${chart.id}`;
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", chart.title);
  section.append(element("h2", chart.title), note, place);
  return { ...chart, section, note, place };
}

function drawPanel(panel, data) {
  const { traces, x, y, legend, layout = {}, note = "" } = panel.draw(data);
  panel.note.textContent = note;
  const axis = { gridcolor: colour("--grid"), linecolor: colour("--grid"), zerolinecolor: colour("--grid"), automargin: true };
  Plotly.react(panel.place, traces, {
    width: panel.place.clientWidth, height: panel.height, showlegend: Boolean(legend), hovermode: "closest",
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "inherit", size: 11, color: colour("--muted") },
    hoverlabel: { bgcolor: colour("--ground"), bordercolor: colour("--grid"), font: { color: colour("--ink"), size: 12 } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    ...layout,
    margin: { l: 58, r: 10, t: 10, b: 40, ...layout.margin },
    xaxis: { title: { text: x ?? "" }, ...axis, ...layout.xaxis },
    yaxis: { title: { text: y ?? "" }, ...axis, ...layout.yaxis },
  }, PLOT);
}

async function startSearch() {
  const [, text] = await Promise.all([loadLibrary(), unzipped(document.getElementById("data").textContent)]);
  const data = JSON.parse(new TextDecoder().decode(text));
  const board = document.getElementById("charts");
  const panels = data.trials.length ? CHARTS.map(makePanel) : [];
  board.append(...panels.map((panel) => panel.section));
  if (data.heats.length) {
    const section = element("section", [element("h2", "Pairs of parameters"), element("p", `Average over the trials in each cell of: ${data.objectives[0]}. Empty cells were not tried. A good cell that will last has good neighbours.`)], "panel wide");
    const place = element("div", "", "heats");
    section.append(place);
    board.append(section);
    data.heats.forEach((map, i) => {
      const panel = makePanel({ id: `heat-${i}`, title: `${map.up} by ${map.across}`, height: 260, draw: () => heat(map, data.percent[0]) });
      place.append(panel.section);
      panels.push(panel);
    });
  }
  const draw = () => panels.forEach((panel) => drawPanel(panel, data));
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = board.clientWidth;
  new ResizeObserver(() => {
    if (board.clientWidth === width) return;
    width = board.clientWidth;
    draw();
  }).observe(board);
  window.page = { panels, data };
}

startSearch().catch(complain);
