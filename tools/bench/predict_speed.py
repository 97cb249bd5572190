"""Prediction: faces a second of `make predict` on frames of the demo set, once all is loaded.

By S1R1 with random weights: how fast it is does not depend on them.
"""
import json
import statistics
import tempfile
import time
from pathlib import Path

import caffe
from tqdm import tqdm

from data_prep import datasets, workers
from prototxt import net
from tools.core import network, prediction, predictor

RAW = Path('data/raw/demo')
VARIANT = 's1r1'
CLASSES = list(datasets.SEVEN)


def measure(many=256, rounds=5):
    """[(name, value, unit)] for so many frames, SystemExit where they are yet to be drawn."""
    paths = sorted(RAW.glob('cohn-kanade-images/*/*/*.png'))
    if not paths:
        raise SystemExit(f'{RAW} holds no frames: run `make data` first.')
    # spread over the whole set, so over people, light and depth of expression
    jobs = [(str(path), None, None) for path in paths[::max(1, len(paths) // many)][:many]]
    number = workers.usable()
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder))
        model = predictor.Predictor(folder)

    whole, alone = [], []
    with workers.pool(number) as pool:
        list(pool.map(prediction.search, jobs[:4 * number]))  # each worker has its detector then
        for _ in tqdm(range(rounds), desc='predict', ascii=True):
            begun = time.perf_counter()
            searched = prediction.ahead(pool, jobs)
            pictures = [picture for picture, _ in prediction.recognised(model, searched)]
            whole.append(time.perf_counter() - begun)

            found = [picture.found for picture in pictures]
            begun = time.perf_counter()
            model.recognise(found)
            alone.append(time.perf_counter() - begun)

    faces = sum(map(len, found))
    if not faces:
        raise SystemExit(
            f'No face was found in {len(jobs)} frames of {RAW}: run `make data` again.')
    return [(f'faces found and recognised a second, {len(jobs)} pictures, {number} workers',
             faces / statistics.median(whole), '/s'),
            (f'faces recognised a second, {VARIANT}, found and aligned before',
             faces / statistics.median(alone), '/s')]


def make_run(folder):
    """Makes what Predictor needs of a run folder, untrained."""
    deploy = folder / 'deploy.prototxt'
    deploy.write_text(net.deploy(VARIANT, len(CLASSES)))
    made = caffe.Net(str(deploy), caffe.TEST)
    for name, blobs in made.params.items():
        # means 0, variances 1, as if averaged over one batch
        if made.layer_dict[name].type == 'BatchNorm':
            for blob, value in zip(blobs, (0, 1, 1)):
                blob.data[...] = value
    (folder / 'snapshots').mkdir()
    made.save(str(folder / f'snapshots/{VARIANT}_iter_1.caffemodel'))
    run = dict(dataset='bench', variant=VARIANT, fold=0, seed=1, iterations=1, classes=CLASSES,
               crop=network.ALIGNMENT)
    (folder / 'run.json').write_text(json.dumps(run))
