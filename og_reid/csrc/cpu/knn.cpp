// Exact k nearest neighbours by brute force, in the total order (squared distance, index).
//
// Per query: one pass writes all distances and keeps the minimum of each of 64 interleaved groups
// of points. The k-th smallest group minimum bounds the k-th smallest distance from above, because
// k groups hold a point at most that far. A second pass keeps the points within the bound (about
// 1.3 k of them), which are then ranked by counting.
//
// Compiled with -ffp-contract=off: distances must not depend on fused multiply-add.
#include <algorithm>
#include <cstring>
#include <limits>

#include "level.h"

namespace {

constexpr int64_t kGroups = 64;
// With more neighbours than this, the bound from 64 groups is loose or void: sort all points.
constexpr int64_t kMostBounded = 48;
constexpr int64_t kQueryBlock = 32;

constexpr int64_t kLanes = OG_REID_LANES;
typedef float Vec __attribute__((vector_size(OG_REID_LANES * 4)));
typedef int32_t VecInt __attribute__((vector_size(OG_REID_LANES * 4)));
// Points per strip: four registers of distances, enough to hide the latency of an addition.
constexpr int64_t kStrip = 4 * kLanes;
static_assert(kGroups % kStrip == 0, "a strip must not wrap around the groups");

OG_REID_INLINE Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

OG_REID_INLINE void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }

// Its own type, so that the sort below is compiled for this level alone (see level.h).
struct Key {
  uint64_t bits;
  bool operator<(const Key& other) const { return bits < other.bits; }
};

OG_REID_INLINE bool some(VecInt mask) {
  uint64_t words[sizeof mask / 8], all = 0;
  std::memcpy(words, &mask, sizeof mask);
  for (uint64_t word : words) all |= word;
  return all != 0;
}

OG_REID_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Distances from one query to all points of a cloud, and the minima of the 64 groups.
OG_REID_INLINE void measure(const float* columns, int64_t padded, int64_t dims, int64_t count,
                            int64_t query, float* distances, float* minima) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (int64_t begin = 0; begin < padded; begin += kStrip) {
    Vec total0 = {}, total1 = {}, total2 = {}, total3 = {};
    const float* point = columns + begin;
    const float* center = columns + query;
    for (int64_t d = 0; d < dims; ++d, point += padded, center += padded) {
      const Vec here = Vec{} + *center;
      const Vec off0 = here - load(point), off1 = here - load(point + kLanes);
      const Vec off2 = here - load(point + 2 * kLanes), off3 = here - load(point + 3 * kLanes);
      total0 += off0 * off0;
      total1 += off1 * off1;
      total2 += off2 * off2;
      total3 += off3 * off3;
    }
    store(distances + begin, total0);
    store(distances + begin + kLanes, total1);
    store(distances + begin + 2 * kLanes, total2);
    store(distances + begin + 3 * kLanes, total3);
  }
  for (int64_t j = count; j < padded; ++j) distances[j] = infinity;
  for (int64_t g = 0; g < kGroups; g += kLanes) {
    Vec least = load(distances + g);
    for (int64_t j = g + kGroups; j < padded; j += kGroups) {
      const Vec other = load(distances + j);
      least = other < least ? other : least;
    }
    store(minima + g, least);
  }
}

// A bound with at least k of the 64 minima at or below it, close to the k-th smallest: bisection on
// the bits of the floats, which sort like the floats because none is negative.
OG_REID_INLINE float bound_from(const float* minima, int64_t k) {
  int32_t bits[kGroups];
  std::memcpy(bits, minima, sizeof bits);
  int32_t low = bits[0], high = bits[0];
  for (int64_t g = 1; g < kGroups; ++g) {
    low = bits[g] < low ? bits[g] : low;
    high = bits[g] > high ? bits[g] : high;
  }
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    int32_t inside = 0;
    for (int64_t g = 0; g < kGroups; ++g) inside += bits[g] <= middle;
    if (inside >= k) {
      high = middle;
      if (inside <= k + 1) break;
    } else {
      low = middle + 1;
    }
  }
  float bound;
  std::memcpy(&bound, &high, sizeof bound);
  return bound;
}

// Keys (distance bits, index) of the points at most `bound` away; returns how many.
OG_REID_INLINE int64_t collect(const float* distances, int64_t padded, float bound, Key* keys) {
  int64_t found = 0;
  for (int64_t begin = 0; begin < padded; begin += kStrip) {
    const Vec limit = Vec{} + bound;
    VecInt any = load(distances + begin) <= limit;
    for (int64_t j = kLanes; j < kStrip; j += kLanes) any |= load(distances + begin + j) <= limit;
    if (!some(any)) continue;
    for (int64_t j = begin; j < begin + kStrip; ++j) {
      keys[found].bits = (uint64_t{bits_of(distances[j])} << 32) | uint64_t(j);
      found += distances[j] <= bound;
    }
  }
  return found;
}

// Writes the k smallest of `found` distinct keys in order, by counting the smaller ones of each.
OG_REID_INLINE void rank(const Key* keys, int64_t found, int64_t k, int64_t* out) {
  for (int64_t a = 0; a < found; ++a) {
    const int64_t key = int64_t(keys[a].bits);
    int64_t smaller = 0;
    for (int64_t b = 0; b < found; ++b) smaller += int64_t(keys[b].bits) < key;
    if (smaller < k) out[smaller] = int64_t(keys[a].bits & 0xFFFFFFFFu);
  }
}

void search(const float* columns, int64_t padded, int64_t dims, int64_t count, int64_t k,
            int64_t first, int64_t last, int64_t* out, float* distances, Key* keys) {
  const bool bounded = k <= kMostBounded;
  for (int64_t query = first; query < last; ++query) {
    float minima[kGroups];
    measure(columns, padded, dims, count, query, distances, minima);
    const float bound = bounded ? bound_from(minima, k) : std::numeric_limits<float>::max();
    const int64_t found = collect(distances, padded, bound, keys);
    if (found <= 4 * kGroups) {
      rank(keys, found, k, out + query * k);
    } else {  // many ties, or a large k
      std::partial_sort(keys, keys + k, keys + found);
      for (int64_t j = 0; j < k; ++j) out[query * k + j] = int64_t(keys[j].bits & 0xFFFFFFFFu);
    }
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_knn_cpu)(const float* columns, int64_t batch, int64_t count,
                                                 int64_t padded, int64_t dims, int64_t k,
                                                 int64_t* out, float* distances, uint64_t* keys,
                                                 int threads) {
  if (batch < 0 || count < 1 || dims < 0 || k < 1 || k > count || threads < 1 || padded < count ||
      padded % kGroups != 0 || count > std::numeric_limits<int32_t>::max()) {
    return OG_REID_BAD_SIZE;
  }
  const int64_t blocks = (count + kQueryBlock - 1) / kQueryBlock;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread) {
    const int64_t tasks = batch * blocks;
    for (int64_t task = tasks * thread / threads; task < tasks * (thread + 1) / threads; ++task) {
      const int64_t cloud = task / blocks, first = task % blocks * kQueryBlock;
      search(columns + cloud * dims * padded, padded, dims, count, k, first,
             std::min(first + kQueryBlock, count), out + cloud * count * k,
             distances + thread * padded, reinterpret_cast<Key*>(keys) + thread * padded);
    }
  }
  return OG_REID_OK;
}
