// Colours that depend on the view: real spherical harmonics up to degree 2 and their gradients. Eight Gaussians a vector.
// Basis, sign and order are gsplat's (Sloan, JCGT 2013); a colour is 0.5 + sum(basis * coefficient), not below 0.
#include <algorithm>
#include <atomic>

#include "raster.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int CHUNK = 512, MAX_BASES = 9;
constexpr float B0 = 0.28209479177387814f;
constexpr float B1 = 0.48860251190291992f;
constexpr float B2 = 1.0925484305920792f;
constexpr float B20 = 0.94617469575756008f, B20_OFFSET = 0.31539156525252005f;

/// Eight rows starting at `base`, through a zero-filled copy where fewer than eight are left.
const float* whole_rows(const float* base, int64_t left, int width, float* copy) {
    if (left >= 8) return base;
    std::fill_n(copy, 8 * width, 0.0f);
    std::copy_n(base, left * width, copy);
    return copy;
}

/// Unit directions from the camera and the inverse of their lengths; both 0 where there is no direction.
struct Direction {
    F8 x, y, z, inverse_norm;

    Direction(const float* means, const float* camera) {
        x = F8::strided(means, 3) - F8::all(camera[0]);
        y = F8::strided(means + 1, 3) - F8::all(camera[1]);
        z = F8::strided(means + 2, 3) - F8::all(camera[2]);
        // In units of the largest coordinate, so that squares neither overflow nor vanish.
        const F8 zero = F8::all(0.0f), least = F8::all(1e-30f);
        const F8 size = max(max(max(x, zero - x), max(y, zero - y)), max(max(z, zero - z), least));
        x = x / size, y = y / size, z = z / size;
        const F8 norm = sqrt(fma(x, x, fma(y, y, z * z)));
        const F8 length = norm * size;
        const auto some = gt(length, F8::all(1e-12f));
        const F8 scale = zero_unless(some, F8::all(1.0f) / max(norm, least));
        x = x * scale, y = y * scale, z = z * scale;
        inverse_norm = zero_unless(some, F8::all(1.0f) / max(length, F8::all(1e-12f)));
    }
};

/// The first `bases` (1, 4 or 9) basis functions.
void evaluate(const Direction& d, int bases, F8* basis) {
    basis[0] = F8::all(B0);
    if (bases == 1) return;
    const F8 plus = F8::all(B1), minus = F8::all(-B1);
    basis[1] = minus * d.y;
    basis[2] = plus * d.z;
    basis[3] = minus * d.x;
    if (bases == 4) return;
    const F8 two = F8::all(B2), minus_two = F8::all(-B2);
    basis[4] = two * d.x * d.y;
    basis[5] = minus_two * d.z * d.y;
    basis[6] = fma(F8::all(B20) * d.z, d.z, F8::all(-B20_OFFSET));
    basis[7] = minus_two * d.z * d.x;
    basis[8] = F8::all(0.5f * B2) * fnma(d.y, d.y, d.x * d.x);
}

void store_strided(F8 values, float* to, int stride, int64_t left) {
    float lanes[8];
    values.store(lanes);
    for (int64_t i = 0; i < std::min<int64_t>(8, left); i++) to[i * stride] = lanes[i];
}

bool forward(int64_t count, int bases, const float* camera, const float* means, const float* coefficients,
             float* colors) {
    const int row = 3 * bases;
    std::atomic<bool> finite{all_finite(camera, 3)};
    parallel_for(count, CHUNK, [&](int64_t begin, int64_t end) {
        if (!all_finite(means + 3 * begin, 3 * (end - begin)) ||
            !all_finite(coefficients + row * begin, row * (end - begin)))
            finite = false;
        float mean_copy[24], copy[8 * 3 * MAX_BASES];
        F8 basis[MAX_BASES];
        for (int64_t g = begin; g < end; g += 8) {
            const int64_t left = end - g;
            evaluate(Direction(whole_rows(means + 3 * g, left, 3, mean_copy), camera), bases, basis);
            const float* c = whole_rows(coefficients + row * g, left, row, copy);
            for (int channel = 0; channel < 3; channel++) {
                F8 sum = F8::all(0.5f);
                for (int k = 0; k < bases; k++) sum = fma(basis[k], F8::strided(c + 3 * k + channel, row), sum);
                store_strided(max(sum, F8::all(0.0f)), colors + 3 * g + channel, 3, left);
            }
        }
    });
    return finite;
}

