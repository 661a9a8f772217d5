// Every kernel file is compiled once per instruction set level; dispatch.cpp picks a level at run
// time. (GCC's target_clones does not work: it splits vector types before cloning.)
//
// Levels must not have common symbols with external linkage, or the linker could keep a copy the
// processor cannot run: kernels are in unnamed namespaces, and standard templates are used with
// types from there only.
#ifndef OG_REID_CPU_LEVEL_H_
#define OG_REID_CPU_LEVEL_H_

#include "../og_reid.h"

#define OG_REID_JOIN_(name, level) name##_##level
#define OG_REID_JOIN(name, level) OG_REID_JOIN_(name, level)
// OG_REID_LEVEL is set by the build: baseline, v3 (AVX2, FMA) or v4 (AVX-512).
#define OG_REID_AT_LEVEL(name) OG_REID_JOIN(name, OG_REID_LEVEL)

// Floats per register. Vector types must not be wider than this: GCC keeps wider ones in memory.
#if defined(__AVX512F__)
#define OG_REID_LANES 16
#elif defined(__AVX__)
#define OG_REID_LANES 8
#else
#define OG_REID_LANES 4
#endif

#define OG_REID_INLINE static inline __attribute__((always_inline))

#endif  // OG_REID_CPU_LEVEL_H_
