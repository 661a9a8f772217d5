// Gradient of the late interaction on a GPU: one block for an image, which meets the images of the
// other side in order; a thread has the same channels throughout, so sums repeat bit for bit.
#include "late.h"

namespace {

// Gradients of one image; null where unwanted.
struct Gradient {
  float *features, *weights, *visibility, *places;
};

// One direction of a pair: cells of `from` and their best cells in `into`, or -1.
struct Search {
  LateImage from, into;
  const int32_t* best;
  const float* shown;
  float mass;
  float grad;   // of the weighted mean
  float share;  // of the mass, from that of the shared fraction
};

struct Shared {
  float query[kMostCells], gallery[kMostCells], rest[kMostCells], buffer[kLateThreads];
};

__device__ inline int64_t best_cell(const Search& search, int64_t i) {
  const int64_t j = search.best[i];
  return j >= 0 && j < search.into.cells ? j : -1;
}

__device__ inline float sign(float value) {
  return value > 0.0f ? 1.0f : value < 0.0f ? -1.0f : 0.0f;
}

__device__ inline float is_smaller(float first, float second) {
  return first < second ? 1.0f : first == second ? 0.5f : 0.0f;
}

// Gradient of the cells' weights: (b - mean) / mass, and the share of the mass.
__device__ void weight_grads(const og_reid_late_grad& task, const Search& search, float* grads,
                             float* buffer) {
  const LateImage &from = search.from, &into = search.into;
  float total = 0.0f;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < from.cells; i += kLateThreads) {
    const int64_t j = best_cell(search, i);
    if (j < 0) continue;
    float score = -task.penalty * fabsf(from.places[i] - into.places[j]);
    score -= task.background * (1.0f - fminf(1.0f, surface(into, j, task.parts)));
    for (int64_t c = 0; c < task.channels; ++c) {
      score += from.features[i * task.channels + c] * into.features[j * task.channels + c];
    }
    grads[i] = score;
    total += search.shown[i] * score;
  }
  const float mean = block_sum(total, buffer) / (search.mass + 1e-6f);
  for (int64_t i = threadIdx.x; i < from.cells; i += kLateThreads) {
    grads[i] = best_cell(search, i) < 0
                   ? 0.0f
                   : search.grad * (grads[i] - mean) / (search.mass + 1e-6f) + search.share;
  }
  __syncthreads();
}

// Towards the cells that search.
__device__ void searching(const og_reid_late_grad& task, const Search& search, const Gradient& to,
                          Shared& shared) {
  const LateImage &from = search.from, &into = search.into;
  const float scale = search.grad / (search.mass + 1e-6f);
  for (int64_t i = 0; i < from.cells; ++i) {
    const int64_t j = best_cell(search, i);
    if (j < 0 || search.shown[i] == 0.0f) continue;
    const float by = scale * search.shown[i];
    for (int64_t c = threadIdx.x; to.features && c < task.channels; c += kLateThreads) {
      to.features[i * task.channels + c] += by * into.features[j * task.channels + c];
    }
    if (to.places && threadIdx.x == 0) {
      to.places[i] -= by * task.penalty * sign(from.places[i] - into.places[j]);
    }
  }
  if (!to.weights) return;
  weight_grads(task, search, shared.rest, shared.buffer);
  for (int64_t k = threadIdx.x; k < task.parts; k += kLateThreads) {
    for (int64_t i = 0; i < from.cells; ++i) {
      to.weights[i * task.parts + k] += shared.rest[i] * into.visibility[k];
    }
  }
}

