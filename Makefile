# GCNet in BVLC Caffe. `make demo` shows the whole method, `make test` passes the tests; `make help`
# lists the rest. Every command runs in the environment that docker/enter finds or makes: the image,
# Docker, or a root file system.

DATASET ?= demo
PORT ?= 8000

# What a command may be given, NAME=value. Each value goes as it is through the environment into one
# word of a program's: neither Make nor a shell reads anything in it.
values = DATASET VARIANT VARIANTS FOLD FOLDS SEED SEEDS ITERS LR BATCH WEIGHTS SET GPU GPUS JOBS \
	PRETRAINED LAST RAW WEBFACE FACES SPLIT VALIDATE REFERRED JOIN FRAMES WORKERS IMAGE WEBCAM RUN \
	OUT DRAW FORMAT EVERY FREQUENCIES PART START LAYER PORT
# What else a command line may set: Make's own, and what docker/enter and the programs read.
others = GCNET_% SSL_CERT_FILE DOCKER_% http_proxy https_proxy no_proxy CI TERM HOME PATH TMPDIR \
	SHELL MAKE% OPENBLAS_% OMP_% CUDA_%
$(foreach name,$(filter-out $(values) $(others),$(.VARIABLES)),$(if $(filter command,$(firstword \
	$(origin $(name)))),$(error no command takes $(name): see `make help` and docs/training.md)))
# Those that were given, and which of them a command would pass over, though another takes them:
# `make cv FOLD=3` would train every fold.
given := $(foreach name,$(values),$(if $(filter command environment,$(firstword \
	$(origin $(name)))),$(if $(value $(name)),$(name))))
single = VARIANT FOLD SEED GPU
several = VARIANTS FOLDS SEEDS GPUS JOBS
schedule = LR BATCH WEIGHTS SET
start = PRETRAINED LAST
# Of `make data`; of these data_prep.join, which JOIN calls, takes none.
built = SPLIT FRAMES VALIDATE REFERRED JOIN
not_data = $(if $(value JOIN),RAW FOLDS $(built:JOIN=))
# What `make paper` gives on to `make data`, `make report` then sees as well.
not_given_on = $(filter-out SPLIT FRAMES,$(built))
not_demo = $(single) $(schedule) ITERS VARIANTS FOLDS LAST $(built)
not_recipe = $(single) $(schedule) ITERS $(built)
not_paper = $(single) $(schedule) VARIANTS $(start) $(not_given_on)
not_cv = $(single) $(start) $(built)
not_train = $(several) $(start) $(built)
not_pretrain = $(several) VARIANT FOLD GPU WEIGHTS $(start) $(built)
not_evaluate = $(several) $(schedule) ITERS GPU $(start) $(built)
not_balance-of-losses = $(not_evaluate)
not_baselines = $(single) $(several:FOLDS=) $(schedule) ITERS $(start) $(built)
not_probe = $(not_baselines)
not_tables = $(not_baselines) FOLDS
not_figures = VARIANT GPU $(several:FOLDS=) $(schedule) ITERS $(start) $(built)
not_report = VARIANT VARIANTS GPU $(schedule) LAST $(not_given_on)
$(foreach goal,$(MAKECMDGOALS),$(foreach name,$(filter $(not_$(goal)),$(given)),$(error \
	make $(goal) takes no $(name): see `make help` and docs/training.md)))
$(foreach name,$(values),$(eval override $(name) := $$(value $(name))))
export $(values)

# --option="$VARIABLE", where it has a value
option = $${$(2):+--$(1)="$$$(2)"}
# --option, where the variable has a value other than 0
flag = $(if $(filter-out 0,$($(2))),--$(1))
dataset = --dataset="$$DATASET"
run = $(dataset) $(call option,variant,VARIANT) $(call option,fold,FOLD) $(call option,seed,SEED)
folds = $(call option,folds,FOLDS)
many = $(call option,variants,VARIANTS) $(folds) $(call option,seeds,SEEDS) \
	$(call option,jobs,JOBS) $(call option,gpus,GPUS)
training = $(call option,iters,ITERS) $(call option,base-lr,LR) $(call option,batch,BATCH) \
	$(call option,weights,WEIGHTS) $(call option,gpu,GPU) $(call option,set,SET)
workers = $(call option,workers,WORKERS)
frequencies = $(call flag,frequencies,FREQUENCIES)

