// The whole surface between Python and the kernels: plain C, raw pointers, sizes, one context handle.
// It must not know of torch, numpy or Python. All arrays are float32, C-contiguous, row-major, unless said otherwise.
#pragma once
#include <cstdint>

#if defined(_WIN32)
#define LIKENESS_EXPORT extern "C" __declspec(dllexport)
#else
#define LIKENESS_EXPORT extern "C" __attribute__((visibility("default")))
#endif

/// Everything one picture is made from; borrowed for the duration of a call.
struct LikenessScene {
    const float* means;        // [count, 3] world, metres
    const float* quaternions;  // [count, 4] wxyz, any length > 0
    const float* scales;       // [count, 3] metres
    const float* opacities;    // [count] 0..1
    const float* colors;       // [count, channels]
    const float* background;   // [channels] or null
    const float* view;         // [4, 4] world to camera
    float fx, fy, cx, cy;      // pixels
    int32_t count, channels, width, height;
};

/// Where the gradients of one picture go; every array is overwritten.
struct LikenessSceneGradient {
    float* means;          // [count, 3]
    float* quaternions;    // [count, 4]
    float* scales;         // [count, 3]
    float* opacities;      // [count]
    float* colors;         // [count, channels]
    float* screen_means;   // [count, 2] pixels
};

struct LikenessRaster;  // buffers and saved state of one picture

enum LikenessStatus : int32_t { LIKENESS_OK = 0, LIKENESS_NOT_FINITE = 1, LIKENESS_TOO_LARGE = 2, LIKENESS_NO_MEMORY = 3 };

// --- machine ---------------------------------------------------------------------------------------------------------
LIKENESS_EXPORT const char* likeness_isa();        // the instruction set this binary was compiled for
LIKENESS_EXPORT int32_t likeness_cpu_level();      // 2, 3 or 4: the best x86-64 level of this CPU; 0 elsewhere
LIKENESS_EXPORT void likeness_set_threads(int32_t count);  // 0: all that this process may use
LIKENESS_EXPORT int32_t likeness_threads();
/// 1: kernels called from this thread use no other. For callers that bring their own threads.
LIKENESS_EXPORT void likeness_run_alone(int32_t alone);
LIKENESS_EXPORT double likeness_measure_fma_gflops(double seconds);
/// The process keeps up to so many freed megabytes for its next allocations, where its allocator is glibc's: an array of
/// a few megabytes that goes back to the system at every step costs more page faults than arithmetic.
LIKENESS_EXPORT void likeness_keep_freed_memory(int32_t megabytes);
/// The first of several arrays, of so many floats each, that holds NaN or infinity; their number where none does.
LIKENESS_EXPORT int32_t likeness_first_not_finite(int32_t arrays, const float* const* values, const int64_t* counts);

// --- rasteriser ------------------------------------------------------------------------------------------------------
LIKENESS_EXPORT LikenessRaster* likeness_raster_create();
LIKENESS_EXPORT void likeness_raster_destroy(LikenessRaster*);
/// image [channels, height, width], alpha [height, width], screen_means [count, 2], radii [count] (0: not visible).
/// keep_state: 1 where a backward call follows on the same handle.
LIKENESS_EXPORT int32_t likeness_raster_forward(LikenessRaster*, const LikenessScene*, int32_t keep_state, float* image,
                                                float* alpha, float* screen_means, float* radii);
/// image_gradient [geometry_channels, height, width], of the channels that reach the geometry; map_gradient
/// [map_channels, height, width], of the next, which reach the colours only; alpha_gradient [height, width]. Each may be
/// null. Of what channels are left nothing is wanted.
LIKENESS_EXPORT int32_t likeness_raster_backward(LikenessRaster*, const LikenessScene*, int32_t geometry_channels,
                                                 int32_t map_channels, const float* image_gradient,
                                                 const float* map_gradient, const float* alpha_gradient,
                                                 const LikenessSceneGradient*);
/// Seconds of the last calls: project, sort, bin, forward tiles, backward tiles, backward reduce + projection.
LIKENESS_EXPORT void likeness_raster_times(LikenessRaster*, double* out);

