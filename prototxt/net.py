"""The paper's networks and solvers; `python3 -m prototxt.net` writes them all beside this file.

Layer names say where a layer stands in the paper's Figure 3: en1 and de1_r draw the reference, en2
(and its twin en2_r, sharing every weight by name) encodes query and generated reference, de2_r and
de2_i reconstruct them.
"""
import argparse
from pathlib import Path

import caffe
from caffe import layers as L
from caffe import params as P

from prototxt import gan, neighbours
from prototxt.parts import (
    CODE,
    CROP,
    classifier,
    decoder,
    dense,
    encoder,
    python,
    unfold,
    used_switches,
)

# What each has beyond De1,r: S, the contrastive loss; R, the two reconstructing decoders.
GCNETS = {'s0r0': (), 's1r0': ('contrast',), 's0r1': ('reconstruction',),
          's1r1': ('contrast', 'reconstruction')}
# Figure 2, a to f, and two systems of the same family
VARIANTS = ('cnn', 'metric', *GCNETS, *neighbours.VARIANTS)
# For En1 and for En2, as in section 4.1; ours, for En1 with De1,r and for En2 with FC.
PRETRAINING = ('autoencoder', 'identity', 'generator', 'expression')

CHOICES = dict(codes=('normalized', 'raw'), decoder=('listed', 'switches'),
               picture=('scaled', 'normalized'), generator=('picture', 'change', 'vae', 'gan'),
               classifier=('delta', 'code'), streams=('apart', 'together'))
POLICIES = ('inv', 'poly')  # of the learning rate

# Where the paper is open (docs/decisions.md), and its weights of equations 3 and 6.
SETTINGS = dict(codes='normalized', decoder='listed', picture='scaled', generator='picture',
                standardize=True, code_length=1.0, margin=1.0, neutral=None, pixel_scale=1.0,
                contrast_weight=1.0, generate_weight=1.0, reconstruct_weight=0.25,
                classifier='delta', streams='apart', generator_rate=1.0, latent=64,
                kl_weight=0.02, score_offsets=None, **gan.SETTINGS, **neighbours.SETTINGS)


def train_val(variant, n_classes, train_source, test_source, batch_size=64, test_batch_size=30,
              seed=1, **settings):
    """The training network as prototxt text.

    variant: one of VARIANTS; train_source, test_source: LMDBs of pairs (data_prep); seed: of the
    augmentation, and of the noise of a variational auto-encoder; settings: see SETTINGS. Tops: the
    losses, `accuracy` in the test phase. Raises ValueError for unknown names.
    """
    settings = {**known(variant, settings), 'seed': seed}

    # Two layers give `pair` and `label`, one a phase; one NetSpec cannot hold a blob twice.
    data = caffe.NetSpec()
    data.pair, data.label = L.Data(name='data', source=str(test_source), backend=P.Data.LMDB,
                                   ntop=2, batch_size=test_batch_size,
                                   include=dict(phase=caffe.TEST))

    n = caffe.NetSpec()
    n.pair, n.label = L.Data(name='data', source=str(train_source), backend=P.Data.LMDB, ntop=2,
                             batch_size=batch_size, include=dict(phase=caffe.TRAIN))
    n.query, n.reference, n.referred = python('augment', 'Augment', n.pair, ntop=3, seed=seed)
    body(n, variant, n_classes, settings)
    losses(n, variant, settings)
    if 'score' in n.tops:
        n.accuracy = L.Accuracy(n.score, n.label, include=dict(phase=caffe.TEST))

    common = {layer.name for layer in n.to_proto().layer}
    if variant in neighbours.VARIANTS:
        people = Path(train_source).with_name('people_lmdb')
        neighbours.learn(n, variant, n_classes, batch_size, people, settings)
    elif variant == 'generator' and settings['generator'] == 'gan':
        gan.learn(n, n_classes, batch_size, settings)
    network = n.to_proto()
    for layer in network.layer:
        if layer.name not in common:  # what they learn by
            layer.include.add(phase=caffe.TRAIN)
    if settings['generator_rate'] != 1:
        slow_down(network, ('en1/', 'de1_r/'), settings['generator_rate'])
    return f'name: "{title(variant)}"\n{data.to_proto()}{network}'


