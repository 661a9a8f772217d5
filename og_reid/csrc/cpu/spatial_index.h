// A spatial index of one cloud of at most three dimensions: the points along a Hilbert curve, cut
// into leaves of one register each, a box around each leaf, around each group of kLanes leaves, and
// around each run of kLanes groups.
//
// The curve runs on a grid of 128 cells per axis over the extent of the points. Cells with many
// points (a far outlier makes the cells large) have a finer curve inside.
#ifndef OG_REID_CPU_SPATIAL_INDEX_H_
#define OG_REID_CPU_SPATIAL_INDEX_H_

#include <algorithm>
#include <limits>

#include "arena.h"
#include "simd.h"

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
// Index of no point: for slots after the last one, and as a bound above all points.
constexpr int32_t kAnyId = std::numeric_limits<int32_t>::max();
// Cells with more points than this have a curve of their own.
constexpr int64_t kCrowd = 2 * kLanes;
constexpr int kDeepest = 64;

OG_REID_INLINE int64_t up_to(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Boxes {
  float* low[3];
  float* high[3];
};

struct Index {
  int64_t points, leaves, groups, tops;
  float* at[3];  // (leaves * kLanes) coordinates along the curve; infinite after the last point
  int32_t* id;   // (leaves * kLanes) index of the point in the cloud
  Boxes leaf;    // (groups * kLanes); infinite after the last leaf
  Boxes group;   // (tops * kLanes); infinite after the last group
  Boxes top;     // (tops, rounded up to kLanes); infinite after the last
};

// Space for the index of a cloud of up to `count` points.
Index take_index(Arena& arena, int64_t count) {
  Index index = {};
  const int64_t leaves = up_to(up_to(count, kLanes) / kLanes, kLanes);
  const int64_t groups = up_to(leaves / kLanes, kLanes), tops = up_to(groups / kLanes, kLanes);
  for (float*& axis : index.at) axis = arena.take<float>(leaves * kLanes);
  index.id = arena.take<int32_t>(leaves * kLanes);
  for (Boxes* boxes : {&index.leaf, &index.group, &index.top}) {
    const int64_t size = boxes == &index.leaf ? leaves : boxes == &index.group ? groups : tops;
    for (float*& axis : boxes->low) axis = arena.take<float>(size);
    for (float*& axis : boxes->high) axis = arena.take<float>(size);
  }
  return index;
}

// Place on the curve in the upper half, point in the lower half. A type of its own, so that
// instances of standard templates are compiled for this level alone (see level.h).
struct Key {
  uint64_t bits;
  bool operator<(const Key& other) const { return bits < other.bits; }
  int64_t id() const { return int64_t(bits & 0xFFFFFFFFu); }
  uint32_t code() const { return uint32_t(bits >> 32); }
};

struct BuildScratch {
  float* at[3];   // (count, rounded up to kLanes) coordinates in the order of the cloud
  int32_t* code;  // (count, rounded up)
  Key* keys;      // (count)
  Key* spare;     // (count)
};

inline BuildScratch take_build_scratch(Arena& arena, int64_t count) {
  BuildScratch scratch = {};
  const int64_t padded = up_to(count, kLanes);
  for (float*& axis : scratch.at) axis = arena.take<float>(padded);
  scratch.code = arena.take<int32_t>(padded);
  scratch.keys = arena.take<Key>(count);
  scratch.spare = arena.take<Key>(count);
  return scratch;
}

// Inserts two zeros before each of the lowest 8 bits.
OG_REID_INLINE VecInt spaced(VecInt value) {
  value = (value | value << 8) & 0x0000F00F;
  value = (value | value << 4) & 0x000C30C3;
  return (value | value << 2) & 0x00249249;
}

// Cells per axis are 1 << kCellBits.
constexpr int kCellBits = 7;

// Places on the Hilbert curve of cells x, y, z (Skilling, Programming the Hilbert curve, 2004).
OG_REID_INLINE VecInt hilbert(VecInt x, VecInt y, VecInt z) {
  VecInt axis[3] = {x, y, z};
  for (int32_t bit = 1 << (kCellBits - 1); bit > 1; bit /= 2) {
    const VecInt lower = spread(bit - 1);
    for (int a = 0; a < 3; ++a) {
      const VecInt set = (axis[a] & bit) != 0;
      const VecInt swapped = (axis[0] ^ axis[a]) & lower & ~set;
      axis[0] ^= swapped | (lower & set);
      if (a > 0) axis[a] ^= swapped;
    }
  }
  axis[1] ^= axis[0];
  axis[2] ^= axis[1];
  VecInt turn = {};
  for (int32_t bit = 1 << (kCellBits - 1); bit > 1; bit /= 2) {
    turn ^= ((axis[2] & bit) != 0) & (bit - 1);
  }
  for (VecInt& value : axis) value ^= turn;
  return spaced(axis[0]) << 2 | spaced(axis[1]) << 1 | spaced(axis[2]);
}

// Stable radix sort by the code, kDigits digits of kBits bits.
template <int kDigits, int kBits>
void sort_by_code(Key* keys, Key* spare, int64_t count) {
  static_assert(kDigits * kBits >= 3 * kCellBits, "the digits must hold the code");
  constexpr uint32_t kMask = (1 << kBits) - 1;
  int32_t starts[kDigits][kMask + 1] = {};
  for (int64_t i = 0; i < count; ++i) {
    for (int digit = 0; digit < kDigits; ++digit) {
      ++starts[digit][keys[i].code() >> (digit * kBits) & kMask];
    }
  }
  Key *from = keys, *to = spare;
  for (int digit = 0; digit < kDigits; ++digit) {
    int32_t before = 0;
    for (int32_t& start : starts[digit]) {
      const int32_t size = start;
      start = before;
      before += size;
    }
    for (int64_t i = 0; i < count; ++i) {
      to[starts[digit][from[i].code() >> (digit * kBits) & kMask]++] = from[i];
    }
    std::swap(from, to);
  }
  if (from != keys) std::memcpy(keys, from, sizeof(Key) * size_t(count));
}

// Sorts the points of `keys` along a curve over their extent. With kAll these are all points of the
// cloud, in its order.
template <bool kAll>
void sort_along_curve(const BuildScratch& scratch, Key* keys, int64_t count, int depth) {
  float low[3], high[3], extent = 0.0f;
  for (int a = 0; a < 3; ++a) {
    const float* axis = scratch.at[a];
    Vec least = spread(kInfinity), most = spread(-kInfinity);
    int64_t i = 0;
    for (; kAll && i + kLanes <= count; i += kLanes) {
      least = smaller(least, load(axis + i));
      most = larger(most, load(axis + i));
    }
    low[a] = smallest(least);
    high[a] = largest(most);
    for (; i < count; ++i) {
      const float value = axis[kAll ? i : keys[i].id()];
      low[a] = value < low[a] ? value : low[a];
      high[a] = value > high[a] ? value : high[a];
    }
    extent = std::max(extent, high[a] - low[a]);
  }
  if (!(extent > 0.0f)) return;
  constexpr float kLast = (1 << kCellBits) - 1;
  const Vec scale = spread(kLast / extent);
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    VecInt cell[3];
    for (int a = 0; a < 3; ++a) {
      float gathered[kLanes] = {};
      if (!kAll) {
        for (int64_t lane = 0; lane < std::min(kLanes, count - begin); ++lane) {
          gathered[lane] = scratch.at[a][keys[begin + lane].id()];
        }
      }
      const Vec value = load(kAll ? scratch.at[a] + begin : gathered);
      // Infinite or undefined for an overflowing or tiny extent: such cells become the last.
      const Vec place = smaller((value - low[a]) * scale, spread(kLast));
      cell[a] = __builtin_convertvector(larger(place, Vec{}), VecInt);
    }
    store(scratch.code + begin, hilbert(cell[0], cell[1], cell[2]));
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t id = kAll ? uint64_t(i) : uint64_t(keys[i].id());
    keys[i].bits = uint64_t(uint32_t(scratch.code[i])) << 32 | id;
  }
  if (count < 1024) {
    sort_by_code<3, 7>(keys, scratch.spare, count);
  } else {
    sort_by_code<2, 11>(keys, scratch.spare, count);
  }
  bool crowded = false;
  for (int64_t i = kCrowd; i < count; ++i) crowded |= keys[i].code() == keys[i - kCrowd].code();
  if (!crowded || depth == kDeepest) return;
  for (int64_t begin = 0, end = 0; begin < count; begin = end) {
    while (end < count && keys[end].code() == keys[begin].code()) ++end;
    // A cell with all points would recurse for ever; its extent is beyond the float range.
    if (end - begin > kCrowd && end - begin < count) {
      sort_along_curve<false>(scratch, keys + begin, end - begin, depth + 1);
    }
  }
}

