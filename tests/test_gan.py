"""A generator that learns without references: which loss moves what, what the losses are, and that
its use is that of a generator of changes."""
import caffe
import numpy as np
import pytest
from scipy import special
from test_neighbours import moved, place, trained  # noqa: F401

from prototxt import gan, net

BATCH, NEUTRAL, DRAWN = 6, 1, 2
SETTINGS = dict(generator='gan', neutral=NEUTRAL, decoder='switches')


def test_who_learns_from_what(place):  # noqa: F811
    made = trained('generator', **SETTINGS)
    found = {loss: moved(made, loss) for loss in made.outputs}
    for name in found['loss_keep']:
        drawing = name.startswith(('en1/', 'de1_r/'))
        assert found['loss_keep'][name] == found['loss_gen_r'][name] == drawing
        # The generator does not feel that its faces are known for drawn.
        assert found['loss_discriminate'][name] == (not drawing)
        assert found['loss_deceive'][name]


def test_the_losses(place):  # noqa: F811
    """By hand from the scores: X under its label, X̂r as drawn, and once more as neutral."""
    made = trained('generator', **SETTINGS, deceive_weight=0.5, keep_weight=0.2, pixel_scale=0.1)
    made.forward()
    (x, known), (_, wanted) = (
        -np.log(special.softmax(made.blobs[f'score_drawn{again}'].data, 1)).reshape(2, BATCH, -1)
        for again in ('', '_again'))
    labels = made.blobs['label'].data.astype(int)
    discriminate = np.r_[x[range(BATCH), labels], known[:, DRAWN]].mean()
    assert made.blobs['loss_discriminate'].data == pytest.approx(discriminate, rel=1e-5)
    assert made.blobs['loss_deceive'].data == pytest.approx(wanted[:, NEUTRAL].mean(), rel=1e-5)
    changes = made.blobs['generated'].data - made.blobs['query'].data
    assert made.blobs['loss_keep'].data == pytest.approx((changes ** 2).sum() / 2 / BATCH, rel=1e-5)
    assert 'faces' not in trained('generator', caffe.TEST, **SETTINGS).blobs


def test_weights_of_the_losses(place):  # noqa: F811
    """A weight is that of the gradient."""
    def gradient(**settings):
        made = trained('generator', **SETTINGS, generate_weight=0, **settings)
        made.forward()
        made.backward()
        return made.params['de1_r/deconv3'][0].diff.copy()
    assert not gradient(deceive_weight=0, keep_weight=0).any()
    for name in 'deceive_weight', 'keep_weight':
        once, thrice = (gradient(**{'deceive_weight': 0, 'keep_weight': 0, name: weight})
                        for weight in (1, 3))
        assert np.abs(once).max() > 1e-4 and thrice == pytest.approx(3 * once, rel=1e-2, abs=1e-5)


def test_its_use_is_that_of_a_generator_of_changes():
    for variant in 'generator', 's1r1':
        change, own = (net.deploy(variant, 2, generator=kind, decoder='switches')
                       for kind in ('change', 'gan'))
        assert own == change


def test_without_a_neutral_class():
    with pytest.raises(ValueError, match='no class is neutral'):
        net.train_val('generator', 2, 'a', 'b', generator='gan')
    assert set(gan.SETTINGS) <= set(net.SETTINGS)
