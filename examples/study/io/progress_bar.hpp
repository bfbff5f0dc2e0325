// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include <study/report/numbers.hpp>

namespace studies {

// How far a job is, on stderr: one line that is redrawn on a terminal, else a line every tenth. The time
// left is what the work done so far took, scaled to the rest.
class progress_bar {
 public:
  enum class style { terminal, lines, silent };

  static style style_of_stderr() { return ::isatty(STDERR_FILENO) ? style::terminal : style::lines; }

  explicit progress_bar(style s, std::FILE* out = stderr) : style_(s), out_(out) {}
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;
  ~progress_bar() { clear(); }

  void show(double done, double total, const std::string& step) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const double share = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0.0;
    if (style_ == style::terminal && (seconds - drawn_ >= 0.1 || share >= 1)) {
      drawn_ = seconds;
      std::fprintf(out_, "\r\x1b[K%s", line(share, seconds, step).c_str());
      std::fflush(out_);
    }
    const int tenth = static_cast<int>(share * 10 + 1e-9);
    if (style_ == style::lines && tenth > tenth_) {
      tenth_ = tenth;
      std::fprintf(out_, "%3.0f %%  %s\n", 100 * share, tail(share, seconds, step).c_str());
      std::fflush(out_);
    }
  }

  void clear() {
    if (style_ == style::terminal && drawn_ >= 0) std::fprintf(out_, "\r\x1b[K");
    std::fflush(out_);
    drawn_ = -1;
  }

 private:
  static std::string line(double share, double seconds, const std::string& step) {
    constexpr int width = 30;
    const int full = static_cast<int>(share * width);
    std::string bar = "[";
    for (int i = 0; i < width; ++i) bar += i < full ? '#' : '.';
    char percent[16];
    std::snprintf(percent, sizeof percent, "] %3.0f %%  ", 100 * share);
    return bar + percent + tail(share, seconds, step);
  }
  static std::string tail(double share, double seconds, const std::string& step) {
    if (share <= 0) return step;
    if (share >= 1) return step + ", " + duration(seconds);
    return step + ", " + duration(seconds * (1 - share) / share) + " left";
  }

  style style_;
  std::FILE* out_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double drawn_ = -1;
  int tenth_ = 0;
};

}  // namespace studies
