"""Fast shared arithmetic of the rules, in torch: the finite mask, Gram matrices, distances, norms, order statistics.

Everything works on blocks of columns that fit the processor's cache, so that no rule needs more memory than a few
blocks and an n x n matrix beside its input. Every function leaves its arguments as they were. Rows are finite, but in
`finite_rows`, which says which ones are.
"""

from gaa_core.kernels.blocks import DIRECT as DIRECT
from gaa_core.kernels.blocks import all_finite as all_finite
from gaa_core.kernels.blocks import column_blocks as column_blocks
from gaa_core.kernels.blocks import finite_rows as finite_rows
from gaa_core.kernels.blocks import share_columns as share_columns
from gaa_core.kernels.distances import FAR as FAR
from gaa_core.kernels.distances import from_gram as from_gram
from gaa_core.kernels.distances import gram as gram
from gaa_core.kernels.distances import pairwise_distances as pairwise_distances
from gaa_core.kernels.distances import probable_centre as probable_centre
from gaa_core.kernels.distances import product_centre as product_centre
from gaa_core.kernels.distances import sample_columns as sample_columns
from gaa_core.kernels.distances import squared_distances as squared_distances
from gaa_core.kernels.lengths import cosines as cosines
from gaa_core.kernels.lengths import distances_to as distances_to
from gaa_core.kernels.lengths import norms as norms
from gaa_core.kernels.lengths import products as products
from gaa_core.kernels.order import mean_around_median as mean_around_median
from gaa_core.kernels.order import median as median
from gaa_core.kernels.order import trimmed_mean as trimmed_mean
