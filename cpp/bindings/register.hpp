// One function for each kernel family, called by module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace mwaconvert {

void register_raw(pybind11::module_& m);
void register_rfi(pybind11::module_& m);
void register_block(pybind11::module_& m);
void register_channels(pybind11::module_& m);
void register_chunks(pybind11::module_& m);
void register_detect(pybind11::module_& m);
void register_uvfits(pybind11::module_& m);
void register_period(pybind11::module_& m);
void register_quality(pybind11::module_& m);
void register_incoherent(pybind11::module_& m);
void register_live(pybind11::module_& m);
void register_ms(pybind11::module_& m);
void register_van_vleck(pybind11::module_& m);
void register_transients(pybind11::module_& m);
void register_clean(pybind11::module_& m);

}  // namespace mwaconvert
