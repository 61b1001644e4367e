"use strict";
// What moves in charts: values under the pointer, curves that are hidden. Nothing is fetched.

const make = (parent, tag, name) => {
  const element = document.createElement(tag);
  element.className = name;
  return parent.appendChild(element);
};

const shown = (value, percent) => {
  if (value === null) return "–";
  if (percent) return (100 * value).toFixed(2) + " %";
  const size = Math.abs(value);
  return value !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(+value.toPrecision(5));
};

// Charts: the pointer marks its place in all charts over the same axis, and reads the values in its own.
const plots = [...document.querySelectorAll(".chart")].map((figure) => {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot");
  const cross = make(plot, "div", "cross hidden");
  const tip = make(plot, "div", "tip hidden");
  return { figure, data, plot, cross, tip, axis: figure.dataset.x };
});

const share = ({ data }, x) => {
  const [low, high] = data.log[0] ? data.x.map(Math.log) : data.x;
  return ((data.log[0] ? Math.log(x) : x) - low) / (high - low);
};

const valueAt = ({ data }, share) => {
  const [low, high] = data.log[0] ? data.x.map(Math.log) : data.x;
  const x = low + share * (high - low);
  return data.log[0] ? Math.exp(x) : x;
};

const nearest = (points, x) => {
  let [from, to] = [0, points.length - 1];
  while (to - from > 1) {
    const middle = (from + to) >> 1;
    if (points[middle][0] < x) from = middle; else to = middle;
  }
  return x - points[from][0] <= points[to][0] - x ? from : to;
};

const mark = (chart, x) => {
  const at = share(chart, x);
  chart.cross.classList.toggle("hidden", !(at >= 0 && at <= 1));
  chart.cross.style.left = 100 * at + "%";
};

const read = (chart, x) => {
  const { data, tip, axis } = chart;
  const rows = data.series
    .filter((series) => series.points.length && !hidden.has(series.label))
    .map((series) => ({ series, i: nearest(series.points, x) }))
    .map(({ series, i }) => ({ series, point: series.points[i], spread: series.spread[i] }));
  if (!rows.length) return x;
  const closest = rows.reduce((a, b) => (Math.abs(b.point[0] - x) < Math.abs(a.point[0] - x) ? b : a)).point[0];
  tip.replaceChildren();
  make(tip, "div", "at").textContent = data.names.length
    ? data.names[Math.round(closest)] ?? ""
    : `${axis} ${shown(+closest.toFixed(2), false)}`;
  for (const { series, point, spread } of rows) {
    const row = make(tip, "div", series.class);
    make(row, "i", "").textContent = series.label || chart.figure.querySelector("b").textContent;
    const beside = spread ? " ± " + shown(+spread.toPrecision(2), data.percent) : "";
    make(row, "span", "value").textContent = shown(point[1], data.percent) + beside;
  }
  const at = share(chart, closest);
  tip.style.left = at < 0.5 ? `calc(${100 * at}% + .75rem)` : "auto";
  tip.style.right = at < 0.5 ? "auto" : `calc(${100 * (1 - at)}% + .75rem)`;
  tip.classList.remove("hidden");
  return closest;
};

for (const chart of plots) {
  const leave = () => plots.forEach(({ cross, tip }) => [cross, tip].forEach((e) => e.classList.add("hidden")));
  chart.plot.addEventListener("pointermove", (event) => {
    const box = chart.plot.getBoundingClientRect();
    const x = read(chart, valueAt(chart, (event.clientX - box.left) / box.width));
    plots.filter(({ axis }) => axis === chart.axis).forEach((other) => mark(other, x));
  });
  chart.plot.addEventListener("pointerleave", leave);
}

// The names above all charts: a click on one hides its curves everywhere.
const hidden = new Set();
for (const item of document.querySelectorAll(".legend.runs li")) {
  item.setAttribute("role", "button");
  item.tabIndex = 0;
  const toggle = () => {
    const name = item.textContent;
    const off = !hidden.delete(name) && !!hidden.add(name);
    item.classList.toggle("off", off);
    const same = [...item.classList].filter((c) => c !== "off").map((c) => "." + c).join("");
    const exact = (g) => g.classList.contains("dashed") === item.classList.contains("dashed");
    [...document.querySelectorAll(`.plot g${same}`)].filter(exact).forEach((g) => g.classList.toggle("hidden", off));
  };
  item.addEventListener("click", toggle);
  item.addEventListener("keydown", (event) => event.key === "Enter" && toggle());
}
