// A bias-free ReLU network of two or three layers, all layers of a block of rows in one go while they are in the cache.
// Weight gradients are summed in a fixed number of parts, in order: the same bits at any thread count.
#include <algorithm>
#include <new>

#include "api.h"
#include "matrix.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

using namespace matrix;

constexpr int BLOCK = 60;  // rows that go through all layers at once
constexpr int PARTS = 8;   // partial sums of the weight gradients
constexpr int MAX_LAYERS = 3;

/// One row's numbers, whole vectors first.
void copy(const float* from, int count, float* to) {
    int i = 0;
    for (; i + Fv::lanes <= count; i += Fv::lanes) Fv::load(from + i).store(to + i);
    if (i < count) Fv::load(from + i, count - i).store(to + i, count - i);
}

/// A matrix whose columns lie side by side in several arrays [count, widths[part]]; null: zeros, or wanted by nobody.
struct Columns {
    LikenessColumns parts;

    bool whole() const { return parts.count == 1; }
    bool any() const {
        return std::any_of(parts.at, parts.at + parts.count, [](const float* part) { return part; });
    }
    /// Calls body(part, its first column) for each.
    template <class Body>
    void each(Body&& body) const {
        for (int part = 0, column = 0; part < parts.count; column += parts.widths[part++]) body(part, column);
    }
    float* row(int part, int64_t r) const { return parts.at[part] + r * parts.widths[part]; }
    /// Rows from `begin` on, put together in `to`, `stride` floats apart.
    void gather(int64_t begin, int rows, float* to, int stride) const {
        each([&](int part, int column) {
            for (int r = 0; r < rows; r++)
                if (parts.at[part])
                    copy(row(part, begin + r), parts.widths[part], to + r * stride + column);
                else
                    std::fill_n(to + r * stride + column, parts.widths[part], 0.0f);
        });
    }
    void scatter(const float* from, int stride, int64_t begin, int rows) const {
        each([&](int part, int column) {
            for (int r = 0; parts.at[part] && r < rows; r++)
                copy(from + r * stride + column, parts.widths[part], row(part, begin + r));
        });
    }
};

