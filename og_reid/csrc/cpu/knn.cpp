// Exact k nearest neighbours in at most three dimensions, by a spatial index of each cloud.
//
// Compiled with -ffp-contract=off: distances must not depend on fused multiply-add.
#include "clouds.h"

namespace {

struct Work {
  Index* points;
  Index* queries;
  BuildScratch* build;    // per thread
  SearchScratch* search;  // per thread
};

Work take_work(Arena& arena, const og_reid_knn& task, bool sizing) {
  const og_reid_clouds &points = task.points, &queries = task.queries;
  const bool same = points.rows == queries.rows && points.ptr == queries.ptr;
  Work work = {};
  work.points = take_indexes(arena, points, sizing);
  work.queries = same ? work.points : take_indexes(arena, queries, sizing);
  const int64_t count = largest_size(points.ptr, points.clouds);
  const int64_t most = std::max(count, largest_size(queries.ptr, queries.clouds));
  work.build = arena.take<BuildScratch>(task.threads);
  work.search = arena.take<SearchScratch>(task.threads);
  for (int64_t thread = 0; thread < task.threads; ++thread) {
    const BuildScratch build = take_build_scratch(arena, most);
    const SearchScratch search = take_search_scratch(arena, count, task.k);
    if (sizing) continue;
    work.build[thread] = build;
    work.search[thread] = search;
  }
  return work;
}

// Writes the row of one query; returns the squared distance of its k-th neighbour, if it has one.
OG_REID_INLINE float write_row(const og_reid_knn& task, int64_t row, int64_t base,
                               Candidates& found) {
  alignas(64) Sorted sorted;
  const float* distance;
  const int32_t* id;
  sort_nearest(found, task.k, sorted, distance, id);
  const int64_t kept = std::min(task.k, found.size);
  int64_t* index = task.index + row * task.k;
  for (int64_t j = 0; j < kept; ++j) index[j] = base + id[j];
  std::fill(index + kept, index + task.k, int64_t{-1});
  if (task.squared != nullptr) {
    float* squared = task.squared + row * task.k;
    std::copy(distance, distance + kept, squared);
    std::fill(squared + kept, squared + task.k, kInfinity);
  }
  return kept == task.k ? distance[kept - 1] : kLargest;
}

// Rows of queries that are not finite, and therefore not in their index.
void write_missing(const og_reid_knn& task, int64_t cloud) {
  const og_reid_clouds& queries = task.queries;
  const int64_t begin = queries.ptr[cloud] * task.k, end = queries.ptr[cloud + 1] * task.k;
  std::fill(task.index + begin, task.index + end, int64_t{-1});
  if (task.squared != nullptr) std::fill(task.squared + begin, task.squared + end, kInfinity);
}

void search_cloud(const og_reid_knn& task, const Work& work, int64_t cloud, int64_t first,
                  int64_t last, SearchScratch& scratch) {
  const int64_t begin = task.queries.ptr[cloud];
  const int64_t base = task.local ? 0 : task.points.ptr[cloud];
  search(work.points[cloud], work.queries[cloud], first, last, task.k, kLargest, scratch,
         [&](int64_t query, Candidates& found) {
           return write_row(task, begin + query, base, found);
         });
}

}  // namespace

extern "C" int64_t OG_REID_AT_LEVEL(og_reid_knn_workspace)(const struct og_reid_knn* task) {
  if (!valid(task->points) || !valid(task->queries)) return OG_REID_BAD_SIZE;
  Arena arena(nullptr);
  take_work(arena, *task, true);
  return arena.used();
}

extern "C" int OG_REID_AT_LEVEL(og_reid_knn_cpu)(const struct og_reid_knn* task) {
  const og_reid_clouds &points = task->points, &queries = task->queries;
  if (!valid(points) || !valid(queries) || points.clouds != queries.clouds ||
      points.dims != queries.dims || task->k < 1 || task->threads < 1) {
    return OG_REID_BAD_SIZE;
  }
  Arena arena(task->workspace);
  const Work work = take_work(arena, *task, false);
  const int threads = int(task->threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; ++thread) {
      for (int64_t cloud = thread; cloud < points.clouds; cloud += threads) {
        build(points, cloud, work.build[thread], work.points);
        if (work.queries != work.points) build(queries, cloud, work.build[thread], work.queries);
        if (work.queries[cloud].points < size_of(queries.ptr, cloud)) write_missing(*task, cloud);
      }
    }
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; ++thread) {
      share_leaves(work.queries, queries.clouds, thread, threads,
                   [&](int64_t cloud, int64_t first, int64_t last) {
                     search_cloud(*task, work, cloud, first, last, work.search[thread]);
                   });
    }
  }
  return OG_REID_OK;
}
