// The gradient of the picture: back to front through every block, alphas recomputed, one scalar carried for each pixel.
//
// With q = colour . pixel gradient, T the transmittance in front and R the light that comes from behind,
//     dL/dalpha = T q - R / (1 - alpha),
// and dL/dlog(alpha) = alpha dL/dalpha =: S is all that mean, conic and opacity need: they are six moments of S over the
// pixels of a block. Moments of `lanes` Gaussians are reduced at once, by a transpose, with lanes = Gaussians. Each
// (tile, Gaussian) has a record of its own, summed in order at the end: no atomics, the same bits at any thread count.
#include <cstring>
#include <new>

#include "blocks.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int L = Fv::lanes;

/// A tile of one plane; zero outside the picture, and everywhere where there is no plane.
void load_tile(const float* plane, int width, int height, int x, int y, float* tile) {
    const int columns = std::min(TILE, width - x), rows = std::min(TILE, height - y);
    if (!plane || rows < TILE || columns < TILE) std::fill_n(tile, TILE * TILE, 0.0f);
    if (plane) copy_rows(plane + static_cast<int64_t>(y) * width + x, width, tile, TILE, columns, rows);
}

/// S and blending weight of up to `lanes` Gaussians at the pixels of one block, waiting to be reduced.
struct Pending {
    Fv s[L], weight[L];
    uint32_t index[L];
    int count;
};

/// Adds the pending Gaussians' moments and colour gradients to their tile-local records.
template <int C>
void reduce(Pending& pending, const LocalSplat<C>* splats, float left, float top, const float (*gradient)[L],
            float* records) {
    constexpr int SIZE = record_size(C);
    const Fv zero = Fv::all(0.0f), two = Fv::all(2.0f), three = Fv::all(3.0f), four = Fv::all(4.0f),
             nine = Fv::all(9.0f);
    alignas(64) float mean_x[L], mean_y[L];
    for (int i = 0; i < L; i++) {
        const bool used = i < pending.count;
        mean_x[i] = used ? splats[pending.index[i]].x : 0.0f;
        mean_y[i] = used ? splats[pending.index[i]].y : 0.0f;
        if (!used) pending.s[i] = pending.weight[i] = zero;
    }
    transpose(pending.s);  // now s[pixel], lanes = Gaussians
    Fv m0 = zero, mx = zero, my = zero, mxx = zero, mxy = zero, myy = zero;
    for (int row = 0; row < BLOCK_HEIGHT; row++) {
        const Fv* s = pending.s + 4 * row;
        const Fv r0 = (s[0] + s[1]) + (s[2] + s[3]);
        const Fv r1 = fma(three, s[3], fma(two, s[2], s[1]));
        const Fv r2 = fma(nine, s[3], fma(four, s[2], s[1]));
        const Fv y = Fv::all(static_cast<float>(row)), yy = Fv::all(static_cast<float>(row * row));
        m0 = m0 + r0;
        mx = mx + r1;
        mxx = mxx + r2;
        if (row == 0) continue;
        my = fma(y, r0, my);
        myy = fma(yy, r0, myy);
        mxy = fma(y, r1, mxy);
    }
    // From the block's corner to the Gaussian's mean.
    const Fv ox = Fv::all(left) - Fv::load(mean_x), oy = Fv::all(top) - Fv::load(mean_y);
    Fv out[(SIZE + L - 1) / L * L];
    out[0] = m0;
    out[1] = fma(ox, m0, mx);
    out[2] = fma(oy, m0, my);
    out[3] = fma(ox, mx + out[1], mxx);
    out[4] = fma(ox, out[2], fma(oy, mx, mxy));
    out[5] = fma(oy, my + out[2], myy);
    transpose(pending.weight);
    for (int k = 0; k < C; k++) {
        Fv even = pending.weight[0] * Fv::all(gradient[k][0]), odd = pending.weight[1] * Fv::all(gradient[k][1]);
        for (int p = 2; p < L; p += 2) {
            even = fma(pending.weight[p], Fv::all(gradient[k][p]), even);
            odd = fma(pending.weight[p + 1], Fv::all(gradient[k][p + 1]), odd);
        }
        out[6 + k] = even + odd;
    }
    for (int k = 6 + C; k < SIZE; k++) out[k] = zero;
    int part = 0;
    for (; part + L <= SIZE; part += L) {
        transpose(out + part);
        for (int i = 0; i < pending.count; i++) {
            float* record = records + static_cast<size_t>(pending.index[i]) * SIZE + part;
            (Fv::load(record) + out[part + i]).store(record);
        }
    }
    if constexpr (SIZE % L != 0) {
        float* rows[L];
        for (int i = 0; i < pending.count; i++) rows[i] = records + static_cast<size_t>(pending.index[i]) * SIZE + part;
        add_transposed_four(out + part, pending.count, rows);
    }
}

/// What the walk from back to front carries through a block's pixels.
struct Carried {
    Fv transmittance;
    Fv behind;  // light that comes from behind, times the pixel's gradient
};

