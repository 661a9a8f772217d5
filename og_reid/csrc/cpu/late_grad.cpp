// Gradient of the late interaction towards the images of one side, from the cells that were best.
//
// Every image of that side has one thread and meets the other side's images in order, so sums do
// not depend on the number of threads.
#include <cmath>

#include "simd.h"

namespace {

using Task = og_reid_late_grad;
using Images = og_reid_late_images;

constexpr float kEpsilon = 1e-6f;

// One image of a side.
struct Image {
  int64_t cells;
  const float *features, *weights, *visibility, *places;
};

// Gradients of one image; null where unwanted.
struct Gradient {
  float *features, *weights, *visibility, *places;
};

Image image_of(const Images& from, const Task& task, int64_t number) {
  const int64_t cell = number * from.cells;
  return {from.cells, static_cast<const float*>(from.features) + cell * task.channels,
          from.weights + cell * task.parts, from.visibility + number * task.parts,
          from.positions + cell};
}

OG_REID_INLINE float* offset(float* base, int64_t by) {
  return base == nullptr ? nullptr : base + by;
}

OG_REID_INLINE void add_scaled(float* to, const float* from, float by, int64_t count) {
  const Vec factor = spread(by);
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) store(to + c, load(to + c) + factor * load(from + c));
  for (; c < count; ++c) to[c] += by * from[c];
}

OG_REID_INLINE float dot(const float* a, const float* b, int64_t count) {
  Vec sum = {};
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) sum += load(a + c) * load(b + c);
  float total = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; c < count; ++c) total += a[c] * b[c];
  return total;
}

// Whether `best` is a cell of the image; -1 is none.
OG_REID_INLINE bool cell_of(const Image& image, int32_t best) {
  return best >= 0 && best < image.cells;
}

OG_REID_INLINE float sign(float value) { return value > 0 ? 1.0f : value < 0 ? -1.0f : 0.0f; }

// Weights of cells by the parts that the other image shows, and their sum.
float shown_cells(const Image& image, const float* visibility, int64_t parts, float* shown) {
  float mass = 0;
  for (int64_t i = 0; i < image.cells; ++i) {
    float sum = 0;
    for (int64_t k = 0; k < parts; ++k) sum += image.weights[i * parts + k] * visibility[k];
    shown[i] = sum;
    mass += sum;
  }
  return mass;
}

float surface(const Image& image, int64_t cell, int64_t parts) {
  float sum = 0;
  for (int64_t k = 0; k < parts; ++k) sum += image.weights[cell * parts + k];
  return sum;
}

// One direction of a pair: cells of `from` and their best cells in `into`, or -1.
struct Search {
  const Image *from, *into;
  const int32_t* best;
  const float* shown;
  float mass;
  float grad;   // of the weighted mean
  float share;  // of the mass, from that of the shared fraction
};

// Gradient of the cells' weights u: (b - mean) / mass, and the share of the mass.
void weight_grads(const Task& task, const Search& search, float* grads) {
  const Image &from = *search.from, &into = *search.into;
  double total = 0;
  for (int64_t i = 0; i < from.cells; ++i) {
    const int32_t j = search.best[i];
    if (!cell_of(into, j)) continue;
    const float apart = std::fabs(from.places[i] - into.places[j]);
    const float there = std::fmin(1.0f, surface(into, j, task.parts));
    const float product =
        dot(from.features + i * task.channels, into.features + j * task.channels, task.channels);
    grads[i] = product - task.penalty * apart - task.background * (1 - there);
    total += double(search.shown[i]) * grads[i];
  }
  const float mean = float(total / (search.mass + kEpsilon));
  for (int64_t i = 0; i < from.cells; ++i) {
    grads[i] = !cell_of(into, search.best[i])
                   ? 0.0f
                   : search.grad * (grads[i] - mean) / (search.mass + kEpsilon) + search.share;
  }
}

// Towards the cells that search.
void searching(const Task& task, const Search& search, const Gradient& to, float* scratch) {
  const Image &from = *search.from, &into = *search.into;
  const float scale = search.grad / (search.mass + kEpsilon);
  for (int64_t i = 0; i < from.cells; ++i) {
    const int32_t j = search.best[i];
    if (!cell_of(into, j) || search.shown[i] == 0) continue;
    const float by = scale * search.shown[i];
    if (to.features != nullptr) {
      add_scaled(to.features + i * task.channels, into.features + j * task.channels, by,
                 task.channels);
    }
    if (to.places != nullptr) {
      to.places[i] -= by * task.penalty * sign(from.places[i] - into.places[j]);
    }
  }
  if (to.weights == nullptr) return;
  weight_grads(task, search, scratch);
  for (int64_t i = 0; i < from.cells; ++i) {
    add_scaled(to.weights + i * task.parts, into.visibility, scratch[i], task.parts);
  }
}

