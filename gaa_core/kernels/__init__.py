"""Fast shared arithmetic of the rules, in torch: the finite mask, Gram matrices, distances, norms, order statistics.

Everything works on blocks of columns that fit the processor's cache, so that no rule needs more memory than a few
blocks and an n x n matrix beside its input. Every function leaves its arguments as they were. Rows are finite, but in
`finite_rows`, which says which ones are.
"""

from gaa_core.kernels.blocks import all_finite, column_blocks, finite_rows, share_columns
from gaa_core.kernels.distances import (
    from_gram,
    gram,
    pairwise_distances,
    probable_centre,
    product_centre,
    sample_columns,
    squared_distances,
)
from gaa_core.kernels.lengths import cosines, distances_to, norms, products
from gaa_core.kernels.order import mean_around_median, median, trimmed_mean

__all__ = [
    "all_finite",
    "column_blocks",
    "cosines",
    "distances_to",
    "finite_rows",
    "from_gram",
    "gram",
    "mean_around_median",
    "median",
    "norms",
    "pairwise_distances",
    "probable_centre",
    "product_centre",
    "products",
    "sample_columns",
    "share_columns",
    "squared_distances",
    "trimmed_mean",
]