def slow_down(network, names, factor):
    """Multiplies the learning rates of a NetParameter's layers whose names begin with one of
    `names`; at 0 Caffe does not go back into them at all."""
    for layer in network.layer:
        if layer.name.startswith(names):
            for param in layer.param:
                param.lr_mult *= factor


def losses(n, variant, settings):
    """Equation 3, as far as the variant has its parts.

    A sample without a reference has no part in Gen,r and Recon,r.
    """
    pixel = settings['pixel_scale']
    unused = {'label', 'reference', 'referred'}

    # Cls, the cross entropy. `score` itself stays as it is for Accuracy and for the test.
    if 'score' in n.tops:
        score = n.score
        if settings['score_offsets']:  # for unequal classes
            score = n.score_adjusted = python('adjust', 'Adjust', score,
                                              offsets=settings['score_offsets'])
        n.loss_cls = L.SoftmaxWithLoss(score, n.label)
        unused.remove('label')

    # Contr, equations 4 and 5
    if variant == 'metric' or 'contrast' in GCNETS.get(variant, ()):
        # X^r is drawn for every sample, but of the true Xr a sample may have none.
        referred = [n.referred] if variant == 'metric' else []
        n.loss_contr = python('contrastive_loss', 'ContrastiveLoss', n.code, n.code_r, n.label,
                              *referred, loss_weight=settings['contrast_weight'],
                              margin=settings['margin'], neutral=settings['neutral'])
    if variant == 'metric':
        unused -= {'reference', 'referred'}

    # Gen,r, equation 7. Where `referred` is 0, both pictures are: their difference is, too.
    if 'generated' in n.tops:
        unused -= {'reference', 'referred'}
        n.reference_referred = L.Scale(n.reference, n.referred, axis=0)
        n.generated_referred = L.Scale(n.generated, n.referred, axis=0)
        n.loss_gen_r = L.EuclideanLoss(n.generated_referred, n.reference_referred,
                                       loss_weight=settings['generate_weight'] * pixel)
    if 'latent' in n.tops:
        n.loss_kl = python('kl_loss', 'KLLoss', n.latent_mean, n.latent_log_variance,
                           loss_weight=settings['kl_weight'] * pixel)

    # Recon,r and Recon,i, equations 9 and 10; the latter is all that an auto-encoder has
    if 'reconstructed_r' in n.tops:
        n.reconstructed_referred = L.Scale(n.reconstructed_r, n.referred, axis=0)
        n.loss_recon_r = L.EuclideanLoss(n.reconstructed_referred, n.reference_referred,
                                         loss_weight=settings['reconstruct_weight'] * pixel)
    if 'reconstructed_i' in n.tops:
        weight = 1 if variant == 'autoencoder' else settings['reconstruct_weight']
        n.loss_recon_i = L.EuclideanLoss(n.reconstructed_i, n.query, loss_weight=weight * pixel)

    for name in sorted(unused):  # Caffe prints what nothing takes
        n[f'silence_{name}'] = L.Silence(n[name], ntop=0)


def deploy(variant, n_classes, **settings):
    """The network for use, as prototxt text.

    From blob `query`, N x 1 x 64 x 64, in [0, 1], to `prob`, N x n_classes, but in `autoencoder`
    and `generator`. A GCNet also has the pictures `generated`, and in R1 `reconstructed_r` and
    `reconstructed_i`, each N x 1 x 64 x 64.
    """
    settings = known(variant, settings)
    n = caffe.NetSpec()
    n.query = L.Input(shape=dict(dim=[1, 1, CROP, CROP]))
    body(n, variant, n_classes, settings)
    if 'score' in n.tops:
        n.prob = L.Softmax(n.score)
    return f'name: "{title(variant)}"\n{n.to_proto()}'


