// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace studies {

// An option that may stand several times, each time with one value.
inline CLI::Option* repeated(CLI::Option* option) {
  return option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

// Parses the command line. Returns −1 to go on, else the exit status: 0 after --help (2 where nobody got it), 2 after
// one line that says what is wrong. `explain` may say it of arguments that are left over, else returns nothing.
int parse(CLI::App& options, int argc, char** argv,
          const std::function<std::string(const std::vector<std::string>&)>& explain = {});

}  // namespace studies