/// Steps over the K Gaussians before `list`, the last of them number `past - 1`, and notes S and weight of each from
/// `pending.count` on. `SomeEnded`: pixels that ended before a Gaussian must not see it.
template <int K, int C, bool SomeEnded>
inline void step_back(const LocalSplat<C>* splats, const uint32_t* list, const BlockPixels& at, Iv last, int past,
                      const Fv (&to_geometry)[C], Carried& carried, Pending& pending) {
    const Fv one = Fv::all(1.0f);
    Fv raw[K], inverse[K];
    Mv seen[K];
    for (int k = 0; k < K; k++) {
        raw[k] = log2_alpha(splats[list[-1 - k]], at);
        seen[k] = ge(raw[k], Fv::all(LOG2_ALPHA_THRESHOLD));
        if constexpr (SomeEnded) seen[k] = seen[k] & gt(last, Iv::all(past - 1 - k));
    }
    exp2_masked(raw);
    for (int k = 0; k < K; k++) raw[k] = zero_unless(seen[k], raw[k]);
    for (int k = 0; k < K; k++) inverse[k] = reciprocal(one - min(raw[k], Fv::all(ALPHA_MAX)));
    for (int k = 0; k < K; k++) {
        const uint32_t index = list[-1 - k];
        const float* color = splats[index].color;
        const Fv alpha = min(raw[k], Fv::all(ALPHA_MAX));
        carried.transmittance = carried.transmittance * inverse[k];
        Fv q = Fv::all(color[0]) * to_geometry[0];
        for (int c = 1; c < C; c++) q = fma(Fv::all(color[c]), to_geometry[c], q);
        const Fv weight = alpha * carried.transmittance;
        const Fv d_alpha = fnma(carried.behind, inverse[k], carried.transmittance * q);
        carried.behind = fma(weight, q, carried.behind);
        // Where alpha was cut to its maximum it does not depend on the Gaussian's shape.
        pending.s[pending.count] = zero_unless(ge(Fv::all(ALPHA_MAX), raw[k]), raw[k] * d_alpha);
        pending.weight[pending.count] = weight;
        pending.index[pending.count++] = index;
    }
}

/// Steps over the `count` Gaussians before `list`.
template <int C, bool SomeEnded>
inline void walk_back(const LocalSplat<C>* splats, const uint32_t* list, const BlockPixels& at, Iv last, int past,
                      int count, const Fv (&to_geometry)[C], Carried& carried, Pending& pending) {
    pending.count = 0;
    int j = 0;
    for (; j + IN_STEP <= count; j += IN_STEP)
        step_back<IN_STEP, C, SomeEnded>(splats, list - j, at, last, past - j, to_geometry, carried, pending);
    for (; j < count; j++)
        step_back<1, C, SomeEnded>(splats, list - j, at, last, past - j, to_geometry, carried, pending);
}

template <int C>
void draw_tile_backward(LikenessRaster& raster, const LikenessScene& scene, TileScratch<C>& scratch, int tile,
                        const PictureGradient& picture, float* records) {
    const int tile_x = tile % raster.tiles_x * TILE, tile_y = tile / raster.tiles_x * TILE;
    const int width = scene.width, height = scene.height;
    const Fv zero = Fv::all(0.0f);
    const LocalSplat<C>* const splats = scratch.splats;
    for (int k = 0; k <= C; k++)
        load_tile(k < C ? picture.channels[k] : picture.alpha, width, height, tile_x, tile_y,
                  scratch.pixels + k * TILE * TILE);
    for (int block = 0; block < BLOCKS_PER_TILE; block++) {
        const int x = tile_x + BlockPixels::left(block), y = tile_y + BlockPixels::top(block);
        if (!scratch.block_count[block] || x >= width || y >= height) continue;
        const BlockPixels at(block);
        const size_t at_state = (static_cast<size_t>(tile) * BLOCKS_PER_TILE + block) * L;
        const Iv last = Iv::load(&raster.last[at_state]);
        int length = 0, all_alive = raster.last[at_state];  // entries that any and that every pixel saw
        for (int i = 0; i < L; i++) {
            length = std::max(length, raster.last[at_state + i]);
            all_alive = std::min(all_alive, raster.last[at_state + i]);
        }
        if (!length) continue;

        const float* const here = scratch.pixels + BlockPixels::top(block) * TILE + BlockPixels::left(block);
        alignas(64) float gradient[C][L];
        Fv to_geometry[C], background = zero;
        for (int k = 0; k < C; k++) {
            const Fv g = Fv::rows(here + k * TILE * TILE, TILE);
            g.store(gradient[k]);
            to_geometry[k] = k < picture.geometry_channels ? g : zero;
            if (scene.background) background = fma(Fv::all(scene.background[k]), to_geometry[k], background);
        }
        background = background - Fv::rows(here + C * TILE * TILE, TILE);
        const Fv end = Fv::load(&raster.transmittance[at_state]);
        Carried carried{end, end * background};

        const uint32_t* list = scratch.block_list(block);
        const float left = static_cast<float>(BlockPixels::left(block)) + 0.5f;
        const float top = static_cast<float>(BlockPixels::top(block)) + 0.5f;
        Pending pending;
        for (int past = length; past > 0; past -= L) {
            const int count = std::min(L, past);
            if (past > all_alive)
                walk_back<C, true>(splats, list + past, at, last, past, count, to_geometry, carried, pending);
            else
                walk_back<C, false>(splats, list + past, at, last, past, count, to_geometry, carried, pending);
            reduce<C>(pending, splats, left, top, gradient, records);
        }
    }
}

}  // namespace

