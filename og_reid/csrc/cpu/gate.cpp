// Gated neighbourhoods of a set abstraction: the rows between its two convolutions, their
// projection and its maximum.
//
// A centre's rows are made, projected and reduced while they are in the first-level cache. The
// caller walks a batch in chunks and computes the rows again for the backward pass, so the rows of
// a whole batch never exist.
#include <cstring>
#include <limits>

#include "level.h"

namespace {

// Rows are whole multiples of 8 channels, not always of 16.
constexpr int kWidth = OG_REID_LANES < 8 ? OG_REID_LANES : 8;
constexpr int64_t kMultiple = 8;
// Channels of a panel of the packed projection.
constexpr int kPanel = 16;
// Edges whose gates are opened together, and the widest narrow layer (its buffers are on the
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

OG_REID_INLINE void open_tile(const og_reid_groups& in, const float* gate_near,
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

// Rows z (k, half) of one centre, and their gates where asked for. kReduced is in.reduced where it
// is known when compiling, or 0.
template <int kReduced>
OG_REID_INLINE void gate_center(const og_reid_groups& in, int64_t cloud, int64_t row,
                                Narrow& narrow, float* z, float* gates) {
  const int64_t reduced = kReduced ? kReduced : in.reduced, half = in.half;
  const float* near = in.near + cloud * in.count * half;
  const float* center = in.center + row * half;
  const int64_t* points = in.index + row * in.k;
  for (int64_t first = 0; first < in.k; first += kTile) {
    const int64_t edges = in.k - first < kTile ? in.k - first : kTile;
    open_tile(in, in.gate_near + cloud * in.count * in.reduced, in.gate_center + row * in.reduced,
              points + first, edges, reduced, narrow);
    for (int64_t t = 0; t < edges; ++t) {
      const float* open = narrow.open + t * reduced;
      const float* x = near + points[first + t] * half;
      float* to = z + (first + t) * half;
      for (int64_t h = 0; h < half; h += kWidth) {
        Vec gate = load(in.bias + h);
        for (int64_t r = 0; r < reduced; ++r) gate += load(in.expand + r * half + h) * open[r];
        gate = sigmoid(gate);
        if (gates) store(gates + (first + t) * half + h, gate);
        store(to + h, (load(x + h) + load(center + h)) * gate);
      }
    }
  }
}

constexpr int kVecs = kPanel / kWidth;

// Running maximum of the channels of one panel.
struct Highest {
  Vec value[kVecs];
  VecInt where[kVecs];
};

// Products of kEdges rows of z with one packed panel (half, 16).
template <int kEdges>
OG_REID_INLINE void project_edges(const float* z, int64_t half, const float* panel,
                                  Vec (&total)[kEdges][kVecs]) {
#pragma GCC unroll 8
  for (int e = 0; e < kEdges; ++e)
    for (int v = 0; v < kVecs; ++v) total[e][v] = Vec{};
  for (int64_t h = 0; h < half; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      const Vec weight = load(panel + h * kPanel + v * kWidth);
#pragma GCC unroll 8
      for (int e = 0; e < kEdges; ++e) total[e][v] += weight * z[e * half + h];
    }
  }
}

template <int kEdges>
OG_REID_INLINE void take_edges(const float* z, int64_t half, const float* panel, int32_t first,
                               Highest& best) {
  Vec total[kEdges][kVecs];
  project_edges<kEdges>(z, half, panel, total);
#pragma GCC unroll 8
  for (int e = 0; e < kEdges; ++e) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      const VecInt better = total[e][v] > best.value[v];
      best.where[v] = better ? VecInt{} + (first + e) : best.where[v];
      best.value[v] = better ? total[e][v] : best.value[v];
    }
  }
}

OG_REID_INLINE void project_center(const float* z, int64_t k, int64_t half, int64_t channels,
                                   const float* panels, float* highest, int32_t* argument) {
  constexpr int kEdges = 4;
  for (int64_t c = 0; c < channels; c += kPanel) {
    Highest best = {};
    for (int v = 0; v < kVecs; ++v) best.value[v] = Vec{} - std::numeric_limits<float>::infinity();
    int64_t t = 0;
    for (; t + kEdges <= k; t += kEdges)
      take_edges<kEdges>(z + t * half, half, panels + c * half, int32_t(t), best);
    for (; t < k; ++t) take_edges<1>(z + t * half, half, panels + c * half, int32_t(t), best);
    for (int v = 0; v < kVecs; ++v) {
      store(highest + c + v * kWidth, best.value[v]);
      std::memcpy(argument + c + v * kWidth, &best.where[v], sizeof best.where[v]);
    }
  }
}

// The same for edges that fade.
struct FadedHighest {
  Highest faded;
  Vec plain[kVecs];   // y of the highest
  VecInt bad[kVecs];  // where there was a NaN
};

template <int kEdges>
OG_REID_INLINE void take_faded_edges(const float* z, int64_t half, const float* panel,
                                     const float* fade, const Vec* factor, const Vec* offset,
                                     int32_t first, FadedHighest& best) {
  Vec total[kEdges][kVecs];
  project_edges<kEdges>(z, half, panel, total);
#pragma GCC unroll 8
  for (int e = 0; e < kEdges; ++e) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      // Below 0 it is no better than the 0 that best starts with.
      const Vec value = (total[e][v] * factor[v] + offset[v]) * fade[e];
      const VecInt better = value > best.faded.value[v];
      best.faded.where[v] = better ? VecInt{} + (first + e) : best.faded.where[v];
      best.faded.value[v] = better ? value : best.faded.value[v];
      best.plain[v] = better ? total[e][v] : best.plain[v];
      best.bad[v] |= value != value;
    }
  }
}

