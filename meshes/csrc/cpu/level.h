// Every kernel file is compiled once per instruction set level; dispatch.cpp picks a level at run
// time. Kernels are in unnamed namespaces: a common symbol could be linked at a level that the
// processor cannot run.
#ifndef MESHES_CPU_LEVEL_H_
#define MESHES_CPU_LEVEL_H_

#include "../meshes.h"

#define MESHES_JOIN_(name, level) name##_##level
#define MESHES_JOIN(name, level) MESHES_JOIN_(name, level)
// MESHES_LEVEL is set by the build: baseline, v3 (AVX2) or v4 (AVX-512).
#define MESHES_AT_LEVEL(name) MESHES_JOIN(name, MESHES_LEVEL)

#define MESHES_INLINE static inline __attribute__((always_inline))

#endif  // MESHES_CPU_LEVEL_H_
