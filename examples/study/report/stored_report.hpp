// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/json.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <study/io/input.hpp>
#include <study/report/record.hpp>

// A study as read_report gives it back, and the fields that it is read from.
namespace studies {

constexpr const char* measure_names[] = {"kl", "top1_agreement", "dlnppl", "cosine_head_norm"};
constexpr std::size_t n_measures = 4;

// One altered model: the sums of its four measures, in the order of measure_names.
using run_sums = std::vector<resect::metrics::clustered_sums>;

struct stored_row {
  int layer = 0;
  std::vector<std::int64_t> seeds;  // empty where nothing is drawn
  std::vector<run_sums> runs;       // one a seed, or one
};

struct stored_table {
  std::string alteration;
  std::vector<stored_row> rows;  // by layer
};

// A way to store matrices: what the report says of it. Empty where an older report says nothing.
struct stored_method {
  std::string alteration, description, fingerprint, options;
};

struct stored_report {
  std::string path, clusters;  // of report.json and of clusters.npz
  std::string command;
  model_record model;
  text_record text;
  windows_record evaluation, calibration;
  std::string cluster;  // "document" or "window"
  std::uint64_t seed = 0;
  std::int64_t bootstrap = 0;
  std::string reinit;                   // gains and standard deviation, as they stand in the report
  resect::metrics::clustered_sums nll;  // of the intact model
  std::vector<std::int64_t> cluster_ids, window_starts;
  std::vector<stored_table> tables;
  std::vector<stored_method> methods;  // of the tables that compress
  nlohmann::json numbers;              // every number of report.json by its place ("/rows/0/metrics/kl/value")
};

namespace detail {

// The fields of a JSON object by name; what is missing or of another type is an error that says where.
class fields {
 public:
  using json = nlohmann::json;

  fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) refuse("", object.type_name(), "an object");
  }

  bool has(const char* key) const { return object_.contains(key); }
  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) refuse(key, "nothing", "a value");
    return *found;
  }
  fields object(const char* key) const { return {at(key), where_ + "." + key}; }
  const json& array(const char* key) const {
    const json& v = at(key);
    if (!v.is_array()) refuse(key, v.type_name(), "an array");
    return v;
  }
  std::string text(const char* key) const {
    const json& v = at(key);
    if (!v.is_string()) refuse(key, v.type_name(), "a string");
    return v.get<std::string>();
  }
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const {
    const json& v = at(key);
    if (!v.is_number_integer()) refuse(key, v.is_number() ? "a number with a fraction" : v.type_name(), "an integer");
    const bool too_large = v.is_number_unsigned() && v.get<std::uint64_t>() > static_cast<std::uint64_t>(high);
    const std::int64_t value = too_large ? high : v.get<std::int64_t>();
    if (too_large || value < low || value > high) refuse(key, v.dump(), resect::text(low, " to ", high).view());
    return value;
  }
  double number(const char* key) const {
    const json& v = at(key);
    if (!v.is_number()) refuse(key, v.type_name(), "a number");
    return v.get<double>();
  }

  [[noreturn]] void refuse(std::string_view key, std::string_view got, std::string_view wanted) const {
    fail(
        {resect::errc::malformed, resect::text(where_, key.empty() ? "" : ".", key), hosts::shown(got).view(), wanted});
  }

 private:
  const json& object_;
  std::string where_;
};

constexpr std::int64_t whole = std::int64_t{1} << 53;  // above, a JSON number is not exact everywhere

}  // namespace detail

}  // namespace studies