OG_REID_INLINE void project_faded_center(const float* z, const og_reid_groups& in,
                                         const og_reid_projection& out, int64_t row) {
  constexpr int kEdges = 4;
  const int64_t half = in.half, at = row * out.channels;
  const float* fade = out.fade + row * in.k;
  for (int64_t c = 0; c < out.channels; c += kPanel) {
    const float* panel = out.panels + c * half;
    FadedHighest best = {};
    Vec factor[kVecs], offset[kVecs];
    for (int v = 0; v < kVecs; ++v) {
      factor[v] = load(out.factor + c + v * kWidth);
      offset[v] = load(out.offset + c + v * kWidth);
    }
    int64_t t = 0;
    for (; t + kEdges <= in.k; t += kEdges)
      take_faded_edges<kEdges>(z + t * half, half, panel, fade + t, factor, offset, int32_t(t),
                               best);
    for (; t < in.k; ++t)
      take_faded_edges<1>(z + t * half, half, panel, fade + t, factor, offset, int32_t(t), best);
    for (int v = 0; v < kVecs; ++v) {
      const int64_t to = at + c + v * kWidth;
      const Vec none = Vec{} + std::numeric_limits<float>::quiet_NaN();
      store(out.highest + to, best.bad[v] ? none : best.faded.value[v]);
      store(out.best + to, best.plain[v]);
      std::memcpy(out.argument + to, &best.faded.where[v], sizeof best.faded.where[v]);
    }
  }
}

// Adds the gradient of the maximum, which reaches one edge per centre and channel. Channels are
// walked edge by edge, so that rows of z and of its gradient stay in registers.
OG_REID_INLINE void spread_maximum(const og_reid_groups& in, const og_reid_groups_grad& grad,
                                   int64_t row, int32_t* order, int32_t* ends, float* grad_weight) {
  const int64_t half = in.half, channels = grad.channels;
  const int32_t* argument = grad.argument + row * channels;
  const float* upstream = grad.grad_highest + row * channels;
  std::memset(ends, 0, sizeof(int32_t) * (in.k + 1));
  for (int64_t c = 0; c < channels; ++c) ++ends[argument[c] + 1];
  for (int64_t t = 0; t < in.k; ++t) ends[t + 1] += ends[t];
  for (int64_t c = 0; c < channels; ++c) order[ends[argument[c]]++] = int32_t(c);
  // ends[t] is now where the channels of edge t end.
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

// Where the gradients of one thread are collected.
struct Shares {
  float* expand;
  float* bias;
};

// Gradient of one edge from that of its row, which is overwritten.
template <int kReduced>
OG_REID_INLINE void edge_backward(const og_reid_groups& in, const og_reid_groups_grad& grad,
                                  int64_t point, int64_t row, const float* gates, float* grad_z,
                                  const Narrow& narrow, int64_t t, const Shares& shares) {
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
    store(shares.bias + h, load(shares.bias + h) + pull);
  }
  for (int64_t r = 0; r < reduced; ++r) {
    const int64_t e = t * reduced + r;
    const float open = narrow.open[e];
    Vec total = {};
    for (int64_t h = 0; h < half; h += kWidth) {
      const Vec pull = load(grad_z + h);
      float* to = shares.expand + r * half + h;
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
void forward_range(const og_reid_groups& in, const og_reid_projection& out, int64_t first,
                   int64_t last, float* scratch) {
  Narrow narrow;
  for (int64_t row = first; row < last; ++row) {
    float* z = out.z ? out.z + row * in.k * in.half : scratch;
    float* gates = out.gates ? out.gates + row * in.k * in.half : nullptr;
    gate_center<kReduced>(in, row / in.centers, row, narrow, z, gates);
    if (out.fade)
      project_faded_center(z, in, out, row);
    else if (out.highest)
      project_center(z, in.k, in.half, out.channels, out.panels, out.highest + row * out.channels,
                     out.argument + row * out.channels);
  }
}

template <int kReduced>
void backward_cloud(const og_reid_groups& in, const og_reid_groups_grad& grad, int64_t cloud,
                    int64_t thread) {
  const int64_t reduced = kReduced ? kReduced : in.reduced;
  Narrow narrow;
  int32_t* order = grad.scratch + thread * (grad.channels + in.k + 1);
  float* grad_weight = grad.grad_weight + thread * grad.channels * in.half;
  const Shares shares = {grad.grad_expand + thread * in.reduced * in.half,
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
                                grad.grad_z + at, narrow, t, shares);
      }
    }
  }
}

bool fits(const og_reid_groups& in) {
  return in.batch >= 0 && in.count >= 1 && in.centers >= 1 && in.k >= 1 && in.half >= kMultiple &&
         in.half % kMultiple == 0 && in.reduced >= 1 && in.reduced <= kMostReduced &&
         in.threads >= 1;
}

// Calls a template with the narrow widths of the published networks fixed when compiling.
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

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_gate_cpu)(const struct og_reid_groups* groups,
                                                  const struct og_reid_projection* out) {
  if (!fits(*groups) || out->channels < 0 || out->channels % kPanel != 0) return OG_REID_BAD_SIZE;
  const og_reid_groups& in = *groups;
  const int64_t threads = in.threads, rows = in.batch * in.centers;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread) {
    float* scratch = out->scratch + thread * in.k * in.half;
    OG_REID_BY_REDUCED(forward_range, in.reduced, in, *out, rows * thread / threads,
                       rows * (thread + 1) / threads, scratch)
  }
  return OG_REID_OK;
}

extern "C" int OG_REID_AT_LEVEL(og_reid_gate_backward_cpu)(const struct og_reid_groups* groups,
                                                           const struct og_reid_groups_grad* grad) {
  if (!fits(*groups) || grad->channels < 0) return OG_REID_BAD_SIZE;
  const og_reid_groups& in = *groups;
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
