// One tile prepared for drawing: tile-local copies of its Gaussians, and for each block of pixels the list of those that
// can reach it. Used by one thread at a time.
#pragma once
#include <algorithm>
#include <cstring>

#include "raster.h"

namespace likeness {

/// Gaussians whose alphas are computed in step; after the end of each list stand as many that are nowhere.
constexpr int IN_STEP = 4;

/// A Gaussian as the inner loops read it: constants of log2(alpha) in pixels from the tile's corner, then its colours.
template <int C>
struct alignas(16) LocalSplat {
    // t = a X + b Y + t0, s = c Y + s0, log2(alpha) = log_opacity - t^2 - s^2
    float a, b, t0, c, s0, log_opacity;
    float x, y;
    float color[C];
};

template <int C>
class TileScratch {
public:
    /// Gathers the tile; block masks are computed (and kept in `masks`), or read from there.
    void prepare(LikenessRaster& raster, int tile, const float* colors, bool compute_masks, uint32_t* masks) {
        const uint32_t begin = raster.tile_begin[tile], end = raster.tile_begin[tile + 1];
        const size_t entries = end - begin;
        const float origin_x = static_cast<float>(tile % raster.tiles_x * TILE);
        const float origin_y = static_cast<float>(tile / raster.tiles_x * TILE);
        splats = splat_memory_.resize(entries + 1);
        slots = slot_memory_.resize(entries + 1);
        uint32_t* kept = mask_memory_.resize(entries + 32);
        int n = 0;
        const Entry* const all_entries = raster.entries.get();
        const Splat* const all_splats = raster.splats.get();
        LocalSplat<C>* const locals = splats;
        uint32_t* const local_slots = slots;
        for (uint32_t e = begin; e < end; e++) {
            const Entry entry = all_entries[e];
            // Depth order is random in memory: ask for what comes next.
            const uint32_t ahead = all_entries[std::min(e + 6, end - 1)].gaussian;
            __builtin_prefetch(all_splats + ahead);
            __builtin_prefetch(colors + static_cast<size_t>(ahead) * C);
            const Splat s = all_splats[entry.gaussian];
            const float x = s.x - origin_x, y = s.y - origin_y;
            const uint32_t mask = compute_masks ? block_mask(s, x, y) : masks[e];
            masks[e] = mask;
            local_slots[n] = entry.slot;
            kept[n] = mask;
            LocalSplat<C>& local = locals[n];
            local.a = s.a, local.b = s.b, local.t0 = -(s.a * x + s.b * y);
            local.c = s.c, local.s0 = -s.c * y, local.log_opacity = s.log_opacity;
            local.x = x, local.y = y;
            const float* color = colors + static_cast<size_t>(entry.gaussian) * C;
            for (int k = 0; k < C; k++) local.color[k] = color[k];
            n += mask != 0;
        }
        count = n;
        LocalSplat<C>& nothing = locals[n];
        nothing = {};
        nothing.log_opacity = -100.0f;
        std::fill_n(kept + n, 32, 0u);
        list_blocks(kept, n);
    }

    LocalSplat<C>* splats = nullptr;
    uint32_t* slots = nullptr;  // the Gaussian's gradient record
    int count = 0;
    int block_count[BLOCKS_PER_TILE];
    /// The tile's pixels, channels and then alpha, or their gradients. Rows of many planes lie a power of two apart: block by
    /// block they would push each other out of the cache.
    alignas(64) float pixels[(C + 1) * TILE * TILE];
    const uint32_t* block_list(int block) const { return list_memory_.get() + static_cast<size_t>(block) * capacity_; }

private:
    /// Blocks whose pixel centres' hull meets the ellipse alpha >= 1/255, from the ellipse's exact extent in each strip of
    /// two pixel rows.
    __attribute__((noinline)) static uint32_t block_mask(const Splat& s, float x, float y) {
        alignas(32) static const float strips[8] = {0.5f, 2.5f, 4.5f, 6.5f, 8.5f, 10.5f, 12.5f, 14.5f};
        alignas(32) static const int32_t tall[8] = {0, 0, 4, 4, 8, 8, 12, 12}, flat[8] = {0, 4, 8, 12, 16, 20, 24, 28};
        const float limit = s.log_opacity + MASK_MARGIN - LOG2_ALPHA_THRESHOLD, inverse_a = 1.0f / s.a;
        const F8 top = F8::load(strips) - F8::all(y), bottom = top + F8::all(1.0f);
        const F8 low = max(top, F8::all(-s.reach)), high = min(bottom, F8::all(s.reach));
        const M8 meets = ge(high, low);
        const F8 zero = F8::all(0.0f), c = F8::all(s.c), limits = F8::all(limit), slope = F8::all(s.b);
        const F8 y_left = min(max(F8::all(s.peak), low), high), y_right = min(max(F8::all(-s.peak), low), high);
        const F8 c_left = c * y_left, c_right = c * y_right;
        const F8 half_left = sqrt(max(zero, fnma(c_left, c_left, limits)));
        const F8 half_right = sqrt(max(zero, fnma(c_right, c_right, limits)));
        const F8 x_left = fnma(fma(slope, y_left, half_left), F8::all(inverse_a), F8::all(x));
        const F8 x_right = fma(half_right - slope * y_right, F8::all(inverse_a), F8::all(x));
        // Block k holds pixel centres 4k + 0.5 ... 4k + 3.5.
        const F8 margin = F8::all(1e-3f), quarter = F8::all(0.25f), four = F8::all(4.0f);
        const F8 first = min(four, max(zero, zero - floor(quarter * (F8::all(3.5f) - x_left + margin))));
        const F8 past = max(zero, min(four, floor(quarter * (x_right + margin - F8::all(0.5f))) + F8::all(1.0f)));
        return interval_bits(first, past, meets, BLOCK_HEIGHT == 2 ? flat : tall);
    }

