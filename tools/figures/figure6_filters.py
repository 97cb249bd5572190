"""Figure 6 of the paper: the learned 5 x 5 filters next to the pictures."""
import numpy as np

from tools.core import plots

# The encoders' first convolution and the decoders' last deconvolution, each with its name in the
# paper.
LAYERS = {
    'en1/conv1': 'En$_1$, conv', 'en2/conv1': 'En$_2$, conv', 'de1_r/deconv3': 'De$_{1,r}$, deconv',
    'de2_r/deconv3': 'De$_{2,r}$, deconv', 'de2_i/deconv3': 'De$_{2,i}$, deconv'
}
ROWS = 8


def of(net):
    """{layer: N x 5 x 5 filters} of those LAYERS that a network has; the picture is their one
    channel."""
    return {name: net.params[name][0].data[:, 0].copy() for name in LAYERS if name in net.params}


def tile(filters):
    """N x h x w filters side by side in ROWS rows, nan around them and where none is left."""
    n, height, width = filters.shape
    columns = -(-n // ROWS)
    tiles = np.full((ROWS * columns, height + 1, width + 1), np.nan)
    tiles[:n, 1:, 1:] = filters
    canvas = tiles.reshape(ROWS, columns, height + 1, width + 1).swapaxes(1, 2)
    return np.pad(canvas.reshape(ROWS * (height + 1), -1), ((0, 1), (0, 1)), constant_values=np.nan)


def draw(path, filters):
    """A panel for each of {layer: filters}: mid-grey is 0, black and white are the panel's largest
    weight."""
    figure, panels = plots.plt.subplots(1, len(filters), figsize=(1.75 * len(filters), 4),
                                          constrained_layout=True, squeeze=False)
    for letter, axes, (layer, weights) in zip('abcdefgh', panels[0], filters.items()):
        most = abs(weights).max() or 1
        image = axes.imshow(tile(weights), cmap='gray', vmin=-most, vmax=most,
                            interpolation='nearest')
        axes.set_title(f'({letter}) {LAYERS[layer]}', fontsize=11)
        axes.axis('off')
        bar = figure.colorbar(image, ax=axes, orientation='horizontal', ticks=[-most, 0, most],
                              shrink=0.8, aspect=12)
        bar.ax.set_xticklabels([f'{-most:.2g}', '0', f'{most:.2g}'], fontsize=8)
    plots.save(figure, path)
