"""Prediction on one's own pictures: real Caffe with random weights, drawn faces; against the path
of the test, and against a forward pass of Caffe's own."""
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import caffe
import cv2
import drawn
import lmdb
import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2
from PIL import Image

from data_prep import align, detect
from prototxt import net
from tools import evaluate, predict
from tools.core import (
    draw_prediction,
    face_lines,
    fold_data,
    network,
    output,
    prediction,
    predictor,
    request,
)

CLASSES = ['anger', 'happy', 'surprise']
ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path('runs/demo/s1r1/fold3_seed1')
SNAPSHOT = FOLDER / 'snapshots/s1r1_iter_5.caffemodel'


def make_run(folder, variant, seed=0, **settings):
    """A run folder with random weights, without solverstate."""
    (folder / 'snapshots').mkdir(parents=True)
    (folder / 'deploy.prototxt').write_text(net.deploy(variant, len(CLASSES), **settings))
    caffe.set_random_seed(seed)
    made = caffe.Net(str(folder / 'deploy.prototxt'), caffe.TEST)
    for name, blobs in made.params.items():
        # means 0, variances 1, as if averaged over one batch
        if '/bn' in name or name == 'standardized':
            for blob, value in zip(blobs, (0, 1, 1)):
                blob.data[...] = value
    made.save(str(folder / f'snapshots/{variant}_iter_5.caffemodel'))
    run = dict(dataset='demo', variant=variant, fold=3, seed=1, iterations=5, classes=CLASSES,
               crop=network.ALIGNMENT, settings=settings)
    (folder / 'run.json').write_text(json.dumps(run))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a run of S1R1 and one of the CNN, tested in this order, and pictures of drawn
    faces."""
    place = tmp_path_factory.mktemp('made')
    for age, variant in ((100, 's1r1'), (50, 'cnn')):
        folder = place / f'runs/demo/{variant}/fold3_seed1'
        make_run(folder, variant)
        (folder / 'result.json').write_text('{}')
        os.utime(folder / 'result.json', (time.time() - age,) * 2)
    for person in (1, 2, 3):
        drawn.write(place / f'faces/p{person}.png', drawn.face(person)[0])
    (large, _), (small, _) = drawn.face(2), drawn.face(5)
    small = cv2.copyMakeBorder(
        cv2.resize(small, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), 0, 256 - 154, 0, 0,
        cv2.BORDER_REPLICATE)
    drawn.write(place / 'two.png', np.hstack([small, large]))
    drawn.write(place / 'nobody.png', np.full((200, 200), 128, np.uint8))
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it as working directory."""
    return places.enter_copy(made, tmp_path, monkeypatch)


@pytest.fixture
def program(place, monkeypatch, capfd):
    """Runs the program; gives exit code or sentence, the lines of standard output, and standard
    error."""
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['predict', '--workers', '2', *map(str, arguments)])
        try:
            code = predict.main()
        except SystemExit as error:
            code = error.code
        out, err = capfd.readouterr()
        return code, out.splitlines(), err
    return run


def image(name):
    return cv2.imread(name, cv2.IMREAD_GRAYSCALE)


def write_lmdb(path, crops):
    """An LMDB of pairs as data_prep writes it, with a row each in the CSV."""
    environment = lmdb.open(f'{path}_lmdb', map_size=2 ** 20)
    with environment.begin(write=True) as transaction:
        for i, crop in enumerate(crops):
            datum = caffe_pb2.Datum(channels=2, height=66, width=66, label=i % 3,
                                    data=crop.tobytes() * 2)
            transaction.put(f'{i}'.encode(), datum.SerializeToString())
    environment.close()
    rows = [f'{i},S,1,1,{CLASSES[i % 3]}\n' for i in range(len(crops))]
    Path(f'{path}.csv').write_text('key,subject,sequence,frame,expression\n' + ''.join(rows))


# ---------------------------------------------------------------- the numbers


