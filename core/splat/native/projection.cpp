// 3D Gaussians to screen Gaussians (EWA splatting) and the gradient of that. Eight Gaussians a vector.
// Conventions are gsplat's: pinhole, +0.3 px blur, near plane, Jacobian clamped to 1.3 times the field of view.
#include <algorithm>
#include <atomic>

#include "raster.h"
#include "threads.h"

namespace likeness {
namespace {

constexpr int CHUNK = 512;

/// The camera in vectors, and the clamp of x/z and y/z inside the Jacobian.
struct View {
    F8 r[3][3], t[3];
    F8 fx, fy, cx, cy;
    F8 x_min, x_max, y_min, y_max;

    explicit View(const LikenessScene& s)
        : fx(F8::all(s.fx)), fy(F8::all(s.fy)), cx(F8::all(s.cx)), cy(F8::all(s.cy)) {
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) r[i][j] = F8::all(s.view[4 * i + j]);
            t[i] = F8::all(s.view[4 * i + 3]);
        }
        const float margin_x = 0.15f * static_cast<float>(s.width) / s.fx;
        const float margin_y = 0.15f * static_cast<float>(s.height) / s.fy;
        x_min = F8::all(-s.cx / s.fx - margin_x);
        x_max = F8::all((static_cast<float>(s.width) - s.cx) / s.fx + margin_x);
        y_min = F8::all(-s.cy / s.fy - margin_y);
        y_max = F8::all((static_cast<float>(s.height) - s.cy) / s.fy + margin_y);
    }
};

/// Everything of eight Gaussians that both directions need.
struct Projected {
    F8 x, y, z, inverse_z;    // camera space
    F8 jx, jxz, jy, jyz;      // Jacobian rows (jx, 0, jxz), (0, jy, jyz)
    M8 x_free, y_free;        // the clamp of the Jacobian is not active
    F8 inverse_norm, qw, qx, qy, qz;
    F8 scale[3];
    F8 rotation[3][3];        // of the quaternion
    F8 factor[3][3];          // view rotation * rotation * scale
    F8 u[3], v[3];            // rows of Jacobian * factor: covariance = [u u, u v; u v, v v]
};

F8 dot(const F8* a, const F8* b) { return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2])); }

Projected project_eight(const View& view, const float* means, const float* quaternions, const float* scales) {
    Projected p;
    const F8 one = F8::all(1.0f), two = F8::all(2.0f);
    const F8 mean[3] = {F8::strided(means, 3), F8::strided(means + 1, 3), F8::strided(means + 2, 3)};
    p.x = dot(view.r[0], mean) + view.t[0];
    p.y = dot(view.r[1], mean) + view.t[1];
    p.z = dot(view.r[2], mean) + view.t[2];
    p.inverse_z = one / max(p.z, F8::all(NEAR_PLANE));

    const F8 ratio_x = p.x * p.inverse_z, ratio_y = p.y * p.inverse_z;
    const F8 clamped_x = min(max(ratio_x, view.x_min), view.x_max);
    const F8 clamped_y = min(max(ratio_y, view.y_min), view.y_max);
    p.x_free = ge(ratio_x, view.x_min) & ge(view.x_max, ratio_x);
    p.y_free = ge(ratio_y, view.y_min) & ge(view.y_max, ratio_y);
    const F8 zero = F8::all(0.0f);
    p.jx = view.fx * p.inverse_z;
    p.jy = view.fy * p.inverse_z;
    p.jxz = zero - p.jx * clamped_x;
    p.jyz = zero - p.jy * clamped_y;

    F8 w = F8::strided(quaternions, 4), x = F8::strided(quaternions + 1, 4);
    F8 y = F8::strided(quaternions + 2, 4), z = F8::strided(quaternions + 3, 4);
    const F8 norm2 = fma(w, w, fma(x, x, fma(y, y, z * z)));
    p.inverse_norm = one / sqrt(max(norm2, F8::all(1e-24f)));
    p.qw = w = w * p.inverse_norm;
    p.qx = x = x * p.inverse_norm;
    p.qy = y = y * p.inverse_norm;
    p.qz = z = z * p.inverse_norm;
    p.rotation[0][0] = fnma(two, fma(y, y, z * z), one);
    p.rotation[0][1] = two * (x * y - w * z);
    p.rotation[0][2] = two * (x * z + w * y);
    p.rotation[1][0] = two * (x * y + w * z);
    p.rotation[1][1] = fnma(two, fma(x, x, z * z), one);
    p.rotation[1][2] = two * (y * z - w * x);
    p.rotation[2][0] = two * (x * z - w * y);
    p.rotation[2][1] = two * (y * z + w * x);
    p.rotation[2][2] = fnma(two, fma(x, x, y * y), one);
    for (int j = 0; j < 3; j++) p.scale[j] = F8::strided(scales + j, 3);
    for (int j = 0; j < 3; j++) {
        const F8 column[3] = {p.rotation[0][j], p.rotation[1][j], p.rotation[2][j]};
        for (int i = 0; i < 3; i++) p.factor[i][j] = dot(view.r[i], column) * p.scale[j];
        p.u[j] = fma(p.jx, p.factor[0][j], p.jxz * p.factor[2][j]);
        p.v[j] = fma(p.jy, p.factor[1][j], p.jyz * p.factor[2][j]);
    }
    return p;
}

