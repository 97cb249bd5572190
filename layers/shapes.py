"""What several Python layers ask of the shapes of their bottoms."""


def check_alike(layer, bottom, first, second=None):
    """Raises ValueError, naming the layer, where its first two bottoms differ in shape.

    first: what they are, for the sentence; second: the latter of them, where it is something else.
    """
    one, other = bottom[0].data.shape, bottom[1].data.shape
    if one != other:
        other = f'{second} {other}' if second else other
        raise ValueError(f'{type(layer).__name__}: {first} {one} and {other} differ in shape')
