// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What of products and factorizations on `cpu` takes long to compile, for float and double, on the caller's thread and on a
// pool. RESECT_INSTANCE is `extern template` in cpu_extern.hpp and `template` in cpu_instances.inl.
#define RESECT_INSTANCES_OF(T)                                                                             \
  RESECT_INSTANCE product_kernels<T> product_kernels_of<T>(instruction_set) noexcept;                      \
  RESECT_INSTANCE void packed_product<T>(executor_ref, const product_kernels<T>&, T, matrix_view<const T>, \
                                         matrix_view<const T>, T, matrix_view<T>);                         \
  RESECT_INSTANCE void packed_tiles<T>(executor_ref, const product_kernels<T>&, matrix_view<const T>,      \
                                       matrix_view<const T>, take_tile<T>);                                \
  RESECT_INSTANCE void eigen_product<T>(executor_ref, T, matrix_view<const T>, matrix_view<const T>, T,    \
                                        matrix_view<T>);                                                   \
  RESECT_INSTANCE void eigen_tiles<T>(executor_ref, matrix_view<const T>, matrix_view<const T>, take_tile<T>);
namespace RESECT_NAMESPACE::detail {
RESECT_INSTANCES_OF(float)
RESECT_INSTANCES_OF(double)
}  // namespace RESECT_NAMESPACE::detail
#undef RESECT_INSTANCES_OF

#define RESECT_INSTANCES_OF(T, B)                                                            \
  RESECT_INSTANCE result<cholesky_outcome> blocked_cholesky<T>(B&, matrix_view<T>);          \
  RESECT_INSTANCE status blocked_solve_right<T>(B&, matrix_view<const T>, matrix_view<T>);   \
  RESECT_INSTANCE result<orthonormal_basis<T>> try_orthonormalize(B&, matrix_view<const T>); \
  RESECT_INSTANCE result<orthonormal_basis<T>> try_orthonormalize(B&, matrix_view<T>);
namespace RESECT_NAMESPACE::linalg {
RESECT_INSTANCES_OF(float, cpu<>)
RESECT_INSTANCES_OF(double, cpu<>)
RESECT_INSTANCES_OF(float, cpu<threads>)
RESECT_INSTANCES_OF(double, cpu<threads>)
RESECT_INSTANCE result<eigen_outcome> jacobi_symmetric_eigen(cpu<>&, matrix_view<double>, vector_view<double>);
RESECT_INSTANCE result<eigen_outcome> jacobi_symmetric_eigen(cpu<threads>&, matrix_view<double>, vector_view<double>);
}  // namespace RESECT_NAMESPACE::linalg
#undef RESECT_INSTANCES_OF

#define RESECT_INSTANCES_OF(T, B)                                                                                    \
  RESECT_INSTANCE result<range_search<T>> try_search_range<T>(B&, const dense_map<T>&, index_t, int, std::uint64_t); \
  RESECT_INSTANCE result<truncated_decomposition<T>> try_truncated_svd(B&, matrix_view<const T>,                     \
                                                                       const truncated_svd_options&);                \
  RESECT_INSTANCE result<truncated_decomposition<T>> try_truncated_svd(B&, matrix_view<T>,                           \
                                                                       const truncated_svd_options&);                \
  RESECT_INSTANCE result<weighted_decomposition<T>> try_weighted_low_rank(                                           \
      B&, matrix_view<const T>, const quant::moment_view&, const weighted_low_rank_options&);                        \
  RESECT_INSTANCE result<weighted_decomposition<T>> try_weighted_low_rank(                                           \
      B&, matrix_view<T>, const quant::moment_view&, const weighted_low_rank_options&);
namespace RESECT_NAMESPACE::factor {
RESECT_INSTANCES_OF(float, cpu<>)
RESECT_INSTANCES_OF(double, cpu<>)
RESECT_INSTANCES_OF(float, cpu<threads>)
RESECT_INSTANCES_OF(double, cpu<threads>)
}  // namespace RESECT_NAMESPACE::factor
#undef RESECT_INSTANCES_OF
