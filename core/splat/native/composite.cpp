// One frame from its layers: the recorded backdrop, the mouth's interior over it, the face over both, as bytes.
//
// Pictures of the branches are planar and premultiplied; backdrop and result are interleaved bytes. The mouth hides what
// was recorded a few pixels beyond its edge (a running maximum of its alpha), so that recorded lips do not show through.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "api.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int ROWS = 8;
constexpr float TO_BYTE = 255.0f, FROM_BYTE = 1.0f / 255.0f;

/// [height, width] maximum over a square window of 2 radius + 1.
void dilate(const float* alpha, int width, int height, int radius, float* across, float* out) {
    for (int y = 0; y < height; y++) {
        const float* row = alpha + static_cast<int64_t>(y) * width;
        float* to = across + static_cast<int64_t>(y) * width;
        std::memcpy(to, row, sizeof(float) * width);
        for (int d = 1; d <= std::min(radius, width - 1); d++) {
            for (int x = 0; x < width - d; x++) to[x] = std::max(to[x], row[x + d]);
            for (int x = d; x < width; x++) to[x] = std::max(to[x], row[x - d]);
        }
    }
    for (int y = 0; y < height; y++) {
        float* to = out + static_cast<int64_t>(y) * width;
        const int first = std::max(0, y - radius), last = std::min(height - 1, y + radius);
        std::memcpy(to, across + static_cast<int64_t>(first) * width, sizeof(float) * width);
        for (int j = first + 1; j <= last; j++) {
            const float* from = across + static_cast<int64_t>(j) * width;
            for (int x = 0; x < width; x++) to[x] = std::max(to[x], from[x]);
        }
    }
}

/// Interleaved bytes to three rows of 0..1, and back. The compiler makes vectors of both.
void split(const uint8_t* __restrict from, int width, float* __restrict r, float* __restrict g, float* __restrict b) {
    for (int x = 0; x < width; x++) {
        r[x] = static_cast<float>(from[3 * x]) * FROM_BYTE;
        g[x] = static_cast<float>(from[3 * x + 1]) * FROM_BYTE;
        b[x] = static_cast<float>(from[3 * x + 2]) * FROM_BYTE;
    }
}

void join(const float* __restrict r, const float* __restrict g, const float* __restrict b, int width,
          uint8_t* __restrict to) {
    const auto byte = [](float v) {
        return static_cast<uint8_t>(static_cast<int32_t>(std::min(std::max(v, 0.0f), 1.0f) * TO_BYTE + 0.5f));
    };
    for (int x = 0; x < width; x++) {
        to[3 * x] = byte(r[x]);
        to[3 * x + 1] = byte(g[x]);
        to[3 * x + 2] = byte(b[x]);
    }
}

/// behind[x] = behind[x] (1 - alpha[x]) + color[x]
void over(float* __restrict behind, const float* __restrict alpha, const float* __restrict color, int width) {
    for (int x = 0; x < width; x++) behind[x] = behind[x] * (1.0f - alpha[x]) + color[x];
}

}  // namespace
}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_composite(int32_t size, const LikenessLayer* face, const LikenessLayer* mouth,
                                           int32_t dilation, const uint8_t* backdrop, uint8_t* out) try {
    using namespace likeness;
    const int64_t mouth_pixels = static_cast<int64_t>(mouth->width) * mouth->height;
    std::vector<float> memory(2 * static_cast<size_t>(mouth_pixels));
    float* const hidden = memory.data() + mouth_pixels;
    if (mouth_pixels) dilate(mouth->alpha, mouth->width, mouth->height, dilation / 2, memory.data(), hidden);
    const int64_t face_pixels = static_cast<int64_t>(face->width) * face->height;
    const int width = face->width;
    parallel_for(size, ROWS, [&](int64_t begin, int64_t end) {
        std::memcpy(out + begin * size * 3, backdrop + begin * size * 3, static_cast<size_t>(end - begin) * size * 3);
        std::vector<float> behind(3 * static_cast<size_t>(width));
        for (int64_t y = std::max<int64_t>(begin, face->top); y < std::min<int64_t>(end, face->top + face->height); y++) {
            uint8_t* const to = out + (y * size + face->left) * 3;
            float* const r = behind.data();
            float *const g = r + width, *const b = g + width;
            split(to, width, r, g, b);
            float* const planes[3] = {r, g, b};
            if (y >= mouth->top && y < mouth->top + mouth->height) {
                const int64_t row = (y - mouth->top) * mouth->width;
                for (int k = 0; k < 3; k++)
                    over(planes[k] + (mouth->left - face->left), hidden + row, mouth->image + k * mouth_pixels + row,
                         mouth->width);
            }
            const int64_t row = (y - face->top) * width;
            for (int k = 0; k < 3; k++) over(planes[k], face->alpha + row, face->image + k * face_pixels + row, width);
            join(r, g, b, width, to);
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
