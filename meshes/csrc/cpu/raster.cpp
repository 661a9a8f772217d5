// Nearest face, depth and weights at every pixel centre.
//
// Faces are drawn in their order, so that a depth that is not below the one there loses: ties go to
// the lowest face. The depths of the competition, planes rounded to float, are kept in the result,
// and replaced at the end by those computed at the winning faces.
//
// Compiled with -ffp-contract=off: results must not depend on fused multiply-add.
#include <algorithm>

#include "lanes.h"
#include "setup.h"

namespace {

// Planes of one triangle along the pixels of a row.
struct Row {
  Lanes along, across, start;

  MESHES_INLINE Row of(const double* const (&plane)[3], int n, double j) {
    return {spread(plane[0][n]), spread(plane[1][n] * j), spread(plane[2][n])};
  }
  Lanes at(Lanes i) const { return (along * i + across) + start; }
};

template <typename Visit>
MESHES_INLINE void visit_pixels(const Block& block, int n, const Band& band, const Visit& visit) {
  const int64_t top = block.top[n], left = block.left[n], columns = block.columns[n];
  const int64_t first = std::max(top, band.top), end = std::min(top + block.rows[n], band.bottom);
  const Lanes last = spread(double(columns)), step = spread(double(kLanes));
  const double* const weight[3][3] = {{block.weight[0][0], block.weight[0][1], block.weight[0][2]},
                                      {block.weight[1][0], block.weight[1][1], block.weight[1][2]},
                                      {block.weight[2][0], block.weight[2][1], block.weight[2][2]}};
  for (int64_t row = first; row < end; ++row) {
    const double j = double(row - top);
    const Row a = Row::of(weight[0], n, j), b = Row::of(weight[1], n, j),
              c = Row::of(weight[2], n, j);
    Lanes i = iota();
    for (int64_t column = 0; column < columns; column += kLanes, i += step) {
      Mask inside = not_negative(below(i, last), a.at(i));
      inside = not_negative(not_negative(inside, b.at(i)), c.at(i));
      if (any(inside)) visit(inside, i, j, row, left + column);
    }
  }
}

// Places of the pixels of a band in the arrays of the result.
struct Pixels {
  int64_t begin, end;

  Pixels(const meshes_triangles& task, const Band& band) {
    const int64_t image = (band.layer * task.batch + band.scene) * task.height;
    begin = (image + band.top) * task.width, end = (image + band.bottom) * task.width;
  }
};

template <bool kPerspective>
bool draw_band(const meshes_triangles& task, const meshes_raster& out, const Band& band) {
  const Pixels pixels(task, band);
  std::fill(out.face + pixels.begin, out.face + pixels.end, int64_t(-1));
  std::fill(out.depth + pixels.begin, out.depth + pixels.end, INFINITY);
  const int64_t origin = pixels.begin - band.top * task.width;
  return for_each_block(task, band, [&](const Block& block) {
    const double* const plane[3] = {block.depth[0], block.depth[1], block.depth[2]};
    for (int n = 0; n < block.count; ++n) {
      visit_pixels(
          block, n, band, [&](Mask inside, Lanes i, double j, int64_t row, int64_t column) {
            Lanes depth = Row::of(plane, n, j).at(i);
            if (kPerspective) depth = spread(1.0) / depth;
            const int64_t place = origin + row * task.width + column;
            store_nearer(inside, depth, block.face[n], out.depth + place, out.face + place);
          });
    }
  });
}

// Winning faces of some pixels.
struct Winners {
  alignas(64) double x[3][kBlock], y[3][kBlock], z[3][kBlock];
  alignas(64) double at_x[kBlock], at_y[kBlock];
  alignas(64) float depth[kBlock], weight[3][kBlock];
  int64_t place[kBlock];
  int count;
};

template <bool kPerspective>
MESHES_INLINE void weigh(Winners& at) {
  for (int n = 0; n < at.count; ++n) {
    const Point point =
        point_of(at.x[0][n], at.y[0][n], at.z[0][n], at.x[1][n], at.y[1][n], at.z[1][n], at.x[2][n],
                 at.y[2][n], at.z[2][n], at.at_x[n], at.at_y[n], kPerspective);
    at.depth[n] = point.depth;
    for (int k = 0; k < 3; ++k) at.weight[k][n] = point.weight[k];
  }
}

template <bool kPerspective>
MESHES_INLINE void finish(Winners& at, const meshes_raster& out) {
  weigh<kPerspective>(at);
  for (int n = 0; n < at.count; ++n) {
    out.depth[at.place[n]] = at.depth[n];
    for (int k = 0; k < 3; ++k) out.weights[3 * at.place[n] + k] = at.weight[k][n];
  }
  at.count = 0;
}

template <bool kPerspective>
void decode_band(const meshes_triangles& task, const meshes_raster& out, const Band& band) {
  const Pixels pixels(task, band);
  std::fill(out.weights + 3 * pixels.begin, out.weights + 3 * pixels.end, 0.0f);
  const float* points = task.projected + 3 * band.scene * task.vertices;
  Winners at;
  at.count = 0;
  int64_t place = pixels.begin;
  for (int64_t row = band.top; row < band.bottom; ++row) {
    for (int64_t column = 0; column < task.width; ++column, ++place) {
      const int64_t face = out.face[place];
      if (face < 0) continue;
      const int n = at.count++;
      for (int k = 0; k < 3; ++k) {
        const float* point = points + 3 * task.corners[3 * face + k];
        at.x[k][n] = point[0], at.y[k][n] = point[1], at.z[k][n] = point[2];
      }
      at.at_x[n] = double(column) + 0.5, at.at_y[n] = double(row) + 0.5;
      at.place[n] = place;
      if (at.count == kBlock) finish<kPerspective>(at, out);
    }
  }
  finish<kPerspective>(at, out);
}

bool cover_band(const meshes_triangles& task, uint8_t* out, const Band& band) {
  const Pixels pixels(task, band);
  std::fill(out + pixels.begin, out + pixels.end, uint8_t(0));
  const int64_t origin = pixels.begin - band.top * task.width;
  return for_each_block(task, band, [&](const Block& block) {
    for (int n = 0; n < block.count; ++n) {
      visit_pixels(block, n, band, [&](Mask inside, Lanes, double, int64_t row, int64_t column) {
        store_ones(inside, out + origin + row * task.width + column);
      });
    }
  });
}

template <bool kPerspective>
bool rasterize(const meshes_triangles& task, const meshes_raster& out) {
  return for_each_band(task, [&](const Band& band) {
    if (!draw_band<kPerspective>(task, out, band)) return false;
    decode_band<kPerspective>(task, out, band);
    return true;
  });
}

}  // namespace

extern "C" int MESHES_AT_LEVEL(meshes_rasterize_cpu)(const struct meshes_triangles* triangles,
                                                     const struct meshes_raster* out) {
  if (!sizes_fit(*triangles)) return MESHES_BAD_SIZE;
  const bool good = triangles->perspective ? rasterize<true>(*triangles, *out)
                                           : rasterize<false>(*triangles, *out);
  return good ? MESHES_OK : MESHES_BAD_INDEX;
}

extern "C" int MESHES_AT_LEVEL(meshes_coverage_cpu)(const struct meshes_triangles* triangles,
                                                    uint8_t* out) {
  if (!sizes_fit(*triangles)) return MESHES_BAD_SIZE;
  const bool good = for_each_band(
      *triangles, [&](const Band& band) { return cover_band(*triangles, out, band); });
  return good ? MESHES_OK : MESHES_BAD_INDEX;
}
