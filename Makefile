# make          build the hand-in in submission/; notebooks run only if their code has changed
# make test     every check: style, unit tests, proofs, report, set-up, both notebooks
# make quick    both notebooks with few seeds and epochs, and their report: build/quick/
# make run      run both notebooks in full, then rebuild all that is made from them
# make pdf      rebuild the report in written/ and the results in README.md
# make plateau  train the U-Nets twice as long, for one table of the report
# make colab    run both notebooks with the versions that Colab has
# make clean    remove everything that the commands above made
# Each command first creates or completes the virtual environment that it needs.

NOTEBOOKS := a4-gnn.ipynb a4-unet.ipynb
WRITTEN := $(filter-out %.pdf %.png,$(wildcard written/*.* written/sections/*))
# The tests begin with these, so that both workers end at about the same time.
LONGEST := tests/test_report.py tests/test_setup.py tests/test_notebooks.py
PYTHON := .venv/bin/python
EXECUTE = exec $(RUN) $(PYTHON) .ci/execute.py

# These variables would bring another Python, kernel or preset into the runs.
unexport PYTHONHOME PYTHONPATH JUPYTER_PATH MPLBACKEND A4_QUICK

# Prefix of a long command: the command ends if make is killed.
export RUN := $(shell command -v setpriv >/dev/null && echo setpriv --pdeathsig TERM)

.NOTPARALLEL:
.PHONY: all notebooks test quick run pdf plateau colab clean

# In this order: the report is made from the notebooks.
all: say-all notebooks build/a4-writeup.pdf
	@mkdir -p submission
	@cp $(NOTEBOOKS) submission
	@# Without TeX, the report as it was committed.
	@cp build/a4-writeup.pdf submission 2>/dev/null || cp written/a4-writeup.pdf submission
	@echo "make: ready to hand in: $$(echo submission/*)"

test: say-test .venv/tests
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	exec env A4_QUICK=1 OMP_NUM_THREADS=1 $(RUN) $(PYTHON) -m pytest -n 2 --dist loadfile \
	    --no-loadscope-reorder --nbval-lax --nbval-cell-timeout=1800 \
	    a4-unet.ipynb a4-gnn.ipynb $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/test_*.py))

quick: say-quick .venv/ready
	$(EXECUTE) --always --quick --into build/quick $(NOTEBOOKS)
	@if sh .ci/tex.sh; then exec $(RUN) sh written/build.sh build/quick build/quick/a4-writeup.pdf; fi
	@echo "make: a first look: $$(echo build/quick/*)"

run: say-run .venv/ready
	$(EXECUTE) --always $(NOTEBOOKS)
	$(MAKE) all
	$(MAKE) pdf

pdf: build/a4-writeup.pdf
	$(PYTHON) written/readme.py
	cp build/a4-writeup.pdf written

plateau: say-plateau .venv/ready
	exec $(RUN) $(PYTHON) written/plateau.py

colab: say-colab build/colab/ready
	exec $(RUN) build/colab/bin/python .ci/execute.py --always --quick --into build/colab $(NOTEBOOKS)
	@# This fails if a cell has printed a warning.
	! grep '"name": "stderr"' build/colab/*.ipynb

clean:
	rm -rf .venv build submission .pytest_cache
	find . \( -name __pycache__ -o -name .ruff_cache -o -name .ipynb_checkpoints \) -prune \
	    -exec rm -rf {} +

# What each command does, and for about how long, on two cores. These are targets of their own,
# so that a command says it before it creates the environment.
say-all:
	@echo "make: environment .venv (once: 2 to 10 minutes, 6 GB), notebooks whose code has" \
	    "changed (stored runs are kept), report (1 minute), then submission/"
say-test:
	@echo "make test: environment (once: 1 minute more), then every check (5 minutes)"
say-quick:
	@echo "make quick: both notebooks with few seeds and epochs (3 minutes), then their report"
say-run:
	@echo "make run: both notebooks in full (45 minutes), then report, README and submission/"
say-plateau:
	@echo "make plateau: the U-Nets for twice as many epochs (20 minutes)"
say-colab:
	@echo "make colab: environment build/colab (once: 2 minutes), both notebooks with few seeds" \
	    "and epochs (3 minutes)"

.venv/ready: requirements.txt written/requirements.txt
	@exec $(RUN) sh .ci/venv.sh .venv -r requirements.txt -r written/requirements.txt
	@touch $@

.venv/tests: tests/requirements.txt .venv/ready
	@exec $(RUN) sh .ci/venv.sh .venv -r tests/requirements.txt
	@touch $@

build/colab/ready: tests/colab.txt
	@mkdir -p build
	@exec $(RUN) sh .ci/venv.sh build/colab -r tests/colab.txt
	@touch $@

notebooks: .venv/ready
	@$(EXECUTE) $(NOTEBOOKS)

# Without TeX there is no such file, and the next make tries again.
build/a4-writeup.pdf: $(NOTEBOOKS) $(WRITTEN) .venv/ready
	@mkdir -p build
	@rm -f $@
	@if sh .ci/tex.sh; then exec $(RUN) sh written/build.sh . $@; fi
