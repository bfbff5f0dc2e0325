// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/gnuplot.hpp>

namespace studies {

namespace detail {

resect::error gnuplot_missing() {
  return {resect::errc::unsupported, "gnuplot", "no such program",
          "gnuplot with its pngcairo terminal (Debian: gnuplot-nox)"};
}

// Runs `gnuplot -d argument…` in `folder`, its output in folder/log; the exit status.
resect::result<int> try_spawn_gnuplot(const std::filesystem::path& folder, const std::string& log,
                                      std::array<const char*, 2> arguments) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  const char* argv[] = {"gnuplot", "-d", arguments[0], arguments[1], nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, "gnuplot", &files, nullptr, const_cast<char**>(argv), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return gnuplot_missing();
  int state = 0;
  while (::waitpid(child, &state, 0) < 0)
    if (errno != EINTR) return gnuplot_missing();
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128;
}

// The first line of a log that says something.
std::string first_line(const std::filesystem::path& log) {
  std::ifstream in(log);
  for (std::string line; std::getline(in, line);)
    if (line.find_first_not_of(" \t^") != line.npos) return line;
  return "no message";
}

}  // namespace detail

resect::status check_gnuplot() {
  const auto status = detail::try_spawn_gnuplot("/", "/dev/null", {"-e", "set terminal pngcairo"});
  if (!status) return status.error();
  if (*status != 0) return detail::gnuplot_missing();
  return {};
}

resect::status try_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  const auto status = detail::try_spawn_gnuplot(folder, "gnuplot.log", {script.c_str(), nullptr});
  if (!status) return status.error();
  if (*status != 0)
    return resect::error{resect::errc::io, resect::text("plot by ", script),
                         std::string_view{detail::first_line(folder / "gnuplot.log")}, "a script that gnuplot accepts"};
  return {};
}

}  // namespace studies
