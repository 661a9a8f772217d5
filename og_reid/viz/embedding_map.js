"use strict";
// Points of a map: hover, click, or arrow keys select one; its group and its neighbours stand out.
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("map");
const layer = svg.querySelector("g");
const card = document.getElementById("card");
const SVG = "http://www.w3.org/2000/svg";
const SIDE = 1000;
const SHAPES = ["M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0", "M-5.5-5.5h11v11h-11z", "M0-7.5L6.8 5H-6.8z",
  "M0-8L6.5 0L0 8L-6.5 0z", "M0 7.5L-6.8-5H6.8z", "M-2.2-6.5h4.4v4.3h4.3v4.4h-4.3v4.3h-4.4v-4.3h-4.3v-4.4h4.3z"];
let selected = -1;
let view = [0, 0, SIDE];
let asImages = false;

function look(group) {
  return group < 0 ? ["none", SHAPES[0]] :
    [`s${group % 6 + 1}`, SHAPES[(group + Math.floor(group / 6)) % 6]];
}

const points = data.points.map((point, index) => {
  const node = document.createElementNS(SVG, "g");
  const mark = document.createElementNS(SVG, "path");
  const [color, shape] = look(point.group);
  mark.setAttribute("d", shape);
  mark.setAttribute("class", color);
  node.append(mark);
  node.dataset.index = index;
  layer.append(node);
  return node;
});

function place() {
  const box = svg.getBoundingClientRect();
  const scale = view[2] / SIDE * Math.max(1, 600 / Math.min(box.width, box.height));
  svg.setAttribute("viewBox", `${view[0]} ${view[1]} ${view[2]} ${view[2]}`);
  points.forEach((node, i) => node.setAttribute("transform",
    `translate(${data.points[i].x * SIDE} ${data.points[i].y * SIDE}) scale(${scale})`));
}

function image(point) {
  const node = new Image();
  node.src = point.image;
  node.alt = "";
  return node;
}

