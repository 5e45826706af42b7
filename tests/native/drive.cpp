// Runs every kernel on random sizes and extreme numbers, with buffers of exactly the size that api.h promises: a program
// for the sanitizers (`make sanitize`, docs/splatting.md) and for machines that only an emulator has. Results must be
// finite, and the same bits on one thread, on three, and beside other callers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "../../core/splat/native/api.h"

namespace {

class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
    uint32_t bits() {
        state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
        return static_cast<uint32_t>(state_ >> 32);
    }
    int between(int low, int high) { return low + static_cast<int>(bits() % static_cast<uint32_t>(high - low + 1)); }
    float uniform(float low, float high) { return low + (high - low) * static_cast<float>(bits() >> 8) * 0x1p-24f; }
    template <size_t N>
    float one_of(const float (&values)[N]) { return values[bits() % N]; }
    std::vector<float> many(size_t count, float low, float high) {
        std::vector<float> values(count);
        for (float& value : values) value = uniform(low, high);
        return values;
    }

private:
    uint64_t state_;
};

/// Order-dependent digest of bits; refuses what is not finite.
class Digest {
public:
    void add(const std::vector<float>& values, const char* what) {
        for (const float value : values) {
            uint32_t bits;
            std::memcpy(&bits, &value, 4);
            if (!std::isfinite(value)) std::printf("%s: not finite\n", what), std::abort();
            value_ = (value_ ^ bits) * 0x100000001b3u;
        }
    }
    uint64_t value() const { return value_; }

private:
    uint64_t value_ = 0xcbf29ce484222325u;
};

void expect(bool holds, const char* what) {
    if (!holds) std::printf("failed: %s\n", what), std::abort();
}

