// Registers of doubles, one pixel per lane, with masks; one lane at the baseline.
#ifndef MESHES_CPU_LANES_H_
#define MESHES_CPU_LANES_H_

#include "level.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)

constexpr int64_t kLanes = 8;
typedef __m512d Lanes;
typedef __mmask8 Mask;

MESHES_INLINE Lanes spread(double value) { return _mm512_set1_pd(value); }
MESHES_INLINE Lanes iota() { return _mm512_setr_pd(0, 1, 2, 3, 4, 5, 6, 7); }
MESHES_INLINE Mask below(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
MESHES_INLINE Mask not_negative(Mask before, Lanes a) {
  return _mm512_mask_cmp_pd_mask(before, a, _mm512_setzero_pd(), _CMP_GE_OQ);
}
MESHES_INLINE bool any(Mask mask) { return mask != 0; }

// Depth and face of the selected lanes whose depth is below the one there.
MESHES_INLINE void store_nearer(Mask mask, Lanes depth, int64_t id, float* depths, int64_t* ids) {
  const __m256 rounded = _mm512_maskz_cvtpd_ps(mask, depth);
  const __m256 before = _mm256_maskz_loadu_ps(mask, depths);
  mask = _mm256_mask_cmp_ps_mask(mask, rounded, before, _CMP_LT_OQ);
  _mm256_mask_storeu_ps(depths, mask, rounded);
  _mm512_mask_storeu_epi64(ids, mask, _mm512_set1_epi64(id));
}

MESHES_INLINE void store_ones(Mask mask, uint8_t* covered) {
  _mm_mask_storeu_epi8(covered, mask, _mm_set1_epi8(1));
}

#elif defined(__AVX2__)

constexpr int64_t kLanes = 4;
typedef __m256d Lanes;
typedef __m256d Mask;

MESHES_INLINE Lanes spread(double value) { return _mm256_set1_pd(value); }
MESHES_INLINE Lanes iota() { return _mm256_setr_pd(0, 1, 2, 3); }
MESHES_INLINE Mask below(Lanes a, Lanes b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
MESHES_INLINE Mask not_negative(Mask before, Lanes a) {
  return _mm256_and_pd(before, _mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_GE_OQ));
}
MESHES_INLINE bool any(Mask mask) { return _mm256_movemask_pd(mask) != 0; }

MESHES_INLINE void store_nearer(Mask mask, Lanes depth, int64_t id, float* depths, int64_t* ids) {
  const __m128 rounded = _mm256_cvtpd_ps(depth);
  // The upper halves of the lanes' masks.
  const __m256i wide = _mm256_castpd_si256(mask);
  const __m128i narrow = _mm256_castsi256_si128(
      _mm256_permutevar8x32_epi32(wide, _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7)));
  const __m128 before = _mm_maskload_ps(depths, narrow);
  const __m128i nearer = _mm_and_si128(narrow, _mm_castps_si128(_mm_cmplt_ps(rounded, before)));
  _mm_maskstore_ps(depths, nearer, rounded);
  _mm256_maskstore_epi64(reinterpret_cast<long long*>(ids), _mm256_cvtepi32_epi64(nearer),
                         _mm256_set1_epi64x(id));
}

MESHES_INLINE void store_ones(Mask mask, uint8_t* covered) {
  const int bits = _mm256_movemask_pd(mask);
  for (int lane = 0; lane < 4; ++lane) {
    if (bits >> lane & 1) covered[lane] = 1;
  }
}

#else

constexpr int64_t kLanes = 1;
typedef double Lanes;
typedef bool Mask;

MESHES_INLINE Lanes spread(double value) { return value; }
MESHES_INLINE Lanes iota() { return 0.0; }
MESHES_INLINE Mask below(Lanes a, Lanes b) { return a < b; }
MESHES_INLINE Mask not_negative(Mask before, Lanes a) { return before & (a >= 0.0); }
MESHES_INLINE bool any(Mask mask) { return mask; }

MESHES_INLINE void store_nearer(Mask mask, Lanes depth, int64_t id, float* depths, int64_t* ids) {
  const float rounded = float(depth);
  if (mask && rounded < *depths) {
    *depths = rounded;
    *ids = id;
  }
}

MESHES_INLINE void store_ones(Mask mask, uint8_t* covered) {
  if (mask) *covered = 1;
}

#endif

}  // namespace

#endif  // MESHES_CPU_LANES_H_
