// What moves in a report beside its charts: the slider, sorting. Nothing is fetched.

// Reconstructions: the slider chooses the epoch.
for (const slider of document.querySelectorAll(".slider input")) {
  const epochs = JSON.parse(slider.dataset.epochs);
  slider.addEventListener("input", () => {
    document.getElementById("pictures").dataset.picture = slider.value;
    slider.parentElement.querySelector("output").textContent = epochs[slider.value];
  });
}

// Tables: a click on a heading sorts, a second one the other way round; what is missing stays at the end.
for (const table of document.querySelectorAll(".sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const order = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.order !== undefined) return +cell.dataset.order;
    return cell.classList.contains("number") ? null : cell.textContent;
  };
  headings.forEach((heading, column) => {
    heading.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [order(a, column), order(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        const before = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return down ? -before : before;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

for (const button of document.querySelectorAll(".command button")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "copied";
  });
}

// A run in training writes its report anew after each epoch. Nobody who is reading in it is disturbed.
if (document.body.hasAttribute("data-growing")) {
  let touched = 0;
  for (const event of ["pointermove", "keydown", "input"]) addEventListener(event, () => (touched = Date.now()));
  setInterval(() => document.hidden || Date.now() - touched < 60_000 || location.reload(), 30_000);
}
