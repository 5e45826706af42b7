// Small matrix products whose sums stay in registers. Knows no layers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "simd.h"

namespace likeness {
namespace matrix {

constexpr int PANEL = 2 * Fv::lanes;  // columns of one register tile
constexpr int ROWS = 6;               // rows of one register tile

inline int padded(int columns) { return (columns + PANEL - 1) / PANEL * PANEL; }

/// One layer's weights as the matrix kernel reads them: panels of PANEL columns, zero-padded; [K, M] within.
/// `from` is [M, K] where `transpose`, else [K, M].
inline void pack(const float* from, int k, int m, bool transpose, float* panels) {
    for (int p = 0; p < padded(m); p += PANEL)
        for (int i = 0; i < k; i++)
            for (int j = 0; j < PANEL; j++)
                *panels++ = p + j < m ? (transpose ? from[(p + j) * k + i] : from[i * m + p + j]) : 0.0f;
}

/// Rows of an array, `stride` floats apart.
struct Rows {
    float* at;
    int64_t stride;
};

/// The left factor of a product: its row r begins at `at + r * stride`, the reduction goes along `step`.
struct Left {
    const float* at;
    int64_t stride, step;
};

/// to[r] = from[r] + x[r, 0..k) w[0..k) over one panel of columns, with ReLU where asked; without BEGUN the sums begin at
/// zero. They stay in registers.
template <int R, bool BEGUN>
void tile(int k, Left x, const float* w, int64_t w_step, Rows from, bool relu, Rows to) {
    Fv own[R][2];
    written_out<R>([&](auto r) {
        own[r][0] = BEGUN ? Fv::load(from.at + r * from.stride) : Fv::all(0.0f);
        own[r][1] = BEGUN ? Fv::load(from.at + r * from.stride + Fv::lanes) : Fv::all(0.0f);
    });
    for (int i = 0; i < k; i++) {
        const Fv w0 = Fv::load(w), w1 = Fv::load(w + Fv::lanes);
        written_out<R>([&](auto r) {
            const Fv value = Fv::all(x.at[r * x.stride]);
            own[r][0] = fma(value, w0, own[r][0]);
            own[r][1] = fma(value, w1, own[r][1]);
        });
        w += w_step;
        x.at += x.step;
    }
    const Fv zero = Fv::all(0.0f);
    if (relu) written_out<R>([&](auto r) { own[r][0] = max(own[r][0], zero), own[r][1] = max(own[r][1], zero); });
    written_out<R>([&](auto r) {
        own[r][0].store(to.at + r * to.stride);
        own[r][1].store(to.at + r * to.stride + Fv::lanes);
    });
}

inline void any_tile(int rows, int k, Left x, const float* w, int64_t w_step, Rows from, bool relu, Rows to) {
    switch (rows) {
#define LIKENESS_CASE(n)                                                               \
    case n:                                                                            \
        return from.at ? tile<n, true>(k, x, w, w_step, from, relu, to)                \
                       : tile<n, false>(k, x, w, w_step, from, relu, to);
        LIKENESS_CASE(6) LIKENESS_CASE(5) LIKENESS_CASE(4) LIKENESS_CASE(3) LIKENESS_CASE(2) LIKENESS_CASE(1)
#undef LIKENESS_CASE
    }
}

/// y[rows, m] = x[rows, k] W, with ReLU where asked; y has a row stride of its own and may be unpadded. `added`, where
/// given, has y's shape and is where the sums begin.
inline void multiply(int rows, int k, int m, const float* x, int64_t x_stride, const float* panels, bool relu, float* y,
                     int64_t y_stride, const float* added = nullptr) {
    float narrow[ROWS * PANEL];  // the last panel, where it is not full
    for (int p = 0; p < m; p += PANEL, panels += static_cast<int64_t>(k) * PANEL) {
        const int columns = std::min(PANEL, m - p);
        for (int r = 0; r < rows; r += ROWS) {
            const int here = std::min(ROWS, rows - r);
            float* const out = y + r * y_stride + p;
            Rows to{out, y_stride}, from{added ? const_cast<float*>(added) + r * y_stride + p : nullptr, y_stride};
            if (columns < PANEL) {
                to = {narrow, PANEL};
                for (int i = 0; added && i < here; i++)
                    std::memcpy(narrow + i * PANEL, from.at + i * y_stride, sizeof(float) * columns);
                if (added) from = to;
            }
            any_tile(here, k, {x + r * x_stride, x_stride, 1}, panels, PANEL, from, relu, to);
            for (int i = 0; columns < PANEL && i < here; i++)
                std::memcpy(out + i * y_stride, narrow + i * PANEL, sizeof(float) * columns);
        }
    }
}

/// w[k, m padded] += x[rows, k]^T dy[rows, m padded].
inline void accumulate(int rows, int k, int m, const float* x, int64_t x_stride, const float* dy, float* w) {
    for (int p = 0; p < m; p += PANEL)
        for (int i = 0; i < k; i += ROWS) {
            const Rows sums{w + static_cast<int64_t>(i) * m + p, m};
            any_tile(std::min(ROWS, k - i), rows, {x + i, 1, x_stride}, dy + p, m, sums, false, sums);
        }
}

}  // namespace matrix
}  // namespace likeness
