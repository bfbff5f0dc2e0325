// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <resect/core/executor.hpp>
#include <resect/core/fields.hpp>
#include <resect/core/shared_count.hpp>
#include <resect/residual/words.hpp>

// Operators as named values, and `operation`, which holds any of them.
namespace RESECT_NAMESPACE::residual {

// What an operator is applied to.
enum class form : std::uint8_t {
  rows,      // the rows at one site of each layer
  block,     // a layer's input and output; decides the output
  replace,   // the input of a range of layers, in place of the whole range
  weights,   // the values of each layer's weights
  products,  // the products with each layer's weights (a product_host)
};

// What a plan must know of an operator besides what it computes.
struct operator_facts {
  form what = form::rows;
  bool overwrites = false;      // does not use the old rows: at most one such step a place
  bool reads_output = true;     // block: needs the layer to run; false lets a host leave it out
  bool reads_original = false;  // norm matching: needs the rows from before the step
  bool checks_rows = false;     // has check_row
  site_set sites = {};          // rows: the sites at which the operator has a meaning; empty: all sites of layers
  index_t width = 0;            // columns that the operator expects, 0 for any
  std::uint64_t model = 0;      // fingerprint of the model that its values were measured on, 0 for any or unknown
};

// The answer of an operator on one weight: true if it wrote other values, false if it kept them, or an error.
class weight_change {
 public:
  template <std::same_as<bool> B>
  weight_change(B changed) noexcept : changed_(changed) {}
  weight_change(const resect::error& e) noexcept : outcome_(e) {}

  explicit operator bool() const noexcept { return changed_; }
  const status& outcome() const noexcept { return outcome_; }

 private:
  status outcome_;
  bool changed_ = false;
};

// An operator has an identity: `id`, a literal of the form "project.name/revision" whose revision rises when results
// change, and `fields(visitor)`, which lists every value that changes the result. It has one of
//   status apply(const tap&, matrix_view<const float> in, matrix_view<float> inout) const
//       rows: changes the rows inout; `in` is empty. block: in is h_l; inout holds h_{l+1}, or h_l where
//       reads_output is false. replace: in is h_i; inout holds h_i, too, and is to hold h_j. A row of the result
//       depends on this row and its meta data alone, so that the rows may come in any company and order. Within a pass
//       it takes working memory from tap.memory alone.
//   weight_change change(const weight_desc&, matrix_view<float> values, executor_ref) const
//       changes the values (row-major) of one weight, or returns false
//   status product(const weight_desc&, matrix_view<const float> x, matrix_view<float> y, own_product<float>) const
//       writes y in place of the host's own product of x with the weight
// and may have
//   operator_facts facts() const          the default: edits rows
//   status check() const                  an error in its own parameters; plans refuse the operator then
//   status check_row(int layer, const row_meta&) const noexcept   an error where it cannot act on a row (a place
//       without a source row); passes ask before they run
template <class O>
concept named_operator = requires(const O& o, field_visitor& v) {
  { o.id } -> std::convertible_to<std::string_view>;
  o.fields(v);
} && (requires(const O& o, const tap& at, matrix_view<const float> in, matrix_view<float> h) {
                           { o.apply(at, in, h) } -> std::same_as<status>;
                         } || requires(const O& o, const weight_desc& w, matrix_view<float> values, executor_ref exec) {
                           { o.change(w, values, exec) } -> std::same_as<weight_change>;
                         } || requires(const O& o, const weight_desc& w, matrix_view<const float> x, matrix_view<float> y,
                                       own_product<float> own) {
                           { o.product(w, x, y, own) } -> std::same_as<status>;
                         });

// "resect.skip/1" → "skip", the name of an operator in errors and tables; another project's id loses its revision alone.
constexpr std::string_view plain_name(std::string_view id) noexcept {
  constexpr std::string_view own = "resect.";
  if (id.substr(0, own.size()) == own) id.remove_prefix(own.size());
  const auto revision = id.rfind('/');
  return revision == std::string_view::npos ? id : id.substr(0, revision);
}

// One shared, immutable operator of any type. Copies share it; calls are const and may run on many threads. A device
// backend, a fuser or a serializer looks in by id: `if (auto* o = op.as<operators::zero_stream>()) …`.
class operation {
 public:
  operation() noexcept = default;
  template <class O>
    requires(!std::same_as<O, operation> && named_operator<O>)
  operation(O o) : node_(new holder<O>(std::move(o))) {}

