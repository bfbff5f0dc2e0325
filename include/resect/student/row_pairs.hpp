// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/random/philox.hpp>
#include <resect/student/detail/sequence_rows.hpp>
#include <resect/student/gather_moments.hpp>
#include <resect/student/training_options.hpp>

// Rows with their targets: what students are trained and judged on.
namespace RESECT_NAMESPACE::student {

// Rows before a span of layers and after it, whole sequences one after another.
struct row_pairs {
  training_task task;
  array<model::row_meta> rows;
  matrix<float> x, y;       // (rows, width): h_i, h_j
  array<index_t> document;  // of a row, 0 … documents − 1: rows of one document are not independent

  model::batch_view batch() const noexcept { return rows.span(); }
  index_t documents() const noexcept {
    index_t most = -1;
    for (const index_t d : document) most = algo::max(most, d);
    return most + 1;
  }
  // Errors: shape_mismatch (rows without targets, a width that is not `width`, where that is not 0); not_finite (x or y).
  status check(index_t width = 0) const {
    const index_t d = width > 0 ? width : x.cols;
    if (auto s = check_view(x.view(), rows.size(), d, "rows of a student"); !s) return s;
    if (auto s = check_view(y.view(), rows.size(), d, "targets of a student's rows"); !s) return s;
    if (!document.empty() && document.size() != rows.size())
      return error{errc::shape_mismatch, "documents of a student's rows", text(document.size()), text(rows.size())};
    if (auto s = check_finite(x.view(), "rows of a student"); !s) return s;
    return check_finite(y.view(), "targets of a student's rows");
  }
};

// The pairs of spans of a model over batches of whole sequences: x the stream before layer `first`, y that before layer
// `last`, rows apart as in try_gather_moments. Sequences are numbered anew, 0 the first, so that batches may repeat numbers.
//   Cost: a pass up to the last layer that a span ends at. Memory: rows·2·width floats a span.
// Errors: invalid_argument (a span that does not exist); unsupported (more than one stream); not_finite; what the host says.
template <model::surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
result<array<row_pairs>> try_gather_pairs(H& host, std::span<const residual::layer_range> spans,
                                          std::span<const model::batch_view> batches) {
  const model::model_desc& m = host.describe();
  if (auto s = detail::check_spans(spans, m); !s) return s.error();
  index_t rows = 0;
  for (const auto b : batches) rows += static_cast<index_t>(b.size());
  array<row_pairs> out;
  for (const auto& span : spans) {
    out.push_back({{span, m.fingerprint, {}}, {}, {}, {}, {}});
    out.back().x.resize(rows, m.d_model);
    out.back().y.resize(rows, m.d_model);
  }
  detail::held_streams streams(spans, m.n_layers);
  std::int32_t sequence = -1;
  index_t at = 0;
  for (const model::batch_view batch : batches) {
    if (auto s = detail::try_hold(host, batch, streams); !s) return s.error();
    const auto sequences = detail::sequences_of(batch);
    for (auto& one : out) {
      const auto x = streams.at(one.task.span.first), y = streams.at(one.task.span.last);
      if (at == 0) one.task.apart = {apart_limit(batch, x), apart_limit(batch, y)};
      copy(x, one.x.view().middle_rows(at, x.rows));
      copy(y, one.y.view().middle_rows(at, y.rows));
      std::int32_t number = sequence;
      for (const auto& s : sequences) {
        ++number;
        for (index_t i = 0; i < s.count; ++i) {
          one.rows.push_back(batch[static_cast<std::size_t>(s.first + i)]);
          one.rows.back().seq = number;
          one.document.push_back(number);
        }
      }
    }
    sequence += static_cast<std::int32_t>(sequences.size());
    at += static_cast<index_t>(batch.size());
  }
  for (const auto& one : out)
    if (auto s = one.check(m.d_model); !s)
      return s.error().within(text("span [", one.task.span.first, ", ", one.task.span.last, ")").view());
  return result<array<row_pairs>>(std::move(out));
}

// The first `count` sequences of pairs, and the others: rows to train on and rows to judge by.
struct split_pairs {
  row_pairs first, rest;
};
// Errors: invalid_argument (a count that leaves one side without a sequence).
template <class = void>
result<split_pairs> try_split(const row_pairs& all, index_t count) {
  const auto sequences = detail::sequences_of(all.batch());
  if (count < 1 || count >= sequences.size())
    return error{errc::invalid_argument, "sequences to train on", text(count), text("1 to ", sequences.size() - 1)};
  const index_t cut = sequences[count].first;
  const auto part = [&](index_t from, index_t rows) {
    row_pairs out{all.task, {}, matrix<float>(rows, all.x.cols), matrix<float>(rows, all.y.cols), {}};
    array<index_t> numbers;  // documents are numbered anew
    for (index_t r = from; r < from + rows; ++r) {
      out.rows.push_back(all.rows[r]);
      if (all.document.empty()) continue;
      index_t number = 0;
      while (number < numbers.size() && numbers[number] != all.document[r]) ++number;
      if (number == numbers.size()) numbers.push_back(all.document[r]);
      out.document.push_back(number);
    }
    copy(all.x.view().middle_rows(from, rows), out.x.view());
    copy(all.y.view().middle_rows(from, rows), out.y.view());
    return out;
  };
  return split_pairs{part(0, cut), part(cut, all.x.rows - cut)};
}

// Batches of whole sequences in an order that depends on the seed and the step alone: each pass over the sequences is a
// permutation of its own, and batches go on from one pass to the next.
class pair_batches {
 public:
  // `pairs` outlives the batches. Errors: invalid_argument (a size below 1, no sequence); those of row_pairs::check.
  static result<pair_batches> try_make(const row_pairs& pairs, index_t sequences_a_batch, std::uint64_t seed) {
    if (auto s = pairs.check(); !s) return s.error();
    pair_batches out(pairs, sequences_a_batch, seed);
    if (sequences_a_batch < 1)
      return error{errc::invalid_argument, "sequences of a batch", text(sequences_a_batch), "1 or more"};
    if (out.sequences_.empty()) return error{errc::invalid_argument, "rows of a student", "0", "1 or more"};
    return result<pair_batches>(std::move(out));
  }

