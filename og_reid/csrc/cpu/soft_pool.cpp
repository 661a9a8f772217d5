// Weighted mean and maximum over neighbours, forward and backward.
//
// A block of channels of a centre is read twice, for the mean and for the maximum of the weighted
// difference from it; its rows are in the first-level cache the second time. As in pool.cpp each
// entry of the gradient belongs to one thread and is summed in the order of the centres.
#include <algorithm>
#include <cstring>

#include "lanes.h"

namespace {

// Task of one centre.
template <typename Argument>
struct Center {
  const float* x;  // rows of its cloud
  const int64_t* index;
  const float* weight;
  int64_t k, stride, channels;
  float inverse;  // 1 / sum of weights, or 1 where that is 0
  float* mean;
  float* highest;
  Argument* argument;
};

float inverse_sum(const float* weight, int64_t k) {
  float total = 0.0f;
  for (int64_t t = 0; t < k; ++t) total += weight[t];
  return total > 0.0f ? 1.0f / total : 1.0f;
}

// Pools channels [c, c + kWidth).
template <int kWidth, typename Argument>
OG_REID_INLINE void pool_block(const Center<Argument>& center, int64_t c) {
  using Float = typename Lanes<kWidth, Argument>::Float;
  using Int = typename Lanes<kWidth, Argument>::Int;
  const float* x = center.x + c;
  Float total = {};
  for (int64_t t = 0; t < center.k; ++t) {
    Float row;
    std::memcpy(&row, x + center.index[t] * center.stride, sizeof row);
    total += row * center.weight[t];
  }
  const Float mean = total * center.inverse;
  std::memcpy(center.mean + c, &mean, sizeof mean);
  if (!center.highest) return;
  Float best = {};
  Int where = {};
  for (int64_t t = 0; t < center.k; ++t) {
    Float row;
    std::memcpy(&row, x + center.index[t] * center.stride, sizeof row);
    const Float value = (row - mean) * center.weight[t];
    // With a NaN all values of the channel are NaN, and the first stays.
    const Int better = t == 0 ? ~Int{} : value > best;
    where = better ? Int{} + int32_t(t) : where;
    best = better ? value : best;
  }
  const auto place = __builtin_convertvector(where, typename Lanes<kWidth, Argument>::Place);
  std::memcpy(center.highest + c, &best, sizeof best);
  std::memcpy(center.argument + c, &place, sizeof place);
}

template <typename Argument>
void pool_centers(const og_reid_soft_pool& task, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const float* weight = task.weight + row * task.k;
    const int64_t at = row * task.channels;
    const Center<Argument> center = {
        task.x + row / task.centers * task.count * task.stride,
        task.index + row * task.k,
        weight,
        task.k,
        task.stride,
        task.channels,
        inverse_sum(weight, task.k),
        task.mean + at,
        task.highest ? task.highest + at : nullptr,
        task.highest ? static_cast<Argument*>(task.argument) + at : nullptr};
    int64_t c = 0;
    for (; c + OG_REID_LANES <= task.channels; c += OG_REID_LANES)
      pool_block<OG_REID_LANES>(center, c);
    for (; c + 4 <= task.channels; c += 4) pool_block<4>(center, c);
    for (; c < task.channels; ++c) pool_block<1>(center, c);
  }
}

// Channels per block; their part of the gradient of a mean is on the stack.
constexpr int64_t kBlock = 256;

// Channels [begin, end), at most kBlock, of the gradient of one cloud.
template <typename Argument>
void spread(const og_reid_soft_pool_grad& task, int64_t cloud, int64_t begin, int64_t end) {
  float* grad_x = task.grad_x + cloud * task.count * task.channels;
  const int64_t width = end - begin;
  float pull[kBlock];
  for (int64_t i = 0; i < task.centers; ++i) {
    const int64_t row = cloud * task.centers + i, at = row * task.channels + begin;
    const int64_t* neighbors = task.index + row * task.k;
    const float* weight = task.weight + row * task.k;
    std::memcpy(pull, task.grad_mean + at, sizeof(float) * width);
    if (task.grad_highest) {
      const float* from = task.grad_highest + at;
      const Argument* where = static_cast<const Argument*>(task.argument) + at;
      for (int64_t c = 0; c < width; ++c) {
        const float value = weight[where[c]] * from[c];
        grad_x[neighbors[where[c]] * task.channels + begin + c] += value;
        pull[c] -= value;
      }
    }
    const float inverse = inverse_sum(weight, task.k);
    for (int64_t t = 0; t < task.k; ++t) {
      const float share = weight[t] * inverse;
      if (share == 0.0f) continue;
      float* to = grad_x + neighbors[t] * task.channels + begin;
      for (int64_t c = 0; c < width; ++c) to[c] += share * pull[c];
    }
  }
}

