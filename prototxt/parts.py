"""The parts that all networks are made of: encoder and decoder of the paper's Table 1, and the
classifier."""
import json

from caffe import layers as L
from caffe import params as P

CROP = 64
CODE = 96 * 8 * 8  # p, the length of En(X)
HIDDEN = int((0.5 * 64) ** 2 * 3 / 2 ** 3)  # 384, section 4.1
DECODER_RATE = 10  # "the learning rate at layers of the decoder networks is set to 10", section 4.1
# Of a picture's deconvolution, whose gradient sums 4096 pixels of 1600 inputs: 0.01 would diverge.
PICTURE_SCALE = 0.003
# Of a picture's one gain: its gradient sums 4096 pixels, and at 10 it is 0 before a filter learns.
PICTURE_RATE = 0.1
# Of batch norm's running mean and variance: some 20 iterations. Caffe's 0.999 would take a thousand
# to forget where it began, and for the test they are taken anew (tools/core/batchnorm_averages.py).
AVERAGE = 0.95

# Table 1, encoder: size of the windows, filters, pad of the pooling. Caffe rounds a pooled size up:
# with these pads it is 32, 16 and 8.
STAGES = ((5, 32, 1), (3, 64, 0), (3, 96, 0))

# As in Caffe's own examples: a bias learns twice as fast, and nothing pulls it to 0.
WEIGHT_AND_BIAS = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
# Of batch norm's mean, variance and their count, which are averaged, not learned.
STATISTICS = [dict(lr_mult=0, decay_mult=0)] * 3
NOBODY = -1  # the label of what has no part in a loss
XAVIER = dict(type='xavier')
# A deconvolution's weights have their inputs first: what Caffe calls fan-out is what is summed.
FAN = dict(type='msra', variance_norm=P.Filler.FAN_OUT)


def encoder(n, name, image, twin=None, switches=(), averages=None):
    """Table 1, encoder: N x 1 x 64 x 64 to N x 96 x 8 x 8.

    twin: the encoder whose weights it shares, by name, else None; averages: the one whose averages
    of batch norm it shares. switches: which poolings tell a decoder where they found each maximum.
    What no layer takes would be an output of the net, every value of which Caffe prints.
    """
    x = image
    for i in range(1, len(STAGES) + 1):
        x = stage(n, name, i, x, twin or name, i in switches, averages)
    return x


def stage(n, name, i, x, owner, switch=False, averages=None):
    """Stage i of an encoder, 1 to 3, whose weights are those of `owner`; the rest as in encoder().
    """
    size, filters, pad = STAGES[i - 1]
    n[f'{name}/conv{i}'] = L.Convolution(
        x, num_output=filters, kernel_size=size, pad=size // 2,
        bias_term=False,  # batch norm would take it out again
        weight_filler=dict(type='msra'), param=[dict(name=f'{owner}/conv{i}')])
    norm(n, name, i, n[f'{name}/conv{i}'], owner=owner, averages=averages)
    n[f'{name}/relu{i}'] = L.ReLU(n[f'{name}/scale{i}'], in_place=True)
    pooled = L.Pooling(n[f'{name}/relu{i}'], pool=P.Pooling.MAX, kernel_size=size, stride=2,
                       pad=pad, ntop=2 if switch else 1)
    if switch:
        pooled, n[f'{name}/switch{i}'] = pooled
    n[f'{name}/pool{i}'] = pooled
    return pooled


def classifier(n, code, n_classes, settings, fc1='fc1', score='score'):
    """n.fc1 and n.score, N x n_classes, from a code: the fully-connected layers of Figure 2.

    fc1, score: the names of their layers, by which weights are taken.
    """
    n.score = dense(hidden(n, code, settings, fc1), n_classes, name=score)


def hidden(n, code, settings, fc1='fc1'):
    """n.fc1_relu, N x 384, the first of the two, with what stands before it."""
    # From random weights FC hardly learns from a code that is not standardised.
    if settings['standardize']:
        code = n.standardized = standardized(code, 'standardized')
    n.dropout = L.Dropout(code, dropout_ratio=0.5)
    n.fc1 = dense(n.dropout, HIDDEN, name=fc1)
    n.fc1_relu = L.ReLU(n.fc1, in_place=True)
    return n.fc1_relu


def dense(x, outputs, filler=XAVIER, rate=1, shared=None, **name):
    """A fully-connected layer that learns so many times as fast; shared: a name for its weights,
    which all layers of that name have in common; name: that of the layer, where it is not its
    top's."""
    learned = [dict(p, lr_mult=rate * p['lr_mult']) for p in WEIGHT_AND_BIAS]
    if shared:
        learned = named(learned, shared, 'weight', 'bias')
    return L.InnerProduct(x, num_output=outputs, weight_filler=filler, param=learned, **name)


def latent_code(n, name, code, length):
    """A short code, N x length, from a map: each of its numbers with mean 0 and variance 1, so that
    no adversary is beaten by its scale."""
    n[f'{name}/fc'] = dense(code, length)
    return standardized(n[f'{name}/fc'], f'{name}/bn')


def standardized(x, name):
    """A blob whose channels have mean 0 and variance 1, by a layer of that name."""
    return L.BatchNorm(x, name=name, moving_average_fraction=AVERAGE, param=STATISTICS)


def unfold(n, name, code):
    """A decoder's beginning where its code is a vector, N x anything: to N x 96 x 8 x 8."""
    n[f'{name}/fc'] = dense(code, CODE)
    n[f'{name}/fc_relu'] = L.ReLU(n[f'{name}/fc'], in_place=True)
    n[f'{name}/code'] = L.Reshape(n[f'{name}/fc_relu'], shape=dict(dim=[0, 96, 8, 8]))
    return n[f'{name}/code']


