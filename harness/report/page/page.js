"use strict";

// Tables: the head of a column sorts by it, up and down in turn; cells without a number come last.
// The number of a cell is the result of a product that is written out, else the one that it begins with.
function numberIn(text) {
  const found = text.split("= ").pop().trim().match(/^[+-]?\d[\d,]*(?:\.\d+)?/);
  return found ? Number(found[0].replaceAll(",", "")) : null;
}

function keyOf(row, column, numeric) {
  const text = row.cells[column].textContent.trim();
  return numeric ? numberIn(text) : text.toLowerCase();
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const numeric = heads[column].classList.contains("number");
  const up = heads[column].ariaSort === "ascending" ? false : heads[column].ariaSort === "descending" ? true : !numeric;
  heads.forEach((head, place) => { head.ariaSort = place !== column ? "none" : up ? "ascending" : "descending"; });
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column, numeric), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = numeric ? a - b : a.localeCompare(b);
    return up ? order : -order;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}

// Classes: what is typed filters the rows.
const search = document.getElementById("search");
search.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  const rows = [...document.getElementById("class-table").tBodies[0].rows];
  for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  const count = rows.filter((row) => !row.hidden).length;
  document.getElementById("found").textContent = `${count} ${count === 1 ? "class" : "classes"}`;
});

// Figures: a press opens one in a dialog, where it can be enlarged and scrolled.
const viewer = document.getElementById("viewer");
const picture = viewer.querySelector("img");
let percent = 100;

function zoomTo(value) {
  percent = Math.min(800, Math.max(25, value));
  picture.style.width = `${percent}%`;
}

for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    picture.src = image.src;
    picture.alt = image.alt;
    document.getElementById("viewer-title").textContent = button.closest("figure").querySelector("h2, h3").textContent;
    zoomTo(100);
    viewer.showModal();
  });
}

const zooms = {
  in: () => zoomTo(percent * 1.5),
  out: () => zoomTo(percent / 1.5),
  fit: () => zoomTo(100),
  close: () => viewer.close(),
};
for (const button of viewer.querySelectorAll("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);
viewer.addEventListener("keydown", (event) => {
  const action = { "+": "in", "=": "in", "-": "out", 0: "fit" }[event.key];
  if (action) zooms[action]();
});

// Kernel positions: the slider moves the elements of each stage from epoch to epoch.
function drawn(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function panel(run, stage, parent) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const half = run.side / 2;
  const svg = drawn("svg", { viewBox: `${-half - 2.4} ${-half - 0.6} ${run.side + 3} ${run.side + 3}`, role: "img" }, figure);
  // the panel reaches as far as its elements ever get, and a cell more
  const far = Math.max(...stage.time.flat().map(Math.abs), ...stage.frequency.flat().map(Math.abs));
  const reach = Math.min(half, Math.ceil(far) + 1.5);
  const scale = half / reach;
  const [high, wide] = stage.map.map((cells) => Math.min(half, scale * (cells - 0.5)));
  drawn("rect", { x: -half, y: -half, width: run.side, height: run.side, class: "outside" }, svg);
  drawn("rect", { x: -wide, y: -high, width: 2 * wide, height: 2 * high, class: "inside" }, svg);
  drawn("rect", { x: -half, y: -half, width: run.side, height: run.side, class: "frame" }, svg);
  drawn("line", { x1: -half, y1: 0, x2: half, y2: 0, class: "axis" }, svg);
  drawn("line", { x1: 0, y1: -half, x2: 0, y2: half, class: "axis" }, svg);
  drawn("text", { x: 0, y: half + 1.7, "text-anchor": "middle" }, svg).textContent = `time offset → (±${reach} cells)`;
  const side = drawn("text", { x: 0, y: -half - 0.9, "text-anchor": "middle", transform: "rotate(-90)" }, svg);
  side.textContent = `frequency offset → (±${reach} cells)`;
  const plot = drawn("g", { transform: `scale(${scale})` }, svg);
  const elements = stage.time[0].map((_, element) => {
    const place = (epoch) => [stage.time[epoch][element], -stage.frequency[epoch][element]];
    const [x, y] = place(0);
    const trail = drawn("polyline", { class: "trail", style: `stroke-width: ${0.12 / scale}` }, plot);
    drawn("circle", { cx: x, cy: y, r: 0.34 / scale, class: "start", style: `stroke-width: ${0.1 / scale}` }, plot);
    const now = drawn("circle", { cx: x, cy: y, r: 0.3 / scale, class: "now" }, plot);
    return { place, trail, now };
  });
  figure.append(caption);
  parent.append(figure);
  return (epoch) => {
    let moved = 0;
    for (const { place, trail, now } of elements) {
      const [x, y] = place(epoch);
      now.setAttribute("cx", x);
      now.setAttribute("cy", y);
      trail.setAttribute("points", Array.from({ length: epoch + 1 }, (_, step) => place(step).join(",")).join(" "));
      moved += Math.hypot(x - place(0)[0], y - place(0)[1]);
    }
    const mean = (moved / Math.max(1, elements.length)).toFixed(2);
    caption.textContent = `Stage ${stage.stage}: ${elements.length} elements, ${mean} cells from their start on average`;
    svg.setAttribute("aria-label", `${caption.textContent}, at epoch ${run.epochs[epoch]}`);
  };
}

function positions(runs) {
  const chosen = document.getElementById("run");
  const slider = document.getElementById("epoch");
  const play = document.getElementById("play");
  let panels = [];
  let timer = 0;
  const show = () => {
    const epoch = runs[chosen.value].epochs[slider.value];
    panels.forEach((move) => move(Number(slider.value)));
    slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
    document.getElementById("epoch-shown").textContent = `epoch ${epoch}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  const choose = () => {
    const run = runs[chosen.value];
    const parent = document.getElementById("panels");
    stop();
    parent.replaceChildren();
    panels = run.stages.map((stage) => panel(run, stage, parent));
    slider.max = run.epochs.length - 1;
    slider.value = slider.max;
    show();
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    play.textContent = "Stop";
    timer = setInterval(() => {
      if (slider.value === slider.max) return stop();
      slider.value = Number(slider.value) + 1;
      show();
    }, 700);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  chosen.addEventListener("change", choose);
  choose();
}

const recorded = document.getElementById("positions-data");
if (recorded) positions(JSON.parse(recorded.textContent));

// Clips: a log-mel is bytes, lowest band first; louder is darker on light paper.
for (const canvas of document.querySelectorAll(".mel")) {
  const bytes = Uint8Array.from(atob(canvas.dataset.values), (one) => one.charCodeAt(0));
  const [bands, frames] = [Number(canvas.dataset.bands), Number(canvas.dataset.frames)];
  canvas.width = frames;
  canvas.height = bands;
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, bands);
  for (let band = 0; band < bands; band += 1) {
    for (let frame = 0; frame < frames; frame += 1) {
      const place = 4 * ((bands - 1 - band) * frames + frame);
      const grey = 255 - bytes[band * frames + frame];
      image.data.set([grey, grey, grey, 255], place);
    }
  }
  context.putImageData(image, 0, 0);
}

// Print shows what is folded away on the screen.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
