"""Figure 5 of the paper: test faces by t-SNE, as pixels and as the networks' features."""
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from tools.core import network, plots


def features(net, queries):
    """The first fully-connected layer, after its ReLU, of N x 1 x 64 x 64 queries: N x 384."""
    return network.run(net, queries, ['fc1'])['fc1']


def embed(vectors, seed=1):
    """t-SNE of N x D vectors: N x 2. It starts from their first two principal components, so that
    like sets give like pictures; perplexity 30, less where there are few."""
    components = PCA(2, random_state=seed).fit_transform(vectors)
    # As small as t-SNE's usual random start: one as wide as the data would stay as it is.
    start = 1e-4 * components / max(components[:, 0].std(), np.finfo(np.float32).tiny)
    tsne = TSNE(perplexity=min(30, (len(vectors) - 1) / 3), init=start.astype(np.float32),
                random_state=seed)
    # on a busy machine its threads wait for each other, 20 times as long
    with threadpool_limits(1):
        return tsne.fit_transform(vectors)


def silhouette(vectors, labels):
    """Mean silhouette of the classes, Euclidean, in [-1, 1]: among the vectors themselves, not in
    t-SNE's plane. nan where there is one class only, or each vector has its own."""
    return silhouette_score(vectors, labels) if 1 < len(set(labels)) < len(labels) else np.nan


def draw(path, spaces, labels, classes, seed=1):
    """A panel for each of {title: N x D vectors}, with its silhouette.

    labels: class indices (N).
    """
    figure, panels = plots.plt.subplots(1, len(spaces), figsize=(3.2 * len(spaces) + 1, 3.6),
                                          constrained_layout=True, squeeze=False)
    for letter, axes, (title, vectors) in zip('abcdefgh', panels[0], spaces.items()):
        points = embed(vectors, seed)
        for i in np.unique(labels):
            look = plots.look(i)
            axes.scatter(*points[labels == i].T, 26, look['color'], marker=look['marker'],
                         linewidth=0.3, edgecolor='black', label=plots.literal(classes[i]))
        score = f'silhouette {silhouette(vectors, labels):.2f} in {vectors.shape[1]:,} dimensions'
        axes.set(xticks=[], yticks=[], xlabel='t-SNE 1', ylabel='t-SNE 2')
        axes.set_title(f'({letter}) {title}\n{score}', fontsize=10)
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    plots.save(figure, path)
