// Counts of the non-matching items of each query between the distances of its matches.
//
// Most distances are beyond the farthest match and cost one compare; for the others the
// thresholds below them are counted a register at a time, after a binary search in long lists.
// Each query has one thread, without atomics, so results do not depend on the schedule.
#include "simd.h"

namespace {

// Number of ascending thresholds that are smaller than value.
OG_REID_INLINE int64_t below(const float* thresholds, int64_t count, float value) {
  const float* first = thresholds;
  while (count > 4 * kLanes) {
    const int64_t half = count / 2;
    first = first[half - 1] < value ? first + half : first;
    count -= half;
  }
  int64_t smaller_ones = first - thresholds, i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    smaller_ones += ones(bits(load(first + i) < spread(value)));
  }
  for (; i < count; ++i) smaller_ones += first[i] < value;
  return smaller_ones;
}

OG_REID_INLINE void land(const float* thresholds, int64_t count, float value, int64_t* landed,
                         int64_t* equal) {
  const int64_t slot = below(thresholds, count, value);
  ++landed[slot];
  equal[slot] += thresholds[slot] == value;
}

void count_row(const float* row, const int32_t* items, int64_t count, int32_t self,
               const float* thresholds, int64_t size, int64_t* landed, int64_t* equal) {
  if (size == 0) return;
  const float worst = thresholds[size - 1];
  const Vec limit = spread(worst);
  const VecInt own = spread(self);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec values = load(row + i);
    uint32_t mask = at_most(values, limit);
    if (mask) mask &= ~bits(load(items + i) == own);
    for (; mask; mask &= mask - 1) {
      land(thresholds, size, row[i + lowest(mask)], landed, equal);
    }
  }
  for (; i < count; ++i) {
    if (row[i] <= worst && items[i] != self) land(thresholds, size, row[i], landed, equal);
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_rank_counts_cpu)(const struct og_reid_rank_counts* task) {
  if (task->queries < 0 || task->items < 0 || task->stride < task->items || task->threads < 1)
    return OG_REID_BAD_SIZE;
#pragma omp parallel for num_threads(task->threads) schedule(static) if (task->threads > 1)
  for (int64_t q = 0; q < task->queries; ++q) {
    const int64_t first = task->ptr[q];
    count_row(task->distances + q * task->stride, task->item_ids, task->items, task->query_ids[q],
              task->thresholds + first, task->ptr[q + 1] - first, task->landed + first,
              task->equal + first);
  }
  return OG_REID_OK;
}