// The box around `count` boxes; points are boxes without extent.
OG_REID_INLINE void enclose(float* const* low, float* const* high, int64_t begin, int64_t count,
                            const Boxes& out, int64_t place) {
  for (int a = 0; a < 3; ++a) {
    float least = kInfinity, most = -kInfinity;
    for (int64_t i = begin; i < begin + count; ++i) {
      least = low[a][i] < least ? low[a][i] : least;
      most = high[a][i] > most ? high[a][i] : most;
    }
    out.low[a][place] = least;
    out.high[a][place] = most;
  }
}

void pad(const Boxes& boxes, int64_t begin, int64_t end) {
  for (int a = 0; a < 3; ++a) {
    std::fill(boxes.low[a] + begin, boxes.low[a] + end, kInfinity);
    std::fill(boxes.high[a] + begin, boxes.high[a] + end, kInfinity);
  }
}

// Copies a cloud axis by axis, writes the finite points to the keys and counts them.
int64_t take_finite(const float* x, int64_t count, int64_t dims, const BuildScratch& scratch) {
  for (int64_t a = 0; a < 3; ++a) {
    float* axis = scratch.at[a];
    if (dims == 3) {
      for (int64_t i = 0; i < count; ++i) axis[i] = x[3 * i + a];
    } else {
      for (int64_t i = 0; i < count; ++i) axis[i] = a < dims ? x[i * dims + a] : 0.0f;
    }
    for (int64_t i = count; i < up_to(count, kLanes); ++i) axis[i] = 0.0f;
  }
  VecInt finite = spread(int32_t{-1});
  const auto zero = [&](int64_t i) {
    Vec total = {};
    for (const float* axis : scratch.at) total += load(axis + i) * 0.0f;
    return total == 0.0f;
  };
  for (int64_t i = 0; i < count; i += kLanes) finite &= zero(i);
  if (ones(bits(finite)) == kLanes) return count;
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float total = scratch.at[0][i] * 0.0f + scratch.at[1][i] * 0.0f + scratch.at[2][i] * 0.0f;
    scratch.keys[kept].bits = uint64_t(i);
    kept += total == 0.0f;
  }
  return kept;
}

