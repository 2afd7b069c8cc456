#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "mwaconvert/transients/chunks.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

// name, open file, first byte of the packed ones, how many, compressed, scale, offset, mask, n_times, first,
// repeat
using Given = std::tuple<std::string, int, int64_t, int64_t, bool, Array<float>, Array<float>,
                         std::optional<Array<uint8_t>>, int64_t, int64_t, int64_t>;

Chunk chunk_of(const Given& given, int64_t n_chan) {
  const auto& [name, file, begin, size, compressed, scale, offset, mask, n_times, first, repeat] = given;
  Chunk chunk{
      name,
      PackedBytes(file, begin, size, n_chan * n_times, compressed),
      view<float, 2>(scale, "scale", {-1, -1}),
      view<float, 2>(offset, "offset", {-1, -1}),
      {},
      n_times,
      first,
      repeat,
  };
  if (mask) chunk.mask = view<uint8_t, 2>(*mask, "mask", {-1, -1});
  return chunk;
}

}  // namespace

void register_chunks(py::module_& m) {
  m.def(
      "unpack_bitshuffle",
      [](const Array<uint8_t>& packed, Array<uint8_t>& out, int threads) {
        const auto p = view<uint8_t, 1>(packed, "packed", {-1});
        const auto o = mutable_view<uint8_t, 1>(out, "out", {-1});
        py::gil_scoped_release release;
        unpack_bytes(PackedBytes(p, o.shape[0], true), o, threads);
      },
      "packed"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0, "Bytes that bitshuffle packed with LZ4.");
  m.def(
      "chunk_waterfall",
      [](const std::vector<Given>& chunks, const Array<int32_t>& shift, bool scaled, Array<float>& out,
         Array<float>& weights, int threads) {
        const auto d = view<int32_t, 1>(shift, "shift", {-1});
        const auto o = mutable_view<float, 2>(out, "out", {-1, -1});
        const auto w = mutable_view<float, 2>(weights, "weights", {o.shape[0], o.shape[1]});
        std::vector<Chunk> all;
        all.reserve(chunks.size());
        for (const Given& given : chunks) all.push_back(chunk_of(given, d.shape[0]));
        py::gil_scoped_release release;
        chunk_waterfall(all, d, scaled, o, w, threads);
      },
      "chunks"_a.noconvert(), "shift"_a.noconvert(), "scaled"_a, "out"_a.noconvert(), "weights"_a.noconvert(),
      "threads"_a = 0, "Sub-bands of the dedispersed channels of chunks of CHIME/FRB.");
}

}  // namespace mwaconvert
