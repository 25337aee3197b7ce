// Vectors of four.

// The bound of loops over components: its name has such loops unrolled.
const UNROLL_COMPONENTS: u32 = 4u;

// Truth values as bits, the first the lowest.
fn bits_of(which: vec4<bool>) -> u32 {
    let four = select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), which);
    return four.x | four.y | four.z | four.w;
}

// Which of the lowest four bits are set.
fn set_bits(bits: u32) -> vec4<bool> {
    return (vec4u(bits) & vec4u(1u, 2u, 4u, 8u)) != vec4u(0u);
}
