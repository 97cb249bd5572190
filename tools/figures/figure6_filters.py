"""Figure 6 of the paper: learned filters, those of the encoders' first convolution and, as there,
100 drawn at random of each decoder's second deconvolution."""
import numpy as np

from tools.core import plots

# layer: (its name in the paper, rows of the panel)
LAYERS = {
    'en1/conv1': ('En$_1$, first conv', 8), 'en2/conv1': ('En$_2$, first conv', 8),
    'de1_r/deconv2': ('De$_{1,r}$, second deconv', 10),
    'de2_r/deconv2': ('De$_{2,r}$, second deconv', 10),
    'de2_i/deconv2': ('De$_{2,i}$, second deconv', 10)
}
DRAWN, SEED = 100, 1  # filters of a deconvolution, and of which ones


def of(net):
    """{layer: N x h x w filters} of those LAYERS that a network has. A convolution's read the one
    channel of the picture and are all shown; of a deconvolution, which has one for each pair of
    channels, DRAWN are drawn at random, in each decoder the same."""
    filters = {}
    for layer in LAYERS:
        if layer in net.params:
            weights = net.params[layer][0].data
            every = weights.reshape(-1, *weights.shape[2:]).copy()
            filters[layer] = every if 'deconv' not in layer else draw_lots(every)
    return filters


def draw_lots(filters, most=DRAWN, seed=SEED):
    """Up to `most` of the filters, drawn at random, in the order in which they stand."""
    order = np.random.RandomState(seed).permutation(len(filters))
    return filters[np.sort(order[:most])]


def tile(filters, rows=8):
    """N x h x w filters side by side in so many rows, nan around them and where none is left."""
    n, height, width = filters.shape
    columns = -(-n // rows)
    tiles = np.full((rows * columns, height + 1, width + 1), np.nan)
    tiles[:n, 1:, 1:] = filters
    canvas = tiles.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    return np.pad(canvas.reshape(rows * (height + 1), -1), ((0, 1), (0, 1)), constant_values=np.nan)


def draw(path, filters):
    """A panel for each of {layer: filters}: mid-grey is 0, black and white its largest weight."""
    canvases = {layer: tile(weights, LAYERS[layer][1]) for layer, weights in filters.items()}
    shapes = [canvas.shape[1] / canvas.shape[0] for canvas in canvases.values()]
    figure, panels = plots.plt.subplots(1, len(filters), figsize=(2.5 * sum(shapes) + 0.5, 3.2),
                                        constrained_layout=True, squeeze=False,
                                        gridspec_kw=dict(width_ratios=shapes))
    for letter, axes, (layer, canvas) in zip('abcdefgh', panels[0], canvases.items()):
        most = np.nanmax(abs(canvas)) or 1
        image = axes.imshow(canvas, cmap='gray', vmin=-most, vmax=most, interpolation='nearest')
        axes.set_title(f'({letter}) {LAYERS[layer][0]}', fontsize=10)
        axes.axis('off')

        bar = figure.colorbar(image, ax=axes, orientation='horizontal', ticks=[-most, 0, most],
                              shrink=0.8, aspect=12)
        bar.ax.set_xticklabels([f'{-most:.2g}', '0', f'{most:.2g}'], fontsize=8)
    plots.save(figure, path)
