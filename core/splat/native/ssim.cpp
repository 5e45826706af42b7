// SSIM as 3D Gaussian splatting uses it: 11-pixel Gaussian window, sigma 1.5, zero padding; value and gradient in one call.
//
// The window is separable and symmetric: rows are blurred once into a ring of eleven, columns from the ring. Only the sum
// of both variances is ever needed, so four maps are blurred and not five. Work is cut into strips of rows whose sums are
// added in order: the same bits at any thread count.
#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "api.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int RADIUS = 5, TAPS = 2 * RADIUS + 1, STRIP = 64;
constexpr float SIGMA = 1.5f, C1 = 1e-4f, C2 = 9e-4f;

struct Window {
    float tap[RADIUS + 1];  // tap[0] is the centre
    Window() {
        double weight[RADIUS + 1], sum = 0.0;
        for (int i = 0; i <= RADIUS; i++) {
            weight[i] = std::exp(-i * i / (2.0 * SIGMA * SIGMA));
            sum += i ? 2.0 * weight[i] : weight[i];
        }
        for (int i = 0; i <= RADIUS; i++) tap[i] = static_cast<float>(weight[i] / sum);
    }
};

int padded_width(int width) { return (width + Fv::lanes - 1) / Fv::lanes * Fv::lanes; }

/// `in` points at column 0 and has at least RADIUS zeros before it and after the padded width.
void blur_row(const Window& w, const float* in, float* out, int width) {
    for (int x = 0; x < width; x += Fv::lanes) {
        Fv sum = Fv::all(w.tap[0]) * Fv::load(in + x);
        for (int d = 1; d <= RADIUS; d++)
            sum = fma(Fv::all(w.tap[d]), Fv::load(in + x - d) + Fv::load(in + x + d), sum);
        sum.store(out + x);
    }
}

/// Rolls MAPS maps through the window. `fill(y, row)` writes row y of each map; `use(y, blurred)` gets the blurred rows.
template <int MAPS>
class Strip {
public:
    Strip(int width, int height)
        : width_(padded_width(width)), height_(height), row_size_(width_ + 2 * MARGIN),
          row_(static_cast<size_t>(MAPS) * row_size_, 0.0f), ring_(static_cast<size_t>(TAPS) * MAPS * width_),
          column_(static_cast<size_t>(MAPS) * width_) {}

