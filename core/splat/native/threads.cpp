// The pool behind parallel_for. See threads.h.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "api.h"

namespace likeness {
namespace {

// About 5 microseconds: the gap between two stages of one call, not the gap between two calls.
constexpr int SPINS = 200;

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

int available_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

int wanted_threads() {
    const char* text = std::getenv("LIKENESS_THREADS");
    const int number = text ? std::atoi(text) : 0;
    return number > 0 ? std::min(number, 256) : available_cores();
}

thread_local bool inside = false;  // this thread is running a piece

class Pool {
public:
    explicit Pool(int threads) : ranges_(new Range[static_cast<size_t>(threads)]) {
        for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
    }

    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_.store(true);
            generation_.fetch_add(1);
        }
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

    int size() const { return static_cast<int>(workers_.size()) + 1; }

    void run(int64_t count, int64_t piece, Piece body, void* state) {
        piece_ = piece, body_ = body, state_ = state;
        const int64_t pieces = (count + piece - 1) / piece;
        for (int i = 0; i < size(); i++) {
            ranges_[i].next.store(pieces * i / size() * piece);
            ranges_[i].end = std::min(count, pieces * (i + 1) / size() * piece);
        }
        open_.store(true);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            generation_.fetch_add(1);
        }
        wake_.notify_all();
        take_pieces(0);
        // A worker that has not woken up by now is not waited for: on a busy machine that may be long.
        open_.store(false);
        for (int i = 0; i < SPINS && active_.load(); i++) relax();
        if (active_.load()) {
            std::unique_lock<std::mutex> lock(mutex_);
            done_.wait(lock, [this] { return active_.load() == 0; });
        }
    }

private:
    /// What is left of one thread's share.
    struct alignas(64) Range {
        std::atomic<int64_t> next{0};
        int64_t end = 0;
    };

    /// First the thread's own share, which is the same part of the range in every call: what it left in its core's cache
    /// last time is likely to be there. Then what the others have not begun.
    void take_pieces(int self) {
        for (int i = 0; i < size(); i++) {
            Range& range = ranges_[(self + i) % size()];
            for (;;) {
                const int64_t begin = range.next.fetch_add(piece_);
                if (begin >= range.end) break;
                body_(state_, begin, std::min(range.end, begin + piece_));
            }
        }
    }

    void work(int self) {
        inside = true;
        uint64_t seen = 0;
        for (;;) {
            for (int i = 0; i < SPINS && generation_.load() == seen; i++) relax();
            if (generation_.load() == seen) {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return generation_.load() != seen; });
            }
            seen = generation_.load();
            if (stopping_.load()) return;
            // The caller closes the job and then reads active_; we raise active_ and then read open_: one sees the other.
            active_.fetch_add(1);
            if (open_.load()) take_pieces(self);
            if (active_.fetch_sub(1) == 1) {
                std::lock_guard<std::mutex> lock(mutex_);
                done_.notify_one();
            }
        }
    }

    std::unique_ptr<Range[]> ranges_;  // one for each thread
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int> active_{0};
    std::atomic<bool> open_{false}, stopping_{false};
    int64_t piece_ = 1;
    Piece body_ = nullptr;
    void* state_ = nullptr;
};

std::mutex* pool_mutex = new std::mutex;  // never destroyed: threads may outlive static destruction
Pool* pool = nullptr;
std::atomic<int> pool_threads{0};  // 0: not decided yet

// A forked child has the pool's memory but not its threads.
void forget_pool() {
    pool_mutex = new std::mutex;
    pool = nullptr;
}

Pool* ready_pool() {
    if (!pool_threads) {
        pool_threads = wanted_threads();
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(nullptr, nullptr, forget_pool);
#endif
    }
    if (!pool) pool = new Pool(pool_threads);
    return pool;
}

}  // namespace

void run_in_pieces(int64_t count, int64_t piece, Piece body, void* state) {
    if (count <= 0) return;
    // Inside a piece, beside another caller, or with one piece only: this thread alone. The results are the same.
    if (count > piece && !inside && pool_mutex->try_lock()) {
        std::lock_guard<std::mutex> lock(*pool_mutex, std::adopt_lock);
        Pool* ready = ready_pool();
        if (ready->size() > 1) {
            inside = true;
            ready->run(count, piece, body, state);
            inside = false;
            return;
        }
    }
    for (int64_t begin = 0; begin < count; begin += piece) body(state, begin, std::min(count, begin + piece));
}

int thread_count() {
    if (const int known = pool_threads.load()) return known;
    std::lock_guard<std::mutex> lock(*pool_mutex);
    return ready_pool()->size();
}

void set_thread_count(int count) {
    std::lock_guard<std::mutex> lock(*pool_mutex);
    ready_pool();
    delete pool;
    pool = nullptr;
    pool_threads = count > 0 ? std::min(count, 256) : wanted_threads();
}

}  // namespace likeness

LIKENESS_EXPORT void likeness_set_threads(int32_t count) { likeness::set_thread_count(count); }
LIKENESS_EXPORT int32_t likeness_threads() { return likeness::thread_count(); }
LIKENESS_EXPORT void likeness_run_alone(int32_t alone) { likeness::inside = alone != 0; }
