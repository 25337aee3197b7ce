// Workgroup memory of the kernels that work by chunks: 16 KiB, in turn operands and results.

const STAGE: u32 = 1024u;

var<workgroup> stage: array<vec4f, STAGE>;

// Four rows of four columns, as four columns of four rows.
fn stage_transposed(at: u32, step: u32, a: vec4f, b: vec4f, c: vec4f, d: vec4f) {
    stage[at] = vec4f(a.x, b.x, c.x, d.x);
    stage[at + step] = vec4f(a.y, b.y, c.y, d.y);
    stage[at + 2u * step] = vec4f(a.z, b.z, c.z, d.z);
    stage[at + 3u * step] = vec4f(a.w, b.w, c.w, d.w);
}
