// Centred clouds of many dimensions, in a layout for products of all pairs of rows.
#ifndef OG_REID_CPU_KNN_CENTRED_H_
#define OG_REID_CPU_KNN_CENTRED_H_

#include "clouds.h"
#include "knn_gram.h"

namespace {

constexpr int64_t kPanel = OG_REID_PANEL;
constexpr int64_t kGroups = 64;

// Centred rows, padded with zeros, and their squared norms: infinite where a row is not finite.
struct Centred {
  float* rows;
  float* norms;
};

Centred take_centred(Arena& arena, int64_t count, int64_t dims) {
  const int64_t padded = up_to(count, OG_REID_GRAM_ROWS);
  return {arena.take<float>(padded * dims), arena.take<float>(up_to(count, kGroups))};
}

OG_REID_INLINE bool finite(const float* row, int64_t dims) {
  Vec sums = {};
  int64_t d = 0;
  for (; d + kLanes <= dims; d += kLanes) sums += load(row + d) * 0.0f;
  float total = 0.0f;
  for (; d < dims; ++d) total += row[d] * 0.0f;
  return total == 0.0f && ones(bits(sums == 0.0f)) == kLanes;
}

void find_center(const float* rows, int64_t count, int64_t dims, float* center) {
  std::fill(center, center + dims, 0.0f);
  const float share = 1.0f / float(count);
  for (int64_t i = 0; i < count; ++i) {
    const float* row = rows + i * dims;
    if (!finite(row, dims)) continue;
    for (int64_t d = 0; d < dims; ++d) center[d] += row[d] * share;
  }
}

// Returns the largest norm of a finite row.
float centre(const float* rows, int64_t count, int64_t dims, const float* center, Centred out) {
  float most = 0.0f;
  for (int64_t i = 0; i < up_to(count, OG_REID_GRAM_ROWS); ++i) {
    float* to = out.rows + i * dims;
    if (i >= count || !finite(rows + i * dims, dims)) {
      std::fill(to, to + dims, 0.0f);
      if (i < count) out.norms[i] = kInfinity;
      continue;
    }
    const float* row = rows + i * dims;
    Vec sums = {};
    int64_t d = 0;
    for (; d + kLanes <= dims; d += kLanes) {
      const Vec value = load(row + d) - load(center + d);
      store(to + d, value);
      sums += value * value;
    }
    float norm = 0.0f;
    for (int64_t lane = 0; lane < kLanes; ++lane) norm += sums[lane];
    for (; d < dims; ++d) {
      to[d] = row[d] - center[d];
      norm += to[d] * to[d];
    }
    // An overflowing norm becomes the largest number: infinite means no point.
    out.norms[i] = norm <= kLargest ? norm : kLargest;
    most = std::max(most, out.norms[i]);
  }
  std::fill(out.norms + count, out.norms + up_to(count, kGroups), kInfinity);
  return most;
}

template <int kStep>
OG_REID_INLINE void exchange(Vec* rows) {
  const VecInt high = (lanes() & kStep) != 0;
  const VecInt from_low = high ? lanes() - kStep + int32_t(kLanes) : lanes();
  const VecInt from_high = high ? lanes() + int32_t(kLanes) : lanes() + kStep;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & kStep) continue;
    const Vec low = rows[i], other = rows[i + kStep];
    rows[i] = __builtin_shuffle(low, other, from_low);
    rows[i + kStep] = __builtin_shuffle(low, other, from_high);
  }
}

OG_REID_INLINE void transpose(Vec* rows) {
  exchange<1>(rows);
  exchange<2>(rows);
#if OG_REID_LANES >= 8
  exchange<4>(rows);
#endif
#if OG_REID_LANES >= 16
  exchange<8>(rows);
#endif
}

// Writes the transpose of kLanes x kLanes values.
OG_REID_INLINE void transpose(const float* from, int64_t stride, float* to, int64_t to_stride) {
  Vec rows[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) rows[i] = load(from + i * stride);
  transpose(rows);
  for (int64_t i = 0; i < kLanes; ++i) store(to + i * to_stride, rows[i]);
}

void pack_panels(const float* rows, int64_t count, int64_t dims, float* panels) {
  for (int64_t begin = 0; begin < up_to(count, kPanel); begin += kLanes) {
    float* panel = panels + begin / kPanel * kPanel * dims + begin % kPanel;
    int64_t d = 0;
    if (begin + kLanes <= count) {
      for (; d + kLanes <= dims; d += kLanes) {
        transpose(rows + begin * dims + d, dims, panel + d * kPanel, kPanel);
      }
    }
    for (; d < dims; ++d) {
      for (int64_t c = 0; c < kLanes; ++c) {
        panel[d * kPanel + c] = begin + c < count ? rows[(begin + c) * dims + d] : 0.0f;
      }
    }
  }
}

// Products of points with themselves: only the panels from each row's own on are computed.
void mirror(float* products, int64_t count, int64_t stride) {
  int64_t r = kPanel;
  for (; r + kLanes <= count; r += kLanes) {
    for (int64_t c = 0; c < r / kPanel * kPanel; c += kLanes) {
      transpose(products + c * stride + r, stride, products + r * stride + c, stride);
    }
  }
  for (; r < count; ++r) {
    float* row = products + r * stride;
    for (int64_t c = 0; c < r / kPanel * kPanel; ++c) row[c] = products[c * stride + r];
  }
}

}  // namespace

#endif  // OG_REID_CPU_KNN_CENTRED_H_
