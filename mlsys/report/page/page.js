// Puts the parts together: each section filters its own table and plots; colours follow the reader's scheme and print.

const content = JSON.parse(document.getElementById("data").textContent);
const redraws = [];
const PRINTED = 660; // px: the width of a sheet
let printing = false;

const pause = () => new Promise((resolve) => { setTimeout(resolve); });

function setUp(section) {
  const part = content.sections[section.dataset.workload];
  let shown = new Set(part.of.keys());
  part.hover = hoverOf(section);
  let turn = 0;
  const explore = section.querySelector(".explore");
  const pick = (name) => explore.querySelector(`[data-axis=${name}]`);
  const log = (name) => explore.querySelector(`[data-log=${name}]`);
  for (const name of ["x", "y"]) {
    for (const [key, text] of Object.entries(part.axes)) pick(name).add(new Option(text, key));
  }
  const first = (...keys) => keys.find((key) => key in part.axes) ?? Object.keys(part.axes)[0];
  pick("x").value = first("load", "n", "queries");
  pick("y").value = first("throughput_rps", "wall_ms", "latency_ms");
  // One plot after the other, so that the first is seen at once; a newer call stops an older one.
  const redraw = async (at_once = false) => {
    const mine = ++turn;
    const style = { ...colors(content, darkScheme.matches && !printing), width: printing ? PRINTED : undefined };
    const kept = chosen(part, shown);
    const { lines, said } = kept;
    const names = namesOf(part, lines);
    const note = section.querySelector(".drawn");
    note.textContent = said;
    note.hidden = !said;
    for (const canvas of section.querySelectorAll(".plots [data-plot]")) {
      const figure = part.plots[canvas.dataset.plot];
      const rows = figure.data[0].type !== "bar" ? lines : figure.layout.barmode === "stack" ? kept.bars : kept.grouped;
      draw(canvas, figure, rows, style, part, names);
      if (!at_once) await pause();
      if (mine !== turn) return;
    }
    if (explore.open && Object.keys(part.axes).length) {
      const figure = exploreFigure(part, pick("x").value, pick("y").value, log("x").checked, log("y").checked);
      draw(explore.querySelector("[data-plot]"), figure, lines, style, part, names);
    }
  };
  explore.addEventListener("toggle", () => redraw());
  explore.querySelectorAll("select, input").forEach((control) => control.addEventListener("change", () => redraw()));
  section.querySelectorAll("table").forEach(makeSortable);
  redraws.push(redraw);
  let drawn;
  makeFilterable(section, (rows) => { shown = rows; drawn = redraw(); });
  return drawn;
}

const redrawAll = () => redraws.forEach((redraw) => redraw(true));
darkScheme.addEventListener("change", redrawAll);
narrow.addEventListener("change", redrawAll);
addEventListener("beforeprint", () => { printing = true; redrawAll(); });
addEventListener("afterprint", () => { printing = false; redrawAll(); });
(async () => {
  for (const section of document.querySelectorAll("section[data-workload]")) await setUp(section);
  document.documentElement.dataset.ready = "yes";
})();
