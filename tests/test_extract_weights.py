"""Weights go from the pre-trained networks into GCNet by name; the streams of En2 stay one; batch
norm; repeatability."""
import csv
import os
import shutil
import subprocess
import sys

import caffe
import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2

import tools.extract_weights
from prototxt import net

ENVIRONMENT = {
    **os.environ, 'PYTHONPATH': str(places.ROOT), 'OPENBLAS_NUM_THREADS': '1',
    'GLOG_minloglevel': '2'
}
LEARNED = [f'{layer}{i}' for layer in ('conv', 'scale') for i in (1, 2, 3)]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with a data set of 24 smooth random pairs, three classes."""
    place = tmp_path_factory.mktemp('pretraining')
    places.build_smooth(place, 24, ['a', 'b', 'c'])
    return place


def network(place, variant, batch_size, phase=caffe.TRAIN, **settings):
    """The training network of a variant on that data set, as a file and loaded."""
    path, source = place / f'{variant}.prototxt', place / 'data/demo/fold0/train_lmdb'
    path.write_text(
        net.train_val(variant, 3, source, source, batch_size=batch_size, test_batch_size=batch_size,
                      **settings))
    return path, caffe.Net(str(path), phase)


def train(place, variant, iterations, rate, *arguments, **settings):
    """Weights, {layer: [array of each blob]}, after `caffe train`."""
    path, _ = network(place, variant, 4, **settings)
    text = net.solver(path, place / variant, max_iter=iterations, base_lr=rate, mode='CPU',
                      test_iter=1)
    (place / 'solver.prototxt').write_text(text)
    subprocess.run(['caffe', 'train', '-solver', place / 'solver.prototxt', *arguments], check=True,
                   env=ENVIRONMENT)
    return weights(place / f'{variant}_iter_{iterations}.caffemodel')


def weights(path):
    model = caffe_pb2.NetParameter.FromString(path.read_bytes())
    return {
        layer.name: [np.array(blob.data)
                     for blob in layer.blobs]
        for layer in model.layer
        if layer.blobs
    }


@pytest.fixture(scope='module')
def pretrained(place):
    return {variant: train(place, variant, 2, 0.01) for variant in net.PRETRAINING}


def test_encoders_hold_exactly_the_pretrained_weights(place, pretrained):
    """One iteration at rate 0 of `caffe train -weights a,b` writes what was loaded."""
    models = ','.join(
        str(place / f'{variant}_iter_2.caffemodel') for variant in ('autoencoder', 'identity'))
    loaded = train(place, 's1r1', 1, 0, '-weights', models)
    fresh = train(place, 's1r1', 1, 0)
    for layer in LEARNED:
        for stream, source, owner in (('en1', 'autoencoder', 'en1'), ('en2', 'identity', 'en2'),
                                      ('en2_r', 'identity', 'en2')):
            for ours, theirs in zip(loaded[f'{stream}/{layer}'],
                                    pretrained[source][f'{owner}/{layer}']):
                np.testing.assert_array_equal(ours, theirs)
    # people are not expressions
    np.testing.assert_array_equal(loaded['fc1_delta'][0], fresh['fc1_delta'][0])
    np.testing.assert_array_equal(loaded['de1_r/deconv1'][0], fresh['de1_r/deconv1'][0])
    assert np.abs(loaded['en1/conv1'][0] - fresh['en1/conv1'][0]).max() > 1e-4


@pytest.mark.parametrize('variant, taken', [('cnn', ['fc1', 'score']), ('s1r1', [])])
def test_networks_start_with_the_encoder_and_a_cnn_with_the_classifier_trained_on_expressions(
        place, pretrained, variant, taken):
    loaded = train(place, variant, 1, 0, '-weights', place / 'expression_iter_2.caffemodel')
    fresh = train(place, variant, 1, 0)
    for layer in (*(f'en2/{name}' for name in LEARNED), *taken):
        for ours, theirs in zip(loaded[layer], pretrained['expression'][layer]):
            np.testing.assert_array_equal(ours, theirs)
    # what tells codes apart does not tell their distances apart
    for layer in ('fc1_delta', 'score_delta'):
        assert (layer in loaded) == (variant == 's1r1')
        if layer in loaded:
            np.testing.assert_array_equal(loaded[layer][0], fresh[layer][0])


def test_encoder_and_decoder_hold_exactly_the_generators_weights(place, pretrained):
    loaded = train(place, 's1r1', 1, 0, '-weights', place / 'generator_iter_2.caffemodel')
    fresh = train(place, 's1r1', 1, 0)
    for layer in (*(f'en1/{name}' for name in LEARNED),
                  *(f'de1_r/de{name}' for name in LEARNED if 'conv' in name)):
        np.testing.assert_array_equal(loaded[layer][0], pretrained['generator'][layer][0])
        assert np.abs(loaded[layer][0] - fresh[layer][0]).max() > 1e-4 or 'scale' in layer
    np.testing.assert_array_equal(loaded['en2/conv1'][0], fresh['en2/conv1'][0])


def test_what_is_kept_of_pretrained_runs(place, pretrained, tmp_path, monkeypatch):
    """Encoder and decoder, the weights to the last bit; not who is who, nor the description with
    the paths of the data."""
    monkeypatch.chdir(tmp_path)
    folders = []
    for variant in ('generator', 'identity'):
        folders.append(tmp_path / variant)
        (folders[-1] / 'snapshots').mkdir(parents=True)
        for end in ('caffemodel', 'solverstate'):
            shutil.copy(place / f'{variant}_iter_2.{end}', folders[-1] / 'snapshots')
    monkeypatch.setattr(sys, 'argv', ['x', *map(str, folders), '--out', 'a/b'])
    tools.extract_weights.main()
    for variant, parts in (('generator', {'en1', 'de1_r'}), ('identity', {'en2'})):
        kept = weights(tmp_path / f'a/b/{variant}.caffemodel')
        assert {name.split('/')[0] for name in kept} == parts
        for name, blobs in kept.items():
            for ours, theirs in zip(blobs, pretrained[variant][name]):
                np.testing.assert_array_equal(ours, theirs)
        assert b'data/demo' not in (tmp_path / f'a/b/{variant}.caffemodel').read_bytes()
    for end in ('caffemodel', 'solverstate'):
        shutil.copy(place / f'autoencoder_iter_2.{end}',
                    folders[0] / f'snapshots/autoencoder_iter_2.{end}')
        (folders[0] / f'snapshots/generator_iter_2.{end}').unlink()
    tools.extract_weights.main()
    assert {name.split('/')[0]
            for name in weights(tmp_path / 'a/b/generator.caffemodel')} == {'en1'}
    shutil.rmtree(folders[0] / 'snapshots')
    with pytest.raises(SystemExit,
                       match='generator holds no pre-trained network: run `make pretrain`.'):
        tools.extract_weights.main()


def extract(place, folder, name):
    """What is extracted of a run folder that gets what train() left as `name` under `place`."""
    (folder / 'snapshots').mkdir()
    for end in ('caffemodel', 'solverstate'):
        (place / f'{name}.{end}').rename(folder / f'snapshots/{name}.{end}')
    return tools.extract_weights.extract(folder)


def test_what_is_kept_of_a_gcnet(place, tmp_path):
    """Its CNN's part and De2: the generator has its own file, and classes are of one data set."""
    trained = train(place, 's1r1', 1, 0.01)
    name, model = extract(place, tmp_path, 's1r1_iter_1')
    assert name == 'gcnet'
    kept = {layer.name for layer in model.layer}
    assert {name.split('/')[0] for name in kept} == {'en2', 'de2_r', 'de2_i'}
    assert set(trained) - kept == {name for name in trained if name.startswith(
        ('en1/', 'de1_r/', 'en2_r/', 'standardized', 'fc1_delta', 'score'))}


