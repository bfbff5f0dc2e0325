// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/backend/cpu.hpp>

template void resect::detail::gemm_panel<float>(float, resect::matrix_view<const float>,
                                                resect::matrix_view<const float>, resect::matrix_view<float>);
