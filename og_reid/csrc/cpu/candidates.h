// Candidates of one query, and selection of the nearest in the order (distance, index).
#ifndef OG_REID_CPU_CANDIDATES_H_
#define OG_REID_CPU_CANDIDATES_H_

#include "spatial_index.h"

namespace {

// Up to this many candidates are sorted by counting, without mispredicted branches.
constexpr int64_t kMostCounted = 128;

struct Candidates {
  float* distance;   // (capacity + kLanes)
  int32_t* id;       // (capacity + kLanes)
  Key* keys;         // (capacity + kLanes), scratch
  int64_t capacity;  // at least 2 k
  int64_t size;
  float bound;      // largest distance of collected points,
  int32_t last_id;  // and largest index at exactly this distance
};

Candidates take_candidates(Arena& arena, int64_t k) {
  const int64_t capacity = 2 * k + 2 * kMostCounted, room = capacity + kLanes;
  return {arena.take<float>(room),
          arena.take<int32_t>(room),
          arena.take<Key>(room),
          capacity,
          0,
          kLargest,
          kAnyId};
}

OG_REID_INLINE void restart(Candidates& found, float bound) {
  found.size = 0;
  found.bound = bound;
  found.last_id = kAnyId;
}

// Keys in the order of the neighbours: the bits of non-negative floats sort like the floats.
OG_REID_INLINE Key key_of(float distance, int32_t id) {
  uint32_t high;
  std::memcpy(&high, &distance, sizeof high);
  return {uint64_t(high) << 32 | uint32_t(id)};
}

void make_keys(Candidates& found) {
  for (int64_t i = 0; i < found.size; ++i) found.keys[i] = key_of(found.distance[i], found.id[i]);
}

OG_REID_INLINE void read_key(Key key, float& distance, int32_t& id) {
  const uint32_t high = key.code();
  std::memcpy(&distance, &high, sizeof distance);
  id = int32_t(key.id());
}

// Keeps the k nearest, and limits further collection to points before the last of them.
__attribute__((noinline)) void cut(Candidates& found, int64_t k) {
  make_keys(found);
  std::nth_element(found.keys, found.keys + k - 1, found.keys + found.size);
  found.size = k;
  for (int64_t i = 0; i < k; ++i) read_key(found.keys[i], found.distance[i], found.id[i]);
  found.bound = found.distance[k - 1];
  found.last_id = found.id[k - 1];
}

// Number of candidates before each of kRegisters * kLanes of them. With kTies equal distances are
// ordered by index.
template <int kRegisters, bool kTies>
OG_REID_INLINE void count_before(const Candidates& found, int64_t begin, int32_t* before) {
  Vec own[kRegisters];
  VecInt own_id[kRegisters], total[kRegisters];
  for (int r = 0; r < kRegisters; ++r) {
    own[r] = load(found.distance + begin + r * kLanes);
    if (kTies) own_id[r] = load(found.id + begin + r * kLanes);
    total[r] = VecInt{};
  }
  for (int64_t i = 0; i < found.size; ++i) {
    const Vec other = spread(found.distance[i]);
    for (int r = 0; r < kRegisters; ++r) {
      VecInt is_before = other < own[r];
      if (kTies) is_before |= (other == own[r]) & (spread(found.id[i]) < own_id[r]);
      total[r] -= is_before;
    }
  }
  for (int r = 0; r < kRegisters; ++r) store(before + begin + r * kLanes, total[r]);
}

template <bool kTies>
OG_REID_INLINE void count_all(const Candidates& found, int32_t* before) {
  int64_t begin = 0;
  for (; found.size - begin > 3 * kLanes; begin += 4 * kLanes) {
    count_before<4, kTies>(found, begin, before);
  }
  if (found.size - begin > 2 * kLanes) {
    count_before<3, kTies>(found, begin, before);
  } else if (found.size - begin > kLanes) {
    count_before<2, kTies>(found, begin, before);
  } else if (found.size > begin) {
    count_before<1, kTies>(found, begin, before);
  }
}

// The nearest of the candidates, in order.
struct Sorted {
  alignas(64) float distance[kMostCounted];
  alignas(64) int32_t id[kMostCounted];
};

// Moves each candidate to its place. False when two have one place, which makes the sum of all
// places smaller than that of different ones.
OG_REID_INLINE bool move_to_places(const Candidates& found, const int32_t* place, Sorted& sorted) {
  int64_t sum = 0;
  for (int64_t i = 0; i < found.size; ++i) {
    const int32_t at = place[i];
    sorted.distance[at] = found.distance[i];
    sorted.id[at] = found.id[i];
    sum += at;
  }
  return 2 * sum == found.size * (found.size - 1);
}

// Sorts the first k candidates at least; returns their address.
OG_REID_INLINE void sort_nearest(Candidates& found, int64_t k, Sorted& sorted,
                                 const float*& distance, const int32_t*& id) {
  if (found.size <= kMostCounted) {
    alignas(64) int32_t place[kMostCounted + 4 * kLanes];
    count_all<false>(found, place);
    if (!move_to_places(found, place, sorted)) {
      count_all<true>(found, place);
      move_to_places(found, place, sorted);
    }
    distance = sorted.distance;
    id = sorted.id;
    return;
  }
  make_keys(found);
  Key* const keys = found.keys;
  const int64_t wanted = std::min(k, found.size);
  if (wanted < found.size) std::nth_element(keys, keys + wanted, keys + found.size);
  std::sort(keys, keys + wanted);
  for (int64_t i = 0; i < wanted; ++i) read_key(keys[i], found.distance[i], found.id[i]);
  distance = found.distance;
  id = found.id;
}

}  // namespace

#endif  // OG_REID_CPU_CANDIDATES_H_
