// Workgroup memory of the kernels that work by chunks: 16 KiB, in turn operands and results.

import package::linear_attention::chunk::{CHUNK};

// A thread owns four rows and four columns of a tile of 64 x 64: threads along the columns, and as many along the rows.
const LANES: u32 = 16u;
const THREADS: u32 = LANES * LANES;
const_assert CHUNK == 4u * LANES;

const STAGE: u32 = 1024u;

var<workgroup> stage: array<vec4f, STAGE>;
