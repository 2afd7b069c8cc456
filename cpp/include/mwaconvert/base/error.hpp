// Errors that kernels raise. Each becomes the Python class of the same name (bindings/module.cpp).
#pragma once

#include <stdexcept>
#include <string>

namespace mwaconvert {

// Base of the tree: a message names file, HDU, what was expected, what was found, what to do.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An argument or an array of wrong shape or value.
struct InputError : Error {
  using Error::Error;
};

// A file that does not hold what its format promises.
struct FormatError : Error {
  using Error::Error;
};

// The machine refused: no space, no permission, no memory.
struct ResourceError : Error {
  using Error::Error;
};

}  // namespace mwaconvert
