// Common parts of the late interaction and its gradient on a GPU: one block for a pair of images.
#ifndef OG_REID_CUDA_LATE_H_
#define OG_REID_CUDA_LATE_H_

#include "device.h"

namespace {

constexpr int kLateThreads = 256;
// Cells whose weights and maxima fit shared memory.
constexpr int64_t kMostCells = 1024;

// One image of a side.
struct LateImage {
  int64_t cells;
  const float *features, *weights, *visibility, *places;
};

__device__ inline LateImage late_image(const og_reid_late_images& from, int64_t channels,
                                       int64_t parts, int64_t number) {
  const int64_t cell = number * from.cells;
  return {from.cells, static_cast<const float*>(from.features) + cell * channels,
          from.weights + cell * parts, from.visibility + number * parts, from.positions + cell};
}

// Sum over the threads of a block, in a fixed order; `buffer` has an entry for each.
__device__ inline float block_sum(float value, float* buffer) {
  __syncthreads();
  buffer[threadIdx.x] = value;
  __syncthreads();
  for (int step = kLateThreads / 2; step > 0; step /= 2) {
    if (int(threadIdx.x) < step) buffer[threadIdx.x] += buffer[threadIdx.x + step];
    __syncthreads();
  }
  return buffer[0];
}

// Weights of cells by the parts that the other image shows; returns their sum.
__device__ inline float shown_cells(const LateImage& image, const float* visibility, int64_t parts,
                                    float* shown, float* buffer) {
  float sum = 0.0f;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < image.cells; i += kLateThreads) {
    float weight = 0.0f;
    for (int64_t k = 0; k < parts; ++k) weight += image.weights[i * parts + k] * visibility[k];
    shown[i] = weight;
    sum += weight;
  }
  return block_sum(sum, buffer);
}

__device__ inline float surface(const LateImage& image, int64_t cell, int64_t parts) {
  float sum = 0.0f;
  for (int64_t k = 0; k < parts; ++k) sum += image.weights[cell * parts + k];
  return sum;
}

inline bool late_fits(const og_reid_late_images& query, const og_reid_late_images& gallery,
                      int64_t channels, int64_t parts) {
  const bool sizes = query.images >= 0 && gallery.images >= 0 && query.cells >= 1 &&
                     gallery.cells >= 1 && channels >= 1 && parts >= 1;
  return sizes && query.cells <= kMostCells && gallery.cells <= kMostCells &&
         query.type == OG_REID_FLOAT32 && gallery.type == OG_REID_FLOAT32;
}

}  // namespace

#endif  // OG_REID_CUDA_LATE_H_
