// The exported functions: each forwards to the best level this processor runs.
#include "../og_reid.h"

namespace {

enum class Level { kBaseline, kV3, kV4 };

Level detect() {
#ifdef OG_REID_LEVELS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return Level::kV4;
  if (__builtin_cpu_supports("x86-64-v3")) return Level::kV3;
#endif
  return Level::kBaseline;
}

const Level kLevel = detect();

}  // namespace

#ifdef OG_REID_LEVELS
#define OG_REID_FORWARD(name, parameters, arguments)      \
  extern "C" int name##_baseline parameters;              \
  extern "C" int name##_v3 parameters;                    \
  extern "C" int name##_v4 parameters;                    \
  extern "C" int name parameters {                        \
    if (kLevel == Level::kV4) return name##_v4 arguments; \
    if (kLevel == Level::kV3) return name##_v3 arguments; \
    return name##_baseline arguments;                     \
  }
#else
#define OG_REID_FORWARD(name, parameters, arguments) \
  extern "C" int name##_baseline parameters;         \
  extern "C" int name parameters { return name##_baseline arguments; }
#endif

extern "C" int og_reid_abi(void) { return OG_REID_ABI; }

extern "C" const char* og_reid_cpu_level(void) {
  if (kLevel == Level::kV4) return "x86-64-v4";
  return kLevel == Level::kV3 ? "x86-64-v3" : "baseline";
}

OG_REID_FORWARD(og_reid_knn_cpu,
                (const float* columns, int64_t batch, int64_t count, int64_t padded, int64_t dims,
                 int64_t k, int64_t* out, float* distances, uint64_t* keys, int threads),
                (columns, batch, count, padded, dims, k, out, distances, keys, threads))

OG_REID_FORWARD(og_reid_sample_cpu,
                (const float* columns, int64_t batch, int64_t count, int64_t picks,
                 const int64_t* start, float* nearest, int64_t* out, int threads),
                (columns, batch, count, picks, start, nearest, out, threads))

OG_REID_FORWARD(og_reid_pool_cpu,
                (const float* x, const int64_t* index, int64_t batch, int64_t count,
                 int64_t centers, int64_t k, int64_t stride, int64_t channels, float* highest,
                 int32_t* argument, float* mean, int threads),
                (x, index, batch, count, centers, k, stride, channels, highest, argument, mean,
                 threads))

OG_REID_FORWARD(og_reid_pool_backward_cpu,
                (const float* grad_highest, const int32_t* argument, const float* grad_mean,
                 const int64_t* index, int64_t batch, int64_t count, int64_t centers, int64_t k,
                 int64_t channels, float* grad_x, int threads),
                (grad_highest, argument, grad_mean, index, batch, count, centers, k, channels,
                 grad_x, threads))

OG_REID_FORWARD(og_reid_gate_cpu,
                (const struct og_reid_groups* groups, const struct og_reid_projection* out),
                (groups, out))

OG_REID_FORWARD(og_reid_gate_backward_cpu,
                (const struct og_reid_groups* groups, const struct og_reid_groups_grad* grad),
                (groups, grad))
