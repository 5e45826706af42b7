// LPIPS with AlexNet (Zhang et al. 2018), value and gradient in one call.
//
// Pictures lie channel by channel at every pixel, inside a border of zeros: the pixels of a kernel's row are then one run
// of memory, and a convolution is the same register tile as a matrix product, without unfolding anything. Its gradient by
// the picture is a convolution too, with the kernel turned round; only the first, which steps by four pixels, multiplies
// and adds overlapping patches. Each output has one writer and one order of summation: the same bits at any thread count.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <new>

#include "api.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int LAYERS = 5;
constexpr int CHANNELS[LAYERS + 1] = {3, 64, 192, 384, 256, 256};
constexpr int SIZE[LAYERS] = {11, 5, 3, 3, 3}, STRIDE[LAYERS] = {4, 1, 1, 1, 1}, PAD[LAYERS] = {2, 2, 1, 1, 1};
constexpr bool POOLED[LAYERS] = {false, true, true, false, false};  // whether a pooling stands before the convolution
constexpr float SHIFT[3] = {-0.030f, -0.088f, -0.188f}, SCALE[3] = {0.458f, 0.448f, 0.450f};
constexpr float NEVER_ZERO = 1e-10f;

constexpr int PANEL = 2 * Fv::lanes;  // outputs of one register tile
constexpr int ROWS = 6;               // pixels of one register tile
constexpr int PIECE = 16;             // register tiles of one piece of work

/// A picture of many channels, all of a pixel's together, inside a border of zeros.
struct Plane {
    int channels = 0, height = 0, width = 0, border = 0;
    Buffer<float> memory;

    /// Zeros throughout.
    void clear(int c, int h, int w, int b) {
        channels = c, height = h, width = w, border = b;
        const size_t count = static_cast<size_t>(h + 2 * b) * (w + 2 * b) * c;
        std::fill_n(memory.resize(count), count, 0.0f);
    }
    /// For a writer of every pixel: zeros in the border, where there is one; inside, anything.
    void shape(int c, int h, int w, int b) {
        if (b) return clear(c, h, w, b);
        channels = c, height = h, width = w, border = 0;
        memory.resize(static_cast<size_t>(h) * w * c);
    }
    int64_t row() const { return static_cast<int64_t>(width + 2 * border) * channels; }
    int64_t offset(int y, int x) const { return (y + border) * row() + static_cast<int64_t>(x + border) * channels; }
    float* at(int y, int x) { return memory.get() + offset(y, x); }
    const float* at(int y, int x) const { return memory.get() + offset(y, x); }
};

/// Weights as the register tile reads them: panels of PANEL outputs; [taps, run, PANEL] within.
struct Kernel {
    int outputs = 0, taps = 0, run = 0;  // `taps` runs of `run` floats, one for each row of the kernel
    Buffer<float> panels;

    /// `weight(tap, i, output)` is the weight of float i of a tap's run.
    template <class Weight>
    void pack(int outputs_, int taps_, int run_, Weight&& weight) {
        outputs = outputs_, taps = taps_, run = run_;
        float* to = panels.resize(static_cast<size_t>(outputs) * taps * run);
        for (int p = 0; p < outputs; p += PANEL)
            for (int t = 0; t < taps; t++)
                for (int i = 0; i < run; i++)
                    for (int j = 0; j < PANEL; j++) *to++ = weight(t, i, p + j);
    }
};

/// R pixels of one panel of outputs: to[r] = bias + sum over taps of (run at x[r] + t * step) . weights, with ReLU where
/// there is a bias. The sums stay in registers.
template <int R>
void tile(const float* const* x, int64_t step, int taps, int run, const float* w, const float* bias, float* const* to) {
    Fv own[R][2];
    written_out<R>([&](auto r) {
        own[r][0] = bias ? Fv::load(bias) : Fv::all(0.0f);
        own[r][1] = bias ? Fv::load(bias + Fv::lanes) : Fv::all(0.0f);
    });
    for (int t = 0; t < taps; t++) {
        const float* at[R];
        written_out<R>([&](auto r) { at[r] = x[r] + t * step; });
        for (int i = 0; i < run; i++) {
            const Fv w0 = Fv::load(w), w1 = Fv::load(w + Fv::lanes);
            written_out<R>([&](auto r) {
                const Fv value = Fv::all(at[r][i]);
                own[r][0] = fma(value, w0, own[r][0]);
                own[r][1] = fma(value, w1, own[r][1]);
            });
            w += PANEL;
        }
    }
    const Fv zero = Fv::all(0.0f);
    if (bias) written_out<R>([&](auto r) { own[r][0] = max(own[r][0], zero), own[r][1] = max(own[r][1], zero); });
    written_out<R>([&](auto r) {
        own[r][0].store(to[r]);
        own[r][1].store(to[r] + Fv::lanes);
    });
}

