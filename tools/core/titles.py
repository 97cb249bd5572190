"""What a variant is called where people read it."""
from prototxt.net import GCNETS

# What every table has a line for, run or not, in this order.
LISTED = {
    'hog': 'HOG + linear SVM', 'lbp': 'LBP + linear SVM', 'cnn': 'CNN',
    'metric': 'metric-learning CNN', **{name: f'GCNet {name.upper()}' for name in GCNETS}
}
TITLES = {**LISTED, 'disentangled': 'disentangled codes', 'degan': 'DE-GAN'}


def title(variant):
    """A variant's name as text; one that is not ours keeps its own."""
    return TITLES.get(variant, variant)