/// g[rows, padded] = 0 where h[rows, width] is not positive.
void through_relu(int rows, int width, const float* h, int m, float* g) {
    const Fv zero = Fv::all(0.0f);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < width; j += Fv::lanes) {
            float* at = g + r * m + j;
            zero_unless(gt(Fv::load(h + r * width + j), zero), Fv::load(at)).store(at);
        }
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_mlp_forward(int32_t count, int32_t layers, const int32_t* widths,
                                             const LikenessColumns* inputs, const float* const* weights,
                                             float* const* hidden, const LikenessColumns* outputs) try {
    using namespace likeness;
    const Columns in{*inputs}, out{*outputs};
    const int stride_in = padded(widths[0]), stride_out = padded(widths[layers]);
    Buffer<float> panels[MAX_LAYERS];
    for (int l = 0; l < layers; l++)
        pack(weights[l], widths[l], widths[l + 1], true,
             panels[l].resize(static_cast<size_t>(widths[l]) * padded(widths[l + 1])));
    parallel_for(count, BLOCK, [&](int64_t begin, int64_t end) {
        static thread_local Buffer<float> memory;
        const int rows = static_cast<int>(end - begin);
        float* const joined = memory.resize(static_cast<size_t>(BLOCK) * (stride_in + stride_out));
        float* const answers = joined + static_cast<size_t>(BLOCK) * stride_in;
        Rows x{joined, stride_in};
        if (in.whole())
            x = {in.row(0, begin), widths[0]};
        else
            in.gather(begin, rows, joined, stride_in);
        for (int l = 0; l < layers; l++) {
            const bool final = l == layers - 1;
            Rows y{final ? answers : hidden[l] + begin * widths[l + 1], final ? stride_out : widths[l + 1]};
            if (final && out.whole()) y = {out.row(0, begin), widths[l + 1]};
            multiply(rows, widths[l], widths[l + 1], x.at, x.stride, panels[l].get(), !final, y.at, y.stride);
            x = y;
        }
        if (!out.whole()) out.scatter(answers, stride_out, begin, rows);
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT int32_t likeness_mlp_infer(int32_t count, int32_t layers, const int32_t* widths, const float* input,
                                           const float* added, const float* const* weights, float* output) try {
    using namespace likeness;
    Buffer<float> panels[MAX_LAYERS];
    int widest = 0;
    for (int l = 0; l < layers; l++) {
        widest = std::max(widest, widths[l + 1]);
        pack(weights[l], widths[l], widths[l + 1], true,
             panels[l].resize(static_cast<size_t>(widths[l]) * padded(widths[l + 1])));
    }
    parallel_for(count, BLOCK, [&](int64_t begin, int64_t end) {
        static thread_local Buffer<float> memory;
        float* y = memory.resize(2 * static_cast<size_t>(BLOCK) * widest);
        float* other = y + static_cast<size_t>(BLOCK) * widest;
        const float* x = input + begin * widths[0];
        for (int l = 0; l < layers; l++) {
            const int width = widths[l + 1];
            const bool final = l == layers - 1;
            multiply(static_cast<int>(end - begin), widths[l], width, x, widths[l], panels[l].get(), !final,
                     final ? output + begin * width : y, width, l ? nullptr : added + begin * width);
            x = y;
            std::swap(y, other);
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT int32_t likeness_mlp_backward(int32_t count, int32_t layers, const int32_t* widths,
                                              const LikenessColumns* inputs, const float* const* weights,
                                              const float* const* hidden, const LikenessColumns* output_gradients,
                                              float* const* weight_gradients,
                                              const LikenessColumns* input_gradients) try {
    using namespace likeness;
    const Columns in{*inputs}, upstream{*output_gradients}, out{*input_gradients};
    Buffer<float> panels[MAX_LAYERS];
    size_t offset[MAX_LAYERS + 1] = {};
    int widest = padded(widths[0]);
    for (int l = 0; l < layers; l++) {
        const int k = widths[l], m = widths[l + 1];
        pack(weights[l], m, k, false, panels[l].resize(static_cast<size_t>(m) * padded(k)));
        offset[l + 1] = offset[l] + static_cast<size_t>(k) * padded(m);
        widest = std::max(widest, padded(m));
    }
    const int64_t blocks = (count + BLOCK - 1) / BLOCK;
    const int sums_count = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(PARTS, blocks)));
    Buffer<float> sums;
    std::fill_n(sums.resize(offset[layers] * sums_count), offset[layers] * sums_count, 0.0f);
    parallel_for(sums_count, 1, [&](int64_t part, int64_t) {
        float* own = sums.get() + offset[layers] * part;
        static thread_local Buffer<float> memory;
        const size_t size = static_cast<size_t>(BLOCK) * widest;
        float* g = memory.resize(3 * size);
        float* next = g + size;
        float* const joined = next + size;
        for (int64_t block = blocks * part / sums_count; block < blocks * (part + 1) / sums_count; block++) {
            const int64_t begin = block * BLOCK;
            const int rows = static_cast<int>(std::min<int64_t>(BLOCK, count - begin));
            const int last = layers - 1, outputs = widths[layers], m_out = padded(outputs);
            upstream.gather(begin, rows, g, m_out);
            for (int r = 0; r < rows; r++) std::fill_n(g + r * m_out + outputs, m_out - outputs, 0.0f);
            for (int l = last; l >= 0; l--) {
                const int k = widths[l], m = padded(widths[l + 1]), stride = padded(k);
                Rows x{joined, stride};
                if (l)
                    x = {const_cast<float*>(hidden[l - 1]) + begin * k, k};
                else if (in.whole())
                    x = {in.row(0, begin), k};
                else if (weight_gradients[0])
                    in.gather(begin, rows, joined, stride);
                if (weight_gradients[l]) accumulate(rows, k, m, x.at, x.stride, g, own + offset[l]);
                if (!l && !out.any()) break;
                if (!l && out.whole()) {
                    multiply(rows, widths[1], k, g, m, panels[0].get(), false, out.row(0, begin), k);
                    break;
                }
                if (stride != k) std::fill_n(next, static_cast<size_t>(rows) * stride, 0.0f);
                multiply(rows, widths[l + 1], k, g, m, panels[l].get(), false, next, stride);
                if (l)
                    through_relu(rows, k, x.at, stride, next);
                else
                    out.scatter(next, stride, begin, rows);
                std::swap(g, next);
            }
        }
    });
    for (int l = 0; l < layers; l++) {
        if (!weight_gradients[l]) continue;
        const int k = widths[l], m = widths[l + 1], stride = padded(m);
        float* const first = sums.get() + offset[l];  // the parts are added up in the first one's place
        for (int p = 1; p < sums_count; p++) {
            const float* const other = first + offset[layers] * p;
            for (int64_t i = 0; i < static_cast<int64_t>(k) * stride; i++) first[i] += other[i];
        }
        for (int j = 0; j < m; j++)
            for (int i = 0; i < k; i++)
                weight_gradients[l][static_cast<size_t>(j) * k + i] = first[static_cast<size_t>(i) * stride + j];
    }
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
