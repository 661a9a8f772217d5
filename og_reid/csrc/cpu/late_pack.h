// Images of a late interaction, packed: columns are the cells of a query, one to a lane; rows are
// the cells of a gallery image, in tiles. Cells are sorted by their main body part, those without
// own surface last, so that whole panels and tiles have no weight and are left out.
//
// A unit is 4 bytes of a feature: one float32, two bfloat16 or four int8.
#ifndef OG_REID_CPU_LATE_PACK_H_
#define OG_REID_CPU_LATE_PACK_H_

#include <cmath>

#include "arena.h"
#include "simd.h"

namespace {

using Task = og_reid_late_interaction;
using Images = og_reid_late_images;

constexpr int64_t kPanel = 2 * kLanes;                 // columns of a panel; the last may have half
constexpr int64_t kTile = OG_REID_LANES > 8 ? 12 : 6;  // rows of a tile
constexpr int64_t kBlock = 16;                         // units of a row that lie together

OG_REID_INLINE int64_t round_up(int64_t count, int64_t step) {
  return (count + step - 1) / step * step;
}

struct Packed {
  int64_t cells, padded, units;
  float* features;   // rows (tiles, blocks, kTile, kBlock), columns (panels, units, kPanel)
  float* places;     // (padded) positions
  float* absent;     // (padded) cost of cells without own surface, infinite for padding
  float* weights;    // (parts, padded)
  float* lengths;    // (padded) 1 / length of int8 features, else 1
  int32_t* offsets;  // (padded) 128 * sum of the entries of int8 features, else 0
  int32_t* order;    // (padded) numbers of the cells
  int32_t* main;     // (padded) main part of each cell
  float* stage;      // one row
  int32_t* sound;    // 1: all numbers are finite
  const float* visibility;
};

OG_REID_INLINE int64_t entry_size(int64_t type) {
  return type == OG_REID_FLOAT32 ? 4 : type == OG_REID_BFLOAT16 ? 2 : 1;
}

OG_REID_INLINE int64_t units_of(int64_t channels, int64_t type) {
  return (channels * entry_size(type) + 3) / 4;
}

Packed take_packed(Arena& arena, int64_t cells, int64_t parts, int64_t units) {
  Packed to;
  to.cells = cells;
  to.padded = round_up(round_up(cells, kTile), kPanel);
  to.units = units;
  to.features = arena.take<float>(to.padded * round_up(units, kBlock));
  to.places = arena.take<float>(to.padded);
  to.absent = arena.take<float>(to.padded);
  to.weights = arena.take<float>(to.padded * parts);
  to.lengths = arena.take<float>(to.padded);
  to.offsets = arena.take<int32_t>(to.padded);
  to.order = arena.take<int32_t>(to.padded);
  to.main = arena.take<int32_t>(to.padded);
  to.stage = arena.take<float>(round_up(units, kBlock));
  to.sound = arena.take<int32_t>(1);
  to.visibility = nullptr;
  return to;
}

// 0 * x is NaN where x is not finite.
bool all_finite(const float* values, int64_t count) {
  Vec sum = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sum += load(values + i) * 0.0f;
  float rest = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) rest += sum[lane];
  for (; i < count; ++i) rest += values[i] * 0.0f;
  return rest == 0;
}

void sort_cells(const float* weights, int64_t parts, Packed& to) {
  for (int64_t i = 0; i < to.cells; ++i) {
    int32_t main = int32_t(parts);
    float most = 0;
    for (int64_t k = 0; k < parts; ++k) {
      if (weights[i * parts + k] > most) {
        most = weights[i * parts + k];
        main = int32_t(k);
      }
    }
    to.main[i] = main;
  }
  int64_t place = 0;
  for (int32_t part = 0; part <= int32_t(parts); ++part) {
    for (int64_t i = 0; i < to.cells; ++i) {
      if (to.main[i] == part) to.order[place++] = int32_t(i);
    }
  }
}

void pack_cells(const float* weights, const float* places, int64_t parts, float background,
                Packed& to) {
  for (int64_t i = 0; i < to.padded; ++i) {
    const bool there = i < to.cells;
    const int64_t cell = there ? to.order[i] : 0;
    float sum = 0;
    for (int64_t k = 0; k < parts; ++k) {
      const float weight = there ? weights[cell * parts + k] : 0.0f;
      to.weights[k * to.padded + i] = weight;
      sum += weight;
    }
    to.places[i] = there ? places[cell] : 0.0f;
    to.absent[i] = there ? background * (1.0f - (sum < 1.0f ? sum : 1.0f)) : INFINITY;
  }
}

