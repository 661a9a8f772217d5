// The exported functions: each forwards to the best level this processor runs.
#include <cstdlib>
#include <cstring>

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

// A lower level than the processor's can be requested, for tests and comparisons.
Level choose() {
  const char* wanted = std::getenv("OG_REID_CPU_LEVEL");
  const Level found = detect();
  if (wanted == nullptr || found == Level::kBaseline) return found;
  if (std::strcmp(wanted, "baseline") == 0) return Level::kBaseline;
  return std::strcmp(wanted, "x86-64-v3") == 0 ? Level::kV3 : found;
}

const Level kLevel = choose();

// Level v4 with products of bfloat16 and int8 features, unless a level is requested.
#ifdef OG_REID_LEVELS
const bool kDots = kLevel == Level::kV4 && std::getenv("OG_REID_CPU_LEVEL") == nullptr &&
                   __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#endif

}  // namespace

#ifdef OG_REID_LEVELS
#define OG_REID_FORWARD(result, name, parameters, arguments) \
  extern "C" result name##_baseline parameters;              \
  extern "C" result name##_v3 parameters;                    \
  extern "C" result name##_v4 parameters;                    \
  extern "C" result name parameters {                        \
    if (kLevel == Level::kV4) return name##_v4 arguments;    \
    if (kLevel == Level::kV3) return name##_v3 arguments;    \
    return name##_baseline arguments;                        \
  }
#define OG_REID_FORWARD_DOTS(result, name, parameters, arguments) \
  extern "C" result name##_baseline parameters;                   \
  extern "C" result name##_v3 parameters;                         \
  extern "C" result name##_v4 parameters;                         \
  extern "C" result name##_v4dot parameters;                      \
  extern "C" result name parameters {                             \
    if (kDots) return name##_v4dot arguments;                     \
    if (kLevel == Level::kV4) return name##_v4 arguments;         \
    if (kLevel == Level::kV3) return name##_v3 arguments;         \
    return name##_baseline arguments;                             \
  }
#else
#define OG_REID_FORWARD_DOTS OG_REID_FORWARD
#define OG_REID_FORWARD(result, name, parameters, arguments) \
  extern "C" result name##_baseline parameters;              \
  extern "C" result name parameters { return name##_baseline arguments; }
#endif

extern "C" int og_reid_abi(void) { return OG_REID_ABI; }

extern "C" const char* og_reid_cpu_level(void) {
  if (kLevel == Level::kV4) return "x86-64-v4";
  return kLevel == Level::kV3 ? "x86-64-v3" : "baseline";
}

OG_REID_FORWARD(int64_t, og_reid_knn_workspace, (const struct og_reid_knn* task), (task))
OG_REID_FORWARD(int, og_reid_knn_cpu, (const struct og_reid_knn* task), (task))

OG_REID_FORWARD(int64_t, og_reid_knn_features_workspace, (const struct og_reid_knn* task), (task))
OG_REID_FORWARD(int, og_reid_knn_features_cpu, (const struct og_reid_knn* task), (task))

OG_REID_FORWARD(int64_t, og_reid_fps_workspace, (const struct og_reid_fps* task), (task))
OG_REID_FORWARD(int, og_reid_fps_cpu, (const struct og_reid_fps* task), (task))

OG_REID_FORWARD(int64_t, og_reid_ball_query_workspace, (const struct og_reid_ball_query* task),
                (task))
OG_REID_FORWARD(int, og_reid_ball_query_cpu, (const struct og_reid_ball_query* task), (task))

OG_REID_FORWARD(int, og_reid_pool_cpu, (const struct og_reid_pool* task), (task))
OG_REID_FORWARD(int, og_reid_pool_grad_cpu, (const struct og_reid_pool_grad* task), (task))

OG_REID_FORWARD(int, og_reid_soft_pool_cpu, (const struct og_reid_soft_pool* task), (task))
OG_REID_FORWARD(int, og_reid_soft_pool_grad_cpu, (const struct og_reid_soft_pool_grad* task),
                (task))

OG_REID_FORWARD(int, og_reid_gated_pool_cpu,
                (const struct og_reid_gated_edges* groups, const struct og_reid_gated_pool* out),
                (groups, out))

OG_REID_FORWARD(int, og_reid_gated_pool_grad_cpu,
                (const struct og_reid_gated_edges* groups,
                 const struct og_reid_gated_pool_grad* grad),
                (groups, grad))

OG_REID_FORWARD(int, og_reid_rank_counts_cpu, (const struct og_reid_rank_counts* task), (task))
OG_REID_FORWARD(int, og_reid_topk_cpu, (const struct og_reid_topk* task), (task))

OG_REID_FORWARD_DOTS(int64_t, og_reid_late_interaction_workspace,
                     (const struct og_reid_late_interaction* task), (task))
OG_REID_FORWARD_DOTS(int, og_reid_late_interaction_cpu,
                     (const struct og_reid_late_interaction* task), (task))

OG_REID_FORWARD(int, og_reid_late_grad_cpu, (const struct og_reid_late_grad* task), (task))
