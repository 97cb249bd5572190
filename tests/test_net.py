"""The networks: committed files in step with the program, shapes of the paper's Table 1, sharing,
and which loss is where."""
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import pair_lmdb
from prototxt import net
from tools.core import network

LOSSES = {
    'cnn': {'loss_cls'}, 'metric': {'loss_cls', 'loss_contr'}, 'autoencoder': {'loss_recon_i'},
    'identity': {'loss_cls'}, 'generator': {'loss_gen_r'}, 'expression': {'loss_cls'},
    'disentangled': {'loss_cls', 'loss_recon_i', 'loss_adversary'},
    'degan': {'loss_cls', 'loss_draw', 'loss_real', 'loss_expression'},
    's0r0': {'loss_cls', 'loss_gen_r'}, 's1r0': {'loss_cls', 'loss_gen_r', 'loss_contr'}, 's0r1': {
        'loss_cls', 'loss_gen_r', 'loss_recon_r', 'loss_recon_i'
    }, 's1r1': {'loss_cls', 'loss_gen_r', 'loss_contr', 'loss_recon_r', 'loss_recon_i'}
}


def load(text, path, phase=caffe.TEST):
    (path / 'net.prototxt').write_text(text)
    return caffe.Net(str(path / 'net.prototxt'), phase)


@pytest.fixture(scope='session')
def pairs(tmp_path_factory):
    """The path of an LMDB of eight random pairs."""
    path = tmp_path_factory.mktemp('pairs') / 'train'
    crops = {
        i: np.random.RandomState(i).randint(0, 256, (66, 66)).astype(np.uint8)
        for i in range(8)
    }
    rows = [
        dict(subject='S001', sequence='001', frame=f'{i}', expression=('anger', 'happy')[i % 2],
             path=i, reference=0) for i in range(8)
    ]
    pair_lmdb.write_pairs(str(path), rows, ['anger', 'happy'], crops.get)
    return f'{path}_lmdb'


@pytest.mark.parametrize('variant, settings, weights', [
    ('generator', dict(generator='vae', kl_weight=0.5, pixel_scale=0.02),
     dict(loss_gen_r=0.02, loss_kl=0.01)),
    ('generator', dict(generator='gan', neutral=0, keep_weight=3, pixel_scale=0.1),
     dict(loss_keep=0.3)),
    ('degan', dict(generate_weight=2, pixel_scale=0.1), dict(loss_draw=0.2)),
    ('s1r1', dict(generate_weight=2, reconstruct_weight=3, pixel_scale=0.1),
     dict(loss_gen_r=0.2, loss_recon_r=0.3, loss_recon_i=0.3, loss_contr=1))])
def test_the_scale_of_pixels_weighs_all_that_is_drawn(variant, settings, weights):
    made = text_format.Parse(net.train_val(variant, 2, 'a', 'b', **settings),
                             caffe_pb2.NetParameter())
    found = {layer.top[0]: layer.loss_weight[0] for layer in made.layer if layer.loss_weight}
    for name, weight in weights.items():
        assert found[name] == pytest.approx(weight)


def test_committed_files_are_in_step():
    written = net.files()
    committed = {path.name: path.read_text() for path in Path('prototxt').glob('*.prototxt')}
    assert committed.keys() == written.keys()
    for name in written:
        assert committed[name] == written[name], f'{name} is out of step: run `make prototxt`'


ALL = net.VARIANTS + net.PRETRAINING


@pytest.mark.parametrize('variant', ALL)
def test_training_net_has_the_variants_losses(variant, pairs, tmp_path):
    trained = load(net.train_val(variant, 2, pairs, pairs, batch_size=4), tmp_path, caffe.TRAIN)
    assert set(trained.outputs) - {'accuracy', 'label'} == LOSSES[variant]
    assert all(np.isfinite(value).all() for value in trained.forward().values())


def test_loss_weights_are_the_papers(pairs):
    text = net.train_val('s1r1', 2, pairs, pairs, pixel_scale=1.0)
    layers = {
        layer.name: layer
        for layer in text_format.Parse(text, caffe_pb2.NetParameter()).layer
    }
    weights = {name: list(layers[name].loss_weight) or [1] for name in LOSSES['s1r1']}
    assert weights == {
        'loss_cls': [1], 'loss_contr': [1], 'loss_gen_r': [1], 'loss_recon_r': [0.25],
        'loss_recon_i': [0.25]
    }


