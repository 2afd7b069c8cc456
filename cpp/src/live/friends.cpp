#include "mwaconvert/live/friends.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

namespace mwaconvert {
namespace {

constexpr int64_t kBeams = 2048;
constexpr int kBeamShift = 48, kTimeShift = 20;

struct Node {
  int64_t kind, beam, cell;
  double first_s, last_s, dm_low, dm_high;
};

// One number for a cell of time and DM; neighbours in DM have neighbouring numbers.
int64_t cell_of(double middle_s, double dm, double size_s, double size_dm) {
  return (static_cast<int64_t>(middle_s / size_s) << kTimeShift) + static_cast<int64_t>(dm / size_dm);
}

class Labels {
 public:
  explicit Labels(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }

  size_t find(size_t k) {
    while (parent_[k] != k) k = parent_[k] = parent_[parent_[k]];
    return k;
  }

  void join(size_t a, size_t b) {
    if (a < b) std::swap(a, b);
    parent_[a] = b;
  }

 private:
  std::vector<size_t> parent_;
};

using Keyed = std::pair<int64_t, size_t>;  // a key, and what has it

// By keys, then by what has them: least significant digits first, in as many passes as keys differ in.
void sort_keys(std::vector<Keyed>& keys) {
  int64_t lowest = INT64_MAX, highest = INT64_MIN;
  for (const auto& [key, k] : keys) {
    lowest = std::min(lowest, key);
    highest = std::max(highest, key);
  }
  std::vector<Keyed> other(keys.size());
  constexpr int kBits = 11;
  for (int shift = 0; shift < 64 && ((highest - lowest) >> shift) > 0; shift += kBits) {
    std::array<size_t, (1 << kBits) + 1> first{};
    const auto digit = [&](int64_t key) { return ((key - lowest) >> shift) & ((1 << kBits) - 1); };
    for (const auto& [key, k] : keys) ++first[static_cast<size_t>(digit(key)) + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    for (const auto& item : keys) other[first[static_cast<size_t>(digit(item.first))]++] = item;
    std::swap(keys, other);
  }
}

// Nodes by beam, class and cell, and the node of each candidate.
std::vector<Node> make_nodes(const Candidates& c, View<const double, 2> reach, std::vector<size_t>& member) {
  const auto n = static_cast<size_t>(c.dm.shape[0]);
  std::vector<Keyed> keys(n);
  for (size_t i = 0; i < n; ++i) {
    const auto k = static_cast<int64_t>(i);
    const int64_t kind = c.kind(k);
    const int64_t cell = cell_of(c.middle_s(k), c.dm(k), reach(kind, 0) / 2, reach(kind, 1) / 2);
    keys[i] = {((c.beam(k) * 16 + kind) << kBeamShift) + cell, i};
  }
  sort_keys(keys);
  std::vector<Node> nodes;
  member.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const auto k = static_cast<int64_t>(keys[i].second);
    const double s = c.middle_s(k), dm = c.dm(k);
    if (i == 0 || keys[i].first != keys[i - 1].first) {
      const int64_t cell = keys[i].first & ((int64_t{1} << kBeamShift) - 1);
      nodes.push_back({c.kind(k), c.beam(k), cell, s, s, dm, dm});
    }
    Node& node = nodes.back();
    node.first_s = std::min(node.first_s, s);
    node.last_s = std::max(node.last_s, s);
    node.dm_low = std::min(node.dm_low, dm);
    node.dm_high = std::max(node.dm_high, dm);
    member[keys[i].second] = nodes.size() - 1;
  }
  return nodes;
}

class Linker {
 public:
  Linker(const std::vector<Node>& nodes, Labels& labels, double reach_s, double reach_dm)
      : nodes_(nodes), labels_(labels), reach_s_(reach_s), reach_dm_(reach_dm) {}

  // Join each of `from` with those of `to` whose cell is `steps` further in time and -2 to `last` in DM,
  // `beams` beams on. Both are sorted, so one sweep finds all.
  void sweep(const std::vector<Keyed>& from, const std::vector<Keyed>& to, int64_t beams, int64_t steps,
             int64_t last) {
    size_t low = 0;
    for (const auto& [key, a] : from) {
      const int64_t middle = key + (beams << kBeamShift) + (steps << kTimeShift);
      while (low < to.size() && to[low].first < middle - 2) ++low;
      if (low == to.size()) break;
      for (size_t k = low; k < to.size() && to[k].first <= middle + last; ++k) link(a, to[k].second);
    }
  }

 private:
  void link(size_t a, size_t b) {
    const Node& x = nodes_[a];
    const Node& y = nodes_[b];
    if (std::max(x.first_s - y.last_s, y.first_s - x.last_s) > reach_s_) return;
    if (std::max(x.dm_low - y.dm_high, y.dm_low - x.dm_high) > reach_dm_) return;
    const size_t p = labels_.find(a), q = labels_.find(b);
    if (p != q) labels_.join(p, q);
  }

