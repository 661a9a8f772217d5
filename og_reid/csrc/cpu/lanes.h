// Registers of pooling over neighbours: maxima with their slots.
#ifndef OG_REID_CPU_LANES_H_
#define OG_REID_CPU_LANES_H_

#include "level.h"

namespace {

template <int kWidth, typename Argument>
struct Lanes {
  typedef float Float __attribute__((vector_size(kWidth * 4)));
  typedef int32_t Int __attribute__((vector_size(kWidth * 4)));
  typedef Argument Place __attribute__((vector_size(kWidth * sizeof(Argument))));
};

// Largest number of neighbours with slots in a byte.
constexpr int64_t kByteSlots = 256;

}  // namespace

#endif  // OG_REID_CPU_LANES_H_
