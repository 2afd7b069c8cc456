#include <algorithm>
#include <vector>

#include "arrays.hpp"
#include "mwaconvert/live/beams.hpp"
#include "mwaconvert/live/candidates.hpp"
#include "mwaconvert/live/friends.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

void define_parse(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(BadLine, begin, end);
  m.def(
      "parse_candidates",
      [](const Array<uint8_t>& text, int64_t n_word, const std::array<int64_t, 5>& place,
         int32_t downsampling, int32_t instance, Array<uint8_t>& rows) {
        const auto t = view<uint8_t, 1>(text, "text", {-1});
        const auto r = mutable_view<uint8_t, 2>(rows, "rows", {-1, kCandidateBytes});
        for (const int64_t p : place)
          if (p < 0 || p >= n_word) throw InputError("'place' names a word that is not there");
        std::vector<BadLine> bad;
        int64_t n = 0;
        {
          py::gil_scoped_release release;
          n = parse_candidates(t, {n_word, place}, downsampling, instance, r, bad);
        }
        py::array_t<BadLine> table(static_cast<py::ssize_t>(bad.size()));
        std::copy(bad.begin(), bad.end(), table.mutable_data());
        return py::make_tuple(n, table);
      },
      py::kw_only(), "text"_a.noconvert(), "n_word"_a, "place"_a, "downsampling"_a, "instance"_a,
      "rows"_a.noconvert(),
      "Candidates of lines: how many, and the table (begin, end) of lines that are none.");
}

template <typename T>
void define_take(py::module_& m) {
  m.def(
      "take_subbands",
      [](const Strided<T>& beam, const Array<int64_t>& subbands, int64_t tab, Array<T>& out, int threads) {
        const auto o = mutable_view<T, 2>(out, "out", {-1, -1});
        const auto b = view<T, 2>(beam, "beam", {o.shape[0], o.shape[1]});
        const auto s = view<int64_t, 1>(subbands, "subbands", {-1});
        if (s.shape[0] < 1 || o.shape[0] % s.shape[0])
          throw InputError("array 'subbands': the channels cannot be parted in so many");
        py::gil_scoped_release release;
        take_subbands(b, s, tab, o, threads);
      },
      "beam"_a.noconvert(), "subbands"_a.noconvert(), "tab"_a, "out"_a.noconvert(), "threads"_a = 0,
      "What a tied-array beam gives to a synthesised one: its channels in the subbands that name it.");
}

}  // namespace

void register_live(py::module_& m) {
  define_parse(m);
  define_take<uint8_t>(m);
  define_take<float>(m);
  m.def(
      "friends_of_friends",
      [](const Array<double>& middle_s, const Array<double>& dm, const Array<double>& snr,
         const Array<int64_t>& kind, const Array<int64_t>& beam, const Array<double>& reach, int64_t beams,
         Array<int64_t>& label, Array<uint8_t>& keep) {
        const auto x = view<double, 1>(middle_s, "middle_s", {-1});
        const int64_t n = x.shape[0];
        const Candidates c{x, view<double, 1>(dm, "dm", {n}), view<double, 1>(snr, "snr", {n}),
                           view<int64_t, 1>(kind, "kind", {n}), view<int64_t, 1>(beam, "beam", {n})};
        const auto r = view<double, 2>(reach, "reach", {-1, 2});
        for (int64_t k = 0; k < n; ++k)
          if (c.kind(k) < 0 || c.kind(k) >= std::min<int64_t>(r.shape[0], 16) || c.beam(k) < 0 ||
              c.beam(k) >= 2048)
            throw InputError("arrays 'kind' and 'beam': expected classes of 'reach' and beams below 2048");
        const auto l = mutable_view<int64_t, 1>(label, "label", {n});
        const auto e = mutable_view<uint8_t, 1>(keep, "keep", {n});
        py::gil_scoped_release release;
        return friends_of_friends(c, r, beams, l, e);
      },
      py::kw_only(), "middle_s"_a.noconvert(), "dm"_a.noconvert(), "snr"_a.noconvert(), "kind"_a.noconvert(),
      "beam"_a.noconvert(), "reach"_a.noconvert(), "beams"_a, "label"_a.noconvert(), "keep"_a.noconvert(),
      "Clusters of candidates: how many, and which candidates a later batch needs.");
  m.def(
      "summarise_clusters",
      [](const Array<int64_t>& label, int64_t first_new, const Array<double>& time_s, const Array<double>& dm,
         const Array<double>& snr, const Array<int64_t>& beam, Array<int64_t>& best, Array<int64_t>& count,
         Array<int64_t>& n_beams, Array<double>& box) {
        const auto l = view<int64_t, 1>(label, "label", {-1});
        const int64_t n = l.shape[0];
        const auto b = mutable_view<int64_t, 1>(best, "best", {-1});
        const int64_t n_cluster = b.shape[0];
        const ClusterSums sums{b, mutable_view<int64_t, 1>(count, "count", {n_cluster}),
                               mutable_view<int64_t, 1>(n_beams, "n_beams", {n_cluster}),
                               mutable_view<double, 2>(box, "box", {n_cluster, 4})};
        const auto beams = view<int64_t, 1>(beam, "beam", {n});
        for (int64_t k = 0; k < n; ++k)
          if (l(k) < 0 || l(k) >= n_cluster || beams(k) < 0 || beams(k) >= 2048)
            throw InputError("arrays 'label' and 'beam': expected clusters of 'best' and beams below 2048");
        const auto t = view<double, 1>(time_s, "time_s", {n});
        const auto d = view<double, 1>(dm, "dm", {n});
        const auto s = view<double, 1>(snr, "snr", {n});
        py::gil_scoped_release release;
        summarise(l, first_new, t, d, s, beams, sums);
      },
      py::kw_only(), "label"_a.noconvert(), "first_new"_a, "time_s"_a.noconvert(), "dm"_a.noconvert(),
      "snr"_a.noconvert(), "beam"_a.noconvert(), "best"_a.noconvert(), "count"_a.noconvert(),
      "n_beams"_a.noconvert(), "box"_a.noconvert(), "What the members of each cluster make together.");
}

}  // namespace mwaconvert
