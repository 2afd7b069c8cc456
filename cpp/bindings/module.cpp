#include "arrays.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "register.hpp"

PYBIND11_MODULE(_core, m) {
  using namespace mwaconvert;
  m.doc() = "C++ kernels of mwaconvert (private; use the functions of the package).";

  // Raised as the Python classes of mwaconvert.errors, which own the tree.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11's signature
  py::register_local_exception_translator([](std::exception_ptr p) {
    auto raise = [](const char* name, const std::exception& e) {
      py::object type = py::module_::import("mwaconvert.errors").attr(name);
      PyErr_SetString(type.ptr(), e.what());
    };
    try {
      if (p) std::rethrow_exception(p);
    } catch (const InputError& e) {
      raise("InputError", e);
    } catch (const FormatError& e) {
      raise("FormatError", e);
    } catch (const ResourceError& e) {
      raise("ResourceError", e);
    }
  });

  m.def("available_threads", &available_threads, "Number of cores this process may run on.");
  register_raw(m);
  register_rfi(m);
  register_block(m);
  register_channels(m);
  register_chunks(m);
  register_detect(m);
  register_quality(m);
  register_incoherent(m);
  register_live(m);
  register_ms(m);
  register_uvfits(m);
  register_van_vleck(m);
  register_transients(m);
  register_clean(m);
  register_period(m);
}
