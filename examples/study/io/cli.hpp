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
inline int parse(CLI::App& options, int argc, char** argv,
                 const std::function<std::string(const std::vector<std::string>&)>& explain = {}) {
  try {
    options.parse(argc, argv);
    return -1;
  } catch (const CLI::CallForHelp& help) {
    const int status = options.exit(help);
    return std::cout.flush() ? status : 2;
  } catch (const CLI::ExtrasError& e) {
    const std::string said = explain ? explain(options.remaining()) : "";
    std::fprintf(stderr, "%s: %s (--help lists the options)\n", options.get_name().c_str(),
                 said.empty() ? e.what() : said.c_str());
    return 2;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "%s: %s (--help lists the options)\n", options.get_name().c_str(), e.what());
    return 2;
  }
}

}  // namespace studies
