// Workgroup memory of the kernels that work by chunks: 16 KiB, in turn operands and results.

const STAGE: u32 = 1024u;

var<workgroup> stage: array<vec4f, STAGE>;
