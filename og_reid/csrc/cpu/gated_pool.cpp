// Gated pooling of a set abstraction: the rows between its two convolutions, their projection and
// its maximum.
//
// A centre's rows are computed, projected and reduced while they are in the first-level cache. The
// caller processes a batch in chunks and recomputes the rows for the backward pass (see
// gated_pool_grad.cpp), so the rows of a whole batch are never stored.
#include "gated_pool.h"

#include <cstring>
#include <limits>

namespace {

// Channels of a panel of the packed projection.
constexpr int kPanel = 16;

// Rows z (k, half) of one centre, and optionally their gates. kReduced is in.reduced where it is a
// compile-time constant, or 0.
template <int kReduced>
OG_REID_INLINE void gate_center(const og_reid_gated_edges& in, int64_t cloud, int64_t row,
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

// The same for weighted edges.
struct WeightedHighest {
  Highest weighted;
  Vec plain[kVecs];   // y of the highest
  VecInt bad[kVecs];  // lanes with a NaN
};

template <int kEdges>
OG_REID_INLINE void take_weighted_edges(const float* z, int64_t half, const float* panel,
                                        const float* edge_weight, const Vec* factor,
                                        const Vec* offset, int32_t first, WeightedHighest& best) {
  Vec total[kEdges][kVecs];
  project_edges<kEdges>(z, half, panel, total);
#pragma GCC unroll 8
  for (int e = 0; e < kEdges; ++e) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      // Values below 0 do not exceed the initial 0 of best.
      const Vec value = (total[e][v] * factor[v] + offset[v]) * edge_weight[e];
      const VecInt better = value > best.weighted.value[v];
      best.weighted.where[v] = better ? VecInt{} + (first + e) : best.weighted.where[v];
      best.weighted.value[v] = better ? value : best.weighted.value[v];
      best.plain[v] = better ? total[e][v] : best.plain[v];
      best.bad[v] |= value != value;
    }
  }
}

OG_REID_INLINE void project_weighted_center(const float* z, const og_reid_gated_edges& in,
                                            const og_reid_gated_pool& out, int64_t row) {
  constexpr int kEdges = 4;
  const int64_t half = in.half, at = row * out.channels;
  const float* edge_weight = out.edge_weight + row * in.k;
  for (int64_t c = 0; c < out.channels; c += kPanel) {
    const float* panel = out.panels + c * half;
    WeightedHighest best = {};
    Vec factor[kVecs], offset[kVecs];
    for (int v = 0; v < kVecs; ++v) {
      factor[v] = load(out.factor + c + v * kWidth);
      offset[v] = load(out.offset + c + v * kWidth);
    }
    int64_t t = 0;
    for (; t + kEdges <= in.k; t += kEdges)
      take_weighted_edges<kEdges>(z + t * half, half, panel, edge_weight + t, factor, offset,
                                  int32_t(t), best);
    for (; t < in.k; ++t)
      take_weighted_edges<1>(z + t * half, half, panel, edge_weight + t, factor, offset, int32_t(t),
                             best);
    for (int v = 0; v < kVecs; ++v) {
      const int64_t to = at + c + v * kWidth;
      const Vec none = Vec{} + std::numeric_limits<float>::quiet_NaN();
      store(out.highest + to, best.bad[v] ? none : best.weighted.value[v]);
      store(out.best + to, best.plain[v]);
      std::memcpy(out.argument + to, &best.weighted.where[v], sizeof best.weighted.where[v]);
    }
  }
}

template <int kReduced>
void forward_range(const og_reid_gated_edges& in, const og_reid_gated_pool& out, int64_t first,
                   int64_t last, float* scratch) {
  Narrow narrow;
  for (int64_t row = first; row < last; ++row) {
    float* z = out.z ? out.z + row * in.k * in.half : scratch;
    float* gates = out.gates ? out.gates + row * in.k * in.half : nullptr;
    gate_center<kReduced>(in, row / in.centers, row, narrow, z, gates);
    if (out.edge_weight)
      project_weighted_center(z, in, out, row);
    else if (out.highest)
      project_center(z, in.k, in.half, out.channels, out.panels, out.highest + row * out.channels,
                     out.argument + row * out.channels);
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_gated_pool_cpu)(const struct og_reid_gated_edges* groups,
                                                        const struct og_reid_gated_pool* out) {
  if (!fits(*groups) || out->channels < 0 || out->channels % kPanel != 0) return OG_REID_BAD_SIZE;
  const og_reid_gated_edges& in = *groups;
  const int64_t threads = in.threads, rows = in.batch * in.centers;
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
  for (int64_t thread = 0; thread < threads; ++thread) {
    float* scratch = out->scratch + thread * in.k * in.half;
    OG_REID_BY_REDUCED(forward_range, in.reduced, in, *out, rows * thread / threads,
                       rows * (thread + 1) / threads, scratch)
  }
  return OG_REID_OK;
}
