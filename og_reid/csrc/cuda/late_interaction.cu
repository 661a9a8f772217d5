// Late interaction on a GPU: one block for a pair of images. A tile of scores is in shared memory;
// of all scores only the maxima along both axes are kept.
#include "late.h"

namespace {

constexpr int kTile = 32;      // cells of either image in a tile of scores
constexpr int kChannels = 32;  // read at once
constexpr int kSquare = 16;    // threads along each axis of a tile; each has 2 x 2 scores

struct Tile {
  float query[kTile][kChannels + 1], gallery[kTile][kChannels + 1];
  float scores[kTile][kTile + 1];
};

struct Maxima {
  float shown[kMostCells], best[kMostCells], absent[kMostCells];
  int32_t from[kMostCells];
};

__device__ void read_tile(const LateImage& image, int64_t first, int64_t channel, int64_t channels,
                          float (*to)[kChannels + 1]) {
  for (int e = threadIdx.x; e < kTile * kChannels; e += kLateThreads) {
    const int row = e / kChannels, c = e % kChannels;
    const bool there = first + row < image.cells && channel + c < channels;
    to[row][c] = there ? image.features[(first + row) * channels + channel + c] : 0.0f;
  }
}

// Scores of 32 cells of the query from i on and 32 of the gallery image from j on.
__device__ void score_tile(const LateImage& query, const LateImage& gallery, int64_t i, int64_t j,
                           int64_t channels, float penalty, Tile& tile) {
  const int x = threadIdx.x % kSquare, y = threadIdx.x / kSquare;
  float sums[2][2] = {};
  for (int64_t channel = 0; channel < channels; channel += kChannels) {
    __syncthreads();
    read_tile(query, i, channel, channels, tile.query);
    read_tile(gallery, j, channel, channels, tile.gallery);
    __syncthreads();
    for (int c = 0; c < kChannels; ++c) {
      for (int r = 0; r < 2; ++r) {
        for (int s = 0; s < 2; ++s) {
          sums[r][s] += tile.query[y + r * kSquare][c] * tile.gallery[x + s * kSquare][c];
        }
      }
    }
  }
  for (int r = 0; r < 2; ++r) {
    for (int s = 0; s < 2; ++s) {
      const int row = y + r * kSquare, column = x + s * kSquare;
      if (i + row < query.cells && j + column < gallery.cells) {
        const float apart = fabsf(query.places[i + row] - gallery.places[j + column]);
        tile.scores[row][column] = sums[r][s] - penalty * apart;
      }
    }
  }
  __syncthreads();
}

// Maxima of the rows of a tile by the first warp, of its columns by the second; first on ties.
__device__ void keep_best(const Tile& tile, int64_t i, int64_t j, int64_t rows, int64_t columns,
                          Maxima& query, Maxima& gallery) {
  const int t = threadIdx.x % kTile;
  if (threadIdx.x < kTile && i + t < rows) {
    for (int s = 0; s < kTile && j + s < columns; ++s) {
      const float score = tile.scores[t][s] - gallery.absent[j + s];
      if (score > query.best[i + t]) {
        query.best[i + t] = score;
        query.from[i + t] = int32_t(j + s);
      }
    }
  } else if (threadIdx.x >= kTile && threadIdx.x < 2 * kTile && j + t < columns) {
    for (int r = 0; r < kTile && i + r < rows; ++r) {
      const float score = tile.scores[r][t] - query.absent[i + r];
      if (score > gallery.best[j + t]) {
        gallery.best[j + t] = score;
        gallery.from[j + t] = int32_t(i + r);
      }
    }
  }
}

__device__ void start_maxima(const LateImage& image, int64_t parts, float background, Maxima& to) {
  for (int64_t i = threadIdx.x; i < image.cells; i += kLateThreads) {
    to.absent[i] = background * (1.0f - fminf(1.0f, surface(image, i, parts)));
    to.best[i] = -INFINITY;
    to.from[i] = 0;
  }
}

// Weighted sum of maxima; their places go to `indices`, if wanted.
__device__ float weighted_sum(const Maxima& maxima, int64_t cells, int64_t every, int32_t* indices,
                              float* buffer) {
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < cells; i += kLateThreads) {
    const bool known = every || maxima.shown[i] != 0.0f;
    if (maxima.shown[i] != 0.0f) sum += maxima.shown[i] * maxima.best[i];
    if (indices) indices[i] = known ? maxima.from[i] : -1;
  }
  return block_sum(sum, buffer);
}

