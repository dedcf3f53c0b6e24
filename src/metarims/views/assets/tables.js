"use strict";

// Tables are sorted by a column when its head is chosen: highest first, then lowest first, then as they were.

const NEXT_ORDER = /** @type {Record<string, string>} */ ({ none: "descending", descending: "ascending", ascending: "none" });

/** What a cell is sorted by: its number, or its text; null: nothing. @param {HTMLTableCellElement} cell */
function sortKey(cell) {
  const text = cell.dataset.value ?? cell.querySelector("strong")?.textContent ?? cell.textContent ?? "";
  if (text.trim() === "–") return null;
  const number = Number(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

/** Cells without a value stand last in either order. @param {HTMLTableRowElement[]} rows @param {number} column @param {number} sign */
function sortRows(rows, column, sign) {
  const keyed = rows.map((row) => ({ row, key: sortKey(row.cells[column]) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null);
    if (typeof a.key === "number" && typeof b.key === "number") return sign * (a.key - b.key);
    return -sign * String(a.key).localeCompare(String(b.key), "en", { numeric: true });
  });
  return keyed.map(({ row }) => row);
}

for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (document.querySelectorAll("table.results"))) {
  const body = table.tBodies[0], before = [...body.rows];
  const heads = /** @type {HTMLElement[]} */ ([...table.querySelectorAll("th[data-column]")]);
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    button.onclick = () => {
      const order = NEXT_ORDER[head.getAttribute("aria-sort") ?? "none"];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      body.append(...(order === "none" ? before : sortRows(before, Number(head.dataset.column), sign)));
    };
    head.append(button);
  }
}
