//! The operators' tensors as structs. This module maps fields to the names of the plans' tensors, and knows no more of an
//! operator.

use crate::kernel::binding::{Binding, NamedTensors};

macro_rules! tensors {
    ($(#[$about:meta])* $name:ident {
        $($(#[$of_must:meta])* $must:ident,)+
        ;
        $($(#[$of_may:meta])* $may:ident,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name<'a> {
            $($(#[$of_must])* pub $must: Binding<'a>,)+
            $($(#[$of_may])* pub $may: Option<Binding<'a>>,)+
            /// Further tensors by the names that the problem's options and expressions give them.
            pub others: Vec<(&'a str, Binding<'a>)>,
        }

        impl<'a> $name<'a> {
            /// The tensors that are always there.
            pub fn new($($must: impl Into<Binding<'a>>),+) -> Self {
                Self { $($must: $must.into(),)+ $($may: None,)+ others: Vec::new() }
            }

            $(
                $(#[$of_may])*
                #[must_use]
                pub fn $may(mut self, tensor: impl Into<Binding<'a>>) -> Self {
                    self.$may = Some(tensor.into());
                    self
                }
            )+

            /// A tensor that the problem names: a table of an expression, lengths, lists of blocks.
            #[must_use]
            pub fn and(mut self, name: &'a str, tensor: impl Into<Binding<'a>>) -> Self {
                self.others.push((name, tensor.into()));
                self
            }
        }

        impl<'a> NamedTensors<'a> for $name<'a> {
            fn named(&self) -> Vec<(&str, Binding<'a>)> {
                let mut named: Vec<(&str, Binding<'a>)> = vec![$((stringify!($must), self.$must)),+];
                $(named.extend(self.$may.map(|tensor| (stringify!($may), tensor)));)+
                named.extend_from_slice(&self.others);
                named
            }
        }
    };
}

tensors! {
    /// The tensors of [`Attention`](crate::Attention), as [`Kernel::bind`](crate::Kernel::bind) takes them.
    ///
    /// Shapes are those of the layout `bhtd`; `bthd` has the axes T and H exchanged. Each may be a whole buffer, a slice of
    /// one or a [`DeviceTensor`](crate::DeviceTensor).
    ///
    /// ```no_run
    /// # use foveal::{AttentionTensors, Kernel, wgpu::Buffer};
    /// # fn bind(kernel: &Kernel, [q, k, v, o, lse, bias]: [Buffer; 6]) -> Result<(), foveal::Error> {
    /// let tensors = AttentionTensors::new(&q, &k, v.slice(4096..), &o).lse(&lse).and("bias", &bias);
    /// let bound = kernel.bind(&tensors)?;
    /// # Ok(())
    /// # }
    /// ```
    AttentionTensors {
        /// Queries, `[B, H, Tq, Dk]`; read.
        q,
        /// Keys, `[B, G, Tk, Dk]`; read.
        k,
        /// Values, `[B, G, Tk, Dv]`; read.
        v,
        /// Outputs, `[B, H, Tq, Dv]`; written.
        o,
        ;
        /// Natural logarithms of the softmax denominators, f32 `[B, H, Tq]`; written, where the problem asks for them.
        lse,
    }
}

tensors! {
    /// The tensors of [`LinearAttention`](crate::LinearAttention), as [`Kernel::bind`](crate::Kernel::bind) takes them.
    ///
    /// Shapes are those of the layout `bhtd`; `bthd` has the axes T and H exchanged. R is the number of rows of a
    /// sequence, T times the steps a token. Each may be a whole buffer, a slice of one or a
    /// [`DeviceTensor`](crate::DeviceTensor).
    ///
    /// ```no_run
    /// # use foveal::{Kernel, LinearTensors, wgpu::Buffer};
    /// # fn bind(kernel: &Kernel, [q, k, v, o, g, before, after]: [Buffer; 7]) -> Result<(), foveal::Error> {
    /// let tensors = LinearTensors::new(&q, &v, &o).k(&k).g(&g).state_in(&before).state_out(&after);
    /// let bound = kernel.bind(&tensors)?;
    /// # Ok(())
    /// # }
    /// ```
    LinearTensors {
        /// Queries, `[B, H, T, Dk]`; read.
        q,
        /// Values, `[B, HV, R, Dv]`; read.
        v,
        /// Outputs, `[B, HV, T, Dv]`; written.
        o,
        ;
        /// Keys, `[B, H, R, Dk]`; read, unless keys are made of the gates.
        k,
        /// Gates in natural logarithms, f32: `[HV]`, `[B, HV, T]` or `[B, HV, T, Dk]`; read.
        g,
        /// Step sizes of the delta rule, f32 `[B, HV, R]`; read.
        beta,
        /// First factor of the rank-one change of the rule `dplr`, `[B, H, R, Dk]`; read.
        a,
        /// Its second factor, `[B, H, R, Dk]`; read.
        b,
        /// Weights of the learned feature map of queries, f32 `[H, Dk, features]`; read.
        q_weight,
        /// Weights of that of keys, f32 `[H, Dk, features]`; read.
        k_weight,
        /// Where sequences begin in the packed axis T, and the end, i32 `[sequences + 1]`; read.
        cu_seqlens,
        /// States before the first token, `[B, HV, Dk, Dv]`, or with the last two axes exchanged, f32 unless the problem says
        /// otherwise; read.
        state_in,
        /// States after the last token, of the same shape; written. Another buffer than `state_in`.
        state_out,
        /// States after every C tokens and the last, `[B, ceil(T / C), HV, Dk, Dv]`, stored as `state_out`; written.
        states,
        /// States after each of the last W tokens, `[B, W, HV, Dk, Dv]`, stored as `state_out`; written.
        window_states,
        /// The normaliser's sums before the first token, f32 `[B, 1, HV, Dk]`; read.
        z_in,
        /// Its sums after the last token, of the same shape; written.
        z_out,
    }
}
