// Plots come ready from the records; here they get the rows that are shown, the reader's colours and their size.

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const TALL = 640; // such a plot takes the whole width, so that none beside it is mostly empty
const narrow = matchMedia("(max-width: 640px)");

function colors(content, dark) {
  const style = dark
    ? { ink: "#e8e9eb", soft: "#a0a5ad", grid: "#33373c", limit: "#a0a5ad", faint: "#565b62" }
    : { ink: "#1a1c1f", soft: "#5c6168", grid: "#e4e6e8", limit: "#6b7077", faint: "#c3c8ce" };
  const own = dark ? content.dark : content.light;
  return { ...style, palette: own.runs, parts: own.parts };
}

function keepShown(trace, shown) {
  if (!trace.customdata) return structuredClone(trace);
  const copy = { ...trace, meta: { ...trace.meta } };
  for (const look of ["line", "marker"]) if (trace[look]) copy[look] = structuredClone(trace[look]);
  const kept = trace.customdata.map((row, i) => (shown.has(row) ? i : -1)).filter((i) => i >= 0);
  const pick = (list) => kept.map((i) => list[i]);
  copy.customdata = pick(trace.customdata);
  if (trace.dimensions) {
    copy.dimensions = trace.dimensions.map((dimension) => ({ ...dimension, values: pick(dimension.values) }));
    copy.line.color = pick(trace.line.color);
    return copy;
  }
  copy.x = pick(trace.x);
  if (trace.y) copy.y = pick(trace.y);
  for (const error of ["error_x", "error_y"]) {
    if (!trace[error]) continue;
    copy[error] = { ...trace[error], array: pick(trace[error].array), arrayminus: pick(trace[error].arrayminus) };
  }
  return copy;
}

function dress(trace, style, hover) {
  const slot = trace.meta?.slot ?? 0;
  if (slot === -2) {
    trace.labelfont = { color: style.ink };
    trace.tickfont = { color: style.soft };
    trace.rangefont = { color: "rgba(0,0,0,0)" };
    trace.line.colorscale = [[0, style.faint], [1, style.palette[0]]];
    return trace;
  }
  const color = trace.meta?.part ? style.parts[trace.meta.part] ?? style.limit : slot === -1 ? style.limit : style.palette[slot % style.palette.length];
  if (trace.line) trace.line.color = color;
  if (trace.marker) trace.marker.color = color;
  for (const error of [trace.error_x, trace.error_y]) if (error) error.color = color;
  const values = trace.orientation === "h" ? trace.x : trace.y;
  if (values[0] !== null) trace.hovertext = values.map((value, i) => "<b>" + trace.name + ": " + Number(value).toPrecision(4) + "</b>" + (trace.customdata ? "<br>" + hover(trace.customdata[i]) : ""));
  trace.hoverinfo = "text";
  return trace;
}

// The legend stands above the plot, and what it takes is added to the height, so that the plot keeps its own.
function heightFor(width, figure, traces) {
  const names = traces.filter((t) => t.showlegend !== false).map((t) => (t.name ?? "").length);
  const columns = Math.max(1, Math.floor(width / (Math.max(...names, 1) * 6.6 + 56)));
  const legend = names.length > 1 ? 20 * Math.ceil(names.length / columns) : 0;
  if (figure.data[0].orientation !== "h") return 310 + legend;
  const bars = new Set(traces.flatMap((t) => t.y)).size * (figure.layout.barmode === "stack" ? 24 : 8 + 11 * traces.length);
  return legend + 70 + Math.min(Math.max(bars, 60), 1400);
}

function layoutFor(layout, style, traces, height) {
  const axis = (own) => ({ ...own, gridcolor: style.grid, zerolinecolor: style.grid, linecolor: style.grid, title: { ...own?.title, font: { size: 12, color: style.soft } } });
  const parallel = traces.some((t) => t.dimensions);
  return {
    ...layout,
    height,
    width: style.width,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.ink, family: "system-ui, sans-serif", size: 12 },
    margin: parallel ? { l: 60, r: 50, t: 54, b: 24 } : { l: 50, r: 12, t: 12, b: 40 },
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    showlegend: traces.filter((t) => t.showlegend !== false).length > 1,
    legend: { orientation: "h", y: 1.02, x: 0, yanchor: "bottom", font: { size: 11 }, traceorder: "normal" },
    hoverlabel: { align: "left", font: { size: 12 } },
    hovermode: "closest",
    dragmode: narrow.matches ? false : "zoom",
  };
}

// The order of bars, without those that are not shown: plotly would leave room for them.
function ordered(axis, traces, part, names) {
  if (!axis?.categoryarray) return axis;
  const rows = [...new Set(traces.flatMap((t) => t.customdata))].sort((a, b) => a - b);
  const there = new Set(traces.flatMap((t) => t.y));
  const all = traces[0]?.meta.names === "y" ? [...new Set(rows.map((row) => names[part.of[row]] + part.tails[row]))] : axis.categoryarray;
  return { ...axis, categoryarray: all.filter((text) => there.has(text)) };
}

function draw(canvas, figure, shown, style, part, names) {
  const traces = figure.data.filter((t) => !t.customdata || t.customdata.some((row) => shown.has(row))).map((t) => keepShown(t, shown));
  traces.forEach((t) => rename(t, part, names));
  const layoutOwn = { ...figure.layout, yaxis: ordered(figure.layout.yaxis, traces, part, names) };
  const dressed = traces.map((t) => dress(t, style, part.hover));
  const layout = layoutFor(layoutOwn, style, dressed, heightFor(style.width ?? canvas.clientWidth, figure, dressed));
  canvas.closest(".plot")?.classList.toggle("tall", layout.height > TALL && !narrow.matches);
  Plotly.react(canvas, dressed, layout, { responsive: true, displaylogo: false, displayModeBar: false });
}

// The free plot: any number against any other, one series a run.
function exploreFigure(part, x, y, logX, logY) {
  const groups = new Map();
  part.values[x].forEach((value, row) => {
    if (value === null || part.values[y][row] === null) return;
    if (!groups.has(part.of[row])) groups.set(part.of[row], []);
    groups.get(part.of[row]).push(row);
  });
  const data = [...groups].map(([run, rows]) => {
    rows.sort((a, b) => part.values[x][a] - part.values[x][b]);
    return {
      type: "scatter", mode: "lines+markers", name: part.full[run], x: rows.map((r) => part.values[x][r]), y: rows.map((r) => part.values[y][r]),
      customdata: rows, meta: { slot: run, names: "name" }, line: { width: 2 }, marker: { size: 7 },
    };
  });
  const axis = (key, log) => ({ title: { text: part.axes[key].replaceAll("<", "&lt;") }, type: log ? "log" : "linear", automargin: true });
  return { data, layout: { xaxis: axis(x, logX), yaxis: axis(y, logY) } };
}
