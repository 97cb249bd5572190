# GCNet in BVLC Caffe. `make demo` shows the whole method, `make test` passes the tests; `make help` lists the rest.
# Every command runs in the environment that docker/enter finds or makes: the image, Docker, or a root file system.

DATASET = demo
VARIANT = s1r1
FOLD = 0
SEED = 1

# Optional: ITERS LR BATCH WEIGHTS GPU SET (make train), RAW FOLDS FRAMES WORKERS VALIDATE (make data)
option = $(if $($(2)),--$(1) '$($(2))')
run = --dataset '$(DATASET)' --variant '$(VARIANT)' --fold '$(FOLD)' --seed '$(SEED)'
frequencies = $(if $(filter-out 0,$(FREQUENCIES)),--frequencies)
train = $(call option,iters,ITERS) $(call option,base-lr,LR) $(call option,batch,BATCH) $(call option,weights,WEIGHTS) \
	$(call option,gpu,GPU) $(foreach setting,$(SET),--set '$(setting)')

enter = docker/enter
python = $(enter) env GLOG_minloglevel=2 python3 -m

.DEFAULT_GOAL = help
.PHONY: help demo recipe data contact-sheet train pretrain evaluate cv baselines tables figures report predict export bench \
	prototxt drawing shell test clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

# The recipe of docs/results.md, for a CPU: the paper's solver with a larger learning rate that falls sooner. En1 and De1,r
# start as `make pretrain` left them, once for all data sets (and En2, where people were told apart); En2 and FC learn the
# expressions of a fold, and each network of the comparison goes on from there, as long as any other.
PRETRAINED = prototxt/pretrained
START = 360
LAST = 420
EXPRESSION = ITERS=$(START) BATCH=32 LR=0.01 SET='gamma=0.02 balance=1' WEIGHTS=$(wildcard $(PRETRAINED)/identity.caffemodel)
COMPARED = ITERS=$(LAST) BATCH=32 LR=0.01 SET='gamma=0.04 balance=1 generator=change decoder=switches pixel_scale=relative' WEIGHTS=
both = $(PRETRAINED)/generator.caffemodel,$(expression)
expression = runs/$(DATASET)/expression/fold{fold}_seed{seed}/snapshots/expression_iter_$(START).caffemodel
make = $(MAKE) --no-print-directory DATASET='$(DATASET)'

demo: data  ## everything on the drawn faces: data, a short training of S1R1 and the CNN, test on unseen people, report
	@$(make) recipe FOLDS=3 VARIANTS='cnn s1r1' LAST=160
	@$(make) report

VARIANTS = cnn s1r1
of = $(strip $(filter $(1),$(VARIANTS)))
recipe:  ## make cv by the recipe of docs/results.md [VARIANTS= FOLDS= SEEDS= JOBS= PRETRAINED= LAST=iterations]
	@$(make) cv VARIANTS=expression $(EXPRESSION)
	$(if $(call of,s%),@$(make) cv VARIANTS='$(call of,s%)' $(COMPARED)$(both))
	$(if $(call of,cnn metric),@$(make) cv VARIANTS='$(call of,cnn metric)' $(COMPARED)$(expression))

data: export GCNET_MOUNTS = $(RAW):$(FOLDS)
data:  ## pairs, crops and folds of DATASET from RAW=folder [FOLDS= FRAMES= WORKERS= VALIDATE=0.1]
ifeq ($(DATASET)$(RAW),demo)
	$(python) data_prep.drawn.demo_faces --out data/raw/demo
endif
	$(python) data_prep.build --dataset '$(DATASET)' $(call option,raw,RAW) $(call option,folds,FOLDS) \
		$(call option,frames,FRAMES) $(call option,workers,WORKERS) $(call option,validate,VALIDATE)
	@mkdir -p runs

contact-sheet:  ## one picture of what was built for DATASET: X and Xr by person and class
	$(python) tools.contact_sheet --dataset '$(DATASET)'

train:  ## VARIANT on FOLD of DATASET, then the test; the same command resumes [ITERS= LR= BATCH= SEED= GPU= WEIGHTS= SET=]
	$(python) tools.train $(run) $(train)
	$(python) tools.evaluate $(run)

