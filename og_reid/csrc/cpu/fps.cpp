// Farthest point sampling: each next point is the one farthest from those picked before.
//
// A pick only affects leaves of the index with a box nearer to it than their farthest point is to
// the picks so far; the farthest point of all is found through the maxima of the leaves.
//
// Compiled with -ffp-contract=off: distances must not depend on fused multiply-add.
#include "spatial_index.h"

namespace {

constexpr float kFar = 1e10f;       // distance to no pick at all
constexpr float kNever = -1.0f;     // excluded point
constexpr float kNone = -2.0f;      // no point
constexpr float kDeadZone = 1e-3f;  // squared norm up to which the reference rule skips points

struct Samples {
  Index index;
  float* nearest;   // (leaves * kLanes) squared distance to the nearest pick
  float* leaf;      // (groups * kLanes) the largest of each leaf
  float* group;     // (groups, rounded up) the largest of each group
  int32_t* groups;  // scratch: groups and leaves to visit
  int32_t* leaves;
  BuildScratch build;
};

Samples take_samples(Arena& arena, int64_t count) {
  const int64_t leaves = up_to(up_to(count, kLanes) / kLanes, kLanes);
  Samples samples = {};
  samples.index = take_index(arena, count);
  samples.nearest = arena.take<float>(leaves * kLanes);
  samples.leaf = arena.take<float>(leaves);
  samples.group = arena.take<float>(up_to(leaves / kLanes, kLanes));
  samples.groups = arena.take<int32_t>(leaves / kLanes + kLanes);
  samples.leaves = arena.take<int32_t>(leaves + kLanes);
  samples.build = take_build_scratch(arena, count);
  return samples;
}

// The point farthest from the centroid, in float64 rounded to float32; the first on ties.
int64_t farthest_from(const Samples& samples, int64_t count, const double* centroid) {
  const float *x = samples.build.at[0], *y = samples.build.at[1], *z = samples.build.at[2];
  const double cx = centroid[0], cy = centroid[1], cz = centroid[2];
  float* const distance = samples.nearest;  // not in use yet
  for (int64_t i = 0; i < count; ++i) {
    const double dx = double(x[i]) - cx, dy = double(y[i]) - cy, dz = double(z[i]) - cz;
    distance[i] = float(dx * dx + dy * dy + dz * dz);
  }
  std::fill(distance + count, distance + up_to(count, kLanes), kNone);
  Vec most = spread(kNone);
  for (int64_t i = 0; i < count; i += kLanes) most = larger(most, load(distance + i));
  const Vec wanted = spread(largest(most));
  int64_t i = 0;
  while (!bits(load(distance + i) == wanted)) i += kLanes;
  return i + lowest(bits(load(distance + i) == wanted));
}

void start(Samples& samples, bool dead_zone) {
  const Index& index = samples.index;
  for (int64_t leaf = 0; leaf < index.leaves; ++leaf) {
    const int64_t begin = leaf * kLanes;
    const Vec x = load(index.at[0] + begin), y = load(index.at[1] + begin),
              z = load(index.at[2] + begin);
    const Vec norm = squared(x, y, z);
    Vec nearest = spread(kFar);
    if (dead_zone) nearest = norm <= kDeadZone ? spread(kNever) : nearest;
    const VecInt padding = load(index.id + begin) == kAnyId;
    nearest = padding ? spread(kNone) : nearest;
    store(samples.nearest + begin, nearest);
    samples.leaf[leaf] = largest(nearest);
  }
  std::fill(samples.leaf + index.leaves, samples.leaf + index.groups * kLanes, kNone);
  for (int64_t group = 0; group < index.groups; ++group) {
    samples.group[group] = largest(load(samples.leaf + group * kLanes));
  }
  std::fill(samples.group + index.groups, samples.group + up_to(index.groups, kLanes), kNone);
}

// Appends the lanes of a mask, as numbers from `begin` on, to a list.
OG_REID_INLINE int64_t append(int32_t* list, int64_t size, uint32_t mask, int64_t begin) {
  put(list + size, lanes() + int32_t(begin), pack(mask));
  return size + ones(mask);
}

// Updates the distances by a pick. Lists instead of nested loops: few mispredicted branches.
OG_REID_INLINE void update(const Samples& samples, const Place& pick) {
  const Index& index = samples.index;
  int64_t groups = 0, leaves = 0;
  for (int64_t first = 0; first < index.groups; first += kLanes) {
    const VecInt near = gaps(index.group, first, pick) < load(samples.group + first);
    groups = append(samples.groups, groups, bits(near), first);
  }
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t begin = samples.groups[i] * kLanes;
    const VecInt near = gaps(index.leaf, begin, pick) < load(samples.leaf + begin);
    leaves = append(samples.leaves, leaves, bits(near), begin);
  }
  const float *x = index.at[0], *y = index.at[1], *z = index.at[2];
  const int32_t* const changed = samples.leaves;
  float *const nearest = samples.nearest, *const most = samples.leaf;
  for (int64_t i = 0; i < leaves; ++i) {
    const int64_t leaf = changed[i], begin = leaf * kLanes;
    const Vec distance = squared(pick.low[0] - load(x + begin), pick.low[1] - load(y + begin),
                                 pick.low[2] - load(z + begin));
    const Vec after = smaller(distance, load(nearest + begin));
    store(nearest + begin, after);
    most[leaf] = largest(after);
  }
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t group = samples.groups[i];
    samples.group[group] = largest(load(most + group * kLanes));
  }
}