// --- motion -----------------------------------------------------------------------------------------------------------
struct LikenessRows {
    const float* at;  // null: nothing is added
    int64_t stride;   // floats from one row to the next
};
struct LikenessMotion {
    LikenessRows translation, rotation, scale;  // [moving, 3], [moving, 4], [moving, 3]
};
struct LikenessStructure {
    const float *means, *quaternions, *scales, *opacities;  // [count, 3], [count, 4], [count, 3], [count]
};
struct LikenessMoved {
    float *means, *quaternions, *scales, *opacities;  // as above
    float* slopes;                                    // [count, 3] of the scales by what softplus was given
};
struct LikenessMotionGradient {
    float *translation, *rotation, *scale;  // as the motion, without strides; null where none is wanted
    float *raw_scales, *raw_opacities;      // [count, 3], [count]
};
/// The first `moving` Gaussians get the motion added; then softplus over all scales and the sigmoid over all opacities.
/// absolute_sums [3]: of the motion's translation, rotation and scale.
LIKENESS_EXPORT int32_t likeness_move_forward(int32_t count, int32_t moving, const LikenessStructure* raw,
                                              const LikenessMotion*, const LikenessMoved*, double* absolute_sums);
/// upstream: by what the forward call left in `moved`; by_sums [3]: by the absolute sums. The raw means and quaternions
/// have the gradients of the moved ones.
LIKENESS_EXPORT void likeness_move_backward(int32_t count, int32_t moving, const LikenessMotion*, const LikenessMoved*,
                                            const LikenessStructure* upstream, const float* by_sums,
                                            const LikenessMotionGradient*);

// --- spherical harmonics ----------------------------------------------------------------------------------------------
/// means [count, 3], camera [3] (its position), coefficients [count, bases, 3] with bases 1, 4 or 9 (degree 0, 1, 2)
/// -> colors [count, 3]: max(0, 0.5 + sum over bases).
LIKENESS_EXPORT int32_t likeness_harmonics_forward(int32_t count, int32_t bases, const float* camera,
                                                   const float* means, const float* coefficients, float* colors);
/// colors as the forward call left them. Both gradients (shapes of coefficients and means) are overwritten; either may
/// be null.
LIKENESS_EXPORT void likeness_harmonics_backward(int32_t count, int32_t bases, const float* camera, const float* means,
                                                 const float* coefficients, const float* colors,
                                                 const float* colors_gradient, float* coefficients_gradient,
                                                 float* means_gradient);

// --- tri-plane grid --------------------------------------------------------------------------------------------------
/// points [count, 3] metres, table [3, levels, entries], resolutions [levels] -> features [count, 3 * levels].
LIKENESS_EXPORT int32_t likeness_triplane_forward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                  const int32_t* resolutions, const float* points, const float* table,
                                                  float* features);
/// table_gradient and points_gradient are overwritten; either may be null.
LIKENESS_EXPORT int32_t likeness_triplane_backward(int32_t count, int32_t levels, int64_t entries, float bound,
                                                   const int32_t* resolutions, const float* points, const float* table,
                                                   const float* features_gradient, float* table_gradient,
                                                   float* points_gradient);

// --- bias-free ReLU network ------------------------------------------------------------------------------------------
/// A matrix whose columns lie side by side in several arrays.
struct LikenessColumns {
    int32_t count;
    const int32_t* widths;  // [count]
    float* const* at;       // [count] pointers to [rows, width]; read only where they are an input
};
/// widths [layers + 1]: input, hidden..., output. weights: `layers` pointers to [out, in]. hidden: `layers - 1` pointers to
/// [count, hidden width], written for the backward pass.
LIKENESS_EXPORT int32_t likeness_mlp_forward(int32_t count, int32_t layers, const int32_t* widths,
                                             const LikenessColumns* inputs, const float* const* weights,
                                             float* const* hidden, const LikenessColumns* outputs);
/// The same of one array, without anything kept for a backward pass; `added` [count, widths[1]] is added before the first
/// ReLU.
LIKENESS_EXPORT int32_t likeness_mlp_infer(int32_t count, int32_t layers, const int32_t* widths, const float* input,
                                           const float* added, const float* const* weights, float* output);
/// output_gradients: null where one is zero. weight_gradients: `layers` pointers to [out, in], null where a layer is frozen;
/// input_gradients: null where none is wanted. Both are overwritten.
LIKENESS_EXPORT int32_t likeness_mlp_backward(int32_t count, int32_t layers, const int32_t* widths,
                                              const LikenessColumns* inputs, const float* const* weights,
                                              const float* const* hidden, const LikenessColumns* output_gradients,
                                              float* const* weight_gradients, const LikenessColumns* input_gradients);

