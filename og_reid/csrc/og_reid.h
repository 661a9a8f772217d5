// C interface of the native kernels. No torch, no allocation: the caller owns every buffer.
//
// All arrays are dense and row-major. Functions return 0, or a code from og_reid_status; CUDA
// functions may also return a positive cudaError_t. `threads` is how many CPU threads to use; a
// scratch array that is "per thread" has that many rows.
#ifndef OG_REID_H_
#define OG_REID_H_

#include <stdint.h>

#if defined(__GNUC__)
#define OG_REID_API __attribute__((visibility("default")))
#else
#define OG_REID_API
#endif

// Raised with every change of this file, so that a stale library is refused and not called.
#define OG_REID_ABI 3

#ifdef __cplusplus
extern "C" {
#endif

enum og_reid_status { OG_REID_OK = 0, OG_REID_BAD_SIZE = -1 };

OG_REID_API int og_reid_abi(void);

// Name of the instruction set level that run-time dispatch picks on this processor.
OG_REID_API const char* og_reid_cpu_level(void);

// knn ---------------------------------------------------------------------------------------------
//
// columns: (batch, dims, padded) coordinates, one contiguous row per dimension, padded with zeros
//   to a multiple of 64 points.
// out: (batch, count, k); out[b][i][j] is the j-th nearest point to point i, itself included, in
//   the order (squared distance, index). The distance is the float32 sum over dimensions, in
//   order, of (a - b) * (a - b), each operation rounded on its own (no fused multiply-add).
// distances: per thread, (threads, padded).   keys: per thread, (threads, padded).
OG_REID_API int og_reid_knn_cpu(const float* columns, int64_t batch, int64_t count, int64_t padded,
                                int64_t dims, int64_t k, int64_t* out, float* distances,
                                uint64_t* keys, int threads);

// The same on a GPU; x: (batch, count, dims). `stream` is a cudaStream_t.
OG_REID_API int og_reid_knn_cuda(const float* x, int64_t batch, int64_t count, int64_t dims,
                                 int64_t k, int64_t* out, int device, void* stream);

// Farthest point sampling -------------------------------------------------------------------------
//
// columns: (batch, 3, count) coordinates. start: (batch) first pick of each cloud. nearest:
// scratch, (batch, count). out: (batch, picks); each pick is the point farthest from those before,
// the lowest index on ties, never the same twice. Squared distances are float32, without fused
// multiply-add.
OG_REID_API int og_reid_sample_cpu(const float* columns, int64_t batch, int64_t count,
                                   int64_t picks, const int64_t* start, float* nearest,
                                   int64_t* out, int threads);

// Pooling over neighbours -------------------------------------------------------------------------
//
// x: (batch, count, channels) with rows `stride` apart; index: (batch, centers, k). highest,
// argument (position among the k
//   neighbours, the first on ties) and mean: (batch, centers, channels). highest and argument may
//   both be null, so may mean.
OG_REID_API int og_reid_pool_cpu(const float* x, const int64_t* index, int64_t batch, int64_t count,
                                 int64_t centers, int64_t k, int64_t stride, int64_t channels,
                                 float* highest, int32_t* argument, float* mean, int threads);

// Adds to grad_x, which the caller has set to 0. grad_highest and argument may both be null, so may
// grad_mean.
OG_REID_API int og_reid_pool_backward_cpu(const float* grad_highest, const int32_t* argument,
                                          const float* grad_mean, const int64_t* index,
                                          int64_t batch, int64_t count, int64_t centers, int64_t k,
                                          int64_t channels, float* grad_x, int threads);

// Gated neighbourhoods ----------------------------------------------------------------------------
//
// For the edge from centre i to its t-th neighbour j:
//   z = x * sigmoid(bias + s expand), x = near_j + center_i, s = swish(gate_near_j + gate_center_i)
struct og_reid_groups {
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

// What to write. `highest` and `argument` (position among the k neighbours, the first on ties) of
// y = weight z may both be null, so may z and gates (the sigmoids).
struct og_reid_projection {
  int64_t channels;     // a multiple of 16
  const float* panels;  // (channels / 16, half, 16): 16 rows of the weight, interleaved
  float* highest;       // (batch, centers, channels)
  int32_t* argument;    // (batch, centers, channels)
  float* z;             // (batch * centers * k, half)
  float* gates;         // same shape
  float* scratch;       // per thread: (threads, k, half)
};

OG_REID_API int og_reid_gate_cpu(const struct og_reid_groups* groups,
                                 const struct og_reid_projection* out);

// Gradients of a function of the maximum over k of y and of z itself.
struct og_reid_groups_grad {
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

OG_REID_API int og_reid_gate_backward_cpu(const struct og_reid_groups* groups,
                                          const struct og_reid_groups_grad* grad);

#ifdef __cplusplus
}
#endif

#endif  // OG_REID_H_
