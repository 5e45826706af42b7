// Vectors of floats, one name for every instruction set: `F8` everywhere, `F16` where the machine has 512-bit registers,
// `Fv` the one that a block of pixels uses. Knows nothing of Gaussians. Each source is compiled once per instruction set.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace likeness {

// 2^f on [-0.5, 0.5], relative error 7.5e-8, 2.3e-7 with rounding (minimax, degree 5).
constexpr float EXP2_C5 = 1.327647174e-3f, EXP2_C4 = 9.675541540e-3f, EXP2_C3 = 5.550713276e-2f,
                EXP2_C2 = 2.402211972e-1f, EXP2_C1 = 6.931469671e-1f, EXP2_C0 = 1.000000072f;
// Adding it leaves the nearest integer in the low bits of the float.
constexpr float ROUND_MAGIC = 12582912.0f;

template <class Body, int... I>
inline __attribute__((always_inline)) void written_out(std::integer_sequence<int, I...>, Body&& body) {
    (body(std::integral_constant<int, I>{}), ...);
}
/// Calls body(0) ... body(N - 1) without a loop: gcc keeps an array of vectors in registers only where no loop over it is
/// left when it looks, and spills it around the one that counts otherwise.
template <int N, class Body>
inline __attribute__((always_inline)) void written_out(Body&& body) {
    written_out(std::make_integer_sequence<int, N>{}, body);
}

/// Four floats, for sums of records.
struct F4 {
    typedef float Four __attribute__((vector_size(16)));
    Four v;
    static F4 all(float x) { return {Four{x, x, x, x}}; }
    static F4 load(const float* p) {
        F4 r;
        std::memcpy(&r.v, p, 16);
        return r;
    }
    void store(float* p) const { std::memcpy(p, &v, 16); }
};
inline F4 operator+(F4 a, F4 b) { return {a.v + b.v}; }

#if defined(__AVX2__) && defined(__FMA__)