// Builds the index of the finite points of a cloud. x: (count, dims), dims in 0..3.
void build(const float* x, int64_t count, int64_t dims, const BuildScratch& scratch, Index& index) {
  const int64_t kept = take_finite(x, count, dims, scratch);
  if (kept == count) {
    for (int64_t i = 0; i < count; ++i) scratch.keys[i].bits = uint64_t(i);
    sort_along_curve<true>(scratch, scratch.keys, count, 0);
  } else {
    sort_along_curve<false>(scratch, scratch.keys, kept, 0);
  }
  index.points = kept;
  index.leaves = up_to(kept, kLanes) / kLanes;
  index.groups = up_to(index.leaves, kLanes) / kLanes;
  index.tops = up_to(index.groups, kLanes) / kLanes;
  for (int64_t place = 0; place < kept; ++place) {
    const int64_t id = scratch.keys[place].id();
    index.id[place] = int32_t(id);
    for (int a = 0; a < 3; ++a) index.at[a][place] = scratch.at[a][id];
  }
  const int64_t whole = kept / kLanes;
  for (int64_t leaf = 0; leaf < whole; ++leaf) {
    for (int a = 0; a < 3; ++a) {
      const Vec value = load(index.at[a] + leaf * kLanes);
      index.leaf.low[a][leaf] = smallest(value);
      index.leaf.high[a][leaf] = largest(value);
    }
  }
  if (whole < index.leaves) {
    enclose(index.at, index.at, whole * kLanes, kept - whole * kLanes, index.leaf, whole);
  }
  for (int64_t place = kept; place < index.leaves * kLanes; ++place) {
    index.id[place] = kAnyId;
    for (float* axis : index.at) axis[place] = kInfinity;
  }
  pad(index.leaf, index.leaves, index.groups * kLanes);
  for (int64_t group = 0; group < index.groups; ++group) {
    const int64_t begin = group * kLanes, size = std::min(kLanes, index.leaves - begin);
    enclose(index.leaf.low, index.leaf.high, begin, size, index.group, group);
  }
  pad(index.group, index.groups, index.tops * kLanes);
  for (int64_t top = 0; top < index.tops; ++top) {
    const int64_t begin = top * kLanes, size = std::min(kLanes, index.groups - begin);
    enclose(index.group.low, index.group.high, begin, size, index.top, top);
  }
  pad(index.top, index.tops, up_to(index.tops, kLanes));
}

