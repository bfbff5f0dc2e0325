// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a host really does (T0 to T8), and how fast it is.
#include <resect/conformance/bench.hpp>
#include <resect/conformance/certificate.hpp>
#include <resect/conformance/decoding.hpp>
#include <resect/conformance/editing.hpp>
#include <resect/conformance/observing.hpp>
#include <resect/conformance/probe.hpp>
#include <resect/conformance/states.hpp>
#include <resect/conformance/suite.hpp>
#include <resect/conformance/surgery.hpp>
#include <resect/conformance/words.hpp>
