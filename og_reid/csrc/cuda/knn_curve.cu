// Exact k nearest neighbours in at most three dimensions on a GPU, for large clouds, in the total
// order (squared distance, index).
//
// The points are sorted along a Hilbert curve through each cloud and cut into leaves of a warp
// each, with a box around each leaf and around each group of leaves. A warp per query scans the
// leaves around its own, then those with a box no farther than the k-th neighbour so far. The
// choice of leaves affects speed only: the result is the same for any order of the points.
#include <cmath>

#include "knn_neighbors.h"

namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarps = kThreads / kWarp;
// Rows that a warp reduces to bounds of their clouds before an atomic update.
constexpr int64_t kRun = 32 * kWarp;
// Cells along the longest side of a cloud are 1 << kCellBits.
constexpr int kCellBits = 16;
constexpr int kCodeBits = 3 * kCellBits;
constexpr Key kLastCode = (Key{1} << kCodeBits) - 1;
static_assert(OG_REID_MOST_CURVES + 2 < 1 << (63 - kCodeBits), "places must not be negative");

__device__ inline float unordered(unsigned value) {
  return __uint_as_float(value & 0x80000000u ? value & 0x7FFFFFFFu : ~value);
}

struct Point {
  float at[3];
  unsigned row;
};

// Missing dimensions of a cloud are zeros, and change no distance.
__device__ inline Point point_of(const og_reid_clouds& clouds, int64_t row) {
  Point point = {{0.0f, 0.0f, 0.0f}, unsigned(row)};
  for (int axis = 0; axis < 3; ++axis)
    if (axis < clouds.dims) point.at[axis] = clouds.rows[row * clouds.dims + axis];
  return point;
}

__device__ inline bool finite(const Point& point) {
  return fabsf(point.at[0]) <= FLT_MAX && fabsf(point.at[1]) <= FLT_MAX &&
         fabsf(point.at[2]) <= FLT_MAX;
}

// Largest coordinates, and largest inverted coordinates: both start at 0.
__device__ inline void raise_bounds(unsigned* bounds, int64_t cloud, const unsigned (&most)[6]) {
  for (int side = 0; side < 6; ++side) {
    const unsigned value = __reduce_max_sync(kAll, most[side]);
    if (int(threadIdx.x) % kWarp == 0) atomicMax(&bounds[6 * cloud + side], value);
  }
}

// A maximum does not depend on the order of the warps, so this is deterministic.
__global__ void __launch_bounds__(kThreads)
    bounds_kernel(og_reid_clouds clouds, int64_t points, unsigned* bounds) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t first = (blockIdx.x * kWarps + threadIdx.x / kWarp) * kRun; first < points;
       first += gridDim.x * kWarps * kRun) {
    const int64_t end = first + kRun < points ? first + kRun : points;
    const int64_t last_cloud = cloud_of(clouds.ptr, clouds.clouds, end - 1);
    for (int64_t cloud = cloud_of(clouds.ptr, clouds.clouds, first); cloud <= last_cloud; ++cloud) {
      const Range mine = rows_of(clouds.ptr, cloud, points);
      const int64_t from = mine.begin > first ? mine.begin : first;
      const int64_t to = mine.end < end ? mine.end : end;
      unsigned most[6] = {};
      for (int64_t row = from + lane; row < to; row += kWarp) {
        const Point point = point_of(clouds, row);
        if (!finite(point)) continue;
        for (int axis = 0; axis < 3; ++axis) {
          const unsigned high = ordered(point.at[axis]), low = ~high;
          most[axis] = low > most[axis] ? low : most[axis];
          most[3 + axis] = high > most[3 + axis] ? high : most[3 + axis];
        }
      }
      raise_bounds(bounds, cloud, most);
    }
  }
}

// Inserts two zeros before each of the lowest 16 bits.
__device__ inline Key spaced(unsigned value) {
  Key wide = value;
  wide = (wide | wide << 16) & 0x0000FF0000FFull;
  wide = (wide | wide << 8) & 0x00F00F00F00Full;
  wide = (wide | wide << 4) & 0x0C30C30C30C3ull;
  return (wide | wide << 2) & 0x249249249249ull;
}

