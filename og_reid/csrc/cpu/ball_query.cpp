// Points within balls around centres: the nearest or the first of each of several radii, or their
// number. Strictly inside: squared distance < radius^2.
//
// Compiled with -ffp-contract=off: distances must not depend on fused multiply-add.
#include <cmath>

#include "clouds.h"

namespace {

// Points per chunk in their order, one bit each, so that there is one data-dependent branch per
// chunk.
constexpr int64_t kChunk = 64;

struct Work {
  Index* points;
  Index* queries;
  BuildScratch* build;    // per thread
  SearchScratch* search;  // per thread
  float* columns;         // (threads, 3, most points, rounded up), for the order of the points
};

int64_t most_wanted(const og_reid_ball_query& task) {
  int64_t most = 1;
  for (int64_t s = 0; s < task.scales; ++s) most = std::max(most, task.counts[s]);
  return most;
}

Work take_work(Arena& arena, const og_reid_ball_query& task, bool sizing) {
  Work work = {};
  work.points = take_indexes(arena, task.points, sizing);
  work.queries = take_indexes(arena, task.centers, sizing);
  const int64_t count = largest_size(task.points.ptr, task.points.clouds);
  const int64_t most = std::max(count, largest_size(task.centers.ptr, task.centers.clouds));
  const int64_t wanted = task.mode == OG_REID_NEAREST ? most_wanted(task) : 1;
  work.build = arena.take<BuildScratch>(task.threads);
  work.search = arena.take<SearchScratch>(task.threads);
  for (int64_t thread = 0; thread < task.threads; ++thread) {
    const BuildScratch build = take_build_scratch(arena, most);
    const SearchScratch search = take_search_scratch(arena, count, wanted);
    if (sizing) continue;
    work.build[thread] = build;
    work.search[thread] = search;
  }
  work.columns = arena.take<float>(task.threads * 3 * up_to(count, kChunk));
  return work;
}

// The largest distance inside the ball: <= on it equals < on the radius.
OG_REID_INLINE float inside(float squared_radius) {
  return squared_radius > 0.0f ? std::nextafter(squared_radius, 0.0f) : -1.0f;
}

float widest(const og_reid_ball_query& task) {
  float most = -1.0f;
  for (int64_t s = 0; s < task.scales; ++s) most = std::max(most, inside(task.squared_radii[s]));
  return most;
}

// Nearest first, padded with the nearest point, inside or not, or with -1 without any.
void nearest_in_cloud(const og_reid_ball_query& task, const Work& work, int64_t cloud,
                      int64_t first, int64_t last, SearchScratch& scratch) {
  const Index &points = work.points[cloud], &queries = work.queries[cloud];
  const int64_t row = task.centers.ptr[cloud], wanted = most_wanted(task);
  const float limit = widest(task);
  const auto write = [&](int64_t query, Candidates& found) {
    alignas(64) Sorted sorted;
    const float* distance;
    const int32_t* id;
    sort_nearest(found, wanted, sorted, distance, id);
    const int64_t size = std::min(found.size, wanted);
    const float kth = size == wanted ? distance[wanted - 1] : limit;
    const int64_t nearest = size > 0 ? id[0] : -1;
    for (int64_t s = 0; s < task.scales; ++s) {
      const int64_t count = task.counts[s], most = std::min(count, size);
      int64_t* out = task.out[s] + (row + query) * count;
      int64_t kept = 0;
      for (; kept < most && distance[kept] < task.squared_radii[s]; ++kept) out[kept] = id[kept];
      std::fill(out + kept, out + count, nearest);
    }
    return kth;
  };
  search(points, queries, first, last, wanted, limit, scratch, write);
  // Centres without a point inside any radius.
  const int64_t end = std::min(last * kLanes, queries.points);
  for (int64_t query = first * kLanes; query < end; ++query) {
    const int64_t center = row + queries.id[query];
    if (task.out[0][center * task.counts[0]] >= 0) continue;
    search_all(points, place_of(queries, query), 1, kLargest, scratch.found);
    alignas(64) Sorted sorted;
    const float* distance;
    const int32_t* id;
    sort_nearest(scratch.found, 1, sorted, distance, id);
    const int64_t nearest = scratch.found.size > 0 ? id[0] : -1;
    for (int64_t s = 0; s < task.scales; ++s) {
      int64_t* out = task.out[s] + center * task.counts[s];
      std::fill(out, out + task.counts[s], nearest);
    }
  }
}

// The number of points inside each radius; boxes fully inside are counted as a whole.
void count_in_cloud(const og_reid_ball_query& task, const Work& work, int64_t cloud, int64_t first,
                    int64_t last, SearchScratch& scratch) {
  const Index &points = work.points[cloud], &queries = work.queries[cloud];
  Nearby& nearby = scratch.nearby;
  for (int64_t leaf = first; leaf < last; ++leaf) {
    list_nearby(points, leaf_of(queries, leaf), widest(task), nearby);
    const int64_t end = std::min((leaf + 1) * kLanes, queries.points);
    for (int64_t query = leaf * kLanes; query < end; ++query) {
      const Place from = place_of(queries, query);
      int64_t* out = task.out[0] + (task.centers.ptr[cloud] + queries.id[query]) * task.scales;
      for (int64_t s = 0; s < task.scales; ++s) {
        const Vec bound = spread(inside(task.squared_radii[s]));
        int64_t total = 0;
        for (int64_t begin = 0; begin < nearby.size; begin += kLanes) {
          const uint32_t near = at_most(gaps(nearby.box, begin, from), bound);
          Vec reach[3];
          for (int a = 0; a < 3; ++a) {
            reach[a] = larger(from.low[a] - load(nearby.box.low[a] + begin),
                              load(nearby.box.high[a] + begin) - from.low[a]);
          }
          const uint32_t whole = near & at_most(squared(reach[0], reach[1], reach[2]), bound);
          for (uint32_t leaves = near & ~whole; leaves; leaves &= leaves - 1) {
            const int64_t at = nearby.leaf[begin + lowest(leaves)];
            total += ones(at_most(distances(points, at, from), bound));
          }
          for (uint32_t leaves = whole; leaves; leaves &= leaves - 1) {
            const int64_t at = nearby.leaf[begin + lowest(leaves)];
            total += std::min(kLanes, points.points - at * kLanes);
          }
        }
        out[s] = total;
      }
    }
  }
}

// Bit i is set where point i of a chunk is nearer than the bound.
OG_REID_INLINE uint64_t hits_of(const float* distance, float squared_radius) {
  uint64_t hits = 0;
  for (int64_t i = 0; i < kChunk; i += kLanes) {
    hits |= uint64_t(bits(load(distance + i) < squared_radius)) << i;
  }
  return hits;
}

// Appends the first hit points to a list with space for `count`.
OG_REID_INLINE int64_t keep_hits(uint64_t hits, int64_t first, int64_t* out, int64_t kept,
                                 int64_t count) {
  for (; hits && kept < count; hits &= hits - 1) out[kept++] = first + __builtin_ctzll(hits);
  return kept;
}

// The first points in the order of the cloud, padded with the first of them, or with point 0. With
// one radius each point becomes a bit directly, and no distance is stored.
template <bool kOneScale>
void first_in_cloud(const og_reid_ball_query& task, int64_t cloud, int64_t begin, int64_t end,
                    float* columns) {
  const int64_t count = size_of(task.points.ptr, cloud), padded = up_to(count, kChunk);
  const float* rows = task.points.rows + 3 * task.points.ptr[cloud];
  for (int a = 0; a < 3; ++a) {
    for (int64_t i = 0; i < count; ++i) columns[a * padded + i] = rows[3 * i + a];
    std::fill(columns + a * padded + count, columns + (a + 1) * padded, kInfinity);
  }
  const Vec bound = spread(widest(task));
  for (int64_t center = begin; center < end; ++center) {
    const float* at = task.centers.rows + 3 * center;
    const Vec x = spread(at[0]), y = spread(at[1]), z = spread(at[2]);
    int64_t kept[OG_REID_MOST_SCALES] = {}, open = task.scales;
    for (int64_t first = 0; first < padded && open > 0; first += kChunk) {
      alignas(64) float distance[kChunk];
      Vec least = spread(kInfinity);
      uint64_t hits = 0;
#pragma GCC unroll 16
      for (int64_t i = 0; i < kChunk; i += kLanes) {
        const float* from = columns + first + i;
        const Vec apart =
            squared(x - load(from), y - load(from + padded), z - load(from + 2 * padded));
        if (kOneScale) {
          hits |= uint64_t(at_most(apart, bound)) << i;
        } else {
          store(distance + i, apart);
          least = smaller(apart, least);
        }
      }
      if (kOneScale) {
        if (!hits) continue;
        int64_t* out = task.out[0] + center * task.counts[0];
        kept[0] = keep_hits(hits, first, out, kept[0], task.counts[0]);
        open = kept[0] < task.counts[0];
        continue;
      }
      if (!at_most(least, bound)) continue;
      for (int64_t s = 0; s < task.scales; ++s) {
        const int64_t count_s = task.counts[s];
        if (kept[s] == count_s) continue;
        int64_t* out = task.out[s] + center * count_s;
        const uint64_t inside_s = hits_of(distance, task.squared_radii[s]);
        kept[s] = keep_hits(inside_s, first, out, kept[s], count_s);
        open -= kept[s] == count_s;
      }
    }
    for (int64_t s = 0; s < task.scales; ++s) {
      int64_t* out = task.out[s] + center * task.counts[s];
      std::fill(out + kept[s], out + task.counts[s], kept[s] > 0 ? out[0] : int64_t{0});
    }
  }
}

// Result of centres that are not finite.
void write_missing(const og_reid_ball_query& task, int64_t cloud) {
  const int64_t begin = task.centers.ptr[cloud], end = task.centers.ptr[cloud + 1];
  if (task.mode == OG_REID_COUNT) {
    std::fill(task.out[0] + begin * task.scales, task.out[0] + end * task.scales, int64_t{0});
    return;
  }
  for (int64_t s = 0; s < task.scales; ++s) {
    std::fill(task.out[s] + begin * task.counts[s], task.out[s] + end * task.counts[s],
              int64_t{-1});
  }
}

void run_in_order(const og_reid_ball_query& task, const Work& work, int64_t thread) {
  const int64_t padded = up_to(largest_size(task.points.ptr, task.points.clouds), kChunk);
  const int64_t total = task.centers.ptr[task.centers.clouds];
  const int64_t first = total * thread / task.threads, last = total * (thread + 1) / task.threads;
  for (int64_t cloud = 0; cloud < task.centers.clouds; ++cloud) {
    const int64_t begin = std::max(task.centers.ptr[cloud], first);
    const int64_t end = std::min(task.centers.ptr[cloud + 1], last);
    if (begin >= end) continue;
    const auto run = task.scales == 1 ? first_in_cloud<true> : first_in_cloud<false>;
    run(task, cloud, begin, end, work.columns + thread * 3 * padded);
  }
}

bool valid(const og_reid_ball_query& task) {
  return valid(task.points) && valid(task.centers) && task.points.clouds == task.centers.clouds &&
         task.points.dims == 3 && task.centers.dims == 3 && task.scales >= 1 &&
         task.scales <= OG_REID_MOST_SCALES && task.threads >= 1;
}

}  // namespace

