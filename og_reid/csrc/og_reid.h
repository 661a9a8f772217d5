// C interface of the native kernels. No torch, no allocation: the caller owns every buffer.
//
// All arrays are dense and row-major. Functions return 0, or a code from og_reid_status; CUDA
// functions may also return a positive cudaError_t. `threads` is the number of CPU threads; a
// scratch array that is "per thread" has that many rows.
#ifndef OG_REID_H_
#define OG_REID_H_

#include <stdint.h>

#if defined(__GNUC__)
#define OG_REID_API __attribute__((visibility("default")))
#else
#define OG_REID_API
#endif

// Raised with every change of the interface, so that a stale library is refused.
#define OG_REID_ABI 10

#ifdef __cplusplus
extern "C" {
#endif

enum og_reid_status { OG_REID_OK = 0, OG_REID_BAD_SIZE = -1, OG_REID_NOT_FINITE = -2 };

OG_REID_API int og_reid_abi(void);

// Name of the instruction set level that run-time dispatch picks on this processor.
OG_REID_API const char* og_reid_cpu_level(void);

// Neighbours in space -----------------------------------------------------------------------------

// Ragged clouds, concatenated: cloud c has the rows ptr[c] .. ptr[c + 1] - 1.
struct og_reid_clouds {
  int64_t clouds, dims;
  const float* rows;   // (ptr[clouds], dims)
  const int64_t* ptr;  // (clouds + 1), not decreasing
};

// The k nearest points of the same cloud for each query, in the order (squared distance, index).
// The distance is the float32 sum over dimensions, in order, of (a - b) * (a - b), each operation
// rounded on its own (no fused multiply-add). Pairs whose distance is not finite are no
// neighbours; missing ones have index -1 and an infinite distance.
struct og_reid_knn {
  struct og_reid_clouds points, queries;  // may be the same
  int64_t k, threads;
  int64_t local;    // 1: indices count from the start of the cloud; 0: of all rows
  int64_t* index;   // (queries, k)
  float* squared;   // (queries, k), or null
  void* workspace;  // og_reid_knn_workspace bytes
};

// At most 3 dimensions, by a spatial index.
OG_REID_API int64_t og_reid_knn_workspace(const struct og_reid_knn* task);
OG_REID_API int og_reid_knn_cpu(const struct og_reid_knn* task);

// Any number of dimensions, without an index.
OG_REID_API int64_t og_reid_knn_features_workspace(const struct og_reid_knn* task);
OG_REID_API int og_reid_knn_features_cpu(const struct og_reid_knn* task);

// The functions that end in _cuda take addresses on a GPU and a cudaStream_t, and only start their
// work. For a ptr on a GPU the number of all rows is an argument; ptr is not trusted. `threads` is
// ignored, and so is a workspace unless mentioned.
struct og_reid_queue {
  int64_t device;
  void* stream;
};

// Any number of dimensions. A cloud has less than 2^32 points.
OG_REID_API int og_reid_knn_cuda(const struct og_reid_knn* task, int64_t points, int64_t queries,
                                 const struct og_reid_queue* queue);

// The same by a spatial index, faster for large clouds: at most 3 dimensions, 128 neighbours
// and OG_REID_MOST_CURVES clouds. First the place of each point on a curve through its cloud; then,
// with `order`, the numbers of the points by ascending place, the search itself.
#define OG_REID_MOST_CURVES 32000

OG_REID_API int og_reid_knn_curve_places_cuda(const struct og_reid_clouds* clouds, int64_t points,
                                              uint32_t* bounds,  // (clouds, 6) zeros, scratch
                                              int64_t* places,   // (points)
                                              const struct og_reid_queue* queue);

OG_REID_API int64_t og_reid_knn_curve_workspace(int64_t points);  // bytes, for task->workspace
OG_REID_API int og_reid_knn_curve_cuda(const struct og_reid_knn* task, int64_t points,
                                       int64_t queries, const int64_t* order,
                                       const struct og_reid_queue* queue);

// Farthest point sampling -------------------------------------------------------------------------
//
// Each pick is the point farthest from those before, the lowest index on ties. Squared distances
// are float32, without fused multiply-add, and at most 1e10. On a CPU a coordinate that is not
// finite returns OG_REID_NOT_FINITE.
struct og_reid_fps {
  int64_t batch, count, picks, threads;
  const float* rows;        // (batch, count, 3)
  const double* centroids;  // (batch, 3): start at the point farthest from it, never pick a point
                            // twice; null: start at point 0, points may repeat
  int64_t dead_zone;        // 1: points within sqrt(1e-3) of the origin are never picked
  int64_t* out;             // (batch, picks)
  void* workspace;          // og_reid_fps_workspace bytes
};

OG_REID_API int64_t og_reid_fps_workspace(const struct og_reid_fps* task);
OG_REID_API int og_reid_fps_cpu(const struct og_reid_fps* task);

// Points that are not finite are never picked. The workspace has batch * count floats.
OG_REID_API int og_reid_fps_cuda(const struct og_reid_fps* task, const struct og_reid_queue* queue);

// Ball query --------------------------------------------------------------------------------------

enum og_reid_ball_query_mode {
  OG_REID_NEAREST = 0,  // nearest first, ties to the lowest index; padded with the nearest point,
                        // inside or not, or with -1 where no distance is finite
  OG_REID_FIRST = 1,    // lowest index first; padded with the first hit, or with 0
  OG_REID_COUNT = 2     // their number
};

#define OG_REID_MOST_SCALES 16

struct og_reid_ball_query {
  struct og_reid_clouds points, centers;  // of 3 dimensions
  int64_t mode, scales, threads;
  const float* squared_radii;  // (scales); inside means strictly nearer
  const int64_t* counts;       // (scales) slots
  int64_t* const* out;  // (scales) arrays (centers, counts[s]); for OG_REID_COUNT only the first,
                        // (centers, scales)
  void* workspace;      // og_reid_ball_query_workspace bytes
};

OG_REID_API int64_t og_reid_ball_query_workspace(const struct og_reid_ball_query* task);
OG_REID_API int og_reid_ball_query_cpu(const struct og_reid_ball_query* task);

// Not for OG_REID_NEAREST, which follows from k-NN. squared_radii, counts and the array `out` of
// addresses are in host memory.
OG_REID_API int og_reid_ball_query_cuda(const struct og_reid_ball_query* task, int64_t points,
                                        int64_t centers, const struct og_reid_queue* queue);

// Pooling over neighbours -------------------------------------------------------------------------

// An index below 0 is no neighbour. The maximum and the mean over no neighbours are 0. A NaN is a
// maximum. On a GPU indices from `count` on are no neighbours, either; on a CPU they are not
// allowed.
struct og_reid_pool {
  int64_t batch, count, centers, k, channels;
  int64_t stride;        // from one row of x to the next
  int64_t threads;       // of a CPU
  int64_t missing;       // 1: indices below 0 may occur
  const float* x;        // (batch, count, channels)
  const int64_t* index;  // (batch, centers, k)
  float* highest;        // (batch, centers, channels), or null together with argument
  void* argument;  // same shape: slot of the maximum, the first on ties; uint8_t, or int32_t where
                   // k > 256
  float* mean;     // same shape, or null
};

OG_REID_API int og_reid_pool_cpu(const struct og_reid_pool* task);
OG_REID_API int og_reid_pool_cuda(const struct og_reid_pool* task,
                                  const struct og_reid_queue* queue);

// Its gradient. grad_highest and argument may both be null, so may grad_mean.
struct og_reid_pool_grad {
  int64_t batch, count, centers, k, channels, threads;
  const int64_t* index;
  const void* argument;
  const float* grad_highest;
  const float* grad_mean;
  float* grad_x;  // (batch, count, channels); on a CPU added to
};

OG_REID_API int og_reid_pool_grad_cpu(const struct og_reid_pool_grad* task);

// Edges sorted by the row of x that they end in (compressed sparse rows), so that each entry of
// grad_x is one sum in a fixed order.
struct og_reid_csr {
  const int64_t* order;  // edge numbers, ascending within a row
  const int64_t* ends;   // (batch * count) end of each row in `order`
  const float* weights;  // (batch * centers) 1 / number of neighbours
};

OG_REID_API int og_reid_pool_grad_cuda(const struct og_reid_pool_grad* task,
                                       const struct og_reid_csr* edges,
                                       const struct og_reid_queue* queue);

// Weighted pooling over neighbours ----------------------------------------------------------------

// The weighted mean m of rows, and the maximum of weight * (row - m). Both are 0 where all weights
// are 0. Indices are in 0..count-1; a NaN among the rows makes both NaN.
struct og_reid_soft_pool {
  int64_t batch, count, centers, k, channels;
  int64_t stride;  // from one row of x to the next
  int64_t threads;
  const float* x;        // (batch, count, channels)
  const int64_t* index;  // (batch, centers, k)
  const float* weight;   // (batch, centers, k), not below 0
  float* mean;           // (batch, centers, channels)
  float* highest;        // same shape, or null together with argument
  void* argument;        // same shape: as for og_reid_pool
};

OG_REID_API int og_reid_soft_pool_cpu(const struct og_reid_soft_pool* task);

// Its gradient. grad_highest and argument may both be null.
struct og_reid_soft_pool_grad {
  int64_t batch, count, centers, k, channels;
  int64_t stride;  // from one row of x to the next
  int64_t threads;
  const int64_t* index;
  const float* weight;
  const void* argument;
  const float* grad_mean;
  const float* grad_highest;
  float* grad_x;       // (batch, count, channels); added to
  const float* x;      // this, the mean and grad_weight may all be null
  const float* mean;   // (batch, centers, channels)
  float* grad_weight;  // (batch, centers, k)
};

OG_REID_API int og_reid_soft_pool_grad_cpu(const struct og_reid_soft_pool_grad* task);

// Gated pooling -----------------------------------------------------------------------------------
//
// For the edge from centre i to its t-th neighbour j:
//   z = x * sigmoid(bias + s expand), x = near_j + center_i, s = swish(gate_near_j + gate_center_i)
struct og_reid_gated_edges {
  int64_t batch, count, centers, k, half, reduced;
  const float* near;         // (batch, count, half)
  const float* center;       // (batch, centers, half)
  const float* gate_near;    // (batch, count, reduced)
  const float* gate_center;  // (batch, centers, reduced)
  const float* expand;       // (reduced, half)
  const float* bias;         // (half)
  const int64_t* index;      // (batch, centers, k)
  int64_t threads;
};

// Outputs. `highest` and `argument` (position among the k neighbours, the first on ties) of
// y = weight z may both be null, so may z and gates (the sigmoids).
struct og_reid_gated_pool {
  int64_t channels;     // a multiple of 16
  const float* panels;  // (channels / 16, half, 16): 16 rows of the weight, interleaved
  float* highest;       // (batch, centers, channels)
  int32_t* argument;    // (batch, centers, channels)
  float* z;             // (batch * centers * k, half)
  float* gates;         // same shape
  float* scratch;       // per thread: (threads, k, half)
  // All four null, or: highest is that of edge_weight * max(0, factor y + offset), NaN where there
  // is one; argument is arbitrary where it is 0.
  const float* edge_weight;  // (batch, centers, k), not below 0
  const float* factor;       // (channels)
  const float* offset;       // (channels)
  float* best;               // (batch, centers, channels): y of the argument
};

OG_REID_API int og_reid_gated_pool_cpu(const struct og_reid_gated_edges* groups,
                                       const struct og_reid_gated_pool* out);

// Gradients of a function of the maximum of y over k, and of z.
struct og_reid_gated_pool_grad {
  int64_t channels;
  const float* weight;        // (channels, half)
  const float* grad_highest;  // (batch, centers, channels)
  const int32_t* argument;    // (batch, centers, channels)
  const float* z;             // (batch * centers * k, half)
  const float* gates;         // same shape
  float* grad_z;              // same shape: on entry the gradient beside that of the maximum
  float* grad_near;           // this and the next three are added to; shapes of their inputs
  float* grad_center;
  float* grad_gate_near;
  float* grad_gate_center;
  float* grad_expand;  // added to, per thread: (threads, reduced, half)
  float* grad_bias;    // added to, per thread: (threads, half)
  float* grad_weight;  // added to, per thread: (threads, channels, half)
  int32_t* scratch;    // per thread: (threads, channels + k + 1)
};

OG_REID_API int og_reid_gated_pool_grad_cpu(const struct og_reid_gated_edges* groups,
                                            const struct og_reid_gated_pool_grad* grad);

// Ranks by counting -------------------------------------------------------------------------------
//
// Counts each non-matching item at the first threshold of its query that is not below its distance.
// Items above all thresholds are not counted, nor are items of the query's own identity.
struct og_reid_rank_counts {
  int64_t queries, items, stride, threads;
  const float* distances;    // (queries, items), rows `stride` apart, no NaN
  const int32_t* query_ids;  // (queries)
  const int32_t* item_ids;   // (items)
  const int64_t* ptr;        // (queries + 1): thresholds of query q from ptr[q] to ptr[q + 1] - 1
  const float* thresholds;   // ascending for each query
  int64_t* landed;           // items counted at each threshold
  int64_t* equal;            // of these, items at exactly the threshold
};

OG_REID_API int og_reid_rank_counts_cpu(const struct og_reid_rank_counts* task);

// Top-k -------------------------------------------------------------------------------------------
//
// Merges items into the k nearest of each query so far: (distance, item) ascending, infinity and -1
// where there are fewer. Items of each query come in ascending order.
struct og_reid_topk {
  int64_t queries, items, stride, k;
  int64_t first;  // number of the first item
  int64_t threads;
  const float* distances;  // (queries, items), rows `stride` apart, no NaN
  float* values;           // (queries, k)
  int64_t* indices;        // (queries, k)
  float* farthest;         // (queries): raised to the largest distance
};

OG_REID_API int og_reid_topk_cpu(const struct og_reid_topk* task);

// Late interaction --------------------------------------------------------------------------------

enum og_reid_feature_type {
  OG_REID_FLOAT32 = 0,
  OG_REID_BFLOAT16 = 1,
  OG_REID_INT8 = 2  // directions of any length
};

struct og_reid_late_images {
  int64_t images, cells, type;
  const void* features;     // (images, cells, channels) of the type
  const float* weights;     // (images, cells, parts), not below 0
  const float* visibility;  // (images, parts), not below 0
  const float* positions;   // (images, cells)
};

// score_ij = f_i . f_j - penalty |p_i - p_j|; for each query cell the largest of score_ij -
// background (1 - min(1, sum_k w_jk)) over the gallery cells, weighted by sum_k w_ik v_k with the
// gallery's v; with `symmetric` the same from the gallery's side. -1 - penalty - background where a
// side has no weight, NaN where a number of either image is not finite.
struct og_reid_late_interaction {
  struct og_reid_late_images query, gallery;
  int64_t channels, parts, threads, symmetric;
  int64_t every;  // 1: cells without weight have best cells, too
  float penalty, background;
  float* similarity;  // (queries, gallery): mean of both sides, or the query's
  float* shared;      // (queries, gallery): weight / cells, the smaller of both sides
  int32_t* forward;   // (queries, gallery, query cells): best gallery cell, or -1; or null
  int32_t* backward;  // (queries, gallery, gallery cells), or null where not symmetric
  void* workspace;    // og_reid_late_interaction_workspace bytes
};

OG_REID_API int64_t og_reid_late_interaction_workspace(const struct og_reid_late_interaction* task);
OG_REID_API int og_reid_late_interaction_cpu(const struct og_reid_late_interaction* task);

// Its gradient towards the tensors of one side, from the best cells; features are float32. Cells
// whose best cell is -1 have none.
struct og_reid_late_grad {
  struct og_reid_late_images query, gallery;
  int64_t channels, parts, threads, symmetric;
  int64_t of_gallery;  // 1: towards the gallery's tensors, 0: towards the queries'
  float penalty, background;
  const float* grad_similarity;  // (queries, gallery)
  const float* grad_shared;      // (queries, gallery)
  const int32_t* forward;
  const int32_t* backward;
  float* features;  // this and the next three are added to; null where unwanted
  float* weights;
  float* visibility;
  float* positions;
  float* scratch;  // per thread: (threads, 2 (query cells + gallery cells))
};

OG_REID_API int og_reid_late_grad_cpu(const struct og_reid_late_grad* task);

#ifdef __cplusplus
}
#endif

#endif  // OG_REID_H_
