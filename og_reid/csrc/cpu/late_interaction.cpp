// Late interaction: the best cell of one image for each cell of another, weighted.
//
// The cells of a query are lanes, so a gallery image is read as it comes. Scores of a tile of rows
// times a panel of columns stay in registers: their maxima along both axes are all that is kept.
#include "late_pack.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#define OG_REID_DOTS 1
#else
#define OG_REID_DOTS 0
#endif

namespace {

OG_REID_INLINE Vec magnitude(Vec value) {
  VecInt bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= 0x7fffffff;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Products of units, by type of features.
struct FloatDot {
  typedef Vec Sum;
  OG_REID_INLINE void step(Sum& sum, const float* row, Vec column) { sum += spread(*row) * column; }
  OG_REID_INLINE Vec value(Sum sum, const Packed&, int64_t, const float*) { return sum; }
};

#if OG_REID_DOTS
struct BfloatDot {
  typedef Vec Sum;
  OG_REID_INLINE void step(Sum& sum, const float* row, Vec column) {
    const __m512bh a = (__m512bh)(_mm512_set1_ps(*row)), b = (__m512bh)(__m512(column));
    sum = Vec(_mm512_dpbf16_ps(__m512(sum), b, a));
  }
  OG_REID_INLINE Vec value(Sum sum, const Packed&, int64_t, const float*) { return sum; }
};

// Columns hold entries + 128 without a sign: what that adds is taken off again.
struct ByteDot {
  typedef VecInt Sum;
  OG_REID_INLINE void step(Sum& sum, const float* row, Vec column) {
    int32_t bytes;
    std::memcpy(&bytes, row, 4);
    const __m512i b = _mm512_castps_si512(__m512(column));
    sum = VecInt(_mm512_dpbusd_epi32(__m512i(sum), b, _mm512_set1_epi32(bytes)));
  }
  OG_REID_INLINE Vec value(Sum sum, const Packed& rows, int64_t j, const float* lengths) {
    const VecInt whole = sum - spread(rows.offsets[j]);
    const Vec dot = Vec(_mm512_cvtepi32_ps(__m512i(whole)));
    return dot * spread(rows.lengths[j]) * load(lengths);
  }
};
#endif

// Maxima of one pair, and where they are if wanted.
struct Best {
  float* columns;        // (padded columns)
  float* rows;           // (padded rows, kLanes)
  int32_t* column_from;  // (padded columns) rows of the maxima, or null
  int32_t* row_from;     // (padded rows, kLanes) columns of the maxima, or null
};

struct Rules {
  float penalty;
  bool forward, backward;  // which maxima this block needs
};

template <typename Dot, int kHalves, bool kIndex>
void block(const Packed& columns, const Packed& rows, int64_t i, int64_t j, const Rules rules,
           const Best& best) {
  typename Dot::Sum sums[kTile][kHalves] = {};
  const int64_t units = columns.units;
  const float* column = columns.features + i * units;
  const float* row = rows.features + j * round_up(units, kBlock);
  for (int64_t first = 0; first < units; first += kBlock, row += kTile * kBlock) {
    const int64_t count = units - first < kBlock ? units - first : kBlock;
    for (int64_t u = 0; u < count; ++u, column += kHalves * kLanes) {
      Vec in[kHalves];
      for (int h = 0; h < kHalves; ++h) in[h] = load(column + h * kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < kTile; ++r) {
        for (int h = 0; h < kHalves; ++h) Dot::step(sums[r][h], row + r * kBlock + u, in[h]);
      }
    }
  }
  Vec highest[kHalves], places[kHalves], absent[kHalves];
  VecInt from[kHalves];
  for (int h = 0; h < kHalves; ++h) {
    highest[h] = load(best.columns + i + h * kLanes);
    places[h] = load(columns.places + i + h * kLanes);
    absent[h] = load(columns.absent + i + h * kLanes);
    if (kIndex) from[h] = load(best.column_from + i + h * kLanes);
  }
#pragma GCC unroll 12
  for (int r = 0; r < kTile; ++r) {
    const Vec place = spread(rows.places[j + r]), missing = spread(rows.absent[j + r]);
    float* const row_best = best.rows + (j + r) * kLanes;
    for (int h = 0; h < kHalves; ++h) {
      const int64_t at = i + h * kLanes;
      const Vec dot = Dot::value(sums[r][h], rows, j + r, columns.lengths + at);
      const Vec score = dot - rules.penalty * magnitude(places[h] - place);
      if (rules.forward) {
        const Vec there = score - missing;
        if (kIndex) from[h] = there > highest[h] ? spread(int32_t(j + r)) : from[h];
        highest[h] = larger(highest[h], there);
      }
      if (rules.backward) {
        const Vec back = score - absent[h], so_far = load(row_best);
        if (kIndex) {
          int32_t* const into = best.row_from + (j + r) * kLanes;
          store(into, back > so_far ? lanes() + spread(int32_t(at)) : load(into));
        }
        store(row_best, larger(so_far, back));
      }
    }
  }
  for (int h = 0; h < kHalves; ++h) {
    store(best.columns + i + h * kLanes, highest[h]);
    if (kIndex) store(best.column_from + i + h * kLanes, from[h]);
  }
}

// Weights of the cells of an image by the parts that another shows, and their sum.
float shown_cells(const Packed& image, const float* visibility, int64_t parts, float* shown) {
  Vec mass = {};
  for (int64_t i = 0; i < image.padded; i += kLanes) {
    Vec sum = {};
    for (int64_t k = 0; k < parts; ++k) {
      sum += load(image.weights + k * image.padded + i) * spread(visibility[k]);
    }
    store(shown + i, sum);
    mass += sum;
  }
  float total = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) total += mass[lane];
  return total;
}

OG_REID_INLINE bool any(const float* shown, int64_t count) {
  bool found = false;
  for (int64_t i = 0; i < count; ++i) found |= shown[i] != 0;
  return found;
}

// Features of the next gallery image, read ahead while this one is scored.
struct Ahead {
  const char *at, *end;

