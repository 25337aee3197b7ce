// Matrices that a subgroup shares, 8 x 8: A times B is added to C. Their elements are out of reach: they go through memory.

const SIDE: u32 = 8u;

alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
