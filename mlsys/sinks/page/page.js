// Puts the parts together: each section filters its own table and plots; colours follow the reader's scheme and print.

const content = JSON.parse(document.getElementById("data").textContent);
const redraws = [];
let printing = false;

function setUp(section) {
  const part = content.sections[section.dataset.workload];
  let shown = new Set(part.hover.keys());
  const explore = section.querySelector(".explore");
  const pick = (name) => explore.querySelector(`[data-axis=${name}]`);
  const log = (name) => explore.querySelector(`[data-log=${name}]`);
  for (const name of ["x", "y"]) {
    for (const [key, text] of Object.entries(part.axes)) pick(name).add(new Option(text, key));
  }
  const first = (...keys) => keys.find((key) => key in part.axes) ?? Object.keys(part.axes)[0];
  pick("x").value = first("load", "n", "queries");
  pick("y").value = first("throughput_rps", "wall_ms", "latency_ms");
  const redraw = () => {
    const style = colors(content, darkScheme.matches && !printing);
    for (const canvas of section.querySelectorAll(".plots [data-plot]")) draw(canvas, part.plots[canvas.dataset.plot], shown, style, part.hover);
    if (explore.open && Object.keys(part.axes).length) {
      const figure = exploreFigure(part, pick("x").value, pick("y").value, log("x").checked, log("y").checked);
      draw(explore.querySelector("[data-plot]"), figure, shown, style, part.hover);
    }
  };
  explore.addEventListener("toggle", redraw);
  explore.querySelectorAll("select, input").forEach((control) => control.addEventListener("change", redraw));
  section.querySelectorAll("table").forEach(makeSortable);
  redraws.push(redraw);
  makeFilterable(section, (rows) => { shown = rows; redraw(); });
}

document.querySelectorAll("section[data-workload]").forEach(setUp);
const redrawAll = () => redraws.forEach((redraw) => redraw());
darkScheme.addEventListener("change", redrawAll);
narrow.addEventListener("change", redrawAll);
addEventListener("beforeprint", () => { printing = true; redrawAll(); });
addEventListener("afterprint", () => { printing = false; redrawAll(); });
document.documentElement.dataset.ready = "yes";