// Gradients of the weights of centres [first, last). Each is summed in one order of channels.
template <typename Argument>
void weigh(const og_reid_soft_pool_grad& task, int64_t first, int64_t last) {
  typedef typename Lanes<OG_REID_LANES, Argument>::Float Float;
  float pull[kBlock];
  for (int64_t row = first; row < last; ++row) {
    const float* x = task.x + row / task.centers * task.count * task.stride;
    const int64_t* neighbors = task.index + row * task.k;
    const float* weight = task.weight + row * task.k;
    const float inverse = inverse_sum(weight, task.k);
    float* grad = task.grad_weight + row * task.k;
    std::memset(grad, 0, sizeof(float) * task.k);
    for (int64_t begin = 0; begin < task.channels; begin += kBlock) {
      const int64_t width = std::min(kBlock, task.channels - begin);
      const int64_t at = row * task.channels + begin;
      const float* mean = task.mean + at;
      std::memcpy(pull, task.grad_mean + at, sizeof(float) * width);
      if (task.grad_highest) {
        const float* from = task.grad_highest + at;
        const Argument* where = static_cast<const Argument*>(task.argument) + at;
        for (int64_t c = 0; c < width; ++c) {
          const int64_t t = where[c];
          grad[t] += from[c] * (x[neighbors[t] * task.stride + begin + c] - mean[c]);
          pull[c] -= weight[t] * from[c];
        }
      }
      for (int64_t t = 0; t < task.k; ++t) {
        const float* near = x + neighbors[t] * task.stride + begin;
        Float wide = {};
        float total = 0.0f;
        int64_t c = 0;
        for (; c + OG_REID_LANES <= width; c += OG_REID_LANES) {
          Float here, center, slope;
          std::memcpy(&here, near + c, sizeof here);
          std::memcpy(&center, mean + c, sizeof center);
          std::memcpy(&slope, pull + c, sizeof slope);
          wide += slope * (here - center);
        }
        for (; c < width; ++c) total += pull[c] * (near[c] - mean[c]);
        for (int lane = 0; lane < OG_REID_LANES; ++lane) total += wide[lane];
        grad[t] += total * inverse;
      }
    }
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_soft_pool_cpu)(const struct og_reid_soft_pool* task) {
  if (task->batch < 0 || task->count < 0 || task->centers < 0 || task->k < 1 ||
      task->channels < 0 || task->stride < task->channels || task->threads < 1)
    return OG_REID_BAD_SIZE;
  const int64_t rows = task->batch * task->centers, threads = task->threads;
  const auto run = task->k <= kByteSlots ? pool_centers<uint8_t> : pool_centers<int32_t>;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread)
    run(*task, rows * thread / threads, rows * (thread + 1) / threads);
  return OG_REID_OK;
}

extern "C" int OG_REID_AT_LEVEL(og_reid_soft_pool_grad_cpu)(
    const struct og_reid_soft_pool_grad* task) {
  if (task->batch < 0 || task->count < 0 || task->centers < 0 || task->k < 1 ||
      task->channels < 0 || task->stride < task->channels || task->threads < 1)
    return OG_REID_BAD_SIZE;
  const auto run = task->k <= kByteSlots ? spread<uint8_t> : spread<int32_t>;
  const auto weights = task->k <= kByteSlots ? weigh<uint8_t> : weigh<int32_t>;
  // Few clouds are split by channels, as are many channels.
  const int64_t threads = task->threads, batch = std::max(task->batch, int64_t{1});
  const int64_t channels = task->channels;
  const int64_t cuts = std::max((threads + batch - 1) / batch, (channels + kBlock - 1) / kBlock);
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t part = 0; part < task->batch * cuts; ++part) {
    const int64_t cut = part % cuts;
    run(*task, part / cuts, channels * cut / cuts, channels * (cut + 1) / cuts);
  }
  if (!task->grad_weight) return OG_REID_OK;
  const int64_t rows = task->batch * task->centers;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread)
    weights(*task, rows * thread / threads, rows * (thread + 1) / threads);
  return OG_REID_OK;
}
