#include "arrays.hpp"
#include "check_chunk.hpp"
#include "mwaconvert/rfi/incoherent.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

View<const Chunk, 2> checked(const Array<Chunk>& chunks) {
  const auto v = view<Chunk, 2>(chunks, "chunks", {-1, -1});
  if (v.shape[0] < 2 || v.shape[1] < 1) throw InputError("differences need two integrations and a channel");
  for (int64_t k = 0; k < v.size(); ++k) check_chunk(v.data[k]);
  return v;
}

IncoherentOutput outputs(const View<const Chunk, 2>& chunks, Array<double>& sum, Array<int64_t>& count) {
  IncoherentOutput out;
  out.sum = mutable_view<double, 4>(sum, "sum", {chunks.shape[0] - 1, chunks.shape[1], -1, 4});
  out.count = mutable_view<int64_t, 4>(count, "count", out.sum.shape);
  if (out.sum.shape[2] < 1) throw InputError("array 'sum' has no channels");
  return out;
}

}  // namespace

void register_incoherent(py::module_& m) {
  m.def(
      "incoherent_mwax",
      [](const Array<Chunk>& chunks, const Array<int64_t>& file_row, Array<double>& sum,
         Array<int64_t>& count, int threads) {
        const auto c = checked(chunks);
        const auto out = outputs(c, sum, count);
        const auto rows = view<int64_t, 1>(file_row, "file_row", {-1});
        for (int64_t r = 0; r < rows.shape[0]; ++r)
          if (rows(r) < 0 || (r > 0 && rows(r) <= rows(r - 1)))
            throw InputError("file_row must ascend from 0");
        if (rows.shape[0] == 0) return;
        py::gil_scoped_release release;
        incoherent_mwax(c, rows, out, threads);
      },
      "chunks"_a.noconvert(), "file_row"_a.noconvert(), "sum"_a.noconvert(), "count"_a.noconvert(),
      "threads"_a = 0, "Sums over baselines of the changes between integrations, from MWAX files.");
  m.def(
      "incoherent_legacy",
      [](const Array<Chunk>& chunks, int64_t n_product, const Array<int32_t>& product, Array<double>& sum,
         Array<int64_t>& count, int threads) {
        const auto c = checked(chunks);
        const auto out = outputs(c, sum, count);
        const auto index = view<int32_t, 2>(product, "product", {-1, 4});
        if (n_product < 8 || n_product % 8 != 0) throw InputError("n_product must be a multiple of 8");
        for (int64_t k = 0; k < index.size(); ++k)
          if (index.data[k] < 0 || index.data[k] >= n_product)
            throw InputError("array 'product' names a number beyond the " + std::to_string(n_product));
        py::gil_scoped_release release;
        incoherent_legacy(c, n_product, index, out, threads);
      },
      "chunks"_a.noconvert(), "n_product"_a, "product"_a.noconvert(), "sum"_a.noconvert(),
      "count"_a.noconvert(), "threads"_a = 0,
      "Sums over baselines of the changes between integrations, from legacy files.");
}

}  // namespace mwaconvert
