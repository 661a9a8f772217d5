// The k nearest items of each query, merged from blocks of distances.
//
// Most distances are beyond the k-th so far and cost one compare; the others are inserted.
#include "simd.h"

namespace {

struct List {
  float* values;
  int64_t* items;
  int64_t size;
};

// Equal ones are inserted after existing ones: items arrive in ascending order.
OG_REID_INLINE void insert(const List list, float value, int64_t item) {
  int64_t place = list.size - 1;
  if (!(value < list.values[place])) return;
  for (; place > 0 && value < list.values[place - 1]; --place) {
    list.values[place] = list.values[place - 1];
    list.items[place] = list.items[place - 1];
  }
  list.values[place] = value;
  list.items[place] = item;
}

float select_row(const float* row, int64_t count, int64_t first, const List list, float farthest) {
  Vec most = spread(farthest);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec values = load(row + i);
    most = larger(values, most);
    uint32_t mask = bits(values < spread(list.values[list.size - 1]));
    for (; mask; mask &= mask - 1) {
      const int64_t lane = lowest(mask);
      insert(list, row[i + lane], first + i + lane);
    }
  }
  farthest = largest(most);
  for (; i < count; ++i) {
    insert(list, row[i], first + i);
    farthest = row[i] > farthest ? row[i] : farthest;
  }
  return farthest;
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_topk_cpu)(const struct og_reid_topk* task) {
  if (task->queries < 0 || task->items < 0 || task->stride < task->items || task->k < 1 ||
      task->threads < 1)
    return OG_REID_BAD_SIZE;
#pragma omp parallel for num_threads(task->threads) schedule(static) if (task->threads > 1)
  for (int64_t q = 0; q < task->queries; ++q) {
    const List list = {task->values + q * task->k, task->indices + q * task->k, task->k};
    task->farthest[q] = select_row(task->distances + q * task->stride, task->items, task->first,
                                   list, task->farthest[q]);
  }
  return OG_REID_OK;
}
