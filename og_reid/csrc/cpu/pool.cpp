// Pooling of gathered rows over neighbours, forward and backward.
//
// Channels are cut into register-wide blocks; a block's accumulators stay in registers over all
// neighbours. In the backward pass each entry of the gradient belongs to one thread and is summed
// in the order of the centres, without atomics, so results do not depend on the schedule.
#include <algorithm>
#include <cstring>

#include "lanes.h"

namespace {

// Task of one centre.
template <typename Argument>
struct Center {
  const float* x;  // rows of its cloud
  const int64_t* index;
  int64_t k, stride, channels;
  float* highest;
  Argument* argument;
  float* mean;
};

// Pools channels [c, c + kWidth) and returns their sums. kCareful handles missing neighbours and
// NaN.
template <int kWidth, bool kMax, bool kMean, bool kCareful, typename Argument>
OG_REID_INLINE typename Lanes<kWidth, Argument>::Float pool_block(const Center<Argument>& center,
                                                                  int64_t c) {
  using Float = typename Lanes<kWidth, Argument>::Float;
  using Int = typename Lanes<kWidth, Argument>::Int;
  int64_t t = 0, found = 0;
  if (kCareful) {
    while (t < center.k && center.index[t] < 0) ++t;
  }
  Float best = {}, total = {};
  Int where = {};
  if (t < center.k) {
    std::memcpy(&best, center.x + center.index[t] * center.stride + c, sizeof best);
    total = best;
    where = Int{} + int32_t(t);
    ++found;
  }
  for (++t; t < center.k; ++t) {
    if (kCareful && center.index[t] < 0) continue;
    Float row;
    std::memcpy(&row, center.x + center.index[t] * center.stride + c, sizeof row);
    if (kMax) {
      // Comparisons with a NaN are false, so it stays.
      const Int better = kCareful ? ~(row <= best) & (best == best) : row > best;
      where = better ? Int{} + int32_t(t) : where;
      best = better ? row : best;
    }
    total += row;
    ++found;
  }
  if (kMax) {
    const auto place = __builtin_convertvector(where, typename Lanes<kWidth, Argument>::Place);
    std::memcpy(center.highest + c, &best, sizeof best);
    std::memcpy(center.argument + c, &place, sizeof place);
  }
  if (kMean) {
    const Float mean = total * (1.0f / float(std::max(found, int64_t{1})));
    std::memcpy(center.mean + c, &mean, sizeof mean);
  }
  return total;
}

// Returns true when all sums are numbers; otherwise there may be a NaN.
template <bool kMax, bool kMean, bool kCareful, typename Argument>
OG_REID_INLINE bool pool_blocks(const Center<Argument>& center) {
  typename Lanes<OG_REID_LANES, Argument>::Float wide = {};
  typename Lanes<4, Argument>::Float narrow = {};
  float rest = 0.0f;
  int64_t c = 0;
  for (; c + OG_REID_LANES <= center.channels; c += OG_REID_LANES)
    wide += pool_block<OG_REID_LANES, kMax, kMean, kCareful>(center, c);
  for (; c + 4 <= center.channels; c += 4)
    narrow += pool_block<4, kMax, kMean, kCareful>(center, c);
  for (; c < center.channels; ++c) rest += pool_block<1, kMax, kMean, kCareful>(center, c)[0];
  for (int lane = 0; lane < OG_REID_LANES; ++lane) rest += wide[lane];
  for (int lane = 0; lane < 4; ++lane) rest += narrow[lane];
  return rest == rest;
}

template <bool kMax, bool kMean, bool kMissing, typename Argument>
OG_REID_INLINE void pool_center(const Center<Argument>& center) {
  if (kMissing || (!pool_blocks<kMax, kMean, false>(center) && kMax))
    pool_blocks<kMax, kMean, true>(center);
}

template <bool kMissing, typename Argument>
void pool_centers(const og_reid_pool& task, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const float* x = task.x + row / task.centers * task.count * task.stride;
    const int64_t at = row * task.channels;
    const Center<Argument> center = {
        x,
        task.index + row * task.k,
        task.k,
        task.stride,
        task.channels,
        task.highest ? task.highest + at : nullptr,
        task.highest ? static_cast<Argument*>(task.argument) + at : nullptr,
        task.mean ? task.mean + at : nullptr};
    if (task.highest && task.mean)
      pool_center<true, true, kMissing>(center);
    else if (task.highest)
      pool_center<true, false, kMissing>(center);
    else if (task.mean)
      pool_center<false, true, kMissing>(center);
  }
}

// Channels [begin, end) of the gradient of one cloud.
template <typename Argument>
void spread(const og_reid_pool_grad& task, int64_t cloud, int64_t begin, int64_t end) {
  float* grad_x = task.grad_x + cloud * task.count * task.channels;
  for (int64_t i = 0; i < task.centers; ++i) {
    const int64_t row = cloud * task.centers + i, at = row * task.channels;
    const int64_t* neighbors = task.index + row * task.k;
    if (task.grad_mean) {
      int64_t found = 0;
      for (int64_t t = 0; t < task.k; ++t) found += neighbors[t] >= 0;
      const float share = 1.0f / float(std::max(found, int64_t{1}));
      const float* from = task.grad_mean + at;
      for (int64_t t = 0; t < task.k; ++t) {
        if (neighbors[t] < 0) continue;
        float* to = grad_x + neighbors[t] * task.channels;
        for (int64_t c = begin; c < end; ++c) to[c] += share * from[c];
      }
    }
    if (task.grad_highest) {
      const float* from = task.grad_highest + at;
      const Argument* where = static_cast<const Argument*>(task.argument) + at;
      for (int64_t c = begin; c < end; ++c) {
        const int64_t neighbor = neighbors[where[c]];
        if (neighbor >= 0) grad_x[neighbor * task.channels + c] += from[c];
      }
    }
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_pool_cpu)(const struct og_reid_pool* task) {
  if (task->batch < 0 || task->count < 0 || task->centers < 0 || task->k < 1 ||
      task->channels < 0 || task->stride < task->channels || task->threads < 1)
    return OG_REID_BAD_SIZE;
  const int64_t rows = task->batch * task->centers, threads = task->threads;
  const auto byte = task->missing ? pool_centers<true, uint8_t> : pool_centers<false, uint8_t>;
  const auto wide = task->missing ? pool_centers<true, int32_t> : pool_centers<false, int32_t>;
  const auto run = task->k <= kByteSlots ? byte : wide;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread)
    run(*task, rows * thread / threads, rows * (thread + 1) / threads);
  return OG_REID_OK;
}

extern "C" int OG_REID_AT_LEVEL(og_reid_pool_grad_cpu)(const struct og_reid_pool_grad* task) {
  if (task->batch < 0 || task->count < 0 || task->centers < 0 || task->k < 1 ||
      task->channels < 0 || task->threads < 1)
    return OG_REID_BAD_SIZE;
  const auto run = task->k <= kByteSlots ? spread<uint8_t> : spread<int32_t>;
  // Few clouds are split by channels.
  const int64_t threads = task->threads, batch = std::max(task->batch, int64_t{1});
  const int64_t cuts = (threads + batch - 1) / batch, channels = task->channels;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t part = 0; part < task->batch * cuts; ++part) {
    const int64_t cut = part % cuts;
    run(*task, part / cuts, channels * cut / cuts, channels * (cut + 1) / cuts);
  }
  return OG_REID_OK;
}
