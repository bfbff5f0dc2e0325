// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include <hosts/bytes.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>
#include <resect/io/json.hpp>

namespace hosts {

// The JSON object that a file holds, read as resect::io::try_parse_json reads it.
inline resect::result<nlohmann::json> try_read_json(const std::string& path) {
  auto file = mapped_file::try_open(path);
  if (!file) return file.error();
  return resect::io::try_parse_json(as_text(file->bytes()), shown_path(path).view());
}

}  // namespace hosts
