// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <resect/core/adapt.hpp>
#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>

// DLPack tensors (NumPy, PyTorch, JAX, TVM, … export them) as views. DLTensor is recognized by its members, its
// header is not included; the numbers are those of DLPack 1.1 (dlpack.h, DLDataTypeCode and DLDeviceType).
namespace RESECT_NAMESPACE {

namespace detail {

template <class D>
concept dl_tensor = requires(const D& t) {
  { t.data } -> std::convertible_to<const void*>;
  { t.ndim } -> std::convertible_to<std::int32_t>;
  { t.shape[0] } -> std::convertible_to<std::int64_t>;
  { t.strides[0] } -> std::convertible_to<std::int64_t>;
  { t.byte_offset } -> std::convertible_to<std::uint64_t>;
  { t.dtype.code } -> std::convertible_to<int>;
  { t.dtype.bits } -> std::convertible_to<int>;
  { t.dtype.lanes } -> std::convertible_to<int>;
  { static_cast<int>(t.device.device_type) };
};

struct dl_type {
  int code = -1, bits = 0;
  friend constexpr bool operator==(const dl_type&, const dl_type&) = default;
};

template <class T>
constexpr dl_type dl_type_of() noexcept {
  constexpr int bits = 8 * static_cast<int>(sizeof(T));
  if constexpr (std::same_as<T, bool>) return {6, bits};
  else if constexpr (std::integral<T>) return {std::is_signed_v<T> ? 0 : 1, bits};
  else if constexpr (std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, f16>) return {2, bits};
  else if constexpr (std::same_as<T, bf16>) return {4, bits};
  else if constexpr (std::same_as<T, fp8_e4m3>) return {10, bits};
  else if constexpr (std::same_as<T, fp8_e5m2>) return {12, bits};
  else return {};
}

inline short_text<120> dl_type_name(int code, int bits, int lanes) noexcept {
  constexpr std::string_view numbered[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  constexpr std::string_view small[] = {"e3m4",     "e4m3", "e4m3b11fnuz", "e4m3fn",
                                        "e4m3fnuz", "e5m2", "e5m2fnuz",    "e8m0fnu"};
  short_text<120> out;
  if (code >= 0 && code < 7) out.append(numbered[code]).append(bits);
  else if (code >= 7 && code < 15 && bits == 8) out.append("float8_").append(small[code - 7]);
  else out.append("type code ").append(code).append(" of ").append(bits).append(" bits");
  if (lanes != 1) out.append(" x ").append(lanes).append(" lanes");
  return out;
}

// Memory that code of a space may touch: the host's own and what CUDA pinned there; the device's and what CUDA manages.
template <class Space>
constexpr bool dl_device_fits(int device) noexcept {
  if constexpr (std::same_as<Space, host_space>) return device == 1 || device == 3;
  else return device == 2 || device == 13;
}

template <class T>
struct dl_view {
  T* data = nullptr;
  index_t extent[2] = {1, 1};
  index_t stride[2] = {0, 0};
};

// Everything but the strides' signs and overlaps, which check_view looks at.
template <class T, class Space, dl_tensor D>
result<dl_view<T>> read_dl_tensor(const D* tensor, std::int32_t ndim, std::string_view operand) noexcept {
  constexpr dl_type wanted = dl_type_of<std::remove_const_t<T>>();
  static_assert(wanted.code >= 0, "DLPack has no type for these elements");
  if (tensor == nullptr) return error{errc::null_pointer, operand, "null", "a DLTensor"};
  const D& t = *tensor;
  const int code = static_cast<int>(t.dtype.code), bits = static_cast<int>(t.dtype.bits);
  const int lanes = static_cast<int>(t.dtype.lanes);
  if (dl_type{code, bits} != wanted || lanes != 1)
    return error{errc::invalid_argument, text(operand, ", element type"), dl_type_name(code, bits, lanes),
                 dl_type_name(wanted.code, wanted.bits, 1)};
  if (const int device = static_cast<int>(t.device.device_type); !dl_device_fits<Space>(device))
    return error{errc::invalid_argument, text(operand, ", memory"), text("DLPack device type ", device),
                 std::same_as<Space, host_space> ? "1 (CPU) or 3 (CUDA host)" : "2 (CUDA) or 13 (CUDA managed)"};
  if (t.ndim != ndim)
    return error{errc::shape_mismatch, operand, text(static_cast<int>(t.ndim), " dimensions"),
                 ndim == 1 ? "1 dimension" : "2 dimensions"};
  if (t.shape == nullptr) return error{errc::null_pointer, text(operand, ", shape"), "null", text(ndim, " extents")};

  dl_view<T> out;
  for (std::int32_t i = 0; i < ndim; ++i) {
    out.extent[i] = t.shape[i];
    if (out.extent[i] < 0)
      return error{errc::shape_mismatch, text(operand, ", extent ", i), text(out.extent[i]),
                   "an extent that is not negative"};
  }
  for (std::int32_t i = 0; i < ndim; ++i)  // without strides: compact and row-major
    out.stride[i] = t.strides != nullptr ? index_t{t.strides[i]} : i + 1 < ndim ? out.extent[i + 1] : 1;
  if (t.data == nullptr || out.extent[0] == 0 || out.extent[1] == 0) return out;  // null with elements: see check_view
  using byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  auto* const first = static_cast<byte*>(t.data) + t.byte_offset;
  if (reinterpret_cast<std::uintptr_t>(first) % alignof(T) != 0)
    return error{errc::invalid_argument, text(operand, ", address"),
                 text(reinterpret_cast<std::uintptr_t>(first) % alignof(T), " beyond a multiple of ", alignof(T)),
                 "elements at multiples of their size"};
  out.data = reinterpret_cast<T*>(first);
  return out;
}

}  // namespace detail

// Converts a DLPack tensor of two dimensions to a matrix_view and checks it against the element type T (const for
// reading; float, double, f16, bf16, fp8_e4m3, fp8_e5m2, bool or integers) and the memory space:
//   auto w = resect::try_as_matrix<const float>(tensor, "W");       tensor: DLTensor or DLTensor*
// Strides count elements; null strides mean compact and row-major. byte_offset is honoured; no alignment beyond the
// element's is expected. The tensor must outlive the view; whoever owns it calls its deleter. For cuda_space the caller
// has also made the device's work on it visible. DLTensor does not say that it is read-only (DLManagedTensorVersioned's
// flags do): ask for const T unless you know. O(1), no allocation.
//   Errors, with `operand` as the name: invalid_argument (element type, memory, misaligned address), shape_mismatch
//   (number of dimensions, negative extent), null_pointer, bad_stride.
// Source: DLPack 1.1, dlpack.h.
template <class T, class Space = host_space, detail::dl_tensor D>
result<matrix_view<T, Space>> try_as_matrix(const D* tensor, std::string_view operand = "matrix") noexcept {
  const auto r = detail::read_dl_tensor<T, Space>(tensor, 2, operand);
  if (!r) return r.error();
  return try_as_matrix(matrix_view<T, Space>{r->data, r->extent[0], r->extent[1], r->stride[0], r->stride[1]}, operand);
}
template <class T, class Space = host_space, detail::dl_tensor D>
result<matrix_view<T, Space>> try_as_matrix(const D& tensor, std::string_view operand = "matrix") noexcept {
  return try_as_matrix<T, Space>(&tensor, operand);
}

// Converts a DLPack tensor of one dimension to a vector_view, with the same checks.
template <class T, class Space = host_space, detail::dl_tensor D>
result<vector_view<T, Space>> try_as_vector(const D* tensor, std::string_view operand = "vector") noexcept {
  const auto r = detail::read_dl_tensor<T, Space>(tensor, 1, operand);
  if (!r) return r.error();
  return try_as_vector(vector_view<T, Space>{r->data, r->extent[0], r->stride[0]}, operand);
}
template <class T, class Space = host_space, detail::dl_tensor D>
result<vector_view<T, Space>> try_as_vector(const D& tensor, std::string_view operand = "vector") noexcept {
  return try_as_vector<T, Space>(&tensor, operand);
}

#if RESECT_EXCEPTIONS
// The same that throw; a DLTensor or a pointer to one.
template <class T, class Space = host_space, class D>
  requires requires(const D& t) { try_as_matrix<T, Space>(t).value(); }
matrix_view<T, Space> as_matrix(const D& tensor, std::string_view operand = "matrix") {
  return value_or_throw(try_as_matrix<T, Space>(tensor, operand));
}
// The same that throw; a DLTensor or a pointer to one.
template <class T, class Space = host_space, class D>
  requires requires(const D& t) { try_as_vector<T, Space>(t).value(); }
vector_view<T, Space> as_vector(const D& tensor, std::string_view operand = "vector") {
  return value_or_throw(try_as_vector<T, Space>(tensor, operand));
}
#endif

}  // namespace RESECT_NAMESPACE
