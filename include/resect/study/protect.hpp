// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The search for the layers that have to stay intact: an objective with noise, searches on one half of the items, a verdict
// on the other.
#include <resect/study/protect/confirm.hpp>
#include <resect/study/protect/greedy.hpp>
#include <resect/study/protect/random_masks.hpp>
#include <resect/study/protect/screening.hpp>
#include <resect/study/protect/suffix.hpp>
