// From a structure's raw parameters and a motion to what is drawn: some thirty small operations on a few numbers of each
// Gaussian, of which the arithmetic is nothing and the calls were a tenth of a training step.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "api.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int64_t PIECE = 1024;  // Gaussians; also the unit of the sums, which are added in order
constexpr float LOG2_E = 1.44269504f, LOWEST_POWER = -125.0f;

/// exp(-|x|), 0 from |x| of 87 on.
Fv decay(Fv x) {
    const Fv size = max(x, Fv::all(0.0f) - x);
    Fv power[1] = {Fv::all(-LOG2_E) * size};
    const Mv there = gt(power[0], Fv::all(LOWEST_POWER));
    exp2_masked(power);
    return zero_unless(there, power[0]);
}

/// 1 / (1 + exp(-x)), from exp(-|x|).
Fv sigmoid(Fv x, Fv decayed) {
    const Fv one = Fv::all(1.0f);
    return select(ge(x, Fv::all(0.0f)), one, decayed) / (one + decayed);
}

/// log(1 + exp(x)), from y = exp(-|x|): max(x, 0) + log1p(y), and log1p(y) = 2 atanh(y / (2 + y)).
Fv softplus(Fv x, Fv y) {
    const Fv z = y / (Fv::all(2.0f) + y), zz = z * z;
    Fv sum = Fv::all(1.0f / 15.0f);
    for (const float c : {1.0f / 13.0f, 1.0f / 11.0f, 1.0f / 9.0f, 1.0f / 7.0f, 1.0f / 5.0f, 1.0f / 3.0f, 1.0f})
        sum = fma(sum, zz, Fv::all(c));
    return fma(Fv::all(2.0f) * z, sum, max(x, Fv::all(0.0f)));
}

/// Calls body(offset, lanes) over `count` numbers.
template <class Body>
void in_vectors(int64_t count, Body&& body) {
    for (int64_t i = 0; i < count; i += Fv::lanes) body(i, static_cast<int>(std::min<int64_t>(Fv::lanes, count - i)));
}

/// to = from plus the motion of rows [begin, end), of which those from `moving` on stand still; the sum of the motion's
/// absolute values.
template <int WIDTH>
double add_rows(const float* from, LikenessRows motion, int64_t begin, int64_t end, int64_t moving, float* to) {
    std::memcpy(to + begin * WIDTH, from + begin * WIDTH, sizeof(float) * static_cast<size_t>((end - begin) * WIDTH));
    double sum = 0.0;
    for (int64_t g = begin; motion.at && g < std::min(end, moving); g++) {
        const float* row = motion.at + g * motion.stride;
        float of_row = 0.0f;
        for (int k = 0; k < WIDTH; k++) to[g * WIDTH + k] += row[k], of_row += std::fabs(row[k]);
        sum += of_row;
    }
    return sum;
}

/// to = upstream + by * sign(motion), rows [begin, end) of those that move.
template <int WIDTH>
void motion_gradient(const float* upstream, LikenessRows motion, float by, int64_t begin, int64_t end, float* to) {
    if (!to) return;
    for (int64_t g = begin; g < end; g++) {
        const float* row = motion.at + g * motion.stride;
        for (int k = 0; k < WIDTH; k++) {
            const float sign = static_cast<float>(row[k] > 0.0f) - static_cast<float>(row[k] < 0.0f);
            to[g * WIDTH + k] = upstream[g * WIDTH + k] + by * sign;
        }
    }
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_move_forward(int32_t count, int32_t moving, const LikenessStructure* raw,
                                              const LikenessMotion* motion, const LikenessMoved* moved,
                                              double* absolute_sums) try {
    using namespace likeness;
    const int64_t pieces = (count + PIECE - 1) / PIECE;
    Buffer<double> sums;
    std::fill_n(sums.resize(3 * pieces), 3 * pieces, 0.0);
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
        const int64_t begin = piece * PIECE, end = std::min<int64_t>(count, begin + PIECE);
        double* own = sums.get() + 3 * piece;
        own[0] = add_rows<3>(raw->means, motion->translation, begin, end, moving, moved->means);
        own[1] = add_rows<4>(raw->quaternions, motion->rotation, begin, end, moving, moved->quaternions);
        own[2] = add_rows<3>(raw->scales, motion->scale, begin, end, moving, moved->scales);
        in_vectors(3 * (end - begin), [&](int64_t i, int lanes) {
            float *scale = moved->scales + 3 * begin + i, *slope = moved->slopes + 3 * begin + i;
            const Fv x = Fv::load(scale, lanes), y = decay(x);
            softplus(x, y).store(scale, lanes);
            sigmoid(x, y).store(slope, lanes);
        });
        in_vectors(end - begin, [&](int64_t i, int lanes) {
            const Fv x = Fv::load(raw->opacities + begin + i, lanes);
            sigmoid(x, decay(x)).store(moved->opacities + begin + i, lanes);
        });
    });
    for (int k = 0; k < 3; k++) {
        absolute_sums[k] = 0.0;
        for (int64_t piece = 0; piece < pieces; piece++) absolute_sums[k] += sums[3 * piece + k];
    }
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT void likeness_move_backward(int32_t count, int32_t moving, const LikenessMotion* motion,
                                            const LikenessMoved* moved, const LikenessStructure* upstream,
                                            const float* by_sums, const LikenessMotionGradient* gradient) {
    using namespace likeness;
    parallel_for(count, PIECE, [&](int64_t begin, int64_t end) {
        in_vectors(3 * (end - begin), [&](int64_t i, int lanes) {
            const int64_t at = 3 * begin + i;
            (Fv::load(upstream->scales + at, lanes) * Fv::load(moved->slopes + at, lanes))
                .store(gradient->raw_scales + at, lanes);
        });
        in_vectors(end - begin, [&](int64_t i, int lanes) {
            const Fv opacity = Fv::load(moved->opacities + begin + i, lanes);
            (Fv::load(upstream->opacities + begin + i, lanes) * opacity * (Fv::all(1.0f) - opacity))
                .store(gradient->raw_opacities + begin + i, lanes);
        });
        const int64_t past = std::min<int64_t>(end, moving);
        motion_gradient<3>(upstream->means, motion->translation, by_sums[0], begin, past, gradient->translation);
        motion_gradient<4>(upstream->quaternions, motion->rotation, by_sums[1], begin, past, gradient->rotation);
        motion_gradient<3>(gradient->raw_scales, motion->scale, by_sums[2], begin, past, gradient->scale);
    });
}
