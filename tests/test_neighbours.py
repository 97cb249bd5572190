"""The two neighbours: who learns what from which loss, what stands where in a batch, who is told
apart, and both from `make train` to the test."""
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import caffe
import lmdb
import numpy as np
import pytest
import test_oracle
import test_train
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from scipy import ndimage

from data_prep import pair_lmdb
from prototxt import neighbours, net
from tools.core import people, snapshots

ROOT = Path(__file__).resolve().parents[1]
LOSSES = {'disentangled': {'loss_cls', 'loss_recon_i', 'loss_adversary', 'loss_person'},
          'degan': {'loss_cls', 'loss_draw', 'loss_real', 'loss_expression', 'loss_person'}}
# Of six pairs: who is on them, and which have a reference
SUBJECTS = ['S2', 'S1', 'S2', 'S3', 'S1', 'S1']
REFERRED = [1, 1, 0, 1, 1, 1]


def build_pairs(place, subjects=SUBJECTS, referred=REFERRED):
    """Fold 0 of data/demo under `place`, of six smooth pairs, of three people and two classes."""
    classes, fold = ['anger', 'happy'], place / 'data/demo/fold0'
    shutil.rmtree(fold, ignore_errors=True)
    fold.mkdir(parents=True)
    (place / 'data/demo/classes.txt').write_text('anger\nhappy\n')
    noise = ndimage.gaussian_filter(np.random.RandomState(1).randn(12, 66, 66), (0, 3, 3))
    crops = np.uint8(255 * np.clip(0.5 + 2 * noise, 0, 1))
    rows = [dict(subject=subject, sequence='001', frame=f'{i}', expression=classes[i % 2], path=i,
                 reference=6 + i if there else None)
            for i, (subject, there) in enumerate(zip(subjects, referred))]
    for part in 'train', 'test':
        pair_lmdb.write_pairs(str(fold / part), rows, classes, crops.__getitem__)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_pairs(tmp_path)
    return tmp_path


def trained(variant, phase=caffe.TRAIN, **settings):
    """The training network on the six pairs."""
    if neighbours.asks_for_people(variant, settings):
        settings['people'] = people.write_people('demo', 0)
    train, test = (Path(f'data/demo/fold0/{part}_lmdb') for part in ('train', 'test'))
    Path('net.prototxt').write_text(
        net.train_val(variant, 2, train, test, batch_size=6, **settings))
    caffe.set_random_seed(1)
    return caffe.Net('net.prototxt', phase)


def moved(made, loss):
    """{layer: whether a loss alone asks its weights to change}, batch norm's own left out."""
    made.clear_param_diffs()  # or each loss's would be added to the former's
    made.forward()
    for name in made.outputs:
        made.blobs[name].diff[...] = name == loss
    made.backward()
    return {name: bool(np.abs(blobs[0].diff).max() > 0) for name, blobs in made.params.items()
            if '/bn' not in name and not name.startswith('standardized')}


def test_an_adversary_moves_what_it_reads_and_what_lies_before_that(place):
    made = trained('disentangled', reverse_identity=1.0)
    assert set(made.outputs) == LOSSES['disentangled']
    found = moved(made, 'loss_adversary')
    assert {name for name in found if found[name]} == {
        f'{part}/{layer}{i}' for part, stages in (('en2', (1, 2)), ('en2_rest', (3,)))
        for layer in ('conv', 'scale') for i in stages
    } | {'en2_rest/fc', 'adversary_expression/fc1', 'adversary_expression/score'}

    made = trained('disentangled', reverse_identity=1.0)
    found = moved(made, 'loss_person')
    assert found['fc1'] and found['en2/conv3'] and found['adversary_person/fc1']
    assert found['en2/expression/fc']
    assert not found['en2_rest/conv3'] and not found['adversary_expression/fc1']
    assert not found['score_disentangled'] and not found['de/deconv1']
    seen = made.blobs['adversary_person/reverse'].data  # on one scale, whatever the code's is
    assert np.abs(seen.mean(0)).max() < 1e-3 and 0.9 < seen.std(0).max() < 1.1


def test_the_decoder_reads_the_expression_code_and_moves_the_rest_alone(place):
    made = trained('disentangled')
    found = moved(made, 'loss_recon_i')
    assert found['de/fc'] and found['en2_rest/fc'] and found['en2_rest/conv3']
    assert not found['en2/expression/fc'] and not found['fc1'] and not found['en2/conv3']
    codes = made.blobs['codes'].data
    np.testing.assert_array_equal(codes[:, :16], made.blobs['expression'].data)
    np.testing.assert_array_equal(codes[:, 16:], made.blobs['rest'].data)


