// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/dlpack.hpp>

#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <support/catch.hpp>

using namespace resect;

namespace {

// The structs of dlpack.h, member by member.
enum DLDeviceType : std::int32_t { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3, kDLROCM = 10, kDLCUDAManaged = 13 };
struct DLDevice {
  DLDeviceType device_type;
  std::int32_t device_id;
};
struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
static_assert(sizeof(DLTensor) == 48 && offsetof(DLTensor, ndim) == 16 && offsetof(DLTensor, dtype) == 20 &&
              offsetof(DLTensor, shape) == 24 && offsetof(DLTensor, byte_offset) == 40);

// A tensor of 60 elements 0, 1, 2, … of the type, seen as 3 x 4 unless said otherwise.
template <class T>
struct tensor {
  std::vector<T> data = std::vector<T>(60);
  std::vector<std::int64_t> shape{3, 4};
  std::vector<std::int64_t> strides;
  DLDataType type;
  DLDevice device{kDLCPU, 0};
  std::uint64_t byte_offset = 0;

  explicit tensor(int code) : type{static_cast<std::uint8_t>(code), 8 * sizeof(T), 1} {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(static_cast<float>(i));
  }
  DLTensor dl() {
    return {data.data(), device,       static_cast<std::int32_t>(shape.size()),
            type,        shape.data(), strides.empty() ? nullptr : strides.data(),
            byte_offset};
  }
};

template <class R>
std::string parts(const R& r) {
  if (r) return "fine";
  const auto& e = r.error();
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}

template <class T>
void reads(int code) {
  tensor<T> t(code);
  const DLTensor d = t.dl();
  const auto m = try_as_matrix<const T>(d, "W");
  INFO(parts(m));
  REQUIRE(m);
  CHECK(m->data == t.data.data());
  CHECK(m->rows == 3);
  CHECK(m->cols == 4);
  CHECK(&(*m)(2, 3) == &t.data[11]);
  // Any other code or width is refused.
  for (int other = 0; other < 20; ++other)
    for (const int bits : {4, 8, 16, 32, 64}) {
      t.type.code = static_cast<std::uint8_t>(other);
      t.type.bits = static_cast<std::uint8_t>(bits);
      const bool same = other == code && bits == 8 * static_cast<int>(sizeof(T));
      REQUIRE(try_as_matrix<const T>(t.dl()).has_value() == same);
    }
}

}  // namespace

TEST_CASE("a DLPack tensor views as a matrix of its own element type and of no other") {
  reads<float>(2);
  reads<double>(2);
  reads<f16>(2);
  reads<bf16>(4);
  reads<fp8_e4m3>(10);
  reads<fp8_e5m2>(12);
  reads<std::int8_t>(0);
  reads<std::int64_t>(0);
  reads<std::uint16_t>(1);
}

TEST_CASE("strides count elements, null strides are row-major, the byte offset moves the first element") {
  tensor<float> t(2);
  t.strides = {1, 5};
  t.byte_offset = 8;
  const auto m = try_as_matrix<float>(t.dl(), "W");
  REQUIRE(m);
  CHECK(&(*m)(2, 3) == &t.data[2 + 2 + 15]);
  t.strides = {12, 2};
  CHECK((*try_as_matrix<const float>(t.dl()))(1, 1) == 16.0f);

  t.shape = {7};
  t.strides = {3};
  const DLTensor d = t.dl();
  const auto v = try_as_vector<const float>(&d, "x");
  REQUIRE(v);
  CHECK(v->size == 7);
  CHECK((*v)[6] == 20.0f);
  t.strides = {};
  CHECK((*try_as_vector<const float>(t.dl()))[6] == 8.0f);
  CHECK(as_vector<const float>(t.dl()).size == 7);
}

