// What the kernels of og_reid/csrc/cuda and meshes/csrc/cuda use of CUDA, on a CPU, to test them
// without a GPU.
//
// The threads of a block are fibers that take turns; blocks run one after the other. Barriers and
// the exchanges of a warp wait for all threads, so one that does not come is found, as is a read of
// memory that does not exist when AddressSanitizer is on. Races between barriers are not found.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(threads)

enum cudaError_t { cudaSuccess = 0 };
typedef void* cudaStream_t;
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

constexpr unsigned kLanes = 32;
constexpr size_t kStack = 128 * 1024;

struct Barrier {
  unsigned arrived = 0, round = 0;
};

// A fiber starts by a switch of contexts, which asks the kernel; later switches are jumps.
struct Fiber {
  ucontext_t start;
  jmp_buf place;
  bool started, done;
};

struct Block {
  std::vector<Fiber> fibers;
  std::unique_ptr<char[]> stacks;
  std::vector<uint64_t> values;  // what each thread gave to its warp
  std::vector<Barrier> warps;
  Barrier all;
  ucontext_t begin;
  jmp_buf scheduler;
  unsigned current = 0, progress = 0;
  std::function<void()> body;
};

inline Block* block = nullptr;

inline void yield() {
  if (!_setjmp(block->fibers[block->current].place)) _longjmp(block->scheduler, 1);
}

inline void resume(Fiber& fiber) {
  if (_setjmp(block->scheduler)) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  swapcontext(&block->begin, &fiber.start);
}

inline void wait(Barrier& barrier, unsigned threads) {
  const unsigned round = barrier.round;
  ++block->progress;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.round;
  }
  while (barrier.round == round) yield();
}

inline void enter() {
  block->body();
  block->fibers[block->current].done = true;
  ++block->progress;
  while (true) yield();
}

inline void run_block(unsigned threads) {
  for (unsigned thread = 0; thread < threads; ++thread) {
    Fiber& fiber = block->fibers[thread];
    fiber.started = fiber.done = false;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = block->stacks.get() + thread * kStack;
    fiber.start.uc_stack.ss_size = kStack;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
  }
  while (true) {
    const unsigned before = block->progress;
    bool left = false;
    for (unsigned thread = 0; thread < threads; ++thread) {
      if (block->fibers[thread].done) continue;
      left = true;
      block->current = thread;
      threadIdx = {thread % blockDim.x, thread / blockDim.x, 0};
      resume(block->fibers[thread]);
    }
    if (!left) return;
    if (block->progress == before) {
      std::fprintf(stderr, "some threads of a block wait for others that never come\n");
      std::abort();
    }
  }
}

// What all lanes of the warp gave.
template <typename Value>
std::array<Value, kLanes> exchange(Value value) {
  const unsigned thread = block->current, first = thread / kLanes * kLanes;
  std::memcpy(&block->values[thread], &value, sizeof value);
  wait(block->warps[thread / kLanes], kLanes);
  std::array<Value, kLanes> all;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    std::memcpy(&all[lane], &block->values[first + lane], sizeof value);
  wait(block->warps[thread / kLanes], kLanes);
  return all;
}

inline unsigned lane() { return block->current % kLanes; }

}  // namespace emulated

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  using namespace emulated;
  const unsigned threads = config->blockDim.x * config->blockDim.y;
  if (threads % kLanes) std::abort();
  Block made;
  block = &made;
  made.fibers.resize(threads), made.stacks.reset(new char[threads * kStack]);
  made.values.resize(threads), made.warps.resize(threads / kLanes);
  made.body = [&] { kernel(arguments...); };
  blockDim = config->blockDim, gridDim = config->gridDim;
  for (unsigned y = 0; y < gridDim.y; ++y) {
    for (unsigned x = 0; x < gridDim.x; ++x) {
      blockIdx = {x, y, 0};
      run_block(threads);
    }
  }
  return cudaSuccess;
}

inline void __syncthreads() {
  emulated::wait(emulated::block->all, unsigned(emulated::block->fibers.size()));
}

template <typename Value>
Value __shfl_sync(unsigned, Value value, int lane) {
  return emulated::exchange(value)[unsigned(lane) % emulated::kLanes];
}

template <typename Value>
Value __shfl_up_sync(unsigned, Value value, unsigned delta) {
  const auto all = emulated::exchange(value);
  return emulated::lane() >= delta ? all[emulated::lane() - delta] : value;
}

template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int mask) {
  return emulated::exchange(value)[emulated::lane() ^ unsigned(mask)];
}

inline unsigned __ballot_sync(unsigned, bool vote) {
  const auto all = emulated::exchange(uint32_t(vote));
  unsigned bits = 0;
  for (unsigned lane = 0; lane < emulated::kLanes; ++lane) bits |= all[lane] << lane;
  return bits;
}

inline unsigned __reduce_max_sync(unsigned, unsigned value) {
  const auto all = emulated::exchange(value);
  return *std::max_element(all.begin(), all.end());
}

inline unsigned __reduce_min_sync(unsigned, unsigned value) {
  const auto all = emulated::exchange(value);
  return *std::min_element(all.begin(), all.end());
}

// Threads take turns, so nothing comes between.
inline long long atomicMin(long long* at, long long value) {
  const long long before = *at;
  *at = std::min(before, value);
  return before;
}

inline unsigned atomicMax(unsigned* at, unsigned value) {
  const unsigned before = *at;
  *at = std::max(before, value);
  return before;
}

inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