# Pre-training, section 4.1 of the paper, on the people in RAW (a folder a person): auto-encoder and identification CNN. Without
# RAW, on 500 drawn people who are in no other set: of these a neutral face is known, and their auto-encoder draws it.
ifdef RAW
PEOPLE = webface
FIRST = autoencoder
OTHER = identity
else
PEOPLE = demo_people
FIRST = generator
endif
pretrain: export GCNET_MOUNTS = $(RAW)
pretrain:  ## generator on drawn people, or auto-encoder and identification CNN on RAW=folder, for make recipe PRETRAINED=
	$(if $(RAW),,$(python) data_prep.drawn.demo_faces --out data/raw/people --people 500 --seed 3)
	$(python) data_prep.build --dataset $(PEOPLE) --raw '$(or $(RAW),data/raw/people)' $(call option,workers,WORKERS)
	@$(make) train DATASET=$(PEOPLE) FOLD=0 VARIANT=$(FIRST) ITERS=$(or $(ITERS),8000) BATCH=$(or $(BATCH),16) LR=$(or $(LR),0.015) \
		SET='$(or $(SET),gamma=0.002 generator=change decoder=switches)'
	$(if $(OTHER),@$(make) train DATASET=$(PEOPLE) FOLD=0 VARIANT=$(OTHER) ITERS=$(or $(ITERS),4000) BATCH=$(or $(BATCH),32) \
		LR=$(or $(LR),0.01) SET='$(or $(SET),gamma=0.004)')
	$(python) tools.extract_weights $(foreach variant,$(FIRST) $(OTHER),runs/$(PEOPLE)/$(variant)/fold0_seed$(SEED)) \
		--out runs/$(PEOPLE)/pretrained
	@echo 'Start from them: make recipe PRETRAINED=runs/$(PEOPLE)/pretrained'

evaluate:  ## test of a trained run on its test fold
	$(python) tools.evaluate $(run)

# FOLDS is a list of numbers here ("0 1 2" or 0-4), not a file as in make data.
cv:  ## every fold of VARIANTS="cnn s1r1", several at once; the same command goes on [FOLDS= SEEDS= JOBS= GPUS= ITERS= ...]
	$(python) tools.cv --dataset '$(DATASET)' $(call option,variants,VARIANTS) $(call option,folds,FOLDS) \
		$(call option,seeds,SEEDS) $(call option,jobs,JOBS) $(call option,gpus,GPUS) $(train)

baselines:  ## HOG and LBP with a linear SVM, on the same folds and crops [FOLDS=]
	$(python) tools.baselines --dataset '$(DATASET)' $(call option,folds,FOLDS)

tables:  ## the paper's Tables 2-5 from all tested runs of DATASET, with intervals [FREQUENCIES=1: see docs/decisions.md, 20]
	$(python) tools.core.predictions --dataset '$(DATASET)'
	$(python) tools.tables --dataset '$(DATASET)'
	$(if $(frequencies),$(python) tools.tables --dataset '$(DATASET)' $(frequencies))
	$(python) tools.references --dataset '$(DATASET)'

figures: export GCNET_MOUNTS = $(RAW)
figures:  ## the paper's Figures 4-7, learning curves, confusion matrices, as PNG and PDF [RAW= FOLD= FOLDS= SEED=]
	$(python) tools.make_figures --dataset '$(DATASET)' --seed '$(SEED)' $(call option,raw,RAW) \
		$(call option,folds,FOLDS) $(if $(filter-out file,$(origin FOLD)),--fold '$(FOLD)')

report: tables figures  ## one page of all tested runs of DATASET: tables, figures, commands, settings, versions
	$(python) tools.report --dataset '$(DATASET)'

predict: export GCNET_MOUNTS = $(IMAGE):$(RUN)
predict:  ## expressions in IMAGE= (picture, folder, video) or of WEBCAM=0 [RUN= FORMAT=json OUT= EVERY= WORKERS= FREQUENCIES=1]
	@$(python) tools.predict $(if $(IMAGE),'$(IMAGE)') $(frequencies) $(call option,run,RUN) $(call option,format,FORMAT) \
		$(call option,out,OUT) $(call option,every,EVERY) $(call option,webcam,WEBCAM) $(call option,draw,DRAW) $(call option,workers,WORKERS)

export: export GCNET_MOUNTS = $(RUN)
export:  ## what is needed to use the tested RUN=folder elsewhere, about 11 MB, into the new OUT=folder
	@$(python) tools.export $(call option,run,RUN) $(call option,out,OUT)

bench: data  ## how fast things are on this machine [PART="data network predict"]
	$(python) tools.bench.measure $(PART)

prototxt:  ## write prototxt/*.prototxt again, after a change of prototxt/net.py
	$(python) prototxt.net

drawing:  ## draw S1R1's data flow again (prototxt/gcnet_s1r1.png)
	$(python) tools.draw_network

shell:  ## a prompt in the environment
	$(enter) bash

test:  ## the tests
	$(python) pytest -q -rs -p no:cacheprovider tests

clean:  ## remove what was built and trained (data/, runs/)
	rm -rf data runs
