"""A deploy network of Caffe with its weights, as a model in ONNX that any runtime of that format
runs: standard operators alone.

Each layer becomes the few operators that compute the same. A layer, or a setting of one, for which
there are none here is refused by name: a model that gives other numbers is worth nothing.
"""
import json

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tools.core import network

OPSET = 13      # the first in which Softmax is over one axis, as Caffe's
IR_VERSION = 7  # the file format of that opset's time, for older runtimes


def convert(layers, net, description):
    """The bytes of the ONNX model of a network.

    layers: its LayerParameters, in order; net: the same as a caffe.Net with its weights, from which
    the shapes come too; description: a dict, kept as metadata, each value as JSON. The model takes
    `query` and gives `prob` and the network's pictures, for any number of faces. Raises ValueError,
    naming the layer, where one has no form in standard operators here.
    """
    graph = Graph()
    for layer in layers:
        write_layer(graph, layer, net)

    outputs = ['prob', *network.pictures(net)]
    for name in outputs:
        graph.nodes.append(helper.make_node('Identity', [graph.values[name]], [name], name))

    def shaped(name):
        shape = ['N', *net.blobs[name].data.shape[1:]]
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    made = helper.make_graph(graph.nodes, 'gcnet', [shaped('query')],
                             [shaped(name) for name in outputs], graph.initializers())
    model = helper.make_model(made, opset_imports=[helper.make_opsetid('', OPSET)],
                              ir_version=IR_VERSION, producer_name='GCNet-Caffe')
    helper.set_model_props(model, {key: json.dumps(description[key]) for key in description})
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Graph:
    """Nodes and constants of an ONNX graph that grows, and what it needs to know of Caffe's blobs.

    values: Caffe's blob to the name of the value that it has now (layers in place give it others).
    windows: a switch's name to the kernel, stride and plane (height, width) of its pooling.
    """

    def __init__(self):
        self.nodes, self.values, self.windows = [], {}, {}
        self.layer = ''  # that is being written
        self.constants = {}  # (dtype, shape, bytes) to name: what two layers share is kept once

    def constant(self, array):
        """The name of a constant that holds the array."""
        array = np.asarray(array)
        key = array.dtype.str, array.shape, array.tobytes()
        return self.constants.setdefault(key, f'constant_{len(self.constants)}')

    def numbers(self, *numbers):
        """The name of a constant of float32 numbers: one alone has no dimension."""
        return self.constant(np.float32(numbers if len(numbers) > 1 else numbers[0]))

    def node(self, operator, *inputs, outputs=1, **attributes):
        """Adds an operator; the name of its output, or a list of those of several."""
        name = f'{self.layer}/{operator}_{len(self.nodes)}'
        names = [f'{name}/{i}' for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name, **attributes))
        return names if outputs > 1 else names[0]

    def initializers(self):
        return [numpy_helper.from_array(np.frombuffer(content, dtype).reshape(shape), name)
                for (dtype, shape, content), name in self.constants.items()]


def write_layer(graph, layer, net):
    """Adds the operators of a LayerParameter to the graph; ValueError where there are none."""
    graph.layer = layer.name
    kind = layer.python_param.layer if layer.type == 'Python' else layer.type
    if kind not in FORMS or layer.include or layer.exclude:
        refuse(layer, f'is of type {kind[:60]!r}')
    write, settings, known = FORMS[kind]
    if settings:
        for field, value in getattr(layer, settings).ListFields():
            if field.name not in known and value != field.default_value:
                refuse(layer, f'has a {field.name} of its own')

    bottoms = [graph.values[name] for name in layer.bottom]
    weights = [blob.data for blob in net.params.get(layer.name, ())]
    shapes = [net.blobs[name].data.shape for name in (*layer.bottom, *layer.top)]
    given = write(graph, layer, bottoms, weights, shapes)
    graph.values.update(zip(layer.top, given))


def refuse(layer, why):
    raise ValueError(f'layer {layer.name[:60]!r} {why}, which has no form in ONNX here')


# Below, a function a layer of Caffe: (graph, LayerParameter, names of its bottoms, its weights as
# arrays, shapes of its bottoms and tops) to the names of its tops.


def write_input(graph, layer, bottoms, weights, shapes):
    return list(layer.top)


def write_nothing(graph, layer, bottoms, weights, shapes):
    """A layer that hands on what it gets."""
    return bottoms * len(layer.top)


def two(settings, name, default):
    """A setting of a window for height and width: once for both, or one each."""
    each = [getattr(settings, f'{name}_{side}', None) for side in 'hw']
    if any(each):
        return each
    both = getattr(settings, name if name != 'kernel' else 'kernel_size')
    both = [both] if isinstance(both, int) else list(both) or [default]
    return both if len(both) == 2 else both * 2


