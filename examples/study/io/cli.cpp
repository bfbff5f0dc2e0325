// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/cli.hpp>

namespace studies {

int parse(CLI::App& options, int argc, char** argv,
          const std::function<std::string(const std::vector<std::string>&)>& explain) {
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