function line(text, kind) {
  const node = document.createElement("p");
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

function select(index, moves) {
  selected = index;
  const point = data.points[index];
  svg.classList.toggle("chosen", index >= 0);
  points.forEach((node, i) => {
    const other = data.points[i];
    node.classList.toggle("here", i === index);
    node.classList.toggle("kin", index >= 0 && i !== index && point.group >= 0 && other.group === point.group);
    node.classList.toggle("near", index >= 0 && point.near.includes(i));
  });
  card.replaceChildren();
  if (index < 0) {
    card.append(line("no point selected", "soft"));
    return;
  }
  layer.append(points[index]);
  if (point.image) card.append(image(point));
  card.append(line(point.name, "name"));
  if (point.group >= 0) card.append(line(data.groups[point.group], "soft"));
  if (point.near.length) {
    card.append(line("nearest embeddings", "soft"));
    const row = document.createElement("div");
    row.className = "near-row";
    for (const i of point.near) {
      const other = data.points[i];
      const button = document.createElement("button");
      const same = point.group < 0 || other.group < 0 ? "" : other.group === point.group ? "✓ " : "✗ ";
      if (other.image) button.append(image(other));
      button.append(`${same}${other.name}`);
      button.className = same === "✓ " ? "right" : same === "✗ " ? "wrong" : "";
      button.addEventListener("click", () => { select(i, true); svg.focus(); });
      row.append(button);
    }
    card.append(row);
  }
  if (moves) show(point);
}

function show(point) {  // moves the view where the point is outside
  const x = point.x * SIDE, y = point.y * SIDE, edge = view[2] * 0.05;
  view[0] = Math.min(Math.max(view[0], x + edge - view[2]), x - edge);
  view[1] = Math.min(Math.max(view[1], y + edge - view[2]), y - edge);
  place();
}

function step(dx, dy) {  // nearest point in a direction
  if (selected < 0) return select(0, true);
  const from = data.points[selected];
  let best = -1, least = Infinity;
  data.points.forEach((point, i) => {
    const x = point.x - from.x, y = point.y - from.y;
    const along = x * dx + y * dy, beside = Math.abs(x * dy - y * dx);
    if (i === selected || along < 0 || (along === 0 && beside === 0 && i < selected)) return;
    const cost = Math.hypot(along, 2 * beside);
    if (along >= beside && cost < least) { best = i; least = cost; }
  });
  if (best >= 0) select(best, true);
}

function zoom(factor, x = view[0] + view[2] / 2, y = view[1] + view[2] / 2) {
  const size = Math.min(Math.max(view[2] * factor, SIDE / 40), SIDE);
  const kept = size / view[2];
  view = [x - (x - view[0]) * kept, y - (y - view[1]) * kept, size];
  view[0] = Math.min(Math.max(view[0], 0), SIDE - size);
  view[1] = Math.min(Math.max(view[1], 0), SIDE - size);
  place();
}

function at(event) {
  const box = svg.getBoundingClientRect();
  const side = Math.min(box.width, box.height);
  return [view[0] + (event.clientX - box.left - (box.width - side) / 2) / side * view[2],
    view[1] + (event.clientY - box.top - (box.height - side) / 2) / side * view[2]];
}

function toggleImages(wanted) {
  asImages = wanted;
  svg.classList.toggle("images", wanted);
  points.forEach((node, i) => {
    const point = data.points[i];
    const old = node.querySelector("image");
    if (old) old.remove();
    if (!wanted || !point.image) return;
    const made = document.createElementNS(SVG, "image");
    made.setAttribute("href", point.image);
    for (const [name, value] of [["x", -14], ["y", -28], ["width", 28], ["height", 56]]) made.setAttribute(name, value);
    node.prepend(made);
  });
}

function nearest(event) {  // point under the pointer, or close to it
  const [x, y] = at(event);
  const box = svg.getBoundingClientRect();
  let best = -1, least = 18 * view[2] / Math.min(box.width, box.height);
  data.points.forEach((point, i) => {
    const distance = Math.hypot(point.x * SIDE - x, point.y * SIDE - y);
    if (distance < least) { best = i; least = distance; }
  });
  return best;
}

let drag = null;
svg.addEventListener("pointerdown", (event) => {
  drag = [event.clientX, event.clientY, ...view];
  svg.setPointerCapture(event.pointerId);
});
svg.addEventListener("pointermove", (event) => {
  if (!drag) {
    const index = nearest(event);
    if (index >= 0 && index !== selected) select(index, false);
    return;
  }
  const box = svg.getBoundingClientRect();
  const side = Math.min(box.width, box.height);
  view[0] = Math.min(Math.max(drag[2] - (event.clientX - drag[0]) / side * view[2], 0), SIDE - view[2]);
  view[1] = Math.min(Math.max(drag[3] - (event.clientY - drag[1]) / side * view[2], 0), SIDE - view[2]);
  place();
});
svg.addEventListener("pointerup", (event) => {
  const moved = drag && Math.hypot(event.clientX - drag[0], event.clientY - drag[1]);
  drag = null;
  if (moved > 4) return;
  select(nearest(event), false);
});
svg.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== svg) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, ...at(event));
}, {passive: false});
svg.addEventListener("keydown", (event) => {
  const keys = {ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1), "+": () => zoom(1 / 1.4), "=": () => zoom(1 / 1.4), "-": () => zoom(1.4),
    0: () => zoom(40), Escape: () => select(-1, false)};
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
document.getElementById("in").addEventListener("click", () => zoom(1 / 1.4));
document.getElementById("out").addEventListener("click", () => zoom(1.4));
document.getElementById("all").addEventListener("click", () => { zoom(40); select(-1, false); });
document.getElementById("images").addEventListener("change", (event) => toggleImages(event.target.checked));
const search = document.getElementById("search");
search.addEventListener("input", () => {
  const text = search.value.trim().toLowerCase();
  const index = text ? data.points.findIndex((point) => point.name.toLowerCase().includes(text)) : -1;
  select(index, index >= 0);
});
addEventListener("resize", place);
place();
select(-1, false);