TEST_CASE("an empty tensor may have null data, one with elements may not") {
  tensor<float> t(2);
  t.shape = {0, 4};
  DLTensor d = t.dl();
  d.data = nullptr;
  const auto m = try_as_matrix<const float>(d);
  REQUIRE(m);
  CHECK(m->empty());
  CHECK(m->cols == 4);
  t.shape = {3, 4};
  d = t.dl();
  d.data = nullptr;
  CHECK(parts(try_as_matrix<const float>(d, "W")) == "null pointer | W | null | data for 3 x 4 elements");
  d.shape = nullptr;
  CHECK(parts(try_as_matrix<const float>(d, "W")) == "null pointer | W, shape | null | 2 extents");
  const DLTensor* none = nullptr;
  CHECK(parts(try_as_matrix<const float>(none, "W")) == "null pointer | W | null | a DLTensor");
  CHECK_THROWS_AS(as_matrix<const float>(none), resect::exception);
}

TEST_CASE("a tensor whose extents and strides overflow is refused") {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  tensor<float> t(2);
  t.strides = {most, most / 2};
  CHECK(parts(try_as_matrix<float>(t.dl(), "W")).substr(0, 14) == "bad stride | W");
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")).substr(0, 14) == "bad stride | W");
  t.shape = {most, most};
  t.strides = {};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")).substr(0, 18) == "shape mismatch | W");
  CHECK_FALSE(try_as_matrix<float>(t.dl(), "W"));
  t.shape = {most};
  CHECK_FALSE(try_as_vector<const float>(t.dl(), "x"));
  t.shape = {3};
  t.strides = {most};
  CHECK_FALSE(try_as_vector<const float>(t.dl(), "x"));
}

TEST_CASE("errors say which tensor, what it is and what was wanted") {
  tensor<float> t(2);
  CHECK(parts(try_as_matrix<const double>(t.dl(), "W")) == "invalid argument | W, element type | float32 | float64");
  CHECK(parts(try_as_matrix<const bf16>(t.dl(), "W")) == "invalid argument | W, element type | float32 | bfloat16");
  t.type = {10, 8, 1};
  CHECK(parts(try_as_matrix<const fp8_e5m2>(t.dl(), "W")) ==
        "invalid argument | W, element type | float8_e4m3fn | float8_e5m2");
  t.type = {2, 32, 4};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) ==
        "invalid argument | W, element type | float32 x 4 lanes | float32");
  t.type = {200, 3, 1};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) ==
        "invalid argument | W, element type | type code 200 of 3 bits | float32");
  t.type = {2, 32, 1};
  t.byte_offset = 6;
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) ==
        "invalid argument | W, address | 2 beyond a multiple of 4 | elements at multiples of their size");
  t.byte_offset = 0;
  t.shape = {2, 3, 4};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) == "shape mismatch | W | 3 dimensions | 2 dimensions");
  CHECK(parts(try_as_vector<const float>(t.dl(), "x")) == "shape mismatch | x | 3 dimensions | 1 dimension");
  t.shape = {3, -4};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) ==
        "shape mismatch | W, extent 1 | -4 | an extent that is not negative");
  t.shape = {3, 4};
  t.strides = {-4, 1};
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) == "bad stride | W | strides -4, 1 | strides >= 0");
  t.strides = {0, 1};  // broadcast rows: readable, not writable
  CHECK(try_as_matrix<const float>(t.dl(), "W"));
  CHECK(parts(try_as_matrix<float>(t.dl(), "W")) == "bad stride | W | strides 0, 1 | strides >= 1");
}

TEST_CASE("memory must belong to the space of the view") {
  tensor<float> t(2);
  const auto fits = [&](DLDeviceType device) {
    t.device.device_type = device;
    return std::pair{try_as_matrix<const float>(t.dl()).has_value(),
                     try_as_matrix<const float, cuda_space>(t.dl()).has_value()};
  };
  CHECK(fits(kDLCPU) == std::pair{true, false});
  CHECK(fits(kDLCUDAHost) == std::pair{true, false});
  CHECK(fits(kDLCUDA) == std::pair{false, true});
  CHECK(fits(kDLCUDAManaged) == std::pair{false, true});
  CHECK(fits(kDLROCM) == std::pair{false, false});
  t.device.device_type = kDLCUDA;
  CHECK(parts(try_as_matrix<const float>(t.dl(), "W")) ==
        "invalid argument | W, memory | DLPack device type 2 | 1 (CPU) or 3 (CUDA host)");
}
