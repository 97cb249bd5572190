"""Our Python layers: numerical gradients, and outputs against Caffe's own layers, numpy and
scipy."""
import caffe
import numpy as np
import pytest
from caffe import layers as L
from caffe import params as P
from scipy import ndimage, sparse, special

from prototxt.net import python

RANDOM = np.random.RandomState(0)


def build(spec, path, phase=caffe.TEST):
    path = path / 'net.prototxt'
    path.write_text(f'force_backward: true\n{spec.to_proto()}')
    return caffe.Net(str(path), phase)


def inputs(n, **shapes):
    for name, shape in shapes.items():
        n[name] = L.Input(shape=dict(dim=list(shape)))
    return n


def assert_gradient(net, top, names, step=1e-2, tolerance=2e-3):
    """Backward of net against central differences of sum(weights * top), for every element of the
    named inputs."""
    weights = np.asarray(RANDOM.randn(*net.blobs[top].data.shape), np.float32)

    def objective():
        net.forward()
        return float((net.blobs[top].data.astype(np.float64) * weights).sum())

    objective()
    net.blobs[top].diff[...] = weights
    net.backward()
    for name in names:
        computed, blob = net.blobs[name].diff.copy(), net.blobs[name]
        numerical = np.zeros_like(computed)
        for i in np.ndindex(*blob.data.shape):
            value = blob.data[i]
            blob.data[i] = value + step  # asked anew for its data, a blob takes them to a GPU
            above = objective()
            blob.data[i] = value - step
            below = objective()
            blob.data[i] = value
            numerical[i] = (above - below) / (2 * step)
        np.testing.assert_allclose(computed, numerical,
                                   atol=tolerance * max(1,
                                                        np.abs(numerical).max()))


def fill(net, **values):
    for name, value in values.items():
        net.blobs[name].data[...] = value


def apart(*shape):
    """Random values no two of which are within 0.05: no kink lies within a step of the numerical
    gradient."""
    return (RANDOM.permutation(np.prod(shape)).reshape(shape) - np.prod(shape) / 2) * 0.05 + 0.013


# Distance, equation 2

def test_distance_is_caffes_absval_of_the_difference(tmp_path):
    n = inputs(caffe.NetSpec(), a=(3, 4, 2, 2), b=(3, 4, 2, 2))
    n.delta = python('distance', 'Distance', n.a, n.b)
    n.difference = L.Eltwise(n.a, n.b, operation=P.Eltwise.SUM, coeff=[1, -1])
    n.expected = L.AbsVal(n.difference)
    net = build(n, tmp_path)
    fill(net, a=RANDOM.randn(3, 4, 2, 2), b=RANDOM.randn(3, 4, 2, 2))
    net.forward()
    np.testing.assert_array_equal(net.blobs['delta'].data, net.blobs['expected'].data)
    assert net.blobs['delta'].data.min() >= 0


def test_distance_gradient(tmp_path):
    n = inputs(caffe.NetSpec(), a=(2, 3, 2, 2), b=(2, 3, 2, 2))
    n.delta = python('distance', 'Distance', n.a, n.b)
    net = build(n, tmp_path)
    both = apart(2, 2, 3, 2, 2)
    fill(net, a=both[0], b=both[1])
    assert_gradient(net, 'delta', ['a', 'b'])


# Contrastive loss, equations 4 and 5

def contrastive(tmp_path, margin=1.5, neutral=2):
    n = inputs(caffe.NetSpec(), a=(6, 5), b=(6, 5), label=(6,))
    n.loss = python('contrastive_loss', 'ContrastiveLoss', n.a, n.b, n.label, loss_weight=1,
                    margin=margin, neutral=neutral)
    net = build(n, tmp_path)
    a = RANDOM.randn(6, 5)
    # Half of the pairs lie inside the margin, half outside.
    fill(net, a=a, b=a + RANDOM.randn(6, 5) * np.array([0.2, 0.2, 0.2, 2, 2, 2])[:, None],
         label=[0, 1, 2, 0, 1, 2])
    return net


