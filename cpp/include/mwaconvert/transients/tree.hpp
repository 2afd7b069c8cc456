// Dedispersion by a tree of sums that neighbouring trials share.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// One level of the tree. Row r of it is
//   row(r, i) = sum over k of [first(r), first(r + 1)) of below(child(k), i + offset(k))
// where `below` are the rows of the level below, of the lowest level the channels. All offsets are >= 0.
// first (n_row + 1), child and offset (first(n_row))
// blocks: first rows of the blocks that are computed together, and n_row; rows of a block should share
// children.
struct TreeLevel {
  View<const int32_t, 1> first, child, offset, blocks;
  int64_t rows() const { return first.shape[0] - 1; }
};

// Where kept rows are stored, for one run at a time. New memory costs as much as a part of the sums: whoever
// runs trees again and again keeps this between them.
class TreeMemory {
 public:
  std::byte* get(int64_t bytes);

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  int64_t bytes_ = 0;
};

// out(trial, i) = row(trial, i) of the highest level, for i of [0, n_out).
// data (n_chan, n_samp) uint8 or float32; levels from the lowest to the highest, whose rows are those of out
// kept: the rows of this level are stored as a whole, between two passes; -1: one pass, in which each block
// of trials computes all that it needs. Needs memory for the kept rows: 2 bytes a sample for uint8 where none
// of them sums more than 257 channels, else 4. Sums of uint8 are exact, up to 65793 channels; those of
// float32 are added in the order of the tree. Throws InputError for children that are not there and for
// offsets that leave the data.
void dedisperse_tree(View<const uint8_t, 2> data, const std::vector<TreeLevel>& levels, int kept,
                     View<float, 2> out, int threads, TreeMemory& memory);
void dedisperse_tree(View<const float, 2> data, const std::vector<TreeLevel>& levels, int kept,
                     View<float, 2> out, int threads, TreeMemory& memory);

}  // namespace mwaconvert
