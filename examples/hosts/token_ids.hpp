// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// Token ids from a file of little-endian int32 numbers and nothing else. Negative ones are refused;
// whether they are below a vocabulary's size is for the caller to check.
inline resect::result<std::vector<std::int32_t>> try_read_ids(const std::string& path) {
  const auto file = mapped_file::try_open(path);
  if (!file) return file.error();
  const auto bytes = file->bytes();
  if (bytes.size() % 4 != 0)
    return resect::error{resect::errc::malformed, shown_path(path), resect::text(bytes.size(), " bytes"),
                         "a multiple of 4: int32 token ids"};
  std::vector<std::int32_t> ids(bytes.size() / 4);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = std::bit_cast<std::int32_t>(load_little<std::uint32_t>(bytes.data() + 4 * i));
    if (ids[i] < 0)
      return resect::error{resect::errc::malformed, shown_path(path), resect::text("token id ", ids[i], " at ", i),
                           "ids >= 0"};
  }
  return resect::result<std::vector<std::int32_t>>{std::move(ids)};
}

}  // namespace hosts
