// Triangles prepared for drawing, some at a time: which pixels their boxes hold, and the planes of
// their weights and depths. In arrays by field, so that the loops become vector code.
#ifndef MESHES_CPU_SETUP_H_
#define MESHES_CPU_SETUP_H_

#include "../arithmetic.h"
#include "level.h"

namespace {

constexpr int kBlock = 64;

// Rows [top, bottom) of one layer of one scene.
struct Band {
  int64_t layer, scene, top, bottom;
};

// Corners of a block of faces.
struct Corners {
  alignas(64) float x[3][kBlock], y[3][kBlock], z[3][kBlock];
};

// Boxes of a block of faces, and whether they hold any of the band.
struct Boxes {
  alignas(64) float left[kBlock], right[kBlock], top[kBlock], bottom[kBlock];
  alignas(64) int32_t kept[kBlock];
};

// Planes of the kept triangles side by side, and the pixels of their boxes.
struct Block {
  alignas(64) double weight[3][3][kBlock];
  alignas(64) double depth[3][kBlock];
  int32_t face[kBlock], left[kBlock], top[kBlock], columns[kBlock], rows[kBlock];
  int count;
};

// False when an index is out of range.
MESHES_INLINE bool gather(const meshes_triangles& task, int64_t scene, int64_t first, int count,
                          Corners& at) {
  const float* points = task.projected + 3 * scene * task.vertices;
  const int64_t* corners = task.corners + 3 * first;
  for (int n = 0; n < count; ++n) {
    for (int k = 0; k < 3; ++k) {
      const int64_t index = corners[3 * n + k];
      if (uint64_t(index) >= uint64_t(task.vertices)) return false;
      const float* point = points + 3 * index;
      at.x[k][n] = point[0], at.y[k][n] = point[1], at.z[k][n] = point[2];
    }
  }
  for (int n = count; n < kBlock; ++n) {
    for (int k = 0; k < 3; ++k) at.x[k][n] = at.y[k][n] = at.z[k][n] = 0.0f;  // area zero
  }
  return true;
}

MESHES_INLINE void bound(const meshes_triangles& task, const Band& band, const Corners& at,
                         Boxes& boxes) {
  const float last_column = float(task.width - 1), last_row = float(task.height - 1);
  const float band_top = float(band.top), band_bottom = float(band.bottom - 1);
  const float near = task.perspective ? kNear : -INFINITY;
  for (int n = 0; n < kBlock; ++n) {
    const Box box = box_of(at.x[0][n], at.y[0][n], at.z[0][n], at.x[1][n], at.y[1][n], at.z[1][n],
                           at.x[2][n], at.y[2][n], at.z[2][n], last_column, last_row, near);
    boxes.left[n] = box.left, boxes.right[n] = box.right;
    boxes.top[n] = box.top, boxes.bottom[n] = box.bottom;
    boxes.kept[n] = box.kept & int32_t(box.top <= band_bottom) & int32_t(box.bottom >= band_top);
  }
}

// Drops the faces that are seen from one side only and show the other.
MESHES_INLINE void cull(const uint8_t* one_sided, int count, const Corners& at, Boxes& boxes) {
  for (int n = 0; n < count; ++n) {
    const float area =
        screen_area(at.x[0][n], at.y[0][n], at.x[1][n], at.y[1][n], at.x[2][n], at.y[2][n]);
    boxes.kept[n] &= int32_t(one_sided[n] == 0) | int32_t(area < 0.0f);
  }
}

// Corners of the kept triangles, relative to their boxes, side by side.
MESHES_INLINE void pack(const Corners& at, const Boxes& boxes, int64_t first, int count,
                        double (&x)[3][kBlock], double (&y)[3][kBlock], double (&z)[3][kBlock],
                        Block& block) {
  int kept = 0;
  for (int n = 0; n < count; ++n) {
    if (!boxes.kept[n]) continue;
    const double left = double(boxes.left[n]) + 0.5, top = double(boxes.top[n]) + 0.5;
    for (int k = 0; k < 3; ++k) {
      x[k][kept] = double(at.x[k][n]) - left;
      y[k][kept] = double(at.y[k][n]) - top;
      z[k][kept] = double(at.z[k][n]);
    }
    block.face[kept] = int32_t(first + n);
    block.left[kept] = int32_t(boxes.left[n]);
    block.top[kept] = int32_t(boxes.top[n]);
    block.columns[kept] = int32_t(boxes.right[n]) - int32_t(boxes.left[n]) + 1;
    block.rows[kept] = int32_t(boxes.bottom[n]) - int32_t(boxes.top[n]) + 1;
    ++kept;
  }
  block.count = kept;
}

MESHES_INLINE void solve(const double (&x)[3][kBlock], const double (&y)[3][kBlock],
                         const double (&z)[3][kBlock], bool perspective, Block& block) {
  const int count = block.count;
  for (int n = 0; n < count; ++n) {
    const Planes planes = planes_of(x[0][n], y[0][n], z[0][n], x[1][n], y[1][n], z[1][n], x[2][n],
                                    y[2][n], z[2][n], perspective);
    for (int term = 0; term < 3; ++term) {
      block.weight[0][term][n] = planes.first[term];
      block.weight[1][term][n] = planes.second[term];
      block.weight[2][term][n] = planes.third[term];
      block.depth[term][n] = planes.depth[term];
    }
  }
}

// Calls draw(block) for the triangles of a band in the order of their faces; false when an index
// is out of range.
template <typename Draw>
bool for_each_block(const meshes_triangles& task, const Band& band, const Draw& draw) {
  alignas(64) double x[3][kBlock], y[3][kBlock], z[3][kBlock];
  Corners at;
  Boxes boxes;
  Block block;
  const int64_t end = task.starts[band.layer + 1];
  for (int64_t first = task.starts[band.layer]; first < end; first += kBlock) {
    const int count = int(end - first < kBlock ? end - first : kBlock);
    if (!gather(task, band.scene, first, count, at)) return false;
    bound(task, band, at, boxes);
    if (task.one_sided != nullptr) cull(task.one_sided + first, count, at, boxes);
    pack(at, boxes, first, count, x, y, z, block);
    solve(x, y, z, task.perspective != 0, block);
    draw(block);
  }
  return true;
}

// Calls work(band) for all bands, on several threads; false when an index is out of range.
template <typename Work>
bool for_each_band(const meshes_triangles& task, const Work& work) {
  const int64_t scenes = task.batch * task.layers;
  int64_t bands = scenes > 0 ? (task.threads + scenes - 1) / scenes : 1;
  if (bands > task.height) bands = task.height;
  const int threads = int(task.threads);
  int broken = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1) \
    reduction(| : broken)
  for (int64_t item = 0; item < scenes * bands; ++item) {
    const int64_t scene = item / bands, part = item % bands;
    const Band band = {scene / task.batch, scene % task.batch, task.height * part / bands,
                       task.height * (part + 1) / bands};
    broken |= !work(band);
  }
  return broken == 0;
}

MESHES_INLINE bool sizes_fit(const meshes_triangles& task) {
  constexpr int64_t kMostPixels = int64_t(1) << 24;  // of a side: exact in a float
  bool fit = task.batch >= 0 && task.vertices >= 0 && task.faces >= 0 && task.layers >= 0 &&
             task.faces <= INT32_MAX && task.threads >= 1 && task.threads <= INT32_MAX;
  fit = fit && task.height >= 1 && task.width >= 1 && task.height <= kMostPixels &&
        task.width <= kMostPixels && task.starts[0] >= 0 && task.starts[task.layers] <= task.faces;
  for (int64_t layer = 0; fit && layer < task.layers; ++layer) {
    fit = task.starts[layer] <= task.starts[layer + 1];
  }
  return fit;
}

}  // namespace

#endif  // MESHES_CPU_SETUP_H_
