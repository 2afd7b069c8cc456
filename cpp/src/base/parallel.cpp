#include "mwaconvert/base/parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace mwaconvert {
namespace {

// One call of parallel_for. Workers and the caller draw items from `next`.
struct Job {
  int64_t n;
  const std::function<void(int64_t)>* work;
  std::atomic<int64_t> next{0};
  int helpers_wanted;    // guarded by Pool::mutex_
  int helpers_busy = 0;  // guarded by Pool::mutex_
  std::mutex error_mutex;
  std::exception_ptr error;

  void run() {
    // relaxed: items know nothing of each other
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) {
      try {
        (*work)(i);
      } catch (...) {
        next.store(n, std::memory_order_relaxed);
        std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
  }
};

class Pool {
 public:
  static Pool* current;  // never destroyed: threads may outlive static destruction

  void run(Job& job, int helpers) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      add_threads(helpers);
      job.helpers_wanted = helpers;
      jobs_.push_back(&job);
    }
    work_.notify_all();
    job.run();
    std::unique_lock<std::mutex> lock(mutex_);
    job.helpers_wanted = 0;
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
    done_.wait(lock, [&] { return job.helpers_busy == 0; });
  }

  void before_fork() {
    std::vector<std::thread> threads;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      threads.swap(threads_);
    }
    work_.notify_all();
    for (std::thread& t : threads) t.join();
  }

  void after_fork() {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = false;
  }

 private:
  // Called with mutex_ held. Where the system gives no more threads, those there are must do.
  void add_threads(int wanted) {
    try {
      while (!stopping_ && static_cast<int>(threads_.size()) < wanted)
        threads_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      Job* job = nullptr;
      work_.wait(lock, [&] { return stopping_ || (job = wanting()) != nullptr; });
      if (stopping_) return;
      --job->helpers_wanted;
      ++job->helpers_busy;
      lock.unlock();
      job->run();
      lock.lock();
      if (--job->helpers_busy == 0) done_.notify_all();
    }
  }

  Job* wanting() {
    for (Job* job : jobs_)
      if (job->helpers_wanted > 0) return job;
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable work_;  // signalled by run() and stop(): a job wants helpers, or stopping_
  std::condition_variable done_;  // signalled by serve(): a job's helpers_busy fell to 0
  std::deque<Job*> jobs_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;  // a fork is under way: no helpers until it is done
};

// NOLINTBEGIN(bugprone-throwing-static-initialization): without memory for a pool nothing can start
Pool* Pool::current = new Pool;

// Workers end before a fork, so that Python does not warn of a fork with threads. Other callers may still be
// inside the pool: the child, where they do not exist, takes a new one.
[[maybe_unused]] const int fork_handlers =
    pthread_atfork([] { Pool::current->before_fork(); }, [] { Pool::current->after_fork(); },
                   [] { Pool::current = new Pool; });
// NOLINTEND(bugprone-throwing-static-initialization)

}  // namespace

int available_threads() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(int64_t n, int threads, const std::function<void(int64_t)>& work) {
  if (threads <= 0) threads = available_threads();
  const int helpers = static_cast<int>(std::min<int64_t>(threads, n)) - 1;
  Job job{n, &work, {}, 0, 0, {}, nullptr};
  if (helpers <= 0)
    job.run();
  else
    Pool::current->run(job, helpers);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mwaconvert
