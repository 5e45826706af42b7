// What a picture is compared by, L1 and SSIM, with its gradient in the same call. SSIM as 3D Gaussian splatting uses it:
// 11-pixel Gaussian window, sigma 1.5, zero padding.
//
// The window is separable and symmetric: rows are blurred once into a ring of eleven, columns from the ring. Only the sum
// of both variances is ever needed, so four maps are blurred and not five. The picture is cut into parts whose sums are
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

constexpr int RADIUS = 5, TAPS = 2 * RADIUS + 1;
/// Pixels of one piece of work: eleven rows of four maps of it stay in the first-level cache.
constexpr int PIECE_WIDTH = 128, PIECE_HEIGHT = 64;
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

/// Sum of |a - b| over `count` pixels.
float absolute_sum(const float* a, const float* b, int count) {
    Fv sum = Fv::all(0.0f);
    int i = 0;
    for (; i + Fv::lanes <= count; i += Fv::lanes) {
        const Fv d = Fv::load(a + i) - Fv::load(b + i);
        sum = sum + max(d, Fv::all(0.0f) - d);
    }
    float total = sum_of_lanes(sum);
    for (; i < count; i++) total += std::fabs(a[i] - b[i]);
    return total;
}

/// `in` points at column 0 and has at least RADIUS zeros before it and after the padded width.
void blur_row(const Window& w, const float* in, float* out, int width) {
    for (int x = 0; x < width; x += Fv::lanes) {
        Fv sum = Fv::all(w.tap[0]) * Fv::load(in + x);
        for (int d = 1; d <= RADIUS; d++)
            sum = fma(Fv::all(w.tap[d]), Fv::load(in + x - d) + Fv::load(in + x + d), sum);
        sum.store(out + x);
    }
}

/// A piece of the picture: columns [left, right), rows [top, bottom).
struct Part {
    int left, right, top, bottom;

    Part(int number, int width, int height) {
        const int across = (width + PIECE_WIDTH - 1) / PIECE_WIDTH;
        left = number % across * PIECE_WIDTH, top = number / across * PIECE_HEIGHT;
        right = std::min(width, left + PIECE_WIDTH), bottom = std::min(height, top + PIECE_HEIGHT);
    }
    static int count(int width, int height) {
        return ((width + PIECE_WIDTH - 1) / PIECE_WIDTH) * ((height + PIECE_HEIGHT - 1) / PIECE_HEIGHT);
    }
};

/// Rolls MAPS maps through the window, over one part. `fill(y, first, past, rows)` writes columns [first, past) of row y
/// of each map, at rows[map][x - left]; `use(y, blurred)` gets the blurred rows, from column `left` on.
template <int MAPS>
class Strip {
public:
    Strip(const Part& part, int width, int height) : part_(part), picture_width_(width), height_(height) {}

