// Float registers of the level's width, and the operations that GCC's vector types lack or compile
// badly: minimum, maximum, one bit per lane, packing of selected lanes.
#ifndef OG_REID_CPU_SIMD_H_
#define OG_REID_CPU_SIMD_H_

#include <cstring>

#include "level.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kLanes = OG_REID_LANES;
typedef float Vec __attribute__((vector_size(OG_REID_LANES * 4)));
typedef int32_t VecInt __attribute__((vector_size(OG_REID_LANES * 4)));

OG_REID_INLINE Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

OG_REID_INLINE VecInt load(const int32_t* from) {
  VecInt value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

OG_REID_INLINE void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }
OG_REID_INLINE void store(int32_t* to, VecInt value) { std::memcpy(to, &value, sizeof value); }

// Subtracting a zero changes nothing, and compiles to nothing; adding one would change -0.
OG_REID_INLINE Vec spread(float value) { return value - Vec{}; }
OG_REID_INLINE VecInt spread(int32_t value) { return VecInt{} + value; }

// 0, 1, 2, ...
OG_REID_INLINE VecInt lanes() {
  VecInt value;
  for (int32_t lane = 0; lane < kLanes; ++lane) value[lane] = lane;
  return value;
}

// The second operand where one is NaN.
OG_REID_INLINE Vec smaller(Vec a, Vec b) {
#if defined(__AVX512F__)
  return Vec(_mm512_min_ps(__m512(a), __m512(b)));
#elif defined(__AVX2__)
  return Vec(_mm256_min_ps(__m256(a), __m256(b)));
#else
  return a < b ? a : b;
#endif
}

OG_REID_INLINE Vec larger(Vec a, Vec b) {
#if defined(__AVX512F__)
  return Vec(_mm512_max_ps(__m512(a), __m512(b)));
#elif defined(__AVX2__)
  return Vec(_mm256_max_ps(__m256(a), __m256(b)));
#else
  return a > b ? a : b;
#endif
}

OG_REID_INLINE float smallest(Vec value) {
  for (int32_t step = kLanes / 2; step > 0; step /= 2) {
    value = smaller(value, __builtin_shuffle(value, lanes() ^ step));
  }
  return value[0];
}

OG_REID_INLINE float largest(Vec value) {
  for (int32_t step = kLanes / 2; step > 0; step /= 2) {
    value = larger(value, __builtin_shuffle(value, lanes() ^ step));
  }
  return value[0];
}

// Bit i is set where lane i of the mask (all ones or all zeros) is.
OG_REID_INLINE uint32_t bits(VecInt mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(__m512i(mask));
#elif defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps(__m256(mask)));
#else
  uint32_t result = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) result |= uint32_t(mask[lane] & 1) << lane;
  return result;
#endif
}

// Lane i where a[i] <= b[i] (never with a NaN).
OG_REID_INLINE uint32_t at_most(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(__m512(a), __m512(b), _CMP_LE_OQ);
#else
  return bits(a <= b);
#endif
}

OG_REID_INLINE int64_t ones(uint32_t mask) { return __builtin_popcount(mask); }
OG_REID_INLINE int64_t lowest(uint32_t mask) { return __builtin_ctz(mask); }

#if defined(__AVX2__) && !defined(__AVX512F__)
// For each of 256 masks the lane order, selected lanes first.
struct PackTable {
  alignas(32) int32_t lane[256][8];
  constexpr PackTable() : lane() {
    for (int mask = 0; mask < 256; ++mask) {
      int found = 0;
      for (int bit = 0; bit < 8; ++bit) {
        if (mask >> bit & 1) lane[mask][found++] = bit;
      }
    }
  }
};
constexpr PackTable kPack;
#endif

// Packing of the lanes of a mask: computed once, applied to several registers.
struct Pack {
#if defined(__AVX512F__)
  __mmask16 mask;
#elif defined(__AVX2__)
  __m256i order;
#else
  uint32_t mask;
#endif
};

OG_REID_INLINE Pack pack(uint32_t mask) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(kPack.lane[mask]))};
#elif defined(__AVX512F__)
  return {__mmask16(mask)};
#else
  return {mask};
#endif
}

// Writes the selected lanes to `to`; the rest of the kLanes entries there is undefined.
OG_REID_INLINE void put(float* to, Vec value, Pack pack) {
#if defined(__AVX512F__)
  _mm512_storeu_ps(to, _mm512_maskz_compress_ps(pack.mask, __m512(value)));
#elif defined(__AVX2__)
  _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(__m256(value), pack.order));
#else
  for (uint32_t mask = pack.mask; mask; mask &= mask - 1) *to++ = value[lowest(mask)];
#endif
}

OG_REID_INLINE void put(int32_t* to, VecInt value, Pack pack) {
#if defined(__AVX512F__)
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(pack.mask, __m512i(value)));
#elif defined(__AVX2__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_permutevar8x32_epi32(__m256i(value), pack.order));
#else
  for (uint32_t mask = pack.mask; mask; mask &= mask - 1) *to++ = value[lowest(mask)];
#endif
}

// (p - q)^2 summed over three axes, every operation rounded on its own: the order of operations
// of the plain-torch twin. Missing dimensions of a cloud are zeros and change nothing.
OG_REID_INLINE Vec squared(Vec x, Vec y, Vec z) { return x * x + y * y + z * z; }

}  // namespace

#endif  // OG_REID_CPU_SIMD_H_
