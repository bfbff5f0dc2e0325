// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>
#include <resect/io/npy.hpp>
#include <resect/io/npy_reader.hpp>

// Reading an archive of NumPy's arrays back, from bytes that nobody vouches for.
namespace studies {

// An array and its elements in C order.
template <resect::io::npy_element T>
struct stored_array {
  std::vector<resect::index_t> shape;
  std::vector<T> values;
};

// The arrays of a .npz file by name. Entries are stored without compression, as numpy.savez and resect write them;
// others are refused, and so are spans that leave the file, names that come twice, checksums that do not hold.
class npz_file {
 public:
  static resect::result<npz_file> try_parse(std::string bytes, std::string_view operand) {
    npz_file out;
    out.bytes_ = std::move(bytes);
    out.operand_ = resect::short_text<80>(operand);
    if (auto s = out.read_directory(); !s) return s.error();
    return resect::result<npz_file>{std::move(out)};
  }

  bool contains(const std::string& name) const { return entries_.contains(name); }
  std::size_t size() const noexcept { return entries_.size(); }

  template <resect::io::npy_element T>
  resect::result<stored_array<T>> try_read(const std::string& name) const {
    const auto at = entries_.find(name);
    if (at == entries_.end())
      return refusal(resect::text("no array ", hosts::shown(name).view()).view(), "all arrays of a study");
    const auto named = [&](resect::error e) {
      e.operand = resect::text(operand_.view(), ": ", hosts::shown(name).view(), ": ", e.operand.view());
      return e;
    };
    auto array = resect::io::try_read_npy(hosts::as_bytes(bytes_).subspan(at->second.first, at->second.second));
    if (!array) return named(array.error());
    auto values = resect::io::try_npy_values<T>(*array);
    if (!values) return named(values.error());
    return resect::result<stored_array<T>>{stored_array<T>{std::move(array->shape), std::move(*values)}};
  }

 private:
  resect::error refusal(std::string_view got, std::string_view wanted) const {
    return {resect::errc::malformed, operand_.view(), got, wanted};
  }
  template <std::unsigned_integral U>
  U number(std::size_t at) const {
    return hosts::load_little<U>(hosts::as_bytes(bytes_).data() + at);
  }

  // The directory stands at the end: PK\5\6, four numbers of 16 bits, its size, where it begins, a comment.
  resect::status read_directory() {
    constexpr std::size_t tail = 22;
    const std::string_view all = bytes_;
    const std::size_t end =
        all.size() < tail ? all.npos : all.rfind(std::string_view("PK\x05\x06", 4), all.size() - tail);
    if (end == all.npos) return refusal("no ZIP directory", "an npz archive");
    const std::uint64_t count = number<std::uint16_t>(end + 10), start = number<std::uint32_t>(end + 16);
    if (start + number<std::uint32_t>(end + 12) > end) return refusal("a directory outside the file", "an npz archive");
    std::size_t at = static_cast<std::size_t>(start);
    for (std::uint64_t i = 0; i < count; ++i)
      if (auto s = read_entry(at, end); !s) return s;
    return {};
  }

  resect::status read_entry(std::size_t& at, std::size_t end) {
    constexpr std::size_t central = 46, local = 30;
    const std::string_view all = bytes_;
    if (end - at < central || all.substr(at, 4) != std::string_view("PK\x01\x02", 4))
      return refusal("a broken ZIP directory", "an npz archive");
    const std::uint64_t name_size = number<std::uint16_t>(at + 28);
    const std::uint64_t skipped = name_size + number<std::uint16_t>(at + 30) + number<std::uint16_t>(at + 32);
    if (end - at - central < skipped) return refusal("a broken ZIP directory", "an npz archive");
    std::string name{all.substr(at + central, name_size)};
    const std::uint64_t size = number<std::uint32_t>(at + 20), offset = number<std::uint32_t>(at + 42);
    if (number<std::uint16_t>(at + 10) != 0 || number<std::uint32_t>(at + 24) != size)
      return refusal(resect::text(hosts::shown(name).view(), " compressed").view(), "stored arrays");
    if (offset + local > at || all.substr(offset, 4) != std::string_view("PK\x03\x04", 4))
      return refusal(resect::text(hosts::shown(name).view(), " outside the file").view(), "an npz archive");
    const std::uint64_t data = offset + local + number<std::uint16_t>(offset + 26) + number<std::uint16_t>(offset + 28);
    if (data > at || at - data < size)
      return refusal(resect::text(hosts::shown(name).view(), " outside the file").view(), "an npz archive");
    if (resect::io::crc32(all.substr(data, size)) != number<std::uint32_t>(at + 16))
      return refusal(resect::text(hosts::shown(name).view(), " with a wrong checksum").view(), "whole arrays");
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    const auto place = std::pair{static_cast<std::size_t>(data), static_cast<std::size_t>(size)};
    if (!entries_.emplace(std::move(name), place).second) return refusal("an array twice", "names that differ");
    at += central + static_cast<std::size_t>(skipped);
    return {};
  }

  std::string bytes_;
  resect::short_text<80> operand_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> entries_;  // name → where it begins, its size
};

}  // namespace studies