def test_the_code_climbs_what_the_adversary_descends(place):
    """A numerical gradient of the adversary's loss, in the rest code and in its own weights."""
    made = trained('disentangled', reverse=0.5)
    moved(made, 'loss_adversary')
    layers = list(made._layer_names)
    start = layers[1 + layers.index('en2_rest/bn')]  # the copies of the rest code, for its readers
    weights = made.params['adversary_expression/score'][0]
    found = made.blobs['rest'].diff.copy(), weights.diff.copy()

    for blob, gradient, factor in ((made.blobs['rest'].data, found[0], -0.5),
                                   (weights.data, found[1], 1)):
        direction = np.random.RandomState(2).randn(*blob.shape).astype(np.float32)
        losses = []
        for step in (1e-3, -2e-3):
            blob += step * direction
            losses.append(float(made.forward(start=start)['loss_adversary']))
        blob += 1e-3 * direction
        slope = (losses[0] - losses[1]) / 2e-3
        assert abs(slope) > 1e-2
        assert (gradient * direction).sum() == pytest.approx(factor * slope, rel=0.05)


def test_disentangled_codes_are_what_numpy_says(tmp_path):
    """The network for use, once more out of the parts of the oracle of S1R1."""
    path = tmp_path / 'net.prototxt'
    path.write_text(net.deploy('disentangled', 3, latent=5, expression_latent=6))
    engine = caffe.Net(str(path), caffe.TEST)
    test_oracle.randomise(engine, scaled=True)
    x = 0.5 + ndimage.gaussian_filter(np.random.RandomState(4).randn(4, 1, 64, 64), (0, 0, 4, 4))
    engine.blobs['query'].reshape(*x.shape)
    engine.blobs['query'].data[...] = x
    engine.forward()

    blobs = {name: [blob.data.astype(float) for blob in blobs]
             for name, blobs in engine.params.items()}
    code, _ = test_oracle.encoder(blobs, {}, 'en2', x)
    # The rest has the expression's first two stages, and a third one of its own.
    third = {name.replace('en2_rest', 'en2'): blobs[name] for name in blobs if 'en2_rest' in name}
    rest, _ = test_oracle.encoder({**blobs, **third}, {}, 'en2', x)
    rest = test_oracle.dense(rest, *blobs['en2_rest/fc']).reshape(4, 5, 1, 1)
    rest = test_oracle.batch_norm(rest, blobs['en2_rest/bn']).reshape(4, 5)
    code = test_oracle.batch_norm(code, blobs['standardized'])
    fc1 = test_oracle.relu(test_oracle.dense(code, *blobs['fc1']))
    expression = test_oracle.dense(fc1, *blobs['en2/expression/fc']).reshape(4, 6, 1, 1)
    expression = test_oracle.batch_norm(expression, blobs['en2/expression/bn']).reshape(4, 6)
    score = test_oracle.dense(expression, *blobs['score_disentangled'])
    begun = test_oracle.relu(test_oracle.dense(np.hstack([expression, rest]), *blobs['de/fc']))
    drawn = test_oracle.decoder(blobs, 'de', begun.reshape(4, 96, 8, 8), [np.zeros(0)] * 3)
    for name, expected in dict(fc1=fc1, expression=expression, rest=rest, score=score,
                               reconstructed_i=drawn).items():
        assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max()
        error = np.abs(engine.blobs[name].data - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_without_people_nothing_reads_them(place):
    text = net.train_val('disentangled', 2, 'train_lmdb', 'test_lmdb')
    assert 'people' not in text and 'person' not in text
    assert set(trained('degan', identity_weight=0).outputs) == LOSSES['degan'] - {'loss_person'}


def test_in_the_test_phase_there_is_no_adversary(place):
    for variant in neighbours.VARIANTS:
        made = trained(variant, caffe.TEST)
        left = {'loss_cls', 'loss_recon_i'} & LOSSES[variant]
        assert set(made.outputs) == left | {'accuracy'}
        assert not {name for name in made.params if name.startswith(('adversary', 'dis/', 'en1'))}


def test_the_discriminator_is_told_what_is_true(place):
    """Labels in all three places, written out by hand: S1 is 0 and S2 is 1, S3 has one picture, and
    the third pair has no reference."""
    made = trained('degan')
    assert set(made.outputs) == LOSSES['degan']
    assert made.params['dis/person'][0].data.shape == (2, 384)
    made.forward()
    labels = {name: made.blobs[f'{name}/labels'].data.reshape(3, 6).tolist()
              for name in ('real', 'expression', 'person')}
    nobody = [-1] * 6
    # The second expression would be drawn on the third face, which is not there.
    assert labels['real'] == [[1] * 6, [0, -1, 0, 0, 0, 0], nobody]
    assert labels['expression'] == [[0, 1, 0, 1, 0, 1], nobody, [0, -1, 0, 1, 0, 1]]
    assert labels['person'] == [[1, 0, 1, -1, 0, 0], nobody, [0, -1, -1, 0, 0, 1]]

    blobs = {name: made.blobs[name].data for name in ('judged', 'query', 'drawn_other')}
    np.testing.assert_array_equal(
        blobs['judged'], np.concatenate([blobs['query'], *[blobs['drawn_other']] * 2]))


@pytest.mark.parametrize('settings', [{}, dict(decoder='switches'), dict(generator='change')])
def test_in_training_is_drawn_what_the_drawing_network_draws(place, settings):
    """Each expression on its own face, and on the next one, by the other network's weights. A batch
    twice over has the mean and variance of the batch."""
    made = trained('degan', **settings)
    made.forward()
    made.save('weights.caffemodel')
    Path('redraw.prototxt').write_text(neighbours.redraw({**net.SETTINGS, **settings}))
    other = caffe.Net('redraw.prototxt', 'weights.caffemodel', caffe.TRAIN)
    query, reference = (made.blobs[name].data for name in ('query', 'reference'))
    other.blobs['query'].reshape(12, 1, 64, 64)
    other.blobs['person'].reshape(12, 1, 64, 64)
    other.blobs['query'].data[...] = np.concatenate([query, query])
    other.blobs['person'].data[...] = np.concatenate([reference, np.roll(reference, -1, axis=0)])
    drawn = other.forward()['drawn']
    assert drawn.std(0).max() > 1e-4
    np.testing.assert_allclose(made.blobs['drawn'].data, drawn, atol=1e-4)

    own = made.blobs['drawn'].data[:6].astype(float)
    squares = ((own - query) ** 2).sum((1, 2, 3))[np.array(REFERRED, bool)]
    assert made.blobs['loss_draw'].data == pytest.approx(squares.mean() / 2, rel=1e-4)


def test_the_generator_climbs_one_head_and_descends_the_others(place):
    """The discriminator's gradient at what was drawn: reversed for `real`, as it is for the others.
    Without batch norm between the samples it would be each one's alone."""
    made = trained('degan', reverse=0.25)
    for loss in 'loss_real', 'loss_expression', 'loss_person':
        moved(made, loss)
        _, hidden, open_ = made.blobs['judged'].diff.reshape(3, 6, 64, 64).copy()
        found = made.blobs['drawn_other'].diff[:, 0]
        np.testing.assert_allclose(found, open_ - 0.25 * hidden, rtol=1e-4, atol=1e-8)
        # loss_real counts in the second place alone, the others in the third
        strong, weak = (hidden, open_) if loss == 'loss_real' else (open_, hidden)
        assert np.abs(strong).sum() > np.abs(weak).sum() > 0
    assert not moved(made, 'loss_real')['fc1'] and moved(made, 'loss_real')['en2/conv3']


def test_people_are_told_in_the_order_of_the_pairs(place):
    assert people.write_people('demo', 0) == 2
    folder = Path('data/demo/fold0/people_lmdb')
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        found = [(key.decode(), caffe_pb2.Datum.FromString(value).label)
                 for key, value in txn.cursor()]
    keys = [key for key, *_ in pair_lmdb.read_pairs('data/demo/fold0/train_lmdb')]
    assert found == list(zip(keys, [1, 0, 1, -1, 0, 0]))
    stamp = (folder / 'data.mdb').stat().st_mtime_ns
    assert people.write_people('demo', 0) == 2
    assert (folder / 'data.mdb').stat().st_mtime_ns == stamp
    assert not list(folder.parent.glob('.people*'))


def test_a_picture_that_is_there_twice_makes_nobody_known(place):
    path = Path('data/demo/fold0/train.csv')
    header, *lines = path.read_text().splitlines()
    stranger = [line for line in lines if ',S3,' in f',{line}']
    path.write_text('\n'.join([header, *lines, *stranger]) + '\n')
    assert len(stranger) == 1 and people.write_people('demo', 0) == 2


def test_labels_of_before_are_not_taken_for_those_of_now(place):
    people.write_people('demo', 0)
    folder = Path('data/demo/fold0/people_lmdb')
    expected = people.read(folder)
    people.replace(folder, [(key, 7) for key, _ in expected])
    assert people.write_people('demo', 0) == 2 and people.read(folder) == expected


def run(module, *words):
    return subprocess.run([sys.executable, '-m', module, *words], stderr=subprocess.PIPE,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}, encoding='utf-8')


