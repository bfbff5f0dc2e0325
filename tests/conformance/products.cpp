// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/conformance/products.hpp>

#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/forwarding_host.hpp>
#include <support/runs.hpp>

#include <resect/core/float16.hpp>

using namespace resect::conformance;
using namespace support;

namespace {

using llama = hosts::llama_host;

enum class product_fault { none, is_not_called, acts_in_partial_passes, outlives_its_guard, hands_out_bf16 };

// The example runtime, whose overrides of products are wrong in one place.
class product_fault_host : public forwarding_surgical_host<llama> {
 public:
  using weight_override = llama::weight_override;
  using product_override = std::vector<llama::product_override>;  // of one, or of none
  using product = resect::model::product_function<float>;

  product_fault_host(llama& host, product_fault f) : forwarding_surgical_host<llama>(host), fault_(f) {}

  resect::status try_forward(batch_view b, resect::model::site_set want, resect::model::observer<float> look) {
    return resect::model::try_observe(*this, b, want, look);
  }
  resect::status try_forward(batch_view b, const float_hooks& k) {
    whole_ = true;
    auto s = host_.try_forward(b, k);
    whole_ = false;
    return s;
  }
  resect::status try_run(state& s, int first, int last, const float_hooks& k) {
    return host_.try_run(s, first, last, k);
  }
  resect::result<weight_override> try_override_weight(const weight_desc& w, resect::matrix_view<const float> values) {
    return host_.try_override_weight(w, values);
  }
  resect::result<product_override> try_override_product(const weight_desc& w, product f) {
    product_override out;
    if (fault_ == product_fault::is_not_called) return out;
    auto guard = host_.try_override_product(
        w,
        [this, f](const weight_desc& of, resect::matrix_view<const float> x, float_view y,
                  resect::model::own_product<float> own) -> resect::status {
          if (whole_ && fault_ == product_fault::acts_in_partial_passes) return own(x, y);
          const auto rounded = [&](resect::matrix_view<const float> in, float_view to) {
            auto s = own(in, to);
            for (resect::index_t r = 0; r < to.rows; ++r)
              for (resect::index_t c = 0; c < to.cols; ++c) to(r, c) = static_cast<float>(resect::bf16{to(r, c)});
            return s;
          };
          return fault_ == product_fault::hands_out_bf16 ? f(of, x, y, rounded) : f(of, x, y, own);
        });
    if (!guard) return guard.error();
    auto& keeper = fault_ == product_fault::outlives_its_guard ? kept_ : out;
    keeper.push_back(std::move(*guard));
    return out;
  }

 private:
  product_fault fault_;
  bool whole_ = false;
  product_override kept_;
};
static_assert(resect::model::product_host<product_fault_host>);

struct verdicts {
  std::set<std::string> passed;
  std::string first_note;
};

verdicts of(product_fault f) {
  llama_setting s;
  product_fault_host host(s.host, f);
  bench<product_fault_host> b(host, {.layers = 1}, s.batch);
  b.base = value_or_throw(b.fresh(b.batch));
  b.scale = resect::conformance::largest(b.base.logits);
  products_stick(b);
  verdicts out;
  for (const check& c : b.checks) {
    if (c.result == verdict::pass) out.passed.emplace(c.id.view());
    else if (out.first_note.empty()) out.first_note = c.note.view();
  }
  return out;
}

}  // namespace

TEST_CASE("checks of overridden products pass a right host and tell what a wrong one does") {
  CHECK(of(product_fault::none).passed == std::set<std::string>{"T2.m", "T2.n", "T2.o"});
  for (const auto& [what, note] :
       {std::pair{product_fault::is_not_called, "the function for attn.q is not called in a whole pass"},
        {product_fault::acts_in_partial_passes, "the function for attn.q is not called in a whole pass"},
        {product_fault::outlives_its_guard,
         "the function for attn.q is called after its guard ended, in a whole pass"}}) {
    const auto v = of(what);
    CHECK(v.passed.empty());
    CHECK(v.first_note == note);
  }
}

TEST_CASE("an own product that is not the host's own fails the checks of bits, and no other") {
  CHECK(of(product_fault::hands_out_bf16).passed == std::set<std::string>{"T2.o"});
}
