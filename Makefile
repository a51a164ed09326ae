# make          set up, execute both notebooks, build the report: the hand-in in submission/
# make test     set up and run every check: style, unit tests, proofs, report, both notebooks
# make pdf      rebuild written/a4-writeup.pdf and the README's table from the notebooks as stored
# make release  after `make`: take the executed notebooks into the repository, then `make pdf`
# make clean    remove all that the targets above made

NOTEBOOKS := a4-gnn.ipynb a4-unet.ipynb
EXECUTED := $(NOTEBOOKS:%=build/%)
REPORT := $(wildcard written/*.py written/*.tex written/sections/*.tex written/*.bib)
PYTHON := .venv/bin/python

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300
INSTALL = $(APT) update >/dev/null 2>&1 && $(APT) install -y --no-install-recommends >/dev/null 2>&1
TEX := texlive-xetex texlive-latex-extra texlive-pictures texlive-fonts-recommended lmodern \
    latexmk fonts-dejavu-core
HAVE_TEX := command -v latexmk >/dev/null && command -v xelatex >/dev/null && \
    kpsewhich fvextra.sty >/dev/null && kpsewhich tikz.sty >/dev/null && \
    kpsewhich lmodern.sty >/dev/null
LATEX := latexmk -xelatex -halt-on-error -outdir=../build/written a4-writeup.tex

.DELETE_ON_ERROR:
.PHONY: all test pdf release clean

all: submission/a4-writeup.pdf $(NOTEBOOKS:%=submission/%)
	@echo "ready to hand in: $$(ls submission/*)"

.venv/ready: requirements.txt tests/requirements.txt
	@python3 -c 'import ensurepip, venv' 2>/dev/null || $(INSTALL) python3 python3-venv || \
	    { echo "Python's venv is missing: run 'sudo apt-get install python3 python3-venv'"; exit 1; }
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet -r requirements.txt -r tests/requirements.txt
	touch $@

build/%.ipynb: %.ipynb .venv/ready
	@mkdir -p build
	$(PYTHON) -m nbconvert --to notebook --execute --ExecutePreprocessor.timeout=3600 \
	    --ExecutePreprocessor.record_timing=False --output build/$*.part.ipynb $<
	mv build/$*.part.ipynb $@

# Build build/a4-writeup.pdf from the executed notebooks in the folder $(1).
define typeset
@$(HAVE_TEX) || $(INSTALL) $(TEX) || \
    { echo "TeX is missing: run 'sudo apt-get install $(TEX)'; until then the PDF is" \
           "written/a4-writeup.pdf as committed"; cp written/a4-writeup.pdf build/; \
      touch -d 2000-01-01 build/a4-writeup.pdf; } # so old that the next make tries again
@! $(HAVE_TEX) || { set -ex; mkdir -p build/written; rm -rf build/written/*; \
    $(PYTHON) written/lift.py $(1) build/written/lifted; \
    $(PYTHON) written/proof_figures.py build/written; \
    cd written; $(LATEX) >../build/latex.log 2>&1 || { tail -n 40 ../build/latex.log; exit 1; }; \
    cp ../build/written/a4-writeup.pdf ../build/a4-writeup.pdf; }
endef

build/a4-writeup.pdf: $(EXECUTED) $(REPORT) .venv/ready
	$(call typeset,build)

submission/%: build/%
	@mkdir -p submission
	cp $< $@.part && mv $@.part $@

pdf: .venv/ready
	@mkdir -p build
	$(call typeset,.)
	cp build/a4-writeup.pdf written/a4-writeup.pdf
	$(PYTHON) written/lift.py --readme

release: all
	cp -p $(EXECUTED) .
	$(MAKE) pdf

# One core runs the GNN notebook again while the other runs the tests; then the U-Net has both.
test: .venv/ready
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	    --nbval-lax --nbval-cell-timeout=3600 a4-gnn.ipynb tests
	$(PYTHON) -m pytest --nbval-lax --nbval-cell-timeout=3600 a4-unet.ipynb

clean:
	rm -rf .venv build submission .pytest_cache .ruff_cache
	rm -f data/17flowers.tgz data/trimaps.tgz
	find . \( -name __pycache__ -o -name .ruff_cache -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