def body(n, variant, n_classes, settings):
    """From n.query to n.score and the variant's pictures.

    The metric-learning CNN also takes n.reference, in training.
    """
    # What pre-trains a part ends where the part does.
    if variant == 'autoencoder':
        code = encoder(n, 'en1', n.query, switches=used_switches(settings))
        n.reconstructed_i = decoder(n, 'de', code, settings, 'en1')
        return

    if variant in neighbours.VARIANTS:
        neighbours.body(n, variant, n_classes, settings)
        return

    if variant == 'generator' or variant in GCNETS:
        n.generated = generator(n, settings)
    if variant == 'generator':
        return

    # En2: the representation layers of Figure 3, up to delta, or to the code where nothing is drawn
    if variant in GCNETS:
        reconstruct = 'reconstruction' in GCNETS[variant]
        used = used_switches(settings) if reconstruct else ()
        code, code_r = pair(n, n.generated, settings, used)
        if reconstruct:
            n.reconstructed_r = decoder(n, 'de2_r', code_r, settings, 'en2_r')
            own = 'en2_i' if 'both' in n.tops else 'en2'  # where pair() has left X's switches
            n.reconstructed_i = decoder(n, 'de2_i', code, settings, own)

        compare(n, code, code_r, settings)
        code = n.delta = python('distance', 'Distance', n.code, n.code_r)
        # Its elements are near 1 / sqrt(p): brought to 1, or FC hardly learns.
        if settings['codes'] == 'normalized':
            code = n.delta_scaled = L.Power(n.delta, scale=CODE ** 0.5 / settings['code_length'])
    else:
        if variant == 'metric' and 'reference' in n.tops:  # the pair is for training only
            code, code_r = pair(n, n.reference, settings)
            compare(n, code, code_r, settings)
        else:
            code = encoder(n, 'en2', n.query)

    # Weights are taken by name. People are not expressions, and what tells codes apart need not
    # tell their distances apart: a fine-tuned net takes the encoder of an identification CNN, and
    # a GCNet that of a CNN, but not these two; unless X̂r is so far from X that delta is much like
    # the code.
    apart = variant in GCNETS and settings['classifier'] == 'delta'
    kind = '_identity' if variant == 'identity' else '_delta' if apart else ''
    classifier(n, code, n_classes, settings, f'fc1{kind}', f'score{kind}')


def generator(n, settings):
    """X̂r, drawn from n.query by En1 and De1,r.

    "X := Xr + epsilon" (equation 1): De1,r draws Xr, as in equation 8, or the change from X to it,
    or (the paper's later revision) it is the decoder of a variational auto-encoder. Trained on
    neutral faces alone, that draws the nearest of them.
    """
    kind = settings['generator']
    if kind != 'vae':
        code = encoder(n, 'en1', n.query, switches=used_switches(settings))
        changed = n.query if kind in ('change', 'gan') else None
        return decoder(n, 'de1_r', code, settings, 'en1', changed)

    # Nothing but the latent code goes past this neck, so no switches.
    code = encoder(n, 'en1', n.query)
    n.latent_mean = dense(code, settings['latent'], name='en1/mean')
    if 'reference' not in n.tops:  # not in training
        latent = n.latent_mean
    else:
        n.latent_log_variance = dense(code, settings['latent'], dict(type='gaussian', std=0.001),
                                      name='en1/log_variance')
        latent = n.latent = python('sample', 'Sample', n.latent_mean, n.latent_log_variance,
                                   seed=settings['seed'])
    return decoder(n, 'de1_r', unfold(n, 'de1_r', latent), settings)


def pair(n, other, settings, switches=()):
    """(En2(X), En2(other)): one set of weights for both.

    settings['streams'] 'apart': two streams, each normalised by its own batch. 'together': one
    batch of both, so that the two are normalised alike, and a blur has the codes of a blur. In use
    that is two streams again, with one set of averages.
    """
    if settings['streams'] == 'apart' or 'reference' not in n.tops:
        averages = 'en2' if settings['streams'] == 'together' else None
        return (encoder(n, 'en2', n.query, switches=switches, averages=averages),
                encoder(n, 'en2_r', other, twin='en2', switches=switches, averages=averages))

    n.both = L.Concat(n.query, other, axis=0)
    code = encoder(n, 'en2', n.both, switches=switches)
    for i in switches:
        n[f'en2_i/switch{i}'], n[f'en2_r/switch{i}'] = L.Slice(n[f'en2/switch{i}'], ntop=2, axis=0)
    n['en2_i/code'], n['en2_r/code'] = L.Slice(code, ntop=2, axis=0)
    return n['en2_i/code'], n['en2_r/code']


def compare(n, code, code_r, settings):
    """n.code and n.code_r, between which S is measured: of length 1 each, or as they are."""
    if settings['codes'] == 'normalized':
        length = {} if settings['code_length'] == 1 else dict(length=settings['code_length'])
        code = python('normalize', 'Normalize', code, **length)
        code_r = python('normalize', 'Normalize', code_r, **length)
    n.code, n.code_r = code, code_r


