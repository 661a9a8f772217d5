// Arithmetic of one triangle, the same on CPU and GPU, to the bit. Every operation is rounded on
// its own, in the order of meshes/rasterizer/twin.py: compiled without fused multiply-add
// (-ffp-contract=off, --fmad=false).
#ifndef MESHES_ARITHMETIC_H_
#define MESHES_ARITHMETIC_H_

#include <math.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define MESHES_BOTH __host__ __device__ __forceinline__
#else
#define MESHES_BOTH static inline __attribute__((always_inline))
#endif

namespace {

constexpr float kNear = 0.01f;  // nearest z in perspective

// Bounding box in pixels, both ends included, of a triangle; and whether it may be drawn.
struct Box {
  float left, right, top, bottom;
  int32_t kept;
};

MESHES_BOTH float least(float a, float b, float c) {
  const float first = a < b ? a : b;
  return first < c ? first : c;
}

MESHES_BOTH float most(float a, float b, float c) {
  const float first = a > b ? a : b;
  return first > c ? first : c;
}

MESHES_BOTH float screen_area(float x0, float y0, float x1, float y1, float x2, float y2) {
  return (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
}

// The last pixel of the image and the nearest depth that is drawn are limits. A NaN or an infinity
// in x or y makes the area not finite.
MESHES_BOTH Box box_of(float x0, float y0, float z0, float x1, float y1, float z1, float x2,
                       float y2, float z2, float last_column, float last_row, float near) {
  const float area = screen_area(x0, y0, x1, y1, x2, y2);
  const float sum = area + z0 + z1 + z2;
  const float left = ceilf(least(x0, x1, x2) - 0.5f), right = floorf(most(x0, x1, x2) - 0.5f);
  const float top = ceilf(least(y0, y1, y2) - 0.5f), bottom = floorf(most(y0, y1, y2) - 0.5f);
  Box box;
  box.left = left > 0.0f ? left : 0.0f;
  box.right = right < last_column ? right : last_column;
  box.top = top > 0.0f ? top : 0.0f;
  box.bottom = bottom < last_row ? bottom : last_row;
  box.kept = int32_t(area != 0.0f) & int32_t(sum - sum == 0.0f) & int32_t(box.left <= box.right) &
             int32_t(box.top <= box.bottom) & int32_t(least(z0, z1, z2) > near);
  return box;
}

// Weights and depth (1 / depth in perspective) at pixel (i, j) of the box, each as
// plane[0] * i + plane[1] * j + plane[2].
struct Planes {
  double first[3], second[3], third[3], depth[3];
};

// From corners relative to the centre of the box's first pixel: small numbers keep the products
// exact. A triangle without area in double precision gets infinite and undefined planes, which
// cover no pixel.
MESHES_BOTH Planes planes_of(double x0, double y0, double z0, double x1, double y1, double z1,
                             double x2, double y2, double z2, bool perspective) {
  const double area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
  if (perspective) z0 = 1.0 / z0, z1 = 1.0 / z1, z2 = 1.0 / z2;
  Planes planes;
  planes.first[0] = (y1 - y2) / area;
  planes.first[1] = (x2 - x1) / area;
  planes.first[2] = (x1 * y2 - x2 * y1) / area;
  planes.second[0] = (y2 - y0) / area;
  planes.second[1] = (x0 - x2) / area;
  planes.second[2] = (x2 * y0 - x0 * y2) / area;
  planes.third[0] = -planes.first[0] - planes.second[0];
  planes.third[1] = -planes.first[1] - planes.second[1];
  planes.third[2] = (-planes.first[2] - planes.second[2]) + 1.0;
  for (int term = 0; term < 3; ++term) {
    planes.depth[term] =
        planes.first[term] * z0 + planes.second[term] * z1 + planes.third[term] * z2;
  }
  return planes;
}

// Depth and weights of a triangle at a point.
struct Point {
  float depth, weight[3];
};

// Sums start at zero, which turns a negative zero into a positive one.
MESHES_BOTH Point point_of(double x0, double y0, double z0, double x1, double y1, double z1,
                           double x2, double y2, double z2, double x, double y, bool perspective) {
  const double area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
  double first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area;
  double second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area;
  double third = 1.0 - first - second, depth;
  if (perspective) {
    first = first / z0, second = second / z1, third = third / z2;
    depth = 1.0 / (0.0 + first + second + third);
    first = first * depth, second = second * depth, third = third * depth;
  } else {
    depth = 0.0 + first * z0 + second * z1 + third * z2;
  }
  Point point;
  point.depth = float(depth);
  point.weight[0] = float(first), point.weight[1] = float(second), point.weight[2] = float(third);
  return point;
}

}  // namespace

#endif  // MESHES_ARITHMETIC_H_
