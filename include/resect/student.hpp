// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Students: what stands in the place of layers. Closed-form maps of spans from streamed moments, and linear probes.

#include <resect/student/closed_forms.hpp>
#include <resect/student/probe.hpp>
