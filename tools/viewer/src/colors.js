// Colours of the points in each mode.

import { farthest, nearest } from "./data.js";

export function rgb(text) {
  const value = parseInt(text.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

// Colour of a fraction in [0, 1] on a map of equally spaced stops.
export function mapped(stops, fraction) {
  const place = Math.min(Math.max(fraction, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((value, c) => Math.round(value + (stops[low + 1][c] - value) * (place - low)));
}

// Fills item.tint (N, 4): RGB; in the last channel 0 for hidden points,
// 128 for shown ones, 255 for marked ones, which are drawn larger.
export function paint(item, state, palette) {
  const tint = (item.tint ??= new Uint8Array(4 * item.count));
  const neutral = palette.neutral[state.dark ? 1 : 0];
  const put = (i, color) => tint.set(color, 4 * i);
  const faded = (i) => {
    for (let c = 0; c < 3; c++) tint[4 * i + c] = 0.75 * neutral[c] + 0.25 * item.colors[3 * i + c];
  };
  for (let i = 0; i < item.count; i++) {
    const shown =
      (state.background || !item.background[i]) &&
      (state.occluded || item.visible[i]) &&
      !(state.parts.size && !item.background[i] && state.parts.has(item.part[i]));
    tint[4 * i + 3] = shown ? 128 : 0;
    if (state.mode === "part") {
      put(i, item.background[i] ? palette.background : palette.parts[item.part[i]]);
    } else if (state.mode === "visibility") {
      const color = item.visible[i] ? palette.visible : palette.occluded;
      put(i, item.background[i] ? palette.background : color);
    } else if (state.mode === "contribution" && item.contribution) {
      put(i, mapped(palette.map[state.signed ? "signed" : "rising"], item.contribution[i] / 255));
    } else if (state.mode === "image") {
      if (item.visible[i]) put(i, item.colors.subarray(3 * i, 3 * i + 3));
      else put(i, neutral);
    } else faded(i);
  }
  item.marked = [];
  if (state.mode === "neighbors") {
    if (item.point === null) item.point = middle(item);
    item.marked = nearest(item, item.point, state.neighbors);
  } else if (state.mode === "fps") item.marked = farthest(item, state.samples);
  item.marked.forEach((i, rank) => {
    const color = mapped(palette.map.ranks, rank / Math.max(item.marked.length - 1, 1));
    put(i, state.mode === "neighbors" && i === item.point ? palette.chosen : color);
    tint[4 * i + 3] = 255;
  });
}

// The point nearest to the front of the middle: the first one whose neighbourhood is shown.
function middle(item) {
  const { center, size } = item.bounds;
  const place = [center[0], center[1] + 0.2 * size[1], center[2] + size[2]];
  let best = 0;
  let least = Infinity;
  for (let i = 0; i < item.count; i++) {
    if (item.background[i] && item.behind < item.count) continue;
    const x = item.points[3 * i] - place[0];
    const y = item.points[3 * i + 1] - place[1];
    const z = item.points[3 * i + 2] - place[2];
    const squared = x * x + y * y + z * z;
    if (squared < least) [best, least] = [i, squared];
  }
  return best;
}
