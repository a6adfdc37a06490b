"use strict";
const table = document.querySelector("table.songs"), body = table.tBodies[0], search = document.querySelector("input");
const value = (row, column) => row.cells[column]?.dataset.value ?? row.cells[column]?.textContent.toLowerCase() ?? "";
search.hidden = false;
search.addEventListener("input", () => {
  const words = search.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(words);
});
// One stem plays at a time; another one of the same song goes on where it was, so that two can be compared by ear.
let playing = null;
body.addEventListener("play", ({ target }) => {
  if (playing !== null && playing !== target && !playing.paused) {
    if (playing.closest("tr") === target.closest("tr")) target.currentTime = playing.currentTime;
    playing.pause();
  }
  playing = target;
}, true);
for (const head of table.querySelectorAll("th[data-sort]")) head.addEventListener("click", () => {
  const column = Number(head.dataset.sort), down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const order = (a, b) => a.localeCompare(b, undefined, { numeric: true });
  const rows = [...body.rows].sort((a, b) => order(value(a, column), value(b, column)));
  body.append(...(down ? rows.reverse() : rows));
});