// Place on the Hilbert curve of a cell (Skilling, Programming the Hilbert curve, 2004).
__device__ inline Key hilbert(unsigned x, unsigned y, unsigned z) {
  unsigned axes[3] = {x, y, z};
  for (unsigned bit = 1u << (kCellBits - 1); bit > 1; bit /= 2) {
    const unsigned lower = bit - 1;
    for (int axis = 0; axis < 3; ++axis) {
      if (axes[axis] & bit) {
        axes[0] ^= lower;
      } else {
        const unsigned swapped = (axes[0] ^ axes[axis]) & lower;
        axes[0] ^= swapped;
        axes[axis] ^= swapped;
      }
    }
  }
  axes[1] ^= axes[0];
  axes[2] ^= axes[1];
  unsigned turn = 0;
  for (unsigned bit = 1u << (kCellBits - 1); bit > 1; bit /= 2)
    if (axes[2] & bit) turn ^= bit - 1;
  return spaced(axes[0] ^ turn) << 2 | spaced(axes[1] ^ turn) << 1 | spaced(axes[2] ^ turn);
}

// Any number is a cell: extents may be 0 or overflow.
__device__ inline unsigned cell_of(float value, float low, float scale) {
  constexpr float kLast = (1 << kCellBits) - 1;
  const float place = (value - low) * scale;
  return place > 0.0f ? unsigned(place < kLast ? place : kLast) : 0u;
}

// The number of the cloud above the place on its curve. Points that are not finite come last in
// their cloud, rows of no cloud before or after all clouds, so that clouds start at ptr.
__global__ void __launch_bounds__(kThreads)
    places_kernel(og_reid_clouds clouds, int64_t points, const unsigned* bounds, int64_t* places) {
  for (int64_t row = blockIdx.x * int64_t{kThreads} + threadIdx.x; row < points;
       row += gridDim.x * int64_t{kThreads}) {
    const int64_t cloud = cloud_of(clouds.ptr, clouds.clouds, row);
    const Range mine = rows_of(clouds.ptr, cloud, points);
    const int64_t rank = row < mine.begin ? 0 : row >= mine.end ? clouds.clouds + 1 : cloud + 1;
    const Point point = point_of(clouds, row);
    Key code = kLastCode;
    if (finite(point)) {
      float low[3], extent = 0.0f;
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = unordered(~bounds[6 * cloud + axis]);
        extent = fmaxf(extent, unordered(bounds[6 * cloud + 3 + axis]) - low[axis]);
      }
      const float scale = float(1 << kCellBits) / extent;
      code = hilbert(cell_of(point.at[0], low[0], scale), cell_of(point.at[1], low[1], scale),
                     cell_of(point.at[2], low[2], scale));
    }
    places[row] = int64_t(Key(rank) << kCodeBits | code);
  }
}

struct Box {
  float low[3], high[3];
};

struct Tree {
  int64_t leaves, groups;
  Point* points;  // (leaves * kWarp) along the curve
  Box* leaf;      // (leaves)
  Box* group;     // (groups) each around kWarp leaves
};

__host__ __device__ inline int64_t warps_for(int64_t count) { return (count + kWarp - 1) / kWarp; }

int64_t workspace_of(int64_t points) {
  const int64_t leaves = warps_for(points);
  return leaves * kWarp * int64_t(sizeof(Point)) +
         (leaves + warps_for(leaves)) * int64_t(sizeof(Box));
}

Tree tree_in(void* workspace, int64_t points) {
  Tree tree = {warps_for(points), warps_for(warps_for(points)), nullptr, nullptr, nullptr};
  tree.points = static_cast<Point*>(workspace);
  tree.leaf = reinterpret_cast<Box*>(tree.points + tree.leaves * kWarp);
  tree.group = tree.leaf + tree.leaves;
  return tree;
}

// The box around one box per lane.
__device__ inline Box around(const Box& mine) {
  Box all;
  for (int axis = 0; axis < 3; ++axis) {
    all.low[axis] = unordered(__reduce_min_sync(kAll, ordered(mine.low[axis])));
    all.high[axis] = unordered(__reduce_max_sync(kAll, ordered(mine.high[axis])));
  }
  return all;
}

__device__ inline Box no_box() {
  const float most = __uint_as_float(0x7F800000u);
  return {{most, most, most}, {-most, -most, -most}};
}

__global__ void __launch_bounds__(kThreads)
    leaves_kernel(og_reid_clouds clouds, int64_t points, const int64_t* order, Tree tree) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t leaf = blockIdx.x * kWarps + threadIdx.x / kWarp; leaf < tree.leaves;
       leaf += gridDim.x * kWarps) {
    const int64_t position = leaf * kWarp + lane;
    Box box = no_box();
    if (position < points) {
      const Point point = point_of(clouds, order[position]);
      tree.points[position] = point;
      if (finite(point))
        for (int axis = 0; axis < 3; ++axis) box.low[axis] = box.high[axis] = point.at[axis];
    }
    box = around(box);
    if (lane == 0) tree.leaf[leaf] = box;
  }
}

