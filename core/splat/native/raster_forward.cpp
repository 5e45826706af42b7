// Front-to-back blending of every tile, and the C entry points of the rasteriser.
#include <chrono>
#include <new>

#include "blocks.h"
#include "threads.h"

namespace likeness {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

/// Writes a tile of one channel, cutting off what lies outside the picture.
void store_tile(const float* tile, float* plane, int width, int height, int x, int y) {
    copy_rows(tile, TILE, plane + static_cast<int64_t>(y) * width + x, width, std::min(TILE, width - x),
              std::min(TILE, height - y));
}

/// Alphas of K Gaussians: 0 below 1/255, cut at 0.999.
template <int K, int C>
void alphas(const LocalSplat<C>* splats, const uint32_t* list, const BlockPixels& at, Fv (&alpha)[K]) {
    Mv seen[K];
    written_out<K>([&](auto k) {
        alpha[k] = log2_alpha(splats[list[k]], at);
        seen[k] = ge(alpha[k], Fv::all(LOG2_ALPHA_THRESHOLD));
    });
    exp2_masked(alpha);
    written_out<K>([&](auto k) { alpha[k] = min(zero_unless(seen[k], alpha[k]), Fv::all(ALPHA_MAX)); });
}

/// Blends the list's beginning for as long as no pixel ends: transmittance only falls, so one look after every eight
/// Gaussians tells that all eight counted. The eight in which a pixel ends are undone; returns where they begin.
template <int C>
int blend_alive(const LocalSplat<C>* splats, const uint32_t* list, int n, const BlockPixels& at, Fv& running,
                Fv (&sum)[C]) {
    constexpr int GROUP = 2 * IN_STEP;
    const Fv one = Fv::all(1.0f);
    Fv transmittance = running, colors[C];
    written_out<C>([&](auto k) { colors[k] = sum[k]; });
    int i = 0;
    for (; i < n; i += GROUP) {
        for (int j = i; j < std::min(n, i + GROUP); j += IN_STEP) {
            Fv alpha[IN_STEP];
            alphas(splats, list + j, at, alpha);
            written_out<IN_STEP>([&](auto g) {
                const float* color = splats[list[j + g]].color;
                const Fv weight = alpha[g] * transmittance;
                transmittance = transmittance * (one - alpha[g]);
                written_out<C>([&](auto k) { colors[k] = fma(weight, Fv::all(color[k]), colors[k]); });
            });
        }
        if (!every(gt(transmittance, Fv::all(TRANSMITTANCE_THRESHOLD)))) return i;
        running = transmittance;
        written_out<C>([&](auto k) { sum[k] = colors[k]; });
    }
    return n;
}

/// A tile that no Gaussian touches.
void clear_tile(LikenessRaster& raster, const LikenessScene& scene, int tile, bool keep_state, float* image,
                float* alpha) {
    const int left = tile % raster.tiles_x * TILE, top = tile / raster.tiles_x * TILE;
    const int columns = std::min(TILE, scene.width - left), bottom = std::min(top + TILE, scene.height);
    const int64_t plane = static_cast<int64_t>(scene.width) * scene.height;
    for (int y = top; y < bottom; y++) {
        const int64_t at = static_cast<int64_t>(y) * scene.width + left;
        for (int k = 0; k < scene.channels; k++)
            std::fill_n(image + k * plane + at, columns, scene.background ? scene.background[k] : 0.0f);
        std::fill_n(alpha + at, columns, 0.0f);
    }
    if (!keep_state) return;
    const size_t state = static_cast<size_t>(tile) * TILE * TILE;
    std::fill_n(&raster.transmittance[state], TILE * TILE, 1.0f);
    std::fill_n(&raster.last[state], TILE * TILE, 0);
}

template <int C>
__attribute__((noinline)) void draw_tile(LikenessRaster& raster, const LikenessScene& scene, TileScratch<C>& scratch, int tile, bool keep_state,
               float* image, float* alpha_plane) {
    const int tile_x = tile % raster.tiles_x * TILE, tile_y = tile / raster.tiles_x * TILE;
    const int width = scene.width, height = scene.height;
    const int64_t plane = static_cast<int64_t>(width) * height;
    const Fv one = Fv::all(1.0f), zero = Fv::all(0.0f);
    const LocalSplat<C>* const splats = scratch.splats;
    float* const pixels = scratch.pixels;
    for (int block = 0; block < BLOCKS_PER_TILE; block++) {
        const int x = tile_x + BlockPixels::left(block), y = tile_y + BlockPixels::top(block);
        if (x >= width || y >= height) continue;
        const BlockPixels at(block);
        const uint32_t* list = scratch.block_list(block);
        const int n = scratch.block_count[block];
        Fv running = one, sum[C];
        written_out<C>([&](auto k) { sum[k] = zero; });
        int i = blend_alive<C>(splats, list, n, at, running, sum);
        Fv final = running;
        Iv last = Iv::all(i);
        for (; i < n; i++) {
            const LocalSplat<C>& s = splats[list[i]];
            Fv alpha[1];
            alphas(splats, list + i, at, alpha);
            const Fv after = running * (one - alpha[0]);
            const Mv alive = gt(after, Fv::all(TRANSMITTANCE_THRESHOLD));
            const Fv weight = zero_unless(alive, alpha[0] * running);
            final = select(alive, after, final);
            last = count_if(last, alive);
            running = after;
            written_out<C>([&](auto k) { sum[k] = fma(weight, Fv::all(s.color[k]), sum[k]); });
            if ((i & 7) == 7 && none(alive)) break;
        }
        if (keep_state) {
            const size_t at_state = (static_cast<size_t>(tile) * BLOCKS_PER_TILE + block) * Fv::lanes;
            final.store(&raster.transmittance[at_state]);
            last.store(&raster.last[at_state]);
        }
        float* const here = pixels + BlockPixels::top(block) * TILE + BlockPixels::left(block);
        written_out<C>([&](auto k) {
            if (scene.background) sum[k] = fma(final, Fv::all(scene.background[k]), sum[k]);
            sum[k].store_rows(here + k * TILE * TILE, TILE);
        });
        (one - final).store_rows(here + C * TILE * TILE, TILE);
    }
    for (int k = 0; k < C; k++) store_tile(pixels + k * TILE * TILE, image + k * plane, width, height, tile_x, tile_y);
    store_tile(pixels + C * TILE * TILE, alpha_plane, width, height, tile_x, tile_y);
}

}  // namespace

