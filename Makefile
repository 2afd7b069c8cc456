# make demo and make test do all set-up in a virtual environment of their own.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# In-place build for development: make dev PY=/path/to/python
PY ?= $(BIN)/python
dev:
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(PY) -DMWACONVERT_INPLACE=ON \
	  -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir) > /dev/null
	cmake --build build/dev
.PHONY: dev
