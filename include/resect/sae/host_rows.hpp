// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include <resect/core/copy.hpp>
#include <resect/model/host.hpp>
#include <resect/sae/row_source.hpp>
#include <resect/student/span_moments.hpp>

// Rows to train on from a model that runs: one pass gives those of all chosen sites.
namespace RESECT_NAMESPACE::sae {

// A place in a model whose rows are coded.
struct model_site {
  int layer = 0;
  model::site where = model::site::resid_post;
  friend bool operator==(const model_site&, const model_site&) = default;
};

// Options of rows from a host.
struct host_rows_options {
  index_t rows_a_pass = 2048;  // about: whole sequences, at least one
  index_t sample_rows = 4096;  // that the limit of massive rows and the mean are taken from, before the first pass
  std::int32_t bos = -1;       // the id that begins a text: rows of it are left out wherever they stand
  std::uint64_t seed = 1;      // of the order of sequences, anew in every epoch; 0: as they stand
};

// The rows of several sites of a host over the sequences of a text (windows.rows of study::token_windows, for one).
//   Left out, at all sites, so that the same row is the same token everywhere: first positions, rows of the BOS, pads, and
//   rows whose norm is above ten medians at one of the sites (student::apart_limit), over the first sample_rows rows of the
//   order; the limit is fixed from there on. counts() says how many.
//   A host of the surgery level stops at the deepest site; another one runs whole passes, and forgets their sequences.
//   Keeps references to the host, and to the rows of the text. Memory: rows_a_pass rows of each site.
//   A pass depends on the cursor alone, the number of the sequence that comes next, over all epochs.
//   Errors of try_make: invalid_argument (no site, one twice, one that does not exist, a sequence that does not begin at
//   position 0, no row that is left); unsupported (the host does not show a site; more than one stream); those of try_pass:
//   not_finite (with site, sequence and position), conflict (a host that shows other rows than the pass has), what the
//   host reports.
template <model::observable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
class host_rows {
 public:
  static result<host_rows> try_make(H& host, std::span<const model_site> sites, model::batch_view sequences,
                                    const host_rows_options& options = {}) {
    host_rows out(host, sites, sequences, options);
    if (auto s = out.check(); !s) return s.error();
    if (auto s = out.cut(); !s) return s.error();
    if (auto s = out.try_sample(); !s) return s.error();
    return out;
  }

  index_t sites() const noexcept { return sites_.size(); }
  const model_site& site(index_t i) const noexcept { return sites_[i]; }
  index_t width(index_t) const noexcept { return width_; }
  index_t rows_a_pass() const noexcept { return most_; }
  std::uint64_t cursor_of_epoch() const noexcept { return static_cast<std::uint64_t>(starts_.size()); }
  std::uint64_t identity() const noexcept { return identity_; }
  std::span<const float> mean(index_t site) const noexcept { return means_[site].span(); }
  const row_counts& counts() const noexcept { return counts_; }
  // Of a row at a site the norm above which it is massive.
  double limit(index_t site) const noexcept { return limits_[site]; }
  matrix_view<const float> rows(index_t site) const noexcept { return at_[site].view().middle_rows(0, batch_.size()); }
  // What the rows of the last pass are.
  model::batch_view tokens() const noexcept { return {batch_.data(), static_cast<std::size_t>(batch_.size())}; }

  result<std::uint64_t> try_pass(std::uint64_t cursor) {
    const auto next = gather(cursor, options_.rows_a_pass);
    if (auto s = try_run(); !s) return s.error();
    if (auto s = filter(); !s) return s.error();
    return next;
  }

 private:
  host_rows(H& host, std::span<const model_site> sites, model::batch_view sequences, const host_rows_options& options)
      : host_(&host), sequences_(sequences), options_(options), width_(host.describe().d_model) {
    for (const model_site& s : sites) sites_.push_back(s);
    at_.resize(sites_.size());
    limits_.assign(sites_.size(), std::numeric_limits<double>::infinity());
  }

