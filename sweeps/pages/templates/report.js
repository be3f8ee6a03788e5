"use strict";
// Headings sort: numbers by value, all else as text, empty cells last; a second click turns round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach(each => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
// All marks of the trial under the pointer light up; a click on its row keeps them lit.
let kept = null;
const light = trial => {
  document.body.classList.toggle("dim", trial !== null);
  for (const each of document.querySelectorAll("[data-trial]"))
    each.classList.toggle("lit", each.dataset.trial === trial);
};
const trialOf = event => event.target.closest?.("[data-trial]")?.dataset.trial ?? null;
document.addEventListener("pointerover", event => light(trialOf(event) ?? kept));
document.addEventListener("click", event => {
  const row = event.target.closest("tr[data-trial]");
  if (row) light(kept = kept === row.dataset.trial ? null : row.dataset.trial);
});
