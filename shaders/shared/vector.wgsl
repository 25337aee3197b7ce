// Components of a vec4, as the bound of loops over them: its name has such loops unrolled.

const UNROLL_COMPONENTS: u32 = 4u;
