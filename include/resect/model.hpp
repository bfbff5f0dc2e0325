// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sites, rows, weights, the concepts of hosts, hosts of small number types.
#include <resect/model/host.hpp>
#include <resect/model/row.hpp>
#include <resect/model/site.hpp>
#include <resect/model/weight.hpp>
#include <resect/model/widened_host.hpp>
