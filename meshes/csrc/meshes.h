// C interface of the native rasteriser. No torch, no allocation: the caller owns every buffer.
//
// All arrays are dense and row-major. Results equal meshes/rasterizer/twin.py to the bit: every
// operation is rounded on its own, in the order written there.
#ifndef MESHES_H_
#define MESHES_H_

#include <stdint.h>

#if defined(__GNUC__)
#define MESHES_API __attribute__((visibility("default")))
#else
#define MESHES_API
#endif

// Raised with every change of the interface, so that a stale library is refused.
#define MESHES_ABI 2

#ifdef __cplusplus
extern "C" {
#endif

enum meshes_status { MESHES_OK = 0, MESHES_BAD_SIZE = -1, MESHES_BAD_INDEX = -2 };

MESHES_API int meshes_abi(void);

// Name of the instruction set level that run-time dispatch picks on this processor.
MESHES_API const char* meshes_cpu_level(void);

// Triangles that compete for pixels. Pixel (i, j) has its centre at (i + 0.5, j + 0.5).
//
// Faces whose area is zero, whose coordinates are not finite or, in perspective, that have a vertex
// at z <= 0.01 are dropped. A vertex index outside [0, vertices) returns MESHES_BAD_INDEX.
struct meshes_triangles {
  int64_t batch, vertices, faces, layers, height, width, threads;
  int64_t perspective;       // 1: depth is the camera's z, weights and depths follow the rays
  const float* projected;    // (batch, vertices, 3) pixel x, pixel y, depth (smaller is nearer)
  const int64_t* corners;    // (faces, 3)
  const int64_t* starts;     // (layers + 1) first face of each layer, not decreasing
  const uint8_t* one_sided;  // (faces), 1: seen only where x, y turn clockwise; or null
};

// Nearest face at every pixel centre, for each layer by itself; ties go to the lowest face.
struct meshes_raster {
  int64_t* face;   // (layers, batch, height, width); -1 where empty
  float* depth;    // the same shape; infinite where empty
  float* weights;  // (layers, batch, height, width, 3); zero where empty
};

MESHES_API int meshes_rasterize_cpu(const struct meshes_triangles* triangles,
                                    const struct meshes_raster* out);

// 1 at every pixel centre that a face covers: (layers, batch, height, width).
MESHES_API int meshes_coverage_cpu(const struct meshes_triangles* triangles, uint8_t* out);

// Vertices of a mesh that no face of its raster lies in front of, by more than the tolerance, at
// any of the four pixel centres around them. Faces or corners out of range return MESHES_BAD_INDEX.
struct meshes_vertices {
  int64_t batch, vertices, faces, height, width;
  const float* projected;  // (batch, vertices, 3)
  const int64_t* corners;  // (faces, 3)
  const int64_t* face;     // (batch, height, width), of meshes_raster
  uint8_t* seen;           // (batch, vertices)
  float tolerance;
};

MESHES_API int meshes_visible_cpu(const struct meshes_vertices* task);

// The rasteriser on a GPU. All arrays are there, except that `starts` is on the CPU; indices are
// not checked, out of range ones drop their face. `keys` is scratch of one int64 for each pixel of
// the result. The functions only start their work.
struct meshes_queue {
  int64_t device;
  void* stream;
};

MESHES_API int meshes_rasterize_cuda(const struct meshes_triangles* triangles,
                                     const struct meshes_raster* out, int64_t* keys,
                                     const struct meshes_queue* queue);
MESHES_API int meshes_coverage_cuda(const struct meshes_triangles* triangles, uint8_t* out,
                                    const struct meshes_queue* queue);

#ifdef __cplusplus
}
#endif

#endif  // MESHES_H_