def test_contrastive_loss_and_gradient_are_caffes_own(tmp_path):
    ours = contrastive(tmp_path)
    n = inputs(caffe.NetSpec(), a=(6, 5), b=(6, 5), same=(6,))
    n.loss = L.ContrastiveLoss(n.a, n.b, n.same, margin=1.5)
    caffes = build(n, tmp_path)
    fill(caffes, a=ours.blobs['a'].data, b=ours.blobs['b'].data, same=[0, 0, 1, 0, 0, 1])
    for net in ours, caffes:
        net.forward()
        net.backward()
    assert ours.blobs['loss'].data == pytest.approx(caffes.blobs['loss'].data, rel=1e-5)
    for name in 'a', 'b':
        assert np.abs(ours.blobs[name].diff).max() > 0.01
        # Caffe adds 1e-4 to S
        np.testing.assert_allclose(ours.blobs[name].diff, caffes.blobs[name].diff, rtol=1e-3)


def test_contrastive_loss_of_a_hand_computed_pair(tmp_path):
    net = contrastive(tmp_path, margin=2.0, neutral=2)
    fill(net, a=0, b=0, label=[0, 0, 0, 0, 2, 2])
    net.blobs['b'].data[:, :2] = [3, 4]   # S = 5: outside of the margin
    net.blobs['b'].data[0, :2] = [0, 1]   # S = 1: (2 - 1)^2 / 2 = 0.5
    # neutral, S = 2: 2^2 / 2 = 2; the other neutral has S = 5: 12.5
    net.blobs['b'].data[5, :2] = [0, 2]
    net.forward()
    assert net.blobs['loss'].data == pytest.approx((0.5 + 0 + 0 + 0 + 12.5 + 2) / 6)


def masked(tmp_path, referred):
    """The net of contrastive(), with marks of which samples have a reference."""
    n = inputs(caffe.NetSpec(), a=(6, 5), b=(6, 5), label=(6,), referred=(6,))
    n.loss = python('contrastive_loss', 'ContrastiveLoss', n.a, n.b, n.label, n.referred,
                    loss_weight=1, margin=1.5, neutral=2)
    net = build(n, tmp_path)
    whole = contrastive(tmp_path)
    # as Augment marks them
    marks = np.sqrt(6 / np.sum(referred)) * np.array(referred)
    fill(net, a=whole.blobs['a'].data, b=whole.blobs['b'].data, label=[0, 1, 2, 0, 1, 2],
         referred=marks)
    return net


def test_samples_without_a_reference_have_no_part_in_contrast(tmp_path):
    """The loss is that of the others alone, each as in a batch of them."""
    net = masked(tmp_path, [1, 0, 1, 0, 1, 1])
    net.forward()
    net.backward()
    expected = []
    for a, b, label in zip(*(net.blobs[name].data[[0, 2, 4, 5]] for name in ('a', 'b', 'label'))):
        distance = np.linalg.norm(a - b)
        expected.append((distance if label == 2 else max(0, 1.5 - distance)) ** 2 / 2)
    assert net.blobs['loss'].data == pytest.approx(np.mean(expected), rel=1e-5)
    assert not net.blobs['a'].diff[[1, 3]].any() and not net.blobs['b'].diff[[1, 3]].any()
    assert_loss_gradient(net, ['a', 'b'])


def test_a_batch_without_any_reference_has_no_contrast(tmp_path):
    net = masked(tmp_path, [1] * 6)
    net.blobs['referred'].data[...] = 0
    net.forward()
    net.backward()
    assert net.blobs['loss'].data == 0 and not net.blobs['a'].diff.any()


def test_without_a_neutral_class_every_pair_differs(tmp_path):
    net = contrastive(tmp_path, margin=1.0, neutral=None)
    fill(net, a=0, b=0)
    net.forward()
    assert net.blobs['loss'].data == pytest.approx(0.5)
    net.backward()
    assert np.isfinite(net.blobs['a'].diff).all()  # S = 0 has no direction


@pytest.mark.parametrize('neutral', [2, None])
def test_contrastive_gradient(tmp_path, neutral):
    net = contrastive(tmp_path, neutral=neutral)
    net.forward()
    net.backward()
    assert_loss_gradient(net, ['a', 'b'])


def assert_loss_gradient(net, names, step=1e-2, tolerance=2e-3):
    for name in names:
        computed, blob = net.blobs[name].diff.copy(), net.blobs[name]
        for i in np.ndindex(*blob.data.shape):
            value = blob.data[i]
            blob.data[i] = value + step
            above = float(net.forward()['loss'])
            blob.data[i] = value - step
            below = float(net.forward()['loss'])
            blob.data[i] = value
            assert computed[i] == pytest.approx((above - below) / (2 * step), abs=tolerance)