@pytest.mark.parametrize('variant, words', [('disentangled', []), ('degan', []),
                                            ('disentangled', ['--set', 'reverse_identity=0.5'])])
def test_both_are_trained_and_tested_as_any_variant(place, variant, words):
    command = ['--variant', variant, '--fold', '0']
    done = run('tools.train', *command, '--iters', '2', '--batch', '6', *words)
    assert done.returncode == 0, done.stderr
    assert run('tools.evaluate', *command).returncode == 0
    folder = Path(f'runs/demo/{variant}/fold0_seed1')
    result = json.loads((folder / 'result.json').read_text())
    assert (result['n'], result['iterations']) == (6, 2)
    header = (folder / 'metrics.csv').read_text().splitlines()[0].split(',')
    assert {name for name in header if name.startswith('loss_')} == LOSSES[variant] - (
        set() if words or variant == 'degan' else {'loss_person'})
    used = text_format.Parse((folder / 'deploy.prototxt').read_text(), caffe_pb2.NetParameter())
    assert not {layer.name.split('/')[0] for layer in used.layer} & {
        'adversary_expression', 'adversary_person', 'dis', 'en1'}


def test_a_killed_degan_goes_on_behind_its_last_snapshot(place):
    command = ['--variant', 'degan', '--fold', '0', '--iters', '80', '--batch', '2']
    folder = Path('runs/demo/degan/fold0_seed1')
    process = subprocess.Popen([sys.executable, '-m', 'tools.train', *command],
                               stderr=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, 'PYTHONPATH': str(ROOT)})
    test_train.wait_for(lambda: snapshots.last_snapshot(folder) or process.poll() is not None, 100)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    done = run('tools.train', *command)
    assert done.returncode == 0, done.stderr
    log = (folder / 'log.txt').read_text()
    assert re.search(r'Resuming from .*degan_iter_50\.solverstate', log)
    with open(folder / 'metrics.csv', newline='') as file:
        assert [int(row['iteration']) for row in csv.DictReader(file)] == list(range(81))


