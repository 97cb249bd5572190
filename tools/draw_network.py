"""The data flow of a network, as a picture: `make drawing`. Layers are grouped by the part they
belong to (en1, de1_r, …)."""
import argparse
import re
from pathlib import Path

import pydot
from caffe.proto import caffe_pb2
from google.protobuf import text_format

# Encoders, decoders, losses.
COLOURS = {r'en\d.*': '#CFE3F5', r'de\d?(_.*)?': '#FBE0C3', 'loss.*': '#F3CFCF'}


def draw(network):
    """A pydot graph of a NetParameter: a box a part, an arrow where a blob goes to another."""
    graph = pydot.Dot(graph_type='digraph', rankdir='LR', fontname='sans-serif', ranksep='0.35')
    part_of, maker, types_of = {}, {}, {}
    for layer in network.layer:
        part = layer.name.split('/')[0]
        of_test = any(rule.HasField('phase') and rule.phase == caffe_pb2.TEST
                      for rule in layer.include)
        if part.startswith('silence') or of_test:
            continue
        part_of[layer.name] = part
        kind = layer.python_param.layer if layer.type == 'Python' else layer.type
        types_of.setdefault(part, []).append(kind)

    for part, types in types_of.items():
        colour = next((colour for pattern, colour in COLOURS.items()
                       if re.fullmatch(pattern, part)), '#FFFFFF')
        label = part if len(types) > 1 else f'{part}\n{types[0]}'
        graph.add_node(pydot.Node(part, label=label, shape='box', style='filled',
                                  fillcolor=colour, fontname='sans-serif'))

    # An arrow for each pair of parts, and one more where switches go between them.
    arrows = set()
    for layer in network.layer:
        if layer.name not in part_of:
            continue
        for bottom in layer.bottom:
            arrow = maker.get(bottom), part_of[layer.name]
            switch = '/switch' in bottom
            if arrow[0] not in (None, arrow[1]) and (*arrow, switch) not in arrows:
                arrows.add((*arrow, switch))
                graph.add_edge(pydot.Edge(
                    *arrow, style='dashed' if switch else 'solid',
                    label='switches' if switch else '', fontname='sans-serif', fontsize='10'))
        for top in layer.top:
            maker[top] = part_of[layer.name]
    return graph


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--net', type=Path, default=Path('prototxt/gcnet_s1r1.prototxt'))
    parser.add_argument('--out', type=Path, default=Path('prototxt/gcnet_s1r1.png'))
    options = parser.parse_args()
    try:
        network = text_format.Parse(options.net.read_text(), caffe_pb2.NetParameter())
    except (OSError, text_format.ParseError) as error:
        raise SystemExit(f'{options.net} is no network that can be drawn: {error}.') from None
    draw(network).write_png(str(options.out))
    print(f'drawn: {options.out}')


if __name__ == '__main__':
    main()