struct M8 {
    __m256 v;
};
struct F8 {
    __m256 v;
    static constexpr int lanes = 8;
    using Mask = M8;
    static F8 all(float x) { return {_mm256_set1_ps(x)}; }
    static F8 load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
    /// The first `count` lanes; the others are zero, and are not read.
    static F8 load(const float* p, int count) { return {_mm256_maskload_ps(p, before(count))}; }
    void store(float* p, int count) const { _mm256_maskstore_ps(p, before(count), v); }
    static __m256i before(int count) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    /// Lane i is p[i * stride].
    static F8 strided(const float* p, int stride) {
        return {_mm256_setr_ps(p[0], p[stride], p[2 * stride], p[3 * stride], p[4 * stride], p[5 * stride],
                               p[6 * stride], p[7 * stride])};
    }
    /// Two rows of four pixels.
    static F8 rows(const float* p, int64_t stride) {
        return {_mm256_set_m128(_mm_loadu_ps(p + stride), _mm_loadu_ps(p))};
    }
    void store_rows(float* p, int64_t stride) const {
        _mm_storeu_ps(p, _mm256_castps256_ps128(v));
        _mm_storeu_ps(p + stride, _mm256_extractf128_ps(v, 1));
    }
};
inline F8 operator+(F8 a, F8 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F8 operator-(F8 a, F8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F8 operator*(F8 a, F8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F8 operator/(F8 a, F8 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F8 fma(F8 a, F8 b, F8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F8 fnma(F8 a, F8 b, F8 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline F8 min(F8 a, F8 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F8 max(F8 a, F8 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F8 sqrt(F8 a) { return {_mm256_sqrt_ps(a.v)}; }
inline F8 floor(F8 a) { return {_mm256_floor_ps(a.v)}; }
inline M8 ge(F8 a, F8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
inline M8 gt(F8 a, F8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
inline M8 operator&(M8 a, M8 b) { return {_mm256_and_ps(a.v, b.v)}; }
inline F8 zero_unless(M8 m, F8 a) { return {_mm256_and_ps(m.v, a.v)}; }
inline F8 select(M8 m, F8 yes, F8 no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
inline bool none(M8 m) { return _mm256_testz_ps(m.v, m.v) != 0; }
inline bool every(M8 m) { return _mm256_movemask_ps(m.v) == 0xff; }
inline uint32_t bits(M8 m) { return static_cast<uint32_t>(_mm256_movemask_ps(m.v)); }
/// The parts of 2^e, for e in -126..127: returns e less its nearest whole number, which `whole` keeps in its own way.
inline F8 split_power(F8 e, F8& whole) {
    const __m256 magic = _mm256_set1_ps(ROUND_MAGIC);
    whole.v = _mm256_add_ps(e.v, magic);
    return {_mm256_sub_ps(e.v, _mm256_sub_ps(whole.v, magic))};
}
/// p 2^whole; anything where e was out of range, which the caller masks.
inline F8 times_power(F8 p, F8 whole) {
    return {_mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p.v), _mm256_slli_epi32(_mm256_castps_si256(whole.v), 23)))};
}
struct I8 {
    __m256i v;
    static I8 all(int32_t x) { return {_mm256_set1_epi32(x)}; }
    static I8 load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
    void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
/// a + 1 where the mask holds.
inline I8 count_if(I8 a, M8 m) { return {_mm256_sub_epi32(a.v, _mm256_castps_si256(m.v))}; }
inline M8 gt(I8 a, I8 b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))}; }
/// The bits [first, past) of each lane where the mask holds, shifted left by `shifts`, all lanes or-ed together.
inline uint32_t interval_bits(F8 first, F8 past, M8 where, const int32_t* shifts) {
    const __m256i from = _mm256_cvttps_epi32(first.v), to = _mm256_cvttps_epi32(past.v), one = _mm256_set1_epi32(1);
    const __m256i holds = _mm256_and_si256(_mm256_cmpgt_epi32(to, from), _mm256_castps_si256(where.v));
    __m256i rows = _mm256_sub_epi32(_mm256_sllv_epi32(one, to), _mm256_sllv_epi32(one, from));
    rows = _mm256_sllv_epi32(_mm256_and_si256(rows, holds), I8::load(shifts).v);
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(rows), _mm256_extracti128_si256(rows, 1));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_or_si128(half, _mm_shuffle_epi32(half, 0xb1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(half));
}
inline void transpose(F8* r) {
    __m256 t[8], u[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i].v, r[2 * i + 1].v);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i].v, r[2 * i + 1].v);
    }
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i].v = _mm256_permute2f128_ps(u[i], u[4 + i], 0x20);
        r[4 + i].v = _mm256_permute2f128_ps(u[i], u[4 + i], 0x31);
    }
}
/// Truncates to integers.
inline void store_int(F8 a, int32_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvttps_epi32(a.v)); }
/// Lane i of `first` and `second` are p[index[i]] and p[index[i] + 1].
inline void load_pairs(const float* p, const int32_t* index, F8& first, F8& second) {
    const auto two = [&](int i, int j) {
        const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + index[i])));
        return _mm_loadh_pi(low, reinterpret_cast<const __m64*>(p + index[j]));
    };
    const __m256 a = _mm256_set_m128(two(4, 5), two(0, 1)), b = _mm256_set_m128(two(6, 7), two(2, 3));
    first.v = _mm256_shuffle_ps(a, b, 0x88);
    second.v = _mm256_shuffle_ps(a, b, 0xdd);
}
/// Row i (of `count`) gets lane i of columns[0..3] added, as four floats.
inline void add_transposed_four(const F8* columns, int count, float* const* rows) {
    const __m256 a = _mm256_unpacklo_ps(columns[0].v, columns[1].v), b = _mm256_unpackhi_ps(columns[0].v, columns[1].v);
    const __m256 c = _mm256_unpacklo_ps(columns[2].v, columns[3].v), d = _mm256_unpackhi_ps(columns[2].v, columns[3].v);
    const __m256 r[4] = {_mm256_shuffle_ps(a, c, 0x44), _mm256_shuffle_ps(a, c, 0xee), _mm256_shuffle_ps(b, d, 0x44),
                         _mm256_shuffle_ps(b, d, 0xee)};
    for (int i = 0; i < count; i++) {
        const __m128 row = i < 4 ? _mm256_castps256_ps128(r[i & 3]) : _mm256_extractf128_ps(r[i & 3], 1);
        _mm_storeu_ps(rows[i], _mm_add_ps(_mm_loadu_ps(rows[i]), row));
    }
}

