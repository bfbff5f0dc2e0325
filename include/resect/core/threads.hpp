// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <resect/core/executor.hpp>

namespace RESECT_NAMESPACE {

// A pool of n workers, one of which is the calling thread; fewer if the system starts no more threads (concurrency()
// returns the number). `bulk` may be called from one thread at a time; a call from inside a task runs its tasks on
// that worker (nested calls do not deadlock). A task that throws ends the program. Movable; after a move, bulk() of
// the old object runs on the calling thread only.
class threads {
 public:
  explicit threads(int n = 1) : pool_(n > 1 ? std::make_unique<pool>(n) : nullptr) {}

  int concurrency() const noexcept { return pool_ ? pool_->size() : 1; }

  void bulk(index_t n, function_ref<void(index_t)> f) const {
    if (pool_) pool_->bulk(n, f);
    else run_here(n, f);
  }

 private:
  static void run_here(index_t n, const function_ref<void(index_t)>& f) noexcept {
    for (index_t i = 0; i < n; ++i) f(i);
  }

  // pthread_create, not std::thread: std::thread reports failure by throwing, and catching that would give `threads`
  // a different body with and without exceptions (one-definition rule).
  class pool {
   public:
    explicit pool(int n) {
      workers_.reserve(static_cast<std::size_t>(n - 1));
      pthread_t worker;
      for (int i = 1; i < n && pthread_create(&worker, nullptr, &pool::start, this) == 0; ++i)
        workers_.push_back(worker);
    }
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;
    ~pool() {
      {
        std::lock_guard lock(mutex_);
        stopping_ = true;
      }
      wake_.notify_all();
      for (const pthread_t w : workers_) pthread_join(w, nullptr);
    }

    int size() const noexcept { return static_cast<int>(workers_.size()) + 1; }

    void bulk(index_t n, function_ref<void(index_t)> f) {
      if (n <= 0) return;
      const bool nested = running_.exchange(true);
      if (nested || workers_.empty() || n == 1) {
        run_here(n, f);
        if (!nested) running_.store(false);
        return;
      }
      {
        std::lock_guard lock(mutex_);
        task_ = &f;
        count_ = n;
        next_.store(0, std::memory_order_relaxed);
        busy_ = static_cast<int>(workers_.size());
        ++generation_;
      }
      wake_.notify_all();
      drain(f, n);
      {
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
        task_ = nullptr;
      }
      running_.store(false);
    }

   private:
    // noexcept: a task that throws ends the program here, not in a pool that waits for ever
    void drain(const function_ref<void(index_t)>& f, index_t n) noexcept {
      for (index_t i = next_.fetch_add(1); i < n; i = next_.fetch_add(1)) f(i);
    }

    static void* start(void* self) noexcept {
      static_cast<pool*>(self)->serve();
      return nullptr;
    }

    void serve() {
      std::uint64_t seen = 0;
      std::unique_lock lock(mutex_);
      for (;;) {
        wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
        const auto* task = task_;
        const index_t n = count_;
        lock.unlock();
        drain(*task, n);
        lock.lock();
        if (--busy_ == 0) done_.notify_one();
      }
    }

    std::vector<pthread_t> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    const function_ref<void(index_t)>* task_ = nullptr;
    std::atomic<index_t> next_{0};
    std::atomic<bool> running_{false};
    std::uint64_t generation_ = 0;
    index_t count_ = 0;
    int busy_ = 0;
    bool stopping_ = false;
  };

  std::unique_ptr<pool> pool_;
};

}  // namespace RESECT_NAMESPACE