void any_tile(int rows, const float* const* x, int64_t step, int taps, int run, const float* w, const float* bias,
              float* const* to) {
    switch (rows) {
#define LIKENESS_CASE(n) \
    case n: return tile<n>(x, step, taps, run, w, bias, to);
        LIKENESS_CASE(6) LIKENESS_CASE(5) LIKENESS_CASE(4) LIKENESS_CASE(3) LIKENESS_CASE(2) LIKENESS_CASE(1)
#undef LIKENESS_CASE
    }
}

/// Every pixel of `out` from the runs of `in` that begin `pad` pixels above and left of its own place times `stride`.
void convolve(const Kernel& kernel, const float* bias, const Plane& in, int stride, int pad, Plane& out) {
    const int pixels = out.height * out.width, tiles = (pixels + ROWS - 1) / ROWS, pieces = (tiles + PIECE - 1) / PIECE;
    const size_t panel = static_cast<size_t>(kernel.taps) * kernel.run * PANEL;
    // A panel's pieces come one after the other, so that its weights are still in the cache.
    parallel_for(static_cast<int64_t>(kernel.outputs / PANEL) * pieces, 1, [&](int64_t task, int64_t) {
        const int p = static_cast<int>(task / pieces), piece = static_cast<int>(task % pieces);
        for (int t = piece * PIECE; t < std::min(tiles, (piece + 1) * PIECE); t++) {
            const int first = t * ROWS, rows = std::min(ROWS, pixels - first);
            const float* x[ROWS];
            float* to[ROWS];
            for (int r = 0; r < rows; r++) {
                const int row = (first + r) / out.width, column = (first + r) % out.width;
                x[r] = in.at(row * stride - pad, column * stride - pad);
                to[r] = out.at(row, column) + p * PANEL;
            }
            any_tile(rows, x, in.row(), kernel.taps, kernel.run, kernel.panels.get() + p * panel,
                     bias ? bias + p * PANEL : nullptr, to);
        }
    });
}

/// The greatest of 3x3 pixels, every second pixel.
void pool(const Plane& in, Plane& out) {
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++)
            for (int c = 0; c < in.channels; c += Fv::lanes) {
                Fv most = Fv::load(in.at(2 * y, 2 * x) + c);
                for (int k = 1; k < 9; k++) most = max(most, Fv::load(in.at(2 * y + k / 3, 2 * x + k % 3) + c));
                most.store(out.at(y, x) + c);
            }
}

/// Adds each output's gradient to the first of its nine pixels that is as great.
void pool_backward(const Plane& in, const Plane& out, const Plane& out_gradient, Plane& in_gradient) {
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++)
            for (int c = 0; c < in.channels; c += Fv::lanes) {
                const Fv most = Fv::load(out.at(y, x) + c);
                Fv left = Fv::load(out_gradient.at(y, x) + c);
                for (int k = 0; k < 9; k++) {
                    const int row = 2 * y + k / 3, column = 2 * x + k % 3;
                    const Fv taken = zero_unless(ge(Fv::load(in.at(row, column) + c), most), left);
                    float* to = in_gradient.at(row, column) + c;
                    (Fv::load(to) + taken).store(to);
                    left = left - taken;
                }
            }
}

