// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <study/report/record.hpp>

// The panels of a record as one picture, two side by side.
namespace studies {

std::string panel_file(std::size_t panel);

// A block for each curve: x, value, both ends of the interval (the value itself where there is none).
std::string panel_data(const panel_record& panel);

std::string panels_script(const study_record& r);

}  // namespace studies
