// Exact search of the nearest points of an index, one leaf of queries after the other.
//
// The search limit of a query is 1.35 times the squared distance of the k-th neighbour of the query
// before it. With k points found the limit was sufficient; otherwise the search is repeated with a
// larger one.
#ifndef OG_REID_CPU_SEARCH_H_
#define OG_REID_CPU_SEARCH_H_

#include "candidates.h"

namespace {

// Squared distances relative to that of the last query's k-th neighbour: first search limit, and
// limit of the leaves listed for all queries of a leaf.
constexpr float kGuess = 1.35f;
constexpr float kListed = 2.0f;

// Growth factor and number of repetitions before a search without a limit.
constexpr float kFurther = 3.0f;
constexpr int kTurns = 3;

// The leaves near a leaf of queries, their boxes beside each other.
struct Nearby {
  int32_t* leaf;
  Boxes box;
  int64_t size;
  int32_t* near;  // scratch of the same size
  float reach;    // squared distance up to which the list is complete
};

struct SearchScratch {
  Nearby nearby;
  Candidates found;
};

inline SearchScratch take_search_scratch(Arena& arena, int64_t count, int64_t k) {
  SearchScratch scratch = {};
  const int64_t room = up_to(up_to(count, kLanes) / kLanes, kLanes) + 2 * kLanes;
  scratch.nearby.leaf = arena.take<int32_t>(room);
  scratch.nearby.near = arena.take<int32_t>(room);
  for (float*& axis : scratch.nearby.box.low) axis = arena.take<float>(room);
  for (float*& axis : scratch.nearby.box.high) axis = arena.take<float>(room);
  scratch.found = take_candidates(arena, std::min(k, count));
  return scratch;
}

void list_nearby(const Index& index, const Place& from, float reach, Nearby& nearby) {
  const Vec limit = spread(reach);
  int64_t size = 0;
  visit_groups(index, from, reach, [&](int64_t begin) {
    const uint32_t leaves = at_most(gaps(index.leaf, begin, from), limit);
    if (!leaves) return;
    const Pack chosen = pack(leaves);
    put(nearby.leaf + size, lanes() + int32_t(begin), chosen);
    for (int a = 0; a < 3; ++a) {
      put(nearby.box.low[a] + size, load(index.leaf.low[a] + begin), chosen);
      put(nearby.box.high[a] + size, load(index.leaf.high[a] + begin), chosen);
    }
    size += ones(leaves);
  });
  for (int a = 0; a < 3; ++a) {
    store(nearby.box.low[a] + size, spread(kInfinity));
    store(nearby.box.high[a] + size, spread(kInfinity));
  }
  nearby.size = size;
  nearby.reach = reach;
}

// Collects the points of one leaf.
OG_REID_INLINE void scan(const Index& index, int64_t leaf, const Place& from, int64_t k,
                         Candidates& found) {
  const Vec distance = distances(index, leaf, from);
  const VecInt id = load(index.id + leaf * kLanes);
  uint32_t hits = at_most(distance, spread(found.bound));
  if (__builtin_expect(found.last_id != kAnyId, 0)) {
    hits &= bits((distance < found.bound) | (id <= found.last_id));
  }
  if (!hits) return;
  const Pack chosen = pack(hits);
  put(found.distance + found.size, distance, chosen);
  put(found.id + found.size, id, chosen);
  found.size += ones(hits);
  if (__builtin_expect(found.size > found.capacity, 0)) cut(found, k);
}

// Collects the points of the listed leaves, into an empty collection.
OG_REID_INLINE void scan_listed(const Index& index, const Nearby& nearby, const Place& from,
                                int64_t k, Candidates& found) {
  const Vec bound = spread(found.bound);
  int32_t* const near = nearby.near;
  int64_t leaves = 0;
  for (int64_t first = 0; first < nearby.size; first += kLanes) {
    const uint32_t mask = at_most(gaps(nearby.box, first, from), bound);
    put(near + leaves, load(nearby.leaf + first), pack(mask));
    leaves += ones(mask);
  }
  if (leaves * kLanes > found.capacity) {
    for (int64_t i = 0; i < leaves; ++i) scan(index, near[i], from, k, found);
    return;
  }
  // The same without a cut, in registers and without branches.
  const float *x = index.at[0], *y = index.at[1], *z = index.at[2];
  const int32_t* id = index.id;
  float* const distance_to = found.distance;
  int32_t* const id_to = found.id;
  int64_t size = 0;
  for (int64_t i = 0; i < leaves; ++i) {
    const int64_t begin = near[i] * kLanes;
    const Vec distance = squared(from.low[0] - load(x + begin), from.low[1] - load(y + begin),
                                 from.low[2] - load(z + begin));
    const uint32_t hits = at_most(distance, bound);
    const Pack chosen = pack(hits);
    put(distance_to + size, distance, chosen);
    put(id_to + size, load(id + begin), chosen);
    size += ones(hits);
  }
  found.size = size;
}

// The box nearest to a place among those from `begin` on.
int64_t nearest_box(const Boxes& boxes, int64_t begin, int64_t end, const Place& from) {
  float least = kInfinity;
  int64_t best = begin;
  for (int64_t first = begin; first < end; first += kLanes) {
    const Vec gap = gaps(boxes, first, from);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      if (gap[lane] < least) {
        least = gap[lane];
        best = first + lane;
      }
    }
  }
  return best;
}