void draw(LikenessRaster& raster, const LikenessScene& scene, bool keep_state, float* image, float* alpha) {
    const double start = now();
    const int tiles = raster.tiles_x * raster.tiles_y;
    uint32_t* masks = raster.masks.resize(raster.entry_count);
    if (keep_state) {
        raster.transmittance.resize(static_cast<size_t>(tiles) * TILE * TILE);
        raster.last.resize(static_cast<size_t>(tiles) * TILE * TILE);
    }
    with_channels(scene.channels, [&](auto channels) {
        constexpr int C = decltype(channels)::value;
        parallel_for(tiles, 4, [&](int64_t begin, int64_t end) {
            static thread_local TileScratch<C> memory;
            TileScratch<C>& scratch = *opaque(&memory);
            for (int64_t tile = begin; tile < end; tile++) {
                if (raster.tile_begin[tile] == raster.tile_begin[tile + 1]) {
                    clear_tile(raster, scene, static_cast<int>(tile), keep_state, image, alpha);
                    continue;
                }
                scratch.prepare(raster, static_cast<int>(tile), scene.colors, true, masks);
                draw_tile<C>(raster, scene, scratch, static_cast<int>(tile), keep_state, image, alpha);
            }
        });
    });
    raster.seconds[3] = now() - start;
}

}  // namespace likeness

LIKENESS_EXPORT LikenessRaster* likeness_raster_create() { return new (std::nothrow) LikenessRaster; }
LIKENESS_EXPORT void likeness_raster_destroy(LikenessRaster* raster) { delete raster; }

LIKENESS_EXPORT int32_t likeness_raster_forward(LikenessRaster* raster, const LikenessScene* scene, int32_t keep_state,
                                                float* image, float* alpha, float* screen_means, float* radii) try {
    const double start = likeness::now();
    raster->count = scene->count;
    raster->width = scene->width;
    raster->height = scene->height;
    raster->channels = scene->channels;
    raster->tiles_x = (scene->width + likeness::TILE - 1) / likeness::TILE;
    raster->tiles_y = (scene->height + likeness::TILE - 1) / likeness::TILE;
    raster->state_kept = false;
    if (!likeness::project(*raster, *scene, screen_means, radii)) return LIKENESS_NOT_FINITE;
    raster->seconds[0] = likeness::now() - start;
    if (!likeness::bin(*raster)) return LIKENESS_TOO_LARGE;
    likeness::draw(*raster, *scene, keep_state != 0, image, alpha);
    raster->state_kept = keep_state != 0;
    return LIKENESS_OK;
} catch (const std::bad_alloc&) {
    return LIKENESS_NO_MEMORY;
}

LIKENESS_EXPORT void likeness_raster_times(LikenessRaster* raster, double* out) {
    for (int i = 0; i < 6; i++) out[i] = raster->seconds[i];
}
