// Level of detail while the view moves: resolution first, then the fraction of the points.

const LEVELS = [
  [1, 1],
  [0.7, 1],
  [0.5, 1],
  [0.5, 0.5],
  [0.5, 0.25],
  [0.4, 0.12],
  [0.4, 0.06],
  [0.3, 0.03],
];
const SLOW = 50; // milliseconds of a frame: 20 per second
const FAST = 36;
const PATIENCE = 700; // milliseconds of a frame at rest, beyond which points stay left out

export class Detail {
  constructor(points) {
    this.level = points > 2e5 ? 5 : points > 5e4 ? 2 : 0;
    this.rest = points > 2e5 ? LEVELS[5][1] : 1; // fraction of the points of a view at rest
    this.floor = 0; // a level that was too slow before
    this.settled = false;
    this.mean = 30;
    this.calm = 0;
  }
  get resolution() {
    return LEVELS[this.level][0];
  }
  get fraction() {
    return LEVELS[this.level][1];
  }
  // True while a view at rest shall be drawn again, with more points.
  get coarse() {
    return this.rest < 1 && !this.settled;
  }
  // Takes the time of a frame at rest.
  refine(milliseconds) {
    if (milliseconds > PATIENCE) this.settled = true;
    else if (this.coarse) this.rest = Math.min(1, 2 * this.rest);
  }
  // Takes the time of a frame in motion; true if the level changed.
  note(milliseconds) {
    const time = Math.min(milliseconds, 400);
    this.mean += (time - this.mean) * (time > this.mean ? 0.5 : 0.2);
    const before = this.level;
    if (this.mean > SLOW && this.level < LEVELS.length - 1) {
      this.floor = Math.max(this.floor, this.level + 1);
      this.level += time > 2.5 * SLOW && this.level < LEVELS.length - 2 ? 2 : 1;
      this.mean = 30;
      this.calm = 0;
    } else if (this.mean < FAST && this.level > 0 && ++this.calm > (this.level > this.floor ? 8 : 90)) {
      // A level that was too slow is tried again, later.
      this.level -= 1;
      this.floor = Math.min(this.floor, this.level);
      this.calm = 0;
    }
    return this.level !== before;
  }
}