def test_the_shipped_model_has_weights_alone_and_can_be_begun_with(tmp_path):
    shipped = places.ROOT / 'prototxt/trained'
    name, model = tools.extract_weights.extract(shipped)
    assert name == 'gcnet'
    assert {layer.name.split('/')[0] for layer in model.layer} == {'en2', 'de2_r', 'de2_i', 'fc1'}
    shutil.copytree(shipped, tmp_path / 'copy')
    (weights,) = (tmp_path / 'copy/snapshots').iterdir()
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(SystemExit, match='by its checksum: name another run'):
        tools.extract_weights.extract(tmp_path / 'copy')


@pytest.mark.parametrize('variant', ['cnn', 'expression'])
def test_what_is_kept_of_a_cnn(place, tmp_path, variant):
    train(place, variant, 1, 0.01)
    name, model = extract(place, tmp_path, f'{variant}_iter_1')
    assert name == 'expression'
    assert {layer.name.split('/')[0] for layer in model.layer} == {'en2', 'fc1'}


def test_what_is_kept_of_a_generator_with_a_discriminator(place, tmp_path):
    train(place, 'generator', 1, 0.01, generator='gan', neutral=1)
    name, model = extract(place, tmp_path, 'generator_iter_1')
    assert name == 'generator'
    assert {layer.name.split('/')[0] for layer in model.layer} == {'en1', 'de1_r'}