  void step(int64_t lines) {
    for (; lines > 0 && at < end; --lines, at += 64) __builtin_prefetch(at, 0, 2);
  }
};

struct Scratch {
  Packed rows;
  float *column_shown, *row_shown;
  Best best;
};

Scratch take_scratch(Arena& arena, const Task& task, int64_t units) {
  Scratch to;
  to.rows = take_packed(arena, task.gallery.cells, task.parts, units);
  const int64_t columns = round_up(round_up(task.query.cells, kTile), kPanel);
  const int64_t rows = to.rows.padded;
  to.column_shown = arena.take<float>(columns);
  to.row_shown = arena.take<float>(rows);
  to.best.columns = arena.take<float>(columns);
  to.best.rows = arena.take<float>(rows * kLanes);
  const bool index = task.forward != nullptr;
  to.best.column_from = index ? arena.take<int32_t>(columns) : nullptr;
  to.best.row_from = index ? arena.take<int32_t>(rows * kLanes) : nullptr;
  return to;
}

// Cache lines read ahead for each block of scores.
constexpr int64_t kLinesAhead = 32;

template <typename Dot, bool kIndex>
void all_blocks(const Packed& columns, const Scratch& scratch, const Task& task, Ahead& ahead) {
  const Packed& rows = scratch.rows;
  const int64_t width = round_up(columns.cells, kLanes);
  for (int64_t i = 0; i < width; i += kPanel) {
    const int64_t count = width - i < kPanel ? kLanes : kPanel;
    const bool forward = task.every || any(scratch.column_shown + i, count);
    for (int64_t j = 0; j < rows.cells; j += kTile) {
      const bool backward = task.symmetric && (task.every || any(scratch.row_shown + j, kTile));
      if (!forward && !backward) continue;
      ahead.step(kLinesAhead);
      const Rules rules = {task.penalty, forward, backward};
      if (count == kPanel) {
        block<Dot, 2, kIndex>(columns, rows, i, j, rules, scratch.best);
      } else {
        block<Dot, 1, kIndex>(columns, rows, i, j, rules, scratch.best);
      }
    }
  }
}

// Sum of weight * maximum over the query's cells.
double forward_sum(const Packed& columns, const Scratch& scratch, const Task& task, int64_t pair) {
  double total = 0;
  for (int64_t i = 0; i < columns.cells; ++i) {
    const float weight = scratch.column_shown[i];
    if (weight != 0) total += double(weight) * scratch.best.columns[i];
    if (task.forward != nullptr) {
      const bool known = task.every || weight != 0;
      const int32_t from = known ? scratch.rows.order[scratch.best.column_from[i]] : -1;
      task.forward[pair * columns.cells + columns.order[i]] = from;
    }
  }
  return total;
}

double backward_sum(const Packed& columns, const Scratch& scratch, const Task& task, int64_t pair) {
  const Packed& rows = scratch.rows;
  double total = 0;
  for (int64_t j = 0; j < rows.cells; ++j) {
    const float weight = scratch.row_shown[j];
    const Vec maxima = load(scratch.best.rows + j * kLanes);
    const bool known = task.every || weight != 0;
    const float highest = known ? largest(maxima) : 0.0f;
    total += double(weight) * highest;
    if (task.forward == nullptr) continue;
    int32_t from = -1;
    if (known) {
      const uint32_t there = bits(maxima == spread(highest));  // none where scores overflow
      const int64_t lane = there ? lowest(there) : 0;
      from = columns.order[scratch.best.row_from[j * kLanes + lane]];
    }
    task.backward[pair * rows.cells + rows.order[j]] = from;
  }
  return total;
}

void no_indices(const Task& task, int64_t pair) {
  if (task.forward == nullptr) return;
  const int64_t width = task.query.cells, height = task.gallery.cells;
  for (int64_t i = 0; i < width; ++i) task.forward[pair * width + i] = -1;
  if (!task.symmetric) return;
  for (int64_t j = 0; j < height; ++j) task.backward[pair * height + j] = -1;
}

template <typename Dot>
void one_pair(const Task& task, const Packed& columns, const Scratch& scratch, int64_t pair,
              Ahead& ahead) {
  const Packed& rows = scratch.rows;
  float* const similarity = task.similarity + pair;
  float* const shared = task.shared + pair;
  const float query_mass = shown_cells(columns, rows.visibility, task.parts, scratch.column_shown);
  const float gallery_mass = shown_cells(rows, columns.visibility, task.parts, scratch.row_shown);
  const bool sound = *columns.sound && *rows.sound;
  if (!sound || query_mass == 0 || (task.symmetric && gallery_mass == 0)) {
    *similarity = sound ? -1.0f - task.penalty - task.background : NAN;
    *shared = sound ? 0.0f : NAN;
    no_indices(task, pair);
    return;
  }
  for (int64_t i = 0; i < columns.padded; i += kLanes) {
    store(scratch.best.columns + i, spread(-INFINITY));
    if (task.forward != nullptr) store(scratch.best.column_from + i, VecInt{});
  }
  for (int64_t j = 0; j < rows.padded && task.symmetric; ++j) {
    store(scratch.best.rows + j * kLanes, spread(-INFINITY));
    if (task.forward != nullptr) store(scratch.best.row_from + j * kLanes, VecInt{});
  }
  if (task.forward != nullptr) {
    all_blocks<Dot, true>(columns, scratch, task, ahead);
  } else {
    all_blocks<Dot, false>(columns, scratch, task, ahead);
  }
  const double kept = double(query_mass) + 1e-6;
  *similarity = float(forward_sum(columns, scratch, task, pair) / kept);
  *shared = query_mass / float(columns.cells);
  if (!task.symmetric) return;
  const double back = backward_sum(columns, scratch, task, pair) / (double(gallery_mass) + 1e-6);
  *similarity = float((double(*similarity) + back) / 2);
  const float other = gallery_mass / float(rows.cells);
  *shared = other < *shared ? other : *shared;
}

// The type in which features are multiplied: theirs, if both sides have one that this level takes.
int64_t common_type(const Task& task) {
  const bool same = task.query.type == task.gallery.type && OG_REID_DOTS;
  return same ? task.query.type : int64_t(OG_REID_FLOAT32);
}

// Columns of int8 features have no sign.
void pack_query(const Task& task, int64_t image, int64_t type, Packed& to) {
  pack_image(task, task.query, image, true, type == OG_REID_FLOAT32, to);
  if (type != OG_REID_INT8) return;
  const int64_t entries = round_up(to.cells, kLanes) * to.units;
  for (int64_t e = 0; e < entries; ++e) {
    uint32_t unit;
    std::memcpy(&unit, to.features + e, 4);
    unit ^= 0x80808080u;
    std::memcpy(to.features + e, &unit, 4);
  }
}

// Sizes of the parts of the workspace: packed queries (`queries` at once), scratch of each thread.
struct Plan {
  int64_t type, units, query_bytes, queries, thread_bytes;
};

constexpr int64_t kQueryBytes = 16 << 20;

Plan plan_of(const Task& task) {
  Plan plan;
  plan.type = common_type(task);
  plan.units = units_of(task.channels, plan.type);
  Arena query(nullptr), thread(nullptr);
  take_packed(query, task.query.cells, task.parts, plan.units);
  take_scratch(thread, task, plan.units);
  plan.query_bytes = query.used();
  plan.thread_bytes = thread.used();
  const int64_t most = kQueryBytes / plan.query_bytes;
  plan.queries = most < 1 ? 1 : most < task.query.images ? most : task.query.images;
  return plan;
}

template <typename Dot>
void all_pairs(const Task& task, const Plan& plan) {
  char* const base = static_cast<char*>(task.workspace);
  char* const scratches = base + plan.queries * plan.query_bytes;
  const int64_t items = task.gallery.images;
  for (int64_t start = 0; start < task.query.images; start += plan.queries) {
    const int64_t left = task.query.images - start;
    const int64_t count = left < plan.queries ? left : plan.queries;
    // A few gallery images for many threads: their queries are cut into groups.
    const int64_t wanted = task.threads < 2 ? 1 : (4 * task.threads + items - 1) / items;
    const int64_t groups = wanted < count ? wanted : count;
    const auto packed = [&](int64_t q) {
      Arena arena(base + q * plan.query_bytes);
      Packed to = take_packed(arena, task.query.cells, task.parts, plan.units);
      to.visibility = task.query.visibility + (start + q) * task.parts;
      return to;
    };
#pragma omp parallel for num_threads(task.threads) schedule(static) if (task.threads > 1)
    for (int64_t q = 0; q < count; ++q) {
      Packed to = packed(q);
      pack_query(task, start + q, plan.type, to);
    }
#pragma omp parallel for num_threads(task.threads) schedule(static) if (task.threads > 1)
    for (int64_t thread = 0; thread < task.threads; ++thread) {
      Arena arena(scratches + thread * plan.thread_bytes);
      Scratch scratch = take_scratch(arena, task, plan.units);
      for (int64_t work = thread; work < items * groups; work += task.threads) {
        const int64_t g = work / groups, group = work % groups;
        pack_image(task, task.gallery, g, false, plan.type == OG_REID_FLOAT32, scratch.rows);
        const int64_t bytes = task.gallery.cells * task.channels * entry_size(task.gallery.type);
        const char* const next = static_cast<const char*>(task.gallery.features) +
                                 (work + task.threads) / groups * bytes;
        Ahead ahead = {next, work + task.threads < items * groups ? next + bytes : next};
        for (int64_t q = count * group / groups; q < count * (group + 1) / groups; ++q) {
          one_pair<Dot>(task, packed(q), scratch, (start + q) * items + g, ahead);
        }
      }
    }
  }
}

bool fits(const Task& task) {
  const bool sides = task.query.images >= 0 && task.gallery.images >= 0 && task.query.cells >= 1 &&
                     task.gallery.cells >= 1;
  return sides && task.channels >= 1 && task.channels <= 1 << 16 && task.parts >= 1 &&
         task.threads >= 1;
}

}  // namespace

extern "C" int64_t OG_REID_AT_LEVEL(og_reid_late_interaction_workspace)(const Task* task) {
  if (!fits(*task)) return OG_REID_BAD_SIZE;
  const Plan plan = plan_of(*task);
  return plan.queries * plan.query_bytes + task->threads * plan.thread_bytes;
}

extern "C" int OG_REID_AT_LEVEL(og_reid_late_interaction_cpu)(const Task* task) {
  if (!fits(*task)) return OG_REID_BAD_SIZE;
  if (task->query.images == 0 || task->gallery.images == 0) return OG_REID_OK;
  const Plan plan = plan_of(*task);
#if OG_REID_DOTS
  if (plan.type == OG_REID_INT8) {
    all_pairs<ByteDot>(*task, plan);
    return OG_REID_OK;
  }
  if (plan.type == OG_REID_BFLOAT16) {
    all_pairs<BfloatDot>(*task, plan);
    return OG_REID_OK;
  }
#endif
  all_pairs<FloatDot>(*task, plan);
  return OG_REID_OK;
}
