// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <resect/study/arm.hpp>
#include <resect/study/runner.hpp>
#include <resect/study/windows.hpp>
#include <study/io/roles.hpp>

namespace CLI {
class App;
}

// A recipe of the program `study`: what it alters, and what it asks the command line for.
namespace studies {

class bench;

// What the command line says to every recipe.
struct common_options {
  std::string recipe;  // empty where none is named
  std::vector<std::string> models, model_names;
  std::vector<std::string> texts, ids;
  role_sources roles;
  std::optional<std::string> layers;
  resect::study::window_options windows;
  std::uint64_t seed = 1;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::string out, command;
  bool quiet = false;
};

// Arms that are marked and ranked among each other, and what is said above their table.
struct arm_table {
  std::string name;  // "skip": what reports call the table
  std::string says;  // "the layer is left out"
  std::vector<resect::study::arm> arms = {};
  bool control = false;  // checks the study, and is no result of it
};

// One entry of the program's list. The functions hold the recipe's own options; those that are empty do nothing.
struct recipe {
  std::string name;
  std::string says;                   // what it does, as a list of recipes and the page say it
  std::vector<role> roles = {};       // texts that it may ask for, beside the evaluated one
  int models = 1;                     // how many it studies at once
  resect::index_t windows = 32;       // of the small model, evaluated by default (of another model 32)
  resect::index_t role_windows = 0;   // of each role, at least, where the text has them; else as many as are evaluated
  resect::index_t train_windows = 0;  // of role::train; 0: as of the others
  std::function<void(CLI::App&)> declare = {};                 // its own options
  std::function<void(const common_options&)> accept = {};      // what was given, before anything is read
  std::function<bool(role)> needs = {};                        // which of its roles, with these options; empty: all
  std::function<void(bench&)> check = {};                      // the options against the models
  std::function<resect::study::study_cost(bench&)> cost = {};  // of `run`, the intact model's pass included
  std::function<void(bench&)> run = {};                        // measures, and adds tables to the record
};

// A recipe that only lists arms.
recipe of_arms(std::string name, std::string says, std::function<std::vector<arm_table>(bench&)> arms);

// Every recipe that the program knows; the first is the default.
std::vector<recipe> all_recipes();

}  // namespace studies
