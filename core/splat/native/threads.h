// A small pool that splits a range over threads. Waits passively (a short bounded spin, then a condition variable), so
// that it takes nothing from other jobs on the same cores. Order of execution never reaches results: callers make every
// piece independent, or reduce in a fixed order.
#pragma once
#include <cstdint>
#include <type_traits>

namespace likeness {

using Piece = void (*)(void* state, int64_t begin, int64_t end);

void run_in_pieces(int64_t count, int64_t piece, Piece body, void* state);
int thread_count();
void set_thread_count(int count);

/// Calls body(begin, end) over [0, count) in pieces of at most `piece`, on all threads; returns when all are done.
template <class Body>
void parallel_for(int64_t count, int64_t piece, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_in_pieces(
        count, piece, [](void* s, int64_t b, int64_t e) { (*static_cast<Plain*>(s))(b, e); },
        const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace likeness