// Collects the k nearest points up to `limit` without an initial bound, or all if they are fewer.
__attribute__((noinline)) void search_all(const Index& index, const Place& from, int64_t k,
                                          float limit, Candidates& found) {
  restart(found, limit);
  if (index.points == 0) return;
  // Any k points bound the distance of the k-th neighbour: use those around the nearest leaf.
  const int64_t group = nearest_box(index.group, 0, index.groups, from) * kLanes;
  const int64_t home = nearest_box(index.leaf, group, group + kLanes, from);
  const int64_t radius = (k + kLanes - 1) / kLanes;
  const int64_t end = std::min(home + radius + 1, index.leaves);
  for (int64_t leaf = std::max(home - radius, int64_t{0}); leaf < end; ++leaf) {
    scan(index, leaf, from, k, found);
  }
  if (found.size >= k) {
    cut(found, k);
    restart(found, found.bound);
  } else {
    restart(found, limit);
  }
  visit_groups(index, from, found.bound, [&](int64_t begin) {
    uint32_t leaves = at_most(gaps(index.leaf, begin, from), spread(found.bound));
    for (; leaves; leaves &= leaves - 1) {
      scan(index, begin + lowest(leaves), from, k, found);
    }
  });
}

// Searches the k nearest points at most `limit` (squared) away of each query in some leaves of an
// index of queries, which may be the index itself. After each, take(query, candidates) is called
// with a superset of them, or with all points within the limit where they are fewer; it returns
// the squared distance of the k-th neighbour, or the limit.
template <typename Take>
OG_REID_INLINE void search(const Index& index, const Index& queries, int64_t first_leaf,
                           int64_t last_leaf, int64_t k, float limit, SearchScratch& scratch,
                           const Take& take) {
  Nearby& nearby = scratch.nearby;
  Candidates& found = scratch.found;
  float last = -1.0f;  // k-th distance of the query before
  for (int64_t leaf = first_leaf; leaf < last_leaf; ++leaf) {
    nearby.reach = -1.0f;
    const int64_t end = std::min((leaf + 1) * kLanes, queries.points);
    for (int64_t query = leaf * kLanes; query < end; ++query) {
      const Place from = place_of(queries, query);
      const float bound = std::min(last * kGuess, limit);
      found.size = 0;
      if (last >= 0.0f) {
        if (bound > nearby.reach) {
          list_nearby(index, leaf_of(queries, leaf), std::min(last * kListed, limit), nearby);
        }
        restart(found, bound);
        scan_listed(index, nearby, from, k, found);
        // Limit too small: extend it to that of the list, then further.
        for (int turn = 0; found.size < k && found.bound < limit && turn < kTurns; ++turn) {
          if (found.bound >= nearby.reach) {
            list_nearby(index, leaf_of(queries, leaf), std::min(nearby.reach * kFurther, limit),
                        nearby);
          }
          restart(found, nearby.reach);
          scan_listed(index, nearby, from, k, found);
        }
      }
      if (found.size < k && !(last >= 0.0f && found.bound >= limit)) {
        search_all(index, from, k, limit, found);
      }
      last = take(int64_t{queries.id[query]}, found);
    }
  }
}

}  // namespace

#endif  // OG_REID_CPU_SEARCH_H_
