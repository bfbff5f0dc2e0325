// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>

// Where the programs write files that are named on the command line.
namespace studies {

namespace detail {

bool put(std::FILE* file, std::string_view bytes);

}  // namespace detail

// The files of a model that a program reads: itself, or those of its folder.
std::vector<std::string> model_files(const std::string& path);

// Refuses, before any work is done, a path that write_file could not write, and one that is an input of the program,
// by whatever name. No path is no output.
void check_output_file(const std::string& path, std::string_view option, const std::vector<std::string>& inputs);

// Writes a file. A plain one is written under a temporary name and renamed, so that readers see the old file or the new
// one, whole; a link stays, and what it leads to is replaced. Anything else (a pipe, a device) is written into.
void write_file(const std::string& path, std::string_view bytes);

}  // namespace studies
