// Lists of the nearest neighbours of one query, sorted by (squared distance, index) across the
// lanes of a warp.
#ifndef OG_REID_CUDA_KNN_NEIGHBORS_H_
#define OG_REID_CUDA_KNN_NEIGHBORS_H_

#include <cfloat>

#include "device.h"

namespace {

// Distance bits above the index within the cloud: keys sort as (distance, index).
using Key = unsigned long long;
constexpr Key kNone = ~Key{0};

// Registers of a list per lane: up to 128 neighbours.
constexpr int kMostRounds = 4;

// Infinite and NaN distances are no neighbours.
__device__ inline Key key_of(float distance, int64_t index) {
  if (!(distance <= FLT_MAX)) return kNone;
  return (Key(__float_as_uint(distance)) << 32) | Key(index);
}

// Inserts one key per lane into a list with entry p in round p / 32 of lane p % 32.
template <int kRounds>
__device__ inline void offer(Key (&list)[kRounds], Key key, int last_lane) {
  const int lane = int(threadIdx.x) % kWarp;
  const Key worst = __shfl_sync(kAll, list[kRounds - 1], last_lane);
  for (unsigned better = __ballot_sync(kAll, key < worst); better; better &= better - 1) {
    const Key next = __shfl_sync(kAll, key, __ffs(int(better)) - 1);
#pragma unroll
    for (int round = kRounds - 1; round >= 0; --round) {
      Key before = __shfl_up_sync(kAll, list[round], 1);
      const Key edge = round ? __shfl_sync(kAll, list[round ? round - 1 : 0], kWarp - 1) : Key{0};
      if (lane == 0) before = edge;
      if (list[round] > next) list[round] = before > next ? before : next;
    }
  }
}

__device__ inline void write(const og_reid_knn& task, int64_t query, int64_t rank, Key key,
                             int64_t begin) {
  const int64_t at = query * task.k + rank;
  task.index[at] = key == kNone ? int64_t{-1} : int64_t(key & kAll) + (task.local ? 0 : begin);
  if (task.squared)
    task.squared[at] = __uint_as_float(key == kNone ? 0x7F800000u : unsigned(key >> 32));
}

// Writes a whole list.
template <int kRounds>
__device__ inline void write(const og_reid_knn& task, int64_t query, const Key (&list)[kRounds],
                             int64_t begin) {
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const int64_t rank = round * kWarp + int(threadIdx.x) % kWarp;
    if (rank < task.k) write(task, query, rank, list[round], begin);
  }
}

// True for a task within the limits of every kernel.
inline bool fits(const og_reid_knn& task, int64_t points, int64_t queries) {
  return task.k >= 1 && points >= 0 && points <= int64_t{kAll} && queries >= 0 &&
         task.points.clouds == task.queries.clouds && task.points.dims == task.queries.dims &&
         task.points.dims >= 0;
}

}  // namespace

#endif  // OG_REID_CUDA_KNN_NEIGHBORS_H_