    __attribute__((noinline)) void list_blocks(const uint32_t* masks, int n) {
        capacity_ = static_cast<size_t>(n) + 16;
        uint32_t* lists = list_memory_.resize(capacity_ * BLOCKS_PER_TILE);
        uint32_t* ends[BLOCKS_PER_TILE];
        for (int b = 0; b < BLOCKS_PER_TILE; b++) ends[b] = lists + static_cast<size_t>(b) * capacity_;
        distribute<BLOCKS_PER_TILE>(masks, n, ends);
        for (int b = 0; b < BLOCKS_PER_TILE; b++) {
            block_count[b] = static_cast<int>(ends[b] - (lists + static_cast<size_t>(b) * capacity_));
            std::fill_n(ends[b], IN_STEP, static_cast<uint32_t>(n));
        }
    }

    Buffer<LocalSplat<C>> splat_memory_;
    Buffer<uint32_t> slot_memory_, mask_memory_;
    Buffer<uint32_t> list_memory_;
    size_t capacity_ = 0;
};

/// The same pointer, of which the compiler knows nothing: it would look a thread-local up again in every inner loop.
template <class T>
inline T* opaque(T* pointer) {
#if defined(__GNUC__)
    __asm__("" : "+r"(pointer));
#endif
    return pointer;
}

/// Rows of up to TILE floats from one array to another; a whole row is one or two vectors.
inline void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int columns, int rows) {
    for (int i = 0; i < rows; i++, from += from_stride, to += to_stride) {
        if (columns == TILE)
            std::memcpy(to, from, sizeof(float) * TILE);
        else
            std::copy_n(from, columns, to);
    }
}

/// Pixel centres of a block, relative to its tile's corner.
struct BlockPixels {
    Fv x, y;
    explicit BlockPixels(int block)
        : x(Fv::load(ACROSS) + Fv::all(static_cast<float>(left(block)))),
          y(Fv::load(DOWN) + Fv::all(static_cast<float>(top(block)))) {}
    static int left(int block) { return block % (TILE / BLOCK_WIDTH) * BLOCK_WIDTH; }
    static int top(int block) { return block / (TILE / BLOCK_WIDTH) * BLOCK_HEIGHT; }

private:
    // The centres of a block's pixels from its corner; the longest block has 16.
    alignas(64) static constexpr float ACROSS[16] = {0.5f, 1.5f, 2.5f, 3.5f, 0.5f, 1.5f, 2.5f, 3.5f,
                                                     0.5f, 1.5f, 2.5f, 3.5f, 0.5f, 1.5f, 2.5f, 3.5f};
    alignas(64) static constexpr float DOWN[16] = {0.5f, 0.5f, 0.5f, 0.5f, 1.5f, 1.5f, 1.5f, 1.5f,
                                                   2.5f, 2.5f, 2.5f, 2.5f, 3.5f, 3.5f, 3.5f, 3.5f};
};

/// log2(alpha) of a Gaussian at the pixels of a block.
template <int C>
inline Fv log2_alpha(const LocalSplat<C>& s, const BlockPixels& at) {
    const Fv t = fma(Fv::all(s.a), at.x, fma(Fv::all(s.b), at.y, Fv::all(s.t0)));
    const Fv u = fma(Fv::all(s.c), at.y, Fv::all(s.s0));
    return fnma(t, t, fnma(u, u, Fv::all(s.log_opacity)));
}

}  // namespace likeness