void rasterise(Random& random, Digest& digest) {
    const int channel_counts[] = {1, 3, 5, 7, 10, 16};
    const int counts[] = {0, 1, 2, 7, 8, 9, 40, 700};
    const int count = counts[random.bits() % 8], channels = channel_counts[random.bits() % 6];
    const int width = random.between(1, 70), height = random.between(1, 70);
    const bool extreme = random.bits() % 4 == 0;
    std::vector<float> means = random.many(3 * count, -1, 1), quaternions = random.many(4 * count, -1, 1);
    std::vector<float> scales = random.many(3 * count, 0.001f, 0.2f), opacities = random.many(count, 0, 1);
    for (int i = 0; i < count; i++) {
        means[3 * i + 2] = random.uniform(0.5f, 3.0f);
        if (!extreme) continue;
        means[3 * i] = random.one_of({0.0f, 0.3f, 1e3f, -1e6f});
        means[3 * i + 2] = random.one_of({-5.0f, 0.0f, 0.0099f, 0.01f, 0.0101f, 1.0f, 1e8f});
        scales[3 * i] = random.one_of({0.0f, 1e-30f, 1e-6f, 1.0f, 1e3f, 1e10f, 1e18f});
        opacities[i] = random.one_of({0.0f, 1e-8f, 1 / 255.0f, 0.5f, 1.0f});
    }
    const std::vector<float> colors = random.many(static_cast<size_t>(count) * channels, -1, 2);
    const std::vector<float> background = random.many(channels, 0, 1);
    const float view[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    const size_t pixels = static_cast<size_t>(width) * height;
    std::vector<float> image(pixels * channels), alpha(pixels), screen(2 * count), radii(count);
    LikenessScene scene{};
    scene.means = means.data(), scene.quaternions = quaternions.data(), scene.scales = scales.data();
    scene.opacities = opacities.data(), scene.colors = colors.data(), scene.view = view;
    scene.background = random.bits() % 2 ? background.data() : nullptr;
    scene.fx = random.uniform(5, 80), scene.fy = random.uniform(5, 80), scene.cx = width / 2.0f, scene.cy = height / 3.0f;
    scene.count = count, scene.channels = channels, scene.width = width, scene.height = height;
    LikenessRaster* const raster = likeness_raster_create();
    const auto free_raster = std::unique_ptr<LikenessRaster, void (*)(LikenessRaster*)>(raster, likeness_raster_destroy);
    const auto draw = [&](int keep) {
        return likeness_raster_forward(raster, &scene, keep, image.data(), alpha.data(), screen.data(), radii.data());
    };
    expect(draw(0) == LIKENESS_OK, "a picture without state");
    const std::vector<float> without_state = image;
    expect(draw(1) == LIKENESS_OK, "a picture");
    expect(without_state == image, "the same picture with and without state");
    digest.add(image, "image"), digest.add(alpha, "alpha"), digest.add(radii, "radii");
    std::vector<float> d_means(3 * count), d_quaternions(4 * count), d_scales(3 * count), d_opacities(count);
    std::vector<float> d_colors(static_cast<size_t>(count) * channels), d_screen(2 * count);
    const LikenessSceneGradient gradient{d_means.data(),     d_quaternions.data(), d_scales.data(),
                                         d_opacities.data(), d_colors.data(),      d_screen.data()};
    const int reaching = random.between(0, channels), maps = random.between(0, channels - reaching);
    const std::vector<float> d_image = random.many(pixels * reaching, -1, 1), d_maps = random.many(pixels * maps, -1, 1);
    const std::vector<float> d_alpha = random.many(pixels, -1, 1);
    const auto some = [&](const std::vector<float>& values) { return random.bits() % 4 ? values.data() : nullptr; };
    expect(likeness_raster_backward(raster, &scene, reaching, maps, some(d_image), some(d_maps), some(d_alpha),
                                    &gradient) == LIKENESS_OK, "gradients");
    digest.add(d_colors, "colour gradients");
    if (!extreme) {  // a scale of 1e18 may overflow a gradient; it must not read or write elsewhere
        digest.add(d_means, "mean gradients"), digest.add(d_quaternions, "quaternion gradients");
        digest.add(d_scales, "scale gradients"), digest.add(d_opacities, "opacity gradients");
        digest.add(d_screen, "screen gradients");
    }
    double seconds[6];
    likeness_raster_times(raster, seconds);
    if (count) {
        means[static_cast<size_t>(random.between(0, 3 * count - 1))] = NAN;
        expect(draw(0) == LIKENESS_NOT_FINITE, "NaN is refused");
    }
}

void move(Random& random, Digest& digest) {
    const int count = random.between(0, 2500), moving = random.between(0, count);
    const float spread = random.bits() % 4 ? 3.0f : 1e20f;
    const auto numbers = [&](int width) { return random.many(static_cast<size_t>(width) * count, -spread, spread); };
    const auto room = [](int rows, int width) { return std::vector<float>(static_cast<size_t>(rows) * width); };
    const std::vector<float> raw[] = {numbers(3), numbers(4), numbers(3), numbers(1)};
    const int stride = random.between(4, 12);
    // The last row ends with the last number that is read.
    const std::vector<float> motion = random.many(moving ? static_cast<size_t>(moving - 1) * stride + 4 : 0, -1, 1);
    const auto rows = [&]() { return LikenessRows{random.bits() % 4 ? motion.data() : nullptr, stride}; };
    const LikenessMotion motions{rows(), rows(), rows()};
    std::vector<float> moved[] = {room(count, 3), room(count, 4), room(count, 3), room(count, 1), room(count, 3)};
    const LikenessStructure from{raw[0].data(), raw[1].data(), raw[2].data(), raw[3].data()};
    const LikenessMoved to{moved[0].data(), moved[1].data(), moved[2].data(), moved[3].data(), moved[4].data()};
    double sums[3];
    expect(likeness_move_forward(count, moving, &from, &motions, &to, sums) == LIKENESS_OK, "motion");
    for (const auto& part : moved) digest.add(part, "moved");
    digest.add({static_cast<float>(sums[0]), static_cast<float>(sums[1]), static_cast<float>(sums[2])}, "motion's size");
    const std::vector<float> upstream[] = {random.many(3 * count, -1, 1), random.many(4 * count, -1, 1),
                                           random.many(3 * count, -1, 1), random.many(count, -1, 1)};
    const LikenessStructure by{upstream[0].data(), upstream[1].data(), upstream[2].data(), upstream[3].data()};
    std::vector<float> gradients[] = {room(moving, 3), room(moving, 4), room(moving, 3), room(count, 3), room(count, 1)};
    const auto wanted = [&](const LikenessRows& part, int i) { return part.at ? gradients[i].data() : nullptr; };
    const LikenessMotionGradient gradient{wanted(motions.translation, 0), wanted(motions.rotation, 1),
                                          wanted(motions.scale, 2), gradients[3].data(), gradients[4].data()};
    const float by_sums[] = {0.1f, 0.2f, 0.3f};
    likeness_move_backward(count, moving, &motions, &to, &by, by_sums, &gradient);
    for (const auto& part : gradients) digest.add(part, "motion gradients");
}

void color_by_view(Random& random, Digest& digest) {
    const int count = random.between(0, 1300), all_bases[] = {1, 4, 9}, bases = all_bases[random.bits() % 3];
    const std::vector<float> means = random.many(3 * count, -2, 2), camera = random.many(3, -1, 1);
    std::vector<float> coefficients = random.many(static_cast<size_t>(3) * bases * count, -1, 1);
    const std::vector<float> upstream = random.many(3 * count, -1, 1);
    std::vector<float> colors(3 * count), d_coefficients(coefficients.size()), d_means(3 * count);
    expect(likeness_harmonics_forward(count, bases, camera.data(), means.data(), coefficients.data(), colors.data()) ==
               LIKENESS_OK, "colours by view");
    likeness_harmonics_backward(count, bases, camera.data(), means.data(), coefficients.data(), colors.data(),
                                upstream.data(), random.bits() % 4 ? d_coefficients.data() : nullptr,
                                random.bits() % 4 ? d_means.data() : nullptr);
    digest.add(colors, "colours"), digest.add(d_coefficients, "coefficient gradients"), digest.add(d_means, "means");
}

void encode(Random& random, Digest& digest) {
    const int count = random.between(0, 700), levels = random.between(1, 12);
    std::vector<int32_t> resolutions(levels);
    int finest = 2;
    for (int32_t& resolution : resolutions) resolution = random.between(2, 40), finest = std::max(finest, resolution);
    const int64_t entries = static_cast<int64_t>(finest + 1) * (finest + 1) + random.between(0, 3);
    const std::vector<float> points = random.many(3 * count, -1.5f, 1.5f);
    const std::vector<float> table = random.many(static_cast<size_t>(3 * levels * entries), -1, 1);
    const std::vector<float> upstream = random.many(static_cast<size_t>(3) * levels * count, -1, 1);
    std::vector<float> features(upstream.size()), d_table(table.size()), d_points(points.size());
    expect(likeness_triplane_forward(count, levels, entries, 1.0f, resolutions.data(), points.data(), table.data(),
                                     features.data()) == LIKENESS_OK, "features");
    expect(likeness_triplane_backward(count, levels, entries, 1.0f, resolutions.data(), points.data(), table.data(),
                                      upstream.data(), random.bits() % 4 ? d_table.data() : nullptr,
                                      random.bits() % 4 ? d_points.data() : nullptr) == LIKENESS_OK, "grid gradients");
    digest.add(features, "features"), digest.add(d_table, "table"), digest.add(d_points, "points");
}

/// A matrix in up to three arrays, of exactly the size that api.h promises; `gaps`: some are missing.
struct Split {
    std::vector<int32_t> widths;
    std::vector<std::vector<float>> parts;
    std::vector<float*> at;

    Split(Random& random, int rows, bool filled) : widths(static_cast<size_t>(random.between(1, 3))) {
        for (int32_t& width : widths) width = random.between(1, 50);
        fill(random, rows, filled);
    }
    Split(Random& random, int rows, const Split& like, bool filled, bool gaps) : widths(like.widths) {
        fill(random, rows, filled);
        for (float*& part : at)
            if (gaps && random.bits() % 4 == 0) part = nullptr;
    }
    int width() const { return std::accumulate(widths.begin(), widths.end(), 0); }
    LikenessColumns columns() const { return {static_cast<int32_t>(widths.size()), widths.data(), at.data()}; }

private:
    void fill(Random& random, int rows, bool filled) {
        for (const int32_t width : widths) {
            const size_t size = static_cast<size_t>(rows) * width;
            parts.push_back(filled ? random.many(size, -1, 1) : std::vector<float>(size));
        }
        for (auto& part : parts) at.push_back(part.data());
    }
};

void apply_network(Random& random, Digest& digest) {
    const int hidden_widths[] = {16, 32, 64}, layers = random.between(2, 3), count = random.between(0, 600);
    const Split inputs(random, count, true), outputs(random, count, false);
    const Split d_outputs(random, count, outputs, true, true), d_inputs(random, count, inputs, false, true);
    std::vector<int32_t> widths{inputs.width()};
    for (int i = 1; i < layers; i++) widths.push_back(hidden_widths[random.bits() % 3]);
    widths.push_back(outputs.width());
    std::vector<std::vector<float>> weights, hidden, d_weights;
    std::vector<const float*> weight_pointers, hidden_read;
    std::vector<float*> hidden_pointers, d_weight_pointers;
    for (int i = 0; i < layers; i++) {
        weights.push_back(random.many(static_cast<size_t>(widths[i]) * widths[i + 1], -1, 1));
        d_weights.emplace_back(weights[i].size());
        if (i + 1 < layers) hidden.emplace_back(static_cast<size_t>(count) * widths[i + 1]);
    }
    for (auto& w : weights) weight_pointers.push_back(w.data());
    for (auto& w : d_weights) d_weight_pointers.push_back(random.bits() % 4 ? w.data() : nullptr);
    for (auto& h : hidden) hidden_pointers.push_back(h.data()), hidden_read.push_back(h.data());
    const LikenessColumns in = inputs.columns(), out = outputs.columns(), d_out = d_outputs.columns();
    const LikenessColumns d_in = d_inputs.columns();
    expect(likeness_mlp_forward(count, layers, widths.data(), &in, weight_pointers.data(), hidden_pointers.data(), &out) ==
               LIKENESS_OK, "network");
    expect(likeness_mlp_backward(count, layers, widths.data(), &in, weight_pointers.data(), hidden_read.data(), &d_out,
                                 d_weight_pointers.data(), &d_in) == LIKENESS_OK, "network gradients");
    for (const auto& part : outputs.parts) digest.add(part, "network");
    for (const auto& part : d_inputs.parts) digest.add(part, "network input");
    for (const auto& w : d_weights) digest.add(w, "network weights");
    const std::vector<float> input = random.many(static_cast<size_t>(count) * widths[0], -1, 1);
    const std::vector<float> added = random.many(static_cast<size_t>(count) * widths[1], -1, 1);
    std::vector<float> output(static_cast<size_t>(count) * widths[layers]);
    expect(likeness_mlp_infer(count, layers, widths.data(), input.data(), added.data(), weight_pointers.data(),
                              output.data()) == LIKENESS_OK, "network without gradients");
    digest.add(output, "network without gradients");
}

void convolve(Random& random, Digest& digest) {
    const int items = random.between(1, random.bits() % 4 ? 5 : 150), steps = random.between(1, 12);
    const int layers = random.between(1, 3);
    std::vector<int32_t> shapes;
    std::vector<std::vector<float>> weights, biases, outputs, weight_gradients, bias_gradients;
    int channels = random.between(1, 20), left = steps;
    std::vector<float> input = random.many(static_cast<size_t>(items) * steps * channels, -1, 1);
    std::vector<float> input_gradient(input.size());
    for (int l = 0; l < layers; l++) {
        const int out = random.between(1, 40), side = 2 * random.between(0, 2) + 1, stride = random.between(1, 3);
        for (const int number : {channels, out, side, stride}) shapes.push_back(number);
        weights.push_back(random.many(static_cast<size_t>(out) * channels * side, -0.5f, 0.5f));
        biases.push_back(random.many(static_cast<size_t>(out), -0.5f, 0.5f));
        left = (left - 1) / stride + 1;
        outputs.emplace_back(static_cast<size_t>(items) * left * out);
        weight_gradients.emplace_back(weights.back().size());
        bias_gradients.emplace_back(biases.back().size());
        channels = out;
    }
    const auto pointers = [](auto& parts, bool frozen) {
        std::vector<decltype(parts[0].data())> found;
        for (auto& part : parts) found.push_back(part.data());
        if (frozen) found[0] = nullptr;
        return found;
    };
    const bool frozen = random.bits() % 4 == 0;
    const auto weight = pointers(weights, false), bias = pointers(biases, false), output = pointers(outputs, false);
    const auto weight_gradient = pointers(weight_gradients, frozen), bias_gradient = pointers(bias_gradients, frozen);
    expect(likeness_convolve_forward(items, steps, layers, shapes.data(), 0.02f, input.data(), weight.data(), bias.data(),
                                     output.data()) == LIKENESS_OK, "a chain of convolutions");
    const std::vector<float> gradient = random.many(outputs.back().size(), -1, 1);
    expect(likeness_convolve_backward(items, steps, layers, shapes.data(), 0.02f, input.data(), weight.data(),
                                      output.data(), gradient.data(), weight_gradient.data(), bias_gradient.data(),
                                      random.bits() % 2 ? input_gradient.data() : nullptr) == LIKENESS_OK,
           "its gradient");
    for (const auto* parts : {&outputs, &weight_gradients, &bias_gradients})
        for (const std::vector<float>& part : *parts) digest.add(part, "convolution");
    digest.add(input_gradient, "gradient through convolutions");
}

void optimise(Random& random, Digest& digest) {
    std::vector<std::vector<float>> parts;
    std::vector<LikenessAdamTensor> tensors;
    for (int i = random.between(0, 5); i > 0; i--) {
        const size_t count = static_cast<size_t>(random.bits() % 4 ? random.between(0, 40) : random.between(8190, 17000));
        for (const float low : {-1.0f, -1.0f, -1.0f, 0.0f}) parts.push_back(random.many(count, low, 1));
        float* at[4];
        for (int k = 0; k < 4; k++) at[k] = parts[parts.size() - 4 + static_cast<size_t>(k)].data();
        tensors.push_back({at[0], at[1], at[2], at[3], static_cast<int64_t>(count), 0.1f, 0.99f});
    }
    expect(likeness_adam(static_cast<int32_t>(tensors.size()), tensors.data(), 0.9f, 0.99f, 0.01f, 1e-8f) == LIKENESS_OK,
           "a step of the optimiser");
    for (const std::vector<float>& part : parts) digest.add(part, "optimiser");
}

void compare(Random& random, Digest& digest) {
    const int channels = random.between(1, 3), height = random.between(1, 60), width = random.between(1, 60);
    const std::vector<float> image = random.many(static_cast<size_t>(channels) * height * width, 0, 1);
    const std::vector<float> target = random.many(image.size(), 0, 1);
    std::vector<float> gradient(image.size());
    const bool wanted = random.bits() % 4 != 0;
    const float l1_weight = random.uniform(0, 1), ssim_weight = random.uniform(-1, 1);
    const double value = likeness_photometric(channels, height, width, image.data(), target.data(), l1_weight, ssim_weight,
                                              wanted ? gradient.data() : nullptr);
    digest.add({static_cast<float>(value)}, "comparison"), digest.add(gradient, "comparison's gradient");
}

/// AlexNet with made-up weights: laid out once, as for a whole training.
const LikenessLpips* perceptual_network() {
    static const LikenessLpips* const network = [] {
        constexpr int shapes[5][3] = {{64, 3, 11}, {192, 64, 5}, {384, 192, 3}, {256, 384, 3}, {256, 256, 3}};
        Random random(9);
        std::vector<std::vector<float>> weights, channels;
        std::vector<const float*> weight_pointers, channel_pointers;
        for (const auto& [out, in, side] : shapes) {
            const float bound = 2.0f / std::sqrt(static_cast<float>(in * side * side));
            weights.push_back(random.many(static_cast<size_t>(out) * in * side * side, -bound, bound));
            channels.push_back(random.many(out, 0, 0.1f));
        }
        for (const auto& w : weights) weight_pointers.push_back(w.data());
        for (const auto& c : channels) channel_pointers.push_back(c.data());
        return likeness_lpips_create(weight_pointers.data(), channel_pointers.data(), channel_pointers.data());
    }();
    return network;
}

void compare_perceptually(Random& random, Digest& digest) {
    const int height = random.between(31, 48), width = random.between(31, 48);
    const std::vector<float> image = random.many(3 * static_cast<size_t>(height) * width, 0, 1);
    const std::vector<float> target = random.many(image.size(), 0, 1);
    std::vector<float> gradient(image.size());
    const double value = likeness_lpips(perceptual_network(), height, width, image.data(), target.data(),
                                        random.bits() % 4 ? gradient.data() : nullptr);
    digest.add({static_cast<float>(value)}, "perceptual distance"), digest.add(gradient, "perceptual gradient");
}

void finish_frame(Random& random, Digest& digest) {
    const int size = random.between(1, 60), points = random.between(1, 40);
    const auto layer = [&](int left, int top, int right, int bottom, std::vector<float>& image,
                           std::vector<float>& alpha) {
        const int x0 = random.between(left, right), y0 = random.between(top, bottom);
        const int width = random.between(0, right - x0), height = random.between(0, bottom - y0);
        alpha = random.many(static_cast<size_t>(width) * height, 0, 1);
        image = random.many(3 * alpha.size(), 0, 1);
        return LikenessLayer{image.data(), alpha.data(), x0, y0, width, height};
    };
    std::vector<float> images[2], alphas[2];
    const LikenessLayer face = layer(0, 0, size, size, images[0], alphas[0]);
    const LikenessLayer mouth = layer(face.left, face.top, face.left + face.width, face.top + face.height, images[1],
                                      alphas[1]);
    std::vector<uint8_t> backdrop(static_cast<size_t>(size) * size * 3), out(backdrop.size());
    for (uint8_t& value : backdrop) value = static_cast<uint8_t>(random.bits());
    expect(likeness_composite(size, &face, &mouth, 2 * random.between(1, 8) + 1, backdrop.data(), out.data()) ==
               LIKENESS_OK, "a finished frame");
    digest.add({out.begin(), out.end()}, "frame");
    const std::vector<float> cloud = random.many(3 * points, 0.5f, 2.0f);
    const float view[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    std::vector<float> box(5);
    likeness_bounds(points, cloud.data(), view, 50, 50, 30, 30, box.data());
    digest.add(box, "bounds");
}

uint64_t round_of_all(uint64_t seed) {
    Random random(seed);
    Digest digest;
    rasterise(random, digest);
    color_by_view(random, digest);
    encode(random, digest);
    apply_network(random, digest);
    move(random, digest);
    compare(random, digest);
    convolve(random, digest);
    optimise(random, digest);
    if (seed % 8 == 0) compare_perceptually(random, digest);  // unoptimised it takes seconds
    finish_frame(random, digest);
    return digest.value();
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 40;
    std::vector<uint64_t> expected;
    likeness_keep_freed_memory(64);
    likeness_set_threads(1);
    for (int i = 0; i < rounds; i++) expected.push_back(round_of_all(i));
    likeness_set_threads(3);
    for (int i = 0; i < rounds; i++) expect(round_of_all(i) == expected[i], "the same bits on three threads");
    std::vector<std::thread> callers;
    for (int c = 0; c < 3; c++)
        callers.emplace_back([&, c] {
            likeness_run_alone(c == 0);
            for (int i = c; i < rounds; i += 3) expect(round_of_all(i) == expected[i], "the same bits beside others");
        });
    callers.emplace_back([] {
        for (int i = 0; i < 3; i++) likeness_set_threads(2 + i % 2), likeness_threads();
    });
    for (std::thread& caller : callers) caller.join();
    likeness_lpips_destroy(const_cast<LikenessLpips*>(perceptual_network()));
    std::printf("%s: %d rounds of every kernel, no finding, %.1f GFLOP/s\n", likeness_isa(), rounds,
                likeness_measure_fma_gflops(0.01));
    likeness_set_threads(1);
    return 0;
}