// --- convolutions along time -----------------------------------------------------------------------------------------
/// input [items, steps, inputs]; shapes [layers, 4]: inputs, outputs, odd side, stride. Padded by side / 2 zeros, a layer
/// leaves (steps - 1) / stride + 1 steps. weights: `layers` pointers to [outputs, inputs, side], biases to [outputs].
/// outputs: `layers` pointers to [items, steps left, outputs], after their leaky ReLU (slope `leak`, 0..1, below zero).
LIKENESS_EXPORT int32_t likeness_convolve_forward(int32_t items, int32_t steps, int32_t layers, const int32_t* shapes,
                                                  float leak, const float* input, const float* const* weights,
                                                  const float* const* biases, float* const* outputs);
/// outputs as the forward call left them; output_gradient by the last. Weight and bias gradients of a layer and
/// input_gradient are overwritten; any may be null.
LIKENESS_EXPORT int32_t likeness_convolve_backward(int32_t items, int32_t steps, int32_t layers, const int32_t* shapes,
                                                   float leak, const float* input, const float* const* weights,
                                                   const float* const* outputs, const float* output_gradient,
                                                   float* const* weight_gradients, float* const* bias_gradients,
                                                   float* input_gradient);

// --- optimiser ---------------------------------------------------------------------------------------------------------
/// One tensor of an optimiser: value, gradient and moments [count] each; all but the gradient are overwritten.
struct LikenessAdamTensor {
    float* value;
    const float* gradient;
    float *first, *second;
    int64_t count;
    float step, keep;  // value = keep value - step mean / (root of the square's mean, bias2 divided out, + epsilon)
};
LIKENESS_EXPORT int32_t likeness_adam(int32_t tensors, const LikenessAdamTensor* tensor, float beta1, float beta2,
                                      float bias2, float epsilon);

// --- comparing pictures ----------------------------------------------------------------------------------------------
/// l1_weight * mean |image - target| + ssim_weight * mean SSIM of two [channels, height, width] pictures; its gradient (same
/// shape, or null) with respect to `image`. NaN where memory runs out.
LIKENESS_EXPORT double likeness_photometric(int32_t channels, int32_t height, int32_t width, const float* image,
                                            const float* target, float l1_weight, float ssim_weight, float* gradient);

struct LikenessLpips;  // AlexNet's weights, laid out for its kernels
/// Five pointers each: weights [out, in, side, side], biases [out], linear [out] of AlexNet's convolutions. Null where
/// memory runs out.
LIKENESS_EXPORT LikenessLpips* likeness_lpips_create(const float* const* weights, const float* const* biases,
                                                     const float* const* linear);
LIKENESS_EXPORT void likeness_lpips_destroy(LikenessLpips*);
/// LPIPS of two [3, height, width] pictures in 0..1 with sides of at least 31; its gradient (same shape, or null) with
/// respect to `image`. NaN where a picture is not finite or memory runs out.
LIKENESS_EXPORT double likeness_lpips(const LikenessLpips*, int32_t height, int32_t width, const float* image,
                                      const float* target, float* gradient);

// --- a finished frame ------------------------------------------------------------------------------------------------
/// Where points [count > 0, 3] fall: out = least x, least y, greatest x, greatest y in pixels, and the least depth, metres.
LIKENESS_EXPORT void likeness_bounds(int32_t count, const float* points, const float* view, float fx, float fy, float cx,
                                     float cy, float* out);
/// One branch, drawn into a box of the frame: image [3, height, width] premultiplied, alpha [height, width].
struct LikenessLayer {
    const float *image, *alpha;
    int32_t left, top, width, height;  // pixels of the frame; width or height 0: no such layer
};
/// face over (mouth over backdrop) in the face's box, the backdrop elsewhere; the mouth's box lies inside the face's.
/// dilation: odd window of pixels by which the mouth hides the backdrop. backdrop, out [size, size, 3] sRGB bytes.
LIKENESS_EXPORT int32_t likeness_composite(int32_t size, const LikenessLayer* face, const LikenessLayer* mouth,
                                           int32_t dilation, const uint8_t* backdrop, uint8_t* out);
