// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Norms, Jacobi, Cholesky and triangular solves, symmetric eigenvalues, orthonormal bases: drivers over a backend.
#include <resect/linalg/jacobi.hpp>
#include <resect/linalg/norms.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/linalg/symmetric_eigen.hpp>
#include <resect/linalg/triangular.hpp>
