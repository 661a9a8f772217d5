// Exact k nearest neighbours in many dimensions, in the order (squared distance, index).
//
// |a|^2 + |b|^2 - 2ab, about the mean of the cloud, is cheap but inexact. A bound on its error
// gives the points that can be among the k nearest, and those in certain order. The others are
// measured by the sum, in order, of (a - b)^2, which defines the result (see og_reid.h).
//
// Compiled with -ffp-contract=off: measured distances must not depend on fused multiply-add.
#include "knn_centred.h"

namespace {

// With more neighbours than this, the bound from 64 groups is loose or infinite: sort all points.
constexpr int64_t kMostBounded = 48;
// Clouds up to this size keep all their products, and compute half of them: they are symmetric.
constexpr int64_t kMostKept = 512;
// Queries at a time in larger clouds.
constexpr int64_t kBlock = 4 * OG_REID_GRAM_ROWS;

struct Scratch {
  Centred points, queries;
  float* center;    // (dims)
  float* panels;    // (panels, dims, kPanel) the points
  float* products;  // (rows at a time, stride)
  Candidates found;
  float* distance;  // (count + kLanes) of measured candidates
};

Scratch take_scratch(Arena& arena, const og_reid_knn& task) {
  const int64_t count = largest_size(task.points.ptr, task.points.clouds);
  const int64_t queries = largest_size(task.queries.ptr, task.queries.clouds);
  const int64_t dims = task.points.dims, stride = up_to(count, kGroups);
  Scratch scratch = {};
  scratch.points = take_centred(arena, count, dims);
  scratch.queries = take_centred(arena, queries, dims);
  scratch.center = arena.take<float>(dims);
  scratch.panels = arena.take<float>(up_to(count, kPanel) * dims);
  const int64_t kept = std::min(up_to(count, OG_REID_GRAM_ROWS), kMostKept + kBlock);
  scratch.products = arena.take<float>(std::max(kept, kBlock) * stride);
  // Never cut: all points may be candidates.
  scratch.found = take_candidates(arena, count);
  scratch.distance = arena.take<float>(count + kLanes);
  return scratch;
}

// Measures the distances from a query to kLanes points.
OG_REID_INLINE Vec measure(const float* query, const float* const* points, int64_t dims) {
  Vec total = {};
  int64_t d = 0;
  for (; d + kLanes <= dims; d += kLanes) {
    const Vec here = load(query + d);
    Vec squares[kLanes];
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const Vec off = here - load(points[lane] + d);
      squares[lane] = off * off;
    }
    transpose(squares);
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < kLanes; ++lane) total += squares[lane];
  }
  for (; d < dims; ++d) {
    Vec there = {};
    for (int64_t lane = 0; lane < kLanes; ++lane) there[lane] = points[lane][d];
    const Vec off = query[d] - there;
    total += off * off;
  }
  return total;
}

// A bound with at least k of the 64 minima at or below it, close to the k-th smallest: bisection on
// the bits of the floats, which sort like the floats because none is negative.
OG_REID_INLINE float bound_from(const float* minima, int64_t k) {
  int32_t bits_of[kGroups];
  std::memcpy(bits_of, minima, sizeof bits_of);
  int32_t low = bits_of[0], high = bits_of[0];
  for (int64_t g = 1; g < kGroups; ++g) {
    low = bits_of[g] < low ? bits_of[g] : low;
    high = bits_of[g] > high ? bits_of[g] : high;
  }
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    int32_t within = 0;
    for (int64_t g = 0; g < kGroups; ++g) within += bits_of[g] <= middle;
    if (within >= k) {
      high = middle;
      if (within <= k + 1) break;
    } else {
      low = middle + 1;
    }
  }
  float bound;
  std::memcpy(&bound, &high, sizeof bound);
  return bound;
}

// Turns the products of a query into distances. The minima of 64 interleaved groups bound the k-th
// smallest from above, because k groups hold a point at most that far.
OG_REID_INLINE float to_distances(float* products, float norm, const float* norms, int64_t stride,
                                  int64_t k) {
  alignas(64) float minima[kGroups];
  for (int64_t g = 0; g < kGroups; g += kLanes) {
    Vec least = spread(kInfinity);
    for (int64_t j = g; j < stride; j += kGroups) {
      const Vec both = load(norms + j) + norm;
      const Vec distance = larger(both - 2.0f * load(products + j), Vec{});
      store(products + j, distance);
      least = smaller(least, distance);
    }
    store(minima + g, least);
  }
  return k <= kMostBounded ? bound_from(minima, k) : kLargest;
}