void backward(int64_t count, int bases, const float* camera, const float* means, const float* coefficients,
              const float* colors, const float* colors_gradient, float* coefficients_gradient, float* means_gradient) {
    const int row = 3 * bases;
    parallel_for(count, CHUNK, [&](int64_t begin, int64_t end) {
        float mean_copy[24], copy[8 * 3 * MAX_BASES], color_copy[24], gradient_copy[24];
        F8 basis[MAX_BASES], along[MAX_BASES];  // along[k]: gradient of the loss by basis function k
        const F8 zero = F8::all(0.0f);
        for (int64_t g = begin; g < end; g += 8) {
            const int64_t left = end - g;
            const Direction d(whole_rows(means + 3 * g, left, 3, mean_copy), camera);
            evaluate(d, bases, basis);
            const float* c = whole_rows(coefficients + row * g, left, row, copy);
            const float* color = whole_rows(colors + 3 * g, left, 3, color_copy);
            const float* upstream = whole_rows(colors_gradient + 3 * g, left, 3, gradient_copy);
            std::fill_n(along, bases, zero);
            for (int channel = 0; channel < 3; channel++) {
                const F8 up = zero_unless(gt(F8::strided(color + channel, 3), zero), F8::strided(upstream + channel, 3));
                for (int k = 0; k < bases; k++) {
                    if (coefficients_gradient)
                        store_strided(up * basis[k], coefficients_gradient + row * g + 3 * k + channel, row, left);
                    along[k] = fma(up, F8::strided(c + 3 * k + channel, row), along[k]);
                }
            }
            if (!means_gradient) continue;
            F8 dx = zero, dy = zero, dz = zero;
            if (bases > 1) {
                const F8 one = F8::all(B1);
                dx = zero - one * along[3], dy = zero - one * along[1], dz = one * along[2];
            }
            if (bases > 4) {
                const F8 two = F8::all(B2);
                dx = fma(two, fma(d.y, along[4], fnma(d.z, along[7], d.x * along[8])), dx);
                dy = fma(two, fnma(d.y, along[8], fnma(d.z, along[5], d.x * along[4])), dy);
                const F8 sideways = fma(d.y, along[5], d.x * along[7]);
                dz = fma(F8::all(2.0f * B20) * d.z, along[6], fnma(two, sideways, dz));
            }
            // Through the normalisation: what lies along the direction does not change it.
            const F8 radial = fma(dx, d.x, fma(dy, d.y, dz * d.z));
            store_strided(fnma(radial, d.x, dx) * d.inverse_norm, means_gradient + 3 * g, 3, left);
            store_strided(fnma(radial, d.y, dy) * d.inverse_norm, means_gradient + 3 * g + 1, 3, left);
            store_strided(fnma(radial, d.z, dz) * d.inverse_norm, means_gradient + 3 * g + 2, 3, left);
        }
    });
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_harmonics_forward(int32_t count, int32_t bases, const float* camera,
                                                   const float* means, const float* coefficients, float* colors) {
    return likeness::forward(count, bases, camera, means, coefficients, colors) ? LIKENESS_OK : LIKENESS_NOT_FINITE;
}

LIKENESS_EXPORT void likeness_harmonics_backward(int32_t count, int32_t bases, const float* camera, const float* means,
                                                 const float* coefficients, const float* colors,
                                                 const float* colors_gradient, float* coefficients_gradient,
                                                 float* means_gradient) {
    likeness::backward(count, bases, camera, means, coefficients, colors, colors_gradient, coefficients_gradient,
                       means_gradient);
}