#else  // plain compiler vectors: SSE on x86-64-v2, NEON on arm64

typedef float V8f __attribute__((vector_size(32)));
typedef int32_t V8i __attribute__((vector_size(32)));
struct M8 {
    V8i v;
};
struct F8 {
    V8f v;
    static constexpr int lanes = 8;
    using Mask = M8;
    static F8 all(float x) { return {V8f{x, x, x, x, x, x, x, x}}; }
    static F8 load(const float* p) {
        F8 r;
        std::memcpy(&r.v, p, 32);
        return r;
    }
    void store(float* p) const { std::memcpy(p, &v, 32); }
    static F8 load(const float* p, int count) {
        F8 r = all(0.0f);
        std::memcpy(&r.v, p, sizeof(float) * static_cast<size_t>(count));
        return r;
    }
    void store(float* p, int count) const { std::memcpy(p, &v, sizeof(float) * static_cast<size_t>(count)); }
    static F8 strided(const float* p, int s) {
        return {V8f{p[0], p[s], p[2 * s], p[3 * s], p[4 * s], p[5 * s], p[6 * s], p[7 * s]}};
    }
    static F8 rows(const float* p, int64_t stride) {
        F8 r;
        std::memcpy(&r.v, p, 16);
        std::memcpy(reinterpret_cast<char*>(&r.v) + 16, p + stride, 16);
        return r;
    }
    void store_rows(float* p, int64_t stride) const {
        std::memcpy(p, &v, 16);
        std::memcpy(p + stride, reinterpret_cast<const char*>(&v) + 16, 16);
    }
};
inline F8 operator+(F8 a, F8 b) { return {a.v + b.v}; }
inline F8 operator-(F8 a, F8 b) { return {a.v - b.v}; }
inline F8 operator*(F8 a, F8 b) { return {a.v * b.v}; }
inline F8 operator/(F8 a, F8 b) { return {a.v / b.v}; }
inline F8 fma(F8 a, F8 b, F8 c) { return {a.v * b.v + c.v}; }
inline F8 fnma(F8 a, F8 b, F8 c) { return {c.v - a.v * b.v}; }
inline F8 min(F8 a, F8 b) { return {a.v < b.v ? a.v : b.v}; }
inline F8 max(F8 a, F8 b) { return {a.v > b.v ? a.v : b.v}; }
inline F8 sqrt(F8 a) {
    for (int i = 0; i < 8; i++) a.v[i] = std::sqrt(a.v[i]);
    return a;
}
inline F8 floor(F8 a) {
    for (int i = 0; i < 8; i++) a.v[i] = std::floor(a.v[i]);
    return a;
}
inline M8 ge(F8 a, F8 b) { return {a.v >= b.v}; }
inline M8 gt(F8 a, F8 b) { return {a.v > b.v}; }
inline M8 operator&(M8 a, M8 b) { return {a.v & b.v}; }
inline F8 zero_unless(M8 m, F8 a) { return {reinterpret_cast<V8f>(m.v & reinterpret_cast<V8i>(a.v))}; }
inline F8 select(M8 m, F8 yes, F8 no) { return {m.v ? yes.v : no.v}; }
inline uint32_t bits(M8 m) {
    uint32_t r = 0;
    for (int i = 0; i < 8; i++) r |= static_cast<uint32_t>(m.v[i] & 1) << i;
    return r;
}
inline bool none(M8 m) { return bits(m) == 0; }
inline bool every(M8 m) { return bits(m) == 0xff; }
inline F8 split_power(F8 e, F8& whole) {
    const F8 magic = F8::all(ROUND_MAGIC);
    whole = e + magic;
    return e - (whole - magic);
}
inline F8 times_power(F8 p, F8 whole) {
    return {reinterpret_cast<V8f>(reinterpret_cast<V8i>(p.v) + (reinterpret_cast<V8i>(whole.v) << 23))};
}
struct I8 {
    V8i v;
    static I8 all(int32_t x) { return {V8i{x, x, x, x, x, x, x, x}}; }
    static I8 load(const int32_t* p) {
        I8 r;
        std::memcpy(&r.v, p, 32);
        return r;
    }
    void store(int32_t* p) const { std::memcpy(p, &v, 32); }
};
inline I8 count_if(I8 a, M8 m) { return {a.v - m.v}; }
inline M8 gt(I8 a, I8 b) { return {a.v > b.v}; }
inline uint32_t interval_bits(F8 first, F8 past, M8 where, const int32_t* shifts) {
    uint32_t result = 0;
    for (int i = 0; i < 8; i++) {
        const int from = static_cast<int>(first.v[i]), to = static_cast<int>(past.v[i]);
        if (where.v[i] && to > from) result |= ((1u << to) - (1u << from)) << shifts[i];
    }
    return result;
}
inline void transpose(F8* r) {
    F8 t[8];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) t[i].v[j] = r[j].v[i];
    for (int i = 0; i < 8; i++) r[i] = t[i];
}
inline void store_int(F8 a, int32_t* p) {
    for (int i = 0; i < 8; i++) p[i] = static_cast<int32_t>(a.v[i]);
}
inline void load_pairs(const float* p, const int32_t* index, F8& first, F8& second) {
    for (int i = 0; i < 8; i++) first.v[i] = p[index[i]], second.v[i] = p[index[i] + 1];
}
inline void add_transposed_four(const F8* columns, int count, float* const* rows) {
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 4; k++) rows[i][k] += columns[k].v[i];
}