    template <class Fill, class Use>
    void run(const Window& w, Fill&& fill, Use&& use) {
        const int width = padded_width(part_.right - part_.left);
        // More columns than the window needs, so that whole vectors are written.
        const int begin = std::max(0, part_.left - MARGIN), end = std::min(picture_width_, part_.right + MARGIN);
        std::fill_n(&row_[0][0][0], 2 * MAPS * ROW, 0.0f);
        const auto read = [&](int y) {
            if (y < 0 || y >= std::min(height_, part_.bottom + RADIUS)) return;
            float* rows[MAPS];
            for (int m = 0; m < MAPS; m++) rows[m] = row_[y & 1][m] + MARGIN;
            fill(y, begin, end, rows);
        };
        read(part_.top - RADIUS);
        for (int y = part_.top - RADIUS; y < part_.bottom + RADIUS; y++) {
            // A row is read one round before it is blurred: a load across two stores waits until both are in the cache.
            read(y + 1);
            float(*slot)[PIECE_WIDTH] = ring_[(y + 2 * TAPS) % TAPS];
            if (y < 0 || y >= height_)
                std::fill_n(&slot[0][0], MAPS * PIECE_WIDTH, 0.0f);
            else
                for (int m = 0; m < MAPS; m++) blur_row(w, row_[y & 1][m] + MARGIN, slot[m], width);
            const int centre = y - RADIUS;
            if (centre < part_.top) continue;
            const float(*r[TAPS])[PIECE_WIDTH];
            for (int d = 0; d < TAPS; d++) r[d] = ring_[(centre - RADIUS + d + 2 * TAPS) % TAPS];
            const float* maps[MAPS];
            for (int m = 0; m < MAPS; m++) {
                for (int x = 0; x < width; x += Fv::lanes) {
                    Fv sum = Fv::all(w.tap[0]) * Fv::load(&r[RADIUS][m][x]);
                    for (int d = 1; d <= RADIUS; d++)
                        sum = fma(Fv::all(w.tap[d]), Fv::load(&r[RADIUS - d][m][x]) + Fv::load(&r[RADIUS + d][m][x]), sum);
                    sum.store(&column_[m][x]);
                }
                maps[m] = column_[m];
            }
            use(centre, maps);
        }
    }

private:
    static constexpr int MARGIN = 16, ROW = PIECE_WIDTH + 2 * MARGIN;
    Part part_;
    int picture_width_, height_;
    alignas(64) float row_[2][MAPS][ROW];  // of an even and an odd row
    alignas(64) float ring_[TAPS][MAPS][PIECE_WIDTH];
    alignas(64) float column_[MAPS][PIECE_WIDTH];
};

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT double likeness_photometric(int32_t channels, int32_t height, int32_t width, const float* image,
                                            const float* target, float l1_weight, float ssim_weight,
                                            float* gradient) try {
    using namespace likeness;
    static const Window window;
    const int64_t plane = static_cast<int64_t>(width) * height;
    const int parts = Part::count(width, height), stride = padded_width(width);
    // Derivatives by the window's mean of the image, of its square, and of the product; padded rows. One channel at a
    // time: its derivatives are still in the cache when they are blurred.
    static thread_local Buffer<float> derivatives;
    const int64_t derivative_plane = static_cast<int64_t>(stride) * height;
    float* d_maps = gradient ? derivatives.resize(static_cast<size_t>(derivative_plane) * 3) : nullptr;
    std::vector<double> sums(static_cast<size_t>(channels) * parts, 0.0);
    const double scale = 1.0 / (static_cast<double>(plane) * channels);
    std::vector<double> distances(sums.size(), 0.0);
    const auto measure = [&](int channel, int number) {
        const Part part(number, width, height);
        const float *a = image + channel * plane, *b = target + channel * plane;
        Strip<4> strip(part, width, height);
        double total = 0.0, distance = 0.0;
        strip.run(
            window,
            [&](int y, int first, int past, float* const* rows) {
                const float *pa = a + static_cast<int64_t>(y) * width, *pb = b + static_cast<int64_t>(y) * width;
                for (int x = first; x < past; x++) {
                    const float u = pa[x], v = pb[x];
                    const int at = x - part.left;
                    rows[0][at] = u, rows[1][at] = v, rows[2][at] = u * u + v * v, rows[3][at] = u * v;
                }
            },
            [&](int y, const float* const* m) {
                const Fv two = Fv::all(2.0f), c1 = Fv::all(C1), c2 = Fv::all(C2);
                float* d = d_maps ? d_maps + static_cast<int64_t>(y) * stride + part.left : nullptr;
                Fv row_sum = Fv::all(0.0f);
                const int columns = part.right - part.left;
                const int64_t row = static_cast<int64_t>(y) * width + part.left;
                if (l1_weight != 0.0f) distance += absolute_sum(a + row, b + row, columns);
                for (int x = 0; x < columns; x += Fv::lanes) {
                    const Fv m1 = Fv::load(m[0] + x), m2 = Fv::load(m[1] + x);
                    const Fv mm = m1 * m2, squares = fma(m1, m1, m2 * m2);
                    const Fv n1 = fma(two, mm, c1), n2 = fma(two, Fv::load(m[3] + x) - mm, c2);
                    const Fv e1 = squares + c1, e2 = Fv::load(m[2] + x) - squares + c2;
                    const Fv ratio = reciprocal(e1 * e2), r1 = e2 * ratio, r2 = e1 * ratio;
                    const Fv value = n1 * n2 * ratio;
                    if (x + Fv::lanes <= columns) {
                        row_sum = row_sum + value;
                    } else {
                        float lanes[Fv::lanes];
                        value.store(lanes);
                        for (int i = 0; x + i < columns; i++) total += lanes[i];
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
        sums[static_cast<size_t>(channel) * parts + number] = total;
        distances[static_cast<size_t>(channel) * parts + number] = distance;
    };
    const auto differentiate = [&](int channel, int number) {
        const Part part(number, width, height);
        Strip<3> strip(part, width, height);
        strip.run(
            window,
            [&](int y, int first, int past, float* const* rows) {
                for (int m = 0; m < 3; m++)
                    std::memcpy(rows[m] + first - part.left,
                                d_maps + m * derivative_plane + static_cast<int64_t>(y) * stride + first,
                                sizeof(float) * static_cast<size_t>(past - first));
            },
            [&](int y, const float* const* m) {
                const int64_t row = channel * plane + static_cast<int64_t>(y) * width + part.left;
                const float s = ssim_weight * static_cast<float>(scale), l1 = l1_weight * static_cast<float>(scale);
                const float *a = image + row, *b = target + row;
                float* out = gradient + row;
                for (int x = 0; x < part.right - part.left; x++) {
                    const float sign = static_cast<float>(a[x] > b[x]) - static_cast<float>(a[x] < b[x]);
                    out[x] = s * (m[0][x] + 2.0f * a[x] * m[1][x] + b[x] * m[2][x]) + l1 * sign;
                }
            });
    };
    for (int channel = 0; channel < channels; channel++) {
        parallel_for(parts, 1, [&](int64_t number, int64_t) { measure(channel, static_cast<int>(number)); });
        if (gradient)
            parallel_for(parts, 1, [&](int64_t number, int64_t) { differentiate(channel, static_cast<int>(number)); });
    }
    double similarity = 0.0, distance = 0.0;
    for (size_t i = 0; i < sums.size(); i++) similarity += sums[i], distance += distances[i];
    return (ssim_weight * similarity + l1_weight * distance) * scale;
} catch (const std::bad_alloc&) {
    return std::nan("");
}
