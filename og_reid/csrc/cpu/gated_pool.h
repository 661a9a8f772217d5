// Common parts of both passes of gated pooling: registers, and the narrow layer of the gates.
#ifndef OG_REID_CPU_GATED_POOL_H_
#define OG_REID_CPU_GATED_POOL_H_

#include <cstring>

#include "level.h"

namespace {

// Rows are whole multiples of 8 channels, not always of 16.
constexpr int kWidth = OG_REID_LANES < 8 ? OG_REID_LANES : 8;
constexpr int64_t kMultiple = 8;
// Edges per tile of gates, and the largest width of the narrow layer (its buffers are on the
// stack).
constexpr int64_t kTile = 32;
constexpr int64_t kMostReduced = 64;

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef int32_t VecInt __attribute__((vector_size(kWidth * 4)));

OG_REID_INLINE Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

OG_REID_INLINE void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }

// exp(x) to about 2 ulp: x = n ln 2 + r, a polynomial in r (Cephes), n put into the exponent.
OG_REID_INLINE Vec exponential(Vec x) {
  const Vec low = Vec{} - 87.0f, high = Vec{} + 87.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Vec magic = Vec{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = x * 1.44269504088896341f + magic;
  const Vec n = shifted - magic;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = Vec{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  VecInt exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent = exponent << 23;  // the low bits of `shifted` hold n; the rest falls out
  VecInt bits;
  std::memcpy(&bits, &p, sizeof bits);
  bits += exponent;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

OG_REID_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// Narrow layer of the gates of one tile of edges, before (raw) and after (open) the swish
// raw * slope; entry t * reduced + r.
struct Narrow {
  alignas(64) float raw[kTile * kMostReduced] = {};
  alignas(64) float slope[kTile * kMostReduced];
  alignas(64) float open[kTile * kMostReduced];
};

OG_REID_INLINE void open_tile(const og_reid_gated_edges& in, const float* gate_near,
                              const float* gate_center, const int64_t* points, int64_t edges,
                              int64_t reduced, Narrow& narrow) {
  for (int64_t t = 0; t < edges; ++t)
    for (int64_t r = 0; r < reduced; ++r)
      narrow.raw[t * reduced + r] = gate_near[points[t] * in.reduced + r] + gate_center[r];
  for (int64_t e = 0; e < edges * reduced; e += kWidth) {
    const Vec raw = load(narrow.raw + e), slope = sigmoid(raw);
    store(narrow.slope + e, slope);
    store(narrow.open + e, raw * slope);
  }
}

inline bool fits(const og_reid_gated_edges& in) {
  return in.batch >= 0 && in.count >= 1 && in.centers >= 1 && in.k >= 1 && in.half >= kMultiple &&
         in.half % kMultiple == 0 && in.reduced >= 1 && in.reduced <= kMostReduced &&
         in.threads >= 1;
}

}  // namespace

// Calls a template with the narrow widths of the published networks as compile-time constants.
#define OG_REID_BY_REDUCED(function, reduced, ...) \
  switch (reduced) {                               \
    case 1:                                        \
      function<1>(__VA_ARGS__);                    \
      break;                                       \
    case 2:                                        \
      function<2>(__VA_ARGS__);                    \
      break;                                       \
    case 4:                                        \
      function<4>(__VA_ARGS__);                    \
      break;                                       \
    case 5:                                        \
      function<5>(__VA_ARGS__);                    \
      break;                                       \
    case 8:                                        \
      function<8>(__VA_ARGS__);                    \
      break;                                       \
    default:                                       \
      function<0>(__VA_ARGS__);                    \
      break;                                       \
  }

#endif  // OG_REID_CPU_GATED_POOL_H_