// Position of the farthest point, the one of lowest index on ties.
OG_REID_INLINE int64_t farthest(const Samples& samples) {
  const Index& index = samples.index;
  Vec most = spread(kNone);
  for (int64_t group = 0; group < index.groups; group += kLanes) {
    most = larger(most, load(samples.group + group));
  }
  const Vec wanted = spread(largest(most));
  int64_t groups = 0, leaves = 0;
  for (int64_t first = 0; first < index.groups; first += kLanes) {
    groups = append(samples.groups, groups, bits(load(samples.group + first) == wanted), first);
  }
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t begin = samples.groups[i] * kLanes;
    leaves = append(samples.leaves, leaves, bits(load(samples.leaf + begin) == wanted), begin);
  }
  int64_t best = 0;
  int32_t best_id = kAnyId;
  for (int64_t i = 0; i < leaves; ++i) {
    const int64_t place = samples.leaves[i] * kLanes;
    for (uint32_t equal = bits(load(samples.nearest + place) == wanted); equal;
         equal &= equal - 1) {
      const int64_t at = place + lowest(equal);
      if (index.id[at] < best_id) {
        best_id = index.id[at];
        best = at;
      }
    }
  }
  return best;
}

// False when a point is not finite.
bool sample(const og_reid_fps& task, int64_t cloud, Samples& samples) {
  const float* rows = task.rows + 3 * task.count * cloud;
  const bool once = task.centroids != nullptr;
  Index& index = samples.index;
  build(rows, task.count, 3, samples.build, index);
  if (index.points < task.count) return false;
  const int64_t pick = once ? farthest_from(samples, task.count, task.centroids + 3 * cloud) : 0;
  start(samples, task.dead_zone != 0);
  int64_t at = std::find(index.id, index.id + task.count, int32_t(pick)) - index.id;
  for (int64_t step = 0; step < task.picks; ++step) {
    task.out[cloud * task.picks + step] = index.id[at];
    const int64_t leaf = at / kLanes, group = leaf / kLanes;
    // Excluded from now on, even when all other points have a pick at distance 0: then, and only
    // then, the update skips the leaf of the pick.
    const bool passed = once && !(samples.leaf[leaf] > 0.0f);
    if (once) samples.nearest[at] = kNever;
    update(samples, place_of(index, at));
    if (passed) {
      samples.leaf[leaf] = largest(load(samples.nearest + leaf * kLanes));
      samples.group[group] = largest(load(samples.leaf + group * kLanes));
    }
    at = farthest(samples);
  }
  return true;
}

}  // namespace

extern "C" int64_t OG_REID_AT_LEVEL(og_reid_fps_workspace)(const struct og_reid_fps* task) {
  if (task->count < 1 || task->count >= kAnyId) return OG_REID_BAD_SIZE;
  Arena arena(nullptr);
  for (int64_t thread = 0; thread < task->threads; ++thread) take_samples(arena, task->count);
  return arena.used();
}

extern "C" int OG_REID_AT_LEVEL(og_reid_fps_cpu)(const struct og_reid_fps* task) {
  if (task->batch < 0 || task->count < 1 || task->count >= kAnyId || task->picks < 0 ||
      task->threads < 1) {
    return OG_REID_BAD_SIZE;
  }
  const int threads = int(task->threads);
  int broken = 0;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1) \
    reduction(| : broken)
  for (int thread = 0; thread < threads; ++thread) {
    Arena arena(task->workspace);
    Samples samples = {};
    for (int before = 0; before <= thread; ++before) samples = take_samples(arena, task->count);
    const int64_t end = task->batch * (thread + 1) / threads;
    for (int64_t cloud = task->batch * thread / threads; cloud < end; ++cloud) {
      broken |= !sample(*task, cloud, samples);
    }
  }
  return broken ? OG_REID_NOT_FINITE : OG_REID_OK;
}
