// A chain of convolutions along time with leaky ReLUs, for short sequences of many numbers a step. Each layer is a matrix
// product over the windows its outputs look at. Weight gradients are summed in a fixed number of parts, in order.
#include <algorithm>
#include <new>
#include <vector>

#include "api.h"
#include "matrix.h"
#include "raster.h"
#include "threads.h"

namespace likeness {
namespace {

using namespace matrix;

constexpr int ITEMS = 16;  // sequences that go through all layers at once
constexpr int PARTS = 8;   // partial sums of the weight gradients

/// One layer as all sequences share it.
struct Layer {
    int inputs, outputs, side, stride, before, after;  // channels; window; steps

    int window() const { return inputs * side; }

    /// [items * after, padded(window())]: what every output looks at, zeros beyond the ends; entry (channel, step).
    void unfold(int items, const float* x, float* windows) const {
        const int row = padded(window());
        for (int at = 0; at < items * after; at++, windows += row) {
            const int first = at % after * stride - side / 2;
            const float* const sequence = x + static_cast<int64_t>(at / after) * before * inputs;
            for (int k = 0; k < side; k++) {
                const int t = first + k;
                const bool inside = t >= 0 && t < before;
                for (int c = 0; c < inputs; c++) windows[c * side + k] = inside ? sequence[t * inputs + c] : 0.0f;
            }
            std::fill(windows + window(), windows + row, 0.0f);
        }
    }

    /// What `unfold` spread, added up again: x [items, before, inputs] is overwritten.
    void fold(int items, const float* windows, float* x) const {
        const int row = padded(window());
        std::fill_n(x, static_cast<int64_t>(items) * before * inputs, 0.0f);
        for (int at = 0; at < items * after; at++, windows += row) {
            const int first = at % after * stride - side / 2;
            float* const sequence = x + static_cast<int64_t>(at / after) * before * inputs;
            for (int k = 0; k < side; k++) {
                const int t = first + k;
                if (t < 0 || t >= before) continue;
                for (int c = 0; c < inputs; c++) sequence[t * inputs + c] += windows[c * side + k];
            }
        }
    }
};

/// The layers' shapes, and how much memory a block of sequences takes.
struct Chain {
    std::vector<Layer> layers;
    size_t windows = 0, widest = 0;  // floats of the largest unfolded layer, and of the largest input or output