__global__ void __launch_bounds__(kLateThreads)
    late_kernel(og_reid_late_interaction task, const uint8_t* query_sound,
                const uint8_t* gallery_sound) {
  __shared__ Tile tile;
  __shared__ Maxima query_maxima, gallery_maxima;
  __shared__ float buffer[kLateThreads];
  const int64_t items = task.gallery.images, pairs = task.query.images * items;
  for (int64_t pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
    const int64_t q = pair / items, g = pair % items;
    const LateImage query = late_image(task.query, task.channels, task.parts, q);
    const LateImage gallery = late_image(task.gallery, task.channels, task.parts, g);
    int32_t* const forward = task.forward ? task.forward + pair * query.cells : nullptr;
    int32_t* const backward = task.backward ? task.backward + pair * gallery.cells : nullptr;
    const float mass =
        shown_cells(query, gallery.visibility, task.parts, query_maxima.shown, buffer);
    const float other =
        shown_cells(gallery, query.visibility, task.parts, gallery_maxima.shown, buffer);
    const bool sound = query_sound[q] && gallery_sound[g];
    if (!sound || mass == 0.0f || (task.symmetric && other == 0.0f)) {
      if (threadIdx.x == 0) {
        task.similarity[pair] = sound ? -1.0f - task.penalty - task.background : NAN;
        task.shared[pair] = sound ? 0.0f : NAN;
      }
      for (int64_t i = threadIdx.x; forward && i < query.cells; i += kLateThreads) forward[i] = -1;
      for (int64_t j = threadIdx.x; backward && j < gallery.cells; j += kLateThreads)
        backward[j] = -1;
      continue;
    }
    start_maxima(query, task.parts, task.background, query_maxima);
    start_maxima(gallery, task.parts, task.background, gallery_maxima);
    for (int64_t i = 0; i < query.cells; i += kTile) {
      for (int64_t j = 0; j < gallery.cells; j += kTile) {
        score_tile(query, gallery, i, j, task.channels, task.penalty, tile);
        keep_best(tile, i, j, query.cells, gallery.cells, query_maxima, gallery_maxima);
      }
    }
    __syncthreads();
    float similarity =
        weighted_sum(query_maxima, query.cells, task.every, forward, buffer) / (mass + 1e-6f);
    float shared = mass / float(query.cells);
    if (task.symmetric) {
      const float back = weighted_sum(gallery_maxima, gallery.cells, task.every, backward, buffer);
      similarity = (similarity + back / (other + 1e-6f)) / 2.0f;
      shared = fminf(shared, other / float(gallery.cells));
    }
    if (threadIdx.x == 0) {
      task.similarity[pair] = similarity;
      task.shared[pair] = shared;
    }
  }
}

}  // namespace

extern "C" OG_REID_API int og_reid_late_interaction_cuda(
    const struct og_reid_late_interaction* task, const uint8_t* query_sound,
    const uint8_t* gallery_sound, const struct og_reid_queue* queue) {
  if (!late_fits(task->query, task->gallery, task->channels, task->parts)) return OG_REID_BAD_SIZE;
  const int64_t pairs = task->query.images * task->gallery.images;
  if (pairs == 0) return OG_REID_OK;
  return launch(*queue, dim3(blocks_for(pairs, 1)), dim3(kLateThreads), late_kernel, *task,
                query_sound, gallery_sound);
}
