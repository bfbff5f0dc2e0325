// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <resect/conformance/decoding.hpp>
#include <resect/conformance/delta_writes.hpp>
#include <resect/conformance/level.hpp>
#include <resect/conformance/products.hpp>
#include <resect/conformance/states.hpp>
#include <resect/conformance/surgery.hpp>

namespace RESECT_NAMESPACE::conformance {

namespace detail {

inline status check_conformance_batch(const model_desc& m, batch_view batch, const conformance_options& o) noexcept {
  if (m.n_layers < 1 || m.d_model < 1 || m.n_vocab < 2)
    return error{errc::invalid_argument, "model of the host",
                 text(m.n_layers, " layers, width ", m.d_model, ", ", m.n_vocab, " tokens"),
                 "1 layer or more, width 1 or more, 2 tokens or more"};
  if (!(o.rounding >= 0.0) || !(o.identity >= 0.0))
    return error{errc::invalid_argument, "tolerances", text(o.rounding, ", ", o.identity), "0 or more"};
  index_t most = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const bool begins = i == 0 || batch[i - 1].seq != batch[i].seq;
    const std::int32_t pos = begins ? 0 : batch[i - 1].pos + 1;
    if (batch[i].pos != pos || batch[i].seq < 0 || batch[i].seq > (1 << 29))
      return error{errc::invalid_argument, text("row ", i, " of the batch"),
                   text("sequence ", batch[i].seq, ", position ", batch[i].pos),
                   text("position ", pos, ", sequences in [0, 2^29]")};
    if (begins)
      for (std::size_t j = 0; j < i; ++j)
        if (batch[j].seq == batch[i].seq)
          return error{errc::invalid_argument, text("rows of sequence ", batch[i].seq), "apart from each other",
                       "rows next to each other"};
    if (batch[i].token < 0 || batch[i].token >= m.n_vocab || (batch[i].flags & row_meta::pad) != 0)
      return error{errc::invalid_argument, text("token of row ", i), text(batch[i].token),
                   text("an id below ", m.n_vocab, ", no pad")};
    most = std::max<index_t>(most, pos + 1);
  }
  if (!batch.empty() && most < 3)
    return error{errc::shape_mismatch, "longest sequence of the batch", text(most), "3 rows or more"};
  return {};
}

}  // namespace detail