extern "C" int64_t OG_REID_AT_LEVEL(og_reid_ball_query_workspace)(
    const struct og_reid_ball_query* task) {
  if (!valid(*task)) return OG_REID_BAD_SIZE;
  Arena arena(nullptr);
  take_work(arena, *task, true);
  return arena.used();
}

extern "C" int OG_REID_AT_LEVEL(og_reid_ball_query_cpu)(const struct og_reid_ball_query* task) {
  if (!valid(*task)) return OG_REID_BAD_SIZE;
  Arena arena(task->workspace);
  const Work work = take_work(arena, *task, false);
  const int threads = int(task->threads);
  const int64_t clouds = task->points.clouds;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; ++thread) {
      if (task->mode == OG_REID_FIRST) {
        run_in_order(*task, work, thread);
        continue;
      }
      for (int64_t cloud = thread; cloud < clouds; cloud += threads) {
        build(task->points, cloud, work.build[thread], work.points);
        build(task->centers, cloud, work.build[thread], work.queries);
        if (work.queries[cloud].points < size_of(task->centers.ptr, cloud)) {
          write_missing(*task, cloud);
        }
      }
    }
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; ++thread) {
      if (task->mode == OG_REID_FIRST) continue;
      const auto run = task->mode == OG_REID_NEAREST ? nearest_in_cloud : count_in_cloud;
      share_leaves(work.queries, clouds, thread, threads,
                   [&](int64_t cloud, int64_t first, int64_t last) {
                     run(*task, work, cloud, first, last, work.search[thread]);
                   });
    }
  }
  return OG_REID_OK;
}
