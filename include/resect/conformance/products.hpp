// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/conformance/decoding.hpp>
#include <resect/conformance/surgery.hpp>

// T2.m to T2.o: products that a function computes in the host's place, in every kind of pass.
namespace RESECT_NAMESPACE::conformance {

// The kinds of pass in which a product is overridden.
enum class pass_kind : std::uint8_t { whole, partial, continued };
// Every pass_kind.
inline constexpr pass_kind all_pass_kinds[] = {pass_kind::whole, pass_kind::partial, pass_kind::continued};

// A kind of pass as notes of checks call it.
constexpr std::string_view name(pass_kind k) noexcept {
  return k == pass_kind::whole ? "a whole pass" : k == pass_kind::partial ? "try_run" : "a pass that continues a cache";
}

// Logits of the text by one kind of pass, without callbacks.
template <class H>
result<record> logits_by(bench<H>& b, pass_kind how) {
  if (how == pass_kind::partial) return b.by_state(b.batch);
  if (how == pass_kind::whole) return b.fresh(b.batch, site_set{});
  record out;
  const auto s = each_part(b, in_chunks[0], [&](const std::vector<row_meta>& rows) -> status {
    auto part = b.pass(rows, site_set{});
    if (!part) return part.error();
    out.vocab = part->vocab;
    out.asked.insert(out.asked.end(), part->asked.begin(), part->asked.end());
    out.logits.insert(out.logits.end(), part->logits.begin(), part->logits.end());
    return {};
  });
  b.forget(b.batch);
  if (!s) return s.error();
  return out;
}

// Whether a weight is a matrix: biases and norm gains have no product.
constexpr bool is_matrix(const weight_desc& w) noexcept { return w.role == weight_role::matrix; }

// Overrides of the products of a layer's matrices by f(weight, x, y, own), which end in reverse order, and how often
// each of them was called. The counts belong to the functions: a host that keeps a function after its guard ended calls it.
template <class H>
class counted_products {
 public:
  counted_products() = default;
  counted_products(const counted_products&) = delete;
  counted_products& operator=(const counted_products&) = delete;
  ~counted_products() { release(); }

  template <class F>
  status hold(bench<H>& b, int layer, F f) {
    for (const weight_desc& w : b.host.weights(layer)) {
      if (!is_matrix(w)) continue;
      const auto of_weight = std::make_shared<counted>(counted{w, 0});
      counts_.push_back(of_weight);
      auto guard = b.host.try_override_product(w, [of_weight, f](const weight_desc& of, matrix_view<const float> x,
                                                                 matrix_view<float> y, own_product<float> own) {
        ++of_weight->calls;
        return f(of, x, y, own);
      });
      if (!guard) return guard.error();
      guards_.push_back(std::move(*guard));
    }
    return {};
  }
  void release() {
    while (!guards_.empty()) guards_.pop_back();
  }
  // A product that the pass did not call, or that it called after its guard had ended, is wrong in any tolerance.
  void check_calls(check& c, pass_kind how) {
    for (const auto& of_weight : counts_) {
      auto& [w, calls] = *of_weight;
      if ((calls > 0) == guards_.empty()) {
        if (c.note.empty())
          c.note =
              text<200>("the function for ", w.name.view(),
                        guards_.empty() ? " is called after its guard ended, in " : " is not called in ", name(how));
        worst{c}.see(wrong, site::resid_post, w.layer, nowhere);
      }
      calls = 0;
    }
  }

 private:
  struct counted {
    weight_desc weight;
    int calls = 0;
  };
  std::vector<std::shared_ptr<counted>> counts_;
  std::vector<typename H::product_override> guards_;
};

// f(layer) → status for the layers that are visited, four at most.
template <class H, class F>
status some_layers(const bench<H>& b, F f) {
  const std::size_t n = b.layers.size(), some = std::min<std::size_t>(n, 4);
  for (std::size_t i = 0; i < some; ++i)
    if (auto s = f(b.layers[some == 1 ? 0 : i * (n - 1) / (some - 1)]); !s) return s;
  return {};
}

// Every kind of pass while the products of a layer are f's, against want(kind); scale 1 asks for the same bits.
template <class H, class F>
status check_products(bench<H>& b, check& c, int layer, double scale, const std::vector<record>& want, F f) {
  counted_products<H> products;
  if (auto s = products.hold(b, layer, f); !s) return s;
  for (const bool held : {true, false}) {
    if (!held) products.release();
    for (const pass_kind how : all_pass_kinds) {
      auto got = logits_by(b, how);
      if (!got) return got.error();
      products.check_calls(c, how);
      if (held) compare_logits(worst{c}, *got, want[static_cast<std::size_t>(how)], scale, site::resid_post, layer);
    }
  }
  return {};
}

// Logits of the text by every kind of pass, in the order of all_pass_kinds.
template <class H>
result<std::vector<record>> logits_by_every_pass(bench<H>& b) {
  std::vector<record> out;
  for (const pass_kind how : all_pass_kinds) {
    auto got = logits_by(b, how);
    if (!got) return got.error();
    out.push_back(std::move(*got));
  }
  return out;
}

// Of a product_host: the host's own product in its own place, the same under another matrix, and x·Wᵀ by plain sums.
template <class H>
void products_stick(bench<H>& b) {
  const auto own = [](const weight_desc&, matrix_view<const float> x, matrix_view<float> y,
                      own_product<float> product) { return product(x, y); };
  b.run("T2.m", "try_override_product by the host's own product changes no logit", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          auto want = logits_by_every_pass(b);
          if (!want) return want.error();
          return some_layers(b, [&](int l) { return check_products(b, c, l, 1.0, *want, own); });
        });
  b.run("T2.n", "the own product in try_override_product reads the weights that are overridden",
        "logits: largest |difference|", 0.0, [&](check& c) -> status {
          return some_layers(b, [&](int l) -> status {
            held_weights<H> weights;
            if (auto s = override_layer(b, l, 1.0f, 0.25, is_matrix, weights); !s) return s;
            auto want = logits_by_every_pass(b);
            if (!want) return want.error();
            return check_products(b, c, l, 1.0, *want, own);
          });
        });
  b.run("T2.o", "try_override_product by a matrix gives try_override_weight's logits", "logits: relative difference",
        b.o.rounding, [&](check& c) -> status {
          return some_layers(b, [&](int l) -> status {
            auto drawn = drawn_layer(b, l, 1.0f, 0.25, is_matrix);
            if (!drawn) return drawn.error();
            result<std::vector<record>> want = std::vector<record>{};
            {
              held_weights<H> weights;
              if (auto s = hold_weights(b, *drawn, weights); !s) return s;
              want = logits_by_every_pass(b);
              if (!want) return want.error();
            }
            const auto matrices = std::make_shared<const std::vector<weight_values>>(std::move(*drawn));
            double scale = b.scale;
            for (const record& r : *want) scale = std::max(scale, largest(r.logits));
            return check_products(b, c, l, scale, *want,
                                  [matrices](const weight_desc& of, matrix_view<const float> x, matrix_view<float> y,
                                             own_product<float>) -> status {
                                    for (const weight_values& w : *matrices)
                                      if (w.weight.id == of.id && w.weight.layer == of.layer) return multiply(x, w, y);
                                    return error{errc::invalid_argument, "weight of the product", of.name.view(),
                                                 "a matrix"};
                                  });
          });
        });
}

}  // namespace RESECT_NAMESPACE::conformance
