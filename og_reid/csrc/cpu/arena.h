// Bump allocator over a buffer of the caller; with a null buffer it only computes the size.
#ifndef OG_REID_CPU_ARENA_H_
#define OG_REID_CPU_ARENA_H_

#include "level.h"

namespace {

class Arena {
 public:
  explicit Arena(void* base) : base_(reinterpret_cast<uintptr_t>(base)) {}

  // Space for `count` values, on a cache line of its own, uninitialised.
  template <typename T>
  T* take(int64_t count) {
    const uintptr_t begin = base_ + used_;
    used_ += (uintptr_t(count) * sizeof(T) + kLine - 1) / kLine * kLine;
    return reinterpret_cast<T*>(begin);
  }

  int64_t used() const { return int64_t(used_); }

 private:
  static constexpr uintptr_t kLine = 64;
  uintptr_t base_, used_ = 0;
};

}  // namespace

#endif  // OG_REID_CPU_ARENA_H_