__global__ void __launch_bounds__(kThreads) groups_kernel(Tree tree) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int64_t group = blockIdx.x * kWarps + threadIdx.x / kWarp; group < tree.groups;
       group += gridDim.x * kWarps) {
    const int64_t leaf = group * kWarp + lane;
    const Box box = around(leaf < tree.leaves ? tree.leaf[leaf] : no_box());
    if (lane == 0) tree.group[group] = box;
  }
}

// Rounding is monotonic, so no measured distance of a point is below that of its box: the bound
// needs no tolerance.
__device__ inline float gap(const Box& box, const Point& query) {
  float total = 0.0f;
  for (int axis = 0; axis < 3; ++axis) {
    const float above = __fsub_rn(box.low[axis], query.at[axis]);
    const float below = __fsub_rn(query.at[axis], box.high[axis]);
    const float off = fmaxf(fmaxf(above, below), 0.0f);
    total = __fadd_rn(total, __fmul_rn(off, off));
  }
  return total;
}

// The box of the smallest gap among first .. last, the first on ties.
__device__ inline int64_t nearest_box(const Box* boxes, int64_t first, int64_t last,
                                      const Point& query) {
  Key best = kNone;
  for (int64_t at = first + int(threadIdx.x) % kWarp; at <= last; at += kWarp) {
    const Key key = Key(__float_as_uint(gap(boxes[at], query))) << 32 | Key(at - first);
    best = key < best ? key : best;
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Key other = __shfl_xor_sync(kAll, best, offset);
    best = other < best ? other : best;
  }
  return first + int64_t(best & kAll);
}

// Query of a warp, and its points of the curve.
struct Search {
  Point query;
  Range range;
  int last_lane;
};

template <int kRounds>
__device__ inline void scan(const Tree& tree, const Search& search, int64_t leaf,
                            Key (&list)[kRounds]) {
  const int64_t position = leaf * kWarp + int(threadIdx.x) % kWarp;
  Key key = kNone;
  if (position >= search.range.begin && position < search.range.end) {
    const Point point = tree.points[position];
    float total = 0.0f;
    for (int axis = 0; axis < 3; ++axis)
      total = add_square(total, search.query.at[axis], point.at[axis]);
    key = key_of(total, int64_t(point.row) - search.range.begin);
  }
  offer<kRounds>(list, key, search.last_lane);
}

// The distance of the k-th neighbour so far.
template <int kRounds>
__device__ inline float reach_of(const Search& search, const Key (&list)[kRounds]) {
  const Key worst = __shfl_sync(kAll, list[kRounds - 1], search.last_lane);
  return worst == kNone ? FLT_MAX : __uint_as_float(unsigned(worst >> 32));
}

// Calls visit(lane) for the lanes with a gap within the reach, which visits shorten.
template <int kRounds, typename Visit>
__device__ inline void visit_near(const Search& search, const Key (&list)[kRounds], float off,
                                  const Visit& visit) {
  const int lane = int(threadIdx.x) % kWarp;
  bool open = true;
  while (true) {
    const float reach = reach_of(search, list);  // all lanes converge here, closed ones, too
    const unsigned near = __ballot_sync(kAll, open && off <= reach);
    if (!near) return;
    const int chosen = __ffs(int(near)) - 1;
    if (lane == chosen) open = false;
    visit(chosen);
  }
}

template <int kRounds>
__device__ inline void search_tree(const Tree& tree, const Search& search, int64_t home,
                                   Key (&list)[kRounds]) {
  const int lane = int(threadIdx.x) % kWarp;
  const float never = __uint_as_float(0x7F800000u);
  const int64_t first = search.range.begin / kWarp, last = (search.range.end - 1) / kWarp;
  if (home < 0) {
    const int64_t group = nearest_box(tree.group, first / kWarp, last / kWarp, search.query);
    const int64_t from = group * kWarp, to = from + kWarp - 1;
    home = nearest_box(tree.leaf, from > first ? from : first, to < last ? to : last, search.query);
  }
  const int64_t from = home - kRounds > first ? home - kRounds : first;
  const int64_t to = home + kRounds < last ? home + kRounds : last;
  for (int64_t leaf = from; leaf <= to; ++leaf) scan(tree, search, leaf, list);
  for (int64_t start = first / kWarp; start <= last / kWarp; start += kWarp) {
    const int64_t mine = start + lane;
    const float off = mine <= last / kWarp ? gap(tree.group[mine], search.query) : never;
    visit_near(search, list, off, [&](int chosen) {
      const int64_t begin = (start + chosen) * kWarp, leaf = begin + lane;
      const bool seen = leaf < first || leaf > last || (leaf >= from && leaf <= to);
      const float apart = seen ? never : gap(tree.leaf[leaf], search.query);
      visit_near(search, list, apart,
                 [&](int number) { scan(tree, search, begin + number, list); });
    });
  }
}

