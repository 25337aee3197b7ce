// Results of the adapter's functions at the ends of their ranges, where WGSL lets implementations choose.
//
// Shapes    operands [OPERANDS], of which the first is one   results [OPERANDS, FUNCTIONS]   bits of f32, as text may name neither
//           inf nor NaN
// Dispatch  one workgroup of one thread
// Numerics  f32

const OPERANDS: u32 = 19u;
const FUNCTIONS: u32 = 16u;

@group(0) @binding(0) var<storage, read> operands: array<u32>;
@group(0) @binding(1) var<storage, read_write> results: array<u32>;

@compute @workgroup_size(1)
fn main() {
    // Any number, as far as a compiler can tell.
    let one = bitcast<f32>(operands[0]);
    for (var i = 0u; i < OPERANDS; i += 1u) {
        let bits = operands[i];
        let x = bitcast<f32>(bits);
        let to = i * FUNCTIONS;
        results[to] = bitcast<u32>(exp(x));
        results[to + 1u] = bitcast<u32>(exp2(x));
        results[to + 2u] = bitcast<u32>(log(x));
        results[to + 3u] = bitcast<u32>(log2(x));
        results[to + 4u] = bitcast<u32>(sqrt(x));
        results[to + 5u] = bitcast<u32>(tanh(x));
        results[to + 6u] = bitcast<u32>(max(x, one));
        results[to + 7u] = bitcast<u32>(max(one, x));
        results[to + 8u] = bitcast<u32>(min(x, one));
        results[to + 9u] = bitcast<u32>(min(one, x));
        results[to + 10u] = bitcast<u32>(x * one);
        results[to + 11u] = bitcast<u32>(x - x);
        results[to + 12u] = select(0u, 1u, x == x);
        results[to + 13u] = select(0u, 1u, x != x);
        results[to + 14u] = bitcast<u32>(unpack2x16float(bits).x);
        results[to + 15u] = pack2x16float(vec2f(x, one)) & 0xffffu;
    }
}