// Towards the image that is searched.
void searched(const Task& task, const Search& search, const Gradient& to, float* scratch) {
  const Image &from = *search.from, &into = *search.into;
  const float scale = search.grad / (search.mass + kEpsilon);
  for (int64_t i = 0; i < from.cells; ++i) {
    const int32_t j = search.best[i];
    if (!cell_of(into, j) || search.shown[i] == 0) continue;
    const float by = scale * search.shown[i];
    if (to.features != nullptr) {
      add_scaled(to.features + j * task.channels, from.features + i * task.channels, by,
                 task.channels);
    }
    if (to.places != nullptr) {
      to.places[j] += by * task.penalty * sign(from.places[i] - into.places[j]);
    }
    if (to.weights != nullptr && surface(into, j, task.parts) <= 1) {
      for (int64_t k = 0; k < task.parts; ++k) {
        to.weights[j * task.parts + k] += by * task.background;
      }
    }
  }
  if (to.visibility == nullptr) return;
  weight_grads(task, search, scratch);
  for (int64_t i = 0; i < from.cells; ++i) {
    add_scaled(to.visibility, from.weights + i * task.parts, scratch[i], task.parts);
  }
}

// Derivative of the smaller of two numbers towards the first.
OG_REID_INLINE float is_smaller(float first, float second) {
  return first < second ? 1.0f : first == second ? 0.5f : 0.0f;
}

void one_pair(const Task& task, const Image& query, const Image& gallery, int64_t pair,
              const Gradient& to, float* scratch) {
  float* const query_shown = scratch;
  float* const gallery_shown = scratch + query.cells;
  float* const rest = gallery_shown + gallery.cells;
  const float half = task.symmetric ? 0.5f : 1.0f;
  Search there = {&query, &gallery, task.forward + pair * query.cells, query_shown, 0, 0, 0};
  bool found = false;
  for (int64_t i = 0; i < query.cells && !found; ++i) found = there.best[i] >= 0;
  if (!found) return;
  there.mass = shown_cells(query, gallery.visibility, task.parts, query_shown);
  there.grad = half * task.grad_similarity[pair];
  there.share = task.grad_shared[pair] / float(query.cells);
  Search back = {&gallery, &query, task.backward + pair * gallery.cells, gallery_shown, 0, 0, 0};
  if (task.symmetric) {
    back.mass = shown_cells(gallery, query.visibility, task.parts, gallery_shown);
    back.grad = there.grad;
    const float part = there.mass / float(query.cells), other = back.mass / float(gallery.cells);
    back.share = is_smaller(other, part) * task.grad_shared[pair] / float(gallery.cells);
    there.share *= is_smaller(part, other);
  }
  if (task.of_gallery) {
    searched(task, there, to, rest);
    if (task.symmetric) searching(task, back, to, rest);
  } else {
    searching(task, there, to, rest);
    if (task.symmetric) searched(task, back, to, rest);
  }
}

}  // namespace

extern "C" int OG_REID_AT_LEVEL(og_reid_late_grad_cpu)(const Task* given) {
  const Task& task = *given;
  const Images& own = task.of_gallery ? task.gallery : task.query;
  const Images& other = task.of_gallery ? task.query : task.gallery;
  if (own.images < 0 || other.images < 0 || own.cells < 1 || other.cells < 1 || task.channels < 1 ||
      task.parts < 1 || task.threads < 1 || own.type != OG_REID_FLOAT32 ||
      other.type != OG_REID_FLOAT32)
    return OG_REID_BAD_SIZE;
  const int64_t room = 2 * (own.cells + other.cells);
#pragma omp parallel for num_threads(task.threads) schedule(static) if (task.threads > 1)
  for (int64_t thread = 0; thread < task.threads; ++thread) {
    float* const scratch = task.scratch + thread * room;
    for (int64_t a = thread; a < own.images; a += task.threads) {
      const int64_t cell = a * own.cells;
      const Gradient to = {offset(task.features, cell * task.channels),
                           offset(task.weights, cell * task.parts),
                           offset(task.visibility, a * task.parts), offset(task.positions, cell)};
      const Image image = image_of(own, task, a);
      for (int64_t b = 0; b < other.images; ++b) {
        const Image partner = image_of(other, task, b);
        if (task.of_gallery) {
          one_pair(task, partner, image, b * own.images + a, to, scratch);
        } else {
          one_pair(task, image, partner, a * other.images + b, to, scratch);
        }
      }
    }
  }
  return OG_REID_OK;
}