  operation(const operation& other) noexcept : node_(other.node_) {
    if (node_) node_->references.add();
  }
  operation(operation&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  operation& operator=(operation other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~operation() {
    if (node_ && node_->references.take_one() == 0) delete node_;
  }

  explicit operator bool() const noexcept { return node_ != nullptr; }
  std::string_view id() const noexcept { return node_ ? node_->id : std::string_view{}; }
  // The hash of all fields.
  std::uint64_t hash() const noexcept { return node_ ? node_->hash : 0; }
  const operator_facts& facts() const noexcept { return node_ ? node_->facts : no_facts; }

  void fields(field_visitor& v) const {
    if (node_) node_->fields(v);
  }
  status check() const { return node_ ? node_->check() : status{}; }
  status check_row(int layer, const row_meta& row) const noexcept { return node_->check_row(layer, row); }

  // Whether both have one id and the same fields, by their hashes (chance of an error 2⁻⁶⁴).
  friend bool operator==(const operation& a, const operation& b) noexcept {
    return a.id() == b.id() && a.hash() == b.hash();
  }

  // The members of the operator; of one that lacks the member the error is unsupported.
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> inout) const {
    return node_->apply(at, in, inout);
  }
  weight_change change(const weight_desc& w, matrix_view<float> values, executor_ref exec) const {
    return node_->change(w, values, exec);
  }
  status product(const weight_desc& w, matrix_view<const float> x, matrix_view<float> y, own_product<float> own) const {
    return node_->product(w, x, y, own);
  }
  // Whether the operator has the member that this form calls.
  bool has(form f) const noexcept {
    return node_ && (f == form::weights ? node_->changes : f == form::products ? node_->multiplies : node_->applies);
  }

  // The operator, if its id and size are those of O; else null. Types with one id must be one type, so the id of a template
  // over a user's types is no constant, and such an operator is not looked into.
  template <class O>
    requires(!std::string_view{O::id}.empty())
  const O* as() const noexcept {
    return id() == O::id && node_->size == sizeof(O) ? static_cast<const O*>(node_->object()) : nullptr;
  }

 private:
  struct node {
    std::string_view id;
    std::uint64_t hash = 0;
    operator_facts facts;
    std::size_t size = 0;
    bool applies = false, changes = false, multiplies = false;
    shared_count references{1};

    virtual ~node() = default;
    virtual const void* object() const noexcept = 0;
    virtual void fields(field_visitor&) const = 0;
    virtual status check() const { return {}; }
    virtual status check_row(int, const row_meta&) const noexcept { return {}; }
    virtual status apply(const tap&, matrix_view<const float>, matrix_view<float>) const { return lacks("apply"); }
    virtual weight_change change(const weight_desc&, matrix_view<float>, executor_ref) const {
      return lacks("change").error();
    }
    virtual status product(const weight_desc&, matrix_view<const float>, matrix_view<float>, own_product<float>) const {
      return lacks("product");
    }
    status lacks(const char* member) const noexcept {
      return error{errc::unsupported, plain_name(id), text("an operator without `", member, "`"), "one that has it"};
    }
  };

  template <class O>
  struct holder final : node {
    explicit holder(O&& o) : object_(std::move(o)) {
      field_hash h;
      object_.fields(h);
      this->id = object_.id;
      this->hash = h.value();
      this->size = sizeof(O);
      if constexpr (requires { object_.facts(); }) this->facts = object_.facts();
      if constexpr (requires(const row_meta& row) { object_.check_row(0, row); }) this->facts.checks_rows = true;
      this->applies = applies_rows;
      this->changes = changes_weights;
      this->multiplies = makes_products;
    }
    static constexpr bool applies_rows =
        requires(const O& o, const tap& at, matrix_view<const float> in, matrix_view<float> h) { o.apply(at, in, h); };
    static constexpr bool changes_weights =
        requires(const O& o, const weight_desc& w, matrix_view<float> v, executor_ref e) { o.change(w, v, e); };
    static constexpr bool makes_products =
        requires(const O& o, const weight_desc& w, matrix_view<const float> x, matrix_view<float> y,
                 own_product<float> own) { o.product(w, x, y, own); };

    const void* object() const noexcept override { return &object_; }
    void fields(field_visitor& v) const override { object_.fields(v); }
    status check() const override {
      if constexpr (requires { object_.check(); }) return object_.check();
      else return node::check();
    }
    status check_row(int layer, const row_meta& row) const noexcept override {
      if constexpr (requires { object_.check_row(layer, row); }) return object_.check_row(layer, row);
      else return node::check_row(layer, row);
    }
    status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const override {
      if constexpr (applies_rows) return object_.apply(at, in, h);
      else return node::apply(at, in, h);
    }
    weight_change change(const weight_desc& w, matrix_view<float> values, executor_ref exec) const override {
      if constexpr (changes_weights) return object_.change(w, values, exec);
      else return node::change(w, values, exec);
    }
    status product(const weight_desc& w, matrix_view<const float> x, matrix_view<float> y,
                   own_product<float> own) const override {
      if constexpr (makes_products) return object_.product(w, x, y, own);
      else return node::product(w, x, y, own);
    }
    O object_;
  };

  static constexpr operator_facts no_facts{};

  node* node_ = nullptr;
};

// A user's function with the identity that makes it an operator; `named` makes it.
template <class F>
struct named_function {
  std::string_view id;
  std::uint64_t identity;
  operator_facts about;
  F function;