#endif

inline F8 reciprocal(F8 x) { return F8::all(1.0f) / x; }

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define LIKENESS_ISA_NAME "avx512"

struct M16 {
    __mmask16 v;
};
struct F16 {
    __m512 v;
    static constexpr int lanes = 16;
    using Mask = M16;
    static F16 all(float x) { return {_mm512_set1_ps(x)}; }
    static F16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
    static F16 load(const float* p, int count) { return {_mm512_maskz_loadu_ps(before(count), p)}; }
    void store(float* p, int count) const { _mm512_mask_storeu_ps(p, before(count), v); }
    static __mmask16 before(int count) { return static_cast<__mmask16>((1u << count) - 1); }
    /// Four rows of four pixels.
    static F16 rows(const float* p, int64_t s) {
        __m512 r = _mm512_castps128_ps512(_mm_loadu_ps(p));
        r = _mm512_insertf32x4(r, _mm_loadu_ps(p + s), 1);
        r = _mm512_insertf32x4(r, _mm_loadu_ps(p + 2 * s), 2);
        return {_mm512_insertf32x4(r, _mm_loadu_ps(p + 3 * s), 3)};
    }
    void store_rows(float* p, int64_t s) const {
        _mm_storeu_ps(p, _mm512_castps512_ps128(v));
        _mm_storeu_ps(p + s, _mm512_extractf32x4_ps(v, 1));
        _mm_storeu_ps(p + 2 * s, _mm512_extractf32x4_ps(v, 2));
        _mm_storeu_ps(p + 3 * s, _mm512_extractf32x4_ps(v, 3));
    }
};
inline F16 operator+(F16 a, F16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F16 operator-(F16 a, F16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F16 operator*(F16 a, F16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F16 operator/(F16 a, F16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F16 fma(F16 a, F16 b, F16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F16 fnma(F16 a, F16 b, F16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/// 1 / x to two units of the last place, for x in 1e-30..1e30: an estimate and one step of Newton's. A division of this
/// width keeps its unit for as long as sixteen multiplications.
inline F16 reciprocal(F16 x) {
    const F16 estimate{_mm512_rcp14_ps(x.v)};
    return estimate * fnma(x, estimate, F16::all(2.0f));
}
inline F16 min(F16 a, F16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F16 max(F16 a, F16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline M16 ge(F16 a, F16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline M16 gt(F16 a, F16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline M16 operator&(M16 a, M16 b) { return {static_cast<__mmask16>(a.v & b.v)}; }
inline F16 zero_unless(M16 m, F16 a) { return {_mm512_maskz_mov_ps(m.v, a.v)}; }
inline F16 select(M16 m, F16 yes, F16 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
inline bool none(M16 m) { return m.v == 0; }
inline bool every(M16 m) { return m.v == 0xffff; }
inline uint32_t bits(M16 m) { return m.v; }
inline F16 split_power(F16 e, F16& whole) {
    whole.v = _mm512_roundscale_ps(e.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return {_mm512_sub_ps(e.v, whole.v)};
}
inline F16 times_power(F16 p, F16 whole) { return {_mm512_scalef_ps(p.v, whole.v)}; }
struct I16 {
    __m512i v;
    static I16 all(int32_t x) { return {_mm512_set1_epi32(x)}; }
    static I16 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
    void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
};
inline I16 count_if(I16 a, M16 m) { return {_mm512_mask_add_epi32(a.v, m.v, a.v, _mm512_set1_epi32(1))}; }
inline M16 gt(I16 a, I16 b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
inline void transpose(F16* a) {
    __m512 t[16], u[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(a[2 * i].v, a[2 * i + 1].v);
        t[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i].v, a[2 * i + 1].v);
    }
    for (int i = 0; i < 4; i++) {
        const __m512d p = _mm512_castps_pd(t[4 * i]), q = _mm512_castps_pd(t[4 * i + 2]);
        const __m512d r = _mm512_castps_pd(t[4 * i + 1]), s = _mm512_castps_pd(t[4 * i + 3]);
        u[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, q));
        u[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, q));
        u[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(r, s));
        u[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(r, s));
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(u[i], u[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(u[i], u[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        a[i].v = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        a[8 + i].v = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
        a[4 + i].v = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
        a[12 + i].v = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
    }
}
using Fv = F16;
using Iv = I16;

/// Entry i of `masks` goes to the end of list b for every bit b < BITS of it. Up to 16 entries beyond each list's end are
/// written too, and `masks` is read to a multiple of 16.
template <int BITS>
inline void distribute(const uint32_t* masks, int count, uint32_t** ends) {
    __m512i entries = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < count; i += 16) {
        const __m512i bits = _mm512_loadu_si512(masks + i);
        written_out<BITS>([&](auto b) {
            const __mmask16 here = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << b));
            _mm512_storeu_si512(ends[b], _mm512_maskz_compress_epi32(here, entries));
            ends[b] += __builtin_popcount(here);
        });
        entries = _mm512_add_epi32(entries, _mm512_set1_epi32(16));
    }
}
#else
#if defined(__AVX2__) && defined(__FMA__)
#define LIKENESS_ISA_NAME "avx2"
#elif defined(__aarch64__)
#define LIKENESS_ISA_NAME "neon"
#else
#define LIKENESS_ISA_NAME "sse"
#endif
using Fv = F8;
using Iv = I8;

template <int BITS>
inline void distribute(const uint32_t* masks, int count, uint32_t** ends) {
    for (int i = 0; i < count; i++)
        for (uint32_t m = masks[i]; m; m &= m - 1) *ends[__builtin_ctz(m)]++ = static_cast<uint32_t>(i);
}
#endif
using Mv = Fv::Mask;

/// The lanes added one after the other, from the first.
inline float sum_of_lanes(Fv values) {
    float lanes[Fv::lanes], sum = 0.0f;
    values.store(lanes);
    for (const float lane : lanes) sum += lane;
    return sum;
}

/// e[k] = 2^e[k]; lanes out of -126..127 hold anything and must be masked. K vectors go in step, so that their chains of
/// dependent operations overlap: with few registers renamed (128-bit units) a processor finds no such overlap by itself.
template <int K>
inline void exp2_masked(Fv (&e)[K]) {
    constexpr float COEFFICIENTS[] = {EXP2_C4, EXP2_C3, EXP2_C2, EXP2_C1, EXP2_C0};
    Fv whole[K], p[K];
    written_out<K>([&](auto k) { e[k] = split_power(e[k], whole[k]), p[k] = Fv::all(EXP2_C5); });
    written_out<5>([&](auto c) { written_out<K>([&](auto k) { p[k] = fma(p[k], e[k], Fv::all(COEFFICIENTS[c])); }); });
    written_out<K>([&](auto k) { e[k] = times_power(p[k], whole[k]); });
}

}  // namespace likeness
