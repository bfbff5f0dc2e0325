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
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/disjoint.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/kl_profile.hpp>
#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/paired_tokens.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/accumulators/relative_error.hpp>
#include <resect/metrics/accumulators/top_k.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/rows/row_products.hpp>
#include <resect/metrics/rows/sharded.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/metrics/similarity/cosine_profile.hpp>
#include <resect/metrics/verdicts/marks.hpp>
#include <resect/metrics/verdicts/rank.hpp>
#include <resect/quant.hpp>
#include <resect/quant/grid_detector.hpp>
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