def test_probabilities_are_the_means_of_the_tests_of_a_face_and_its_mirror_image(place):
    fold = Path('data/demo/fold3')
    fold.mkdir(parents=True)
    (fold.parent / 'classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    names = [f'faces/p{person}.png' for person in (1, 2, 3)]
    crops = [align.crop(image(name), detect.faces(image(name))[0]) for name in names]
    for part in ('train', 'test'):
        write_lmdb(fold / part, [*crops, *(crop[:, ::-1] for crop in crops)])
    (FOLDER / 'metrics.csv').write_text('iteration,loss_cls,test_accuracy\n5,1,1\n')
    rewrite(**fold_data.fingerprint('demo', 3))
    evaluate.evaluate(FOLDER)
    lines = (FOLDER / 'predictions.csv').read_text().splitlines()[1:]
    tested = np.array([line.split(',')[5:] for line in lines], float).reshape(2, 3, 3)
    assert np.abs(tested[0] - tested[1]).max() > 1e-4  # a mirror image is another picture
    found = predictor.Predictor(FOLDER).batch(map(image, names))
    for (face,), numbers in zip(found, tested.mean(axis=0)):
        assert list(face.probabilities) == CLASSES
        assert list(face.probabilities.values()) == pytest.approx(numbers.tolist(), abs=2e-6)
        assert max(face.probabilities, key=face.probabilities.get) == face.expression
    assert len({tuple(numbers) for numbers in tested[0].tolist()}) == 3
    # What is trained from now on says how its faces were cropped.
    _, run, _ = request.read_request(['--dataset', 'demo', '--fold', '3'])
    assert json.loads(json.dumps(run))['crop'] == {'size': 66, 'target': align.TARGET.tolist()}


def test_frequencies_are_priors(place, program):
    """Twice as frequent in training is twice as probable, against the others; without `balance`
    nothing changes."""
    face, = predictor.Predictor(FOLDER)(image('faces/p2.png'))
    same, = predictor.Predictor(FOLDER, frequencies=True)(image('faces/p2.png'))
    assert same.probabilities == face.probabilities
    rewrite(settings={'balance': 1}, counts=[10, 20, 70])
    weighted = np.array(list(face.probabilities.values())) * [1, 2, 7]
    found, = predictor.Predictor(FOLDER, frequencies=True)(image('faces/p2.png'))
    assert list(found.probabilities.values()) == pytest.approx((weighted / weighted.sum()).tolist(),
                                                               abs=1e-4)
    assert found.expression == CLASSES[weighted.argmax()]
    command = ('faces/p2.png', '--run', FOLDER, '--format', 'json')
    for options, expected in (((), face), (('--frequencies',), found)):
        _, (line,), err = program(*command, *options)
        found_now = json.loads(line)['probabilities']
        assert found_now == pytest.approx(expected.probabilities, abs=1e-3)
        assert 'balance' not in err
    for counts in (None, [1, 2], ['a', 'b', 'c'], [0, 0, 0]):
        rewrite(counts=counts)
        assert 'does not say how many training images' in program(*command, '--frequencies')[0]
    rewrite(settings={})
    assert 'trained without `balance`' in program(*command, '--frequencies')[2]


def test_pictures_are_those_of_caffes_own_pass(place):
    face, = predictor.Predictor(FOLDER)(image('faces/p2.png'))
    crop = align.crop(image('faces/p2.png'), face.points)
    deploy = caffe.Net(str(FOLDER / 'deploy.prototxt'), str(SNAPSHOT), caffe.TEST)
    deploy.blobs['query'].data[0, 0] = crop[1:65, 64:0:-1] / 255
    mirrored = deploy.forward()['prob'][0].copy()
    deploy.blobs['query'].data[0, 0] = crop[1:65, 1:65] / 255
    expected = deploy.forward(blobs=['generated'])
    np.testing.assert_allclose(face.face, crop[1:65, 1:65] / 255, atol=1e-6)
    np.testing.assert_allclose(face.reference, expected['generated'][0, 0], rtol=1e-4, atol=1e-5)
    mean = (expected['prob'][0] + mirrored) / 2
    assert list(face.probabilities.values()) == pytest.approx(mean.tolist(), abs=1e-5)
    cnn, = predictor.Predictor('runs/demo/cnn/fold3_seed1')(image('faces/p2.png'))
    assert cnn.reference is None and np.array_equal(cnn.face, face.face)


@pytest.mark.parametrize('variant, settings', [
    ('s1r1', {}), ('s1r1', dict(decoder='switches', generator='change')),
    ('s1r1', dict(generator='vae', streams='together', codes='raw')),
    ('s0r0', {}), ('cnn', {}), ('disentangled', {}), ('degan', {})])
def test_what_nobody_looks_at_is_not_computed(tmp_path, variant, settings):
    make_run(tmp_path / 'run', variant, **settings)
    model = predictor.Predictor(tmp_path / 'run')

    layers = {layer.split('/')[0] for layer in model.used._layer_names}
    assert not layers & {'de', 'de2_r', 'de2_i'}
    assert ('de1_r' in layers) == ('generated' in model.net.blobs)
    queries = np.random.default_rng(3).random((5, 1, 64, 64), np.float32)
    whole, shown = network.run(model.net, queries), network.run(model.used, queries)
    assert set(shown) == set(whole) - {'reconstructed_r', 'reconstructed_i'}
    assert whole['prob'].std() > 0
    for name, values in shown.items():
        np.testing.assert_array_equal(values, whole[name])


def test_a_layer_of_any_name_is_no_other(tmp_path):
    make_run(tmp_path / 'run', 's1r1', decoder='switches', generator='change')
    path = tmp_path / 'run/deploy.prototxt'
    more = ('layer { name: "silence" type: "Convolution" bottom: "reconstructed_i" top: "more" '
            'convolution_param { num_output: 1 kernel_size: 1 } }')
    path.write_text(path.read_text() + more)
    weights = str(tmp_path / 'run/snapshots/s1r1_iter_5.caffemodel')
    caffe.Net(str(path), weights, caffe.TEST).save(weights)
    model = predictor.Predictor(tmp_path / 'run')
    assert 'prob' in network.run(model.used, np.zeros((1, 1, 64, 64), np.float32))


def test_a_batch_is_what_each_picture_alone_gives(place, monkeypatch):
    model = predictor.Predictor(FOLDER)
    images = [image('two.png'), image('nobody.png'), image('faces/p3.png')]
    found = model.batch(images)
    assert [len(faces) for faces in found] == [2, 0, 1] and model.batch([]) == []
    for faces, alone in zip(found, map(model, images)):
        for face, other in zip(faces, alone):
            assert face.probabilities == pytest.approx(other.probabilities, abs=1e-5)
            assert np.array_equal(face.points, other.points)
    monkeypatch.setattr(network, 'BATCH', 3)
    many = model.recognise([predictor.find_faces(images[0])] * 4)  # 8 faces are then three passes
    assert [len(faces) for faces in many] == [2] * 4
    for faces in many:
        for face, other in zip(faces, found[0]):
            assert face.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.parametrize('wrong', [
    np.zeros((9, 9), np.float32), np.zeros((9, 9, 4), np.uint8), np.zeros(9, np.uint8),
    np.zeros((0, 9), np.uint8), np.zeros((2, 9, 9, 3), np.uint8), [[0]], None])
def test_an_array_that_is_no_image(wrong):
    with pytest.raises(ValueError, match=r'^an image must be .*, not .+'):
        predictor.grey(wrong)


def test_grey_colour_alpha_and_16_bits_are_one_face(place, program):
    grey = image('faces/p1.png')
    alpha = np.dstack([grey, grey, grey, grey // 2])
    deep = grey.astype(np.uint16) * 257
    versions = {'colour.png': np.dstack([grey] * 3), 'alpha.png': alpha, 'grey.bmp': grey,
                'deep.png': deep, 'deep_colour.png': np.dstack([deep] * 3), 'deep.tif': deep}
    for name, version in versions.items():
        drawn.write(place / 'versions' / name, version)
    code, lines, _ = program('versions', '--format', 'json', '--run', FOLDER)
    faces = [json.loads(line) for line in lines]
    face, = predictor.Predictor(FOLDER)(np.dstack([grey] * 3))
    assert code == 0 and len(faces) == 6
    for other in faces:
        np.testing.assert_allclose(other['points'], face.points, atol=0.06)  # rounded to 0.1
        assert other['probabilities'] == pytest.approx(face.probabilities, abs=2e-6)


def test_a_picture_of_20000_pixels(place, program):
    grey, points = drawn.face(3)
    large = cv2.resize(grey, None, fx=15, fy=15, interpolation=cv2.INTER_CUBIC)
    long = cv2.copyMakeBorder(large, 0, 0, 9000, 11000 - large.shape[1], cv2.BORDER_REPLICATE)
    drawn.write(place / 'long.jpg', long)
    code, (line,), _ = program('long.jpg', '--format', 'json', '--out', 'drawn')
    assert code == 0 and Path('drawn/long.png').is_file()
    expected = (points + 0.5) * 15 - 0.5 + [9000, 0]
    apart = np.hypot(*(np.array(json.loads(line)['points']) - expected).T)
    assert apart.max() < 0.25 * np.hypot(*(expected[1] - expected[0]))


# ---------------------------------------------------------------- the program


def test_json_lines(program):
    code, lines, err = program('two.png', '--format', 'json')
    first, second = map(json.loads, lines)
    assert code == 0 and not Path('predictions').exists()
    assert err == 'Model: runs/demo/cnn/fold3_seed1, iteration 5.\n'  # the one that was tested last
    assert list(first) == ['image', 'face', 'points', 'expression', 'probabilities']
    assert (first['image'], first['face'], second['face']) == ('two.png', 1, 2)
    assert first['points'][0][0] > 125 > second['points'][0][0]  # the larger one is on the right
    for face in (first, second):
        probabilities = face['probabilities']
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert list(probabilities) == CLASSES
        assert face['expression'] == max(probabilities, key=probabilities.get)


def test_text_lines_and_the_drawing(program):
    code, lines, err = program('two.png', '--run', FOLDER)
    assert code == 0 and 'Model: runs/demo/s1r1/fold3_seed1, iteration 5.' in err
    face, _ = predictor.Predictor(FOLDER)(image('two.png'))
    ranked = sorted(face.probabilities.items(), key=lambda pair: -pair[1])
    assert lines[0] == 'two.png, face 1: {} {:.0%} ({} {:.0%}, {} {:.0%})'.format(*sum(ranked, ()))
    assert lines[1].startswith('two.png, face 2: ') and lines[2:] == ['drawn: predictions/two.png']
    gcnet = cv2.imread('predictions/two.png')
    program('two.png', '--out', 'other')  # the CNN: two columns less
    cnn = cv2.imread('other/two.png')
    assert gcnet.shape[1] - cnn.shape[1] == 2 * (draw_prediction.TILE + draw_prediction.GAP)
    assert os.listdir('predictions') == ['two.png']  # and nothing half-written beside it


def test_the_drawing_shows_difference_and_probabilities(place):
    """On two flat pictures: each pixel of the difference has its value's colour, and bars their
    length."""
    points = detect.faces(image('faces/p1.png'))[0]
    flat = np.full((64, 64), 0.8, np.float32)
    probabilities = dict(zip(CLASSES, (0.25, 0.7, 0.05)))
    low, middle, high = '#00224D', '#7C7B78', '#FDE737'  # of cividis
    for reference, colour in ((0.8, low), (0.55, middle), (0.3, high), (0.1, high)):
        face = predictor.Face(points, 'happy', probabilities, flat, np.full_like(flat, reference))
        draw_prediction.draw(Path('flat.png'), 'faces/p1.png', [face])
        sheet = cv2.imread('flat.png')[..., ::-1].astype(int)
        assert count(sheet, colour, 12) > 0.99 * draw_prediction.TILE ** 2
        equal = 2 if reference == 0.8 else 1  # tiles that are as X
        assert count(sheet, '#CCCCCC') == pytest.approx(equal * draw_prediction.TILE ** 2, rel=0.02)
        dark, pale = count(sheet, draw_prediction.BLUE), count(sheet, draw_prediction.PALE)
        assert dark / pale == pytest.approx(0.7 / 0.3, rel=0.05)


def count(sheet, colour, near=1):
    """Pixels of a colour, give or take."""
    return (abs(sheet - [int(colour[i:i + 2], 16) for i in (1, 3, 5)]).max(-1) <= near).sum()


def test_a_folder(place, program):
    shutil.copy('nobody.png', 'faces/q.png')
    shutil.copy('two.png', 'faces/p1.jpeg')  # differs from p1.png by its ending alone
    Path('faces/r.jpg').write_text('no picture')
    Path('faces/notes.txt').write_text('')
    Path('faces/more.jpg').mkdir()
    Path('faces/.hidden.png').write_text('')
    code, lines, err = program('faces')
    assert code == 0 and [line.split(':')[0] for line in lines] == [
        'faces/p1.jpeg, face 1', 'faces/p1.jpeg, face 2', 'faces/p1.png, face 1',
        'faces/p2.png, face 1', 'faces/p3.png, face 1', 'faces/q.png', 'drawn', 'summary'
    ]
    assert lines[-3] == 'faces/q.png: no face found'
    summary = 'summary: 6 pictures, 5 faces, 1 without a face, 1 unreadable, 2 passed over'
    assert lines[-1] == summary
    assert err.splitlines()[1:] == ['faces/r.jpg: image is damaged or not an image',
                                    'Passed over in faces: more.jpg/, notes.txt.']
    assert sorted(os.listdir('predictions')) == ['p1.jpeg.png', 'p1.png.png', 'p2.png', 'p3.png']
    code, lines, err = program('faces', '--format', 'json')
    assert code == 0 and [json.loads(line)['image'] for line in lines] == [
        f'faces/{name}' for name in ('p1.jpeg', 'p1.jpeg', 'p1.png', 'p2.png', 'p3.png')
    ]
    assert 'faces/q.png: no face found\n' in err and err.splitlines()[-1] == summary


def test_a_folder_in_natural_order(place, program):
    names = ['1.png', 'Frame2.png', 'frame2b.png', 'frame10.png', 'frame٣.png', 'x.png']
    for name in reversed(names):
        drawn.write(place / 'order' / name, image('faces/p1.png'))
    _, lines, _ = program('order', '--format', 'json')
    assert [json.loads(line)['image'] for line in lines] == [f'order/{name}' for name in names]


def test_csv_rows(place, program):
    """The same numbers as JSON; what a spreadsheet would run is quoted."""
    shutil.copy('two.png', '=two, "2".png')
    _, lines, _ = program('=two, "2".png', '--format', 'json', '--run', FOLDER)
    code, rows, _ = program('=two, "2".png', '--format', 'csv', '--run', FOLDER)
    rows = list(csv.DictReader(rows))
    assert code == 0 and len(rows) == 2 and not Path('predictions').exists()
    for row, face in zip(rows, map(json.loads, lines)):
        assert (row['image'], row['frame']) == ('\'=two, "2".png', '')
        assert (int(row['face']), row['expression']) == (face['face'], face['expression'])
        found = {name: float(row[f'probability_{name}']) for name in CLASSES}
        assert found == face['probabilities']
        points = [float(row[f'{part}_{axis}']) for part in detect.PARTS for axis in 'xy']
        assert points == np.ravel(face['points']).tolist()


def test_a_folder_of_one_picture_is_counted(place, program):
    drawn.write(place / 'one/p.png', image('faces/p1.png'))
    assert program('one')[1][-1] == (
        'summary: 1 picture, 1 face, 0 without a face, 0 unreadable, 0 passed over')


def test_two_inputs_of_one_name_keep_their_pictures(place, program):
    drawn.write(place / 'other/p1.png', image('faces/p2.png'))
    for name in ('faces/p1.png', 'other/p1.png'):
        _, lines, _ = program(name)
    assert lines[-1] == 'drawn: predictions/p1-2.png'
    before = Path('predictions/p1-2.png').read_bytes()
    assert Path('predictions/p1.png').read_bytes() != before
    _, lines, _ = program('faces/p1.png', '--run', FOLDER)  # again: the same place
    assert lines[-1] == 'drawn: predictions/p1.png'
    assert sorted(os.listdir('predictions')) == ['p1-2.png', 'p1.png']
    assert Path('predictions/p1-2.png').read_bytes() == before
    write_video('p1.avi', [image('faces/p1.png')])
    assert program('p1.avi')[1][-2] == program('p1.avi')[1][-2] == 'drawn: predictions/p1-3.png'
    # Nor is what somebody else put there overwritten.
    Path('predictions/p2.png').write_text('mine')
    Path('predictions/p3.mp4').write_text('mine')
    _, lines, _ = program('faces')
    assert lines[-2] == 'drawn: predictions' and Path('predictions/p2.png').read_text() == 'mine'
    assert {'p2-2.png', 'p3-2.png'} < set(os.listdir('predictions'))
    assert len(os.listdir('predictions')) == 7


def test_two_commands_draw_into_one_folder_one_after_the_other(place, tmp_path, capfd):
    out = tmp_path / 'drawn'
    out.mkdir()
    order = []

    def second():
        with output.alone_in(out):
            order.append('second')

    with output.alone_in(out):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append('first')
    thread.join()
    assert order == ['first', 'second']
    assert capfd.readouterr().err == f'Waiting for another command that draws into {out}.\n'


def test_names_that_would_steer_a_terminal_or_are_long(place, program):
    long = 'ä' * 125 + '.png'  # 254 bytes of 255
    for name in ('a\x1b[2J\nb.png', long):
        shutil.copy('faces/p1.png', name)
    code, lines, _ = program('a\x1b[2J\nb.png')
    assert code == 0 and lines[0].startswith('a\\x1b[2J\\nb.png, face 1: ')
    assert lines[1] == 'drawn: predictions/a\\x1b[2J\\nb.png'
    # In a CSV it is one cell, and no formula at the beginning of a line.
    Path('x\n=1+2.png').write_bytes(Path('faces/p1.png').read_bytes())
    _, lines, _ = program('x\n=1+2.png', '--format', 'csv')
    (row, ) = csv.DictReader(io.StringIO('\n'.join(lines), newline=''))
    assert row['image'] == 'x\n=1+2.png' and row['face'] == '1'
    assert program(long)[1][-1] == f'drawn: predictions/{long}'


def test_a_path_with_two_dots_in_its_middle(place, program):
    """Inside the environment, a folder that is only passed through is not there."""
    code, lines, _ = program('gone/../faces/p1.png', '--run', f'gone/../{FOLDER}')
    assert code == 0 and lines[0].startswith('faces/p1.png, face 1: ')
    assert program('gone/../none.png')[0].startswith('none.png is not there')


@pytest.mark.parametrize('out', ['/opt/predictions', '/tmp', '/tmp/new/predictions', '../beside'])
def test_what_would_be_lost_with_the_environment_is_not_written(place, program, monkeypatch, out):
    monkeypatch.setenv('GCNET_INSIDE', '1')
    code, lines, _ = program('two.png', '--out', out)
    assert code == (f'{out} cannot be written (it is not in the checkout, and would be lost: make '
                    'that folder first): choose another OUT.')
    assert lines == [] and not Path(out, 'two.png').exists()


@pytest.mark.parametrize('source', ['two.png', 'clip.avi'])
def test_a_full_disk_is_named_and_nothing_is_half_written(place, program, source):
    write_video(Path('clip.avi'), [image('faces/p1.png')] * 2)
    with places.small_disk(Path('drawings'), 1 << 20):
        Path('drawings/filler').write_bytes(bytes(shutil.disk_usage('drawings').free - 4096))
        code, out, err = program(source, '--out', 'drawings')
        name = Path(source).with_suffix('.png')
        assert f'drawings/{name} cannot be written' in str(code) and 'make room' in code
        assert not any(line.startswith('drawn: ') for line in out) and 'Traceback' not in err
        assert os.listdir('drawings') == ['filler']


def test_a_folder_of_the_host_that_was_laid_in_is_kept(tmp_path, monkeypatch):
    (tmp_path / 'checkout').mkdir()
    (tmp_path / 'mine').mkdir()
    monkeypatch.chdir(tmp_path / 'checkout')
    monkeypatch.setenv('GCNET_INSIDE', '1')
    assert not output.is_kept('../mine/out') and output.is_kept('out') and output.is_kept('.')
    points = [*output.mount_points(), tmp_path / 'mine']
    assert Path('/') in points and Path('/proc') in points
    monkeypatch.setattr(output, 'mount_points', lambda: points)
    assert output.is_kept('../mine/out') and not output.is_kept('../other')
    assert not output.is_kept('/proc/x') and not output.is_kept('/dev/shm/x')
    monkeypatch.delenv('GCNET_INSIDE')
    assert output.is_kept('../other')


def write_video(path, images):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, images[0].shape[::-1],
                            False)
    for each in images:
        video.write(each)
    video.release()


def test_a_video(place, program):
    person, nobody = image('faces/p2.png'), np.full((256, 208), 128, np.uint8)
    write_video('clip.avi', [person, person, nobody, person, nobody])
    code, lines, _ = program('clip.avi', '--format', 'json', '--run', FOLDER)
    faces = [json.loads(line) for line in lines]
    assert code == 0 and [(face['image'], face['frame'], face['face']) for face in faces] == [
        ('clip.avi', frame, 1) for frame in (0, 1, 3)]
    expected, = predictor.Predictor(FOLDER)(person)
    np.testing.assert_allclose(faces[2]['points'], expected.points, atol=2)  # MJPG loses a little
    code, lines, _ = program('clip.avi', '--every', '2')
    assert code == 0 and [line.split(': ')[0] for line in lines] == [
        'clip.avi, frame 0, face 1', 'clip.avi, frame 2', 'clip.avi, frame 4', 'drawn', 'summary']
    assert lines[-1] == ('summary: 3 frames, 1 face, 2 without a face, 0 unreadable, '
                         '0 passed over')
    assert cv2.imread('predictions/clip.png').std() > 10


def test_a_video_with_its_faces_marked(place, program):
    person, nobody = image('faces/p2.png'), np.full((256, 208), 128, np.uint8)
    write_video('clip.avi', [nobody, person, person, nobody])
    code, lines, _ = program('clip.avi', '--draw', 'video')
    assert code == 0 and lines[-2] == 'drawn: predictions/clip.png, predictions/clip.mp4'
    assert sorted(os.listdir('predictions')) == ['clip.mp4', 'clip.png']
    video, source = cv2.VideoCapture('predictions/clip.mp4'), cv2.VideoCapture('clip.avi')
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.01)
    marked = []
    for _ in range(4):
        frame, original = video.read()[1].astype(int), source.read()[1]
        assert frame.shape == original.shape
        # Orange is what differs in colour: the source is grey.
        colour = (frame.max(-1) - frame.min(-1)) > 60
        marked.append(int(colour.sum()))
        assert abs(frame - original)[~colour].mean() < 8
    assert not video.read()[0]
    assert marked[0] == marked[3] == 0 and min(marked[1:3]) > 300
    # A later call that draws no video does not take the credit for it.
    assert program('clip.avi')[1][-2] == 'drawn: predictions/clip.png'
    # Every second frame is looked at; those between show the faces of the one before.
    assert program('clip.avi', '--draw', 'video', '--every', '2', '--out', 'second')[0] == 0
    video = cv2.VideoCapture('second/clip.mp4')
    assert [bool(np.ptp(video.read()[1].astype(int), axis=-1).max() > 60)
            for _ in range(4)] == [False, False, True, True]
    assert not video.read()[0]
    assert program('faces', '--draw', 'video')[0].startswith('faces is no video, for DRAW=video')


def test_a_video_of_odd_size_is_marked(place, program):
    """An animated picture is a video."""
    odd = [Image.fromarray(cv2.resize(image(f'faces/p{i}.png'), (209, 257))) for i in (1, 2)]
    odd[0].save('odd.gif', save_all=True, append_images=odd[1:])
    code, _, _ = program('odd.gif', '--draw', 'video', '--format', 'json')
    assert code == 0 and cv2.VideoCapture('predictions/odd.mp4').read()[1].shape == (258, 210, 3)


def test_a_webcam(place, program, monkeypatch):
    assert program('--webcam', '1023')[0].startswith('There is no webcam 1023 here')

    class Webcam:
        frames = [image('nobody.png'), image('two.png')]

        def __init__(self, number):
            assert number == 5

        def isOpened(self):
            return True

        def read(self):
            return (True, np.dstack([self.frames.pop(0)] * 3)) if self.frames else (False, None)

    monkeypatch.setattr(cv2, 'VideoCapture', Webcam)
    code, lines, _ = program('--webcam', '5')
    assert code == 'Webcam 5 gives no pictures any more: plug it in again.'
    assert lines[0] == 'webcam 5, frame 0: no face found'
    assert lines[2].startswith('webcam 5, frame 1, face 2: ')


def start(*arguments):
    """The program, started."""
    return subprocess.Popen([sys.executable, '-m', 'tools.predict', *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                            env={**os.environ, 'PYTHONPATH': str(ROOT), 'GLOG_minloglevel': '2'})


def test_workers_do_not_outlive_the_program(place):
    for i in range(400):
        shutil.copy('two.png', f'faces/x{i}.png')
    process = start('faces', '--format', 'json', '--workers', '2')
    json.loads(process.stdout.readline())  # it is at work
    workers = places.children_of(process)
    # Ctrl-C goes to all of a terminal's processes; but it is the parent that ends them
    for worker in workers:
        ignored = re.search(r'SigIgn:\s*(\w+)', Path(f'/proc/{worker}/status').read_text())[1]
        assert int(ignored, 16) >> 1 & 1
    process.kill()
    process.wait()
    process.communicate()
    end = time.time() + 5
    while any(alive(worker) for worker in workers) and time.time() < end:
        time.sleep(0.05)
    assert len(workers) == 2 and not any(map(alive, workers))


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def test_ctrl_c_is_no_traceback(place):
    for i in range(400):
        shutil.copy('two.png', f'faces/x{i}.png')
    process = start('faces', '--format', 'json', '--workers', '2')
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.decode().splitlines()) == (
        130, ['Model: runs/demo/cnn/fold3_seed1, iteration 5.', 'Interrupted.'])


@pytest.mark.parametrize('library', ['_caffe', 'cv2', 'matplotlib'])
def test_ctrl_c_while_the_libraries_are_loaded(place, library):
    process = start('faces', '--format', 'json')
    maps = Path(f'/proc/{process.pid}/maps')
    while process.poll() is None and library not in maps.read_text():
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130) and (out, err) in (
        (b'', b''), (b'', b'Interrupted.\n'))