# Unequal classes

def adjusted(tmp_path, scores, labels, offsets):
    n = inputs(caffe.NetSpec(), score=scores.shape, label=(len(labels),))
    n.adjusted = python('adjust', 'Adjust', n.score, offsets=offsets)
    n.loss = L.SoftmaxWithLoss(n.adjusted, n.label)
    net = build(n, tmp_path)
    fill(net, score=scores, label=labels)
    net.forward()
    return net


def test_adjusted_loss_and_its_gradient(tmp_path):
    scores, labels, offsets = RANDOM.randn(6, 3), [0, 1, 2, 2, 1, 2], [-0.5, -1.25, -3]
    net = adjusted(tmp_path, scores, labels, offsets)
    losses = special.logsumexp(scores + offsets, axis=1) - (scores + offsets)[range(6), labels]
    assert net.blobs['loss'].data == pytest.approx(losses.mean(), rel=1e-5)
    net.backward()
    assert_loss_gradient(net, ['score'])


def test_equal_scores_are_best_for_images_that_look_alike(tmp_path):
    """With the logarithm of the frequencies: whatever they are, no class is to be preferred."""
    labels = np.repeat([0, 1, 2], [1, 3, 12])
    net = adjusted(tmp_path, np.zeros((16, 3)), labels, np.log(np.bincount(labels) / 16).tolist())
    net.backward()
    np.testing.assert_allclose(net.blobs['score'].diff.sum(0), 0, atol=1e-6)


# Normalised codes

@pytest.mark.parametrize('length', [1, 6.0])
def test_normalize_gives_one_length_and_its_gradient(tmp_path, length):
    n = inputs(caffe.NetSpec(), a=(3, 2, 2, 2))
    n.unit = python('normalize', 'Normalize', n.a, length=length)
    net = build(n, tmp_path)
    values = RANDOM.randn(3, 2, 2, 2)
    fill(net, a=values)
    net.forward()
    flat = values.reshape(3, 8)
    np.testing.assert_allclose(net.blobs['unit'].data.reshape(3, 8),
                               length * flat / np.linalg.norm(flat, axis=1, keepdims=True),
                               rtol=1e-5)
    assert_gradient(net, 'unit', ['a'])


def test_normalize_of_zeros_is_zeros(tmp_path):
    n = inputs(caffe.NetSpec(), a=(1, 4))
    n.unit = python('normalize', 'Normalize', n.a)
    net = build(n, tmp_path)
    fill(net, a=0)
    net.forward()
    assert (net.blobs['unit'].data == 0).all()


# Unpooling