def write_convolution(graph, layer, bottoms, weights, shapes):
    settings = layer.convolution_param
    operator = 'Conv' if layer.type == 'Convolution' else 'ConvTranspose'
    return [graph.node(operator, *bottoms, *map(graph.constant, weights),
                       kernel_shape=weights[0].shape[2:], strides=two(settings, 'stride', 1),
                       pads=two(settings, 'pad', 0) * 2, group=settings.group,
                       dilations=two(settings, 'dilation', 1))]


def write_pooling(graph, layer, bottoms, weights, shapes):
    settings = layer.pooling_param
    kernel, stride = two(settings, 'kernel', 0), two(settings, 'stride', 1)
    pads, plane, pooled = two(settings, 'pad', 0), shapes[0][2:], shapes[1][2:]
    if settings.pool != settings.MAX or settings.global_pooling:
        refuse(layer, 'pools otherwise than by the maximum in windows')

    # Caffe rounds up, ONNX down: the last window gets the pad that it needs.
    ends = [max(0, (n - 1) * s + k - size - pad)
            for n, s, k, size, pad in zip(pooled, stride, kernel, plane, pads)]
    if any(end >= k for end, k in zip(ends, kernel)):
        refuse(layer, 'has windows with nothing in them')
    given = graph.node('MaxPool', *bottoms, outputs=len(layer.top), kernel_shape=kernel,
                       strides=stride, pads=[*pads, *ends])
    if len(layer.top) == 1:
        return [given]

    # ONNX counts on through all planes of all faces, Caffe from 0 in each.
    value, indices = given
    switch = graph.node('Mod', indices, graph.constant(np.int64(np.prod(plane))))
    graph.windows[switch] = kernel, stride, plane
    return [value, switch]


