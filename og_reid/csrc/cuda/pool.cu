// Pooling of gathered rows over neighbours on a GPU: a thread per entry of the result, neighbouring
// threads on neighbouring channels. The backward pass sums the edges that end in a row, in order,
// without atomics, so results are bit-exact between runs.
#include "device.h"

namespace {

constexpr int kThreads = 256;
constexpr int64_t kByteSlots = 256;

template <typename Argument>
__global__ void __launch_bounds__(kThreads) pool_kernel(og_reid_pool task) {
  const int64_t c = int64_t(blockIdx.y) * blockDim.x + threadIdx.x;
  if (c >= task.channels) return;
  const int64_t rows = task.batch * task.centers;
  for (int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y; row < rows;
       row += int64_t(gridDim.x) * blockDim.y) {
    const float* x = task.x + row / task.centers * task.count * task.stride + c;
    float best = 0.0f, total = 0.0f;
    int64_t where = 0, found = 0;
    for (int64_t t = 0; t < task.k; ++t) {
      const int64_t neighbor = task.index[row * task.k + t];
      if (neighbor < 0 || neighbor >= task.count) continue;
      const float value = x[neighbor * task.stride];
      total += value;
      // Comparisons with a NaN are false, so it stays.
      if (found++ == 0 || (!(value <= best) && best == best)) {
        best = value;
        where = t;
      }
    }
    const int64_t at = row * task.channels + c;
    if (task.highest) {
      task.highest[at] = best;
      static_cast<Argument*>(task.argument)[at] = Argument(where);
    }
    if (task.mean) task.mean[at] = total * (1.0f / float(found > 1 ? found : 1));
  }
}

template <typename Argument>
__global__ void __launch_bounds__(kThreads)
    pool_grad_kernel(og_reid_pool_grad task, og_reid_csr edges) {
  const int64_t c = int64_t(blockIdx.y) * blockDim.x + threadIdx.x;
  if (c >= task.channels) return;
  const Argument* argument = static_cast<const Argument*>(task.argument);
  const int64_t rows = task.batch * task.count;
  for (int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y; row < rows;
       row += int64_t(gridDim.x) * blockDim.y) {
    float total = 0.0f;
    for (int64_t e = row ? edges.ends[row - 1] : 0; e < edges.ends[row]; ++e) {
      const int64_t center = edges.order[e] / task.k, slot = edges.order[e] % task.k;
      const int64_t at = center * task.channels + c;
      if (task.grad_mean) total += task.grad_mean[at] * edges.weights[center];
      if (task.grad_highest && int64_t(argument[at]) == slot) total += task.grad_highest[at];
    }
    task.grad_x[row * task.channels + c] = total;
  }
}

struct Shape {
  dim3 grid, block;
};

// With few channels a block has several rows.
Shape shape_for(int64_t rows, int64_t channels) {
  unsigned wide = kWarp;
  while (wide < kThreads && wide < channels) wide *= 2;
  const unsigned high = kThreads / wide;
  return {dim3(blocks_for(rows, high), blocks_for(channels, wide)), dim3(wide, high)};
}

// The second dimension of a grid has this many blocks at most.
constexpr int64_t kMostChannels = int64_t{65535} * kThreads;

bool fits(int64_t batch, int64_t count, int64_t centers, int64_t k, int64_t channels) {
  return batch >= 0 && count >= 0 && centers >= 0 && k >= 1 && channels >= 0 &&
         channels <= kMostChannels;
}

}  // namespace

extern "C" OG_REID_API int og_reid_pool_cuda(const struct og_reid_pool* task,
                                             const struct og_reid_queue* queue) {
  const int64_t rows = task->batch * task->centers;
  if (!fits(task->batch, task->count, task->centers, task->k, task->channels) ||
      task->stride < task->channels)
    return OG_REID_BAD_SIZE;
  if (rows * task->channels == 0) return OG_REID_OK;
  const Shape shape = shape_for(rows, task->channels);
  const auto kernel = task->k <= kByteSlots ? pool_kernel<uint8_t> : pool_kernel<int32_t>;
  return launch(*queue, shape.grid, shape.block, kernel, *task);
}

extern "C" OG_REID_API int og_reid_pool_grad_cuda(const struct og_reid_pool_grad* task,
                                                  const struct og_reid_csr* edges,
                                                  const struct og_reid_queue* queue) {
  const int64_t rows = task->batch * task->count;
  if (!fits(task->batch, task->count, task->centers, task->k, task->channels))
    return OG_REID_BAD_SIZE;
  if (rows * task->channels == 0) return OG_REID_OK;
  const Shape shape = shape_for(rows, task->channels);
  const auto kernel = task->k <= kByteSlots ? pool_grad_kernel<uint8_t> : pool_grad_kernel<int32_t>;
  return launch(*queue, shape.grid, shape.block, kernel, *task, *edges);
}