/// Eight rows starting at `base`, through a zero-filled copy where fewer than eight are left.
const float* eight_rows(const float* base, int64_t first, int64_t left, int width, float* copy) {
    if (left >= 8) return base + first * width;
    std::memset(copy, 0, sizeof(float) * 8 * width);
    std::memcpy(copy, base + first * width, sizeof(float) * static_cast<size_t>(left * width));
    return copy;
}

TileBox tile_box(const Splat& s, float half_width, float half_height, int width, int height) {
    const float left = std::max(0.0f, std::ceil(s.x - 0.5f - half_width));
    const float right = std::min(static_cast<float>(width - 1), std::floor(s.x - 0.5f + half_width));
    const float top = std::max(0.0f, std::ceil(s.y - 0.5f - half_height));
    const float bottom = std::min(static_cast<float>(height - 1), std::floor(s.y - 0.5f + half_height));
    if (!(left <= right && top <= bottom)) return {0, 0, 0, 0};
    return {static_cast<uint16_t>(static_cast<int>(left) / TILE), static_cast<uint16_t>(static_cast<int>(right) / TILE + 1),
            static_cast<uint16_t>(static_cast<int>(top) / TILE), static_cast<uint16_t>(static_cast<int>(bottom) / TILE + 1)};
}

}  // namespace

