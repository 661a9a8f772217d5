// Exact k nearest neighbours on a GPU, in the total order (squared distance, index).
//
// One warp per query. Pass j finds the smallest key (distance bits, index) above the j-1 keys
// already written, so k passes give any k in order without a list that would limit k. Distances
// are kept in shared memory between the passes where they fit and computed again where not.
#include <cuda_runtime.h>

#include <cfloat>

#include "../og_reid.h"

namespace {

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = 4;
constexpr unsigned kAll = 0xFFFFFFFFu;
constexpr unsigned long long kNone = ~0ULL;

// The same operations in the same order as on the CPU: the intrinsics forbid fusing.
__device__ float squared_distance(const float* a, const float* b, int64_t dims) {
  float total = 0.0f;
  for (int64_t d = 0; d < dims; ++d) {
    const float difference = __fsub_rn(a[d], b[d]);
    total = __fadd_rn(total, __fmul_rn(difference, difference));
  }
  return total;
}

template <bool kCached>
__global__ void knn_kernel(const float* x, int64_t batch, int64_t count, int64_t dims, int64_t k,
                           int64_t* out) {
  extern __shared__ float cache[];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t step = int64_t(gridDim.x) * kWarpsPerBlock;
  float* distances = cache + warp * count;
  for (int64_t row = int64_t(blockIdx.x) * kWarpsPerBlock + warp; row < batch * count;
       row += step) {
    const float* cloud = x + row / count * count * dims;
    const float* query = x + row * dims;
    if (kCached) {
      for (int64_t j = lane; j < count; j += kWarp)
        distances[j] = squared_distance(query, cloud + j * dims, dims);
    }
    unsigned long long last = 0;
    for (int64_t rank = 0; rank < k; ++rank) {
      unsigned long long best = kNone;
      for (int64_t j = lane; j < count; j += kWarp) {
        const float distance =
            kCached ? distances[j] : squared_distance(query, cloud + j * dims, dims);
        const unsigned long long key =
            (static_cast<unsigned long long>(__float_as_uint(distance)) << 32) | unsigned(j);
        // Infinite and NaN distances are no neighbours.
        if (distance <= FLT_MAX && (rank == 0 || key > last) && key < best) best = key;
      }
      for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        const unsigned long long other = __shfl_xor_sync(kAll, best, offset);
        best = other < best ? other : best;
      }
      last = best;
      if (lane == 0) out[row * k + rank] = best == kNone ? int64_t{-1} : int64_t(best & kAll);
    }
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_abi(void) { return OG_REID_ABI; }

extern "C" OG_REID_API int og_reid_knn_cuda(const float* x, int64_t batch, int64_t count,
                                            int64_t dims, int64_t k, int64_t* out, int device,
                                            void* stream) {
  if (batch < 0 || count < 1 || dims < 0 || k < 1 || count > INT32_MAX) return OG_REID_BAD_SIZE;
  if (batch == 0) return OG_REID_OK;
  int before = 0;
  cudaError_t error = cudaGetDevice(&before);
  if (error != cudaSuccess) return error;
  error = cudaSetDevice(device);
  if (error != cudaSuccess) return error;
  const int64_t needed = (batch * count + kWarpsPerBlock - 1) / kWarpsPerBlock;
  const unsigned blocks = unsigned(needed < (1 << 20) ? needed : (1 << 20));
  const size_t bytes = sizeof(float) * kWarpsPerBlock * size_t(count);
  const cudaStream_t queue = static_cast<cudaStream_t>(stream);
  // 48 KiB of shared memory is what every device grants without being asked.
  if (bytes <= 48 * 1024) {
    knn_kernel<true>
        <<<blocks, kWarpsPerBlock * kWarp, bytes, queue>>>(x, batch, count, dims, k, out);
  } else {
    knn_kernel<false><<<blocks, kWarpsPerBlock * kWarp, 0, queue>>>(x, batch, count, dims, k, out);
  }
  error = cudaGetLastError();
  const cudaError_t restored = cudaSetDevice(before);
  return error != cudaSuccess ? error : restored;
}