  static constexpr bool on_rows = std::is_invocable_v<const F&, const tap&, matrix_view<float>>;
  static constexpr bool on_block =
      std::is_invocable_v<const F&, const tap&, matrix_view<const float>, matrix_view<float>>;
  static constexpr bool on_weight = std::is_invocable_v<const F&, const weight_desc&, matrix_view<float>, executor_ref>;

  operator_facts facts() const noexcept { return about; }
  void fields(field_visitor& v) const { v.key("identity", identity); }
  status check() const {
    if (identity != 0) return {};
    return error{errc::invalid_argument, text("identity of ", plain_name(id)), "0",
                 "a number that differs between functions that do different things"};
  }
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const
    requires(on_rows || on_block)
  {
    if constexpr (on_block) return outcome([&] { return function(at, in, h); });
    else return outcome([&] { return function(at, h); });
  }
  weight_change change(const weight_desc& w, matrix_view<float> values, executor_ref exec) const
    requires on_weight
  {
    using returned = decltype(function(w, values, exec));
    if constexpr (std::same_as<returned, weight_change>) {
      return function(w, values, exec);
    } else if constexpr (std::same_as<returned, bool>) {
      return weight_change{function(w, values, exec)};
    } else {
      const status st = outcome([&] { return function(w, values, exec); });
      return st ? weight_change{true} : weight_change{st.error()};
    }
  }

 private:
  template <class Call>
  static status outcome(const Call& call) {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      return {};
    } else {
      return call();
    }
  }
};

// Makes an operator of a function: f(tap, rows) edits rows, f(tap, in, out) a block, f(weight, values, exec) a weight;
// each returns nothing or a status (of a weight also a bool or a weight_change). `id` is a literal of the form
// "project.name/1". `identity` must differ between functions that do different things and is not 0: without it a plan
// could not tell two functions apart, nor a cache two plans.
//   step{layers(2, 5), site::mlp_delta, named("mine.keep_largest/1", count, [count](const tap&, matrix_view<float> d) {…})}
template <class F>
named_function<F> named(std::string_view id, std::uint64_t identity, F f, operator_facts facts = {}) {
  using made = named_function<F>;
  static_assert(made::on_rows || made::on_block || made::on_weight, "f takes (tap, rows), (tap, in, out) or a weight");
  facts.what = made::on_rows ? form::rows : made::on_block ? form::block : form::weights;
  return {id, identity, facts, std::move(f)};
}

}  // namespace RESECT_NAMESPACE::residual
