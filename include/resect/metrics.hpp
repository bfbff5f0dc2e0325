// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What is measured while a model runs: kernels on rows, the accumulators that take them, and estimates. What looks at whole
// tables afterwards comes by name: the bootstrap (intervals/), CKA, ranks and angles of subspaces (similarity/), and marks,
// tests and causal tables (verdicts/).
#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/rows/row_products.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <resect/metrics/similarity/cosine_profile.hpp>