// One query: its products, then its row of the result.
struct Row {
  const og_reid_knn& task;
  const float* query;
  const float* points;  // not centred
  Scratch& scratch;
  float error;  // largest error of a distance from products

  void measure_some(int64_t begin, int64_t end, const int32_t* id) const {
    const int64_t dims = task.points.dims;
    for (int64_t i = begin; i < end; i += kLanes) {
      const float* rows[kLanes];
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        rows[lane] = points + id[std::min(i + lane, end - 1)] * dims;
      }
      store(scratch.distance + i, measure(query, rows, dims));
    }
  }

  // Sorts candidates begin .. end - 1, which the products cannot order, by measured distance.
  void settle(int64_t begin, int64_t end, float* distance, int32_t* id) const {
    measure_some(begin, end, id);
    Key* keys = scratch.found.keys;
    int64_t size = 0;
    for (int64_t i = begin; i < end; ++i) {
      // NaN would not sort: both are no neighbours.
      const float measured = scratch.distance[i];
      keys[size++] = key_of(measured <= kLargest ? measured : kInfinity, id[i]);
    }
    std::sort(keys, keys + size);
    for (int64_t i = begin; i < end; ++i) read_key(keys[i - begin], distance[i], id[i]);
  }
};

void write_row(const Row& row, int64_t at, int64_t base, int64_t kept, const float* distance,
               const int32_t* id) {
  const og_reid_knn& task = row.task;
  int64_t* index = task.index + at * task.k;
  const int64_t size = std::min(kept, task.k);
  for (int64_t j = 0; j < size; ++j) index[j] = base + id[j];
  std::fill(index + size, index + task.k, int64_t{-1});
  if (task.squared == nullptr) return;
  float* squared = task.squared + at * task.k;
  std::copy(distance, distance + size, squared);
  std::fill(squared + size, squared + task.k, kInfinity);
}

// All points are candidates, without a bound.
void measure_all(const Row& row, const float* norms, int64_t count, int64_t at, int64_t base) {
  Candidates& found = row.scratch.found;
  found.size = 0;
  for (int64_t j = 0; j < count; ++j) {
    if (norms[j] < kInfinity) found.id[found.size++] = int32_t(j);
  }
  row.settle(0, found.size, found.distance, found.id);
  while (found.size > 0 && found.distance[found.size - 1] == kInfinity) --found.size;
  write_row(row, at, base, found.size, found.distance, found.id);
}

void search_row(const Row& row, float* products, float norm, const float* norms, int64_t stride,
                int64_t at, int64_t base) {
  const int64_t k = row.task.k;
  Candidates& found = row.scratch.found;
  const float bound = to_distances(products, norm, norms, stride, k);
  const Vec limit = spread(std::min(bound + 2.0f * row.error, kLargest));
  int64_t size = 0;
  for (int64_t j = 0; j < stride; j += kLanes) {
    const uint32_t hits = at_most(load(products + j), limit);
    const Pack chosen = pack(hits);
    put(found.distance + size, load(products + j), chosen);
    put(found.id + size, lanes() + int32_t(j), chosen);
    size += ones(hits);
  }
  found.size = size;
  alignas(64) Sorted sorted;
  const float* order;
  const int32_t* order_id;
  sort_nearest(found, size, sorted, order, order_id);
  if (order != found.distance) {
    std::memcpy(found.distance, order, sizeof(float) * size_t(size));
    std::memcpy(found.id, order_id, sizeof(int32_t) * size_t(size));
  }
  float* distance = found.distance;
  if (size > k) {
    const float farthest = distance[k - 1] + 2.0f * row.error;
    while (size > k && distance[size - 1] > farthest) --size;
  }
  if (row.task.squared != nullptr) {
    row.settle(0, size, distance, found.id);
    write_row(row, at, base, size, distance, found.id);
    return;
  }
  // Runs of candidates closer to each other than the error.
  const int64_t wanted = std::min(size, k);
  for (int64_t begin = 0, end = 0; begin < wanted; begin = end) {
    end = begin + 1;
    while (end < size && distance[end] - distance[end - 1] <= 2.0f * row.error) ++end;
    if (end - begin > 1) row.settle(begin, end, distance, found.id);
  }
  write_row(row, at, base, size, distance, found.id);
}

// The error of a distance from products: sums of `dims` products of centred values, the centring,
// and the rounding of the measured distance itself. The last term covers underflow.
OG_REID_INLINE float error_of(float norm, float most, int64_t dims) {
  const float total = norm + most;
  if (!(total < kLargest / 8.0f) || dims > 100000) return kInfinity;
  const float unit = std::numeric_limits<float>::epsilon() / 2.0f;
  const float smallest_normal = std::numeric_limits<float>::min();
  return 1.05f * (4.0f * float(dims) + 32.0f) * (unit * total + 4.0f * smallest_normal);
}