def pooled_and_back(tmp_path, kernel, pad, size=12):
    n = inputs(caffe.NetSpec(), image=(2, 3, size, size))
    n.pooled, n.switches = L.Pooling(n.image, pool=P.Pooling.MAX, kernel_size=kernel, stride=2,
                                     pad=pad, ntop=2)
    n.values = L.Input(shape=dict(dim=[2, 3, size // 2, size // 2]))
    n.unpooled = python('unpool', 'Unpool', n.values, n.switches, stride=2)
    net = build(n, tmp_path)
    fill(net, image=apart(2, 3, size, size), values=RANDOM.randn(2, 3, size // 2, size // 2))
    net.forward()
    return net


@pytest.mark.parametrize('kernel, pad', [(3, 0), (5, 1)])
def test_unpool_puts_each_value_at_its_windows_maximum(tmp_path, kernel, pad):
    net = pooled_and_back(tmp_path, kernel, pad)
    image, values = net.blobs['image'].data, net.blobs['values'].data
    expected = np.zeros_like(image)
    for sample, channel, y, x in np.ndindex(*values.shape):
        top, left = 2 * y - pad, 2 * x - pad
        window = [(image[sample, channel, j, i], j, i)
                  for j in range(max(top, 0), min(top + kernel, 12))
                  for i in range(max(left, 0), min(left + kernel, 12))]
        _, j, i = max(window)
        expected[sample, channel, j, i] += values[sample, channel, y, x]
    np.testing.assert_allclose(net.blobs['unpooled'].data, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kernel, pad', [(3, 0), (5, 1)])
def test_unpool_is_the_transpose_of_scipys_selection_matrix(tmp_path, kernel, pad):
    """Max pooling picks pixels: pooled = S image, S a sparse matrix of ones. Unpooling is S^T."""
    net = pooled_and_back(tmp_path, kernel, pad)
    for image, pooled, values, unpooled in zip(*(net.blobs[name].data.reshape(6, -1) for name in
                                                 ('image', 'pooled', 'values', 'unpooled'))):
        # no two pixels are equal
        places = np.array([np.flatnonzero(image == value)[0] for value in pooled])
        selection = sparse.csr_matrix((np.ones(36), (np.arange(36), places)), shape=(36, 144))
        np.testing.assert_allclose(unpooled, selection.T @ values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kernel, pad', [(3, 0), (5, 1)])
def test_unpool_gradient(tmp_path, kernel, pad):
    assert_gradient(pooled_and_back(tmp_path, kernel, pad, size=6), 'unpooled', ['values'])


def test_unpool_lets_nan_through(tmp_path):
    """A training that diverges must end in a loss that is NaN, not in a layer's error."""
    net = pooled_and_back(tmp_path, 3, 0)
    fill(net, image=np.nan, values=np.nan)
    net.forward()
    assert (net.blobs['switches'].data == -1).all() and np.isnan(net.blobs['unpooled'].data).any()


@pytest.mark.parametrize('size, pad, width', [(5, 1, 14), (3, 0, 11)])
def test_max_pooling_finds_the_first_of_equal_values(tmp_path, size, pad, width):
    """In the order of rows: what the compiled builds patch (docker/patches/max_pooling.patch)."""
    n = inputs(caffe.NetSpec(), x=(2, 3, 10, width))
    n.pooled, n.switches = L.Pooling(n.x, pool=P.Pooling.MAX, kernel_size=size, stride=2, pad=pad,
                                     ntop=2)
    net = build(n, tmp_path)
    # mostly equal values, as after ReLU
    x = np.maximum(RANDOM.randint(-3, 3, (2, 3, 10, width)), 0)
    x[0, 0, :2] = -5
    fill(net, x=x)
    net.forward()
    for (i, c, row, column), switch in np.ndenumerate(net.blobs['switches'].data):
        top, left = max(0, 2 * row - pad), max(0, 2 * column - pad)
        window = x[i, c, top:2 * row - pad + size, left:2 * column - pad + size]
        y, z = np.unravel_index(window.argmax(), window.shape)  # numpy takes the first one too
        assert switch == (top + y) * width + left + z
        assert net.blobs['pooled'].data[i, c, row, column] == window.max()


# Repeating

def repeated(tmp_path, stride):
    n = inputs(caffe.NetSpec(), values=(2, 3, 4, 5))
    n.large = python('repeat', 'Repeat', n.values, stride=stride)
    return build(n, tmp_path)


@pytest.mark.parametrize('stride', [2, 3])
def test_repeat_puts_each_value_in_all_places_of_its_window(tmp_path, stride):
    net = repeated(tmp_path, stride)
    fill(net, values=RANDOM.randn(2, 3, 4, 5))
    expected = net.blobs['values'].data.repeat(stride, 2).repeat(stride, 3)
    np.testing.assert_array_equal(net.forward()['large'], expected)


@pytest.mark.parametrize('stride', [2, 3])
def test_repeat_gradient(tmp_path, stride):
    assert_gradient(repeated(tmp_path, stride), 'large', ['values'])


# Augmentation

def augmented(tmp_path, phase, pairs, **param):
    n = inputs(caffe.NetSpec(), pair=pairs.shape)
    n.query, n.reference, n.referred = python('augment', 'Augment', n.pair, ntop=3, **param)
    net = build(n, tmp_path, phase)
    fill(net, pair=pairs)
    net.forward()
    return net


def smooth(n, seed=0):
    noise = np.random.RandomState(seed).rand(n, 2, 66, 66)
    return (255 * ndimage.gaussian_filter(noise, (0, 0, 4, 4)) / 0.6).clip(0, 255).astype(np.uint8)


def test_the_test_phase_takes_the_centre(tmp_path):
    pairs = smooth(3)
    net = augmented(tmp_path, caffe.TEST, pairs)
    np.testing.assert_allclose(net.blobs['query'].data[:, 0], pairs[:, 0, 1:65, 1:65] / 255,
                               rtol=1e-6)
    np.testing.assert_allclose(net.blobs['reference'].data[:, 0], pairs[:, 1, 1:65, 1:65] / 255,
                               rtol=1e-6)


def test_crop_and_flip_alone_move_whole_pixels(tmp_path):
    pairs = smooth(40)
    net = augmented(tmp_path, caffe.TRAIN, pairs, rotate=0, scale=0, intensity=0)
    seen = set()
    for pair, query in zip(pairs, net.blobs['query'].data):
        matches = [(y, x, flip)
                   for y in range(3)
                   for x in range(3)
                   for flip in (1, -1)
                   if np.allclose(query[0], pair[0, y:y + 64, x:x + 64][:, ::flip] / 255, atol=1e-4)
                   ]
        assert len(matches) == 1
        seen.update(matches)
    assert {flip for _, _, flip in seen} == {1, -1} and len({(y, x) for y, x, _ in seen}) >= 7


def test_query_and_reference_get_the_same_transform(tmp_path):
    pairs = smooth(8)
    pairs[:, 1] = pairs[:, 0]
    net = augmented(tmp_path, caffe.TRAIN, pairs)
    np.testing.assert_array_equal(net.blobs['query'].data, net.blobs['reference'].data)


def test_rotation_is_scipys(tmp_path):
    pairs = smooth(6)
    net = augmented(tmp_path, caffe.TRAIN, pairs, crop=66, scale=0, intensity=0, flip=0.0,
                    rotate=10.0)
    for pair, query in zip(pairs, net.blobs['query'].data):
        errors = [np.abs(ndimage.rotate(pair[0] / 255, angle, reshape=False, order=1)[16:50, 16:50]
                         - query[0, 16:50, 16:50]).max() for angle in np.arange(-10, 10.05, 0.1)]
        assert min(errors) < 0.01


def test_scale_zooms_about_the_middle(tmp_path):
    pairs, zooms = smooth(12), np.arange(0.8, 1.2005, 0.005)
    net = augmented(tmp_path, caffe.TRAIN, pairs, crop=66, rotate=0, intensity=0, flip=0.0,
                    scale=0.2)
    best = []
    for pair, query in zip(pairs, net.blobs['query'].data):
        errors = [np.abs(ndimage.affine_transform(
            pair[0] / 255, np.eye(2) / zoom, offset=32.5 * (1 - 1 / zoom), order=1)[16:50, 16:50]
            - query[0, 16:50, 16:50]).max() for zoom in zooms]
        assert min(errors) < 0.02
        best.append(zooms[np.argmin(errors)])
    assert 0.8 <= min(best) < 0.9 and 1.1 < max(best) <= 1.2


def test_intensity_multiplies(tmp_path):
    pairs = smooth(20) // 2
    net = augmented(tmp_path, caffe.TRAIN, pairs, rotate=0, scale=0, flip=0.0, crop=66,
                    intensity=0.2)
    gains = net.blobs['query'].data[:, 0].sum((1, 2)) / (pairs[:, 0] / 255).sum((1, 2))
    assert 0.8 <= gains.min() < 0.9 and 1.1 < gains.max() <= 1.2
    np.testing.assert_allclose(net.blobs['query'].data[:, 0],
                               gains[:, None, None] * pairs[:, 0] / 255, atol=1e-5)


def test_augmentation_stays_in_range_and_repeats_by_seed(tmp_path):
    pairs = np.full((16, 2, 66, 66), 255, np.uint8)
    first, again, other = (augmented(tmp_path, caffe.TRAIN, smooth(16),
                                     seed=seed).blobs['query'].data.copy() for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    assert augmented(tmp_path, caffe.TRAIN, pairs).blobs['query'].data.max() == 1


# param_str

@pytest.mark.parametrize('text, words',
                         [('{"margn": 1}', "unknown name 'margn'; known are margin, neutral"),
                          ('{"margin": "1"}', "margin cannot be '1'"),
                          ('{"margin": true}', 'margin cannot be True'),
                          ('[1]', 'must be a JSON object'), ('{margin: 1}', 'is not JSON'),
                          ('{"neutral": 0.5}', 'neutral cannot be 0.5')])
def test_param_str_is_checked(text, words):
    from layers import contrastive_loss, params

    class Layer(contrastive_loss.ContrastiveLoss):
        def __init__(self):
            self.param_str = text

    with pytest.raises(ValueError, match=words):
        params.read_params(Layer(), margin=1.0, neutral=None)
