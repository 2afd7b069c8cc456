// Lines of candidates as AMBER writes them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// What stands where in a line: the number of its words, and the places of beam, width, time, DM and S/N among
// them.
struct CandidateColumns {
  int64_t n_word;
  std::array<int64_t, 5> place;
};

// A line that is not a candidate: its first byte, and the byte behind it.
struct BadLine {
  int64_t begin, end;
};

// One candidate as it lies in memory, 36 bytes: time (s), DM (pc/cm^3), S/N as doubles; width (samples of the
// input), beam and instance as 32-bit integers.
constexpr int64_t kCandidateBytes = 36;

// Numbers of each line of `text`, which has no header; a last line may lack its end. Words are parted by
// blanks or tabs; lines without words count for nothing. A line is bad if it has another number of words, a
// character that no number has, a word at one of the places that is not a number (these are read as exactly
// as strtod does), or values out of range: time and DM 0 to 5e5, S/N above 0 and finite, width from 1, beam 0
// to 2047. Widths are multiplied by `downsampling`; widths and beams are cut to integers. rows (n_line, 36)
// takes the candidates in order; returns their number.
int64_t parse_candidates(View<const uint8_t, 1> text, const CandidateColumns& columns, int32_t downsampling,
                         int32_t instance, View<uint8_t, 2> rows, std::vector<BadLine>& bad);

}  // namespace mwaconvert