  index_t sequences() const noexcept { return sequences_.size(); }
  // The batch of a step, which lives until the next call.
  const row_pairs& at(index_t step) {
    current_.task = pairs_->task;
    current_.rows.clear();
    index_t rows = 0;
    array<detail::sequence_rows> chosen;
    for (index_t i = step * size_; i < (step + 1) * size_; ++i) {
      set_pass(i / sequences());
      chosen.push_back(sequences_[order_[i % sequences()]]);
      rows += chosen.back().count;
    }
    current_.x.resize(rows, pairs_->x.cols);
    current_.y.resize(rows, pairs_->y.cols);
    index_t to = 0;
    std::int32_t number = 0;
    for (const auto& s : chosen) {
      copy(pairs_->x.view().middle_rows(s.first, s.count), current_.x.view().middle_rows(to, s.count));
      copy(pairs_->y.view().middle_rows(s.first, s.count), current_.y.view().middle_rows(to, s.count));
      for (index_t i = 0; i < s.count; ++i) {
        current_.rows.push_back(pairs_->rows[s.first + i]);
        current_.rows.back().seq = number;
      }
      ++number;
      to += s.count;
    }
    return current_;
  }

 private:
  pair_batches(const row_pairs& pairs, index_t size, std::uint64_t seed)
      : pairs_(&pairs), sequences_(detail::sequences_of(pairs.batch())), size_(size), seed_(seed) {}

  // The order of a pass: sequences by a word of Philox each.
  void set_pass(index_t pass) {
    if (pass == pass_) return;
    pass_ = pass;
    order_.resize(sequences());
    for (index_t i = 0; i < sequences(); ++i) order_[i] = i;
    const random::philox_stream words{seed_, 0x6f72646572u + (static_cast<std::uint64_t>(pass) << 40)};
    algo::stable_sort(order_.begin(), order_.end(), [&](index_t a, index_t b) {
      return words.word64(static_cast<std::uint64_t>(a)) < words.word64(static_cast<std::uint64_t>(b));
    });
  }

  const row_pairs* pairs_;
  array<detail::sequence_rows> sequences_;
  index_t size_;
  std::uint64_t seed_;
  index_t pass_ = -1;
  array<index_t> order_;
  row_pairs current_;
};

}  // namespace RESECT_NAMESPACE::student
