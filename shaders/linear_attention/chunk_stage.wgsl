// Workgroup memory of the kernels that work by chunks: 16 KiB, in turn operands and results.

import package::kernel::{BATCH};
import package::linear_attention::chunk::{CHUNK};
import package::linear_attention::sums::{NORMALISE};
import package::shared::tile::{load_batch, rank1_update};

// A thread owns four rows and four columns of a tile of 64 x 64: threads along the columns, and as many along the rows.
const LANES: u32 = 16u;
const THREADS: u32 = LANES * LANES;
const_assert CHUNK == 4u * LANES;

const STAGE: u32 = 1024u;

var<workgroup> stage: array<vec4f, STAGE>;

// BATCH steps of a product, as in `rank1_updates`. Where sums of keys divide outputs, the rows' operands are summed, too.
fn summed_updates(
    products: ptr<function, array<vec4f, 4>>,
    sum: ptr<function, vec4f>,
    step: u32, row_lane: u32, columns: u32, lane: u32,
) {
    var a: array<vec4f, BATCH>;
    var b: array<vec4f, BATCH>;
    load_batch(&a, &b, step, row_lane, LANES, columns, lane, LANES);
    for (var i = 0u; i < BATCH; i += 1u) {
        if NORMALISE {
            *sum += a[BATCH - 1u - i];
        }
        rank1_update(products, &a[BATCH - 1u - i], &b[BATCH - 1u - i]);
    }
}