// Runs the conformance checks T0 to T8 on a host and returns the certificate. The batch holds whole texts (from
// position 0; the suite asks for the logits of every row); an empty batch stands for generated sequences of 7, 1, 11
// and 4 random tokens.
//   T0 looking changes nothing            T3 a layer spliced in for itself is the layer    T6 batch invariance
//   T1 sites are what they are called     T4 row map, causality, isolation                 T7 determinism
//   T2 what is written is what is read    T5 prefill = decode, also under a plan           T8 NaN is seen
// Reads and writes at sites are tested in whole passes, in partial passes, with few rows that want logits, and in
// passes that continue a cache. Larger batches and longer sequences are not tested (attention with a window, batches
// that a host splits): before a study, run the suite on a batch of the study's size. Checks above the host's level
// are not in the certificate; checks without a site in the host are "not applicable", with the reason. The tolerance
// is 0 where the concept promises the same bits, and options.rounding (relative to the largest logit of the text)
// where two computations may round differently. A host whose cache or activations are narrower than fp32 fails with
// the default tolerance; pass a larger one. An error or exception of the host becomes a failed check. The suite
// forgets all sequences of the batch and those with larger numbers.
// Cost: about 18·layers + 170 passes of the batch, many of them in parts; the records of a few passes are held in
// memory (rows · layers · sites · d_model floats each). options.layers = n limits the checks of single layers to n
// layers: 18·n + 170. Hosts that hide resid_mid: 6·n more; a product_host: 24·min(n, 4) + 3 more.
// Deterministic. Errors: invalid_argument and shape_mismatch for a batch or options that break the rules above.
template <observable_host H, bool Catches = RESECT_EXCEPTIONS>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
result<certificate> try_conformance(H& host, batch_view batch, const conformance_options& options = {}) {
  const model_desc& m = host.describe();
  if (auto s = detail::check_conformance_batch(m, batch, options); !s) return s.error();
  auto rows =
      batch.empty() ? conformance::default_batch(m, options.seed) : std::vector<row_meta>(batch.begin(), batch.end());
  certificate out;
  out.host = options.host.empty() ? short_text<64>{m.name.view()} : options.host;
  out.model = m.name.view();
  out.model_fingerprint = m.fingerprint;
  out.level = level_of<H>();
  if (out.level != host_level::surgery)
    out.missing = missing_member<H>(out.level == host_level::observe ? host_level::edit : host_level::surgery);
  fingerprint f;
  for (const row_meta& row : rows)
    f.add(row.place().key()).add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(row.token)));
  out.batch_fingerprint = f.value();
  out.rows = static_cast<index_t>(rows.size());
  out.longest = conformance::longest(rows);

  conformance::bench<H, Catches> b(host, options, std::move(rows));
  b.run("T0", "try_forward runs the batch and returns finite logits", "errors", 0.0, [&](check&) -> status {
    for (auto [text_, to] : {std::pair{&b.batch, &b.base}, std::pair{&b.other, &b.base_other}}) {
      auto pass = b.fresh(*text_);
      if (!pass) return pass.error();
      *to = std::move(*pass);
    }
    b.scale = std::max(conformance::largest(b.base.logits), 1e-30);
    return conformance::all_finite(b.base.logits)
               ? status{}
               : error{errc::not_finite, "logits of the batch", "NaN or infinity", "finite values"};
  });
  if (b.checks.back().result == verdict::pass) {
    b.run("T0.d", "The host has the level that options.level asks for", "levels below it", 0.0,
          [&](check& c) -> status {
            c.measured = std::max(0, static_cast<int>(options.level) - static_cast<int>(out.level));
            if (c.measured > 0)
              c.note = text<200>("level ", name(out.level), ", wanted ", name(options.level), ": ",
                                 missing_member<H>(options.level), " is missing");
            return {};
          });
    constexpr bool edits = editable_host<H>, cuts = surgical_host<H>;
    conformance::observer_effect(b);
    if constexpr (edits) conformance::editor_effect(b);
    if constexpr (cuts) conformance::partial_passes(b);
    conformance::site_identities(b);
    if constexpr (edits) conformance::write_sticks(b);
    if constexpr (edits) conformance::delta_writes_stick(b);
    if constexpr (cuts) conformance::weights_stick(b);
    if constexpr (product_host<H>) conformance::products_stick(b);
    if constexpr (cuts) conformance::states_show(b);
    if constexpr (cuts) conformance::states_stick(b);
    if constexpr (cuts) conformance::identity_splice(b);
    conformance::row_map(b);
    conformance::prefill_is_decode(b);
    conformance::batch_invariance(b);
    if constexpr (edits) conformance::pads_are_ignored(b);
    conformance::determinism(b);
    if constexpr (cuts) conformance::partial_determinism(b);
    if constexpr (edits) conformance::not_finite_is_seen(b);
    std::stable_sort(b.checks.begin(), b.checks.end(),
                     [](const check& x, const check& y) { return x.id.view() < y.id.view(); });
  }
  b.forget_all();
  out.checks = std::move(b.checks);
  return out;
}

// The checks on the generated batch.
template <observable_host H, bool Catches = RESECT_EXCEPTIONS>
result<certificate> try_conformance(H& host, const conformance_options& options = {}) {
  return try_conformance<H, Catches>(host, batch_view{}, options);
}

#if RESECT_EXCEPTIONS
// The certificate of a host on a batch; throws the error of try_conformance.
template <observable_host H>
certificate conformance_of(H& host, batch_view batch, const conformance_options& options = {}) {
  return value_or_throw(try_conformance(host, batch, options));
}
// The certificate of a host on the generated batch.
template <observable_host H>
certificate conformance_of(H& host, const conformance_options& options = {}) {
  return value_or_throw(try_conformance(host, batch_view{}, options));
}
#endif

}  // namespace RESECT_NAMESPACE::conformance