@pytest.mark.parametrize('variant', net.VARIANTS)
def test_shapes_are_those_of_table_1(variant, tmp_path):
    deployed = load(net.deploy(variant, 6), tmp_path)
    shapes = {name: blob.data.shape for name, blob in deployed.blobs.items()}
    assert [shapes[f'en2/pool{i}'] for i in (1, 2, 3)] == [(1, 32, 32, 32), (1, 64, 16, 16),
                                                           (1, 96, 8, 8)]
    assert shapes['fc1'] == (1, 384) and shapes['prob'] == (1, 6)
    if variant in net.GCNETS:
        assert [shapes[f'de1_r/deconv{i}'] for i in (1, 2, 3)] == [(1, 32, 16, 16), (1, 64, 32, 32),
                                                                   (1, 1, 64, 64)]
        assert shapes['delta'] == (1, 96, 8, 8) and shapes['generated'] == (1, 1, 64, 64)
    drawn = {'generated', 'reconstructed_r', 'reconstructed_i'} & set(shapes)
    reconstructed = {'disentangled': {'reconstructed_i'},
                     's0r1': {'reconstructed_r', 'reconstructed_i'},
                     's1r1': {'reconstructed_r', 'reconstructed_i'}}
    generated = {'generated'} if variant in net.GCNETS else set()
    assert drawn == generated | reconstructed.get(variant, set())
    kernels = {
        layer: deployed.params[layer][0].data.shape[2:]
        for layer in deployed.params
        if 'conv' in layer
    }
    assert all(kernel == ((5, 5) if layer.endswith(('/conv1', '/deconv3')) else (3, 3))
               for layer, kernel in kernels.items())


def test_the_two_streams_of_en2_are_one(pairs, tmp_path):
    trained = load(net.train_val('s1r1', 2, pairs, pairs, batch_size=4), tmp_path, caffe.TRAIN)
    trained.params['en2/conv2'][0].data[...] = 3
    trained.params['en2/scale1'][1].data[...] = 7
    assert (trained.params['en2_r/conv2'][0].data
            == 3).all() and (trained.params['en2_r/scale1'][1].data == 7).all()
    assert not (trained.params['en1/conv2'][0].data == 3).any()


@pytest.mark.parametrize('settings', [{}, dict(decoder='switches', generator='change')])
def test_streams_together_are_one_batch(settings, pairs, tmp_path):
    """In training: the codes of an encoder that is given X and X^r as one batch. In use: two
    streams again, of the same averages, with the same outcome."""
    settings = dict(settings, streams='together')
    text = net.train_val('s1r1', 2, pairs, pairs, batch_size=4, test_batch_size=4, **settings)
    trained, tested = (load(text, tmp_path, phase) for phase in (caffe.TRAIN, caffe.TEST))
    trained.forward()
    n = caffe.NetSpec()
    n.both = caffe.layers.Input(shape=dict(dim=[8, 1, 64, 64]))
    net.encoder(n, 'en2', n.both)
    alone = load(str(n.to_proto()), tmp_path, caffe.TRAIN)
    trained.save(str(tmp_path / 'weights.caffemodel'))
    alone.copy_from(str(tmp_path / 'weights.caffemodel'))
    alone.blobs['both'].data[:4] = trained.blobs['query'].data
    alone.blobs['both'].data[4:] = trained.blobs['generated'].data
    expected = next(iter(alone.forward().values()))
    for name, own in (('en2_i/code', expected[:4]), ('en2_r/code', expected[4:])):
        np.testing.assert_allclose(trained.blobs[name].data, own, atol=1e-5)

    tested.copy_from(str(tmp_path / 'weights.caffemodel'))
    tested.forward()
    deployed = load(net.deploy('s1r1', 2, **settings), tmp_path)
    network.load_weights(deployed, tmp_path / 'weights.caffemodel')
    deployed.blobs['query'].reshape(4, 1, 64, 64)
    deployed.blobs['query'].data[...] = tested.blobs['query'].data
    deployed.forward()
    for name in ('score', 'reconstructed_r', 'reconstructed_i'):
        np.testing.assert_allclose(deployed.blobs[name].data, tested.blobs[name].data, atol=1e-4)

    model = caffe_pb2.NetParameter.FromString((tmp_path / 'weights.caffemodel').read_bytes())
    model.layer.remove(next(layer for layer in model.layer if layer.name == 'en2/conv2'))
    (tmp_path / 'cut.caffemodel').write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match='without en2/conv2'):
        network.load_weights(deployed, tmp_path / 'cut.caffemodel')


def test_decoders_learn_ten_times_faster(pairs):
    text = net.train_val('s1r1', 2, pairs, pairs)
    for layer in text_format.Parse(text, caffe_pb2.NetParameter()).layer:
        if layer.type in ('Convolution', 'Deconvolution'):
            assert (layer.param[0].lr_mult
                    if layer.param else 1) == (10 if layer.name.startswith('de') else 1)


def test_a_generator_that_learns_slower_or_not_at_all(pairs):
    """Each rate of En1 and De1,r is so much of what it was, and no other has changed."""
    texts = [net.train_val('s1r1', 2, pairs, pairs, generator='vae', **settings)
             for settings in ({}, dict(generator_rate=0.25), dict(generator_rate=0))]
    whole, slow, frozen = (text_format.Parse(text, caffe_pb2.NetParameter()).layer
                           for text in texts)
    slowed = 0
    for layer, other, none in zip(whole, slow, frozen):
        for param, theirs, nothing in zip(layer.param, other.param, none.param):
            own = layer.name.startswith(('en1/', 'de1_r/'))
            slowed += own and param.lr_mult > 0
            assert theirs.lr_mult == param.lr_mult * (0.25 if own else 1)
            assert nothing.lr_mult == param.lr_mult * (0 if own else 1)
    assert slowed > 20