    template <class Fill, class Use>
    void run(const Window& w, int first, int past, Fill&& fill, Use&& use) {
        for (int y = first - RADIUS; y < past + RADIUS; y++) {
            float* slot = ring_row(y);
            if (y < 0 || y >= height_) {
                std::fill_n(slot, static_cast<size_t>(MAPS) * width_, 0.0f);
            } else {
                float* rows[MAPS];
                for (int m = 0; m < MAPS; m++) rows[m] = row_.data() + m * row_size_ + MARGIN;
                fill(y, rows);
                for (int m = 0; m < MAPS; m++) blur_row(w, rows[m], slot + m * width_, width_);
            }
            const int centre = y - RADIUS;
            if (centre < first) continue;
            const float* r[TAPS];
            for (int d = 0; d < TAPS; d++) r[d] = ring_row(centre - RADIUS + d);
            for (int x = 0; x < MAPS * width_; x += Fv::lanes) {
                Fv sum = Fv::all(w.tap[0]) * Fv::load(r[RADIUS] + x);
                for (int d = 1; d <= RADIUS; d++)
                    sum = fma(Fv::all(w.tap[d]), Fv::load(r[RADIUS - d] + x) + Fv::load(r[RADIUS + d] + x), sum);
                sum.store(column_.data() + x);
            }
            const float* maps[MAPS];
            for (int m = 0; m < MAPS; m++) maps[m] = column_.data() + static_cast<size_t>(m) * width_;
            use(centre, maps);
        }
    }

private:
    static constexpr int MARGIN = 16;
    float* ring_row(int y) { return ring_.data() + static_cast<size_t>((y + 2 * TAPS) % TAPS) * MAPS * width_; }
    int width_, height_, row_size_;
    std::vector<float> row_, ring_, column_;
};

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT double likeness_ssim(int32_t channels, int32_t height, int32_t width, const float* image,
                                     const float* target, float* gradient) try {
    using namespace likeness;
    static const Window window;
    const int64_t plane = static_cast<int64_t>(width) * height;
    const int strips = (height + STRIP - 1) / STRIP, stride = padded_width(width);
    // Derivatives by the window's mean of the image, of its square, and of the product; padded rows.
    static thread_local Buffer<float> derivatives;
    const int64_t derivative_plane = static_cast<int64_t>(stride) * height;
    float* d_maps = gradient ? derivatives.resize(static_cast<size_t>(derivative_plane) * channels * 3) : nullptr;
    std::vector<double> sums(static_cast<size_t>(channels) * strips, 0.0);
    parallel_for(static_cast<int64_t>(channels) * strips, 1, [&](int64_t job, int64_t) {
        const int channel = static_cast<int>(job) / strips, first = static_cast<int>(job) % strips * STRIP;
        const float *a = image + channel * plane, *b = target + channel * plane;
        Strip<4> strip(width, height);
        double total = 0.0;
        strip.run(
            window, first, std::min(height, first + STRIP),
            [&](int y, float* const* rows) {
                const float *pa = a + static_cast<int64_t>(y) * width, *pb = b + static_cast<int64_t>(y) * width;
                for (int x = 0; x < width; x++) {
                    const float u = pa[x], v = pb[x];
                    rows[0][x] = u, rows[1][x] = v, rows[2][x] = u * u + v * v, rows[3][x] = u * v;
                }
            },
            [&](int y, const float* const* m) {
                const Fv two = Fv::all(2.0f), one = Fv::all(1.0f), c1 = Fv::all(C1), c2 = Fv::all(C2);
                float* d = d_maps ? d_maps + channel * 3 * derivative_plane + static_cast<int64_t>(y) * stride : nullptr;
                Fv row_sum = Fv::all(0.0f);
                for (int x = 0; x < width; x += Fv::lanes) {
                    const Fv m1 = Fv::load(m[0] + x), m2 = Fv::load(m[1] + x);
                    const Fv mm = m1 * m2, squares = fma(m1, m1, m2 * m2);
                    const Fv n1 = fma(two, mm, c1), n2 = fma(two, Fv::load(m[3] + x) - mm, c2);
                    const Fv e1 = squares + c1, e2 = Fv::load(m[2] + x) - squares + c2;
                    const Fv r1 = one / e1, r2 = one / e2, ratio = r1 * r2;
                    const Fv value = n1 * n2 * ratio;
                    if (x + Fv::lanes <= width) {
                        row_sum = row_sum + value;
                    } else {
                        float lanes[Fv::lanes];
                        value.store(lanes);
                        for (int i = 0; x + i < width; i++) total += lanes[i];
                    }
                    if (!d) continue;
                    const Fv d_product = two * n1 * ratio;          // by E[ab]
                    const Fv d_square = Fv::all(0.0f) - value * r2;  // by E[aa]
                    const Fv d_mean = two * (m2 * n2 * ratio - m1 * value * r1 - m1 * d_square) - m2 * d_product;
                    d_mean.store(d + x);
                    d_square.store(d + derivative_plane + x);
                    d_product.store(d + 2 * derivative_plane + x);
                }
                float lanes[Fv::lanes];
                row_sum.store(lanes);
                for (float lane : lanes) total += lane;
            });
        sums[static_cast<size_t>(job)] = total;
    });
    const double scale = 1.0 / (static_cast<double>(plane) * channels);
    if (gradient)
        parallel_for(static_cast<int64_t>(channels) * strips, 1, [&](int64_t job, int64_t) {
            const int channel = static_cast<int>(job) / strips, first = static_cast<int>(job) % strips * STRIP;
            const float *a = image + channel * plane, *b = target + channel * plane;
            const float* d = d_maps + channel * 3 * derivative_plane;
            Strip<3> strip(width, height);
            strip.run(
                window, first, std::min(height, first + STRIP),
                [&](int y, float* const* rows) {
                    for (int m = 0; m < 3; m++)
                        std::memcpy(rows[m], d + m * derivative_plane + static_cast<int64_t>(y) * stride, sizeof(float) * width);
                },
                [&](int y, const float* const* m) {
                    const int64_t row = static_cast<int64_t>(y) * width;
                    const float s = static_cast<float>(scale);
                    for (int x = 0; x < width; x++)
                        gradient[channel * plane + row + x] =
                            s * (m[0][x] + 2.0f * a[row + x] * m[1][x] + b[row + x] * m[2][x]);
                });
        });
    double total = 0.0;
    for (double sum : sums) total += sum;
    return total * scale;
} catch (const std::bad_alloc&) {
    return std::nan("");
}
