// Nearest face, depth and weights at every pixel centre, on a GPU.
//
// A warp draws one triangle: its lanes share the pixels of the box. Candidates compete by a packed
// key (depth, face), whose minimum does not depend on the order.
//
// Compiled with --fmad=false: results must not depend on fused multiply-add.
#include <cuda_runtime.h>

#include "../arithmetic.h"
#include "../meshes.h"

namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 128;
constexpr int64_t kMostBlocks = 1 << 20;
constexpr long long kEmpty = INT64_MAX;

// The faces [first, end) of one layer, whose images begin at some pixel of the result.
struct Layer {
  int64_t first, end, pixels;
};

// Integers in the order of floats, negative ones included.
__device__ inline int64_t ordered(float depth) {
  const int32_t bits = __float_as_int(depth);
  return bits < 0 ? -int64_t(bits & INT32_MAX) : int64_t(bits);
}

__device__ inline double at(const double* plane, double i, double j) {
  return plane[0] * i + plane[1] * j + plane[2];
}

// Calls visit(place, i, j, planes) for the pixels that a triangle covers, by the lanes of a warp.
template <typename Visit>
__device__ void visit_pixels(const meshes_triangles& task, int64_t scene, int64_t face, int lane,
                             const Visit& visit) {
  const float* points = task.projected + 3 * scene * task.vertices;
  const float* corner[3];
  for (int k = 0; k < 3; ++k) {
    const int64_t index = task.corners[3 * face + k];
    if (uint64_t(index) >= uint64_t(task.vertices)) return;
    corner[k] = points + 3 * index;
  }
  const float x0 = corner[0][0], y0 = corner[0][1], z0 = corner[0][2];
  const float x1 = corner[1][0], y1 = corner[1][1], z1 = corner[1][2];
  const float x2 = corner[2][0], y2 = corner[2][1], z2 = corner[2][2];
  const bool perspective = task.perspective != 0;
  const Box box = box_of(x0, y0, z0, x1, y1, z1, x2, y2, z2, float(task.width - 1),
                         float(task.height - 1), perspective ? kNear : -INFINITY);
  if (!box.kept) return;
  const bool one_sided = task.one_sided != nullptr && task.one_sided[face];
  if (one_sided && !(screen_area(x0, y0, x1, y1, x2, y2) < 0.0f)) return;
  const double left = double(box.left) + 0.5, top = double(box.top) + 0.5;
  const Planes planes = planes_of(double(x0) - left, double(y0) - top, double(z0),
                                  double(x1) - left, double(y1) - top, double(z1),
                                  double(x2) - left, double(y2) - top, double(z2), perspective);
  const int64_t columns = int64_t(box.right) - int64_t(box.left) + 1;
  const int64_t rows = int64_t(box.bottom) - int64_t(box.top) + 1;
  const int64_t corner_place =
      (scene * task.height + int64_t(box.top)) * task.width + int64_t(box.left);
  for (int64_t pixel = lane; pixel < rows * columns; pixel += kWarp) {
    const int64_t row = pixel / columns, column = pixel - row * columns;
    const double i = double(column), j = double(row);
    if (at(planes.first, i, j) >= 0.0 && at(planes.second, i, j) >= 0.0 &&
        at(planes.third, i, j) >= 0.0) {
      visit(corner_place + row * task.width + column, i, j, planes);
    }
  }
}

// Calls work(scene, face, lane) for the triangles of a layer, a warp for each.
template <typename Work>
__device__ void for_each_triangle(const meshes_triangles& task, const Layer& layer,
                                  const Work& work) {
  const int64_t count = layer.end - layer.first;
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t warps = int64_t(gridDim.x) * (kThreads / kWarp);
  int64_t item = int64_t(blockIdx.x) * (kThreads / kWarp) + int64_t(threadIdx.x) / kWarp;
  for (; item < task.batch * count; item += warps) {
    work(item / count, layer.first + item % count, lane);
  }
}

__global__ void __launch_bounds__(kThreads)
    draw_kernel(meshes_triangles task, Layer layer, long long* keys) {
  for_each_triangle(task, layer, [&](int64_t scene, int64_t face, int lane) {
    visit_pixels(
        task, scene, face, lane, [&](int64_t place, double i, double j, const Planes& planes) {
          double depth = at(planes.depth, i, j);
          if (task.perspective) depth = 1.0 / depth;
          const long long key = (long long)(ordered(float(depth)) * (int64_t(1) << 32) + face);
          atomicMin(keys + layer.pixels + place, key);
        });
  });
}

__global__ void __launch_bounds__(kThreads)
    cover_kernel(meshes_triangles task, Layer layer, uint8_t* out) {
  for_each_triangle(task, layer, [&](int64_t scene, int64_t face, int lane) {
    visit_pixels(task, scene, face, lane, [&](int64_t place, double, double, const Planes&) {
      out[layer.pixels + place] = 1;  // by any number of threads
    });
  });
}