/// Mean over pixels of the weighted squared distance of both pictures' channels, each brought to length one; where
/// `gradient` is given its interior is overwritten.
double compare(const Plane& mine, const Plane& truth, const float* linear, Plane* gradient) {
    const int pixels = mine.height * mine.width, channels = mine.channels;
    static thread_local Buffer<float> memory;
    float* distances = memory.resize(pixels);
    const Fv share = Fv::all(2.0f / static_cast<float>(pixels));
    parallel_for(pixels, 32, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
            const int y = static_cast<int>(i / mine.width), x = static_cast<int>(i % mine.width);
            const float *a = mine.at(y, x), *b = truth.at(y, x);
            Fv aa = Fv::all(0.0f), bb = aa;
            for (int c = 0; c < channels; c += Fv::lanes) {
                const Fv va = Fv::load(a + c), vb = Fv::load(b + c);
                aa = fma(va, va, aa), bb = fma(vb, vb, bb);
            }
            const Fv to_unit = Fv::all(1.0f / std::sqrt(sum_of_lanes(aa) + NEVER_ZERO));
            const Fv to_true_unit = Fv::all(1.0f / std::sqrt(sum_of_lanes(bb) + NEVER_ZERO));
            Fv distance = Fv::all(0.0f), along = distance;
            for (int c = 0; c < channels; c += Fv::lanes) {
                const Fv unit = Fv::load(a + c) * to_unit, off = unit - Fv::load(b + c) * to_true_unit;
                const Fv weighted = Fv::load(linear + c) * off;
                distance = fma(weighted, off, distance), along = fma(weighted, unit, along);
            }
            distances[i] = sum_of_lanes(distance);
            if (!gradient) continue;
            float* to = gradient->at(y, x);
            const Fv radial = Fv::all(sum_of_lanes(along)), scale = share * to_unit;
            for (int c = 0; c < channels; c += Fv::lanes) {
                const Fv unit = Fv::load(a + c) * to_unit, off = unit - Fv::load(b + c) * to_true_unit;
                (scale * (Fv::load(linear + c) * off - unit * radial)).store(to + c);
            }
        }
    });
    double sum = 0.0;
    for (int i = 0; i < pixels; i++) sum += distances[i];
    return sum / pixels;
}

/// Adds `more` and lets nothing through where `value` is not positive.
void through_relu(const Plane& value, const Plane* more, Plane& gradient) {
    const Fv zero = Fv::all(0.0f);
    for (int y = 0; y < value.height; y++)
        for (int x = 0; x < value.width; x++) {
            const float* v = value.at(y, x);
            float* to = gradient.at(y, x);
            for (int c = 0; c < value.channels; c += Fv::lanes) {
                const Fv sum = more ? Fv::load(to + c) + Fv::load(more->at(y, x) + c) : Fv::load(to + c);
                zero_unless(gt(Fv::load(v + c), zero), sum).store(to + c);
            }
        }
}

/// What the network makes of one picture.
struct Features {
    Plane input, pooled[LAYERS], layers[LAYERS];
};

/// Everything of one call.
struct Work {
    Features mine, truth;
    Plane gradients[LAYERS], below, patches, picture;
};

}  // namespace
}  // namespace likeness

struct LikenessLpips {
    likeness::Kernel forward[likeness::LAYERS], backward[likeness::LAYERS];
    likeness::Buffer<float> bias[likeness::LAYERS], linear[likeness::LAYERS];
};