OG_REID_INLINE void widen_row(const uint16_t* values, int64_t channels, float* to) {
  for (int64_t c = 0; c < channels; ++c) {
    const uint32_t wide = uint32_t(values[c]) << 16;
    std::memcpy(to + c, &wide, 4);
  }
}

OG_REID_INLINE bool all_finite(const uint16_t* values, int64_t count) {
  uint32_t broken = 0;
  for (int64_t c = 0; c < count; ++c) broken |= (values[c] & 0x7f80) == 0x7f80;
  return !broken;
}

// Address of the units of one cell; float32 from any type if `widen`. Behind the last channel of
// `stage` are zeros.
const void* units_of_cell(const Images& from, int64_t channels, int64_t row, bool widen, Packed& to,
                          int64_t i, bool& sound) {
  const char* const values =
      static_cast<const char*>(from.features) + row * channels * entry_size(from.type);
  to.lengths[i] = 1;
  to.offsets[i] = 0;
  if (from.type == OG_REID_FLOAT32) {
    sound &= all_finite(reinterpret_cast<const float*>(values), channels);
    return values;
  }
  if (from.type == OG_REID_BFLOAT16) {
    const uint16_t* entries = reinterpret_cast<const uint16_t*>(values);
    sound &= all_finite(entries, channels);
    if (!widen) return values;
    widen_row(entries, channels, to.stage);
    return to.stage;
  }
  const int8_t* entries = reinterpret_cast<const int8_t*>(values);
  int32_t squares = 0, sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    squares += int32_t(entries[c]) * entries[c];
    sum += entries[c];
  }
  const float length = squares ? 1.0f / std::sqrt(float(squares)) : 0.0f;
  if (widen) {
    for (int64_t c = 0; c < channels; ++c) to.stage[c] = float(entries[c]) * length;
    return to.stage;
  }
  to.lengths[i] = length;
  to.offsets[i] = 128 * sum;
  return values;
}

// Packs one image; `widen`: features of any type become float32.
void pack_image(const Task& task, const Images& from, int64_t image, bool columns, bool widen,
                Packed& to) {
  const int64_t cells = to.cells, first = image * cells, parts = task.parts;
  const float* weights = from.weights + first * parts;
  const float* places = from.positions + first;
  to.visibility = from.visibility + image * parts;
  sort_cells(weights, parts, to);
  pack_cells(weights, places, parts, task.background, to);
  bool sound = all_finite(weights, cells * parts) && all_finite(places, cells) &&
               all_finite(to.visibility, parts);
  const int64_t blocks = round_up(to.units, kBlock) / kBlock;
  const int64_t used = columns ? round_up(cells, kLanes) : round_up(cells, kTile);
  const int64_t bytes = task.channels * (widen ? 4 : entry_size(from.type));
  const bool whole = !columns && bytes == blocks * kBlock * 4;
  std::memset(to.stage, 0, blocks * kBlock * 4);
  for (int64_t i = 0; i < used; ++i) {
    const float* units = to.stage;
    if (i < cells) {
      const int64_t row = first + to.order[i];
      const void* at = units_of_cell(from, task.channels, row, widen, to, i, sound);
      if (whole) {
        units = static_cast<const float*>(at);
      } else if (at != to.stage) {
        std::memcpy(to.stage, at, bytes);
      }
    } else {
      std::memset(to.stage, 0, bytes);
      to.lengths[i] = 0;
      to.offsets[i] = 0;
    }
    if (columns) {
      const int64_t panel = i / kPanel * kPanel;
      const int64_t width = used - panel < kPanel ? kLanes : kPanel;
      float* into = to.features + panel * to.units + (i - panel);
      for (int64_t u = 0; u < to.units; ++u) into[u * width] = units[u];
    } else {
      float* into = to.features + (i / kTile * blocks * kTile + i % kTile) * kBlock;
      for (int64_t b = 0; b < blocks; ++b) {
        std::memcpy(into + b * kTile * kBlock, units + b * kBlock, kBlock * 4);
      }
    }
  }
  *to.sound = sound;
}

}  // namespace

#endif  // OG_REID_CPU_LATE_PACK_H_