// Point or box as the origin of distances.
struct Place {
  Vec low[3], high[3];
};

OG_REID_INLINE Place place_of(const Index& index, int64_t position) {
  Place place;
  for (int a = 0; a < 3; ++a) place.low[a] = place.high[a] = spread(index.at[a][position]);
  return place;
}

OG_REID_INLINE Place leaf_of(const Index& index, int64_t leaf) {
  Place place;
  for (int a = 0; a < 3; ++a) {
    place.low[a] = spread(index.leaf.low[a][leaf]);
    place.high[a] = spread(index.leaf.high[a][leaf]);
  }
  return place;
}

// Squared distances to kLanes boxes. Rounding is monotonic, so no measured distance of a point is
// below that of its box: the bound needs no tolerance.
OG_REID_INLINE Vec gaps(const Boxes& boxes, int64_t begin, const Place& from) {
  Vec gap[3];
  for (int a = 0; a < 3; ++a) {
    const Vec above = load(boxes.low[a] + begin) - from.high[a];
    const Vec below = from.low[a] - load(boxes.high[a] + begin);
    gap[a] = larger(larger(above, below), Vec{});
  }
  return squared(gap[0], gap[1], gap[2]);
}

// Calls visit(first leaf) for each group within a bound, which visit may lower.
template <typename Visit>
OG_REID_INLINE void visit_groups(const Index& index, const Place& from, const float& bound,
                                 const Visit& visit) {
  for (int64_t first = 0; first < index.tops; first += kLanes) {
    uint32_t tops = at_most(gaps(index.top, first, from), spread(bound));
    for (; tops; tops &= tops - 1) {
      const int64_t begin = (first + lowest(tops)) * kLanes;
      uint32_t groups = at_most(gaps(index.group, begin, from), spread(bound));
      for (; groups; groups &= groups - 1) visit((begin + lowest(groups)) * kLanes);
    }
  }
}

// Squared distances from a point to the kLanes points of a leaf; infinite or NaN where none is.
OG_REID_INLINE Vec distances(const Index& index, int64_t leaf, const Place& from) {
  const int64_t begin = leaf * kLanes;
  return squared(from.low[0] - load(index.at[0] + begin), from.low[1] - load(index.at[1] + begin),
                 from.low[2] - load(index.at[2] + begin));
}

}  // namespace

#endif  // OG_REID_CPU_SPATIAL_INDEX_H_
