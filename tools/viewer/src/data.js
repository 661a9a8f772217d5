// Items of the page's data: quantised arrays in base64.

const BACKGROUND = 127; // of the lower seven bits of a flag; the eighth is "visible"

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

const words = (text) => new Uint16Array(bytes(text).buffer);
const longs = (text) => new Uint32Array(bytes(text).buffer);

export function readItem(raw, meshes) {
  const count = raw.count;
  const units = words(raw.points);
  const flags = bytes(raw.flags);
  const points = new Float32Array(3 * count);
  for (let i = 0; i < 3 * count; i++) points[i] = raw.origin[i % 3] + raw.step[i % 3] * units[i];
  const background = new Uint8Array(count);
  const part = new Uint8Array(count);
  const visible = new Uint8Array(count);
  let behind = 0;
  for (let i = 0; i < count; i++) {
    part[i] = flags[i] & 127;
    visible[i] = flags[i] >> 7;
    background[i] = part[i] === BACKGROUND ? 1 : 0;
    behind += background[i];
  }
  const { faces } = meshes[raw.mesh];
  return {
    name: raw.name,
    count,
    units,
    points,
    origin: raw.origin,
    step: raw.step,
    colors: bytes(raw.colors),
    radius: bytes(raw.radius),
    largest: raw.largest,
    part,
    visible,
    background,
    behind,
    contribution: raw.contribution ? bytes(raw.contribution) : null,
    samples: raw.samples ? longs(raw.samples) : null,
    bones: raw.bones,
    image: raw.image,
    faces: faces.length ? faces : null,
    point: null, // of the neighbourhood
    bounds: boundsOf(points, background, behind === count),
  };
}

export function readMeshes(raw) {
  return raw.map((mesh) => ({ faces: longs(mesh.faces) }));
}

// Box of the points that are not background, or of all if there are no others.
function boundsOf(points, background, all) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < background.length; i++) {
    if (background[i] && !all) continue;
    for (let axis = 0; axis < 3; axis++) {
      low[axis] = Math.min(low[axis], points[3 * i + axis]);
      high[axis] = Math.max(high[axis], points[3 * i + axis]);
    }
  }
  return {
    center: low.map((value, axis) => (value + high[axis]) / 2),
    size: low.map((value, axis) => Math.max(high[axis] - value, 1e-3)),
  };
}

// The k nearest points of one, itself included, nearest first; ties by index.
export function nearest(item, point, k) {
  const at = item.points.subarray(3 * point, 3 * point + 3);
  const squared = new Float32Array(item.count);
  for (let i = 0; i < item.count; i++) {
    const x = item.points[3 * i] - at[0];
    const y = item.points[3 * i + 1] - at[1];
    const z = item.points[3 * i + 2] - at[2];
    squared[i] = x * x + y * y + z * z;
  }
  const bound = squared.slice().sort()[Math.min(k, item.count) - 1];
  const found = [];
  for (let i = 0; i < item.count; i++) if (squared[i] <= bound) found.push(i);
  found.sort((a, b) => squared[a] - squared[b] || a - b);
  return found.slice(0, k);
}

const MOST = 60000; // points among which samples are drawn

// Farthest-point samples of the points on the body (of all, if there are none), in order.
export function farthest(item, amount) {
  if (item.samples) return Array.from(item.samples.subarray(0, amount));
  if (item.drawn && item.drawn.length >= Math.min(amount, item.among)) {
    return item.drawn.slice(0, amount);
  }
  let from = [];
  for (let i = 0; i < item.count; i++) {
    if (!item.background[i] || item.behind === item.count) from.push(i);
  }
  if (from.length > MOST) {
    const stride = Math.ceil(from.length / MOST);
    from = from.filter((_, row) => row % stride === 0);
  }
  item.among = from.length;
  const away = new Float64Array(from.length).fill(Infinity);
  const drawn = [];
  let row = 0;
  for (let n = 0; n < Math.min(amount, from.length); n++) {
    drawn.push(from[row]);
    const at = item.points.subarray(3 * from[row], 3 * from[row] + 3);
    let next = 0;
    for (let j = 0; j < from.length; j++) {
      const x = item.points[3 * from[j]] - at[0];
      const y = item.points[3 * from[j] + 1] - at[1];
      const z = item.points[3 * from[j] + 2] - at[2];
      const squared = x * x + y * y + z * z;
      if (squared < away[j]) away[j] = squared;
      if (away[j] > away[next]) next = j;
    }
    row = next;
  }
  item.drawn = drawn;
  return drawn.slice();
}
