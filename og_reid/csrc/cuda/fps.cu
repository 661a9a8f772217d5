// Farthest point sampling on a GPU: one block per cloud, one barrier per pick.
//
// Each thread keeps its points and their distances to the picks in registers; larger clouds keep
// the distances in the workspace.
#include <cfloat>

#include "device.h"

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr float kFar = 1e10f;       // distance to no pick at all
constexpr float kNever = -1.0f;     // excluded point
constexpr float kDeadZone = 1e-3f;  // squared norm up to which the reference rule skips points

struct Best {
  unsigned key, index;
};

// The largest key, the lowest index on ties.
__device__ inline Best best_of_warp(Best mine) {
  const unsigned key = __reduce_max_sync(kAll, mine.key);
  return {key, __reduce_min_sync(kAll, mine.key == key ? mine.index : kAll)};
}

// The same over the block. Calls alternate between two rows of slots, so that one barrier suffices.
__device__ inline Best best_of_block(Best mine, Best (*slots)[kWarps], int turn) {
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  mine = best_of_warp(mine);
  if (lane == 0) slots[turn & 1][warp] = mine;
  __syncthreads();
  return best_of_warp(lane < kWarps ? slots[turn & 1][lane] : Best{0, kAll});
}

__device__ inline float squared(const float* a, float x, float y, float z) {
  return add_square(add_square(add_square(0.0f, a[0], x), a[1], y), a[2], z);
}

// In float64, like the twin.
__device__ inline float from_centroid(const float* a, const double* centroid) {
  double total = 0.0;
  for (int axis = 0; axis < 3; ++axis) {
    const double difference = __dsub_rn(double(a[axis]), centroid[axis]);
    total = __dadd_rn(total, __dmul_rn(difference, difference));
  }
  return float(total);
}

__device__ inline float at_start(const float* a, bool dead_zone) {
  const float norm = squared(a, 0.0f, 0.0f, 0.0f);
  const bool finite = fabsf(a[0]) <= FLT_MAX && fabsf(a[1]) <= FLT_MAX && fabsf(a[2]) <= FLT_MAX;
  return !finite || (dead_zone && norm <= kDeadZone) ? kNever : kFar;
}

// kPer: points of a thread; 0: any number.
template <int kPer>
__global__ void __launch_bounds__(kThreads) sample_kernel(og_reid_fps task) {
  __shared__ Best slots[2][kWarps];
  constexpr int kKept = kPer ? kPer : 1;
  const int count = int(task.count), rounds = kPer ? kPer : (count + kThreads - 1) / kThreads;
  for (int64_t cloud = blockIdx.x; cloud < task.batch; cloud += gridDim.x) {
    const float* rows = task.rows + 3 * cloud * task.count;
    float* spilled = static_cast<float*>(task.workspace) + cloud * task.count;
    float x[kKept][3] = {}, kept[kKept] = {};
    const bool once = task.centroids != nullptr;
    Best first = {0, kAll};
#pragma unroll
    for (int i = 0; i < rounds; ++i) {
      const int index = i * kThreads + int(threadIdx.x);
      if (index >= count) continue;
      const float* a = rows + 3 * int64_t(index);
      const float nearest = at_start(a, task.dead_zone != 0);
      if (kPer) {
        for (int axis = 0; axis < 3; ++axis) x[kPer ? i : 0][axis] = a[axis];
        kept[kPer ? i : 0] = nearest;
      } else {
        spilled[index] = nearest;
      }
      if (!once) continue;
      const float distance = from_centroid(a, task.centroids + 3 * cloud);
      const unsigned key = ordered(distance >= 0.0f ? distance : kNever);
      if (key > first.key) first = {key, unsigned(index)};
    }
    int turn = 0;
    unsigned pick = once ? best_of_block(first, slots, turn++).index : 0u;
    for (int64_t step = 0; step < task.picks; ++step) {
      if (threadIdx.x == 0) task.out[cloud * task.picks + step] = pick;
      const float* at = rows + 3 * int64_t(pick);
      const float px = at[0], py = at[1], pz = at[2];
      Best farthest = {0, kAll};
#pragma unroll
      for (int i = 0; i < rounds; ++i) {
        const int index = i * kThreads + int(threadIdx.x);
        if (index >= count) continue;
        const float* a = kPer ? x[kPer ? i : 0] : rows + 3 * int64_t(index);
        float& nearest = kPer ? kept[kPer ? i : 0] : spilled[index];
        const float distance = squared(a, px, py, pz);
        float after = distance < nearest ? distance : nearest;
        // Excluded from now on, even when all other points have a pick at distance 0.
        if (once && unsigned(index) == pick) after = kNever;
        nearest = after;
        const unsigned key = ordered(after);
        if (key > farthest.key) farthest = {key, unsigned(index)};
      }
      pick = best_of_block(farthest, slots, turn++).index;
    }
    __syncthreads();  // before the next cloud uses the slots
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_fps_cuda(const struct og_reid_fps* task,
                                            const struct og_reid_queue* queue) {
  if (task->batch < 0 || task->count < 1 || task->count > INT32_MAX - kThreads || task->picks < 0)
    return OG_REID_BAD_SIZE;
  if (task->batch == 0) return OG_REID_OK;
  const dim3 clouds(blocks_for(task->batch, 1));
  if (task->count <= 2 * kThreads) return launch(*queue, clouds, kThreads, sample_kernel<2>, *task);
  if (task->count <= 8 * kThreads) return launch(*queue, clouds, kThreads, sample_kernel<8>, *task);
  if (task->count <= 16 * kThreads)
    return launch(*queue, clouds, kThreads, sample_kernel<16>, *task);
  return launch(*queue, clouds, kThreads, sample_kernel<0>, *task);
}