// Queries first .. last - 1 of a cloud.
void search_cloud(const og_reid_knn& task, int64_t cloud, int64_t first, int64_t last,
                  Scratch& scratch) {
  const og_reid_clouds &points = task.points, &queries = task.queries;
  const int64_t dims = points.dims, begin = points.ptr[cloud], start = queries.ptr[cloud];
  const int64_t count = size_of(points.ptr, cloud), stride = up_to(count, kGroups);
  const int64_t total = size_of(queries.ptr, cloud);
  const float* rows = points.rows + begin * dims;
  const bool same = points.rows == queries.rows && points.ptr == queries.ptr;
  const int64_t base = task.local ? 0 : begin;
  find_center(rows, count, dims, scratch.center);
  if (!finite(scratch.center, dims)) std::fill(scratch.center, scratch.center + dims, 0.0f);
  const float most = centre(rows, count, dims, scratch.center, scratch.points);
  pack_panels(scratch.points.rows, count, dims, scratch.panels);
  const bool whole = same && count <= kMostKept && first == 0 && last == total;
  const int64_t step = whole ? up_to(count, OG_REID_GRAM_ROWS) : kBlock;
  const int64_t panels = up_to(count, kPanel) / kPanel;
  for (int64_t block = first; block < last; block += step) {
    const int64_t size = std::min(step, last - block);
    Centred some = scratch.points;
    if (!whole) {
      const float* from = queries.rows + (start + block) * dims;
      centre(from, size, dims, scratch.center, scratch.queries);
      some = scratch.queries;
    }
    OG_REID_AT_LEVEL(og_reid_knn_gram)
    (some.rows, up_to(size, OG_REID_GRAM_ROWS), scratch.panels, panels, dims, whole,
     scratch.products, stride);
    if (whole) mirror(scratch.products, count, stride);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t at = start + block + i;
      const float norm = some.norms[i], error = error_of(norm, most, dims);
      const Row row = {task, queries.rows + at * dims, rows, scratch, error};
      float* products = scratch.products + i * stride;
      std::fill(products + panels * kPanel, products + stride, 0.0f);  // uninitialised so far
      if (norm == kInfinity || count == 0) {
        write_row(row, at, base, 0, scratch.found.distance, scratch.found.id);
      } else if (error == kInfinity) {
        measure_all(row, scratch.points.norms, count, at, base);
      } else {
        search_row(row, products, norm, scratch.points.norms, stride, at, base);
      }
    }
  }
}

bool valid_task(const og_reid_knn& task) {
  og_reid_clouds points = task.points, queries = task.queries;
  const bool fits = points.dims == queries.dims && points.clouds == queries.clouds;
  points.dims = queries.dims = 0;
  return fits && task.points.dims >= 0 && valid(points) && valid(queries) && task.k >= 1 &&
         task.threads >= 1;
}

}  // namespace

extern "C" int64_t OG_REID_AT_LEVEL(og_reid_knn_features_workspace)(
    const struct og_reid_knn* task) {
  if (!valid_task(*task)) return OG_REID_BAD_SIZE;
  Arena arena(nullptr);
  for (int64_t thread = 0; thread < task->threads; ++thread) take_scratch(arena, *task);
  return arena.used();
}

extern "C" int OG_REID_AT_LEVEL(og_reid_knn_features_cpu)(const struct og_reid_knn* task) {
  if (!valid_task(*task)) return OG_REID_BAD_SIZE;
  const int threads = int(task->threads);
  const int64_t clouds = task->queries.clouds;
  // Fewer clouds than threads are split; each part then prepares the cloud itself.
  const int64_t parts = clouds > 0 && clouds < threads ? (threads + clouds - 1) / clouds : 1;
  const int64_t tasks = clouds * parts;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread) {
    Arena arena(task->workspace);
    Scratch scratch = {};
    for (int before = 0; before <= thread; ++before) scratch = take_scratch(arena, *task);
    const int64_t end = tasks * (thread + 1) / threads;
    for (int64_t number = tasks * thread / threads; number < end; ++number) {
      const int64_t cloud = number / parts, part = number % parts;
      const int64_t size = size_of(task->queries.ptr, cloud);
      search_cloud(*task, cloud, size * part / parts, size * (part + 1) / parts, scratch);
    }
  }
  return OG_REID_OK;
}
