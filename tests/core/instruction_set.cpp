// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/instruction_set.hpp>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>

#include <support/catch.hpp>

namespace tests {

using namespace resect;

namespace {

// The flags of the first processor in /proc/cpuinfo; empty where there are none.
std::set<std::string> processor_flags() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) flags.insert(word);
    break;
  }
  return flags;
}

}  // namespace

TEST_CASE("portable kernels run everywhere, and the best set is the largest that is supported") {
  CHECK(supported(instruction_set::portable));
  const instruction_set best = best_instruction_set();
  CHECK(supported(best));
  for (const auto set : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
    CHECK(supported(set) == (set <= best));  // a larger set holds the smaller ones
    CHECK(runnable(set) == (set <= best ? set : best));
  }
  CHECK(best_instruction_set() == best);
  CHECK_FALSE(supported(static_cast<instruction_set>(77)));
  CHECK(runnable(static_cast<instruction_set>(77)) == instruction_set::portable);
}

TEST_CASE("what is found is what the operating system says") {
  const auto flags = processor_flags();
#if !defined(__x86_64__)
  CHECK(best_instruction_set() == instruction_set::portable);
#else
  if (flags.empty()) {
    WARN("skipped: /proc/cpuinfo lists no flags");
    return;
  }
  const auto all = [&](std::initializer_list<const char*> names) {
    for (const char* flag : names)
      if (flags.count(flag) == 0) return false;
    return true;
  };
  CHECK(supported(instruction_set::avx2) == all({"avx2", "fma"}));
  CHECK(supported(instruction_set::avx512) == all({"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl"}));
#endif
}

TEST_CASE("instruction sets have names") {
  STATIC_REQUIRE(name(instruction_set::portable) == "portable");
  STATIC_REQUIRE(name(instruction_set::avx2) == "avx2");
  STATIC_REQUIRE(name(instruction_set::avx512) == "avx512");
  STATIC_REQUIRE(name(static_cast<instruction_set>(77)) == "unknown");
  STATIC_REQUIRE(std::is_same_v<std::underlying_type_t<instruction_set>, std::uint8_t>);
}

}  // namespace tests
