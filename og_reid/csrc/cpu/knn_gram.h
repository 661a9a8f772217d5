// Products of the rows of two matrices: the only inner loop of k-NN in many dimensions that may use
// fused multiply-add, in a separate file because the rest of that search may not.
#ifndef OG_REID_CPU_KNN_GRAM_H_
#define OG_REID_CPU_KNN_GRAM_H_

#include "level.h"

// Columns of a panel, and rows that are multiplied at a time: all sums stay in registers.
#define OG_REID_PANEL (2 * OG_REID_LANES)
#if OG_REID_LANES == 16
#define OG_REID_GRAM_ROWS 12
#else
#define OG_REID_GRAM_ROWS 6
#endif

// out[r * stride + OG_REID_PANEL * p + c] = sum over d of rows[r * dims + d] * panels[p][d][c]. The
// number of rows is a multiple of OG_REID_GRAM_ROWS. With `upper`, rows and panels are of the same
// points, and products left of a row's panel may be omitted.
extern "C" void OG_REID_AT_LEVEL(og_reid_knn_gram)(const float* rows, int64_t count,
                                                   const float* panels, int64_t panel_count,
                                                   int64_t dims, bool upper, float* out,
                                                   int64_t stride);

#endif  // OG_REID_CPU_KNN_GRAM_H_
