// Triangles prepared for drawing, some at a time: which pixels their boxes hold, and the planes of
// their weights and depths. In arrays by field, so that the loops become vector code.
#ifndef MESHES_CPU_SETUP_H_
#define MESHES_CPU_SETUP_H_

#include <cmath>

#include "level.h"

namespace {

constexpr int kBlock = 64;
constexpr float kNear = 0.01f;  // nearest z in perspective

// Rows [top, bottom) of one layer of one scene.
struct Band {
  int64_t layer, scene, top, bottom;
};

// Corners of a block of faces.
struct Corners {
  alignas(64) float x[3][kBlock], y[3][kBlock], z[3][kBlock];
};

// Bounding boxes in pixels, both ends included, and whether they hold any of the band.
struct Boxes {
  alignas(64) float left[kBlock], right[kBlock], top[kBlock], bottom[kBlock];
  alignas(64) int32_t kept[kBlock];
};

// Triangles in double precision. At pixel (i, j) of its box a triangle has the weights
// slope_x * i + slope_y * j + start, and the plane of depth (of 1 / depth in perspective) the same.
struct Planes {
  alignas(64) double weight[3][3][kBlock];
  alignas(64) double depth[3][kBlock];
  int32_t face[kBlock], left[kBlock], top[kBlock], columns[kBlock], rows[kBlock];
  int count;
};

MESHES_INLINE float least(float a, float b, float c) {
  const float first = a < b ? a : b;
  return first < c ? first : c;
}

MESHES_INLINE float most(float a, float b, float c) {
  const float first = a > b ? a : b;
  return first > c ? first : c;
}

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

// A NaN or an infinity in x or y makes the area not finite.
MESHES_INLINE void bound(const meshes_triangles& task, const Band& band, const Corners& at,
                         Boxes& box) {
  const float last_column = float(task.width - 1), last_row = float(task.height - 1);
  const float band_top = float(band.top), band_bottom = float(band.bottom - 1);
  const float near = task.perspective ? kNear : -INFINITY;
  for (int n = 0; n < kBlock; ++n) {
    const float x0 = at.x[0][n], x1 = at.x[1][n], x2 = at.x[2][n];
    const float y0 = at.y[0][n], y1 = at.y[1][n], y2 = at.y[2][n];
    const float z0 = at.z[0][n], z1 = at.z[1][n], z2 = at.z[2][n];
    const float area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
    const float sum = area + z0 + z1 + z2;
    const float left = std::ceil(least(x0, x1, x2) - 0.5f);
    const float right = std::floor(most(x0, x1, x2) - 0.5f);
    const float top = std::ceil(least(y0, y1, y2) - 0.5f);
    const float bottom = std::floor(most(y0, y1, y2) - 0.5f);
    box.left[n] = left > 0.0f ? left : 0.0f;
    box.right[n] = right < last_column ? right : last_column;
    box.top[n] = top > 0.0f ? top : 0.0f;
    box.bottom[n] = bottom < last_row ? bottom : last_row;
    box.kept[n] = (area != 0.0f) & (sum - sum == 0.0f) & (box.left[n] <= box.right[n]) &
                  (box.top[n] <= box.bottom[n]) & (box.top[n] <= band_bottom) &
                  (box.bottom[n] >= band_top) & (least(z0, z1, z2) > near);
  }
}

// Drops the faces that are seen from one side only and show the other.
MESHES_INLINE void cull(const uint8_t* one_sided, int count, const Corners& at, Boxes& box) {
  for (int n = 0; n < count; ++n) {
    const float area = (at.x[1][n] - at.x[0][n]) * (at.y[2][n] - at.y[0][n]) -
                       (at.x[2][n] - at.x[0][n]) * (at.y[1][n] - at.y[0][n]);
    box.kept[n] &= int32_t(one_sided[n] == 0) | int32_t(area < 0.0f);
  }
}

// Corners of the kept triangles from the centre of the box's first pixel, side by side: small
// numbers keep the products exact.
MESHES_INLINE void pack(const Corners& at, const Boxes& box, int64_t first, int count,
                        double (&x)[3][kBlock], double (&y)[3][kBlock], double (&z)[3][kBlock],
                        Planes& planes) {
  int kept = 0;
  for (int n = 0; n < count; ++n) {
    if (!box.kept[n]) continue;
    const double left = double(box.left[n]) + 0.5, top = double(box.top[n]) + 0.5;
    for (int k = 0; k < 3; ++k) {
      x[k][kept] = double(at.x[k][n]) - left;
      y[k][kept] = double(at.y[k][n]) - top;
      z[k][kept] = double(at.z[k][n]);
    }
    planes.face[kept] = int32_t(first + n);
    planes.left[kept] = int32_t(box.left[n]);
    planes.top[kept] = int32_t(box.top[n]);
    planes.columns[kept] = int32_t(box.right[n]) - int32_t(box.left[n]) + 1;
    planes.rows[kept] = int32_t(box.bottom[n]) - int32_t(box.top[n]) + 1;
    ++kept;
  }
  planes.count = kept;
}

// A triangle without area in double precision gets infinite and undefined planes, which cover no
// pixel.
MESHES_INLINE void solve(const double (&x)[3][kBlock], const double (&y)[3][kBlock],
                         const double (&z)[3][kBlock], bool perspective, Planes& planes) {
  const int count = planes.count;
  for (int n = 0; n < count; ++n) {
    const double x0 = x[0][n], x1 = x[1][n], x2 = x[2][n];
    const double y0 = y[0][n], y1 = y[1][n], y2 = y[2][n];
    const double area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
    const double first[3] = {(y1 - y2) / area, (x2 - x1) / area, (x1 * y2 - x2 * y1) / area};
    const double second[3] = {(y2 - y0) / area, (x0 - x2) / area, (x2 * y0 - x0 * y2) / area};
    const double third[3] = {-first[0] - second[0], -first[1] - second[1],
                             (-first[2] - second[2]) + 1.0};
    const double z0 = perspective ? 1.0 / z[0][n] : z[0][n];
    const double z1 = perspective ? 1.0 / z[1][n] : z[1][n];
    const double z2 = perspective ? 1.0 / z[2][n] : z[2][n];
    for (int term = 0; term < 3; ++term) {
      planes.weight[0][term][n] = first[term];
      planes.weight[1][term][n] = second[term];
      planes.weight[2][term][n] = third[term];
      planes.depth[term][n] = first[term] * z0 + second[term] * z1 + third[term] * z2;
    }
  }
}

// Calls draw(planes) for the triangles of a band in the order of their faces; false when an index
// is out of range.
template <typename Draw>
bool for_each_block(const meshes_triangles& task, const Band& band, const Draw& draw) {
  alignas(64) double x[3][kBlock], y[3][kBlock], z[3][kBlock];
  Corners at;
  Boxes box;
  Planes planes;
  const int64_t end = task.starts[band.layer + 1];
  for (int64_t first = task.starts[band.layer]; first < end; first += kBlock) {
    const int count = int(end - first < kBlock ? end - first : kBlock);
    if (!gather(task, band.scene, first, count, at)) return false;
    bound(task, band, at, box);
    if (task.one_sided != nullptr) cull(task.one_sided + first, count, at, box);
    pack(at, box, first, count, x, y, z, planes);
    solve(x, y, z, task.perspective != 0, planes);
    draw(planes);
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
