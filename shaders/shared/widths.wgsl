// Widths of rows in storage, for the formats whose rows need not be multiples of four long.

struct Widths {
    // Of q and k.
    head_dim: u32,
    // Of v and o.
    value_dim: u32,
}

@group(0) @binding(15) var<uniform> widths: Widths;

fn head_dim() -> u32 {
    return widths.head_dim;
}

fn value_dim() -> u32 {
    return widths.value_dim;
}
