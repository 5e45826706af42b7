// One step of Adam over all tensors of an optimiser at once: value, gradient and both moments are read and written once.
#include <algorithm>
#include <cmath>
#include <vector>

#include "api.h"
#include "simd.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int64_t CHUNK = 8192;

struct Coefficients {
    float take1, keep2, take2, inverse_bias2, epsilon;
};

/// Eight numbers; `value`, `first` and `second` are overwritten.
void move(float* value, const float* gradient, float* first, float* second, const LikenessAdamTensor& tensor,
          const Coefficients& c) {
    const F8 g = F8::load(gradient), m = F8::load(first);
    const F8 mean = fma(F8::all(c.take1), g - m, m);
    const F8 square = fma(F8::all(c.keep2), F8::load(second), F8::all(c.take2) * g * g);
    mean.store(first);
    square.store(second);
    const F8 size = sqrt(square * F8::all(c.inverse_bias2)) + F8::all(c.epsilon);
    fnma(F8::all(tensor.step), mean / size, F8::load(value) * F8::all(tensor.keep)).store(value);
}

void move_range(const LikenessAdamTensor& tensor, int64_t begin, int64_t end, const Coefficients& c) {
    int64_t i = begin;
    for (; i + 8 <= end; i += 8)
        move(tensor.value + i, tensor.gradient + i, tensor.first + i, tensor.second + i, tensor, c);
    if (i == end) return;
    float rest[4][8] = {};
    float* const from[4] = {tensor.value + i, const_cast<float*>(tensor.gradient) + i, tensor.first + i,
                            tensor.second + i};
    for (int k = 0; k < 4; k++) std::copy_n(from[k], end - i, rest[k]);
    move(rest[0], rest[1], rest[2], rest[3], tensor, c);
    for (const int k : {0, 2, 3}) std::copy_n(rest[k], end - i, from[k]);
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_adam(int32_t tensors, const LikenessAdamTensor* tensor, float beta1, float beta2,
                                      float bias2, float epsilon) try {
    using namespace likeness;
    const Coefficients coefficients{1.0f - beta1, beta2, 1.0f - beta2, 1.0f / bias2, epsilon};
    std::vector<int64_t> starts(1, 0);  // of each tensor among the chunks of all
    for (int32_t t = 0; t < tensors; t++) starts.push_back(starts.back() + (tensor[t].count + CHUNK - 1) / CHUNK);
    parallel_for(starts.back(), 1, [&](int64_t first, int64_t last) {
        for (int64_t chunk = first; chunk < last; chunk++) {
            const int64_t t = std::upper_bound(starts.begin(), starts.end(), chunk) - starts.begin() - 1;
            const int64_t begin = (chunk - starts[t]) * CHUNK;
            move_range(tensor[t], begin, std::min(tensor[t].count, begin + CHUNK), coefficients);
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