// Towards the image that is searched.
__device__ void searched(const og_reid_late_grad& task, const Search& search, const Gradient& to,
                         Shared& shared) {
  const LateImage &from = search.from, &into = search.into;
  const float scale = search.grad / (search.mass + 1e-6f);
  for (int64_t i = 0; i < from.cells; ++i) {
    const int64_t j = best_cell(search, i);
    if (j < 0 || search.shown[i] == 0.0f) continue;
    const float by = scale * search.shown[i];
    for (int64_t c = threadIdx.x; to.features && c < task.channels; c += kLateThreads) {
      to.features[j * task.channels + c] += by * from.features[i * task.channels + c];
    }
    if (to.places && threadIdx.x == 0) {
      to.places[j] += by * task.penalty * sign(from.places[i] - into.places[j]);
    }
    if (to.weights && surface(into, j, task.parts) <= 1.0f) {
      for (int64_t k = threadIdx.x; k < task.parts; k += kLateThreads) {
        to.weights[j * task.parts + k] += by * task.background;
      }
    }
  }
  if (!to.visibility) return;
  weight_grads(task, search, shared.rest, shared.buffer);
  for (int64_t k = threadIdx.x; k < task.parts; k += kLateThreads) {
    for (int64_t i = 0; i < from.cells; ++i) {
      to.visibility[k] += shared.rest[i] * from.weights[i * task.parts + k];
    }
  }
}

__device__ void one_pair(const og_reid_late_grad& task, int64_t q, int64_t g, const Gradient& to,
                         Shared& shared) {
  const LateImage query = late_image(task.query, task.channels, task.parts, q);
  const LateImage gallery = late_image(task.gallery, task.channels, task.parts, g);
  const int64_t pair = q * task.gallery.images + g;
  const float mass =
      shown_cells(query, gallery.visibility, task.parts, shared.query, shared.buffer);
  const float other =
      shown_cells(gallery, query.visibility, task.parts, shared.gallery, shared.buffer);
  const float grad = (task.symmetric ? 0.5f : 1.0f) * task.grad_similarity[pair];
  Search there = {query, gallery, task.forward + pair * query.cells,          shared.query,
                  mass,  grad,    task.grad_shared[pair] / float(query.cells)};
  float known = 0.0f;
  for (int64_t i = threadIdx.x; i < query.cells; i += kLateThreads) {
    if (best_cell(there, i) >= 0) known = 1.0f;
  }
  if (block_sum(known, shared.buffer) == 0.0f) return;
  Search back = {gallery, query, task.backward + pair * gallery.cells, shared.gallery, other,
                 grad,    0.0f};
  if (task.symmetric) {
    const float part = mass / float(query.cells), rest = other / float(gallery.cells);
    back.share = is_smaller(rest, part) * task.grad_shared[pair] / float(gallery.cells);
    there.share *= is_smaller(part, rest);
  }
  if (task.of_gallery) {
    searched(task, there, to, shared);
    if (task.symmetric) searching(task, back, to, shared);
  } else {
    searching(task, there, to, shared);
    if (task.symmetric) searched(task, back, to, shared);
  }
}

__device__ inline float* offset(float* base, int64_t by) { return base ? base + by : nullptr; }

__global__ void __launch_bounds__(kLateThreads) late_grad_kernel(og_reid_late_grad task) {
  __shared__ Shared shared;
  const og_reid_late_images& own = task.of_gallery ? task.gallery : task.query;
  const og_reid_late_images& other = task.of_gallery ? task.query : task.gallery;
  for (int64_t a = blockIdx.x; a < own.images; a += gridDim.x) {
    const int64_t cell = a * own.cells;
    const Gradient to = {offset(task.features, cell * task.channels),
                         offset(task.weights, cell * task.parts),
                         offset(task.visibility, a * task.parts), offset(task.positions, cell)};
    for (int64_t b = 0; b < other.images; ++b) {
      one_pair(task, task.of_gallery ? b : a, task.of_gallery ? a : b, to, shared);
    }
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_late_grad_cuda(const struct og_reid_late_grad* task,
                                                  const struct og_reid_queue* queue) {
  if (!late_fits(task->query, task->gallery, task->channels, task->parts)) return OG_REID_BAD_SIZE;
  const int64_t images = task->of_gallery ? task->gallery.images : task->query.images;
  if (images == 0) return OG_REID_OK;
  return launch(*queue, dim3(blocks_for(images, 1)), dim3(kLateThreads), late_grad_kernel, *task);
}
