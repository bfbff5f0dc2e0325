// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <resect/core/result.hpp>

extern char** environ;

// gnuplot as a child process. No shell is involved, and scripts are passed as files.
namespace studies {

// An error unless gnuplot is there and can write PNG files.
resect::status check_gnuplot();

// Runs a script that lies in `folder`, with paths in it relative to `folder`.
resect::status try_gnuplot(const std::filesystem::path& folder, const std::string& script);

}  // namespace studies