def test_ctrl_c_while_a_line_is_printed(monkeypatch):
    picture = prediction.Picture('x.png', None, [], None)
    lines = face_lines.Lines('text', CLASSES)
    monkeypatch.setattr(sys, 'stdout', open(os.devnull, 'w'))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for i in range(1000):  # of which tqdm's lock would spoil fifty
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0003 + i * 1e-6)
                while True:
                    lines.print_picture(picture, [])
    finally:
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- what cannot be done


def cut(name, share):
    """The picture two.png in another format, cut off."""
    data = cv2.imencode(name[name.rindex('.'):], cv2.imread('two.png'))[1].tobytes()
    Path(name).write_bytes(data[:int(share * len(data))])


def chunk(name, data):
    """A part of a PNG."""
    return len(data).to_bytes(4, 'big') + name + data + zlib.crc32(name + data).to_bytes(4, 'big')


@pytest.mark.parametrize('name, sentence', [
    ('text.jpg', 'text.jpg: image is damaged or not an image.'),
    ('text', 'text: image is damaged or not an image.'),
    ('empty.png', 'empty.png: image '),
    ('none.jpg', 'none.jpg is not there: name a picture'),
    ('half.jpg', 'half.jpg: image '),
    ('half.png', 'half.png: image '),
    ('start.jpg', 'start.jpg: image '),
    ('huge.png', 'huge.png: image '),
    ('one.png', 'one.png: no face found (it must be upright'),
    ('nobody.png', 'nobody.png: no face found (it must be upright'),
    ('thin.png', 'thin.png: no face found (it must be upright'),
    ('text.mp4', 'text.mp4: video is damaged or not a video.'),
    ('empty.avi', 'empty.avi: video is damaged or not a video.'),
    ('nobody.avi', 'nobody.avi, 3 frames: no face found (it must be upright'),
    ('folder', 'folder holds no picture (.jpg, '),
    ('nobodies', 'nobodies, 2 pictures: no face found (it must be upright'),
])
def test_pictures_that_give_nothing(place, program, name, sentence):
    for path in ('text.jpg', 'text', 'text.mp4'):
        Path(path).write_text('This is no picture.\n' * 200)
    for path in ('empty.png', 'empty.avi'):
        Path(path).touch()
    cut('half.jpg', 0.5), cut('half.png', 0.5), cut('start.jpg', 0.02)
    header = (40000).to_bytes(4, 'big') * 2 + bytes([8, 0, 0, 0, 0])
    Path('huge.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
                                 + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))
    drawn.write(place / 'one.png', np.zeros((1, 1), np.uint8))
    drawn.write(place / 'thin.png', np.zeros((1, 20000), np.uint8))
    write_video('nobody.avi', [np.full((100, 100), 128, np.uint8)] * 3)
    Path('folder').mkdir()
    for path in ('nobodies/a.png', 'nobodies/b.png'):
        drawn.write(place / path, image('nobody.png'))
    code, lines, err = program(name, '--format', 'json', '--out', 'drawn')
    assert isinstance(code, str) and code.startswith(sentence)
    assert code.endswith('.') and '\n' not in code
    assert all(line.startswith('Model: ') or line.endswith('no face found')
               for line in err.splitlines())
    assert lines == [] and not list(place.glob('drawn/*'))


