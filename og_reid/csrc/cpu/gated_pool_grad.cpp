// Gradients of gated pooling, from the rows that gated_pool.cpp recomputes.
#include <cstring>

#include "gated_pool.h"

namespace {

// Adds the gradient of the maximum, which flows to one edge per centre and channel. Channels are
// processed edge by edge, so that rows of z and of its gradient stay in registers.
OG_REID_INLINE void spread_maximum(const og_reid_gated_edges& in,
                                   const og_reid_gated_pool_grad& grad, int64_t row, int32_t* order,
                                   int32_t* ends, float* grad_weight) {
  const int64_t half = in.half, channels = grad.channels;
  const int32_t* argument = grad.argument + row * channels;
  const float* upstream = grad.grad_highest + row * channels;
  std::memset(ends, 0, sizeof(int32_t) * (in.k + 1));
  for (int64_t c = 0; c < channels; ++c) ++ends[argument[c] + 1];
  for (int64_t t = 0; t < in.k; ++t) ends[t + 1] += ends[t];
  for (int64_t c = 0; c < channels; ++c) order[ends[argument[c]]++] = int32_t(c);
  // ends[t] is now the end of the channels of edge t.
  for (int64_t t = 0; t < in.k; ++t) {
    const int32_t begin = t ? ends[t - 1] : 0, end = ends[t];
    const float* z = grad.z + (row * in.k + t) * half;
    float* grad_z = grad.grad_z + (row * in.k + t) * half;
    int64_t h = 0;
    constexpr int kBlock = 3;  // 24 channels: divides the row of every published width
    for (; h + kBlock * kWidth <= half; h += kBlock * kWidth) {
      Vec total0 = load(grad_z + h), total1 = load(grad_z + h + kWidth);
      Vec total2 = load(grad_z + h + 2 * kWidth);
      const Vec z0 = load(z + h), z1 = load(z + h + kWidth), z2 = load(z + h + 2 * kWidth);
      for (int32_t entry = begin; entry < end; ++entry) {
        const int64_t c = order[entry];
        const float value = upstream[c];
        const float* weight = grad.weight + c * half + h;
        float* to = grad_weight + c * half + h;
        total0 += value * load(weight);
        total1 += value * load(weight + kWidth);
        total2 += value * load(weight + 2 * kWidth);
        store(to, load(to) + value * z0);
        store(to + kWidth, load(to + kWidth) + value * z1);
        store(to + 2 * kWidth, load(to + 2 * kWidth) + value * z2);
      }
      store(grad_z + h, total0);
      store(grad_z + h + kWidth, total1);
      store(grad_z + h + 2 * kWidth, total2);
    }
    for (; h < half; h += kWidth) {
      Vec total = load(grad_z + h);
      const Vec here = load(z + h);
      for (int32_t entry = begin; entry < end; ++entry) {
        const int64_t c = order[entry];
        total += upstream[c] * load(grad.weight + c * half + h);
        store(grad_weight + c * half + h, load(grad_weight + c * half + h) + upstream[c] * here);
      }
      store(grad_z + h, total);
    }
  }
}

OG_REID_INLINE float sum_of(Vec value) {
  float lanes[kWidth], total = 0.0f;
  std::memcpy(lanes, &value, sizeof value);
  for (int l = 0; l < kWidth; ++l) total += lanes[l];
  return total;
}

// Gradient buffers of one thread.
struct Sums {
  float* expand;
  float* bias;
};

// Gradient of one edge from that of its row, which is overwritten.
template <int kReduced>
OG_REID_INLINE void edge_backward(const og_reid_gated_edges& in,
                                  const og_reid_gated_pool_grad& grad, int64_t point, int64_t row,
                                  const float* gates, float* grad_z, const Narrow& narrow,
                                  int64_t t, const Sums& sums) {
  const int64_t reduced = kReduced ? kReduced : in.reduced, half = in.half;
  const float* near = in.near + point * half;
  const float* center = in.center + row * half;
  float* grad_near = grad.grad_near + point * half;
  float* grad_center = grad.grad_center + row * half;
  for (int64_t h = 0; h < half; h += kWidth) {
    const Vec gate = load(gates + h), grad_x = load(grad_z + h) * gate;
    const Vec pull = grad_x * (load(near + h) + load(center + h)) * (1.0f - gate);
    store(grad_z + h, pull);
    store(grad_near + h, load(grad_near + h) + grad_x);
    store(grad_center + h, load(grad_center + h) + grad_x);
    store(sums.bias + h, load(sums.bias + h) + pull);
  }
  for (int64_t r = 0; r < reduced; ++r) {
    const int64_t e = t * reduced + r;
    const float open = narrow.open[e];
    Vec total = {};
    for (int64_t h = 0; h < half; h += kWidth) {
      const Vec pull = load(grad_z + h);
      float* to = sums.expand + r * half + h;
      store(to, load(to) + pull * open);
      total += pull * load(in.expand + r * half + h);
    }
    const float slope = narrow.slope[e];
    const float value = slope * (1.0f + narrow.raw[e] * (1.0f - slope)) * sum_of(total);
    grad.grad_gate_near[point * in.reduced + r] += value;
    grad.grad_gate_center[row * in.reduced + r] += value;
  }
}

template <int kReduced>
void backward_cloud(const og_reid_gated_edges& in, const og_reid_gated_pool_grad& grad,
                    int64_t cloud, int64_t thread) {
  const int64_t reduced = kReduced ? kReduced : in.reduced;
  Narrow narrow;
  int32_t* order = grad.scratch + thread * (grad.channels + in.k + 1);
  float* grad_weight = grad.grad_weight + thread * grad.channels * in.half;
  const Sums sums = {grad.grad_expand + thread * in.reduced * in.half,
                     grad.grad_bias + thread * in.half};
  for (int64_t i = 0; i < in.centers; ++i) {
    const int64_t row = cloud * in.centers + i;
    spread_maximum(in, grad, row, order, order + grad.channels, grad_weight);
    for (int64_t first = 0; first < in.k; first += kTile) {
      const int64_t edges = in.k - first < kTile ? in.k - first : kTile;
      const int64_t* points = in.index + row * in.k + first;
      open_tile(in, in.gate_near + cloud * in.count * in.reduced, in.gate_center + row * in.reduced,
                points, edges, reduced, narrow);
      for (int64_t t = 0; t < edges; ++t) {
        const int64_t at = (row * in.k + first + t) * in.half;
        edge_backward<kReduced>(in, grad, cloud * in.count + points[t], row, grad.gates + at,
                                grad.grad_z + at, narrow, t, sums);
      }
    }
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_gated_pool_grad_cpu)(
    const struct og_reid_gated_edges* groups, const struct og_reid_gated_pool_grad* grad) {
  if (!fits(*groups) || grad->channels < 0) return OG_REID_BAD_SIZE;
  const og_reid_gated_edges& in = *groups;
  const int64_t threads = in.threads;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread) {
    const int64_t last = in.batch * (thread + 1) / threads;
    for (int64_t cloud = in.batch * thread / threads; cloud < last; ++cloud) {
      OG_REID_BY_REDUCED(backward_cloud, in.reduced, in, *grad, cloud, thread)
    }
  }
  return OG_REID_OK;
}
