// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/matrix.hpp>
#include <resect/model/host.hpp>
#include <resect/student/probe.hpp>
#include <resect/study/detail/partial_passes.hpp>

// A linear probe of a labelled task on what the head reads, after surgery, and on the embeddings.
namespace RESECT_NAMESPACE::study {

// Texts as ids with a label each; the first `fitted` of them fit a probe, the others judge it.
struct labelled_texts {
  std::vector<model::row_meta> rows = {};  // of all texts, one sequence each
  std::vector<index_t> last = {};          // of each text the number of its last row, at which it is probed
  std::vector<std::int32_t> labels = {};   // of each text, 0 … classes − 1
  index_t fitted = 0;

  bool empty() const noexcept { return labels.empty(); }
  index_t size() const noexcept { return static_cast<index_t>(labels.size()); }

  // Adds a text, behind a BOS where that is an id. Errors: invalid_argument (no id, a negative label).
  status try_add(std::span<const std::int32_t> ids, std::int32_t label, std::int32_t bos = -1) {
    if (ids.empty()) return error{errc::invalid_argument, text("ids of labelled text ", size()), "0", "1 or more"};
    if (label < 0)
      return error{errc::invalid_argument, text("label of labelled text ", size()), text(label), "0 or more"};
    const auto seq = static_cast<std::int32_t>(size());
    std::int32_t pos = 0;
    if (bos >= 0) rows.push_back({seq, pos++, bos, 0});
    for (const std::int32_t id : ids) rows.push_back({seq, pos++, id, 0});
    last.push_back(static_cast<index_t>(rows.size()) - 1);
    labels.push_back(label);
    return {};
  }
};

// What a probe reads of the embeddings: those of a text's last token, or the mean over its tokens.
enum class embedding_rows { last, mean };

// Probes altered models on labelled texts. States of the intact model are kept before some layers within a budget of
// bytes, so that a plan runs from near its first altered layer. Keeps references to backend, host and texts.
//   Determinism: as the host's, and as student::try_probe.
template <class Backend, model::surgical_host H>
  requires(core_backend<Backend> && std::same_as<typename H::value, float>)
class surgery_probe {
 public:
  // Runs the intact model over the texts once. Errors: invalid_argument (no text; none left to judge); what the host
  // reports.
  static result<surgery_probe> try_start(Backend& backend, H& host, const labelled_texts& texts,
                                         double state_bytes = 256e6, const student::probe_options& options = {}) {
    if (texts.fitted < 1 || texts.fitted >= texts.size())
      return error{errc::invalid_argument, "labelled texts", text(texts.fitted, " to fit, of ", texts.size()),
                   "some to fit and some to judge"};
    surgery_probe out(backend, host, texts, options);
    const int layers = host.describe().n_layers;
    const double a_state = 4.0 * static_cast<double>(texts.rows.size()) * host.describe().d_model;
    const auto room = algo::max(index_t{1}, static_cast<index_t>(state_bytes / a_state));
    const int step = static_cast<int>((layers + room - 1) / room);
    auto state = host.try_embed(texts.rows);
    if (!state) return state.error();
    out.embeddings_ = out.means_of(matrix_view<const float>(host.stream(*state)));
    out.last_embeddings_ = out.ends_of(matrix_view<const float>(host.stream(*state)));
    for (int l = 0; l < layers; l += algo::max(1, step)) {
      if (l > 0)
        if (auto s = detail::try_layers(backend, host, residual::plan{}, *state, l - algo::max(1, step), l); !s)
          return s.error();
      out.kept_.emplace_back(l, host.snapshot(*state));
    }
    return out;
  }

  // The probe of what the head reads at the last token of each text, under a plan; the plan alters the texts that fit
  // it, too: it asks whether the label can still be read, not whether an old probe still works.
  // Errors: what residual::try_run and student::try_probe report.
  result<student::probe_result> try_head_in(const residual::plan& plan) {
    int first = host_->describe().n_layers;
    for (const auto& s : plan.steps()) first = algo::min(first, s.range.first);
    auto from = kept_.begin();
    for (auto at = kept_.begin(); at != kept_.end(); ++at)
      if (at->first <= first) from = at;
    auto state = host_->snapshot(from->second);
    if (auto s = detail::try_layers(*backend_, *host_, plan, state, from->first, host_->describe().n_layers); !s)
      return s.error();
    return judge(ends_of(matrix_view<const float>(host_->stream(state))));
  }
  // The probe of the embeddings alone.
  result<student::probe_result> try_embeddings(embedding_rows which) {
    return judge(which == embedding_rows::last ? last_embeddings_ : embeddings_);
  }

 private:
  surgery_probe(Backend& backend, H& host, const labelled_texts& texts, const student::probe_options& options)
      : backend_(&backend), host_(&host), texts_(&texts), options_(options) {}

  matrix<float> ends_of(matrix_view<const float> h) const {
    matrix<float> out(texts_->size(), h.cols);
    for (index_t i = 0; i < out.rows; ++i)
      copy(h.middle_rows(texts_->last[static_cast<std::size_t>(i)], 1), out.view().middle_rows(i, 1));
    return out;
  }
  matrix<float> means_of(matrix_view<const float> h) const {
    matrix<float> out(texts_->size(), h.cols);
    index_t first = 0;
    for (index_t i = 0; i < out.rows; ++i) {
      const index_t end = texts_->last[static_cast<std::size_t>(i)] + 1;
      for (index_t c = 0; c < h.cols; ++c) {
        double sum = 0;
        for (index_t r = first; r < end; ++r) sum += static_cast<double>(h(r, c));
        out(i, c) = static_cast<float>(sum / static_cast<double>(end - first));
      }
      first = end;
    }
    return out;
  }
  result<student::probe_result> judge(const matrix<float>& rows) {
    const std::span<const std::int32_t> labels = texts_->labels;
    const auto fitted = static_cast<std::size_t>(texts_->fitted);
    return student::try_probe(*backend_, rows.view().middle_rows(0, texts_->fitted), labels.first(fitted),
                              rows.view().middle_rows(texts_->fitted, rows.rows - texts_->fitted),
                              labels.subspan(fitted), options_);
  }

  Backend* backend_;
  H* host_;
  const labelled_texts* texts_;
  student::probe_options options_;
  matrix<float> embeddings_, last_embeddings_;
  std::vector<std::pair<int, typename H::state>> kept_;
};

}  // namespace RESECT_NAMESPACE::study
