// Whether numbers are numbers: no kernel works on NaN or infinity, which a ReLU or a comparison would hide.
#include <algorithm>
#include <atomic>

#include "api.h"
#include "raster.h"
#include "simd.h"
#include "threads.h"

namespace likeness {

bool all_finite(const float* values, int64_t count) {
    // x * 0 is 0 for finite x and NaN otherwise; NaN survives addition. Four sums, so that none waits for the last.
    constexpr int SUMS = 4, STEP = SUMS * Fv::lanes;
    const Fv zero = Fv::all(0.0f);
    Fv sums[SUMS] = {zero, zero, zero, zero};
    int64_t i = 0;
    for (; i + STEP <= count; i += STEP)
        written_out<SUMS>([&](auto k) { sums[k] = fma(Fv::load(values + i + k * Fv::lanes), zero, sums[k]); });
    float total = sum_of_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < count; i++) total += values[i] * 0.0f;
    return total == 0.0f;
}

}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_first_not_finite(int32_t arrays, const float* const* values, const int64_t* counts) {
    using namespace likeness;
    constexpr int64_t PIECE = 1 << 15;
    for (int32_t a = 0; a < arrays; a++) {
        std::atomic<bool> finite{true};
        parallel_for(counts[a], PIECE, [&](int64_t begin, int64_t end) {
            if (!all_finite(values[a] + begin, end - begin)) finite = false;
        });
        if (!finite) return a;
    }
    return arrays;
}