  status check() const {
    const model::model_desc& m = host_->describe();
    if (m.n_streams != 1) return error{errc::unsupported, "residual streams of the model", text(m.n_streams), "1"};
    if (sites_.empty()) return error{errc::invalid_argument, "sites of rows", "none", "1 or more"};
    if (options_.rows_a_pass < 1 || options_.sample_rows < 1)
      return error{errc::invalid_argument, "rows_a_pass and sample_rows",
                   text(options_.rows_a_pass, " and ", options_.sample_rows), "at least 1"};
    for (index_t i = 0; i < sites_.size(); ++i) {
      const model_site& s = sites_[i];
      if (!model::is_layer_site(s.where) || s.layer < 0 || s.layer >= m.n_layers)
        return error{errc::invalid_argument, "site of rows", text(model::name(s.where), " of layer ", s.layer),
                     text("a site of layers 0 to ", m.n_layers - 1)};
      if (host_->supports(s.where, s.layer) == model::access::none)
        return error{errc::unsupported, "site of rows", text(model::name(s.where), " of layer ", s.layer),
                     "one that the host shows"};
      for (index_t k = 0; k < i; ++k)
        if (sites_[k] == s)
          return error{errc::invalid_argument, "site of rows",
                       text(model::name(s.where), " of layer ", s.layer, " twice"), "each once"};
    }
    return {};
  }
  // Where each sequence begins.
  status cut() {
    fingerprint f;
    f.add("resect.sae.host_rows/1").add(host_->describe().fingerprint).add(options_.seed);
    f.add(static_cast<std::uint64_t>(options_.rows_a_pass)).add(static_cast<std::uint64_t>(options_.sample_rows));
    f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(options_.bos)));
    for (const model_site& s : sites_)
      f.add(static_cast<std::uint64_t>(s.where)).add(static_cast<std::uint64_t>(s.layer));
    for (std::size_t r = 0; r < sequences_.size(); ++r) {
      const model::row_meta& row = sequences_[r];
      f.add(row.place().key()).add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(row.token)));
      if (r > 0 && row.seq == sequences_[r - 1].seq) continue;
      if (row.pos != 0)
        return error{errc::invalid_argument, "sequences of rows",
                     text("sequence ", row.seq, " from position ", row.pos), "whole sequences from position 0"};
      starts_.push_back(static_cast<index_t>(r));
    }
    if (starts_.empty()) return error{errc::invalid_argument, "sequences of rows", "none", "1 or more"};
    identity_ = f.value();
    order_ = detail::epoch_order(starts_.size(), options_.seed);
    for (index_t i = 0; i < starts_.size(); ++i) most_ = algo::max(most_, length(i));
    most_ = algo::max(most_, options_.rows_a_pass);
    return {};
  }
  index_t length(index_t sequence) const noexcept {
    const index_t end = sequence + 1 < starts_.size() ? starts_[sequence + 1] : static_cast<index_t>(sequences_.size());
    return end - starts_[sequence];
  }

  // Puts sequences of one epoch together, as many as have `rows` rows, at least one. → the cursor behind them.
  std::uint64_t gather(std::uint64_t cursor, index_t rows) {
    batch_.clear();
    const std::uint64_t epoch = cursor / cursor_of_epoch();
    for (; cursor / cursor_of_epoch() == epoch; ++cursor) {
      const index_t s = order_.at(cursor), n = length(s);
      if (!batch_.empty() && batch_.size() + n > rows) break;
      for (index_t r = starts_[s]; r < starts_[s] + n; ++r) {
        model::row_meta row = sequences_[static_cast<std::size_t>(r)];
        row.flags &= ~model::row_meta::wants_logits;
        batch_.push_back(row);
      }
    }
    return cursor;
  }

  // Runs the batch; at_[i] gets all rows of site i.
  status try_run() {
    array<index_t> seen(sites_.size());
    for (auto& m : at_) m.resize(batch_.size(), width_);
    status outcome;
    const auto look = [&](const model::tap& at, matrix_view<const float> h) {
      for (index_t i = 0; i < sites_.size() && outcome; ++i)
        if (at.where == sites_[i].where && at.layer == sites_[i].layer) outcome = keep(i, seen[i], at, h);
    };
    model::site_set want;
    int deepest = 0;
    for (const model_site& s : sites_) {
      want.insert(s.where);
      deepest = algo::max(deepest, s.layer);
    }
    if constexpr (model::surgical_host<H>) {
      auto state = host_->try_embed(tokens());
      if (!state) return state.error();
      auto call = [&](const model::tap& at, matrix_view<float> h) {
        look(at, h);
        return model::edit::unchanged;
      };
      if (auto s = host_->try_run(*state, 0, deepest + 1, model::hooks<float>{want, {}, call, 0}); !s) return s;
    } else {
      forget();
      if (auto s = host_->try_forward(tokens(), want, look); !s) return s;
      forget();
    }
    for (index_t i = 0; i < sites_.size() && outcome; ++i)
      if (seen[i] != batch_.size())
        outcome =
            error{errc::conflict, named(i).view(), text(seen[i], " rows"), text(batch_.size(), ", as the pass has")};
    return outcome;
  }
  void forget() {
    for (const auto& row : tokens())
      if (row.pos == 0) host_->forget(row.seq);
  }
  status keep(index_t i, index_t& seen, const model::tap& at, matrix_view<const float> h) {
    const auto n = static_cast<index_t>(at.rows.size());
    bool same = h.rows == n && h.cols == width_ && seen + n <= batch_.size();
    for (index_t r = 0; same && r < n; ++r)
      same = at.rows[static_cast<std::size_t>(r)].place() == batch_[seen + r].place();
    if (!same)
      return error{errc::conflict, named(i).view(), text(n, " rows of ", h.cols, " after ", seen),
                   "the rows of the pass in their order"};
    copy(h, at_[i].view().middle_rows(seen, n));
    seen += n;
    return {};
  }
  short_text<120> named(index_t i) const {
    return text("rows of ", model::name(sites_[i].where), " of layer ", sites_[i].layer);
  }

  bool is_first(const model::row_meta& row) const noexcept {
    return row.pos == 0 || (row.flags & model::row_meta::pad) != 0 || (options_.bos >= 0 && row.token == options_.bos);
  }
  // Drops what the rule leaves out, from the batch and from all sites.
  status filter() {
    index_t kept = 0;
    for (index_t r = 0; r < batch_.size(); ++r) {
      const model::row_meta row = batch_[r];
      if (is_first(row)) {
        ++counts_.first;
        continue;
      }
      bool massive = false;
      for (index_t i = 0; i < sites_.size(); ++i) {
        const double norm = student::row_norm(std::as_const(at_[i]).view(), r);
        if (!is_finite(norm))
          return error{errc::not_finite, text(named(i).view(), ", sequence ", row.seq, ", position ", row.pos),
                       text(norm), "finite elements"};
        massive = massive || norm > limits_[i];
      }
      if (massive) {
        ++counts_.massive;
        continue;
      }
      detail::move_row(at_, r, kept);
      batch_[kept++] = row;
    }
    batch_.resize(kept);
    counts_.kept += kept;
    return {};
  }

  // The limits, and then the means, of the first rows of the order.
  status try_sample() {
    for (const bool limits : {true, false}) {
      array<array<double>> norms(sites_.size()), sums(sites_.size());
      for (auto& s : sums) s.assign(width_, 0.0);
      counts_ = {};
      for (std::uint64_t cursor = 0; cursor < cursor_of_epoch() && counts_.seen() < options_.sample_rows;) {
        const auto next = try_pass(cursor);
        if (!next) return next.error();
        cursor = *next;
        for (index_t i = 0; i < sites_.size(); ++i)
          for (index_t r = 0; r < batch_.size(); ++r) {
            if (limits) norms[i].push_back(student::row_norm(rows(i), r));
            for (index_t c = 0; c < width_; ++c) sums[i][c] += static_cast<double>(at_[i](r, c));
          }
      }
      if (counts_.kept == 0)
        return error{errc::invalid_argument, "rows of the text", "none behind the first position of a sequence",
                     "1 or more"};
      means_.clear();
      for (index_t i = 0; i < sites_.size(); ++i) {
        means_.push_back(detail::mean_of(sums[i], counts_.kept));
        if (!limits) continue;
        algo::sort(norms[i].begin(), norms[i].end());
        limits_[i] = student::apart_medians * norms[i][norms[i].size() / 2];
      }
    }
    counts_ = {};
    return {};
  }

  H* host_;
  model::batch_view sequences_;
  host_rows_options options_;
  index_t width_ = 0, most_ = 0;
  array<model_site> sites_;
  array<index_t> starts_;
  array<double> limits_;
  array<array<float>> means_;
  detail::epoch_order order_;
  std::uint64_t identity_ = 0;
  array<model::row_meta> batch_;
  array<matrix<float>> at_;
  row_counts counts_;
};

// The rows of these sites of a host, its type deduced.
template <model::observable_host H>
result<host_rows<H>> try_rows_of(H& host, std::span<const model_site> sites, model::batch_view sequences,
                                 const host_rows_options& options = {}) {
  return host_rows<H>::try_make(host, sites, sequences, options);
}

}  // namespace RESECT_NAMESPACE::sae
