// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>
#include <string>

#include <resect/io/npy.hpp>
#include <resect/io/npy_reader.hpp>

#include "fuzz.hpp"

namespace {

namespace io = resect::io;

std::span<const std::byte> as_bytes(const std::string& s) { return std::as_bytes(std::span{s}); }

// The elements are as many as are said, and what the writer makes of them is read back the same.
template <class T>
void check_values(const io::npy_array& array) {
  const auto values = io::try_npy_values<T>(array);
  fuzz::require(values.has_value(), "elements of the array's own type are read");
  fuzz::require(values->size() == static_cast<std::size_t>(array.size), "as many values as elements");
  if (array.order == io::npy_order::c)
    fuzz::require(array.bytes.empty() || std::memcmp(values->data(), array.bytes.data(), array.bytes.size()) == 0,
                  "values in C order are the bytes");
  if constexpr (io::npy_value<T>) {
    const auto written = io::try_npy<T>(*values, array.shape);
    if (!written) return;  // an extent that only an empty array can have
    const auto again = io::try_read_npy(as_bytes(*written));
    fuzz::require(again.has_value(), "what is written is read");
    fuzz::require(again->shape == array.shape && again->type == array.type, "the same shape and type");
    const auto back = io::try_npy_values<T>(*again);
    fuzz::require(back.has_value() &&
                      (values->empty() || std::memcmp(back->data(), values->data(), values->size() * sizeof(T)) == 0),
                  "the same values");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(data, size);
  const auto array = io::try_read_npy(file);
  if (!array) {
    fuzz::require(!array.error().message().empty(), "an error says something");
    return 0;
  }
  fuzz::require(fuzz::within(array->bytes, file), "elements lie within the file");
  fuzz::require(array->size * size_of(array->type) == static_cast<resect::index_t>(array->bytes.size()),
                "elements fill their bytes");
  switch (array->type) {
    case io::npy_type::f64: check_values<double>(*array); break;
    case io::npy_type::f32: check_values<float>(*array); break;
    case io::npy_type::i64: check_values<std::int64_t>(*array); break;
    case io::npy_type::i32: check_values<std::int32_t>(*array); break;
    case io::npy_type::i16: check_values<std::int16_t>(*array); break;
    case io::npy_type::i8: check_values<std::int8_t>(*array); break;
    case io::npy_type::u64: check_values<std::uint64_t>(*array); break;
    case io::npy_type::u32: check_values<std::uint32_t>(*array); break;
    case io::npy_type::u16: check_values<std::uint16_t>(*array); break;
    case io::npy_type::u8: check_values<std::uint8_t>(*array); break;
    case io::npy_type::f16:
    case io::npy_type::boolean:
      fuzz::require(!io::try_npy_values<float>(*array), "a type without a C++ type is refused");
      break;
  }
  return 0;
}
