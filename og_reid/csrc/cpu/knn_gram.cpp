#include "knn_gram.h"

#include "simd.h"

namespace {

constexpr int64_t kRows = OG_REID_GRAM_ROWS;
constexpr int64_t kPanel = OG_REID_PANEL;

OG_REID_INLINE void multiply(const float* rows, const float* panel, int64_t dims, float* out,
                             int64_t stride) {
  Vec left[kRows], right[kRows];
  for (int64_t r = 0; r < kRows; ++r) left[r] = right[r] = Vec{};
  for (int64_t d = 0; d < dims; ++d) {
    const Vec first = load(panel + d * kPanel), second = load(panel + d * kPanel + kLanes);
#pragma GCC unroll 16
    for (int64_t r = 0; r < kRows; ++r) {
      const Vec value = spread(rows[r * dims + d]);
      left[r] += value * first;
      right[r] += value * second;
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    store(out + r * stride, left[r]);
    store(out + r * stride + kLanes, right[r]);
  }
}

}  // namespace

extern "C" void OG_REID_AT_LEVEL(og_reid_knn_gram)(const float* rows, int64_t count,
                                                   const float* panels, int64_t panel_count,
                                                   int64_t dims, bool upper, float* out,
                                                   int64_t stride) {
  for (int64_t p = 0; p < panel_count; ++p) {
    const int64_t last = upper && (p + 1) * kPanel < count ? (p + 1) * kPanel : count;
    for (int64_t r = 0; r < last; r += kRows) {
      multiply(rows + r * dims, panels + p * kPanel * dims, dims, out + r * stride + p * kPanel,
               stride);
    }
  }
}
