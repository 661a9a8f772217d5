// Farthest point sampling: each next point is the one farthest from those picked before.
#include <cstddef>

#include "level.h"

namespace {

// One cloud as columns x, y, z of `count` floats. `nearest` holds the squared distance to the
// nearest picked point, -1 for picked ones. The order of operations is that of the torch twin.
void sample(const float* columns, int64_t count, int64_t picks, int64_t start, float* nearest,
            int64_t* out) {
  const float* x = columns;
  const float* y = columns + count;
  const float* z = columns + 2 * count;
  for (int64_t i = 0; i < count; ++i) nearest[i] = 1e10f;
  int64_t current = start;
  for (int64_t pick = 0; pick < picks; ++pick) {
    out[pick] = current;
    const float cx = x[current], cy = y[current], cz = z[current];
    float best = -1.0f;
    nearest[current] = -1.0f;
#pragma omp simd reduction(max : best)
    for (int64_t i = 0; i < count; ++i) {
      const float dx = x[i] - cx, dy = y[i] - cy, dz = z[i] - cz;
      const float distance = dx * dx + dy * dy + dz * dz;
      const float least = distance < nearest[i] ? distance : nearest[i];
      nearest[i] = least;
      best = least > best ? least : best;
    }
    // The first maximum: the lowest index among equals.
    current = 0;
    while (current + 1 < count && nearest[current] != best) ++current;
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_sample_cpu)(const float* columns, int64_t batch,
                                                    int64_t count, int64_t picks,
                                                    const int64_t* start, float* nearest,
                                                    int64_t* out, int threads) {
  if (batch < 0 || count < 1 || picks < 1 || picks > count) return -1;
#pragma omp parallel for schedule(static) num_threads(threads > 0 ? threads : 1)
  for (int64_t cloud = 0; cloud < batch; ++cloud) {
    sample(columns + 3 * count * cloud, count, picks, start[cloud], nearest + count * cloud,
           out + picks * cloud);
  }
  return 0;
}
