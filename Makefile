# make demo    install into .venv and run the demonstration (runs/demo/report.html)
# make weights retrain the weights of point clouds (about two and a half hours on two cores)
# make test    install into .venv, check format, types and import order, run the tests
# make mmpose  install mmpose into .venv, for its pose estimators (RTMPose, HRNet, ViTPose, ...)
# make docs    install into .venv, build the documentation into site/ and check its links
# make fuzz    fuzz every file reader, guided by coverage (SECONDS=60 for each)
# make viewer  build the script of the interactive view again (needs npm)
# make sanitize  run the tests of the operators with AddressSanitizer in the CPU kernels
PYTHON ?= python3.11
VENV ?= .venv
EXTRAS ?= demo,test,dev
ARGS ?=
BIN := $(VENV)/bin
PYTHON_DIRS := og_reid pose meshes tests tools benchmarks
NATIVE := $(foreach room,og_reid meshes,$(room)/csrc/*.h $(room)/csrc/*/*.h $(room)/csrc/*/*.cpp $(room)/csrc/*/*.cu)

.DEFAULT_GOAL := help
.PHONY: help demo viewer weights mmpose test docs fuzz sanitize check format install system browser clean

help:
	@sed -n 's/^# //p' Makefile | head -n 8

# With root's rights or without a password: fetches $(1); else prints the line and fails.
INSTALLED = { line="apt-get update && apt-get install -y$(1)"; \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then sh -c "$$line"; \
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo sh -c "$$line"; \
  else echo "$(2); run:  sudo sh -c '$$line'" >&2; exit 1; fi; }

# Libraries loaded by the imports of open3d and opencv (of mediapipe).
LIBRARIES := libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 \
  libgomp.so.1:libgomp1 libglib-2.0.so.0:libglib2.0-0 libX11.so.6:libx11-6

system:
	@missing=""; for pair in $(LIBRARIES); do \
	  /sbin/ldconfig -p | grep -q "$${pair%%:*}" || missing="$$missing $${pair##*:}"; done; \
	[ -z "$$missing" ] || $(call INSTALLED,$$missing,system libraries are missing)

# Tests of pages are skipped where no browser can be had.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  command -v $$name >/dev/null && exit; done; \
	( $(call INSTALLED, chromium,tests of pages need a browser) ) || \
	  echo "tests of pages are skipped: they need a browser" >&2

$(VENV)/stamp-%: pyproject.toml constraints.txt CMakeLists.txt $(wildcard $(NATIVE)) | system
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@# Without its dependencies: it pins the torch version of its build.
	$(if $(findstring test,$*),$(BIN)/pip install --quiet --constraint constraints.txt --no-deps torchvision)
	@touch $@

install: $(VENV)/stamp-$(EXTRAS)

# Without dependencies, see the head of requirements-mmpose.txt.
mmpose: $(VENV)/stamp-$(EXTRAS) $(VENV)/mmpose-is-there

$(VENV)/mmpose-is-there: requirements-mmpose.txt $(VENV)/stamp-$(EXTRAS)
	$(BIN)/pip install --quiet --no-deps --requirement requirements-mmpose.txt
	$(BIN)/python -c 'from pose.estimators.mmpose_import import import_mmpose; import_mmpose()'
	@touch $@

demo: $(VENV)/stamp-demo
	$(BIN)/og-reid demo $(ARGS)

weights: $(VENV)/stamp-demo
	OMP_NUM_THREADS=1 $(BIN)/og-reid train synthetic/default --out runs/default --cache runs/default/clouds --resume
	OMP_NUM_THREADS=1 $(BIN)/og-reid train synthetic/continuous --data runs/default/world \
	  --out runs/continuous --cache runs/default/clouds --resume
	mkdir -p og_reid/weights
	cp runs/continuous/model.safetensors og_reid/weights/cloud.safetensors

# Strict: a warning, or a broken link (tools/docs_links.py), is an error. The variable silences an
# announcement of a later generator.
BUILD_DOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs: install
	$(BUILD_DOCS)

check: install
	$(BIN)/ruff format --check $(wildcard $(PYTHON_DIRS))
	$(BIN)/ruff check $(wildcard $(PYTHON_DIRS))
	$(BIN)/ruff check --target-version py313 --ignore UP $(wildcard $(PYTHON_DIRS))
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.13
	$(BIN)/clang-format --dry-run --Werror $(wildcard $(NATIVE))
	$(BUILD_DOCS)

test: check browser
	$(BIN)/pytest $(ARGS)

SECONDS ?= 60

fuzz: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) $(ARGS)

viewer:
	$(PYTHON) tools/build_viewer.py

SANITIZED := build/sanitize
# AddressSanitizer must see the exceptions of a C++ library that Python would load later.
PRELOADED = $(foreach name,libasan.so libstdc++.so,$(shell $(CXX) -print-file-name=$(name)))
# Tests that run kernels, without those that build the libraries or start other processes.
OPERATORS := knn knn_patches ball_query fps gather pool gated_pool soft_pool soft_gated_pool edge_conv \
  rank_counts topk late_interaction library
RASTER := draw native vertices

sanitize: install
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DOG_REID_SANITIZE=ON -DOG_REID_CUDA=OFF
	$(BIN)/cmake --build $(SANITIZED)
	OG_REID_NATIVE=$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$(PRELOADED)" $(BIN)/pytest $(OPERATORS:%=tests/og_reid/ops/test_%.py) \
	  $(RASTER:%=tests/meshes/rasterizer/test_%.py) $(ARGS)

format: install
	$(BIN)/ruff format $(wildcard $(PYTHON_DIRS))
	$(BIN)/ruff check --fix $(wildcard $(PYTHON_DIRS))
	$(BIN)/clang-format -i $(wildcard $(NATIVE))

clean:
	rm -rf $(VENV) build .hypothesis .pytest_cache .mypy_cache .ruff_cache