void draw_backward(LikenessRaster& raster, const LikenessScene& scene, const PictureGradient& picture,
                   float* opacity_gradient, float* color_gradient, float* screen_gradient, float* conic_gradient) {
    const double start = now();
    const int tiles = raster.tiles_x * raster.tiles_y;
    with_channels(scene.channels, [&](auto channels) {
        constexpr int C = decltype(channels)::value;
        constexpr int SIZE = record_size(C);
        float* records = raster.records.resize(static_cast<size_t>(raster.entry_count) * SIZE);
        parallel_for(tiles, 4, [&](int64_t begin, int64_t end) {
            static thread_local TileScratch<C> memory;
            TileScratch<C>& scratch = *opaque(&memory);
            static thread_local Buffer<float> local;
            for (int64_t tile = begin; tile < end; tile++) {
                const uint32_t first = raster.tile_begin[tile], past = raster.tile_begin[tile + 1];
                if (first == past) continue;
                scratch.prepare(raster, static_cast<int>(tile), scene.colors, false, raster.masks.get());
                float* sums = local.resize(static_cast<size_t>(scratch.count) * SIZE);
                std::fill_n(sums, static_cast<size_t>(scratch.count) * SIZE, 0.0f);
                draw_tile_backward<C>(raster, scene, scratch, static_cast<int>(tile), picture, sums);
                int n = 0;
                for (uint32_t e = first; e < past; e++) {
                    float* record = records + static_cast<size_t>(raster.entries[e].slot) * SIZE;
                    if (raster.masks[e])
                        std::memcpy(record, sums + static_cast<size_t>(n++) * SIZE, sizeof(float) * SIZE);
                    else
                        std::memset(record, 0, sizeof(float) * SIZE);
                }
            }
        });
        raster.seconds[4] = now() - start;
        const double start_sum = now();
        parallel_for(scene.count, 512, [&](int64_t begin, int64_t end) {
            for (int64_t g = begin; g < end; g++) {
                F4 sums[SIZE / 4];
                for (F4& s : sums) s = F4::all(0.0f);
                for (uint32_t slot = raster.first_slot[g]; slot < raster.first_slot[g + 1]; slot++)
                    for (int i = 0; i < SIZE / 4; i++)
                        sums[i] = sums[i] + F4::load(records + static_cast<size_t>(slot) * SIZE + 4 * i);
                alignas(64) float f[SIZE];
                for (int i = 0; i < SIZE / 4; i++) sums[i].store(f + 4 * i);
                const float* conic = &raster.conics[3 * g];
                const bool seen = raster.first_slot[g + 1] > raster.first_slot[g];
                screen_gradient[2 * g] = seen ? conic[0] * f[1] + conic[1] * f[2] : 0.0f;
                screen_gradient[2 * g + 1] = seen ? conic[1] * f[1] + conic[2] * f[2] : 0.0f;
                conic_gradient[3 * g] = -0.5f * f[3];
                conic_gradient[3 * g + 1] = -f[4];
                conic_gradient[3 * g + 2] = -0.5f * f[5];
                opacity_gradient[g] = seen ? f[0] / scene.opacities[g] : 0.0f;
                for (int k = 0; k < C; k++) color_gradient[g * C + k] = f[6 + k];
            }
        });
        raster.seconds[5] = now() - start_sum;
    });
}

}  // namespace likeness

LIKENESS_EXPORT int32_t likeness_raster_backward(LikenessRaster* raster, const LikenessScene* scene,
                                                 int32_t geometry_channels, int32_t map_channels,
                                                 const float* image_gradient, const float* map_gradient,
                                                 const float* alpha_gradient,
                                                 const LikenessSceneGradient* gradient) try {
    likeness::PictureGradient picture{{}, alpha_gradient, geometry_channels};
    const int64_t plane = static_cast<int64_t>(scene->width) * scene->height;
    for (int k = 0; image_gradient && k < geometry_channels; k++) picture.channels[k] = image_gradient + k * plane;
    for (int k = 0; map_gradient && k < map_channels; k++)
        picture.channels[geometry_channels + k] = map_gradient + k * plane;
    likeness::Buffer<float> conic_gradient;
    conic_gradient.resize(3 * static_cast<size_t>(scene->count));
    likeness::draw_backward(*raster, *scene, picture, gradient->opacities, gradient->colors, gradient->screen_means,
                            conic_gradient.get());
    likeness::project_backward(*raster, *scene, gradient->screen_means, conic_gradient.get(), gradient->means,
                               gradient->quaternions, gradient->scales);
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}
