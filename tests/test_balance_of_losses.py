"""What each loss alone asks of an encoder, against networks that have no other loss."""
import caffe
import drawn
import numpy as np
import places
import pytest

from data_prep import align, pair_lmdb
from prototxt import net
from tools import balance_of_losses

# a weight of 0 for all but one: what that loss alone asks, by Caffe's own backward pass
OFF = dict(contrast_weight=0, generate_weight=0, reconstruct_weight=0)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp('balance')
    places.build_smooth(place, 12, ['a', 'b', 'neutral'])
    return place


def write(place, name, **settings):
    source = place / 'data/demo/fold0/train_lmdb'
    path = place / f'{name}.prototxt'
    path.write_text(net.train_val('s1r1', 3, source, source, batch_size=6, neutral=2,
                                  decoder='switches', **settings))
    return path


def test_each_losss_gradient_is_that_of_a_network_with_no_other_loss(place):
    start = place / 'start.caffemodel'
    balance_of_losses.load_net(write(place, 'start'), []).save(str(start))
    found = balance_of_losses.measure(
        balance_of_losses.load_net(write(place, 'whole'), [start]), 1)['losses']

    expected = {}
    for name, settings in (('loss_contr', dict(OFF, contrast_weight=1)),
                           ('loss_recon_i', dict(OFF, reconstruct_weight=0.25))):
        path = write(place, name, **settings)
        text = path.read_text()
        if name == 'loss_recon_i':  # two losses have this weight
            text = text.replace('top: "loss_recon_r"\n  loss_weight: 0.25',
                                'top: "loss_recon_r"\n  loss_weight: 0')
        path.write_text(text.replace('top: "loss_cls"\n', 'top: "loss_cls"\n  loss_weight: 0\n'))
        alone = balance_of_losses.load_net(path, [start])
        alone.forward()
        alone.backward()
        expected[name] = np.linalg.norm(alone.params['en2/conv3'][0].diff)

    for name, norm in expected.items():
        assert norm > 0 and found[name][1] == pytest.approx(norm, rel=1e-3)
    assert found['loss_gen_r'][1] == 0  # it ends at De1,r and En1


def test_every_loss_of_an_adversarys_training_is_named_and_alone(place):
    """Together they ask what Caffe's own backward pass asks, so none was left in another's line."""
    source = place / 'data/demo/fold0/train_lmdb'
    path = place / 'gan.prototxt'
    path.write_text(net.train_val('generator', 3, source, source, batch_size=6, neutral=2,
                                  generator='gan', decoder='switches'))
    made = balance_of_losses.load_net(path, [])
    made.forward()
    weights = {name: float(made.blobs[name].diff) for name in made.outputs}
    assert set(weights) == {'loss_gen_r', 'loss_discriminate', 'loss_deceive', 'loss_keep'}
    layer, alone = 'en1/conv3', {}
    for name in weights:
        balance_of_losses.gradient(made, layer, name, weights)
        alone[name] = made.params[layer][0].diff.copy()
    made.clear_param_diffs()
    made.backward()
    np.testing.assert_allclose(sum(alone.values()), made.params[layer][0].diff, atol=1e-6)
    assert not alone['loss_discriminate'].any() and alone['loss_deceive'].any()
    found = balance_of_losses.measure(balance_of_losses.load_net(path, []), 1, layer)['losses']
    assert set(found) == set(weights) and found['loss_discriminate'][1] == 0


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    """The LMDB of eight pairs of drawn faces, of three classes."""
    place = tmp_path_factory.mktemp('faces')
    crops = [align.crop(*drawn.face(person, pose)) for person in range(8) for pose in (1, 2)]
    classes = ['anger', 'happy', 'surprise']
    rows = [dict(subject=f'S{i}', sequence='001', frame='1', expression=classes[i % 3],
                 path=2 * i, reference=2 * i + 1) for i in range(8)]
    pair_lmdb.write_pairs(str(place / 'train'), rows, classes, crops.__getitem__)
    return place / 'train_lmdb'


@pytest.mark.parametrize('settings, least, most', [
    ({}, 0.1, 2), (dict(code_length=20, margin=4.5), 10, 100)])
def test_how_much_contr_acts_where_the_recipe_starts(faces, tmp_path, settings, least, most):
    """In % of Cls, on drawn faces, from the recipe's generator and an encoder that knows
    expressions: hardly by default, and by the settings of docs/results.md it does."""
    path = tmp_path / 'net.prototxt'
    path.write_text(net.train_val('s1r1', 3, faces, faces, batch_size=8, generator='change',
                                  decoder='switches', **settings))
    started = [places.ROOT / 'prototxt/pretrained' / name
               for name in ('generator.caffemodel', 'faces/expression.caffemodel')]
    losses = balance_of_losses.measure(balance_of_losses.load_net(path, started), 4)['losses']
    assert least < 100 * losses['loss_contr'][1] / losses['loss_cls'][1] < most


def test_values_are_weighted_and_S_is_the_distance_of_the_codes(place):
    path = write(place, 'weighted', contrast_weight=2, code_length=3, margin=3)
    found = balance_of_losses.measure(balance_of_losses.load_net(path, []), 2)

    caffe.set_random_seed(1)
    other = caffe.Net(str(path), caffe.TRAIN)
    values, distances = [], []
    for _ in range(2):
        other.forward()
        values.append(2 * float(other.blobs['loss_contr'].data))
        gap = other.blobs['code'].data - other.blobs['code_r'].data
        distances += [np.sqrt((one ** 2).sum()) for one in gap]
    assert found['losses']['loss_contr'][0] == pytest.approx(np.mean(values), rel=1e-5)
    np.testing.assert_allclose(found['S'], distances, rtol=1e-5)
    assert len(found['labels']) == 12

    lines = list(balance_of_losses.tell_distances(found, ['a', 'b', 'neutral']))
    own = np.array(distances)[found['labels'] == 2]
    assert lines[2].startswith(f'S of neutral: {own.mean():.3g} (sd')


def test_weights_of_another_net_are_refused(place):
    path = write(place, 'refused')
    (place / 'text.caffemodel').write_text('no model')
    with pytest.raises(SystemExit, match='WEIGHTS: .*text.caffemodel is damaged'):
        balance_of_losses.load_net(path, [place / 'text.caffemodel'])
