"use strict";
// Sorting and filtering: what a row holds stands in its markup, so the table reads well without scripts too.

function sortBy(table, column, descending) {
  const rows = [...table.tBodies[0].rows];
  const key = (row) => {
    const text = row.cells[column].dataset.v ?? "";
    const value = Number(text);
    return text === "" ? null : Number.isNaN(value) ? text : value;
  };
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return descending ? -way : way;
  };
  rows.sort((a, b) => order(key(a), key(b)));
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, i) => {
    if (i === column) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortBy(table, column, cell.getAttribute("aria-sort") === "ascending"));
  });
}

// Calls changed(Set of row indices) whenever another set of rows is shown.
function makeFilterable(section, changed) {
  const find = section.querySelector("[data-find]");
  const selects = [...section.querySelectorAll("[data-filter]")];
  const rows = [...section.querySelectorAll("tbody tr[data-row]")];
  const memory = "mlsys:" + location.pathname + ":" + section.id;
  const apply = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set();
    for (const row of rows) {
      const keys = JSON.parse(row.dataset.keys);
      const text = row.textContent.toLowerCase() + " " + Object.values(keys).join(" ").toLowerCase();
      const keep = words.every((word) => text.includes(word)) && selects.every((s) => s.value === "*" || keys[s.dataset.filter] === s.value);
      row.hidden = !keep;
      if (keep) shown.add(Number(row.dataset.row));
    }
    section.querySelector("output").textContent = shown.size + " of " + rows.length;
    try { sessionStorage.setItem(memory, JSON.stringify([find.value, selects.map((s) => s.value)])); } catch { /* a page without storage just forgets */ }
    changed(shown);
  };
  try {
    const [text, values] = JSON.parse(sessionStorage.getItem(memory)) ?? ["", []];
    find.value = text;
    selects.forEach((s, i) => { if ([...s.options].some((o) => o.value === values[i])) s.value = values[i]; });
  } catch { /* nothing remembered */ }
  find.addEventListener("input", apply);
  selects.forEach((s) => s.addEventListener("change", apply));
  section.querySelector("[data-clear]").addEventListener("click", () => {
    find.value = "";
    selects.forEach((s) => { s.value = "*"; });
    apply();
  });
  apply();
}
