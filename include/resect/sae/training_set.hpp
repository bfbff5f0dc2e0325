// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/sae/row_source.hpp>
#include <resect/sae/shuffle_buffer.hpp>
#include <resect/sae/trainer.hpp>

// Several sparse autoencoders that are trained together: of every site of a source, with every seed.
namespace RESECT_NAMESPACE::sae {

// Options of a set beside those of its trainers.
struct set_options {
  index_t batch = 1024;                       // rows a step
  index_t buffer = 0;                         // rows that wait in the shuffle buffer of a site; 0: 16 batches
  std::span<const std::uint64_t> seeds = {};  // of the first weights; none: that of the trainers' options

  index_t waiting() const noexcept { return buffer > 0 ? buffer : 16 * batch; }
  status check(index_t rows_a_pass) const {
    if (batch < 1) return error{errc::invalid_argument, "batch of a training set", text(batch), "1 or more"};
    if (waiting() < batch + rows_a_pass)
      return error{errc::invalid_argument, "shuffle buffer of a training set", text(waiting(), " rows"),
                   text("at least ", batch + rows_a_pass, ": a batch and a pass of the source")};
    for (std::size_t i = 0; i < seeds.size(); ++i)
      for (std::size_t k = 0; k < i; ++k)
        if (seeds[i] == seeds[k])
          return error{errc::invalid_argument, "seeds of a training set", text(seeds[i], " twice"), "each once"};
    return {};
  }
};

// Trainers of all sites of a source, several seeds each. Every pass of the source feeds all of them: a second site costs no
// run of the host, a second seed no rows. All seeds of a site see the same batches, and row r of a batch is the same token
// at every site, so what differs between seeds is their first weights alone.
//   Rows wait in one shuffle buffer a site, which is filled whenever a pass has room. Determinism: as the trainers and the
//   source; the state after n steps is a function of source, options and n.
//   Memory: a trainer for each site and seed, waiting() rows a site.
template <architecture<float> A>
class training_set {
 public:
  // Fills the buffers, and makes every trainer from the rows of its site that wait.
  // Errors: those of set_options::check, of the source and of trainer::try_make, with the site named; invalid_argument
  // (a round of the source that has no row to keep).
  template <dense_backend<float> B, row_source S>
  static result<training_set> try_make(B& exec, S& source, const A& how, const trainer_options& options,
                                       const set_options& set = {}) {
    training_set out(source, options, set);
    if (auto s = set.check(source.rows_a_pass()); !s) return s.error();
    if (auto s = out.try_fill(source); !s) return s.error();
    for (index_t site = 0; site < source.sites(); ++site)
      for (const std::uint64_t seed : out.seeds_) {
        trainer_options own = options;
        own.seed = seed;
        auto t = trainer<float, A>::try_make(exec, how, own, out.buffers_[site].rows());
        if (!t) return t.error().within(text("site ", site).view());
        out.trainers_.push_back(std::move(*t));
      }
    out.reports_.resize(out.trainers_.size());
    return out;
  }
  // One that goes on: trainers in the order of at(), their sites' buffers, and where the source stands.
  // Errors: shape_mismatch (numbers or widths that do not fit the source), conflict (trainers of different steps).
  template <row_source S>
  static result<training_set> try_resume(const S& source, const trainer_options& options, const set_options& set,
                                         array<trainer<float, A>> trainers, array<shuffle_buffer> buffers,
                                         std::uint64_t cursor) {
    training_set out(source, options, set);
    if (trainers.size() != source.sites() * out.seeds() || buffers.size() != source.sites())
      return error{errc::shape_mismatch, "trainers of a set",
                   text(trainers.size(), " with ", buffers.size(), " buffers"),
                   text(source.sites() * out.seeds(), " with ", source.sites())};
    for (index_t i = 0; i < trainers.size(); ++i) {
      const index_t site = i / out.seeds();
      if (trainers[i].width() != source.width(site) || buffers[site].width() != source.width(site))
        return error{errc::shape_mismatch, text("trainer of site ", site), text("width ", trainers[i].width()),
                     text(source.width(site))};
      if (trainers[i].state().step != trainers[0].state().step)
        return error{errc::conflict, text("trainer of site ", site), text("step ", trainers[i].state().step),
                     text(trainers[0].state().step, ", as the others")};
    }
    out.trainers_ = std::move(trainers);
    out.buffers_ = std::move(buffers);
    out.cursor_ = cursor;
    out.reports_.resize(out.trainers_.size());
    return out;
  }