def test_solver_with_a_rate_that_falls_to_0():
    text = net.solver('net.prototxt', 'snapshots/cnn', max_iter=6000, policy='poly', power=1)
    solver = text_format.Parse(text, caffe_pb2.SolverParameter())
    assert (solver.lr_policy, solver.power, solver.max_iter) == ('poly', 1, 6000)
    with pytest.raises(ValueError, match="policy cannot be 'step'; choose from inv, poly"):
        net.solver('net.prototxt', 'snapshots/cnn', policy='step')


def test_solver_is_the_papers(tmp_path):
    path = tmp_path / 'solver.prototxt'
    path.write_text(net.solver('net.prototxt', 'snapshots/s1r1'))
    solver = text_format.Parse(path.read_text(), caffe_pb2.SolverParameter())
    assert (solver.type, solver.lr_policy, solver.max_iter) == ('Nesterov', 'inv', 300000)
    assert [solver.base_lr, solver.momentum, solver.weight_decay] == pytest.approx(
        [0.001, 0.9, 0.0001])


def test_a_generator_of_the_change_starts_from_the_face_itself(pairs, tmp_path):
    changed = load(
        net.train_val('generator', 2, pairs, pairs, test_batch_size=8, generator='change'),
        tmp_path)
    changed.params['de1_r/deconv3'][0].data[...] = 0
    for name in changed.params:
        if '/bn' in name:
            changed.params[name][1].data[...] = changed.params[name][2].data[...] = 1
    changed.forward()
    np.testing.assert_array_equal(changed.blobs['generated'].data, changed.blobs['query'].data)


@pytest.mark.parametrize('variant, settings, words',
                         [('s2r2', {}, "no variant 's2r2'; there are cnn, metric, s0r0"),
                          ('s1r1', {'margn': 1}, "no setting 'margn'; there are"),
                          ('s1r1', {'codes': 'huge'}, "codes cannot be 'huge'"),
                          ('s1r1', {'code_length': 0}, 'code_length must be a number above 0'),
                          ('s1r1', {'code_length': 10 ** 400}, 'above 0, not 1000'),
                          ('s1r1', {'code_length': '1'}, 'code_length must be a number')])
def test_unknown_names_are_refused(variant, settings, words):
    with pytest.raises(ValueError, match=words):
        net.deploy(variant, 7, **settings)


@pytest.mark.parametrize('variant', ALL)
@pytest.mark.parametrize('settings', [
    dict(codes='raw', margin=40.0, standardize=False),
    dict(decoder='switches'),
    dict(picture='normalized'),
    dict(generator='change'),
    dict(streams='together')
])
def test_every_reading_of_the_paper_makes_a_network(variant, settings, pairs, tmp_path):
    trained = load(net.train_val(variant, 2, pairs, pairs, batch_size=4, **settings), tmp_path,
                   caffe.TRAIN)
    assert set(trained.outputs) == LOSSES[variant]
    assert all(np.isfinite(value).all() for value in trained.forward().values())
    deployed = load(net.deploy(variant, 8, **settings), tmp_path)
    assert variant in ('autoencoder', 'generator') or deployed.forward()['prob'].shape == (1, 8)
    if settings.get('decoder') == 'switches' and variant in net.GCNETS:
        filters = [deployed.params[f'de1_r/deconv{i}'][0].data.shape[:2] for i in (1, 2, 3)]
        assert filters == [(96, 64), (64, 32), (32, 1)]


def test_a_sample_without_reference_has_no_part_in_its_losses(tmp_path):
    crops = {
        i: np.random.RandomState(i).randint(0, 256, (66, 66)).astype(np.uint8)
        for i in range(4)
    }
    rows = [
        dict(subject='S001', sequence='001', frame=f'{i}', expression='a', path=i,
             reference=0 if i % 2 else None) for i in range(4)
    ]
    pair_lmdb.write_pairs(str(tmp_path / 'half'), rows, ['a'], crops.get)
    both = load(
        net.train_val('s1r1', 1, tmp_path / 'half_lmdb', tmp_path / 'half_lmdb', test_batch_size=4),
        tmp_path)
    for name in both.params:  # or batch norm's untouched statistics divide by next to nothing
        if '/bn' in name or name == 'standardized':
            both.params[name][1].data[...] = both.params[name][2].data[...] = 1
    losses, blobs = both.forward(), both.blobs
    for loss, picture in (('loss_gen_r', 'generated'), ('loss_recon_r', 'reconstructed_r')):
        difference = (blobs[picture].data - blobs['reference'].data)[[1, 3]].astype(float)
        # half, over two samples
        assert losses[loss] == pytest.approx((difference ** 2).sum() / 2 / 2, rel=1e-4)
    difference = (blobs['reconstructed_i'].data - blobs['query'].data).astype(float)
    assert losses['loss_recon_i'] == pytest.approx((difference ** 2).sum() / 2 / 4, rel=1e-4)
