// Orbit, pan and zoom by mouse, pen, touch and keyboard.

export const HOME = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };
const STEP = 7.5; // degrees, of an arrow key

export class Orbit {
  constructor() {
    this.reset();
  }
  reset(yaw = 0) {
    Object.assign(this, HOME, { yaw });
  }
  turn(yaw, pitch) {
    this.yaw = (this.yaw + yaw) % 360;
    this.pitch = Math.min(89, Math.max(-89, this.pitch + pitch));
  }
  zoomBy(factor) {
    this.zoom = Math.min(60, Math.max(0.2, this.zoom * factor));
  }
  pan(x, y) {
    this.x = Math.min(3, Math.max(-3, this.x + x / this.zoom));
    this.y = Math.min(3, Math.max(-3, this.y + y / this.zoom));
  }
}

// Joins the events of an element to the orbit that `orbitOf` gives.
export function listen(element, orbitOf, { changed, picked, wheel }) {
  const pointers = new Map();
  let moved = 0;
  const middle = () => {
    const all = [...pointers.values()];
    const x = all.reduce((sum, p) => sum + p.x, 0) / all.length;
    const y = all.reduce((sum, p) => sum + p.y, 0) / all.length;
    const spread = all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 0;
    return { x, y, spread };
  };
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 1) moved = 0;
    else moved = Infinity;
  });
  element.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = middle();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = middle();
    const [x, y] = [after.x - before.x, after.y - before.y];
    moved += Math.abs(x) + Math.abs(y);
    const orbit = orbitOf();
    const height = element.clientHeight || 1;
    if (pointers.size > 1) {
      orbit.pan(x / height, -y / height);
      if (before.spread && after.spread) orbit.zoomBy(after.spread / before.spread);
    } else if (event.shiftKey || event.buttons & 6) orbit.pan(x / height, -y / height);
    else orbit.turn(-0.4 * x, 0.4 * y);
    changed();
  });
  const up = (event) => {
    if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved < 5) {
      const box = element.getBoundingClientRect();
      picked((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener(
    "wheel",
    (event) => {
      if (!wheel(element)) return;
      event.preventDefault();
      orbitOf().zoomBy(Math.exp(-Math.min(Math.max(event.deltaY, -90), 90) / 450));
      changed();
    },
    { passive: false },
  );
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const orbit = orbitOf();
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = arrow[event.key];
    if (step && event.shiftKey) orbit.pan(0.05 * step[0], 0.05 * step[1]);
    else if (step) orbit.turn(STEP * step[0], STEP * step[1]);
    else if (event.key === "+" || event.key === "=") orbit.zoomBy(1.15);
    else if (event.key === "-") orbit.zoomBy(1 / 1.15);
    else if (event.key === "0" || event.key === "Home") orbit.reset();
    else if (event.key === "1") orbit.reset(0);
    else if (event.key === "2") orbit.reset(90);
    else if (event.key === "3") orbit.reset(180);
    else if (event.key === "Enter" || event.key === " ") picked(0.5, 0.5);
    else return;
    event.preventDefault();
    changed();
  });
}
