// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>

namespace studies {

// Parses the command line. Returns −1 to go on, else the exit status: 0 after --help (2 where nobody got it), 2 after
// one line that says what is wrong.
inline int parse(CLI::App& options, int argc, char** argv) {
  try {
    options.parse(argc, argv);
    return -1;
  } catch (const CLI::CallForHelp& help) {
    const int status = options.exit(help);
    return std::cout.flush() ? status : 2;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "%s: %s (--help lists the options)\n", options.get_name().c_str(), e.what());
    return 2;
  }
}

}  // namespace studies