@pytest.mark.parametrize('variant', ['metric', 's1r1'])
def test_the_streams_of_en2_are_one_after_training(place, variant):
    start, end = (train(place, variant, iterations, rate)
                  for iterations, rate in ((1, 0), (4, 0.01)))
    for layer in LEARNED:
        for one, other in zip(end[f'en2/{layer}'], end[f'en2_r/{layer}']):
            np.testing.assert_array_equal(one, other)
        assert np.abs(end[f'en2/{layer}'][0] - start[f'en2/{layer}'][0]).max() > 1e-6


def test_batch_norm_averages_make_test_and_training_agree(place):
    """Each stream of En2 is normalised by its own batch in training and by its own average in the
    test.

    Weights stand still and pictures move by a pixel at most, so after enough forward passes over
    one large batch the averages are near that batch's statistics, and both phases must agree on it.
    Were the averages shared by the two streams, they would not.
    """
    path, _ = network(place, 's1r1', 24)
    still = '{\\"seed\\": 1, \\"rotate\\": 0, \\"scale\\": 0, \\"intensity\\": 0, \\"flip\\": 0.0}'
    text = path.read_text().replace('{\\"seed\\": 1}', still)
    assert still in text
    path.write_text(text)
    learner = caffe.Net(str(path), caffe.TRAIN)
    for _ in range(30):
        learner.forward()
    learner.save(str(place / 'still.caffemodel'))
    tested = caffe.Net(str(path), str(place / 'still.caffemodel'), caffe.TEST)
    tested.forward()
    learner.blobs['query'].data[...] = tested.blobs['query'].data
    learner.forward(start='en1/conv1')
    for name in ('generated', 'reconstructed_r', 'code', 'code_r', 'delta', 'standardized'):
        expected = tested.blobs[name].data
        assert np.linalg.norm(learner.blobs[name].data -
                              expected) < 0.1 * np.linalg.norm(expected), name


def test_a_run_repeats_to_the_last_digit(place, tmp_path):
    """8 iterations of S1R1 twice, augmentation and dropout included, one BLAS thread; another seed
    differs."""
    first, again = (run(place, tmp_path / name, 1, 8) for name in ('first', 'again'))
    assert len(first) == 9 and first == again
    other = run(place, tmp_path / 'other', 2, 2)
    assert [row['loss'] for row in other[:2]] != [row['loss'] for row in first[:2]]


def run(place, folder, seed, iterations):
    """The losses of a run, as printed."""
    folder.mkdir()
    (folder / 'data').symlink_to(place / 'data')
    subprocess.run(
        [sys.executable, '-m', 'tools.train', '--batch', '4', '--iters', str(iterations), '--seed',
         str(seed)], cwd=folder, check=True, env=ENVIRONMENT)
    with open(folder / f'runs/demo/s1r1/fold0_seed{seed}/metrics.csv', newline='') as file:
        return [{name: value
                 for name, value in row.items()
                 if name != 'seconds'}
                for row in csv.DictReader(file)]