def write_unpool(graph, layer, bottoms, weights, shapes):
    """Values of windows that overlap add up where they meet, and ScatterElements of this opset
    would keep the last of them alone.

    So each plane is laid out in several layers, in each of which no two windows overlap: every
    second window goes to another layer (every third, for windows of 5 at stride 2), down as well as
    across. The sum of the layers is the plane.
    """
    values, switch = bottoms
    channels, height, width = shapes[2][1:]
    kernel, stride, plane = graph.windows.get(switch, (None, None, None))
    if plane != (height, width):
        refuse(layer, 'unpools by what is no switch of a pooling of its size')
    apart = [-(-k // s) for k, s in zip(kernel, stride)]
    down, across = (np.arange(n) % every for n, every in zip(shapes[1][2:], apart))
    layers, size = int(np.prod(apart)), height * width
    offsets = (down[:, None] * apart[1] + across) * size

    def shape(*sizes):
        return graph.constant(np.int64(sizes))

    faces = graph.node('Slice', graph.node('Shape', values), shape(0), shape(1))
    whole = graph.node('Concat', faces, shape(channels, layers * size), axis=0)
    places = graph.node('Add', switch, graph.constant(np.int64(offsets)))
    flat = [graph.node('Reshape', each, shape(0, channels, -1)) for each in (places, values)]
    laid = graph.node('ScatterElements', graph.node('ConstantOfShape', whole), *flat, axis=2)
    laid = graph.node('Reshape', laid, shape(0, channels, layers, height, width))
    return [graph.node('ReduceSum', laid, shape(2), keepdims=0)]


def write_repeat(graph, layer, bottoms, weights, shapes):
    times = [above / below for above, below in zip(shapes[1][2:], shapes[0][2:])]
    return [graph.node('Resize', *bottoms, '', graph.numbers(1, 1, *times), mode='nearest',
                       coordinate_transformation_mode='asymmetric', nearest_mode='floor')]


def write_normalize(graph, layer, bottoms, weights, shapes):
    settings = {'length': 1.0, 'epsilon': 1e-12, **json.loads(layer.python_param.param_str or '{}')}
    squares = graph.node('ReduceSumSquare', *bottoms, axes=list(range(1, len(shapes[0]))))
    norm = graph.node('Sqrt', graph.node('Add', squares, graph.numbers(settings['epsilon'])))
    norm = graph.node('Div', norm, graph.numbers(settings['length']))
    return [graph.node('Div', *bottoms, norm)]


def write_distance(graph, layer, bottoms, weights, shapes):
    return [graph.node('Abs', graph.node('Sub', *bottoms))]


def write_batch_norm(graph, layer, bottoms, weights, shapes):
    """Step by step as Caffe does it. A runtime folds BatchNormalization into the convolution before
    it, and what is then rounded otherwise can make another of two equal places the maximum."""
    if not layer.batch_norm_param.use_global_stats and layer.batch_norm_param.HasField(
            'use_global_stats'):
        refuse(layer, 'takes its averages over the batch')
    mean, variance, count = weights
    scale = np.float32(1 / count[0] if count[0] else 0)  # Caffe keeps sums of averages
    deviation = np.sqrt(variance * scale + np.float32(layer.batch_norm_param.eps))
    shape = (-1,) + (1,) * (len(shapes[0]) - 2)
    value = graph.node('Sub', *bottoms, graph.constant((mean * scale).reshape(shape)))
    return [graph.node('Div', value, graph.constant(deviation.reshape(shape)))]


def write_scale(graph, layer, bottoms, weights, shapes):
    if len(bottoms) > 1:
        refuse(layer, 'scales by another blob')
    behind = len(shapes[0]) - layer.scale_param.axis % len(shapes[0]) - weights[0].ndim
    aligned = [each.reshape(each.shape + (1,) * behind) for each in weights]
    value = graph.node('Mul', *bottoms, graph.constant(aligned[0]))
    return [graph.node('Add', value, graph.constant(aligned[1])) if aligned[1:] else value]


def write_relu(graph, layer, bottoms, weights, shapes):
    slope = layer.relu_param.negative_slope
    return [graph.node('LeakyRelu', *bottoms, alpha=slope) if slope else
            graph.node('Relu', *bottoms)]


def write_power(graph, layer, bottoms, weights, shapes):
    """(shift + scale x) ^ power"""
    settings, value = layer.power_param, bottoms[0]
    if settings.scale != 1:
        value = graph.node('Mul', value, graph.numbers(settings.scale))
    if settings.shift:
        value = graph.node('Add', value, graph.numbers(settings.shift))
    if settings.power != 1:
        value = graph.node('Pow', value, graph.numbers(settings.power))
    return [value]


def write_eltwise(graph, layer, bottoms, weights, shapes):
    if layer.eltwise_param.operation != layer.eltwise_param.SUM:
        refuse(layer, 'does not add')
    return [graph.node('Sum', *bottoms)]


def write_concat(graph, layer, bottoms, weights, shapes):
    return [graph.node('Concat', *bottoms, axis=layer.concat_param.axis)]


def write_reshape(graph, layer, bottoms, weights, shapes):
    """0 is a size that stays, for both."""
    sizes = np.int64(layer.reshape_param.shape.dim)
    return [graph.node('Reshape', *bottoms, graph.constant(sizes))]


def write_inner_product(graph, layer, bottoms, weights, shapes):
    flat = graph.node('Flatten', *bottoms, axis=1)
    return [graph.node('Gemm', flat, *map(graph.constant, weights),
                       transB=int(not layer.inner_product_param.transpose))]


def write_softmax(graph, layer, bottoms, weights, shapes):
    return [graph.node('Softmax', *bottoms, axis=layer.softmax_param.axis)]


# A layer's type, or the class of a layer of ours: what writes it, where its settings are, and which
# of them count there or are of no meaning outside of training. Any other must have its default.
WINDOW = ('kernel_size', 'kernel_h', 'kernel_w', 'stride', 'stride_h', 'stride_w', 'pad', 'pad_h',
          'pad_w', 'engine')
FILLERS = ('weight_filler', 'bias_filler', 'filler', 'bias_term', 'num_output')
CONVOLUTION = (*WINDOW, *FILLERS, 'group', 'dilation')
FORMS = {
    'Input': (write_input, None, ()),
    'Split': (write_nothing, None, ()),
    'Dropout': (write_nothing, None, ()),
    'Convolution': (write_convolution, 'convolution_param', CONVOLUTION),
    'Deconvolution': (write_convolution, 'convolution_param', CONVOLUTION),
    'Pooling': (write_pooling, 'pooling_param', (*WINDOW, 'pool', 'global_pooling')),
    'BatchNorm': (write_batch_norm, 'batch_norm_param',
                  ('moving_average_fraction', 'eps', 'use_global_stats')),
    'Scale': (write_scale, 'scale_param', (*FILLERS, 'axis', 'num_axes')),
    'ReLU': (write_relu, 'relu_param', ('negative_slope', 'engine')),
    'Power': (write_power, 'power_param', ('power', 'scale', 'shift')),
    'Eltwise': (write_eltwise, 'eltwise_param', ('operation', 'stable_prod_grad')),
    'Concat': (write_concat, 'concat_param', ('axis',)),
    'Reshape': (write_reshape, 'reshape_param', ('shape',)),
    'InnerProduct': (write_inner_product, 'inner_product_param', (*FILLERS, 'transpose')),
    'Softmax': (write_softmax, 'softmax_param', ('axis', 'engine')),
    'Unpool': (write_unpool, None, ()),
    'Repeat': (write_repeat, None, ()),
    'Normalize': (write_normalize, None, ()),
    'Distance': (write_distance, None, ()),
}
