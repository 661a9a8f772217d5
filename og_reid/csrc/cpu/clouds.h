// Batches of clouds: spatial indexes, and partition of the queries over threads.
#ifndef OG_REID_CPU_CLOUDS_H_
#define OG_REID_CPU_CLOUDS_H_

#include "search.h"

namespace {

OG_REID_INLINE int64_t size_of(const int64_t* ptr, int64_t cloud) {
  return ptr[cloud + 1] - ptr[cloud];
}

int64_t largest_size(const int64_t* ptr, int64_t clouds) {
  int64_t largest = 0;
  for (int64_t cloud = 0; cloud < clouds; ++cloud) {
    largest = std::max(largest, size_of(ptr, cloud));
  }
  return largest;
}

bool valid(const og_reid_clouds& clouds) {
  for (int64_t cloud = 0; cloud < clouds.clouds; ++cloud) {
    const int64_t size = size_of(clouds.ptr, cloud);
    if (size < 0 || size >= kAnyId) return false;
  }
  return clouds.clouds >= 0 && clouds.dims >= 0 && clouds.dims <= 3 && clouds.ptr[0] >= 0;
}

inline Index* take_indexes(Arena& arena, const og_reid_clouds& clouds, bool sizing) {
  Index* indexes = arena.take<Index>(clouds.clouds);
  for (int64_t cloud = 0; cloud < clouds.clouds; ++cloud) {
    const Index index = take_index(arena, size_of(clouds.ptr, cloud));
    if (!sizing) indexes[cloud] = index;
  }
  return indexes;
}

inline void build(const og_reid_clouds& clouds, int64_t cloud, const BuildScratch& scratch,
                  Index* indexes) {
  const int64_t first = clouds.ptr[cloud];
  build(clouds.rows + first * clouds.dims, size_of(clouds.ptr, cloud), clouds.dims, scratch,
        indexes[cloud]);
}

// Calls run(cloud, first leaf, last leaf) for one thread's part of all leaves of queries.
template <typename Run>
OG_REID_INLINE void share_leaves(const Index* queries, int64_t clouds, int64_t thread,
                                 int64_t threads, const Run& run) {
  int64_t total = 0;
  for (int64_t cloud = 0; cloud < clouds; ++cloud) total += queries[cloud].leaves;
  const int64_t begin = total * thread / threads, end = total * (thread + 1) / threads;
  int64_t before = 0;
  for (int64_t cloud = 0; cloud < clouds && before < end; ++cloud) {
    const int64_t leaves = queries[cloud].leaves;
    const int64_t first = std::max(begin - before, int64_t{0});
    const int64_t last = std::min(end - before, leaves);
    if (first < last) run(cloud, first, last);
    before += leaves;
  }
}

}  // namespace

#endif  // OG_REID_CPU_CLOUDS_H_
