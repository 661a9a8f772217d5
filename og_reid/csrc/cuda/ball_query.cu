// The first points within balls around centres, or their number, on a GPU.
//
// A warp per centre reads the points in order, 32 at a time; lane s keeps the state of scale s.
#include <cfloat>

#include "device.h"

namespace {

constexpr int kThreads = 256;
static_assert(OG_REID_MOST_SCALES <= kWarp, "a lane keeps at most one scale");

struct Balls {
  og_reid_clouds points, centers;
  int64_t all_points, all_centers;
  int scales;
  float squared_radii[OG_REID_MOST_SCALES];
  int64_t counts[OG_REID_MOST_SCALES];
  int64_t* out[OG_REID_MOST_SCALES];
};

template <bool kCount>
__global__ void __launch_bounds__(kThreads) ball_kernel(Balls balls) {
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t warps = kThreads / kWarp;
  for (int64_t center = blockIdx.x * warps + threadIdx.x / kWarp; center < balls.all_centers;
       center += gridDim.x * warps) {
    const int64_t cloud = cloud_of(balls.centers.ptr, balls.centers.clouds, center);
    const Range theirs = rows_of(balls.points.ptr, cloud, balls.all_points);
    const float* at = balls.centers.rows + 3 * center;
    const bool mine = lane < balls.scales;
    const int64_t wanted = mine ? balls.counts[mine ? lane : 0] : 0;
    int64_t found = 0, first = 0;
    for (int64_t start = theirs.begin; start < theirs.end; start += kWarp) {
      float distance = FLT_MAX;
      const bool inside = start + lane < theirs.end;
      if (inside) {
        const float* point = balls.points.rows + 3 * (start + lane);
        distance = 0.0f;
        for (int axis = 0; axis < 3; ++axis) distance = add_square(distance, at[axis], point[axis]);
      }
      for (int s = 0; s < balls.scales; ++s) {
        const bool hit = inside && distance < balls.squared_radii[s];
        const unsigned hits = __ballot_sync(kAll, hit);
        if (!kCount) {
          const int64_t place =
              int64_t(__shfl_sync(kAll, (long long)found, s)) + __popc(hits & ((1u << lane) - 1u));
          if (hit && place < balls.counts[s])
            balls.out[s][center * balls.counts[s] + place] = start + lane - theirs.begin;
        }
        if (lane == s && hits) {
          if (found == 0) first = start - theirs.begin + __ffs(int(hits)) - 1;
          found += __popc(hits);
        }
      }
      if (!kCount && !__ballot_sync(kAll, mine && found < wanted)) break;
    }
    if constexpr (kCount) {
      if (mine) balls.out[0][center * balls.scales + lane] = found;
    } else {
      // Padding: the first point, or point 0.
      for (int s = 0; s < balls.scales; ++s) {
        const int64_t kept = __shfl_sync(kAll, (long long)found, s);
        const int64_t filler = __shfl_sync(kAll, (long long)first, s);
        for (int64_t slot = kept + lane; slot < balls.counts[s]; slot += kWarp)
          balls.out[s][center * balls.counts[s] + slot] = filler;
      }
    }
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_ball_query_cuda(const struct og_reid_ball_query* task,
                                                   int64_t points, int64_t centers,
                                                   const struct og_reid_queue* queue) {
  if (task->points.dims != 3 || task->centers.dims != 3 || task->scales < 1 ||
      task->scales > OG_REID_MOST_SCALES || task->points.clouds != task->centers.clouds ||
      points < 0 || centers < 0 || task->mode == OG_REID_NEAREST)
    return OG_REID_BAD_SIZE;
  if (centers == 0 || task->centers.clouds == 0) return OG_REID_OK;
  const bool count = task->mode == OG_REID_COUNT;
  Balls balls = {task->points, task->centers, points, centers, int(task->scales), {}, {}, {}};
  for (int s = 0; s < balls.scales; ++s) {
    balls.squared_radii[s] = task->squared_radii[s];
    balls.counts[s] = count ? 0 : task->counts[s];
    balls.out[s] = count && s ? nullptr : task->out[s];
  }
  const dim3 blocks(blocks_for(centers, kThreads / kWarp));
  return launch(*queue, blocks, kThreads, count ? ball_kernel<true> : ball_kernel<false>, balls);
}
