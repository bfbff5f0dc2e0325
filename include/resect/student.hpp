// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Students: what stands in the place of layers. Closed-form maps of spans from streamed moments, trained blocks, and linear
// probes. What reads or writes files (student/checkpoint.hpp, student/npy_pairs.hpp) is included by name.

#include <resect/student/closed_forms.hpp>
#include <resect/student/head_agreement.hpp>
#include <resect/student/host_block.hpp>
#include <resect/student/probe.hpp>
#include <resect/student/trained_span.hpp>
#include <resect/student/trainer.hpp>
#include <resect/student/verdict.hpp>
