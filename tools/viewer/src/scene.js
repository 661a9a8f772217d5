// Items drawn by WebGL: points as round splats, the body as a surface, bones as lines.

import {
  BufferAttribute,
  BufferGeometry,
  Color,
  CylinderGeometry,
  DoubleSide,
  GLSL3,
  InstancedMesh,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  PerspectiveCamera,
  Points,
  Quaternion,
  RawShaderMaterial,
  Scene,
  SphereGeometry,
  Vector3,
  WebGLRenderer,
} from "three";

const ANGLE = 26; // degrees, vertical angle of view of a square cell
const ROUND = 60000; // points up to which splats have depth of their own
const LIGHT = new Vector3(-0.35, 0.5, 0.8).normalize();

const HEAD = `
precision highp float;
uniform mat4 modelViewMatrix, projectionMatrix;
uniform mat3 normalMatrix;
uniform vec3 light;
in vec3 position, normal;
in vec4 tint;
out vec3 shade;
float factor() {
  vec3 n = normalMatrix * normal;
  float size = length(n);
  if (size < 1e-6) return 1.0;
  float facing = max(dot(n / size, light), 0.0);
  return 0.68 + 0.36 * facing;
}
`;
const POINT = `${HEAD}
uniform float scale, size, half_height, least, edge;
in float radius;
out float depth_radius, depth, pixels;
void main() {
  vec4 seen = modelViewMatrix * vec4(position, 1.0);
  gl_Position = tint.a < 0.25 ? vec4(2.0, 2.0, 2.0, 1.0) : projectionMatrix * seen;
  float metres = radius * scale * size * (tint.a > 0.75 ? 1.7 : 1.0);
  // A rim of one pixel fades out.
  gl_PointSize = 2.0 * edge + max(least, 2.0 * metres * half_height * projectionMatrix[1][1] / -seen.z);
  pixels = 0.5 * gl_PointSize;
  depth_radius = metres;
  depth = seen.z;
  shade = tint.rgb * factor();
}`;
const POINT_COLOR = `
precision highp float;
uniform mat4 projectionMatrix;
in vec3 shade;
in float depth_radius, depth, pixels;
out vec4 color;
void main() {
  vec2 place = 2.0 * gl_PointCoord - 1.0;
  float squared = dot(place, place);
  if (squared > 1.0) discard;
#ifdef ROUND
  // Nearer in the middle: neighbouring splats meet half-way, as cells of a Voronoi diagram.
  float z = depth + depth_radius * (0.5 - 0.5 * squared);
  gl_FragDepth = 0.5 + 0.5 * (projectionMatrix[2][2] * z + projectionMatrix[3][2]) / -z;
#endif
  // With alpha to coverage: smooth outlines.
  color = vec4(shade, clamp((1.0 - sqrt(squared)) * pixels, 0.0, 1.0));
}`;
const SURFACE = `${HEAD}
void main() {
  shade = tint.rgb * factor();
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}`;
const SURFACE_COLOR = `
precision highp float;
in vec3 shade;
out vec4 color;
void main() { color = vec4(shade, 1.0); }`;

function material(vertex, fragment, uniforms, more = {}) {
  return new RawShaderMaterial({
    glslVersion: GLSL3,
    vertexShader: vertex,
    fragmentShader: fragment,
    uniforms: { light: { value: LIGHT }, ...uniforms },
    ...more,
  });
}

export class Stage {
  constructor(canvas, items) {
    // Its own context: one without alpha, so that coverage does not shine through.
    const context = canvas.getContext("webgl2", { alpha: false, antialias: true });
    if (!context) throw new Error("no WebGL 2");
    this.renderer = new WebGLRenderer({ canvas, context });
    this.renderer.setScissorTest(true);
    this.renderer.autoClear = false;
    this.camera = new PerspectiveCamera(ANGLE, 1, 0.01, 100);
    this.items = items;
    this.parts = new Map();
    this.many = items.reduce((sum, item) => sum + item.count, 0) > ROUND;
    this.extent = Math.max(...items.map((item) => Math.max(item.bounds.size[1], item.bounds.size[0])));
    this.depth = Math.max(...items.map((item) => item.bounds.size[2]));
    this.width = Math.max(...items.map((item) => Math.hypot(item.bounds.size[0], item.bounds.size[2])));
    this.height = Math.max(...items.map((item) => item.bounds.size[1]));
    this.drawn = 0; // points of the last frame
    this.frames = 0;
  }

  // Objects of an item, made when it is first shown.
  of(item) {
    if (!this.parts.has(item)) this.parts.set(item, this.build(item));
    return this.parts.get(item);
  }

