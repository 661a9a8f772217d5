// Visibility of vertices in a raster of their mesh.
//
// Compiled with -ffp-contract=off: results must not depend on fused multiply-add.
#include <math.h>

#include "../arithmetic.h"
#include "level.h"

namespace {

enum class Sight { kFree, kHidden, kBroken };

struct Mesh {
  const float* points;     // (vertices, 3) of one scene
  const int64_t* corners;  // (faces, 3)
  int64_t vertices, faces;
};

// A vertex against the face at a pixel, whose plane is clamped to the face's own depths: that of a
// grazing face is steep.
Sight look(const Mesh& mesh, const float* vertex, int64_t face, float tolerance) {
  if (face < 0) return Sight::kFree;
  if (face >= mesh.faces) return Sight::kBroken;
  const float* corner[3];
  for (int k = 0; k < 3; ++k) {
    const int64_t index = mesh.corners[3 * face + k];
    if (uint64_t(index) >= uint64_t(mesh.vertices)) return Sight::kBroken;
    corner[k] = mesh.points + 3 * index;
  }
  const float x = vertex[0], y = vertex[1];
  const float x0 = corner[0][0], y0 = corner[0][1], z0 = corner[0][2];
  const float x1 = corner[1][0], y1 = corner[1][1], z1 = corner[1][2];
  const float x2 = corner[2][0], y2 = corner[2][1], z2 = corner[2][2];
  const float area = screen_area(x0, y0, x1, y1, x2, y2);
  const float first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area;
  const float second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area;
  const float third = 1.0f - first - second;
  const float nearest = least(z0, z1, z2), farthest = most(z0, z1, z2);
  float plane = 0.0f + first * z0 + second * z1 + third * z2;
  plane = plane < nearest ? nearest : plane;
  plane = plane > farthest ? farthest : plane;
  return vertex[2] <= plane + tolerance ? Sight::kFree : Sight::kHidden;
}

int64_t clamp(int64_t value, int64_t last) { return value < 0 ? 0 : value > last ? last : value; }

// At the four pixel centres around a vertex.
Sight look_around(const meshes_vertices& task, const Mesh& mesh, const int64_t* image,
                  const float* vertex) {
  const float x = vertex[0], y = vertex[1];
  const bool inside = x >= 0.0f && x < float(task.width) && y >= 0.0f && y < float(task.height);
  if (!inside || !(vertex[2] - vertex[2] == 0.0f)) return Sight::kHidden;
  const int64_t left = int64_t(floorf(x - 0.5f)), top = int64_t(floorf(y - 0.5f));
  bool hidden = false;
  for (int64_t step = 0; step < 4; ++step) {
    const int64_t column = clamp(left + (step & 1), task.width - 1);
    const int64_t row = clamp(top + (step >> 1), task.height - 1);
    const Sight sight = look(mesh, vertex, image[row * task.width + column], task.tolerance);
    if (sight == Sight::kBroken) return sight;
    hidden |= sight == Sight::kHidden;
  }
  return hidden ? Sight::kHidden : Sight::kFree;
}

}  // namespace

extern "C" int MESHES_AT_LEVEL(meshes_visible_cpu)(const struct meshes_vertices* task) {
  if (task->batch < 0 || task->vertices < 0 || task->faces < 0 || task->height < 1 ||
      task->width < 1) {
    return MESHES_BAD_SIZE;
  }
  for (int64_t scene = 0; scene < task->batch; ++scene) {
    const Mesh mesh = {task->projected + 3 * scene * task->vertices, task->corners, task->vertices,
                       task->faces};
    const int64_t* image = task->face + scene * task->height * task->width;
    uint8_t* seen = task->seen + scene * task->vertices;
    for (int64_t n = 0; n < task->vertices; ++n) {
      const Sight sight = look_around(*task, mesh, image, mesh.points + 3 * n);
      if (sight == Sight::kBroken) return MESHES_BAD_INDEX;
      seen[n] = sight == Sight::kFree;
    }
  }
  return MESHES_OK;
}
