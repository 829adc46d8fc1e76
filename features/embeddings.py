"""Tables of vectors for a search by inner product (ANN): what models export, and how it is read.

A user's share of an item is Σ_e weight_e · softmax_e(item) over the user's vectors e, the softmax of
vector_e · item vector over the items that vector e searches: all of them, or those of its category. The
shares order items as the model's own scores of the catalogue do.
"""

from typing import Final

import pyarrow as pa

_VECTOR: Final = pa.list_(pa.float32())

ITEM_VECTORS: Final = pa.schema(
    [
        ("item_id", pa.string()),  # the source's
        ("category_id", pa.string()),  # null where the item has no known one
        ("vector", _VECTOR),
    ]
)

USER_VECTORS: Final = pa.schema(
    [
        ("user_id", pa.string()),
        (
            "vectors",
            pa.list_(
                pa.struct(
                    [
                        ("vector", _VECTOR),
                        ("weight", pa.float64()),  # above 0
                        ("category_id", pa.string()),  # null: searches all items
                    ]
                )
            ),
        ),
    ]
)