enter = docker/enter
# Ctrl-C waits until the program can end in a word (data_prep/__init__.py).
python = $(enter) env --block-signal=INT GLOG_minloglevel=2 python3 -m
# Where hours are spent: the Caffe compiled for this processor, if it has been made (docker/enter).
fast = GCNET_CAFFE="$${GCNET_CAFFE:-fast}" $(python)

.DEFAULT_GOAL = help
commands = demo recipe paper data contact-sheet train pretrain evaluate cv balance-of-losses \
	baselines tables probe figures report predict serve export bundle bench prototxt drawing shell \
	test lint
.PHONY: help doctor clean $(commands)

# The way in is chosen once a command, when its first program starts, and told to all that follow.
asked := $(value GCNET_WAY)
kind = $(filter cuda native,$(GCNET_CAFFE))
ask = GCNET_CAFFE=$(kind) $(enter) --which || echo none
way = $(eval way := $$(or $$(asked),$$(shell $$(ask))))$(way)
$(commands): export GCNET_WAY = $(way)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 24

doctor:  ## what this machine can do, what is made, built and trained here, and what to do next
	@docker/doctor

demo: export GCNET_READ = PRETRAINED
demo: data  ## all on the drawn faces: data, a short training of S1R1 and the CNN, test, report
	$(python) tools.recipe compare $(dataset) --folds=3 --last=160 $(call option,seeds,SEEDS) \
		$(call option,jobs,JOBS) $(call option,gpus,GPUS) $(call option,pretrained,PRETRAINED)
	@$(MAKE) --no-print-directory report

recipe: export GCNET_READ = PRETRAINED
recipe:  ## make cv by the recipe of docs/results.md [VARIANTS= FOLDS= SEEDS= JOBS= LAST= ...]
	$(fast) tools.recipe compare $(dataset) $(many) $(call option,pretrained,PRETRAINED) \
		$(call option,last,LAST)

paper: export GCNET_READ = RAW WEBFACE
paper:  ## the paper's experiment, its own settings [RAW= WEBFACE=people ITERS= FOLDS= JOBS= ...]
	@$(MAKE) --no-print-directory data FOLDS=
ifdef WEBFACE
	$(python) data_prep.build --dataset webface --raw="$$WEBFACE" $(workers)
endif
	$(fast) tools.paper $(dataset) $(folds) $(call option,seeds,SEEDS) $(call option,jobs,JOBS) \
		$(call option,gpus,GPUS) $(call option,iters,ITERS)
	$(python) tools.baselines $(dataset) $(folds)
	@$(MAKE) --no-print-directory report

data: export GCNET_READ = RAW SPLIT FOLDS
data:  ## pairs, crops, folds of DATASET from RAW=folder [SPLIT= VALIDATE=0.1 REFERRED=1 JOIN= ...]
ifdef JOIN
	$(python) data_prep.join $(dataset) -- $$JOIN
else
ifeq ($(DATASET)$(RAW),demo)
	$(python) data_prep.drawn.demo_faces --out data/raw/demo
endif
	$(python) data_prep.build $(dataset) $(call option,raw,RAW) $(call option,split,SPLIT) $(folds) \
		$(call option,frames,FRAMES) $(workers) $(call option,validate,VALIDATE) \
		$(call flag,referred,REFERRED)
endif
	@$(enter) mkdir -p runs  # for what a cluster's tasks say, see tools/cv.sbatch

contact-sheet:  ## one picture of what was built for DATASET: X and Xr by person and class
	$(python) tools.contact_sheet $(dataset)

train: export GCNET_READ = WEIGHTS
train:  ## VARIANT on FOLD, then the test; it resumes [ITERS= LR= BATCH= SEED= GPU= WEIGHTS= SET=]
	$(fast) tools.train $(run) $(training)
	$(fast) tools.evaluate $(run)

pretrain: export GCNET_READ = RAW
pretrain:  ## what make recipe begins with, on drawn people, RAW=people, or FACES=a built data set
ifndef FACES
ifdef RAW
	$(python) data_prep.build --dataset webface --raw="$$RAW" $(workers)
else
	$(python) data_prep.drawn.demo_faces --out data/raw/people --people 500 --seed 3
	$(python) data_prep.build --dataset demo_people --raw data/raw/people $(workers)
endif
endif
	$(fast) tools.recipe pretrain $(if $(FACES),$(call option,faces,FACES),$(if $(RAW),--raw)) \
		$(call option,seed,SEED) $(call option,iters,ITERS) $(call option,batch,BATCH) \
		$(call option,lr,LR) $(call option,set,SET)

evaluate:  ## test of a trained run on its test fold
	$(python) tools.evaluate $(run)

