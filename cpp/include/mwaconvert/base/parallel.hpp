// Threads. One pool for the process, started at first use and stopped before fork(); both processes then
// start their own at the next use.
#pragma once

#include <cstdint>
#include <functional>

namespace mwaconvert {

// Number of cores this process may run on (its CPU affinity).
int available_threads();

// Calls work(i) for each i of [0, n), on up to threads threads (0: available_threads()), the calling thread
// among them. Items are handed out one at a time in ascending order. Several callers at once are allowed.
// The first exception thrown by an item stops the handing out and is thrown again here.
void parallel_for(int64_t n, int threads, const std::function<void(int64_t)>& work);

}  // namespace mwaconvert
