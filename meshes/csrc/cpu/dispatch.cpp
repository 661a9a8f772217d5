// The exported functions: each forwards to the best level this processor runs.
#include <cstdlib>
#include <cstring>

#include "../meshes.h"

namespace {

enum class Level { kBaseline, kV3, kV4 };

Level detect() {
#ifdef MESHES_LEVELS
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

}  // namespace

#ifdef MESHES_LEVELS
#define MESHES_FORWARD(name, parameters, arguments)       \
  extern "C" int name##_baseline parameters;              \
  extern "C" int name##_v3 parameters;                    \
  extern "C" int name##_v4 parameters;                    \
  extern "C" int name parameters {                        \
    if (kLevel == Level::kV4) return name##_v4 arguments; \
    if (kLevel == Level::kV3) return name##_v3 arguments; \
    return name##_baseline arguments;                     \
  }
#else
#define MESHES_FORWARD(name, parameters, arguments) \
  extern "C" int name##_baseline parameters;        \
  extern "C" int name parameters { return name##_baseline arguments; }
#endif

extern "C" int meshes_abi(void) { return MESHES_ABI; }

extern "C" const char* meshes_cpu_level(void) {
  if (kLevel == Level::kV4) return "x86-64-v4";
  return kLevel == Level::kV3 ? "x86-64-v3" : "baseline";
}

MESHES_FORWARD(meshes_rasterize_cpu,
               (const struct meshes_triangles* triangles, const struct meshes_raster* out),
               (triangles, out))

MESHES_FORWARD(meshes_visible_cpu, (const struct meshes_vertices* task), (task))

MESHES_FORWARD(meshes_coverage_cpu, (const struct meshes_triangles* triangles, uint8_t* out),
               (triangles, out))
