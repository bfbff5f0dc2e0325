// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <study/report/record.hpp>

// KL against stored bits a weight: the picture of recipes whose rows are ways to store the same matrices.
namespace studies {

// Whether the first table is one of these: its rows have the numbers bits_per_weight and calibrated (0, 1).
bool compares_bits(const study_record& r);

// The series of a picture, a block each: bits a weight, KL with interval; at the end the least KL of those without data.
std::string bits_data(const study_record& r);
std::string bits_script(const study_record& r);

}  // namespace studies
