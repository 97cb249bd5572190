"""Two systems of GCNet's family, out of the same parts: other ways to take the person out of an
expression. docs/decisions.md says what in them is the papers' and what is ours.

disentangled: an expression code and a rest code, from both of which X is drawn again, while an
adversary looks for the expression in the rest (Halawa et al. 2020, arXiv 2008.07001).
degan: a generator that draws the expression of X on the face of somebody else, and a discriminator
that tells drawn from real faces, expressions and people (Ali and Hughes 2019, arXiv 1909.13135 and
1912.01456).

Each trains in one network, by gradients that are reversed (layers/reverse.py).
"""
import caffe
from caffe import layers as L

from prototxt.parts import (
    CROP,
    HIDDEN,
    NOBODY,
    constant,
    decoder,
    dense,
    encoder,
    hidden,
    latent_code,
    python,
    stage,
    standardized,
    unfold,
    used_switches,
)

VARIANTS = ('disentangled', 'degan')
# reverse: how strongly what is reversed counts; reverse_identity: the same of an adversary that
# looks for the person in the expression code of `disentangled`, 0 for none; identity_weight: of the
# people in the discriminator of `degan`; people: how many are told apart, None for nobody;
# expression_latent: length of the expression code of `disentangled`, whose rest code has `latent`.
SETTINGS = dict(reverse=1.0, reverse_identity=0.0, identity_weight=1.0, people=None,
                expression_latent=16)
# In a rest code of 64 numbers the expression stays, whatever its adversary says, and in an
# expression code of 384 the person (docs/decisions.md, note 24).
OWN = {'disentangled': dict(latent=8)}
# An adversary is to follow the code that runs away from it: one as slow as the code is deceived,
# and what it no longer sees is still there.
ADVERSARY_RATE = 10


def body(n, variant, n_classes, settings):
    """From n.query to n.score, and to n.reconstructed_i where that is drawn from X alone."""
    code = encoder(n, 'en2', n.query)
    if variant == 'degan':
        # Both are classified: the expression code, and what the encoder itself sees.
        n.expression = latent_code(n, 'en2/expression', code, settings['latent'])
        n.seen = L.Concat(hidden(n, code, settings), n.expression)
        n.score = dense(n.seen, n_classes, name='score_degan')
        return

    # Two short codes, so that not each of them holds all of X. The rest has its own third stage.
    n.expression = latent_code(n, 'en2/expression', hidden(n, code, settings),
                               settings['expression_latent'])
    n.score = dense(n.expression, n_classes, name='score_disentangled')
    rest = stage(n, 'en2_rest', 3, n['en2/pool2'], 'en2_rest')
    n.rest = latent_code(n, 'en2_rest', rest, settings['latent'])
    # The decoder reads the expression code and does not move it, or it would put the person there.
    shown = n.expression
    if 'reference' in n.tops:  # in training
        shown = n.shown = python('reverse', 'Reverse', n.expression, factor=0.0)
    n.codes = L.Concat(shown, n.rest)
    n.reconstructed_i = decoder(n, 'de', unfold(n, 'de', n.codes), settings)


def asks_for_people(variant, settings):
    """Whether a variant with such settings tells people apart in training."""
    weight = {'disentangled': 'reverse_identity', 'degan': 'identity_weight'}.get(variant)
    return weight is not None and settings.get(weight, SETTINGS[weight]) != 0


def learn(n, variant, n_classes, batch, people_source, settings):
    """Adds what is there in training alone to the network n.

    batch: images in it; people_source: an LMDB whose labels are the people of the training pairs,
    in their order (tools/core/people.py), read where settings['people'] is a number.
    """
    if settings['people']:
        n.people, n.person = L.Data(name='people', source=str(people_source), ntop=2,
                                    backend=caffe.params.Data.LMDB, batch_size=batch)
        n.silence_people = L.Silence(n.people, ntop=0)

    if variant == 'degan':
        if batch < 2:
            raise ValueError('degan draws each expression on the next face: a batch of 2 or more')
        discriminate(n, n_classes, batch, settings)
    else:
        n.loss_adversary = adversary(n, 'expression', n.rest, n_classes, n.label,
                                     settings['reverse'])
        if settings['people']:
            n.loss_person = adversary(n, 'person', n.expression, settings['people'], n.person,
                                      settings['reverse_identity'])


def adversary(n, what, code, outputs, label, factor):
    """The loss of a classifier that reads a label off a code; the code learns to hide it."""
    name = f'adversary_{what}'
    n[f'{name}/reverse'] = python('reverse', 'Reverse', code, factor=factor)
    n[f'{name}/fc1'] = dense(n[f'{name}/reverse'], HIDDEN, rate=ADVERSARY_RATE)
    n[f'{name}/relu1'] = L.ReLU(n[f'{name}/fc1'], in_place=True)
    n[f'{name}/score'] = dense(n[f'{name}/relu1'], outputs, rate=ADVERSARY_RATE)
    return L.SoftmaxWithLoss(n[f'{name}/score'], label, loss_param=dict(ignore_label=NOBODY))


# DE-GAN. "Own" is X's own person, "other" the person of the next image in the batch.


