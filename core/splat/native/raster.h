// What the stages of the rasteriser share: conventions, the per-picture buffers, and the record of one projected Gaussian.
//
// The picture is cut into 16x16 tiles (the unit of threads) and each tile into blocks of 4 x (lanes / 4) pixels (the unit
// of SIMD). The exponent of a Gaussian is kept in base 2 with opacity folded in and its conic in Cholesky form:
//     log2(alpha) = log_opacity - (a dx + b dy)^2 - (c dy)^2,
// which costs five fused multiply-adds a pixel and can never exceed the opacity.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "api.h"
#include "simd.h"

namespace likeness {

constexpr int TILE = 16;
constexpr int BLOCK_WIDTH = 4;
constexpr int BLOCK_HEIGHT = Fv::lanes / BLOCK_WIDTH;
constexpr int BLOCKS_PER_TILE = TILE * TILE / Fv::lanes;
constexpr int MAX_CHANNELS = 16;

// gsplat's conventions.
constexpr float BLUR = 0.3f;
constexpr float NEAR_PLANE = 0.01f;
constexpr float ALPHA_THRESHOLD = 1.0f / 255.0f;
constexpr float LOG2_ALPHA_THRESHOLD = -7.99435344f;
constexpr float TRANSMITTANCE_THRESHOLD = 1e-4f;
constexpr float ALPHA_MAX = 0.999f;
/// Block masks use an ellipse larger by this (in log2 alpha): a block too many costs time, one too few a wrong picture.
constexpr float MASK_MARGIN = 1e-3f;
constexpr float HALF_LOG2_E = 0.72134752f;

/// A vector that keeps its memory and does not initialise what it grows by.
template <class T>
class Buffer {
public:
    T* resize(size_t count) {
        if (count > capacity_) {
            capacity_ = count + count / 4 + 64;
            data_.reset(static_cast<T*>(::operator new[](capacity_ * sizeof(T), std::align_val_t{64})));
        }
        return data_.get();
    }
    T* get() { return data_.get(); }
    const T* get() const { return data_.get(); }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }

private:
    struct Free {
        void operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }
    };
    std::unique_ptr<T[], Free> data_;
    size_t capacity_ = 0;
};

/// One projected Gaussian, in pixels.
struct alignas(32) Splat {
    float x, y;         // mean
    float a, b, c;      // Cholesky factor of the base-2 conic
    float log_opacity;  // base 2
    float reach;        // half height of the ellipse alpha >= 1/255 (a hair larger)
    float peak;         // y of that ellipse's leftmost point, from its mean
};

/// The tiles a Gaussian touches: [left, right) x [top, bottom); `first` is its first (tile, Gaussian) record.
struct TileBox {
    uint16_t left, right, top, bottom;
};

struct Entry {
    uint32_t gaussian, slot;
};

}  // namespace likeness

struct LikenessRaster {
    int count = 0, width = 0, height = 0, tiles_x = 0, tiles_y = 0, channels = 0;
    bool state_kept = false;
    // projection
    likeness::Buffer<likeness::Splat> splats;
    likeness::Buffer<float> conics;  // [count, 3]: inverse covariance xx, xy, yy
    likeness::Buffer<likeness::TileBox> boxes;
    likeness::Buffer<uint32_t> keys, keys_other, order, order_other;
    // binning
    likeness::Buffer<uint32_t> first_slot;  // [count + 1]
    likeness::Buffer<uint32_t> histogram, tile_begin;
    likeness::Buffer<likeness::Entry> entries;
    uint32_t visible_count = 0;
    int64_t entry_count = 0;
    // forward state that the backward pass needs
    likeness::Buffer<uint32_t> masks;        // [entries]
    likeness::Buffer<float> transmittance;   // [tiles, blocks, lanes] at the last contributing Gaussian
    likeness::Buffer<int32_t> last;          // [tiles, blocks, lanes] entries of the block's list before termination
    // backward
    likeness::Buffer<float> records;  // [entries, record size]
    double seconds[6] = {};
};

namespace likeness {

bool all_finite(const float* values, int64_t count);
/// Fills splats, conics, boxes, keys and the screen outputs. False: an input was NaN or infinite.
bool project(LikenessRaster& raster, const LikenessScene& scene, float* screen_means, float* radii);
/// Front-to-back order, then the list of Gaussians of each tile. False: more pairs than 32 bits count.
bool bin(LikenessRaster& raster);
void draw(LikenessRaster& raster, const LikenessScene& scene, bool keep_state, float* image, float* alpha);
/// The picture's gradient, channel by channel; null where it is zero.
struct PictureGradient {
    const float* channels[MAX_CHANNELS];
    const float* alpha;
    int geometry_channels;  // these come first and reach the geometry
};
void draw_backward(LikenessRaster& raster, const LikenessScene& scene, const PictureGradient& picture,
                   float* opacity_gradient, float* color_gradient, float* screen_gradient, float* conic_gradient);
void project_backward(LikenessRaster& raster, const LikenessScene& scene, const float* screen_gradient,
                      const float* conic_gradient, float* means, float* quaternions, float* scales);
double now();

/// Floats of one (tile, Gaussian) gradient record: six moments, then the colours.
constexpr int record_size(int channels) {
    const int step = Fv::lanes == 8 ? 4 : Fv::lanes;
    return (6 + channels + step - 1) / step * step;
}

/// Calls f with the channel count as a compile-time constant. Counts without a specialisation are never asked for:
/// Python pads to the next of these.
template <class F>
void with_channels(int channels, F&& f) {
    switch (channels) {
#define LIKENESS_CASE(n) \
    case n: f(std::integral_constant<int, n>{}); return;
        LIKENESS_CASE(1) LIKENESS_CASE(3) LIKENESS_CASE(5) LIKENESS_CASE(7) LIKENESS_CASE(10) LIKENESS_CASE(16)
#undef LIKENESS_CASE
    }
}

}  // namespace likeness
