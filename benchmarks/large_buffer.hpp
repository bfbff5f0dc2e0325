// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>

namespace bench {

enum class pages { small, huge };

// Memory that no cache holds, in huge pages where the system gives them; the same for what is measured and for its ceiling.
class large_buffer {
 public:
  large_buffer(std::size_t floats, pages kind) : bytes_(floats * sizeof(float)) {
    void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    data_ = static_cast<float*>(at);
    madvise(at, bytes_, kind == pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < floats; ++i) data_[i] = static_cast<float>(i % 251) / 251;
  }
  large_buffer(const large_buffer&) = delete;
  large_buffer& operator=(const large_buffer&) = delete;
  ~large_buffer() { munmap(data_, bytes_); }

  float* data() const { return data_; }

 private:
  std::size_t bytes_;
  float* data_ = nullptr;
};

}  // namespace bench