template <int kRounds>
__global__ void __launch_bounds__(kThreads)
    search_kernel(og_reid_knn task, Tree tree, int64_t points, int64_t queries, bool own) {
  for (int64_t turn = blockIdx.x * kWarps + threadIdx.x / kWarp; turn < queries;
       turn += gridDim.x * kWarps) {
    // Queries equal to the points run along the curve, with its leaves in the cache.
    const Point query = own ? tree.points[turn] : point_of(task.queries, turn);
    const int64_t row = own ? int64_t(query.row) : turn;
    const int64_t cloud = cloud_of(task.queries.ptr, task.queries.clouds, row);
    const Range mine = rows_of(task.queries.ptr, cloud, queries);
    const Range theirs = rows_of(task.points.ptr, cloud, points);
    Key list[kRounds];
#pragma unroll
    for (int round = 0; round < kRounds; ++round) list[round] = kNone;
    // Uniform over the lanes.
    if (row >= mine.begin && row < mine.end && theirs.begin < theirs.end && finite(query)) {
      const Search search = {query, theirs, int((task.k - 1) % kWarp)};
      search_tree(tree, search, own ? turn / kWarp : int64_t{-1}, list);
    }
    write(task, row, list, theirs.begin);
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_knn_curve_places_cuda(const struct og_reid_clouds* clouds,
                                                         int64_t points, uint32_t* bounds,
                                                         int64_t* places,
                                                         const struct og_reid_queue* queue) {
  if (clouds->dims < 1 || clouds->dims > 3 || clouds->clouds < 1 ||
      clouds->clouds > OG_REID_MOST_CURVES || points < 0 || points > int64_t{kAll})
    return OG_REID_BAD_SIZE;
  if (points == 0) return OG_REID_OK;
  const dim3 runs(blocks_for(points, kWarps * kRun)), rows(blocks_for(points, kThreads));
  const int status = launch(*queue, runs, kThreads, bounds_kernel, *clouds, points, bounds);
  if (status != OG_REID_OK) return status;
  return launch(*queue, rows, kThreads, places_kernel, *clouds, points, bounds, places);
}

extern "C" OG_REID_API int64_t og_reid_knn_curve_workspace(int64_t points) {
  return points < 0 ? int64_t{OG_REID_BAD_SIZE} : workspace_of(points);
}

extern "C" OG_REID_API int og_reid_knn_curve_cuda(const struct og_reid_knn* task, int64_t points,
                                                  int64_t queries, const int64_t* order,
                                                  const struct og_reid_queue* queue) {
  if (!fits(*task, points, queries) || task->points.dims < 1 || task->points.dims > 3 ||
      task->k > kMostRounds * kWarp || task->points.clouds < 1)
    return OG_REID_BAD_SIZE;
  if (queries == 0) return OG_REID_OK;
  const Tree tree = tree_in(task->workspace, points);
  const dim3 leaves(blocks_for(tree.leaves, kWarps)), groups(blocks_for(tree.groups, kWarps));
  int status = launch(*queue, leaves, kThreads, leaves_kernel, task->points, points, order, tree);
  if (status != OG_REID_OK) return status;
  status = launch(*queue, groups, kThreads, groups_kernel, tree);
  if (status != OG_REID_OK) return status;
  const bool own = task->points.rows == task->queries.rows &&
                   task->points.ptr == task->queries.ptr && points == queries;
  const dim3 warps(blocks_for(queries, kWarps));
  const auto search = [&](auto kernel) {
    return launch(*queue, warps, kThreads, kernel, *task, tree, points, queries, own);
  };
  switch ((task->k + kWarp - 1) / kWarp) {
    case 1:
      return search(search_kernel<1>);
    case 2:
      return search(search_kernel<2>);
    case 3:
      return search(search_kernel<3>);
    default:
      return search(search_kernel<kMostRounds>);
  }
}