bool project(LikenessRaster& raster, const LikenessScene& scene, float* screen_means, float* radii) {
    const int count = scene.count;
    Splat* splats = raster.splats.resize(count);
    float* conics = raster.conics.resize(3 * static_cast<size_t>(count));
    TileBox* boxes = raster.boxes.resize(count);
    uint32_t* keys = raster.keys.resize(count);
    std::atomic<bool> finite{all_finite(scene.view, 16)};
    if (!finite) return false;
    const View view(scene);

    parallel_for(count, CHUNK, [&](int64_t begin, int64_t end) {
        const int64_t n = end - begin;
        if (!(all_finite(scene.means + 3 * begin, 3 * n) && all_finite(scene.quaternions + 4 * begin, 4 * n) &&
              all_finite(scene.scales + 3 * begin, 3 * n) && all_finite(scene.opacities + begin, n) &&
              all_finite(scene.colors + scene.channels * begin, scene.channels * n)))
            finite = false;
        float copies[3][32], out[12][8];
        for (int64_t g = begin; g < end; g += 8) {
            const int64_t left = end - g;
            const Projected p = project_eight(view, eight_rows(scene.means, g, left, 3, copies[0]),
                                              eight_rows(scene.quaternions, g, left, 4, copies[1]),
                                              eight_rows(scene.scales, g, left, 3, copies[2]));
            const F8 blur = F8::all(BLUR);
            const F8 uu = dot(p.u, p.u), vv = dot(p.v, p.v), uv = dot(p.u, p.v);
            const F8 cross[3] = {p.u[1] * p.v[2] - p.u[2] * p.v[1], p.u[2] * p.v[0] - p.u[0] * p.v[2],
                                 p.u[0] * p.v[1] - p.u[1] * p.v[0]};
            // |u|^2 |v|^2 - (u v)^2 cancels for thin Gaussians; the cross product does not.
            const F8 determinant = dot(cross, cross) + blur * (uu + vv) + F8::all(BLUR * BLUR);
            const F8 inverse = F8::all(1.0f) / determinant;
            const F8 xx = uu + blur, yy = vv + blur, zero = F8::all(0.0f), k = F8::all(HALF_LOG2_E);
            const F8 a = sqrt(k * yy * inverse);
            fma(view.fx * p.x, p.inverse_z, view.cx).store(out[0]);
            fma(view.fy * p.y, p.inverse_z, view.cy).store(out[1]);
            a.store(out[2]);
            (zero - k * uv * inverse / a).store(out[3]);
            sqrt(k / yy).store(out[4]);
            sqrt(xx / k).store(out[5]);
            sqrt(yy / k).store(out[6]);
            (yy * inverse).store(out[7]);
            (zero - uv * inverse).store(out[8]);
            (xx * inverse).store(out[9]);
            p.z.store(out[10]);
            determinant.store(out[11]);
            for (int64_t j = 0; j < std::min<int64_t>(8, left); j++) {
                const int64_t i = g + j;
                const float opacity = scene.opacities[i], z = out[10][j];
                Splat s{out[0][j], out[1][j], out[2][j], out[3][j], out[4][j], 0.0f, 0.0f, 0.0f};
                TileBox box{0, 0, 0, 0};
                float radius = 0.0f;
                // All of these are false for the infinities and NaN of an overflow.
                if (z > NEAR_PLANE && opacity >= ALPHA_THRESHOLD && out[11][j] < 1e30f && s.a > 0.0f &&
                    std::fabs(s.x) < 1e7f && std::fabs(s.y) < 1e7f) {
                    s.log_opacity = std::log2(opacity);
                    const float root = std::sqrt(std::max(0.0f, s.log_opacity - LOG2_ALPHA_THRESHOLD) + MASK_MARGIN);
                    s.reach = root / s.c;
                    s.peak = s.b * s.reach / std::sqrt(s.b * s.b + s.c * s.c);
                    const float half_width = root * out[5][j] + 1e-3f, half_height = root * out[6][j] + 1e-3f;
                    box = tile_box(s, half_width, half_height, scene.width, scene.height);
                    if (box.right > box.left) radius = std::max(half_width, half_height);
                }
                splats[i] = s;
                boxes[i] = box;
                conics[3 * i] = out[7][j], conics[3 * i + 1] = out[8][j], conics[3 * i + 2] = out[9][j];
                std::memcpy(&keys[i], &z, 4);
                screen_means[2 * i] = s.x, screen_means[2 * i + 1] = s.y;
                radii[i] = radius;
            }
        }
    });
    return finite;
}