  build(item) {
    const scene = new Scene();
    const geometry = new BufferGeometry();
    const normals = new Float32Array(3 * item.count);
    geometry.setAttribute("position", new BufferAttribute(item.points, 3));
    geometry.setAttribute("normal", new BufferAttribute(normals, 3));
    geometry.setAttribute("radius", new BufferAttribute(item.radius, 1, true));
    geometry.setAttribute("tint", new BufferAttribute(item.tint, 4, true));
    const order = shuffled(item.count);
    geometry.setIndex(new BufferAttribute(order, 1));
    const scale = { value: item.largest };
    const fine = !this.many || item.count < ROUND / 4;
    const points = new Points(
      geometry,
      material(
        POINT,
        POINT_COLOR,
        { scale, size: { value: 1 }, half_height: { value: 100 }, least: { value: 1.5 }, edge: { value: fine ? 1 : 0 } },
        fine ? { defines: { ROUND: 1 }, alphaToCoverage: true } : {},
      ),
    );
    points.frustumCulled = false;
    scene.add(points);
    let surface = null;
    if (item.faces) {
      const body = new BufferGeometry();
      for (const name of ["position", "normal", "tint"]) body.setAttribute(name, geometry.getAttribute(name));
      body.setIndex(new BufferAttribute(item.faces, 1));
      addNormals(item.points, item.faces, normals);
      surface = new Mesh(body, material(SURFACE, SURFACE_COLOR, {}, { side: DoubleSide }));
      surface.frustumCulled = false;
      scene.add(surface);
    }
    const bones = item.bones ? boneMesh(item.bones) : null;
    if (bones) scene.add(...bones);
    return { scene, points, surface, bones, geometry, order };
  }

  repaint(item) {
    const built = this.parts.get(item);
    if (!built) return;
    built.geometry.getAttribute("tint").needsUpdate = true;
    if (built.rest) built.rest.geometry.setIndex(new BufferAttribute(restOf(item), 1));
  }

