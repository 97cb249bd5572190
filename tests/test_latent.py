"""The variational generator: sampling and KL, its network from end to end."""
import caffe
import numpy as np
import places
import pytest
import test_layers
from scipy import stats

from prototxt import net
from tools import balance_of_losses

RANDOM = np.random.RandomState(7)


def latent(tmp_path, top, layer, phase=caffe.TRAIN, shape=(4, 3)):
    n = test_layers.inputs(caffe.NetSpec(), mean=shape, log_variance=shape)
    n.top = net.python(top, layer, n.mean, n.log_variance)
    made = test_layers.build(n, tmp_path, phase)
    test_layers.fill(made, mean=RANDOM.randn(*shape), log_variance=RANDOM.randn(*shape))
    return made


def test_a_sample_has_the_mean_and_the_variance(tmp_path):
    made = latent(tmp_path, 'sample', 'Sample', shape=(5000, 2))
    test_layers.fill(made, mean=[1, -2], log_variance=np.log([0.25, 9]))
    made.forward()
    drawn = made.blobs['top'].data.copy()
    for column, mean, deviation in zip(drawn.T, (1, -2), (0.5, 3)):
        assert stats.kstest((column - mean) / deviation, 'norm').pvalue > 0.001
    made.forward()
    assert (made.blobs['top'].data != drawn).all()


def test_a_samples_gradient_is_that_of_the_noise_that_was_drawn(tmp_path):
    made = latent(tmp_path, 'sample', 'Sample')
    made.forward()
    mean, log_variance = (made.blobs[name].data.copy() for name in ('mean', 'log_variance'))
    noise = (made.blobs['top'].data - mean) / np.exp(log_variance / 2)
    above = RANDOM.randn(*mean.shape).astype(np.float32)
    made.blobs['top'].diff[...] = above
    made.backward()

    def drawn(change):
        return mean + np.exp((log_variance + change) / 2) * noise

    slope = (drawn(1e-3) - drawn(-1e-3)) / 2e-3
    np.testing.assert_allclose(made.blobs['mean'].diff, above)
    np.testing.assert_allclose(made.blobs['log_variance'].diff, above * slope, rtol=2e-2,
                               atol=1e-4)


def test_in_the_test_phase_a_sample_is_the_mean(tmp_path):
    made = latent(tmp_path, 'sample', 'Sample', caffe.TEST)
    made.forward()
    np.testing.assert_array_equal(made.blobs['top'].data, made.blobs['mean'].data)


def test_kl_is_the_mean_log_ratio_of_the_two_densities_and_its_gradient(tmp_path):
    made = latent(tmp_path, 'kl_loss', 'KLLoss')
    made.forward()
    value = float(made.blobs['top'].data)
    mean, deviation = made.blobs['mean'].data, np.exp(made.blobs['log_variance'].data / 2)
    drawn = mean + deviation * np.random.default_rng(1).standard_normal((200000, *mean.shape))
    ratio = stats.norm.logpdf(drawn, mean, deviation) - stats.norm.logpdf(drawn)
    assert value == pytest.approx(ratio.sum((1, 2)).mean() / len(mean), rel=0.01)
    test_layers.assert_gradient(made, 'top', ['mean', 'log_variance'])

    test_layers.fill(made, mean=0, log_variance=0)
    made.forward()
    assert made.blobs['top'].data == 0


@pytest.mark.parametrize('module, layer', [('sample', 'Sample'), ('kl_loss', 'KLLoss')])
def test_shapes_that_differ_are_refused(tmp_path, module, layer):
    n = test_layers.inputs(caffe.NetSpec(), mean=(4, 3), log_variance=(4, 2))
    n.top = net.python(module, layer, n.mean, n.log_variance)
    with pytest.raises(ValueError, match='differ in shape'):
        test_layers.build(n, tmp_path)


def test_another_seed_is_another_noise(tmp_path):
    places.build_smooth(tmp_path, 6, ['a', 'b'])
    source = tmp_path / 'data/demo/fold0/train_lmdb'

    def noise(seed):
        path = tmp_path / 'train.prototxt'
        path.write_text(net.train_val('s1r1', 2, source, source, batch_size=3, generator='vae',
                                      seed=seed))
        trained = balance_of_losses.load_net(path, [])
        trained.forward()
        mean, log_variance, latent = (trained.blobs[name].data for name in (
            'latent_mean', 'latent_log_variance', 'latent'))
        return (latent - mean) / np.exp(log_variance / 2)
    one, same, other = noise(1), noise(1), noise(2)
    np.testing.assert_allclose(one, same, atol=1e-4)
    assert np.abs(one - other).max() > 0.5


def test_nothing_but_the_latent_code_goes_into_the_picture(tmp_path):
    """Two faces with the same code are drawn alike; the training network has KL and Gen,r."""
    places.build_smooth(tmp_path, 6, ['a', 'b'])
    source = tmp_path / 'data/demo/fold0/train_lmdb'
    path, start = tmp_path / 'train.prototxt', tmp_path / 'start.caffemodel'
    path.write_text(net.train_val('generator', 2, source, source, batch_size=3, generator='vae',
                                  latent=5))
    trained = balance_of_losses.load_net(path, [])
    trained.forward()
    trained.backward()
    assert trained.blobs['latent'].data.shape == (3, 5) and float(trained.blobs['loss_kl'].data) > 0
    for layer in 'en1/conv1', 'en1/mean', 'en1/log_variance', 'de1_r/fc', 'de1_r/deconv3':
        assert np.abs(trained.params[layer][0].diff).max() > 0
    trained.save(str(start))

    use = tmp_path / 'deploy.prototxt'
    use.write_text(net.deploy('generator', 2, generator='vae', latent=5))
    used = caffe.Net(str(use), str(start), caffe.TEST)
    used.blobs['query'].reshape(2, 1, 64, 64)
    used.blobs['query'].data[...] = RANDOM.rand(2, 1, 64, 64)
    used.forward()
    assert used.blobs['latent_mean'].data.shape == (2, 5)
    first, second = used.blobs['generated'].data.copy()
    assert first.shape == (1, 64, 64) and (first != second).any()
    used.blobs['latent_mean'].data[...] = used.blobs['latent_mean'].data[:1]
    used.forward(start='de1_r/fc')
    np.testing.assert_allclose(used.blobs['generated'].data[0], used.blobs['generated'].data[1])


@pytest.mark.parametrize('classifier, names', [('delta', ('fc1_delta', 'score_delta')),
                                               ('code', ('fc1', 'score'))])
def test_a_gcnet_may_begin_with_the_classifier_of_a_cnn(classifier, names):
    text = net.deploy('s0r0', 7, classifier=classifier)
    assert all(f'name: "{name}"\n' in text for name in names)