    Chain(int steps, int count, const int32_t* shapes) {
        for (int l = 0; l < count; l++, shapes += 4) {
            const int after = (steps + 2 * (shapes[2] / 2) - shapes[2]) / shapes[3] + 1;
            layers.push_back({shapes[0], shapes[1], shapes[2], shapes[3], steps, after});
            const Layer& layer = layers.back();
            windows = std::max(windows, static_cast<size_t>(ITEMS) * after * padded(layer.window()));
            widest = std::max({widest, static_cast<size_t>(ITEMS) * steps * layer.inputs,
                               static_cast<size_t>(ITEMS) * after * layer.outputs});
            steps = after;
        }
    }
};

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_convolve_forward(int32_t items, int32_t steps, int32_t layers, const int32_t* shapes,
                                                  float leak, const float* input, const float* const* weights,
                                                  const float* const* biases, float* const* outputs) try {
    using namespace likeness;
    const Chain chain(steps, layers, shapes);
    std::vector<Buffer<float>> panels(static_cast<size_t>(layers));
    for (int l = 0; l < layers; l++) {
        const Layer& layer = chain.layers[l];
        const size_t size = static_cast<size_t>(layer.window()) * padded(layer.outputs);
        pack(weights[l], layer.window(), layer.outputs, true, panels[l].resize(size));
    }
    parallel_for(items, ITEMS, [&](int64_t begin, int64_t end) {
        const int here = static_cast<int>(end - begin);
        std::vector<float> windows(chain.windows);
        const float* x = input + begin * steps * chain.layers[0].inputs;
        for (int l = 0; l < layers; l++) {
            const Layer& layer = chain.layers[l];
            const int rows = here * layer.after, m = layer.outputs;
            float* const y = outputs[l] + begin * layer.after * m;
            layer.unfold(here, x, windows.data());
            for (int r = 0; r < rows; r++) std::copy_n(biases[l], m, y + r * m);
            multiply(rows, layer.window(), m, windows.data(), padded(layer.window()), panels[l].get(), false, y, m, y);
            for (int i = 0; i < rows * m; i++) y[i] = std::max(y[i], leak * y[i]);
            x = y;
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT int32_t likeness_convolve_backward(int32_t items, int32_t steps, int32_t layers, const int32_t* shapes,
                                                   float leak, const float* input, const float* const* weights,
                                                   const float* const* outputs, const float* output_gradient,
                                                   float* const* weight_gradients, float* const* bias_gradients,
                                                   float* input_gradient) try {
    using namespace likeness;
    const Chain chain(steps, layers, shapes);
    std::vector<Buffer<float>> panels(static_cast<size_t>(layers));
    std::vector<size_t> offset(1, 0);  // of a layer's sums: weights [outputs, padded(window)], then biases
    for (int l = 0; l < layers; l++) {
        const Layer& layer = chain.layers[l];
        const size_t row = padded(layer.window());
        if (l || input_gradient)
            pack(weights[l], layer.outputs, layer.window(), false, panels[l].resize(layer.outputs * row));
        offset.push_back(offset.back() + layer.outputs * (row + 1));
    }
    const int64_t blocks = (items + ITEMS - 1) / ITEMS;
    const int parts = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(PARTS, blocks)));
    std::vector<float> sums(offset.back() * parts, 0.0f);
    parallel_for(parts, 1, [&](int64_t part, int64_t) {
        float* const own = sums.data() + offset.back() * part;
        std::vector<float> windows(chain.windows), memory(2 * chain.widest);
        float *g = memory.data(), *next = g + chain.widest;
        for (int64_t block = blocks * part / parts; block < blocks * (part + 1) / parts; block++) {
            const int64_t begin = block * ITEMS;
            const int here = static_cast<int>(std::min<int64_t>(ITEMS, items - begin));
            const Layer& last = chain.layers.back();
            const int64_t size = static_cast<int64_t>(last.after) * last.outputs;
            std::copy_n(output_gradient + begin * size, here * size, g);
            for (int l = layers - 1; l >= 0; l--) {
                const Layer& layer = chain.layers[l];
                const int rows = here * layer.after, m = layer.outputs, row = padded(layer.window());
                const float* const y = outputs[l] + begin * layer.after * m;
                for (int i = 0; i < rows * m; i++) g[i] = y[i] > 0.0f ? g[i] : leak * g[i];
                float* const weight_sums = own + offset[l];
                float* const bias_sums = weight_sums + static_cast<size_t>(m) * row;
                if (bias_gradients[l])
                    for (int r = 0; r < rows; r++)
                        for (int o = 0; o < m; o++) bias_sums[o] += g[r * m + o];
                if (weight_gradients[l]) {
                    layer.unfold(here, (l ? outputs[l - 1] : input) + begin * layer.before * layer.inputs, windows.data());
                    accumulate(rows, m, row, g, m, windows.data(), weight_sums);
                }
                if (!l && !input_gradient) continue;
                multiply(rows, m, layer.window(), g, m, panels[l].get(), false, windows.data(), row);
                layer.fold(here, windows.data(), l ? next : input_gradient + begin * layer.before * layer.inputs);
                std::swap(g, next);
            }
        }
    });
    for (int l = 0; l < layers; l++) {
        const Layer& layer = chain.layers[l];
        const int row = padded(layer.window());
        const auto sum = [&](size_t at) {
            float total = 0.0f;
            for (int p = 0; p < parts; p++) total += sums[offset.back() * p + offset[l] + at];
            return total;
        };
        for (int o = 0; o < layer.outputs; o++) {
            for (int i = 0; weight_gradients[l] && i < layer.window(); i++)
                weight_gradients[l][o * layer.window() + i] = sum(static_cast<size_t>(o) * row + i);
            if (bias_gradients[l]) bias_gradients[l][o] = sum(static_cast<size_t>(layer.outputs) * row + o);
        }
    }
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