void project_backward(LikenessRaster& raster, const LikenessScene& scene, const float* screen_gradient,
                      const float* conic_gradient, float* means, float* quaternions, float* scales) {
    const View view(scene);
    const float* conics = raster.conics.get();
    parallel_for(scene.count, CHUNK, [&](int64_t begin, int64_t end) {
        float copies[6][32], out[10][8];
        for (int64_t g = begin; g < end; g += 8) {
            const int64_t left = end - g;
            const Projected p = project_eight(view, eight_rows(scene.means, g, left, 3, copies[0]),
                                              eight_rows(scene.quaternions, g, left, 4, copies[1]),
                                              eight_rows(scene.scales, g, left, 3, copies[2]));
            const float* q = eight_rows(conics, g, left, 3, copies[3]);
            const float* dq = eight_rows(conic_gradient, g, left, 3, copies[4]);
            const float* ds = eight_rows(screen_gradient, g, left, 2, copies[5]);
            const F8 zero = F8::all(0.0f), half = F8::all(0.5f), two = F8::all(2.0f);
            const F8 qa = F8::strided(q, 3), qb = F8::strided(q + 1, 3), qc = F8::strided(q + 2, 3);
            const F8 va = F8::strided(dq, 3), vb = half * F8::strided(dq + 1, 3), vc = F8::strided(dq + 2, 3);
            // Gradient of the covariance: -Q V Q with Q the conic and V its gradient.
            const F8 m00 = fma(qa, va, qb * vb), m01 = fma(qa, vb, qb * vc);
            const F8 m10 = fma(qb, va, qc * vb), m11 = fma(qb, vb, qc * vc);
            const F8 g00 = zero - fma(m00, qa, m01 * qb), g01 = zero - fma(m00, qb, m01 * qc);
            const F8 g11 = zero - fma(m10, qb, m11 * qc);
            F8 du[3], dv[3], b0[3], b1[3], b2[3], d_rotation[3][3], d_scale[3];
            for (int j = 0; j < 3; j++) {
                du[j] = two * fma(g00, p.u[j], g01 * p.v[j]);
                dv[j] = two * fma(g01, p.u[j], g11 * p.v[j]);
                b0[j] = p.jx * du[j];
                b1[j] = p.jy * dv[j];
                b2[j] = fma(p.jxz, du[j], p.jyz * dv[j]);
            }
            for (int j = 0; j < 3; j++) {
                F8 sum = zero;
                for (int i = 0; i < 3; i++) {
                    const F8 d = fma(view.r[0][i], b0[j], fma(view.r[1][i], b1[j], view.r[2][i] * b2[j]));
                    sum = fma(d, p.rotation[i][j], sum);
                    d_rotation[i][j] = d * p.scale[j];
                }
                d_scale[j] = sum;
            }
            const F8 d_jx = dot(du, p.factor[0]), d_jxz = dot(du, p.factor[2]);
            const F8 d_jy = dot(dv, p.factor[1]), d_jyz = dot(dv, p.factor[2]);

            const auto& d = d_rotation;
            const F8 w = p.qw, x = p.qx, y = p.qy, z = p.qz;
            const F8 s21 = d[2][1] - d[1][2], s02 = d[0][2] - d[2][0], s10 = d[1][0] - d[0][1];
            const F8 t01 = d[0][1] + d[1][0], t02 = d[0][2] + d[2][0], t12 = d[1][2] + d[2][1];
            const F8 dw = two * fma(x, s21, fma(y, s02, z * s10));
            const F8 dx = two * (fma(y, t01, fma(z, t02, w * s21)) - two * x * (d[1][1] + d[2][2]));
            const F8 dy = two * (fma(x, t01, fma(z, t12, w * s02)) - two * y * (d[0][0] + d[2][2]));
            const F8 dz = two * (fma(x, t02, fma(y, t12, w * s10)) - two * z * (d[0][0] + d[1][1]));
            const F8 along = fma(dw, w, fma(dx, x, fma(dy, y, dz * z)));
            (fnma(along, w, dw) * p.inverse_norm).store(out[3]);
            (fnma(along, x, dx) * p.inverse_norm).store(out[4]);
            (fnma(along, y, dy) * p.inverse_norm).store(out[5]);
            (fnma(along, z, dz) * p.inverse_norm).store(out[6]);
            for (int j = 0; j < 3; j++) d_scale[j].store(out[7 + j]);

            const F8 dm_x = F8::strided(ds, 2), dm_y = F8::strided(ds + 1, 2), rz = p.inverse_z;
            // jxz = -fx x / z^2 where the clamp is free, -fx limit / z where it is not; its z derivative differs by 2.
            const F8 free_x = zero_unless(p.x_free, d_jxz), free_y = zero_unless(p.y_free, d_jyz);
            const F8 camera[3] = {
                p.jx * fnma(free_x, rz, dm_x),
                p.jy * fnma(free_y, rz, dm_y),
                zero - rz * (p.jx * dm_x * p.x + p.jy * dm_y * p.y + d_jx * p.jx + d_jy * p.jy +
                             (d_jxz + free_x) * p.jxz + (d_jyz + free_y) * p.jyz),
            };
            for (int i = 0; i < 3; i++)
                fma(view.r[0][i], camera[0], fma(view.r[1][i], camera[1], view.r[2][i] * camera[2])).store(out[i]);
            for (int64_t j = 0; j < std::min<int64_t>(8, left); j++) {
                const int64_t i = g + j;
                const TileBox box = raster.boxes[i];
                const float seen = box.right > box.left ? 1.0f : 0.0f;
                for (int k = 0; k < 3; k++) means[3 * i + k] = seen != 0.0f ? out[k][j] : 0.0f;
                for (int k = 0; k < 4; k++) quaternions[4 * i + k] = seen != 0.0f ? out[3 + k][j] : 0.0f;
                for (int k = 0; k < 3; k++) scales[3 * i + k] = seen != 0.0f ? out[7 + k][j] : 0.0f;
            }
        }
    });
}

}  // namespace likeness
