// Common parts of the CUDA kernels: device guard, launch check, bounds of clouds.
#ifndef OG_REID_CUDA_DEVICE_H_
#define OG_REID_CUDA_DEVICE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "../og_reid.h"

namespace {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xFFFFFFFFu;
constexpr int64_t kMostBlocks = 1 << 20;

// total + (a - b)^2 by the same operations as on a CPU: the intrinsics forbid fusing.
__device__ inline float add_square(float total, float a, float b) {
  const float difference = __fsub_rn(a, b);
  return __fadd_rn(total, __fmul_rn(difference, difference));
}

// Unsigned integers in the order of floats; 0 is below all of them.
__device__ inline unsigned ordered(float value) {
  const unsigned bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

struct Range {
  int64_t begin, end;
};

// The rows of a cloud, clamped to valid rows.
__device__ inline Range rows_of(const int64_t* ptr, int64_t cloud, int64_t rows) {
  const int64_t begin = ptr[cloud] < 0 ? 0 : ptr[cloud];
  const int64_t end = ptr[cloud + 1] > rows ? rows : ptr[cloud + 1];
  return {begin, end};
}

// The cloud of a row: the last one that starts there or before.
__device__ inline int64_t cloud_of(const int64_t* ptr, int64_t clouds, int64_t row) {
  int64_t low = 0, high = clouds;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (ptr[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

inline unsigned blocks_for(int64_t work, int64_t per_block) {
  const int64_t needed = (work + per_block - 1) / per_block;
  return unsigned(needed < 1 ? 1 : needed > kMostBlocks ? kMostBlocks : needed);
}

// Starts a kernel on the device and stream of a queue; the current device is restored.
template <typename... Parameters, typename... Arguments>
int launch(const og_reid_queue& queue, dim3 grid, dim3 block, void (*kernel)(Parameters...),
           Arguments... arguments) {
  int before = 0;
  cudaError_t error = cudaGetDevice(&before);
  if (error != cudaSuccess) return error;
  error = cudaSetDevice(int(queue.device));
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = static_cast<cudaStream_t>(queue.stream);
  error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  const cudaError_t restored = cudaSetDevice(before);
  return error != cudaSuccess ? error : restored;
}

}  // namespace

#endif  // OG_REID_CUDA_DEVICE_H_
