// Small matrix products whose sums stay in registers. Knows no layers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "simd.h"

namespace likeness {
namespace matrix {

constexpr int PANEL = 2 * Fv::lanes;  // columns of one register tile; the last may be half as wide
constexpr int ROWS = 6;               // rows of one register tile

inline int padded(int columns) { return (columns + Fv::lanes - 1) / Fv::lanes * Fv::lanes; }

/// One layer's weights as the matrix kernel reads them: panels of PANEL columns or fewer, zero-padded; [K, M] within.
/// `from` is [M, K] where `transpose`, else [K, M].
inline void pack(const float* from, int k, int m, bool transpose, float* panels) {
    for (int p = 0; p < m; p += PANEL)
        for (int i = 0, wide = std::min(PANEL, padded(m - p)); i < k; i++)
            for (int j = 0; j < wide; j++)
                *panels++ = p + j < m ? (transpose ? from[(p + j) * k + i] : from[i * m + p + j]) : 0.0f;
}

/// Rows of an array, `stride` floats apart; of a panel's last vector `last` lanes are there.
struct Rows {
    float* at;
    int64_t stride;
    int last = Fv::lanes;

    Fv load(int row, int vector, bool final) const {
        const float* const p = at + row * stride + vector * Fv::lanes;
        return final && last < Fv::lanes ? Fv::load(p, last) : Fv::load(p);
    }
    void store(int row, int vector, bool final, Fv value) const {
        float* const p = at + row * stride + vector * Fv::lanes;
        final && last < Fv::lanes ? value.store(p, last) : value.store(p);
    }
};

/// The left factor of a product: its row r begins at `at + r * stride`, the reduction goes along `step`.
struct Left {
    const float* at;
    int64_t stride, step;
};

/// to[r] = from[r] + x[r, 0..k) w[0..k) over one panel of V vectors, with ReLU where asked; without BEGUN the sums begin
/// at zero. They stay in registers.
template <int R, int V, bool BEGUN>
void tile(int k, const Left& x, const float* w, int64_t w_step, const Rows& from, bool relu, const Rows& to) {
    const Fv zero = Fv::all(0.0f);
    Fv own[R][V];
    written_out<R>([&](auto r) {
        written_out<V>([&](auto v) { own[r][v] = BEGUN ? from.load(r, v, v == V - 1) : zero; });
    });
    const float* left = x.at;
    for (int i = 0; i < k; i++) {
        Fv weight[V];
        written_out<V>([&](auto v) { weight[v] = Fv::load(w + v * Fv::lanes); });
        written_out<R>([&](auto r) {
            const Fv value = Fv::all(left[r * x.stride]);
            written_out<V>([&](auto v) { own[r][v] = fma(value, weight[v], own[r][v]); });
        });
        w += w_step;
        left += x.step;
    }
    written_out<R>([&](auto r) {
        written_out<V>([&](auto v) {
            if (relu) own[r][v] = max(own[r][v], zero);
            to.store(r, v, v == V - 1, own[r][v]);
        });
    });
}

inline void any_tile(int rows, int vectors, int k, const Left& x, const float* w, int64_t w_step, const Rows& from,
                     bool relu, const Rows& to) {
    switch (2 * rows + vectors - 1) {
#define LIKENESS_CASE(r, v)                                                            \
    case 2 * r + v - 1:                                                                \
        return from.at ? tile<r, v, true>(k, x, w, w_step, from, relu, to)             \
                       : tile<r, v, false>(k, x, w, w_step, from, relu, to);
#define LIKENESS_CASES(r) LIKENESS_CASE(r, 1) LIKENESS_CASE(r, 2)
        LIKENESS_CASES(6) LIKENESS_CASES(5) LIKENESS_CASES(4) LIKENESS_CASES(3) LIKENESS_CASES(2) LIKENESS_CASES(1)
#undef LIKENESS_CASES
#undef LIKENESS_CASE
    }
}

/// y[rows, m] = x[rows, k] W, with ReLU where asked; y has a row stride of its own and may be unpadded. `added`, where
/// given, has y's shape and is where the sums begin.
inline void multiply(int rows, int k, int m, const float* x, int64_t x_stride, const float* panels, bool relu, float* y,
                     int64_t y_stride, const float* added = nullptr) {
    for (int p = 0; p < m; p += PANEL) {
        const int columns = std::min(PANEL, m - p), wide = padded(columns), last = columns - wide + Fv::lanes;
        for (int r = 0; r < rows; r += ROWS) {
            const Rows to{y + r * y_stride + p, y_stride, last};
            const Rows from{added ? const_cast<float*>(added) + r * y_stride + p : nullptr, y_stride, last};
            any_tile(std::min(ROWS, rows - r), wide / Fv::lanes, k, {x + r * x_stride, x_stride, 1}, panels, wide, from,
                     relu, to);
        }
        panels += static_cast<int64_t>(k) * wide;
    }
}

/// w[k, m padded] += x[rows, k]^T dy[rows, m padded].
inline void accumulate(int rows, int k, int m, const float* x, int64_t x_stride, const float* dy, float* w) {
    for (int p = 0; p < m; p += PANEL)
        for (int i = 0; i < k; i += ROWS) {
            const Rows sums{w + static_cast<int64_t>(i) * m + p, m};
            any_tile(std::min(ROWS, k - i), std::min(PANEL, m - p) / Fv::lanes, rows, {x + i, 1, x_stride}, dy + p, m,
                     sums, false, sums);
        }
}

}  // namespace matrix
}  // namespace likeness
