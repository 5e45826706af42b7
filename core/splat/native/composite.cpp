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

uint8_t to_byte(float value) { return static_cast<uint8_t>(std::min(std::max(value, 0.0f), 1.0f) * TO_BYTE + 0.5f); }

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
            for (int x = 0; x < width; x++)
                for (int k = 0; k < 3; k++)
                    behind[static_cast<size_t>(k) * width + x] = static_cast<float>(to[3 * x + k]) * FROM_BYTE;
            if (y >= mouth->top && y < mouth->top + mouth->height) {
                const int64_t row = (y - mouth->top) * mouth->width;
                for (int k = 0; k < 3; k++) {
                    float* const at = behind.data() + static_cast<size_t>(k) * width + (mouth->left - face->left);
                    const float* const color = mouth->image + k * mouth_pixels + row;
                    for (int x = 0; x < mouth->width; x++) at[x] = at[x] * (1.0f - hidden[row + x]) + color[x];
                }
            }
            const int64_t row = (y - face->top) * width;
            const float* const alpha = face->alpha + row;
            for (int k = 0; k < 3; k++) {
                float* const at = behind.data() + static_cast<size_t>(k) * width;
                const float* const color = face->image + k * face_pixels + row;
                for (int x = 0; x < width; x++) at[x] = at[x] * (1.0f - alpha[x]) + color[x];
            }
            for (int x = 0; x < width; x++)
                for (int k = 0; k < 3; k++) to[3 * x + k] = to_byte(behind[static_cast<size_t>(k) * width + x]);
        }
    });
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
