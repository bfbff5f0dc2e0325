// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/roles.hpp>

namespace studies {

namespace detail {

resect::study::token_windows joined(const std::vector<const resect::study::token_windows*>& sets) {
  resect::study::token_windows out;
  for (const auto* w : sets) {
    for (auto row : w->rows) {
      row.seq += static_cast<std::int32_t>(out.n_windows);
      out.rows.push_back(row);
    }
    for (const auto c : w->cluster) out.cluster.push_back(c < 0 ? c : c + out.n_clusters);
    out.contents.insert(out.contents.end(), w->contents.begin(), w->contents.end());
    out.n_clusters += w->n_clusters;
    out.n_windows += w->n_windows;
    out.context = out.context == 0 ? w->context : std::min(out.context, w->context);
  }
  std::sort(out.contents.begin(), out.contents.end());
  return out;
}

std::vector<piece> document_pieces(const tokens& t, const resect::study::token_windows& evaluation) {
  std::vector<piece> out;
  for (std::size_t i = 0; i < t.ids.size();) {
    std::size_t end = i + 1;
    while (end < t.ids.size() && t.documents[end] == t.documents[i]) ++end;
    const auto content = resect::study::detail::fingerprint_of(std::span(t.ids).subspan(i, end - i));
    if (!std::binary_search(evaluation.contents.begin(), evaluation.contents.end(), content)) out.push_back({i, end});
    i = end;
  }
  return out;
}

std::vector<piece> window_pieces(const tokens& t, const resect::study::token_windows& evaluation) {
  std::vector<bool> taken(t.ids.size(), false);
  for (const auto start : evaluation.starts)
    std::fill_n(taken.begin() + static_cast<std::ptrdiff_t>(start), evaluation.context, true);
  std::vector<piece> out;
  const auto length = static_cast<std::size_t>(evaluation.context);
  for (std::size_t i = 0, run = 0; i < t.ids.size(); ++i) {
    run = taken[i] ? 0 : run + 1;
    if (run < length) continue;
    out.push_back({i + 1 - length, i + 1});
    run = 0;
  }
  return out;
}

// What evaluation leaves of a text, dealt among `sets` texts by turns.
std::vector<tokens> deal(const tokens& t, const resect::study::token_windows& evaluation, std::size_t sets) {
  const bool marked = !t.documents.empty();
  std::vector<tokens> out(sets, tokens{t.name, t.sha256, {}, {}});
  std::map<std::vector<std::int32_t>, std::size_t> dealt;
  for (const piece& p : marked ? document_pieces(t, evaluation) : window_pieces(t, evaluation)) {
    const std::vector<std::int32_t> ids(t.ids.begin() + static_cast<std::ptrdiff_t>(p.first),
                                        t.ids.begin() + static_cast<std::ptrdiff_t>(p.last));
    tokens& to = out[dealt.emplace(ids, dealt.size() % sets).first->second];
    to.ids.insert(to.ids.end(), ids.begin(), ids.end());
    if (marked) to.documents.insert(to.documents.end(), ids.size(), t.documents[p.first]);
  }
  return out;
}

resect::error of_role(role r, resect::error e) {
  e.operand = resect::text(name(r), ": ", e.operand.view());
  return e;
}

resect::study::token_windows windows_of(role r, const tokens& t, const resect::study::token_windows& evaluation,
                                        const std::map<role, role_set>& others,
                                        const resect::study::window_options& o) {
  std::vector<const resect::study::token_windows*> used{&evaluation};
  for (const auto& [other, set] : others) used.push_back(&set.windows);
  auto out = resect::study::try_calibration_windows(t.view(), used.size() == 1 ? evaluation : joined(used), o);
  if (!out) fail(of_role(r, out.error()));
  return std::move(*out);
}

}  // namespace detail

role_defaults documents_of(const std::string& model_path) {
  std::error_code ignored;
  if (!std::filesystem::equivalent(model_path, RESECT_SOURCE_DIR "/examples/models/tiny", ignored)) return {};
  role_defaults out;
  for (const role r : all_roles) out[r] = RESECT_BUILD_DIR "/texts/tiny-" + std::string(name(r)) + ".txt";
  return out;
}

namespace detail {

// The files of the roles that have one; the other roles take what evaluation leaves.
std::map<role, text_source> role_files(const std::vector<role>& needed, const role_sources& given,
                                       const role_defaults& defaults) {
  std::map<role, text_source> out;
  for (const role r : needed) {
    const auto found = given.find(r);
    const bool said = found != given.end() && found->second.text;
    const auto own = defaults.find(r);
    if (said && *found->second.text != rest_of_text) out[r] = {*found->second.text, found->second.ids};
    else if (!said && own != defaults.end()) out[r] = {own->second, ""};
  }
  return out;
}

// Two roles may not have one text, whatever the files are called.
void check_texts_differ(const std::map<role, tokens>& texts, const std::map<role, text_source>& files) {
  for (const auto& [r, text] : texts)
    for (const auto& [other, second] : texts)
      if (other < r && text.ids == second.ids)
        fail({resect::errc::conflict, resect::text("--", name(r)),
              resect::text(hosts::shown_path(files.at(r).text).view(), ", of which --", name(other),
                           " has the same token ids"),
              "a text of its own"});
}

void check_all_disjoint(const std::map<role, role_set>& sets, const resect::study::token_windows& evaluation) {
  for (const auto& [r, set] : sets) {
    auto apart = resect::study::check_disjoint(evaluation, set.windows);
    for (const auto& [other, second] : sets)
      if (apart && other < r) apart = resect::study::check_disjoint(second.windows, set.windows);
    if (!apart) fail(of_role(r, apart.error()));
  }
}

}  // namespace detail

std::map<role, role_set> make_role_sets(const std::vector<role>& needed, const role_sources& given,
                                        const role_defaults& defaults, const tokens& text,
                                        const resect::study::token_windows& evaluation,
                                        const resect::study::window_options& o, const std::string& model_path,
                                        int n_vocab, const role_counts& more) {
  const auto options_of = [&](role r) {
    auto own = o;
    if (const auto found = more.find(r); found != more.end()) own.sequences = found->second;
    return own;
  };
  std::map<role, role_set> out;
  std::map<role, tokens> of_files;
  const auto files = detail::role_files(needed, given, defaults);
  for (const auto& [r, source] : files) {
    auto t = read_tokens({source}, model_path, n_vocab, o.bos);
    if (t.ids != text.ids) of_files[r] = std::move(t);
  }
  detail::check_texts_differ(of_files, files);
  std::vector<role> of_rest;
  for (const role r : needed)
    if (!of_files.contains(r)) of_rest.push_back(r);

  const auto dealt = of_rest.size() < 2 ? std::vector{text} : detail::deal(text, evaluation, of_rest.size());
  for (std::size_t i = 0; i < of_rest.size(); ++i)
    out[of_rest[i]] = {dealt[i], detail::windows_of(of_rest[i], dealt[i], evaluation, out, options_of(of_rest[i]))};
  for (auto& [r, t] : of_files) {
    auto windows = detail::windows_of(r, t, evaluation, out, options_of(r));
    out[r] = {std::move(t), std::move(windows)};
  }
  detail::check_all_disjoint(out, evaluation);
  return out;
}

std::string small_set_warning(role r, const role_set& set, resect::index_t wanted) {
  const auto& w = set.windows;
  if (w.n_windows >= wanted && resect::metrics::reliability_of(w.n_clusters) == resect::metrics::reliability::full)
    return "";
  return std::string(name(r)) + ": " + std::to_string(w.n_windows) + " windows of " + std::to_string(w.context) +
         " tokens in " + std::to_string(w.n_clusters) + (set.text.documents.empty() ? " windows" : " documents") +
         " are few: what is taken from them is uncertain, and no interval says so";
}

}  // namespace studies