template <typename Value>
__global__ void __launch_bounds__(kThreads) fill_kernel(Value* out, Value value, int64_t count) {
  const int64_t threads = int64_t(gridDim.x) * kThreads;
  for (int64_t n = int64_t(blockIdx.x) * kThreads + threadIdx.x; n < count; n += threads)
    out[n] = value;
}

__global__ void __launch_bounds__(kThreads)
    decode_kernel(meshes_triangles task, meshes_raster out, const long long* keys) {
  const int64_t image = task.height * task.width, count = task.layers * task.batch * image;
  const int64_t threads = int64_t(gridDim.x) * kThreads;
  for (int64_t n = int64_t(blockIdx.x) * kThreads + threadIdx.x; n < count; n += threads) {
    const long long key = keys[n];
    out.face[n] = -1;
    Point point = {INFINITY, {0.0f, 0.0f, 0.0f}};
    if (key != kEmpty) {
      const int64_t face = int64_t(key & 0xFFFFFFFFll), pixel = n % image;
      const float* points = task.projected + 3 * (n / image % task.batch) * task.vertices;
      const float* a = points + 3 * task.corners[3 * face];
      const float* b = points + 3 * task.corners[3 * face + 1];
      const float* c = points + 3 * task.corners[3 * face + 2];
      point = point_of(a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2],
                       double(pixel % task.width) + 0.5, double(pixel / task.width) + 0.5,
                       task.perspective != 0);
      out.face[n] = face;
    }
    out.depth[n] = point.depth;
    for (int k = 0; k < 3; ++k) out.weights[3 * n + k] = point.weight[k];
  }
}

// Starts a kernel on the device and stream of a queue; the current device is restored.
template <typename... Parameters, typename... Arguments>
int launch(const meshes_queue& queue, int64_t work, int64_t per_block,
           void (*kernel)(Parameters...), Arguments... arguments) {
  if (work == 0) return cudaSuccess;
  int before = 0;
  cudaError_t error = cudaGetDevice(&before);
  if (error != cudaSuccess) return error;
  error = cudaSetDevice(int(queue.device));
  if (error != cudaSuccess) return error;
  const int64_t blocks = (work + per_block - 1) / per_block;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(blocks > kMostBlocks ? kMostBlocks : blocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(queue.stream);
  error = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  const cudaError_t restored = cudaSetDevice(before);
  return error != cudaSuccess ? error : restored;
}

bool sizes_fit(const meshes_triangles& task) {
  constexpr int64_t kMostPixels = int64_t(1) << 24;  // of a side: exact in a float
  bool fit = task.batch >= 0 && task.vertices >= 0 && task.faces >= 0 && task.layers >= 0 &&
             task.faces <= INT32_MAX;
  fit = fit && task.height >= 1 && task.width >= 1 && task.height <= kMostPixels &&
        task.width <= kMostPixels && task.starts[0] >= 0 && task.starts[task.layers] <= task.faces;
  for (int64_t layer = 0; fit && layer < task.layers; ++layer) {
    fit = task.starts[layer] <= task.starts[layer + 1];
  }
  return fit;
}

// Fills the result, then draws layer by layer.
template <typename Value, typename Kernel>
int draw_layers(const meshes_triangles& task, const meshes_queue& queue, Value* out, Value empty,
                Kernel kernel) {
  const int64_t image = task.batch * task.height * task.width;
  int status = launch(queue, task.layers * image, kThreads, fill_kernel<Value>, out, empty,
                      task.layers * image);
  for (int64_t n = 0; status == 0 && n < task.layers; ++n) {
    const Layer layer = {task.starts[n], task.starts[n + 1], n * image};
    status = launch(queue, task.batch * (layer.end - layer.first), kThreads / kWarp, kernel, task,
                    layer, out);
  }
  return status;
}

}  // namespace

extern "C" MESHES_API int meshes_abi(void) { return MESHES_ABI; }

extern "C" MESHES_API int meshes_rasterize_cuda(const struct meshes_triangles* triangles,
                                                const struct meshes_raster* out, int64_t* keys,
                                                const struct meshes_queue* queue) {
  if (!sizes_fit(*triangles)) return MESHES_BAD_SIZE;
  long long* const wide = reinterpret_cast<long long*>(keys);
  const int status = draw_layers(*triangles, *queue, wide, kEmpty, draw_kernel);
  const int64_t pixels =
      triangles->layers * triangles->batch * triangles->height * triangles->width;
  if (status != 0) return status;
  return launch(*queue, pixels, kThreads, decode_kernel, *triangles, *out, wide);
}

extern "C" MESHES_API int meshes_coverage_cuda(const struct meshes_triangles* triangles,
                                               uint8_t* out, const struct meshes_queue* queue) {
  if (!sizes_fit(*triangles)) return MESHES_BAD_SIZE;
  return draw_layers(*triangles, *queue, out, uint8_t(0), cover_kernel);
}