  // One step of every trainer. → their reports, in the order of at(). Errors: those of the source and of
  // trainer::try_step, with the site named.
  template <dense_backend<float> B, row_source S>
  result<std::span<const step_report>> try_step(B& exec, S& source) {
    if (auto s = try_fill(source); !s) return s.error();
    for (index_t site = 0; site < sites(); ++site) {
      batch_.resize(set_.batch, buffers_[site].width());
      buffers_[site].draw(batch_.view());
      for (index_t k = 0; k < seeds(); ++k) {
        const index_t i = site * seeds() + k;
        auto report = trainers_[i].try_step(exec, std::as_const(batch_).view());
        if (!report) return report.error().within(text("site ", site).view());
        reports_[i] = *report;
      }
    }
    return std::as_const(reports_).span();
  }

  index_t sites() const noexcept { return buffers_.size(); }
  index_t seeds() const noexcept { return seeds_.size(); }
  std::uint64_t seed(index_t k) const noexcept { return seeds_[k]; }
  index_t step() const noexcept { return trainers_[0].state().step; }
  std::int64_t rows() const noexcept { return trainers_[0].state().rows; }
  // The trainer of a site with its k-th seed.
  const trainer<float, A>& at(index_t site, index_t k = 0) const noexcept { return trainers_[site * seeds() + k]; }
  const shuffle_buffer& buffer(index_t site) const noexcept { return buffers_[site]; }
  // Where the source stands: its next pass.
  std::uint64_t cursor() const noexcept { return cursor_; }
  const set_options& options() const noexcept { return set_; }

 private:
  template <class S>
  training_set(const S& source, const trainer_options& options, const set_options& set) : set_(set) {
    for (const std::uint64_t s : set.seeds) seeds_.push_back(s);
    if (seeds_.empty()) seeds_.push_back(options.seed);
    set_.seeds = {};  // not ours
    for (index_t site = 0; site < source.sites(); ++site)
      buffers_.push_back(shuffle_buffer(set_.waiting(), source.width(site), options.seed));
  }

  template <class S>
  status try_fill(S& source) {
    std::uint64_t without = 0;  // cursors of passes that had no row
    while (buffers_[0].room() >= source.rows_a_pass()) {
      const auto next = source.try_pass(cursor_);
      if (!next) return next.error();
      without = source.rows(0).rows > 0 ? 0 : without + (*next - cursor_);
      if (without >= source.cursor_of_epoch())
        return error{errc::invalid_argument, "rows of the source", "none that is kept", "1 or more"};
      cursor_ = *next;
      for (index_t site = 0; site < sites(); ++site) buffers_[site].put(source.rows(site));
    }
    return {};
  }

  set_options set_;
  array<std::uint64_t> seeds_;
  array<trainer<float, A>> trainers_;
  array<shuffle_buffer> buffers_;
  std::uint64_t cursor_ = 0;
  matrix<float> batch_;
  array<step_report> reports_;
};

// Trains all sites of a source with all seeds for options.steps steps, one run of the host for all of them, and returns the
// trainers. each(set, reports) → status is called after every step: progress, checkpoints, an end before the last step by
// an error. `set` goes on from where it is.
template <dense_backend<float> B, row_source S, architecture<float> A, class F>
status try_train(B& exec, S& source, training_set<A>& set, F each) {
  while (set.step() < set.at(0).options().steps) {
    auto reports = set.try_step(exec, source);
    if (!reports) return reports.error();
    if (status s = each(std::as_const(set), *reports); !s) return s;
  }
  return {};
}
template <dense_backend<float> B, row_source S, architecture<float> A>
result<training_set<A>> try_train(B& exec, S& source, const A& how, const trainer_options& options,
                                  const set_options& set = {}) {
  if (options.steps < 1)
    return error{errc::invalid_argument, "steps of a training set", text(options.steps), "1 or more"};
  auto out = training_set<A>::try_make(exec, source, how, options, set);
  if (!out) return out.error();
  if (auto s = try_train(exec, source, *out, [](const auto&, auto) { return status{}; }); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::sae