def decoder(n, name, code, settings, encoder_name=None, changed=None):
    """Table 1, decoder: a code N x 96 x 8 x 8 to a picture N x 1 x 64 x 64.

    settings['decoder'] 'listed': the table's 32, 64, 1 filters; the switches of the encoder of
    that name fit the first unpooling only, the others repeat each value. 'switches': all unpooled
    by the encoder's switches, so with its 64, 32, 1 filters. Without an encoder there are none.
    changed: see picture().
    """
    listed = settings['decoder'] == 'listed'
    first, second = (32, 64) if listed else (64, 32)
    # The decoder's first unpooling undoes the encoder's last pooling.
    fitting = {1} if listed else {1, 2, 3}
    switch = {i: n[f'{encoder_name}/switch{4 - i}'] if encoder_name and i in fitting else None
              for i in (1, 2, 3)}

    x = unpool(n, f'{name}/unpool1', code, switch[1])
    x = deconvolution(n, f'{name}/deconv1', x, 3, first)
    norm(n, name, 1, x, rate=DECODER_RATE)
    x = n[f'{name}/relu1'] = L.ReLU(n[f'{name}/scale1'], in_place=True)

    x = unpool(n, f'{name}/unpool2', x, switch[2])
    x = deconvolution(n, f'{name}/deconv2', x, 3, second)
    norm(n, name, 2, x, rate=DECODER_RATE)
    x = n[f'{name}/relu2'] = L.ReLU(n[f'{name}/scale2'], in_place=True)

    x = unpool(n, f'{name}/unpool3', x, switch[3])
    x = deconvolution(n, f'{name}/deconv3', x, 5, 1,
                      dict(type='gaussian', std=0.1) if settings['picture'] == 'scaled' else FAN)
    return picture(n, name, x, settings, changed)


def used_switches(settings):
    """The poolings of an encoder whose switches its decoder takes."""
    return (1, 2, 3) if settings['decoder'] == 'switches' else (3,)


def unpool(n, name, x, switch):
    """Twice as high and wide: each value where `switch` says, or without one in all four places."""
    if switch is None:
        n[name] = python('repeat', 'Repeat', x, stride=2)
    else:
        n[name] = python('unpool', 'Unpool', x, switch, stride=2,
                         propagate_down=[True, False])  # an index has no gradient
    return n[name]


def deconvolution(n, name, x, size, filters, filler=FAN):
    """A deconvolution that keeps height and width and learns DECODER_RATE times as fast."""
    n[name] = L.Deconvolution(
        x, param=[dict(lr_mult=DECODER_RATE)],
        convolution_param=dict(num_output=filters, kernel_size=size, pad=size // 2,
                               bias_term=False, weight_filler=filler))
    return n[name]


def picture(n, name, x, settings, changed=None):
    """The end of a decoder: from its last deconvolution to a picture, 0 or more.

    Both are N x 1 x 64 x 64. settings['picture'] 'scaled': a constant factor, around the middle of
    [0, 1]. 'normalized': batch norm as in Table 1, with which a face is as bright as the others in
    its batch leave it to be. changed: an image N x 1 x 64 x 64 to which what was drawn is added, so
    that it is the change alone.
    """
    if settings['picture'] == 'scaled':
        x = n[f'{name}/scale3'] = L.Power(x, scale=PICTURE_SCALE, shift=0 if changed else 0.5)
    else:
        # A picture in [0, 1] has a mean near 0.5. Its deviation is near 0.25, but the gain starts
        # far below: while it grows the filters' first steps are small, and do not blow their
        # weights up, which batch norm would slow for ever after.
        norm(n, name, 3, x, rate=PICTURE_RATE, gain=0.015, offset=0 if changed else 0.5)
        x = n[f'{name}/scale3']

    if changed:
        x = n[f'{name}/changed'] = L.Eltwise(changed, x)
    return L.ReLU(x)


def norm(n, name, i, x, owner=None, averages=None, rate=1, gain=1, offset=0):
    """Batch norm with a learned gain and offset, in place; Caffe has it in two layers."""
    learned = [dict(lr_mult=rate, decay_mult=0), dict(lr_mult=rate, decay_mult=0)]
    if owner:
        learned = named(learned, f'{owner}/scale{i}', 'gain', 'offset')

    # Without a name for the averages a twin keeps its own: the test normalises each stream as the
    # training did, and not both by the mean of two different pictures' statistics.
    statistics = STATISTICS
    if averages:
        statistics = named(STATISTICS, f'{averages}/bn{i}', 'mean', 'variance', 'count')
    n[f'{name}/bn{i}'] = L.BatchNorm(x, in_place=True, moving_average_fraction=AVERAGE,
                                     param=statistics)
    n[f'{name}/scale{i}'] = L.Scale(n[f'{name}/bn{i}'], in_place=True, bias_term=True,
                                    param=learned, filler=dict(value=gain),
                                    bias_filler=dict(value=offset))


def named(params, name, *parts):
    """The params of a layer, each with a name, name/part: layers whose params have the same names
    have the same weights."""
    return [dict(param, name=f'{name}/{part}') for param, part in zip(params, parts)]


def constant(batch, value):
    """A blob of so many times one number."""
    return L.DummyData(shape=dict(dim=[batch]), data_filler=dict(type='constant', value=value))


def python(module, layer, *bottoms, ntop=1, loss_weight=None, propagate_down=None, **param):
    """A layer of ours: class `layer` of layers/<module>.py, its param_str from `param`."""
    extra = dict(loss_weight=loss_weight, propagate_down=propagate_down)
    extra = {name: value for name, value in extra.items() if value is not None}
    return L.Python(*bottoms, ntop=ntop, module=f'layers.{module}', layer=layer,
                    param_str=json.dumps(param, sort_keys=True), **extra)
