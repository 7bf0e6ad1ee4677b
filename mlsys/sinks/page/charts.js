// Plots come ready from the records; here they get the rows that are shown, the reader's colours and their size.

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");

function colors(content, dark) {
  const style = dark
    ? { ink: "#e8e9eb", soft: "#a0a5ad", grid: "#33373c", limit: "#a0a5ad" }
    : { ink: "#1a1c1f", soft: "#5c6168", grid: "#e4e6e8", limit: "#6b7077" };
  style.palette = dark ? content.dark : content.light;
  return style;
}

function keepShown(trace, shown) {
  const copy = structuredClone(trace);
  if (!trace.customdata) return copy;
  const kept = trace.customdata.map((row, i) => (shown.has(row) ? i : -1)).filter((i) => i >= 0);
  const pick = (list) => kept.map((i) => list[i]);
  copy.customdata = pick(trace.customdata);
  if (trace.dimensions) {
    copy.dimensions.forEach((dimension, i) => { dimension.values = pick(trace.dimensions[i].values); });
    copy.line.color = pick(trace.line.color);
    return copy;
  }
  copy.x = pick(trace.x);
  copy.y = pick(trace.y);
  if (trace.error_y) {
    copy.error_y.array = pick(trace.error_y.array);
    copy.error_y.arrayminus = pick(trace.error_y.arrayminus);
  }
  return copy;
}

function dress(trace, style, hover) {
  const slot = trace.meta?.slot ?? 0;
  if (slot === -2) {
    trace.labelfont = { color: style.ink };
    trace.tickfont = { color: style.soft };
    trace.rangefont = { color: "rgba(0,0,0,0)" };
    return trace;
  }
  const color = slot === -1 ? style.limit : style.palette[slot % style.palette.length];
  if (trace.line) trace.line.color = color;
  if (trace.marker) trace.marker.color = color;
  if (trace.error_y) trace.error_y.color = color;
  if (trace.customdata) {
    trace.hovertext = trace.customdata.map((row, i) => "<b>" + trace.name + (trace.y[i] == null ? "" : ": " + Number(trace.y[i]).toPrecision(4)) + "</b><br>" + hover[row]);
    trace.hoverinfo = "text";
  } else {
    trace.hovertext = trace.y.map((y) => trace.name + ": " + y.toPrecision(4));
    trace.hoverinfo = "text";
  }
  return trace;
}

function layoutFor(layout, style, traces) {
  const axis = (own) => ({ ...own, gridcolor: style.grid, zerolinecolor: style.grid, linecolor: style.grid, title: { ...own?.title, font: { size: 12, color: style.soft } } });
  const named = traces.filter((t) => t.showlegend !== false).length;
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.ink, family: "system-ui, sans-serif", size: 12 },
    margin: { l: 56, r: 12, t: 12, b: 44 },
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    showlegend: named > 1,
    legend: narrow.matches || named > 6 ? { orientation: "h", y: -0.22, x: 0, yanchor: "top", font: { size: 11 } } : { orientation: "h", y: 1.02, x: 0, yanchor: "bottom", font: { size: 11 } },
    hoverlabel: { align: "left", font: { size: 12 } },
    hovermode: "closest",
    dragmode: narrow.matches ? false : "zoom",
  };
}

function draw(canvas, figure, shown, style, hover) {
  const traces = figure.data.map((t) => keepShown(t, shown)).filter((t) => !t.customdata || t.customdata.length);
  const dressed = traces.map((t) => dress(t, style, hover));
  Plotly.react(canvas, dressed, layoutFor(figure.layout, style, dressed), { responsive: true, displaylogo: false, displayModeBar: false });
}

// The free plot: any number against any other, one series a run name.
function exploreFigure(part, x, y, logX, logY) {
  const groups = new Map();
  part.values[x].forEach((value, row) => {
    if (value === null || part.values[y][row] === null) return;
    if (!groups.has(part.names[row])) groups.set(part.names[row], []);
    groups.get(part.names[row]).push(row);
  });
  const data = [...groups].map(([name, rows], slot) => {
    rows.sort((a, b) => part.values[x][a] - part.values[x][b]);
    return {
      type: "scatter", mode: "lines+markers", name, x: rows.map((r) => part.values[x][r]), y: rows.map((r) => part.values[y][r]),
      customdata: rows, meta: { slot }, line: { width: 2 }, marker: { size: 7 },
    };
  });
  const axis = (key, log) => ({ title: { text: part.axes[key].replaceAll("<", "&lt;") }, type: log ? "log" : "linear", automargin: true });
  return { data, layout: { xaxis: axis(x, logX), yaxis: axis(y, logY) } };
}
