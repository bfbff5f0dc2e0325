// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Everything that needs the standard library only. Backends are included by the user:
// <resect/backend/cpu.hpp> (Eigen).
#include <resect/core/error.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/result.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/cosine.hpp>
#include <resect/metrics/logits.hpp>
#include <resect/metrics/marks.hpp>
#include <resect/metrics/nll.hpp>
#include <resect/metrics/norm_profile.hpp>
#include <resect/metrics/rank.hpp>
#include <resect/metrics/two_way.hpp>
#include <resect/metrics/wilson.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/sensitivity.hpp>
