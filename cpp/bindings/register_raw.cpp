#include <map>
#include <utility>

#include "arrays.hpp"
#include "mwaconvert/raw/fits.hpp"
#include "mwaconvert/raw/rice.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

// Hdu with the enumeration as the integer that numpy shows.
struct HduRecord {
  int32_t hdu, kind;
  int64_t unix_ms, marker, naxis1, naxis2;
  double bscale, bzero;
  int64_t data_offset;
  int32_t row_bytes, desc_offset, desc_64, rice_block;
  int64_t heap_offset, data_bytes;
};

std::pair<std::map<std::string, FitsValue>, py::array_t<HduRecord>> scan(const std::string& path) {
  FitsScan found;
  {
    py::gil_scoped_release release;
    found = scan_fits(path);
  }
  py::array_t<HduRecord> records(static_cast<py::ssize_t>(found.hdus.size()));
  for (size_t k = 0; k < found.hdus.size(); ++k) {
    const Hdu& h = found.hdus[k];
    records.mutable_at(static_cast<py::ssize_t>(k)) = {h.hdu,         static_cast<int32_t>(h.kind),
                                                       h.unix_ms,     h.marker,
                                                       h.naxis1,      h.naxis2,
                                                       h.bscale,      h.bzero,
                                                       h.data_offset, h.row_bytes,
                                                       h.desc_offset, h.desc_64,
                                                       h.rice_block,  h.heap_offset,
                                                       h.data_bytes};
  }
  return {std::move(found.primary), records};
}

void check_block(int block) {
  if (block < 1) throw InputError("Rice block size: expected at least 1, found " + std::to_string(block));
}

Array<int32_t> decode(const std::vector<Array<uint8_t>>& tiles, int64_t n, int block) {
  check_block(block);
  if (n < 0) throw InputError("number of pixels: expected at least 0, found " + std::to_string(n));
  Array<int32_t> out({static_cast<py::ssize_t>(tiles.size()), static_cast<py::ssize_t>(n)});
  std::vector<RiceRow> rows;
  for (const Array<uint8_t>& tile : tiles) {
    const auto in = view<uint8_t, 1>(tile, "tiles", {-1});
    rows.push_back({in.data, in.shape[0], out.mutable_data() + static_cast<int64_t>(rows.size()) * n});
  }
  py::gil_scoped_release release;
  rice_decode(rows, n, block);
  return out;
}

Array<uint8_t> encode(const Array<int32_t>& pixels, int block) {
  check_block(block);
  const auto in = view<int32_t, 1>(pixels, "pixels", {-1});
  std::vector<uint8_t> out;
  {
    py::gil_scoped_release release;
    out.resize(static_cast<size_t>(rice_max_bytes(in.shape[0], block)));
    const auto capacity = static_cast<int64_t>(out.size());
    out.resize(static_cast<size_t>(rice_encode_row(in.data, in.shape[0], out.data(), capacity, block)));
  }
  return Array<uint8_t>(static_cast<py::ssize_t>(out.size()), out.data());
}

}  // namespace

void register_raw(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(HduRecord, hdu, kind, unix_ms, marker, naxis1, naxis2, bscale, bzero, data_offset,
                       row_bytes, desc_offset, desc_64, rice_block, heap_offset, data_bytes);
  m.def("scan_fits", &scan, "path"_a, "Primary keywords, and one record for each later HDU.");
  m.def("rice_decode", &decode, "tiles"_a.noconvert(), "n"_a, "block"_a,
        "Decode RICE_1 tiles of n int32 each.");
  m.def("rice_encode", &encode, "pixels"_a.noconvert(), "block"_a, "Encode int32 as one RICE_1 tile.");
}

}  // namespace mwaconvert
