"use strict";
// Sorting and filtering: what a row holds stands in its markup, so the table reads well without scripts too.

function sortBy(table, column, descending) {
  const rows = [...table.tBodies[0].rows];
  const key = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent;
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
  table.dispatchEvent(new Event("sorted"));
  [...table.tHead.rows[0].cells].forEach((cell, i) => {
    if (i === column) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

// What a row of the table says, for plotly's hover box, which reads a little HTML in its texts.
function hoverOf(section) {
  const table = section.querySelector("table[data-keys]");
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = new Map([...table.tBodies[0].rows].map((row) => [Number(row.dataset.row), row]));
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return (index) => [...rows.get(index).cells]
    .map((cell, i) => (cell.textContent ? escaped(`${heads[i]}: ${cell.textContent.slice(0, 160)}`) : ""))
    .filter(Boolean).join("<br>");
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortBy(table, column, cell.getAttribute("aria-sort") === "ascending"));
  });
}

// Calls changed(Set of row indices) whenever another set of rows is kept; of many the table shows some at once.
function makeFilterable(section, changed) {
  const find = section.querySelector("[data-find]");
  const selects = [...section.querySelectorAll("[data-filter]")];
  const table = section.querySelector("table[data-keys]");
  const order = JSON.parse(table.dataset.keys);
  const rows = [...table.tBodies[0].rows].map((row) => {
    const values = JSON.parse(row.dataset.keys);
    return { row, keys: Object.fromEntries(order.map((key, i) => [key, values[i]])), text: null, keep: true };
  });
  const more = section.querySelector(".more");
  const memory = "mlsys:" + location.pathname + ":" + section.id;
  let room = Number(table.dataset.atOnce);
  const page = () => {
    const kept = new Map(rows.map((entry) => [entry.row, entry.keep]));
    let count = 0;
    for (const row of table.tBodies[0].rows) row.hidden = !kept.get(row) || ++count > room;
    more.hidden = count <= room;
    more.firstChild.textContent = `show ${Math.min(count - room, 500)} more of ${count} rows`;
  };
  const apply = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set();
    for (const entry of rows) {
      if (words.length) entry.text ??= entry.row.textContent.toLowerCase() + " " + Object.values(entry.keys).join(" ").toLowerCase();
      entry.keep = words.every((word) => entry.text.includes(word)) && selects.every((s) => s.value === "*" || entry.keys[s.dataset.filter] === s.value);
      if (entry.keep) shown.add(Number(entry.row.dataset.row));
    }
    section.querySelector("output").textContent = shown.size + " of " + rows.length;
    try { sessionStorage.setItem(memory, JSON.stringify([find.value, selects.map((s) => s.value)])); } catch { /* a page without storage just forgets */ }
    page();
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
  more.firstChild.addEventListener("click", () => { room += 500; page(); });
  table.addEventListener("sorted", page);
  apply();
}