def rewrite(**changes):
    run = {**json.loads((FOLDER / 'run.json').read_text()), **changes}
    run = {name: value for name, value in run.items() if value is not None}
    (FOLDER / 'run.json').write_text(json.dumps(run))


def edit(change):
    """Changes the parsed weights of the snapshot."""
    model = caffe_pb2.NetParameter.FromString(SNAPSHOT.read_bytes())
    change(model)
    SNAPSHOT.write_bytes(model.SerializeToString())


def weight_nan(model):
    model.layer[[layer.name for layer in model.layer].index('fc1_delta')].blobs[0].data[7] = np.nan


def half(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.parametrize(
    'damage, sentence',
    [
        (lambda: shutil.rmtree(FOLDER), ' is no run folder: name one that'),
        (lambda: (FOLDER / 'run.json').unlink(), 'run.json is missing: train this run first'),
        (lambda: half(FOLDER / 'run.json'), 'run.json cannot be read'),
        (lambda: rewrite(variant='identity'), ' tells no expressions: its variant is identity'),
        (lambda: rewrite(classes=None), 'run.json has no list of classes'),
        (lambda: rewrite(classes=CLASSES + ['neutral']),
         'deploy.prototxt has 3 outputs `prob`, run.json 4 cla'),
        (lambda: rewrite(crop={**network.ALIGNMENT, 'size': 70}), 'cropped in another way'),
        (lambda: (FOLDER / 'deploy.prototxt').unlink(), 'deploy.prototxt'),
        (lambda: half(FOLDER / 'deploy.prototxt'),
         'remove runs/demo/s1r1/fold3_seed1 and train again.'),
        (lambda: shutil.rmtree(FOLDER / 'snapshots'), 'has no snapshot: run `make train` first.'),
        (lambda: half(SNAPSHOT), 'caffemodel is damaged or no file of Caffe'),
        # prob has no weights: nothing is missing
        (lambda: edit(lambda model: model.layer.pop()), None),
        (lambda: edit(lambda model: [model.layer.pop() for _ in range(2)]),
         'is cut short or of another net: '),
        (lambda: edit(weight_nan), 'holds weights that are not finite'),
        # training was cut off
        (lambda: SNAPSHOT.with_suffix('.solverstate').touch(), 'has no snapshot'),
        (lambda: rewrite(crop=None), None),  # from before it was noted
    ])
def test_runs_that_cannot_be_used(place, program, damage, sentence):
    damage()
    code, lines, _ = program('faces/p1.png', '--run', FOLDER, '--format', 'json')
    if sentence is None:
        assert code == 0 and len(lines) == 1
    else:
        assert sentence in code and '\n' not in code and lines == [] and 's1r1' in code


def test_the_last_tested_run(place, program):
    assert predictor.default_folder() == Path('runs/demo/cnn/fold3_seed1')
    shutil.copytree('runs/demo/cnn', 'runs/demo/autoencoder')  # draws, and tells nothing
    os.utime('runs/demo/autoencoder/fold3_seed1/result.json')
    shutil.copytree(FOLDER, 'runs/demo/s1r1/fold4_seed1')
    os.remove('runs/demo/s1r1/fold4_seed1/result.json')
    assert predictor.default_folder() == Path('runs/demo/cnn/fold3_seed1')
    os.utime(FOLDER / 'result.json')
    os.utime('runs/demo/autoencoder/fold3_seed1/result.json')
    assert predictor.default_folder() == FOLDER
    shutil.rmtree('runs')
    assert program('two.png')[0].startswith('There is no tested run in runs: `make demo`')


def test_the_model_that_comes_with_the_project(place, program):
    """It is taken unless another is named, whatever was tested here; without it, the run that was
    tested last."""
    shutil.copytree(FOLDER, 'prototxt/trained')
    which = ('faces/p1.png', '--format', 'json')
    own = 'Model: runs/demo/cnn/fold3_seed1, iteration 5'
    code, lines, err = program(*which)
    assert code == 0 and len(lines) == 1 and err.splitlines() == [
        'Model: prototxt/trained, iteration 5, which comes with the project '
        '(prototxt/trained/README.md says what it can do; RUN= takes another).'
    ]
    assert program(*which, '--run', 'runs/demo/cnn/fold3_seed1')[2].splitlines() == [f'{own}.']
    assert lines == program(*which, '--run', FOLDER)[1] != program(*which, '--run',
                                                                   'runs/demo/cnn/fold3_seed1')[1]
    os.remove('prototxt/trained/run.json')
    assert program(*which)[2].splitlines() == [f'{own}.']
    os.remove('runs/demo/cnn/fold3_seed1/result.json')
    os.remove(FOLDER / 'result.json')
    assert program(*which)[0].startswith('There is no tested run in runs: ')


@pytest.mark.parametrize('arguments, sentence', [
    (('two.png', '--out', 'two.png'),
     'two.png cannot be written (File exists): choose another OUT.'),
    (('two.png', '--out', '/proc/predictions'), '/proc/predictions cannot be written ('),
    (('two.png', '--out', '/proc'), '/proc cannot be written ('),
    (('faces', '--out', 'faces'), 'faces holds your own pictures, not to be overwritten'),
    (('two.png', '--out', '.'), '. holds your own pictures'),
    (('two.png', '--every', '0'), 'EVERY must be a whole number from 1'),
    (('two.png', '--workers', 'x'), "WORKERS must be a whole number from 1 to 1024, not 'x'."),
    (('--webcam', 'x'), "WEBCAM must be a whole number from 0 to 1023, not 'x'."),
    ((), 'Name a picture, a folder of pictures or a video'),
])
def test_arguments(place, program, arguments, sentence):
    before = sorted(place.rglob('*'))
    code, lines, _ = program(*arguments)
    assert code.startswith(sentence) and '\n' not in code and lines == []
    assert sorted(place.rglob('*')) == before
