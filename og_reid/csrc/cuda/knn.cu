// Exact k nearest neighbours on a GPU, in the total order (squared distance, index).
//
// A block has a tile of queries and reads the points of their clouds tile by tile: each thread
// computes 4 x 4 distances in registers from shared memory, then each warp inserts the distances of
// its queries into their lists. A list of up to 128 neighbours is sorted across the lanes of a
// warp. More neighbours are found one after the other, by a warp per query.
#include "knn_neighbors.h"

namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;  // dimensions in shared memory at a time
constexpr int kSide = 16;   // threads along a side of the tile
constexpr int kPairs = kTile / kSide;
constexpr int kThreads = kSide * kSide;
constexpr int kRows = kTile / (kThreads / kWarp);  // queries of a warp

// Rows first .. first + kTile - 1, dimensions depth .. depth + kDepth - 1, columns by row.
__device__ inline void load_tile(const float* rows, int64_t dims, int64_t first, int64_t end,
                                 int64_t depth, float (*tile)[kTile + 1]) {
  for (int i = int(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int row = i / kDepth, d = i % kDepth;
    const bool inside = first + row < end && depth + d < dims;
    tile[d][row] = inside ? rows[(first + row) * dims + depth + d] : 0.0f;
  }
}

template <int kRounds>
__global__ void __launch_bounds__(kThreads)
    tiles_kernel(og_reid_knn task, int64_t points, int64_t queries) {
  __shared__ float query_tile[kDepth][kTile + 1];
  __shared__ float point_tile[kDepth][kTile + 1];
  __shared__ float distances[kTile][kTile + 1];
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  const int column = int(threadIdx.x) % kSide, row = int(threadIdx.x) / kSide;
  const int last_lane = int((task.k - 1) % kWarp);
  const int64_t dims = task.points.dims;
  for (int64_t first = int64_t(blockIdx.x) * kTile; first < queries;
       first += int64_t(gridDim.x) * kTile) {
    const int64_t last = first + kTile < queries ? first + kTile : queries;
    Key lists[kRows][kRounds];
    for (int r = 0; r < kRows; ++r)
      for (int round = 0; round < kRounds; ++round) lists[r][round] = kNone;
    const int64_t end_cloud = cloud_of(task.queries.ptr, task.queries.clouds, last - 1);
    for (int64_t cloud = cloud_of(task.queries.ptr, task.queries.clouds, first); cloud <= end_cloud;
         ++cloud) {
      const Range mine = rows_of(task.queries.ptr, cloud, queries);
      const Range theirs = rows_of(task.points.ptr, cloud, points);
      for (int64_t start = theirs.begin; start < theirs.end; start += kTile) {
        float total[kPairs][kPairs] = {};
        for (int64_t depth = 0; depth < dims; depth += kDepth) {
          __syncthreads();
          load_tile(task.queries.rows, dims, first, last, depth, query_tile);
          load_tile(task.points.rows, dims, start, theirs.end, depth, point_tile);
          __syncthreads();
          const int depths = int(dims - depth < kDepth ? dims - depth : kDepth);
          for (int d = 0; d < depths; ++d) {
            float from[kPairs], to[kPairs];
            for (int i = 0; i < kPairs; ++i) {
              from[i] = query_tile[d][row + i * kSide];
              to[i] = point_tile[d][column + i * kSide];
            }
            for (int i = 0; i < kPairs; ++i)
              for (int j = 0; j < kPairs; ++j)
                total[i][j] = add_square(total[i][j], from[i], to[j]);
          }
        }
        __syncthreads();
        for (int i = 0; i < kPairs; ++i)
          for (int j = 0; j < kPairs; ++j)
            distances[row + i * kSide][column + j * kSide] = total[i][j];
        __syncthreads();
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const int place = warp * kRows + r;
          // Uniform over the lanes, which must converge in `offer`.
          if (first + place < mine.begin || first + place >= mine.end) continue;
          for (int half = 0; half < kTile; half += kWarp) {
            const int64_t at = start + half + lane;
            const float distance = distances[place][half + lane];
            const Key key = at < theirs.end ? key_of(distance, at - theirs.begin) : kNone;
            offer<kRounds>(lists[r], key, last_lane);
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int64_t query = first + warp * kRows + r;
      if (query >= last) continue;
      const int64_t cloud = cloud_of(task.queries.ptr, task.queries.clouds, query);
      const int64_t begin = rows_of(task.points.ptr, cloud, points).begin;
      write(task, query, lists[r], begin);
    }
  }
}

// Pass j finds the smallest key above those already found.
__global__ void passes_kernel(og_reid_knn task, int64_t points, int64_t queries) {
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t dims = task.points.dims, warps = blockDim.x / kWarp;
  for (int64_t query = blockIdx.x * warps + threadIdx.x / kWarp; query < queries;
       query += gridDim.x * warps) {
    const int64_t cloud = cloud_of(task.queries.ptr, task.queries.clouds, query);
    const Range theirs = rows_of(task.points.ptr, cloud, points);
    Key last = 0;
    for (int64_t rank = 0; rank < task.k; ++rank) {
      Key best = kNone;
      for (int64_t at = theirs.begin + lane; last != kNone && at < theirs.end; at += kWarp) {
        float total = 0.0f;
        for (int64_t d = 0; d < dims; ++d)
          total = add_square(total, task.queries.rows[query * dims + d],
                             task.points.rows[at * dims + d]);
        const Key key = key_of(total, at - theirs.begin);
        if ((rank == 0 || key > last) && key < best) best = key;
      }
      for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        const Key other = __shfl_xor_sync(kAll, best, offset);
        best = other < best ? other : best;
      }
      last = best;
      if (lane == 0) write(task, query, rank, best, theirs.begin);
    }
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_abi(void) { return OG_REID_ABI; }

extern "C" OG_REID_API int og_reid_knn_cuda(const struct og_reid_knn* task, int64_t points,
                                            int64_t queries, const struct og_reid_queue* queue) {
  if (!fits(*task, points, queries)) return OG_REID_BAD_SIZE;
  if (queries == 0 || task->points.clouds == 0) return OG_REID_OK;
  const dim3 tiles(blocks_for(queries, kTile)), warps(blocks_for(queries, kThreads / kWarp));
  switch ((task->k + kWarp - 1) / kWarp) {
    case 1:
      return launch(*queue, tiles, kThreads, tiles_kernel<1>, *task, points, queries);
    case 2:
      return launch(*queue, tiles, kThreads, tiles_kernel<2>, *task, points, queries);
    case 3:
      return launch(*queue, tiles, kThreads, tiles_kernel<3>, *task, points, queries);
    case kMostRounds:
      return launch(*queue, tiles, kThreads, tiles_kernel<kMostRounds>, *task, points, queries);
    default:
      return launch(*queue, warps, kThreads, passes_kernel, *task, points, queries);
  }
}
