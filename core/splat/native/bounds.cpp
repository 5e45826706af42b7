// The part of the picture that a cloud of points falls on: what lets a caller draw a box and not the whole frame.
#include <algorithm>
#include <cmath>

#include "api.h"
#include "raster.h"
#include "simd.h"

namespace likeness {
namespace {

constexpr float NEAREST = 0.05f;  // metres: points nearer than that project as if they were there

struct Range {
    F8 low, high;
    void add(F8 x) {
        low = min(low, x);
        high = max(high, x);
    }
    float lowest() const {
        float lanes[8];
        low.store(lanes);
        return *std::min_element(lanes, lanes + 8);
    }
    float highest() const {
        float lanes[8];
        high.store(lanes);
        return *std::max_element(lanes, lanes + 8);
    }
};

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT void likeness_bounds(int32_t count, const float* means, const float* view, float fx, float fy, float cx,
                                     float cy, float* out) {
    using namespace likeness;
    F8 r[3][4];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) r[i][j] = F8::all(view[4 * i + j]);
    Range x{F8::all(INFINITY), F8::all(-INFINITY)}, y = x, depth = x;
    for (int32_t n = 0; n < count; n += 8) {
        // The last eight overlap those before them; fewer than eight points are repeated.
        float few[24];
        const float* at = means + 3 * static_cast<int64_t>(std::max(0, std::min(n, count - 8)));
        if (count < 8) {
            for (int i = 0; i < 24; i++) few[i] = means[3 * (i / 3 % count) + i % 3];
            at = few;
        }
        const F8 px = F8::strided(at, 3), py = F8::strided(at + 1, 3), pz = F8::strided(at + 2, 3);
        const auto row = [&](int i) { return fma(r[i][0], px, fma(r[i][1], py, fma(r[i][2], pz, r[i][3]))); };
        const F8 z = max(row(2), F8::all(NEAREST));
        const F8 inverse = F8::all(1.0f) / z;
        x.add(fma(F8::all(fx) * row(0), inverse, F8::all(cx)));
        y.add(fma(F8::all(fy) * row(1), inverse, F8::all(cy)));
        depth.add(z);
    }
    out[0] = x.lowest(), out[1] = y.lowest(), out[2] = x.highest(), out[3] = y.highest(), out[4] = depth.lowest();
}