  aim(item, orbit, width, height) {
    const { center } = item.bounds;
    const camera = this.camera;
    camera.aspect = width / height;
    camera.fov = ANGLE;
    const tangent = Math.tan((ANGLE * Math.PI) / 360);
    const needed = Math.max(this.height / 2, this.width / 2 / camera.aspect) * 1.16;
    const distance = (needed / tangent + this.depth / 2) / orbit.zoom;
    const [yaw, pitch] = [(orbit.yaw * Math.PI) / 180, (orbit.pitch * Math.PI) / 180];
    const back = new Vector3(
      Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch),
    );
    const right = new Vector3(Math.cos(yaw), 0, -Math.sin(yaw));
    const up = new Vector3().crossVectors(back, right);
    const span = 2 * needed;
    const target = new Vector3(...center)
      .addScaledVector(right, -orbit.x * span)
      .addScaledVector(up, -orbit.y * span);
    camera.position.copy(target).addScaledVector(back, distance);
    camera.up.set(0, 1, 0);
    camera.lookAt(target);
    camera.near = Math.max(distance / 200, 1e-3);
    camera.far = distance + 20 * Math.max(this.extent, this.depth);
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    return camera;
  }

  resize(width, height, ratio) {
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.size = { width, height, ratio };
  }

  // False while the frame drawn last is not finished.
  done() {
    const gl = this.renderer.getContext();
    if (this.fence && gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
    if (this.fence) gl.deleteSync(this.fence);
    this.fence = null;
    return true;
  }

  // cells: [{item, orbit, x, y, width, height}] in CSS pixels from the upper left.
  draw(cells, state, fraction) {
    const { renderer } = this;
    const { width, height, ratio } = this.size;
    renderer.setScissor(0, 0, width, height);
    renderer.setViewport(0, 0, width, height);
    renderer.setClearColor(new Color(state.paper));
    renderer.clear();
    this.drawn = 0;
    for (const cell of cells) {
      const built = this.of(cell.item);
      const bottom = height - cell.y - cell.height;
      renderer.setViewport(cell.x, bottom, cell.width, cell.height);
      renderer.setScissor(cell.x, bottom, cell.width, cell.height);
      const solid = state.surface && built.surface;
      const uniforms = built.points.material.uniforms;
      uniforms.size.value = state.size * Math.sqrt(1 / fraction);
      uniforms.half_height.value = (cell.height * ratio) / 2;
      uniforms.least.value = Math.max(1.5, ratio);
      const count = Math.ceil(cell.item.count * fraction);
      built.points.geometry.setDrawRange(0, count);
      if (built.surface) built.surface.visible = solid;
      built.points.visible = !solid;
      if (!solid) this.drawn += count;
      if (built.bones) for (const bone of built.bones) bone.visible = state.skeleton;
      const camera = this.aim(cell.item, cell.orbit, cell.width, cell.height);
      if (solid) this.drawRest(built, cell.item, camera);
      renderer.render(built.scene, camera);
    }
    this.frames += 1;
    const gl = renderer.getContext();
    if (this.fence) gl.deleteSync(this.fence);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  // Beside a surface: the points that it does not hold, and marked ones.
  drawRest(built, item, camera) {
    if (!built.rest) {
      const geometry = new BufferGeometry();
      for (const name of ["position", "normal", "radius", "tint"]) {
        geometry.setAttribute(name, built.geometry.getAttribute(name));
      }
      geometry.setIndex(new BufferAttribute(restOf(item), 1));
      built.rest = new Points(geometry, built.points.material);
      built.rest.frustumCulled = false;
      built.restScene = new Scene();
      built.restScene.add(built.rest);
    }
    this.renderer.render(built.restScene, camera);
  }

  // The point at a place of a cell, (0, 0) upper left to (1, 1): the nearest one to the viewer
  // within a few pixels; null for none.
  pick(cell, x, y) {
    const camera = this.aim(cell.item, cell.orbit, cell.width, cell.height);
    const matrix = new Matrix4().multiplyMatrices(camera.projectionMatrix, camera.matrixWorldInverse);
    const e = matrix.elements;
    const { points, tint, count } = cell.item;
    const reach = 12;
    let best = null;
    let least = Infinity;
    for (let i = 0; i < count; i++) {
      if (!tint[4 * i + 3]) continue;
      const [px, py, pz] = [points[3 * i], points[3 * i + 1], points[3 * i + 2]];
      const w = e[3] * px + e[7] * py + e[11] * pz + e[15];
      if (w <= 0) continue;
      const u = ((e[0] * px + e[4] * py + e[8] * pz + e[12]) / w + 1) / 2 - x;
      const v = (1 - (e[1] * px + e[5] * py + e[9] * pz + e[13]) / w) / 2 - y;
      const away = Math.hypot(u * cell.width, v * cell.height);
      // A pixel beside the place weighs as much as a centimetre of depth.
      const cost = w + 0.01 * away;
      if (away < reach && cost < least) [best, least] = [i, cost];
    }
    return best;
  }
}

function restOf(item) {
  item.held ??= item.faces.reduce((most, index) => Math.max(most, index), -1) + 1;
  const index = Array.from({ length: item.count - item.held }, (_, row) => item.held + row);
  return Uint32Array.from(index.concat(item.marked.filter((i) => i < item.held)));
}

function shuffled(count) {
  const order = new Uint32Array(count);
  let seed = 12345;
  for (let i = 0; i < count; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

function addNormals(points, faces, normals) {
  const at = (i) => new Vector3(points[3 * i], points[3 * i + 1], points[3 * i + 2]);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [at(faces[f]), at(faces[f + 1]), at(faces[f + 2])];
    const n = b.sub(a).cross(c.sub(a));
    for (let corner = 0; corner < 3; corner++) {
      const i = 3 * faces[f + corner];
      normals[i] += n.x;
      normals[i + 1] += n.y;
      normals[i + 2] += n.z;
    }
  }
}

function boneMesh(bones) {
  const paint = new MeshBasicMaterial({ color: "#d55e00", depthTest: false, transparent: true, opacity: 0.92 });
  const lines = new InstancedMesh(new CylinderGeometry(0.008, 0.008, 1, 8), paint, bones.length);
  const joints = new InstancedMesh(new SphereGeometry(0.017, 12, 8), paint, 2 * bones.length);
  const up = new Vector3(0, 1, 0);
  bones.forEach(([from, to], row) => {
    const [a, b] = [new Vector3(...from), new Vector3(...to)];
    const along = b.clone().sub(a);
    const long = Math.max(along.length(), 1e-6);
    const turn = new Quaternion().setFromUnitVectors(up, along.clone().divideScalar(long));
    const place = a.clone().add(b).divideScalar(2);
    lines.setMatrixAt(row, new Matrix4().compose(place, turn, new Vector3(1, long, 1)));
    joints.setMatrixAt(2 * row, new Matrix4().setPosition(a));
    joints.setMatrixAt(2 * row + 1, new Matrix4().setPosition(b));
  });
  for (const mesh of [lines, joints]) {
    mesh.frustumCulled = false;
    mesh.renderOrder = 2;
  }
  return [lines, joints];
}
