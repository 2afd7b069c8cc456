#include <cmath>

#include "arrays.hpp"
#include "mwaconvert/visibilities/van_vleck.hpp"
#include "register.hpp"

namespace mwaconvert {

void register_van_vleck(py::module_& m) {
  m.def("van_vleck_sigma", &van_vleck_sigma, "variance"_a,
        "Standard deviation of an input from its quantised variance; 0 where it is not corrected.");
  m.def(
      "van_vleck_correlation",
      [](double k, double sigma1, double sigma2) {
        if (!(std::isfinite(k) && sigma1 > 0 && sigma2 > 0))
          throw InputError("k must be finite, sigma1 and sigma2 positive");
        return van_vleck_correlation(k, sigma1, sigma2);
      },
      "k"_a, "sigma1"_a, "sigma2"_a, "Correlation of two inputs from their quantised covariance.");
  m.def(
      "van_vleck",
      [](Array<std::complex<float>>& products, int64_t n_slot, double samples, int threads) {
        if (n_slot < 2 || n_slot % 2 != 0) throw InputError("n_slot must be even and at least 2");
        if (!(samples > 0 && std::isfinite(samples))) throw InputError("samples must be positive");
        const auto v = mutable_view<std::complex<float>, 2>(products, "products",
                                                            {-1, n_slot / 2 * (n_slot / 2 + 1) * 2});
        py::gil_scoped_release release;
        van_vleck_channels(v, n_slot, samples, threads);
      },
      "products"_a.noconvert(), "n_slot"_a, "samples"_a, "threads"_a = 0,
      R"(Correct the products of legacy channels in place.

products (n_channel, n_product) complex64 in the order of the file.)");
}

}  // namespace mwaconvert
