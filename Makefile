# make demo    install into .venv and run the demonstration (runs/demo/report.html)
# make test    install into .venv, check format, types and import order, run the tests
PYTHON ?= python3.11
VENV ?= .venv
EXTRAS ?= demo,test,dev
ARGS ?=
BIN := $(VENV)/bin
PYTHON_DIRS := og_reid pose meshes tests benchmarks tools

.DEFAULT_GOAL := help
.PHONY: help demo test check format install system clean

help:
	@sed -n 's/^# //p' Makefile | head -n 2

# open3d needs libusb at import, whatever is done with it.
system:
	@ldconfig -p 2>/dev/null | grep -q libusb-1.0.so.0 || { \
	  line="apt-get update && apt-get install -y libusb-1.0-0"; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then sh -c "$$line"; \
	  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo sh -c "$$line"; \
	  else echo "open3d needs a system library; run:  sudo sh -c '$$line'" >&2; exit 1; fi; }

$(VENV)/stamp-%: pyproject.toml constraints.txt CMakeLists.txt $(wildcard og_reid/csrc/*/*) | system
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

install: $(VENV)/stamp-$(EXTRAS)

demo: $(VENV)/stamp-demo
	$(BIN)/og-reid demo $(ARGS)

check: install
	$(BIN)/ruff format --check $(wildcard $(PYTHON_DIRS))
	$(BIN)/ruff check $(wildcard $(PYTHON_DIRS))
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(wildcard og_reid/csrc/*.h og_reid/csrc/*/*.cpp og_reid/csrc/*/*.cu)

test: check
	$(BIN)/pytest $(ARGS)

format: install
	$(BIN)/ruff format $(wildcard $(PYTHON_DIRS))
	$(BIN)/ruff check --fix $(wildcard $(PYTHON_DIRS))
	$(BIN)/clang-format -i $(wildcard og_reid/csrc/*.h og_reid/csrc/*/*.cpp og_reid/csrc/*/*.cu)

clean:
	rm -rf $(VENV) build runs .pytest_cache .mypy_cache .ruff_cache