namespace likeness {
namespace {

void pack(LikenessLpips& net, int k, const float* weights) {
    const int in = CHANNELS[k], out = CHANNELS[k + 1], size = SIZE[k];
    const auto weight = [=](int to, int from, int y, int x) { return weights[((to * in + from) * size + y) * size + x]; };
    net.forward[k].pack(out, size, size * in, [=](int y, int i, int to) { return weight(to, i % in, y, i / in); });
    if (STRIDE[k] == 1) {
        net.backward[k].pack(in, size, size * out, [=](int y, int i, int to) {
            return weight(i % out, to, size - 1 - y, size - 1 - i / out);
        });
        return;
    }
    // One row for each pixel: the patch of the input that it reads, [y, x, channel], filled up to whole panels.
    const int patch = size * size * in, columns = (patch + PANEL - 1) / PANEL * PANEL;
    net.backward[k].pack(columns, 1, out, [=](int, int from, int to) {
        return to < patch ? weight(from, to % in, to / (size * in), to / in % size) : 0.0f;
    });
}

void look(const LikenessLpips& net, int height, int width, const float* picture, Features& to) {
    to.input.shape(3, height, width, PAD[0]);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                const float value = picture[(static_cast<int64_t>(c) * height + y) * width + x];
                to.input.at(y, x)[c] = (value * 2.0f - 1.0f - SHIFT[c]) / SCALE[c];
            }
    for (int k = 0; k < LAYERS; k++) {
        const Plane* in = k ? &to.layers[k - 1] : &to.input;
        if (POOLED[k]) {
            to.pooled[k].shape(CHANNELS[k], (in->height - 3) / 2 + 1, (in->width - 3) / 2 + 1, PAD[k]);
            pool(*in, to.pooled[k]);
            in = &to.pooled[k];
        }
        const int down = (in->height + 2 * PAD[k] - SIZE[k]) / STRIDE[k] + 1;
        const int across = (in->width + 2 * PAD[k] - SIZE[k]) / STRIDE[k] + 1;
        const int border = k + 1 < LAYERS && !POOLED[k + 1] ? PAD[k + 1] : 0;
        to.layers[k].shape(CHANNELS[k + 1], down, across, border);
        convolve(net.forward[k], net.bias[k].get(), *in, STRIDE[k], PAD[k], to.layers[k]);
    }
}

/// From the gradients of the five layers, as `compare` left them, to the picture's.
void look_back(const LikenessLpips& net, Work& work, float* gradient) {
    const Features& mine = work.mine;
    through_relu(mine.layers[LAYERS - 1], nullptr, work.gradients[LAYERS - 1]);
    for (int k = LAYERS - 1; k > 0; k--) {
        const Plane& in = POOLED[k] ? mine.pooled[k] : mine.layers[k - 1];
        work.below.shape(CHANNELS[k], in.height, in.width, 0);
        convolve(net.backward[k], nullptr, work.gradients[k], 1, SIZE[k] - 1 - PAD[k], work.below);
        if (POOLED[k]) pool_backward(mine.layers[k - 1], in, work.below, work.gradients[k - 1]);
        through_relu(mine.layers[k - 1], POOLED[k] ? nullptr : &work.below, work.gradients[k - 1]);
    }
    const Plane& first = work.gradients[0];
    const int height = mine.input.height, width = mine.input.width, run = SIZE[0] * 3;
    work.patches.shape(net.backward[0].outputs, first.height, first.width, 0);
    convolve(net.backward[0], nullptr, first, 1, 0, work.patches);
    work.picture.clear(3, height, width, PAD[0]);
    for (int y = 0; y < first.height; y++)
        for (int x = 0; x < first.width; x++)
            for (int row = 0; row < SIZE[0]; row++) {
                const float* from = work.patches.at(y, x) + row * run;
                float* to = work.picture.at(y * STRIDE[0] - PAD[0] + row, x * STRIDE[0] - PAD[0]);
                for (int i = 0; i < run; i++) to[i] += from[i];
            }
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                gradient[(static_cast<int64_t>(c) * height + y) * width + x] = work.picture.at(y, x)[c] * (2.0f / SCALE[c]);
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT LikenessLpips* likeness_lpips_create(const float* const* weights, const float* const* biases,
                                                     const float* const* linear) try {
    using namespace likeness;
    auto net = std::make_unique<LikenessLpips>();
    for (int k = 0; k < LAYERS; k++) {
        pack(*net, k, weights[k]);
        std::copy_n(biases[k], CHANNELS[k + 1], net->bias[k].resize(CHANNELS[k + 1]));
        std::copy_n(linear[k], CHANNELS[k + 1], net->linear[k].resize(CHANNELS[k + 1]));
    }
    return net.release();
} catch (const std::bad_alloc&) {
    return nullptr;
}

LIKENESS_EXPORT void likeness_lpips_destroy(LikenessLpips* net) { delete net; }

LIKENESS_EXPORT double likeness_lpips(const LikenessLpips* net, int32_t height, int32_t width, const float* image,
                                      const float* target, float* gradient) try {
    using namespace likeness;
    const int64_t count = 3 * static_cast<int64_t>(height) * width;
    if (!all_finite(image, count) || !all_finite(target, count)) return std::numeric_limits<double>::quiet_NaN();
    static thread_local Work memory;
    Work& work = memory;
    look(*net, height, width, target, work.truth);
    look(*net, height, width, image, work.mine);
    double distance = 0.0;
    for (int k = 0; k < LAYERS; k++) {
        const Plane& mine = work.mine.layers[k];
        Plane& own = work.gradients[k];
        if (gradient) own.shape(mine.channels, mine.height, mine.width, k ? SIZE[k] - 1 - PAD[k] : 0);
        distance += compare(mine, work.truth.layers[k], net->linear[k].get(), gradient ? &own : nullptr);
    }
    if (gradient) look_back(*net, work, gradient);
    return distance;
} catch (const std::bad_alloc&) {
    return std::numeric_limits<double>::quiet_NaN();
}
