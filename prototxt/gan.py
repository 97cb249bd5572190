"""How a generator learns without references, `VARIANT=generator SET="generator=gan"`: what it draws
of any face is to be taken for a neutral one, by a discriminator that learns what drawn faces are.

The discriminator is a CNN of expressions with one class more, "drawn". Its neutral is that of all
neutral faces in the data, so a face needs none of the same person.
"""
from caffe import layers as L

from prototxt.parts import HIDDEN, NOBODY, constant, dense, encoder, standardized

# deceive_weight: how much the generator minds that a drawn face is not taken for a neutral one,
# where the discriminator minds by 0.5 that it is not taken for a drawn one; keep_weight: of the
# loss that holds X̂r near X, times pixel_scale.
SETTINGS = dict(deceive_weight=0.25, keep_weight=0.1)


def learn(n, n_classes, batch, settings):
    """Adds n.loss_discriminate, n.loss_deceive and n.loss_keep to a network that draws n.generated.

    n_classes: of the expressions; settings['neutral']: which of them is neutral, ValueError for
    None; batch: images in it.

    The discriminator looks at X and X̂r twice: once to know drawn faces, which the generator does
    not feel, and once to tell it how to be taken for neutral. Its own weights feel both. So where
    it can tell them apart it says `drawn` with 0.5 / (0.5 + deceive_weight) and not with 1, and the
    generator never loses its gradient to one that is sure.
    """
    neutral = settings['neutral']
    if neutral is None:
        raise ValueError('generator=gan draws neutral faces, and no class is neutral')
    n.is_drawn, n.is_neutral, n.is_nobody = (
        constant(batch, value) for value in (n_classes, neutral, NOBODY))

    score = judge(n, '', [False, False], n_classes + 1)
    n.truth = L.Concat(n.label, n.is_drawn, axis=0)
    n.loss_discriminate = L.SoftmaxWithLoss(score, n.truth)

    score = judge(n, '_again', [False, True], n_classes + 1)
    n.wanted = L.Concat(n.is_nobody, n.is_neutral, axis=0)
    n.loss_deceive = L.SoftmaxWithLoss(score, n.wanted, loss_param=dict(ignore_label=NOBODY),
                                       loss_weight=settings['deceive_weight'])
    n.loss_keep = L.EuclideanLoss(n.generated, n.query,
                                  loss_weight=settings['keep_weight'] * settings['pixel_scale'])


def judge(n, again, felt, outputs):
    """The discriminator's scores, 2 N x outputs, of X and then X̂r, in one batch, so that batch
    norm does to both alike what it does to one.

    again: ending of the layers' names, whose weights are those of the layers without; felt: which
    of the two feels the gradient. Without an ending they bear a CNN's names, so it may begin as a
    CNN of expressions.
    """
    n[f'faces{again}'] = L.Concat(n.query, n.generated, axis=0, propagate_down=felt)
    code = encoder(n, f'en2{again}', n[f'faces{again}'], twin='en2')
    n[f'standardized{again}'] = standardized(code, f'standardized{again}')
    n[f'dropout{again}'] = L.Dropout(n[f'standardized{again}'], dropout_ratio=0.5)
    n[f'fc1{again}'] = dense(n[f'dropout{again}'], HIDDEN, shared='fc1')
    n[f'fc1_relu{again}'] = L.ReLU(n[f'fc1{again}'], in_place=True)
    n[f'score_drawn{again}'] = dense(n[f'fc1_relu{again}'], outputs, shared='score_drawn')
    return n[f'score_drawn{again}']
