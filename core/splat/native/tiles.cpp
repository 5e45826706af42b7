// Which Gaussians touch which tile, front to back: one radix sort by depth, then a counting sort into tiles.
#include <algorithm>

#include "raster.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS;

/// Stable sort of (key, Gaussian) by key. Depths are positive floats, so their bits sort like integers; only the span
/// between the nearest and the farthest is sorted, which is mostly two digits instead of three.
void sort_by_depth(LikenessRaster& raster) {
    const uint32_t n = raster.visible_count;
    uint32_t* keys = raster.keys_other.get();
    uint32_t* order = raster.order.get();
    uint32_t* keys_to = raster.keys.get();
    uint32_t* order_to = raster.order_other.resize(raster.count);
    uint32_t low = UINT32_MAX, high = 0;
    for (uint32_t i = 0; i < n; i++) low = std::min(low, keys[i]), high = std::max(high, keys[i]);
    bool swapped = false;
    for (int shift = 0; shift < 32 && n && ((high - low) >> shift) != 0; shift += DIGIT_BITS) {
        uint32_t start[DIGITS] = {};
        for (uint32_t i = 0; i < n; i++) start[((keys[i] - low) >> shift) & (DIGITS - 1)]++;
        uint32_t sum = 0;
        for (uint32_t& s : start) {
            const uint32_t here = s;
            s = sum;
            sum += here;
        }
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t to = start[((keys[i] - low) >> shift) & (DIGITS - 1)]++;
            keys_to[to] = keys[i];
            order_to[to] = order[i];
        }
        std::swap(keys, keys_to);
        std::swap(order, order_to);
        swapped = !swapped;
    }
    if (swapped) std::swap(raster.order, raster.order_other);
}

}  // namespace

bool bin(LikenessRaster& raster) {
    const double start = now();
    const int count = raster.count;
    uint32_t* first_slot = raster.first_slot.resize(count + 1);
    uint32_t* order = raster.order.resize(count);
    uint32_t* keys = raster.keys_other.resize(count);
    const TileBox* boxes = raster.boxes.get();
    uint32_t visible = 0;
    uint64_t slots = 0;
    for (int g = 0; g < count; g++) {
        const TileBox b = boxes[g];
        const uint32_t tiles = static_cast<uint32_t>(b.right - b.left) * static_cast<uint32_t>(b.bottom - b.top);
        first_slot[g] = static_cast<uint32_t>(slots);
        slots += tiles;
        order[visible] = g;
        keys[visible] = raster.keys[g];
        visible += tiles != 0;
    }
    if (slots > INT32_MAX) return false;
    first_slot[count] = static_cast<uint32_t>(slots);
    raster.visible_count = visible;
    raster.entry_count = static_cast<int64_t>(slots);
    sort_by_depth(raster);
    order = raster.order.get();
    raster.seconds[1] = now() - start;

    const double begin_bins = now();
    const int tiles = raster.tiles_x * raster.tiles_y;
    // The pieces' order is the sorted order, so the result does not depend on how many there are.
    const int pieces = std::max(1, std::min(thread_count(), static_cast<int>(visible / 2048)));
    uint32_t* histogram = raster.histogram.resize(static_cast<size_t>(tiles) * pieces);
    uint32_t* tile_begin = raster.tile_begin.resize(tiles + 1);
    Entry* entries = raster.entries.resize(slots);
    const auto for_piece = [&](int64_t piece, auto&& visit) {
        uint32_t* counts = histogram + piece * tiles;
        const uint32_t from = static_cast<uint32_t>(static_cast<uint64_t>(visible) * piece / pieces);
        const uint32_t to = static_cast<uint32_t>(static_cast<uint64_t>(visible) * (piece + 1) / pieces);
        for (uint32_t i = from; i < to; i++) {
            const TileBox b = boxes[order[i]];
            uint32_t slot = first_slot[order[i]];
            for (int y = b.top; y < b.bottom; y++)
                for (int x = b.left; x < b.right; x++) visit(counts[y * raster.tiles_x + x], order[i], slot++);
        }
    };
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
        std::fill_n(histogram + piece * tiles, tiles, 0u);
        for_piece(piece, [](uint32_t& counter, uint32_t, uint32_t) { counter++; });
    });
    uint32_t sum = 0;
    for (int t = 0; t < tiles; t++) {
        tile_begin[t] = sum;
        for (int p = 0; p < pieces; p++) {
            uint32_t& counter = histogram[static_cast<size_t>(p) * tiles + t];
            const uint32_t here = counter;
            counter = sum;
            sum += here;
        }
    }
    tile_begin[tiles] = sum;
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
        for_piece(piece, [&](uint32_t& counter, uint32_t g, uint32_t slot) { entries[counter++] = {g, slot}; });
    });
    raster.seconds[2] = now() - begin_bins;
    return true;
}

}  // namespace likeness
