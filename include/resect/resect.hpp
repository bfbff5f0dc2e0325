// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Everything that needs the standard library only. Backends are included by the user:
// <resect/backend/cpu.hpp> (Eigen), <resect/backend/cblas.hpp> (any BLAS with LAPACK). What few programs need is left to
// them too: bootstrap, CKA, sketches, the conformance suite, hosts of f16 and bf16, factorizations, the compression study.
#include <resect/core/adapt.hpp>
#include <resect/core/error.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/result.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/accuracy.hpp>
#include <resect/metrics/cosine.hpp>
#include <resect/metrics/cosine_profile.hpp>
#include <resect/metrics/disjoint.hpp>
#include <resect/metrics/explained_variance.hpp>
#include <resect/metrics/kl_profile.hpp>
#include <resect/metrics/logits.hpp>
#include <resect/metrics/marks.hpp>
#include <resect/metrics/nll.hpp>
#include <resect/metrics/norm_profile.hpp>
#include <resect/metrics/paired_tokens.hpp>
#include <resect/metrics/rank.hpp>
#include <resect/metrics/relative_error.hpp>
#include <resect/metrics/row_products.hpp>
#include <resect/metrics/sharded.hpp>
#include <resect/metrics/top_k.hpp>
#include <resect/metrics/two_way.hpp>
#include <resect/metrics/wilson.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/random/distributions.hpp>
#include <resect/random/rademacher.hpp>
#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/residual/select.hpp>
#include <resect/residual/steer.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/sensitivity.hpp>