@pytest.mark.parametrize('subjects, words, said', [
    (['S1'] * 6, [], 'has 1 people with two pictures or more, and 2 are needed'),
    ([f'S{i}' for i in range(6)], [], 'has 0 people with two pictures or more'),
    (SUBJECTS, ['--batch', '1'], 'a batch of 2 or more'),
    (SUBJECTS, ['--set', 'generator=vae'], "generator cannot be 'vae' for degan")])
def test_what_degan_cannot_be_trained_on_is_a_sentence(place, subjects, words, said):
    build_pairs(place, subjects)
    done = run('tools.train', '--variant', 'degan', '--fold', '0', '--iters', '2', '--batch', '6',
               *words)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and said in last and 'Traceback' not in done.stderr
    assert not Path('runs/demo/degan/fold0_seed1').exists()
    assert 'people' not in last or 'VARIANT=disentangled' in last


def test_without_references_degan_says_what_needs_none(place):
    build_pairs(place, referred=[0] * 6)
    done = run('tools.train', '--variant', 'degan', '--fold', '0', '--iters', '2')
    assert done.returncode == 1 and 'VARIANT=disentangled needs none.' in done.stderr
    assert not Path('runs/demo/degan/fold0_seed1').exists()


def test_a_set_of_strangers_has_nobody_to_tell_apart():
    with pytest.raises(SystemExit, match='fer2013 does not say who is on its pictures.*'
                                         'VARIANT=disentangled needs no people'):
        people.write_people('fer2013', 0)
