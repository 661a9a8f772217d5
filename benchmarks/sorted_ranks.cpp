// Compiled evaluation of sorted rows, one pass over each, as in common toolboxes.
#include <cstdint>

// order (queries, items): gallery rows by ascending distance. first, precision and penalty receive
// the metrics of each query, or -1 without a match.
extern "C" void sorted_ranks(int64_t queries, int64_t items, const int64_t* order,
                             const int64_t* query_pids, const int64_t* gallery_pids,
                             const int64_t* query_cameras, const int64_t* gallery_cameras,
                             double* first, double* precision, double* penalty) {
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t* row = order + q * items;
    int64_t rank = 0, matches = 0, last = 0;
    double sum = 0;
    first[q] = -1;
    for (int64_t i = 0; i < items; ++i) {
      const bool same = gallery_pids[row[i]] == query_pids[q];
      if (same && gallery_cameras[row[i]] == query_cameras[q]) continue;
      ++rank;
      if (!same) continue;
      if (!matches) first[q] = rank == 1;
      sum += static_cast<double>(++matches) / rank;
      last = rank;
    }
    precision[q] = matches ? sum / matches : -1;
    penalty[q] = matches ? static_cast<double>(matches) / last : -1;
  }
}
