// Incoherent sums over baselines of what changes from one integration to the next, from raw files.
#pragma once

#include "mwaconvert/base/view.hpp"
#include "mwaconvert/raw/chunk.hpp"

namespace mwaconvert {

// For each pair of neighbouring integrations (t, t + 1) that are both kGood, coarse channel c, fine channel f
// and product p (XX, XY, YX, YY):
//   sum(t, c, f, p)   += sum over baselines of |V(t + 1) - V(t)|
//   count(t, c, f, p) += number of baselines in it; differences that are not finite are left out
// chunks (n_time, n_coarse); sum, count (n_time - 1, n_coarse, n_fine, 4). The sky hardly changes from one
// integration to the next, so that it cancels (Wilensky et al. 2019, PASP 131, 114507, equations 1 to 3).
// Results do not depend on threads.
struct IncoherentOutput {
  View<double, 4> sum;
  View<int64_t, 4> count;
};

// MWAX: image rows are baselines, [channel][product]; file_row: rows to use, ascending.
void incoherent_mwax(View<const Chunk, 2> chunks, View<const int64_t, 1> file_row,
                     const IncoherentOutput& out, int threads);

// Legacy: image rows are channels of n_product complex numbers, in any order; product (n_baseline, 4): which
// of them to use.
void incoherent_legacy(View<const Chunk, 2> chunks, int64_t n_product, View<const int32_t, 2> product,
                       const IncoherentOutput& out, int threads);

}  // namespace mwaconvert
