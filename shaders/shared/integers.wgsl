// Small signed integers in words, in two's complement, the first one in the lowest bits.

// The four bytes of a word.
fn bytes_of(word: u32) -> vec4i {
    return bitcast<vec4i>(vec4u(word) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
}

// The byte that `at` points to, of the word that it lies in.
fn byte_at(word: u32, at: u32) -> i32 {
    return bitcast<i32>(word << (24u - at % 4u * 8u)) >> 24u;
}

// The four lowest integers of four bits.
fn halves_of(word: u32) -> vec4i {
    return bitcast<vec4i>(vec4u(word) << vec4u(28u, 24u, 20u, 16u)) >> vec4u(28u);
}

// The even or odd integer of a byte.
fn half_at(byte: i32, at: u32) -> i32 {
    return bitcast<i32>(bitcast<u32>(byte) << (28u - at % 2u * 4u)) >> 28u;
}
