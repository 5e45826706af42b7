// The tri-plane encoder: three dense multi-resolution 2D grids on the planes xy, yz and xz, one feature a level.
//
// A point's coordinate on a level is x01 * (resolution - 1) + 0.5 with x01 in [0, 1], so that its four corners lie in
// [0, resolution]^2; a level is stored with stride resolution + 1. The backward pass gives each (plane, level) table to
// one thread: no atomics, the same bits at any thread count.
#include <algorithm>
#include <new>
#include <vector>

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
        store_int(fma(fy, F8::all(static_cast<float>(resolution + 1)), fx), corner);  // exact below 2^24
    }
};

struct Corners {
    F8 v00, v10, v01, v11;
    Corners(const float* table, const Cell& cell, int32_t stride) {
        load_pairs(table, cell.corner, v00, v10);
        load_pairs(table + stride, cell.corner, v01, v11);
    }
};

/// One feature: its level's resolution and the axes of its plane.
struct Row {
    int along, across;
    int32_t resolution;
};

std::vector<Row> feature_rows(int levels, const int32_t* resolutions) {
    std::vector<Row> rows;
    for (const auto& axes : AXES)
        for (int level = 0; level < levels; level++) rows.push_back({axes[0], axes[1], resolutions[level]});
    return rows;
}

/// Rows [first, first + count) of a column-major block of eight points, to or from their feature vectors.
void store_features(F8* rows, int first, int count, float* features, int width, int64_t points) {
    transpose(rows);
    for (int64_t i = 0; i < points; i++) {
        float* out = features + i * width + first;
        if (count == 8) {
            rows[i].store(out);
        } else {
            float lanes[8];
            rows[i].store(lanes);
            std::memcpy(out, lanes, sizeof(float) * static_cast<size_t>(count));
        }
    }
}

void load_features(F8* rows, int first, int count, const float* features, int width, int64_t points) {
    for (int64_t i = 0; i < 8; i++) {
        float lanes[8] = {};
        const float* in = features + i * width + first;
        if (i < points && count < 8) std::memcpy(lanes, in, sizeof(float) * static_cast<size_t>(count));
        rows[i] = i < points && count == 8 ? F8::load(in) : F8::load(lanes);
    }
    transpose(rows);
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_triplane_forward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                  const int32_t* resolutions, const float* points, const float* table,
                                                  float* features) try {
    using namespace likeness;
    const int width = 3 * levels;
    const std::vector<Row> feature_list = feature_rows(levels, resolutions);
    const Row* const feature = feature_list.data();
    parallel_for(count, POINT_CHUNK, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n += 8) {
            const int64_t left = std::min<int64_t>(8, end - n);
            const EightPoints at(points, n, left, bound);
            F8 rows[8];
            for (int row = 0; row < width; row++) {
                const Row r = feature[row];
                const Cell cell(at.unit[r.along], at.unit[r.across], r.resolution);
                const Corners c(table + row * entries, cell, r.resolution + 1);
                const F8 low = fma(cell.weight_x, c.v10 - c.v00, c.v00);
                const F8 high = fma(cell.weight_x, c.v11 - c.v01, c.v01);
                rows[row % 8] = fma(cell.weight_y, high - low, low);
                if (row % 8 == 7 || row == width - 1)
                    store_features(rows, row / 8 * 8, row % 8 + 1, features + n * width, width, left);
            }
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT int32_t likeness_triplane_backward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                   const int32_t* resolutions, const float* points, const float* table,
                                                   const float* features_gradient, float* table_gradient,
                                                   float* points_gradient) try {
    using namespace likeness;
    const int width = 3 * levels;
    const std::vector<Row> feature_list = feature_rows(levels, resolutions);
    const Row* const feature = feature_list.data();
    const float half_inverse = 0.5f / bound;
    static thread_local Buffer<float> transposed;
    // Each table reads one column of the gradient and two coordinates: transposed once, so that it reads whole cache
    // lines. The number of points is rounded up to eight, with zeros.
    const int64_t padded = (static_cast<int64_t>(count) + 7) / 8 * 8;
    float* columns = transposed.resize(static_cast<size_t>(width + 3) * padded);
    float* units = columns + static_cast<int64_t>(width) * padded;
    parallel_for(padded, POINT_CHUNK, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n += 8) {
            const int64_t left = std::min<int64_t>(8, count - n);
            const EightPoints at(points, n, left, bound);
            for (int axis = 0; axis < 3; axis++) at.unit[axis].store(units + axis * padded + n);
            F8 sum[3] = {F8::all(0.0f), F8::all(0.0f), F8::all(0.0f)};
            for (int first = 0; first < width; first += 8) {
                F8 rows[8];
                const int here = std::min(8, width - first);
                load_features(rows, first, here, features_gradient + n * width, width, left);
                for (int row = first; row < first + here; row++) {
                    rows[row - first].store(columns + row * padded + n);
                    if (!points_gradient) continue;
                    const Row r = feature[row];
                    const Cell cell(at.unit[r.along], at.unit[r.across], r.resolution);
                    const Corners c(table + row * entries, cell, r.resolution + 1);
                    const F8 scale = F8::all(static_cast<float>(r.resolution - 1) * half_inverse);
                    const F8 g = rows[row - first] * scale;
                    const F8 low_x = c.v10 - c.v00, high_x = c.v11 - c.v01, low_y = c.v01 - c.v00, high_y = c.v11 - c.v10;
                    sum[r.along] = fma(g, fma(cell.weight_y, high_x - low_x, low_x), sum[r.along]);
                    sum[r.across] = fma(g, fma(cell.weight_x, high_y - low_y, low_y), sum[r.across]);
                }
            }
            for (int axis = 0; points_gradient && axis < 3; axis++) {
                float value[8];
                zero_unless(at.inside[axis], sum[axis]).store(value);
                for (int64_t i = 0; i < left; i++) points_gradient[3 * (n + i) + axis] = value[i];
            }
        }
    });
    if (!table_gradient) return LIKENESS_OK;
    parallel_for(width, 1, [&](int64_t row, int64_t) {
        const Row r = feature[row];
        const int32_t stride = r.resolution + 1;
        float* sums = table_gradient + row * entries;
        std::fill_n(sums, entries, 0.0f);
        const float *column = columns + row * padded, *along = units + r.along * padded,
                    *across = units + r.across * padded;
        for (int64_t n = 0; n < padded; n += 8) {
            const Cell cell(F8::load(along + n), F8::load(across + n), r.resolution);
            const F8 g = F8::load(column + n), right = g * cell.weight_x, remainder = g - right;
            const F8 bottom_right = right * cell.weight_y, bottom_left = remainder * cell.weight_y;
            float value[4][8];
            (remainder - bottom_left).store(value[0]);
            (right - bottom_right).store(value[1]);
            bottom_left.store(value[2]);
            bottom_right.store(value[3]);
            for (int i = 0; i < 8; i++) {
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
