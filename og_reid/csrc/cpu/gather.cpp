// Pooling of gathered rows over neighbours, forward and backward.
//
// Channels are cut into register-wide blocks; a block's accumulators stay in registers while the
// neighbours are walked. Backward passes give one cloud to one thread, so nothing is atomic and a
// result depends on no schedule.
#include <cstring>

#include "level.h"

namespace {

template <int kWidth>
struct Lanes {
  typedef float Float __attribute__((vector_size(kWidth * 4)));
  typedef int32_t Int __attribute__((vector_size(kWidth * 4)));
};

// Pools channels [c, c + kWidth) of the k rows `row(t)` of x.
template <int kWidth, bool kMax, bool kMean>
OG_REID_INLINE void pool_block(const float* x, const int64_t* index, int64_t k, int64_t stride,
                               int64_t c, float* highest, int32_t* argument, float* mean) {
  using Float = typename Lanes<kWidth>::Float;
  using Int = typename Lanes<kWidth>::Int;
  Float best, total;
  Int where = {};
  std::memcpy(&best, x + index[0] * stride + c, sizeof best);
  total = best;
  for (int64_t t = 1; t < k; ++t) {
    Float row;
    std::memcpy(&row, x + index[t] * stride + c, sizeof row);
    if (kMax) {
      const Int better = row > best;
      where = better ? Int{} + int32_t(t) : where;
      best = better ? row : best;
    }
    if (kMean) total += row;
  }
  if (kMax) {
    std::memcpy(highest + c, &best, sizeof best);
    std::memcpy(argument + c, &where, sizeof where);
  }
  if (kMean) {
    total *= 1.0f / float(k);
    std::memcpy(mean + c, &total, sizeof total);
  }
}

template <bool kMax, bool kMean>
OG_REID_INLINE void pool_center(const float* x, const int64_t* index, int64_t k, int64_t stride,
                                int64_t channels, float* highest, int32_t* argument, float* mean) {
  int64_t c = 0;
  for (; c + OG_REID_LANES <= channels; c += OG_REID_LANES)
    pool_block<OG_REID_LANES, kMax, kMean>(x, index, k, stride, c, highest, argument, mean);
  for (; c + 4 <= channels; c += 4)
    pool_block<4, kMax, kMean>(x, index, k, stride, c, highest, argument, mean);
  for (; c < channels; ++c)
    pool_block<1, kMax, kMean>(x, index, k, stride, c, highest, argument, mean);
}

void pool_centers(const float* x, const int64_t* index, int64_t centers, int64_t k, int64_t stride,
                  int64_t channels, float* highest, int32_t* argument, float* mean) {
  for (int64_t i = 0; i < centers; ++i) {
    const int64_t row = i * channels;
    if (highest && mean)
      pool_center<true, true>(x, index + i * k, k, stride, channels, highest + row, argument + row,
                              mean + row);
    else if (highest)
      pool_center<true, false>(x, index + i * k, k, stride, channels, highest + row, argument + row,
                               nullptr);
    else
      pool_center<false, true>(x, index + i * k, k, stride, channels, nullptr, nullptr, mean + row);
  }
}

void pool_cloud_backward(const float* grad_highest, const int32_t* argument, const float* grad_mean,
                         const int64_t* index, int64_t centers, int64_t k, int64_t channels,
                         float* grad_x) {
  const float share = 1.0f / float(k);
  for (int64_t i = 0; i < centers; ++i) {
    const int64_t* neighbors = index + i * k;
    if (grad_mean) {
      const float* from = grad_mean + i * channels;
      for (int64_t t = 0; t < k; ++t) {
        float* to = grad_x + neighbors[t] * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] += share * from[c];
      }
    }
    if (grad_highest) {
      const float* from = grad_highest + i * channels;
      const int32_t* where = argument + i * channels;
      for (int64_t c = 0; c < channels; ++c) grad_x[neighbors[where[c]] * channels + c] += from[c];
    }
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_pool_cpu)(const float* x, const int64_t* index,
                                                  int64_t batch, int64_t count, int64_t centers,
                                                  int64_t k, int64_t stride, int64_t channels,
                                                  float* highest, int32_t* argument, float* mean,
                                                  int threads) {
  if (batch < 0 || count < 1 || centers < 0 || k < 1 || channels < 0 || stride < channels ||
      threads < 1)
    return OG_REID_BAD_SIZE;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t row = b * centers * channels;
    pool_centers(x + b * count * stride, index + b * centers * k, centers, k, stride, channels,
                 highest ? highest + row : nullptr, argument ? argument + row : nullptr,
                 mean ? mean + row : nullptr);
  }
  return OG_REID_OK;
}

extern "C" int OG_REID_AT_LEVEL(og_reid_pool_backward_cpu)(
    const float* grad_highest, const int32_t* argument, const float* grad_mean,
    const int64_t* index, int64_t batch, int64_t count, int64_t centers, int64_t k,
    int64_t channels, float* grad_x, int threads) {
  if (batch < 0 || count < 1 || centers < 0 || k < 1 || channels < 0 || threads < 1)
    return OG_REID_BAD_SIZE;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t row = b * centers * channels;
    pool_cloud_backward(grad_highest ? grad_highest + row : nullptr,
                        argument ? argument + row : nullptr, grad_mean ? grad_mean + row : nullptr,
                        index + b * centers * k, centers, k, channels,
                        grad_x + b * count * channels);
  }
  return OG_REID_OK;
}
