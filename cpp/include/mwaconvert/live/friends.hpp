// Candidates of one pulse, found as friends of friends in time, DM, width and beam.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Candidates by columns, each (n): middle of the boxcar in the middle of the band (s), DM (pc/cm^3), S/N,
// class of widths 0 to 11, beam (0 for all where beams do not part).
struct Candidates {
  View<const double, 1> middle_s, dm, snr;
  View<const int64_t, 1> kind, beam;
};

// Candidates of one beam and class in a cell of half a reach are joined first, into a node with the box
// around its members. Nodes of one class, or of neighbouring ones, are friends if their boxes are at most the
// reach of the wider class apart, in time and in DM, and their beams at most `beams`. reach (n_class, 2):
// seconds, pc/cm^3. label (n): number of the cluster, from 0, in the order of the first members; returns how
// many. keep (n): 1 for the brightest of each node (the last of equals), and for one member at each edge of
// its box (the last): later candidates that are friends of a node are friends of these.
int64_t friends_of_friends(const Candidates& candidates, View<const double, 2> reach, int64_t beams,
                           View<int64_t, 1> label, View<uint8_t, 1> keep);

// What the members of each cluster make together, those from `first_new` on for all but n_beams. best: index
// of the brightest, the first of equals; -1 without new members. box: lowest and highest time, lowest and
// highest DM. n_beams: different beams, of all members; beams below 2048. All (n_cluster), box (n_cluster,
// 4).
struct ClusterSums {
  View<int64_t, 1> best, count, n_beams;
  View<double, 2> box;
};
void summarise(View<const int64_t, 1> label, int64_t first_new, View<const double, 1> time_s,
               View<const double, 1> dm, View<const double, 1> snr, View<const int64_t, 1> beam,
               const ClusterSums& sums);

}  // namespace mwaconvert