  const std::vector<Node>& nodes_;
  Labels& labels_;
  double reach_s_, reach_dm_;
};

// Nodes of a class by their beam and the cell of their lower corner, of the size that the reach of a class
// gives.
std::vector<Keyed> corners(const std::vector<Node>& nodes, int64_t kind, double size_s, double size_dm) {
  std::vector<Keyed> keys;
  for (size_t k = 0; k < nodes.size(); ++k) {
    const Node& node = nodes[k];
    if (node.kind == kind)
      keys.emplace_back((node.beam << kBeamShift) + cell_of(node.first_s, node.dm_low, size_s, size_dm), k);
  }
  sort_keys(keys);
  return keys;
}

void join_class(const std::vector<Node>& nodes, Labels& labels, int64_t kind, View<const double, 2> reach,
                int64_t beams) {
  const double reach_s = reach(kind, 0), reach_dm = reach(kind, 1);
  const std::vector<Keyed> own = corners(nodes, kind, reach_s / 2, reach_dm / 2);
  if (own.empty()) return;
  Linker linker(nodes, labels, reach_s, reach_dm);
  for (int64_t beam = 0; beam <= beams; ++beam)
    for (int64_t steps = beam ? -2 : 0; steps <= 2; ++steps) linker.sweep(own, own, beam, steps, 2);
  // members of the class below are in the cell of their lower corner, perhaps in the next one, too
  const std::vector<Keyed> below = corners(nodes, kind - 1, reach_s / 2, reach_dm / 2);
  for (int64_t beam = -beams; beam <= beams; ++beam)
    for (int64_t steps = -2; steps <= 3; ++steps) linker.sweep(below, own, beam, steps, 3);
}

void keep_edges(const Candidates& c, const std::vector<Node>& nodes, const std::vector<size_t>& member,
                View<uint8_t, 1> keep) {
  std::vector<std::array<int64_t, 5>> kept(nodes.size(), {-1, -1, -1, -1, -1});
  for (size_t i = 0; i < member.size(); ++i) {
    const auto k = static_cast<int64_t>(i);
    const Node& node = nodes[member[i]];
    auto& of = kept[member[i]];
    if (of[0] < 0 || c.snr(k) >= c.snr(of[0])) of[0] = k;
    if (c.middle_s(k) == node.first_s) of[1] = k;
    if (c.middle_s(k) == node.last_s) of[2] = k;
    if (c.dm(k) == node.dm_low) of[3] = k;
    if (c.dm(k) == node.dm_high) of[4] = k;
    keep(k) = 0;
  }
  for (const auto& of : kept)
    for (const int64_t k : of) keep(k) = 1;
}

}  // namespace

int64_t friends_of_friends(const Candidates& candidates, View<const double, 2> reach, int64_t beams,
                           View<int64_t, 1> label, View<uint8_t, 1> keep) {
  std::vector<size_t> member;
  const std::vector<Node> nodes = make_nodes(candidates, reach, member);
  Labels labels(nodes.size());
  for (int64_t kind = 0; kind < reach.shape[0]; ++kind) join_class(nodes, labels, kind, reach, beams);
  std::vector<int64_t> number(nodes.size(), -1);
  int64_t n = 0;
  for (size_t i = 0; i < member.size(); ++i) {
    int64_t& of = number[labels.find(member[i])];
    if (of < 0) of = n++;
    label(static_cast<int64_t>(i)) = of;
  }
  keep_edges(candidates, nodes, member, keep);
  return n;
}

void summarise(View<const int64_t, 1> label, int64_t first_new, View<const double, 1> time_s,
               View<const double, 1> dm, View<const double, 1> snr, View<const int64_t, 1> beam,
               const ClusterSums& sums) {
  const int64_t n = label.shape[0], n_cluster = sums.best.shape[0];
  for (int64_t k = 0; k < n_cluster; ++k) {
    sums.best(k) = -1;
    sums.count(k) = sums.n_beams(k) = 0;
    for (int64_t edge = 0; edge < 4; ++edge) sums.box(k, edge) = 0;
  }
  std::vector<size_t> first(static_cast<size_t>(n_cluster) + 1);
  for (int64_t i = 0; i < n; ++i) ++first[static_cast<size_t>(label(i)) + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<int64_t> beams(static_cast<size_t>(n));  // of the members, cluster by cluster
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = label(i);
    beams[first[static_cast<size_t>(k)]++] = beam(i);
    if (i < first_new) continue;
    const bool is_first = sums.best(k) < 0;
    if (is_first || snr(i) > snr(sums.best(k))) sums.best(k) = i;
    ++sums.count(k);
    sums.box(k, 0) = is_first ? time_s(i) : std::min(sums.box(k, 0), time_s(i));
    sums.box(k, 1) = is_first ? time_s(i) : std::max(sums.box(k, 1), time_s(i));
    sums.box(k, 2) = is_first ? dm(i) : std::min(sums.box(k, 2), dm(i));
    sums.box(k, 3) = is_first ? dm(i) : std::max(sums.box(k, 3), dm(i));
  }
  std::array<int64_t, kBeams> last{};  // the cluster in which a beam was seen, counted from 1
  size_t begin = 0;
  for (int64_t k = 0; k < n_cluster; ++k) {
    for (; begin < first[static_cast<size_t>(k)]; ++begin) {
      int64_t& seen = last[static_cast<size_t>(beams[begin])];
      sums.n_beams(k) += seen != k + 1;
      seen = k + 1;
    }
  }
}

}  // namespace mwaconvert
