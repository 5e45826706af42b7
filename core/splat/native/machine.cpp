// What this binary was compiled for, what this machine can run, how fast it multiplies, and what it does with memory.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "api.h"
#include "simd.h"
#include "threads.h"

LIKENESS_EXPORT const char* likeness_isa() { return LIKENESS_ISA_NAME; }

LIKENESS_EXPORT int32_t likeness_cpu_level() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool level3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool level4 = level3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512cd");
    return level4 ? 4 : level3 ? 3 : 2;
#else
    return 0;
#endif
}

LIKENESS_EXPORT void likeness_keep_freed_memory(int32_t megabytes) {
#if defined(__GLIBC__)
    // Where glibc stops to fix the first of these by what it sees: its own upper end of that range.
    constexpr int LARGEST_KEPT = 32 << 20;
    mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT);
    mallopt(M_TRIM_THRESHOLD, static_cast<int>(std::min(megabytes, 2047)) << 20);
#else
    static_cast<void>(megabytes);
#endif
}

LIKENESS_EXPORT double likeness_measure_fma_gflops(double seconds) {
    using likeness::Fv;
    constexpr int CHAINS = 10;
    constexpr int64_t ROUNDS = 100000;
    const int threads = likeness::thread_count();
    double best = 0.0;
    const auto clock = [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    };
    const double end = clock() + seconds;
    std::atomic<float> sink{0.0f};  // keeps the compiler from leaving the work out
    do {
        const double start = clock();
        likeness::parallel_for(threads * 4, 1, [&](int64_t, int64_t) {
            Fv chain[CHAINS];
            for (int i = 0; i < CHAINS; i++) chain[i] = Fv::all(static_cast<float>(i));
            const Fv factor = Fv::all(0.999f), term = Fv::all(0.001f);
            for (int64_t r = 0; r < ROUNDS; r++)
                for (Fv& c : chain) c = fma(c, factor, term);
            Fv sum = chain[0];
            for (int i = 1; i < CHAINS; i++) sum = sum + chain[i];
            float lanes[Fv::lanes];
            sum.store(lanes);
            sink.store(lanes[0], std::memory_order_relaxed);
        });
        const double flops = 2.0 * Fv::lanes * CHAINS * static_cast<double>(ROUNDS) * threads * 4;
        const double rate = flops / (clock() - start) * 1e-9;
        best = rate > best ? rate : best;
    } while (clock() < end);
    return best;
}