def known(variant, settings):
    """SETTINGS, those of a variant alone, and `settings` on top. Raises ValueError for an unknown
    variant, name or choice."""
    if variant not in VARIANTS + PRETRAINING:
        raise ValueError(f'no variant {variant!r}; there are {", ".join(VARIANTS + PRETRAINING)}')
    for name in settings:
        if name not in SETTINGS:
            raise ValueError(f'no setting {name!r}; there are {", ".join(sorted(SETTINGS))}')
    settings = {**SETTINGS, **neighbours.OWN.get(variant, {}), **settings}
    for name, choices in CHOICES.items():
        if settings[name] not in choices:
            raise ValueError(
                f'{name} cannot be {settings[name]!r}; choose from {", ".join(choices)}')
    length = settings['code_length']
    if isinstance(length, bool) or not isinstance(length, (int, float)) or not 0 < length < 1e9:
        raise ValueError(f'code_length must be a number above 0, not {str(length)[:40]}')
    for name in 'latent', 'expression_latent':
        latent = settings[name]
        if isinstance(latent, bool) or not isinstance(latent, int) or latent < 1:
            raise ValueError(f'{name} must be a whole number above 0, not {str(latent)[:40]}')
    if variant == 'degan' and settings['generator'] in ('vae', 'gan'):
        raise ValueError(f'generator cannot be {settings["generator"]!r} for degan; choose from '
                         'picture, change')
    return settings


def title(variant):
    """The paper's name of a variant, and the stem of its files."""
    names = {'metric': 'metric_cnn', **{name: f'gcnet_{name}' for name in GCNETS}}
    return names.get(variant, variant)


def solver(net, snapshot_prefix, max_iter=300000, base_lr=0.001, gamma=0.0001, power=0.75,
           policy='inv', test_iter=7, test_interval=1000, display=20, snapshot=5000, seed=1,
           mode='GPU'):
    """The paper's solver (section 4.1) as prototxt text: Nesterov, with Caffe's policy "inv".

    The rate is base_lr * (1 + gamma * iteration) ^ -power, by default as in Caffe's own example.
    policy 'poly', for pre-training: base_lr * (1 - iteration / max_iter) ^ power. Raises ValueError
    for any other.
    """
    if policy not in POLICIES:
        raise ValueError(f'policy cannot be {policy!r}; choose from {", ".join(POLICIES)}')
    return f'''net: "{net}"
type: "Nesterov"
base_lr: {base_lr}
lr_policy: "{policy}"
gamma: {gamma}
power: {power}
momentum: 0.9
weight_decay: 0.0001
max_iter: {max_iter}
test_iter: {test_iter}
test_interval: {test_interval}
test_initialization: false
display: {display}
snapshot: {snapshot}
snapshot_prefix: "{snapshot_prefix}"
random_seed: {seed}
solver_mode: {mode}
'''


def files(n_classes=7):
    """What is committed beside this file: name to text.

    The networks for pre-training on people tell 500 of them apart.
    """
    head = '# Written by prototxt/net.py (python3 -m prototxt.net); change that, not this.\n'
    written = {}
    for variant in VARIANTS + PRETRAINING:
        name = title(variant)
        of_people = variant in ('autoencoder', 'identity')
        fold = 'data/demo_people/fold0' if of_people else 'data/demo/fold0'
        outputs = 500 if of_people else n_classes
        people = dict(people=90) if variant == 'degan' else {}  # of a fold of the demo set
        written[f'{name}.prototxt'] = train_val(variant, outputs, f'{fold}/train_lmdb',
                                                f'{fold}/test_lmdb', **people)
        written[f'{name}_deploy.prototxt'] = deploy(variant, outputs)
        written[f'solver_{variant}.prototxt'] = solver(f'prototxt/{name}.prototxt', f'runs/{name}')
    written['degan_redraw_deploy.prototxt'] = neighbours.redraw(SETTINGS)
    return {name: head + text for name, text in written.items()}


def main():
    parser = argparse.ArgumentParser(description='Write every network and solver.')
    parser.add_argument('--classes', type=int, default=7,
                        help='of the expression networks (default: 7)')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent,
                        help='folder (default: beside this file)')
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in files(options.classes).items():
            (options.out / name).write_text(text)
    except OSError as error:
        raise SystemExit(
            f'{options.out} cannot be written ({error}): choose another --out.') from None


if __name__ == '__main__':
    main()
