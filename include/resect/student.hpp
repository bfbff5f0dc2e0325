// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Students: what stands in the place of layers. Closed-form maps of spans from streamed moments, and linear probes.

#include <resect/student/closed_form/affine.hpp>
#include <resect/student/closed_form/channel.hpp>
#include <resect/student/closed_form/cosine.hpp>
#include <resect/student/closed_form/linear_patch.hpp>
#include <resect/student/closed_form/reduced_rank.hpp>
#include <resect/student/closed_form/scalar.hpp>
#include <resect/student/gather_moments.hpp>
#include <resect/student/probe.hpp>
#include <resect/student/span_map.hpp>