def discriminate(n, n_classes, batch, settings):
    """What DE-GAN learns by beside Cls: n.loss_draw, n.loss_real, n.loss_expression and, where
    settings['people'] is a number, n.loss_person.

    A sample without a reference has no face to draw on: it is a real face, and no more.
    """
    switches = used_switches(settings)
    identity = encoder(n, 'en1', n.reference, switches=switches)
    for i in switches:
        n[f'de/switch{i}'] = own_and_other(n, f'switch{i}', n[f'en1/switch{i}'])
    n.expressions = L.Concat(unfold(n, 'de', n.expression), n['de/code'], axis=0)
    n.drawn = draw(n, n.expressions, own_and_other(n, 'identity', identity), 'de', settings,
                   lambda: own_and_other(n, 'reference', n.reference))
    n.drawn_own, n.drawn_other = L.Slice(n.drawn, axis=0, slice_point=[batch], ntop=2)

    # X's own expression on X's own neutral face is X.
    n.query_referred = L.Scale(n.query, n.referred, axis=0)
    n.drawn_referred = L.Scale(n.drawn_own, n.referred, axis=0)
    n.loss_draw = L.EuclideanLoss(
        n.drawn_referred, n.query_referred,
        loss_weight=settings['generate_weight'] * settings['pixel_scale'])

    # The discriminator sees every drawn face twice: once to tell it from real ones, which the
    # generator is to make hard, and once to tell expression and person, which it is to make easy.
    n.drawn_reversed = python('reverse', 'Reverse', n.drawn_other, factor=settings['reverse'])
    n.judged = L.Concat(n.query, n.drawn_reversed, n.drawn_other, axis=0)
    # Standardised, as a CNN's, or FC hardly learns (docs/decisions.md, note 5).
    n['dis/standardized'] = standardized(encoder(n, 'dis', n.judged), 'dis/bn')
    n['dis/fc'] = dense(n['dis/standardized'], HIDDEN)
    n['dis/relu'] = L.ReLU(n['dis/fc'], in_place=True)

    # n.referred is 0 or not less than 1: the hyperbolic tangent of so much of it is 0 or 1.
    n.referred_much = L.Power(following(n, 'referred', n.referred), scale=1000)
    n.other_is_there = L.TanH(n.referred_much)
    n.not_there = L.Power(n.other_is_there, shift=NOBODY)  # 0 where it is there, else NOBODY
    n.real, n.nobody = (constant(batch, value) for value in (1, NOBODY))
    n.loss_real = head(n, 'real', 2, [n.real, n.not_there, n.nobody])
    n.loss_expression = head(n, 'expression', n_classes,
                             [n.label, n.nobody, where_there(n, 'label', n.label)])
    if settings['people']:
        other = where_there(n, 'person', following(n, 'person', n.person))
        n.loss_person = head(n, 'person', settings['people'], [n.person, n.nobody, other],
                             settings['identity_weight'])


def draw(n, expression, identity, switches_of, settings, neutral):
    """Faces, N x 1 x 64 x 64, out of maps of an expression and of a person, N x 96 x 8 x 8 each.

    neutral: a function to the person's neutral faces, to which what is drawn is added with
    settings['generator'] 'change'.
    """
    n['de/mixed'] = L.Eltwise(expression, identity)
    changed = neutral() if settings['generator'] == 'change' else None
    return decoder(n, 'de', n['de/mixed'], settings, switches_of, changed)


def following(n, name, blob):
    """A blob of the batch, each sample in the place of the one before it, the first at the end."""
    first, rest = n[f'{name}/first'], n[f'{name}/rest'] = L.Slice(blob, axis=0, slice_point=[1],
                                                                  ntop=2)
    n[f'{name}/following'] = L.Concat(rest, first, axis=0)
    return n[f'{name}/following']


def own_and_other(n, name, blob):
    """A blob of the batch and, behind it, the same of each following sample."""
    n[f'{name}/both'] = L.Concat(blob, following(n, name, blob), axis=0)
    return n[f'{name}/both']


def where_there(n, name, label):
    """Labels, NOBODY in the place of those for which n.other_is_there is 0."""
    n[f'{name}/above'] = L.Power(label, shift=-NOBODY)
    n[f'{name}/kept'] = L.Eltwise(n[f'{name}/above'], n.other_is_there,
                                  operation=caffe.params.Eltwise.PROD)
    n[f'{name}/there'] = L.Power(n[f'{name}/kept'], shift=NOBODY)
    return n[f'{name}/there']


def head(n, what, outputs, labels, weight=1):
    """The loss of a head of the discriminator; labels: of the real faces, then of the drawn ones in
    both their places."""
    n[f'dis/{what}'] = dense(n['dis/relu'], outputs)
    n[f'{what}/labels'] = L.Concat(*labels, axis=0)
    return L.SoftmaxWithLoss(n[f'dis/{what}'], n[f'{what}/labels'], loss_weight=weight,
                             loss_param=dict(ignore_label=NOBODY))


def redraw(settings):
    """The network of a trained DE-GAN that draws, as prototxt text.

    From blobs `query` and `person`, each N x 1 x 64 x 64 in [0, 1], to `drawn`, N x 1 x 64 x 64:
    the expression of the one on the neutral face of the other.
    """
    n = caffe.NetSpec()
    for name in 'query', 'person':
        n[name] = L.Input(shape=dict(dim=[1, 1, CROP, CROP]))
    n.expression = latent_code(n, 'en2/expression', encoder(n, 'en2', n.query), settings['latent'])
    identity = encoder(n, 'en1', n.person, switches=used_switches(settings))
    n.drawn = draw(n, unfold(n, 'de', n.expression), identity, 'en1', settings,
                   lambda: n.person)
    return f'name: "degan_redraw"\n{n.to_proto()}'