cv: export GCNET_READ = WEIGHTS
cv:  ## every fold of VARIANTS="cnn s1r1"; it goes on [FOLDS="0 1" SEEDS= JOBS= GPUS= ITERS= ...]
	$(fast) tools.cv $(dataset) $(many) $(training)

balance-of-losses:  ## how much each loss of a run moves En2, so that none is dead [START=1 LAYER=]
	$(python) tools.balance_of_losses $(run) $(call flag,start,START) $(call option,layer,LAYER)

baselines:  ## HOG and LBP with a linear SVM, on the same folds and crops [FOLDS=]
	$(python) tools.baselines $(dataset) $(folds)

tables:  ## the paper's Tables 2-5 from all tested runs of DATASET, with intervals [FREQUENCIES=1]
	$(python) tools.core.predictions $(dataset)
	$(python) tools.tables $(dataset)
	$(if $(frequencies),$(python) tools.tables $(dataset) $(frequencies))
	$(python) tools.references $(dataset)

probe:  ## what linear probes read off the codes of tested runs: expression, person [FOLDS=]
	$(python) tools.probe $(dataset) $(folds)

figures: export GCNET_READ = RAW
figures:  ## Figures 4-7, learning curves, confusion matrices, PNG and PDF [RAW= FOLD= FOLDS= SEED=]
	$(python) tools.make_figures $(dataset) $(call option,raw,RAW) $(call option,fold,FOLD) $(folds) \
		$(call option,seed,SEED)

report: tables figures  ## one page of all tested runs: tables, figures, settings, versions
	$(python) tools.report $(dataset)

predict: export GCNET_READ = IMAGE RUN
predict: export GCNET_WRITE = OUT
predict:  ## expressions in IMAGE= (picture, folder, video) [RUN= FORMAT=json OUT= EVERY= DRAW= ...]
	@$(python) tools.predict $(frequencies) $(call option,run,RUN) $(call option,format,FORMAT) \
		$(call option,out,OUT) $(call option,every,EVERY) $(call option,webcam,WEBCAM) \
		$(call option,draw,DRAW) $(workers) $${IMAGE:+-- "$$IMAGE"}

serve: export GCNET_READ = RUN
serve: export GCNET_PUBLISH = PORT
serve:  ## the same in a browser on this machine, photo or webcam: a page at PORT=8000 [RUN= ...]
	@$(python) tools.serve --port="$$PORT" $(call option,run,RUN) $(frequencies)

export: export GCNET_READ = RUN
export: export GCNET_WRITE = OUT
export:  ## what using the tested RUN=folder elsewhere needs, also as ONNX, into the new OUT=folder
	@$(python) tools.export $(call option,run,RUN) $(call option,out,OUT)

bundle: export GCNET_CAFFE = cuda
bundle: export GCNET_WRITE = OUT
bundle:  ## the CUDA environment in files below 60 MB, for a machine without network or root [OUT=]
	$(python) tools.bundle $(call option,out,OUT)

bench: data  ## how fast things are on this machine [PART="data network predict"]
	$(python) tools.bench.measure $$PART

prototxt:  ## write prototxt/*.prototxt again, after a change of prototxt/net.py
	$(enter) python3 -m prototxt.net

drawing:  ## draw S1R1's data flow again (prototxt/gcnet_s1r1.png)
	$(python) tools.draw_network

shell:  ## a prompt in the environment
	$(enter) bash

scripts = $(filter-out docker/packages.txt docker/patches docker/Dockerfile,$(wildcard docker/*))
lint:  ## ruff on all Python programs, shellcheck on all shell scripts
	$(enter) ruff check --quiet --no-cache --select E,F,I,B --line-length 100 --target-version py39 .
	$(enter) shellcheck $(scripts) tools/cv.sbatch .ci/run

# A file's tests stay together, for what they make once.
test: lint  ## make lint, then the tests, on all cores
	$(enter) sh -c 'GLOG_minloglevel=2 exec python3 -m pytest -q -rs -p no:cacheprovider \
		-n "$$(nproc)" --dist loadfile tests'

# Raw pictures, and points that somebody may have corrected, are not ours to remove.
clean:  ## remove runs/ and what was built and drawn in data/; data/raw and *.points.csv stay
	rm -rf runs data/raw/demo data/raw/people
	[ ! -d data ] || find -H data -mindepth 1 -maxdepth 1 ! -name raw ! -name '*.points.csv' \
		-exec rm -rf {} +
