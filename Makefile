# make          run both notebooks in full, build the report: the hand-in in submission/
# make quick    the same in a few minutes, with fewer seeds and epochs: build/quick/
# make test     every check: style, unit tests, proofs, report, both notebooks
# make pdf      rebuild written/a4-writeup.pdf and the README's table from the notebooks as stored
# make release  after `make`: take the executed notebooks into the repository, then `make pdf`
# make plateau  train the U-Nets twice as long: written/plateau.txt
# make colab    run the notebooks with the versions that Colab has
# make badges REPOSITORY=owner/name  let the Colab badges open that repository
# make clean    remove all that the targets above made
# Each of them first makes the virtual environment .venv that it needs.

NOTEBOOKS := a4-gnn.ipynb a4-unet.ipynb
EXECUTED := $(NOTEBOOKS:%=build/%)
QUICK := $(NOTEBOOKS:%=build/quick/%)
REPORT := $(foreach kind,py sh tex bib txt,$(wildcard written/*.$(kind) written/*/*.$(kind)))
PYTHON := .venv/bin/python
MINUTES = $(shell awk -F minutes= '/RESULT notebook=/ { sum += $$2 } END { print int(sum + 1) }' \
    $(NOTEBOOKS))

# prefix of a command that is to end when `make` is killed
export RUN := $(shell command -v setpriv >/dev/null && echo setpriv --pdeathsig TERM)
unexport A4_QUICK A4_LONGER A4_SEEDS # a full run is one whatever the caller has set

.DELETE_ON_ERROR:
.PHONY: all plan quick test pdf release plateau colab badges clean

all: plan $(EXECUTED) build/a4-writeup.pdf
	@mkdir -p submission
	@cp $(EXECUTED) submission
	@cp build/a4-writeup.pdf submission 2>/dev/null || cp written/a4-writeup.pdf submission
	@echo "ready to hand in: $$(ls submission/*)"

plan:
	@echo "make: .venv (once; several GB), both notebooks in full (about $(MINUTES) minutes on two" \
	    "cores; make quick: a few), then the report; what is there already is kept"

.venv/ready: requirements.txt tests/requirements.txt
	exec $(RUN) sh .ci/venv.sh .venv $^
	@touch $@

# Run the notebook $< into the file $@.
define EXECUTE
@mkdir -p $(@D)
exec $(RUN) $(PYTHON) -m nbconvert --to notebook --execute --ExecutePreprocessor.timeout=-1 \
    --ExecutePreprocessor.record_timing=False --output-dir $(@D) --output part-$(@F) $<
@mv $(@D)/part-$(@F) $@
endef

$(EXECUTED): build/%: % .venv/ready
	$(EXECUTE)

build/a4-writeup.pdf: $(EXECUTED) $(REPORT) .venv/ready
	exec $(RUN) sh written/build.sh build $@

$(QUICK): export A4_QUICK := 1
$(QUICK): build/quick/%: % .venv/ready
	$(EXECUTE)

quick: $(QUICK)
	exec $(RUN) sh written/build.sh build/quick build/quick/a4-writeup.pdf
	@[ -e build/quick/a4-writeup.pdf ] || cp written/a4-writeup.pdf build/quick
	@echo "a first look, with the numbers of short runs: $$(ls build/quick/*)"

test: export A4_QUICK := 1
test: export OMP_NUM_THREADS := 1
test: .venv/ready
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	exec $(RUN) $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	    --nbval-lax --nbval-cell-timeout=1800 a4-unet.ipynb a4-gnn.ipynb tests

pdf: .venv/ready
	exec $(RUN) sh written/build.sh . build/stored.pdf
	cp build/stored.pdf written/a4-writeup.pdf
	$(PYTHON) written/lift.py --readme

release: all
	cp -p $(EXECUTED) .
	$(MAKE) pdf

build/plateau/a4-unet.ipynb: export A4_LONGER := 2
build/plateau/a4-unet.ipynb: export A4_SEEDS := 2
build/plateau/a4-unet.ipynb: a4-unet.ipynb .venv/ready
	$(EXECUTE)

plateau: build/plateau/a4-unet.ipynb
	$(PYTHON) written/plateau.py $<

build/colab/ready: tests/colab.txt
	@mkdir -p build
	exec $(RUN) sh .ci/venv.sh build/colab $^
	@touch $@

colab: build/colab/ready
	exec $(RUN) build/colab/bin/python tests/colab.py $(NOTEBOOKS)

badges:
	@sh .ci/badges.sh '$(REPOSITORY)'

clean:
	rm -rf .venv build submission .pytest_cache .ruff_cache
	find . \( -name __pycache__ -o -name .ruff_cache -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
