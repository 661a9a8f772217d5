// The page: controls, cells, legend, level of detail.

import { Orbit, listen } from "./camera.js";
import { mapped, paint, rgb } from "./colors.js";
import { readItem, readMeshes } from "./data.js";
import { Detail } from "./detail.js";
import { Stage } from "./scene.js";

const $ = (id) => document.getElementById(id);
const css = (color) => `rgb(${color.join(" ")})`;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "style") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function start() {
  const data = JSON.parse($("data").textContent);
  const palette = {
    parts: data.palette.parts.map(rgb),
    neutral: data.palette.neutral.map(rgb),
    background: rgb(data.palette.background),
    visible: rgb(data.palette.visible),
    occluded: rgb(data.palette.occluded),
    chosen: rgb(data.palette.chosen),
    map: Object.fromEntries(["ranks", "rising", "signed"].map((name) => [name, data.palette[name].map(rgb)])),
  };
  const meshes = readMeshes(data.meshes);
  const items = data.items.map((raw) => readItem(raw, meshes));
  const has = (test) => items.some(test);
  const state = {
    ...data.look,
    parts: new Set(),
    signed: data.signed,
    size: 1,
    page: 0,
    linked: true,
  };
  if (data.look.point !== null) {
    for (const item of items) item.point = Math.min(data.look.point, item.count - 1);
  }
  for (const item of items) paint(item, state, palette);
  const canvas = $("canvas");
  let stage;
  try {
    stage = new Stage(canvas, items);
  } catch {
    $("stage").append(make("p", { className: "notice" }, "This page needs WebGL 2, which this browser does not offer."));
    return;
  }
  const shared = new Orbit();
  shared.reset(data.look.yaw);
  for (const item of items) {
    item.orbit = new Orbit();
    item.orbit.reset(data.look.yaw);
  }
  const orbitOf = (item) => (state.linked ? shared : item.orbit);
  let cells = [];
  let detail = new Detail(0);
  let pending = false;
  let moving = 0; // time of the last motion
  let moved = false; // since the last frame, however long that took
  let before = 0;
  let ratio = 0;

  // --- drawing: on demand, finely when at rest ------------------------------------------------
  function request(motion = false) {
    if (motion) {
      moving = performance.now();
      moved = true;
    }
    if (!pending) {
      pending = true;
      requestAnimationFrame(draw);
    }
  }
  function fit(wanted) {
    const { clientWidth: width, clientHeight: height } = $("stage");
    if (ratio === wanted && stage.size?.width === width && stage.size?.height === height) return;
    ratio = wanted;
    stage.resize(Math.max(width, 1), Math.max(height, 1), ratio);
  }
  function draw(now) {
    pending = false;
    // Frames wait for the one before: requests alone would queue up behind a slow renderer.
    if (!stage.done()) return request();
    const active = state.spin || moved || now - moving < 160;
    moved = false;
    if (before) detail[active ? "note" : "refine"](now - before);
    const fine = Math.min(window.devicePixelRatio || 1, 2);
    fit(active ? Math.max(0.3, fine * detail.resolution) : fine);
    if (state.spin) {
      for (const orbit of [shared, ...items.map((item) => item.orbit)]) {
        orbit.turn(0.03 * Math.min(now - spun, 100), 0);
      }
      spun = now;
    }
    stage.draw(placed(), state, active ? detail.fraction : detail.rest);
    const again = active || detail.coarse;
    before = again ? now : 0;
    if (again) request();
  }
  let spun = 0;
  function placed() {
    const origin = $("stage").getBoundingClientRect();
    return cells.map(({ element, item }) => {
      const box = element.getBoundingClientRect();
      return {
        item,
        orbit: orbitOf(item),
        x: Math.round(box.left - origin.left),
        y: Math.round(box.top - origin.top),
        width: Math.max(Math.round(box.width), 1),
        height: Math.max(Math.round(box.height), 1),
      };
    });
  }

  // --- cells: a page of items ------------------------------------------------------------------
  function layout() {
    const { clientWidth: width, clientHeight: height } = $("stage");
    const unit = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const most = [Math.max(1, Math.floor(width / (11 * unit))), Math.max(1, Math.floor(height / (17 * unit)))];
    const shown = Math.min(items.length, most[0] * most[1]);
    let [columns, rows] = [1, shown];
    let best = 0;
    for (let c = 1; c <= Math.min(shown, most[0]); c++) {
      const r = Math.ceil(shown / c);
      if (r > most[1]) continue;
      const scale = Math.min(width / c / Math.max(stage.width, 0.45 * stage.height), height / r / stage.height);
      if (scale > best * 1.001) [best, columns, rows] = [scale, c, r];
    }
    const pages = Math.ceil(items.length / shown);
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * shown;
    const wanted = items.slice(first, first + shown);
    $("cells").style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
    $("pages").hidden = pages < 2;
    $("stage").classList.toggle("paged", pages > 1);
    $("where").textContent = `${first + 1}–${first + wanted.length} of ${items.length}`;
    $("before").disabled = state.page === 0;
    $("after").disabled = state.page === pages - 1;
    state.pages = pages;
    if (cells.length !== wanted.length || cells.some((cell, row) => cell.item !== wanted[row])) {
      cells = wanted.map(cellOf);
      $("cells").replaceChildren(...cells.map((cell) => cell.element));
      const points = wanted.reduce((sum, item) => sum + item.count, 0);
      detail = new Detail(points);
      pictures();
    }
    request();
  }
  function cellOf(item) {
    const label = item.name || `cloud ${items.indexOf(item) + 1}`;
    const element = make("div", { className: "cell", tabIndex: 0, role: "application",
      ariaRoleDescription: "3D view", ariaLabel: `${label}: ${item.count} points. Arrow keys turn the view.` });
    if (item.name) {
      element.append(make("div", { className: "name", title: item.name, ariaHidden: "true" }, make("bdi", {}, item.name)));
    }
    listen(element, () => orbitOf(item), {
      changed: () => request(true),
      picked: (x, y) => choose(item, element, x, y),
      wheel: () => !data.embedded || element.contains(document.activeElement),
    });
    return { element, item };
  }
  function pictures() {
    for (const { element, item } of cells) {
      element.querySelector("img")?.remove();
      if (state.image && item.image) {
        element.append(make("img", { src: item.image, alt: `image of ${item.name || "the cloud"}` }));
      }
    }
  }
  function choose(item, element, x, y) {
    const cell = placed().find((each) => each.item === item);
    const point = stage.pick(cell, x, y);
    if (point === null) return say("");
    item.point = point;
    const words = [item.name, `point ${point}`];
    words.push(item.background[point] ? "background" : data.parts[item.part[point]]);
    if (!item.background[point]) words.push(item.visible[point] ? "visible" : "occluded");
    if (item.contribution) words.push(`contribution ${amount(item.contribution[point] / 255)}`);
    say(words.filter(Boolean).join(" · "));
    if (state.mode === "neighbors") repaint([item]);
  }
  const say = (text) => ($("status").textContent = text);
  const amount = (fraction) => {
    const [low, high] = data.range;
    return Number((low + fraction * (high - low)).toPrecision(3)).toString();
  };

  // --- colours and legend ------------------------------------------------------------------------
  function repaint(only = items) {
    for (const item of only) {
      paint(item, state, palette);
      stage.repaint(item);
    }
    request();
  }
  function legend() {
    const box = $("legend");
    const entry = (color, text) => make("div", { className: "entry" }, swatch(color), text);
    const swatch = (color) =>
      make("span", { className: "swatch", ariaHidden: "true", style: `background:${css(color)};border-color:${css(color)}` });
    const neutral = palette.neutral[state.dark ? 1 : 0];
    const ramp = (map, low, high) => [
      make("div", { className: "bar", ariaHidden: "true",
        style: `background:linear-gradient(to right, ${map.map((c) => css(c)).join(",")})` }),
      make("div", { className: "ends" }, make("span", {}, low), make("span", {}, high)),
    ];
    const slider = (name, text, low, high) => {
      const input = make("input", { type: "range", min: low, max: high, step: 1, value: state[name] });
      const output = make("output", {}, String(state[name]));
      input.addEventListener("input", () => {
        state[name] = Number(input.value);
        output.textContent = input.value;
        repaint();
      });
      return make("label", { className: "slide" }, make("span", {}, text), input, output);
    };
    const back = has((item) => item.behind) && state.background;
    const grey = () => (back ? [entry(palette.background, "background")] : []);
    const content = {
      image: () => (has((item) => item.visible.includes(0)) ? [entry(neutral, "not in the image")] : []),
      visibility: () => [
        entry(palette.visible, "visible"), entry(palette.occluded, "occluded"), ...grey(),
      ],
      part: () => [
        ...data.parts.map((name, row) => {
          const button = make("button", { className: "entry", type: "button",
            ariaPressed: String(!state.parts.has(row)), title: `show or hide: ${name}` },
            swatch(palette.parts[row]), name);
          button.addEventListener("click", () => {
            state.parts[state.parts.has(row) ? "delete" : "add"](row);
            button.ariaPressed = String(!state.parts.has(row));
            repaint();
          });
          return button;
        }),
        ...grey(),
      ],
      neighbors: () => [
        slider("neighbors", "Neighbours", 1, 256),
        ...ramp(palette.map.ranks, "nearest", "farthest"),
        entry(palette.chosen, "chosen point"),
        make("p", { className: "note" }, "Click a point to choose it."),
      ],
      fps: () => [
        slider("samples", "Farthest points", 1, 1024),
        ...ramp(palette.map.ranks, "first", "last"),
      ],
      contribution: () => ramp(palette.map[state.signed ? "signed" : "rising"], amount(0), amount(1)),
    };
    box.replaceChildren(...content[state.mode]());
  }

  // --- controls ------------------------------------------------------------------------------------
  const modes = [
    ["image", "Image"], ["visibility", "Visibility"], ["part", "Body part"],
    ["neighbors", "Neighbours"], ["fps", "Farthest points"],
    ...(has((item) => item.contribution) ? [["contribution", "Contribution"]] : []),
  ];
  for (const [value, text] of modes) {
    const input = make("input", { type: "radio", name: "mode", value, checked: value === state.mode });
    input.addEventListener("change", () => {
      state.mode = value;
      say("");
      repaint();
      legend();
    });
    $("modes").append(make("label", { className: "pill" }, input, make("span", {}, text)));
  }
  const solid = has((item) => item.faces);
  $("forms").hidden = !solid;
  state.surface = state.surface && solid;
  for (const input of document.querySelectorAll("input[name=form]")) {
    input.checked = (input.value === "surface") === state.surface;
    input.addEventListener("change", () => {
      state.surface = input.value === "surface";
      request();
    });
  }
  const checks = {
    background: has((item) => item.behind && item.behind < item.count),
    occluded: has((item) => item.visible.includes(0)),
    skeleton: has((item) => item.bones),
    image: has((item) => item.image),
    linked: items.length > 1,
  };
  for (const [name, needed] of Object.entries(checks)) {
    const input = $(name);
    input.closest("label").hidden = !needed;
    if (!needed && name === "background") state.background = true;
    input.checked = state[name];
    input.addEventListener("change", () => {
      state[name] = input.checked;
      if (name === "linked") {
        for (const item of items) Object.assign(item.orbit, shared);
      } else if (name === "image") pictures();
      else if (name !== "skeleton") {
        repaint();
        legend();
      }
      request();
    });
  }
  $("shows").hidden = !Object.values(checks).some(Boolean);
  const size = $("size");
  const sized = () => (size.parentElement.querySelector("output").textContent = `${Number(size.value).toFixed(1)}×`);
  size.addEventListener("input", () => {
    state.size = Number(size.value);
    sized();
    request();
  });
  sized();
  $("reset").addEventListener("click", () => {
    for (const orbit of [shared, ...items.map((item) => item.orbit)]) orbit.reset();
    request(true);
  });
  $("spin").addEventListener("click", () => {
    state.spin = !state.spin;
    $("spin").ariaPressed = String(state.spin);
    spun = performance.now();
    request(true);
  });
  function theme(dark) {
    state.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    state.paper = getComputedStyle(document.documentElement).getPropertyValue("--view").trim();
    $("theme").ariaPressed = String(dark);
    repaint();
    legend();
  }
  $("theme").addEventListener("click", () => theme(!state.dark));
  function settings(open) {
    $("settings").hidden = !open;
    $("panel").ariaExpanded = String(open);
    layout();
  }
  $("panel").addEventListener("click", () => settings($("settings").hidden));
  $("help").addEventListener("click", () => $("keys").showModal());
  for (const [id, step] of [["before", -1], ["after", 1]]) {
    $(id).addEventListener("click", () => {
      state.page = Math.min(Math.max(state.page + step, 0), state.pages - 1);
      layout();
    });
  }

  // --- screenshot --------------------------------------------------------------------------------
  function screenshot() {
    fit(Math.max(Math.min(window.devicePixelRatio || 1, 2), 1));
    const places = placed();
    stage.draw(places, state, 1);
    const picture = make("canvas", { width: canvas.width, height: canvas.height });
    const pen = picture.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    const unit = ratio * parseFloat(getComputedStyle(document.documentElement).fontSize);
    pen.font = `${0.9 * unit}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    for (const cell of places) {
      const [x, y] = [ratio * (cell.x + cell.width / 2), ratio * (cell.y + cell.height) - 0.7 * unit];
      pen.fillText(cell.item.name, x, y, ratio * cell.width - unit);
    }
    return picture;
  }
  $("shot").addEventListener("click", () => {
    screenshot().toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: "view.png" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      say("saved view.png");
    });
  });

  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => request());
  new ResizeObserver(layout).observe($("stage"));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(data.look.dark === null ? dark.matches : data.look.dark);
  dark.addEventListener("change", () => data.look.dark === null && theme(dark.matches));
  settings(data.look.settings && Math.min(innerWidth, innerHeight) > 480);
  globalThis.viewer = { state, items, orbit: shared, stage, request, screenshot, get detail() { return detail; } };
}

start();
