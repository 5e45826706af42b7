// The tri-plane encoder: three dense multi-resolution 2D grids on the planes xy, yz and xz, one feature a level.
//
// A point's coordinate on a level is x01 * (resolution - 1) + 0.5 with x01 in [0, 1], so that its four corners lie in
// [0, resolution]^2; a level is stored with stride resolution + 1. The backward pass gives each (plane, level) table to
// one thread: no atomics, the same bits at any thread count.
#include <algorithm>
#include <new>

#include "api.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int AXES[3][2] = {{0, 1}, {1, 2}, {0, 2}};
constexpr int POINT_CHUNK = 256;

/// Eight points, mapped to [0, 1].
struct EightPoints {
    F8 unit[3];
    M8 inside[3];  // not clamped: the gradient passes

    EightPoints(const float* points, int64_t first, int64_t left, float bound) {
        float copy[24] = {};
        const float* rows = points + 3 * first;
        if (left < 8) {
            std::memcpy(copy, rows, sizeof(float) * 3 * static_cast<size_t>(left));
            rows = copy;
        }
        const F8 half = F8::all(0.5f), scale = F8::all(0.5f / bound), zero = F8::all(0.0f), one = F8::all(1.0f);
        for (int i = 0; i < 3; i++) {
            const F8 x = fma(F8::strided(rows + i, 3), scale, half);
            inside[i] = ge(x, zero) & ge(one, x);
            unit[i] = min(max(x, zero), one);
        }
    }
};

/// Where eight points fall on one level.
struct Cell {
    F8 weight_x, weight_y;
    int32_t corner[8];

    Cell(F8 x, F8 y, int32_t resolution) {
        const F8 scale = F8::all(static_cast<float>(resolution - 1)), half = F8::all(0.5f);
        const F8 px = fma(x, scale, half), py = fma(y, scale, half);
        const F8 fx = floor(px), fy = floor(py);
        weight_x = px - fx;
        weight_y = py - fy;
        float index[8];
        fma(fy, F8::all(static_cast<float>(resolution + 1)), fx).store(index);  // exact below 2^24
        for (int i = 0; i < 8; i++) corner[i] = static_cast<int32_t>(index[i]);
    }
};

struct Corners {
    F8 v00, v10, v01, v11;
    Corners(const float* table, const Cell& cell, int32_t stride) {
        float a[4][8];
        for (int i = 0; i < 8; i++) {
            const float* p = table + cell.corner[i];
            a[0][i] = p[0], a[1][i] = p[1], a[2][i] = p[stride], a[3][i] = p[stride + 1];
        }
        v00 = F8::load(a[0]), v10 = F8::load(a[1]), v01 = F8::load(a[2]), v11 = F8::load(a[3]);
    }
};

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_triplane_forward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                  const int32_t* resolutions, const float* points, const float* table,
                                                  float* features) {
    using namespace likeness;
    const int width = 3 * levels;
    parallel_for(count, POINT_CHUNK, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n += 8) {
            const int64_t left = std::min<int64_t>(8, end - n);
            const EightPoints at(points, n, left, bound);
            for (int plane = 0; plane < 3; plane++)
                for (int level = 0; level < levels; level++) {
                    const int row = plane * levels + level;
                    const Cell cell(at.unit[AXES[plane][0]], at.unit[AXES[plane][1]], resolutions[level]);
                    const Corners c(table + row * entries, cell, resolutions[level] + 1);
                    const F8 low = fma(cell.weight_x, c.v10 - c.v00, c.v00);
                    const F8 high = fma(cell.weight_x, c.v11 - c.v01, c.v01);
                    float value[8];
                    fma(cell.weight_y, high - low, low).store(value);
                    for (int64_t i = 0; i < left; i++) features[(n + i) * width + row] = value[i];
                }
        }
    });
    return LIKENESS_OK;
}

LIKENESS_EXPORT int32_t likeness_triplane_backward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                   const int32_t* resolutions, const float* points, const float* table,
                                                   const float* features_gradient, float* table_gradient,
                                                   float* points_gradient) try {
    using namespace likeness;
    const int width = 3 * levels;
    // Each table reads one column: transposed once, so that it reads whole cache lines.
    Buffer<float> transposed;
    float* columns = transposed.resize(static_cast<size_t>(width) * count);
    parallel_for(count, POINT_CHUNK, [&](int64_t begin, int64_t end) {
        for (int row = 0; row < width; row++)
            for (int64_t n = begin; n < end; n++)
                columns[static_cast<int64_t>(row) * count + n] = features_gradient[n * width + row];
        if (!points_gradient) return;
        for (int64_t n = begin; n < end; n += 8) {
            const int64_t left = std::min<int64_t>(8, end - n);
            const EightPoints at(points, n, left, bound);
            F8 sum[3] = {F8::all(0.0f), F8::all(0.0f), F8::all(0.0f)};
            for (int plane = 0; plane < 3; plane++)
                for (int level = 0; level < levels; level++) {
                    const int row = plane * levels + level;
                    const int ax = AXES[plane][0], ay = AXES[plane][1];
                    const Cell cell(at.unit[ax], at.unit[ay], resolutions[level]);
                    const Corners c(table + row * entries, cell, resolutions[level] + 1);
                    float gradient[8] = {};
                    std::memcpy(gradient, columns + static_cast<int64_t>(row) * count + n,
                                sizeof(float) * static_cast<size_t>(left));
                    const F8 scale = F8::all(static_cast<float>(resolutions[level] - 1) * 0.5f / bound);
                    const F8 g = F8::load(gradient) * scale;
                    const F8 low_x = c.v10 - c.v00, high_x = c.v11 - c.v01, low_y = c.v01 - c.v00, high_y = c.v11 - c.v10;
                    sum[ax] = fma(g, fma(cell.weight_y, high_x - low_x, low_x), sum[ax]);
                    sum[ay] = fma(g, fma(cell.weight_x, high_y - low_y, low_y), sum[ay]);
                }
            for (int axis = 0; axis < 3; axis++) {
                float value[8];
                zero_unless(at.inside[axis], sum[axis]).store(value);
                for (int64_t i = 0; i < left; i++) points_gradient[3 * (n + i) + axis] = value[i];
            }
        }
    });
    if (!table_gradient) return LIKENESS_OK;
    parallel_for(width, 1, [&](int64_t row, int64_t) {
        const int plane = static_cast<int>(row) / levels, level = static_cast<int>(row) % levels;
        const int32_t stride = resolutions[level] + 1;
        float* sums = table_gradient + row * entries;
        std::fill_n(sums, entries, 0.0f);
        const float* column = columns + row * count;
        for (int64_t n = 0; n < count; n += 8) {
            const int64_t left = std::min<int64_t>(8, count - n);
            const EightPoints at(points, n, left, bound);
            const Cell cell(at.unit[AXES[plane][0]], at.unit[AXES[plane][1]], resolutions[level]);
            float gradient[8] = {}, value[4][8];
            std::memcpy(gradient, column + n, sizeof(float) * static_cast<size_t>(left));
            const F8 g = F8::load(gradient), right = g * cell.weight_x, remainder = g - right;
            const F8 bottom_right = right * cell.weight_y, bottom_left = remainder * cell.weight_y;
            (remainder - bottom_left).store(value[0]);
            (right - bottom_right).store(value[1]);
            bottom_left.store(value[2]);
            bottom_right.store(value[3]);
            for (int64_t i = 0; i < left; i++) {
                float* p = sums + cell.corner[i];
                p[0] += value[0][i];
                p[1] += value[1][i];
                p[stride] += value[2][i];
                p[stride + 1] += value[3][i];
            }
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
