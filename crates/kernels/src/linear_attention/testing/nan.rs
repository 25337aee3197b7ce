//! NaN among random inputs, where they must not matter.

use crate::{
    Strides, TensorSpec,
    linear_attention::{Direction, LinearAttention},
};

/// A batch entry's or packed sequence's rows, in tokens.
struct Stretch {
    batch: usize,
    start: usize,
    /// Tokens, and how many of them change the state.
    len: usize,
    kept: usize,
}

/// Puts NaN into every input of hidden tokens but q, and into one element of v of the first sequence's last token.
pub(crate) fn scatter(spec: &LinearAttention, drawn: &mut [(TensorSpec, Vec<f32>)]) {
    let stretches = stretches(spec, drawn);
    let last = stretches.iter().find(|stretch| stretch.kept > 0).map(|stretch| {
        let place = if spec.direction == Direction::Reverse { 0 } else { stretch.kept - 1 };
        (stretch.batch, stretch.start + place)
    });
    for (tensor_spec, values) in drawn {
        if ["q", "state_in"].contains(&&*tensor_spec.name) {
            continue;
        }
        let Some(extent) = spec.extent(&tensor_spec.name) else { continue };
        let rows_a_token = extent.rows / spec.len.max(1);
        let heads = extent.heads;
        let mut put = |at: [usize; 3], columns: usize| {
            let first = place(&extent.strides, at);
            values[first..first + columns].fill(f32::NAN);
        };
        for stretch in &stretches {
            let hidden = stretch.start + stretch.kept..stretch.start + stretch.len;
            for row in hidden.start * rows_a_token..hidden.end * rows_a_token {
                (0..heads).for_each(|head| put([stretch.batch, head, row], extent.dim));
            }
        }
        if let (Some((batch, token)), "v", true) = (last, &*tensor_spec.name, spec.value_dim > 1) {
            put([batch, heads - 1, token * rows_a_token], 1);
        }
    }
}

fn place(strides: &Strides, [batch, head, row]: [usize; 3]) -> usize {
    batch * strides.batch + head * strides.head + row * strides.position
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths, drawn from 0 to T")]
fn stretches(spec: &LinearAttention, drawn: &[(TensorSpec, Vec<f32>)]) -> Vec<Stretch> {
    let lengths = |name: &str| {
        let found = drawn.iter().find(|(tensor_spec, _)| &*tensor_spec.name == name);
        found.map(|(_, values)| values.iter().map(|&x| x as usize).collect::<Vec<_>>())
    };
    if let Some(starts) = spec.packed().and_then(|_| lengths("cu_seqlens")) {
        let packed = starts.windows(2).map(|pair| {
            let len = pair[1] - pair[0];
            Stretch { batch: 0, start: pair[0], len, kept: len }
        });
        return packed.collect();
    }
    let kept = spec.length_tensor().map(String::as_str).and_then(lengths);
    let entry = |batch: usize| {
        let kept = kept.as_ref().map_or(spec.len, |kept| kept[batch].min(spec.len));
        Stretch { batch, start: 0, len: spec.len, kept }
    };
    (0..spec.batch).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use crate::linear_attention::{Gate, Lengths, LinearShape, Rule};
    use crate::{Layout, check::Reference};

    use super::*;

    /// How many NaN each input has.
    fn counted(spec: &LinearAttention) -> Vec<(String, usize)> {
        let inputs = spec.random_inputs(3);
        let nan = |tensor: &crate::HostTensor| tensor.to_f64().iter().filter(|x| x.is_nan()).count();
        inputs.iter().map(|(name, tensor)| (name.to_string(), nan(tensor))).collect()
    }

    #[test]
    fn what_is_hidden_is_nan_and_one_value() {
        let mut spec = LinearAttention::new(LinearShape::bhtd(3, 2, 20, 4).value_heads(4).value_dim(6))
            .rule(Rule::Delta)
            .gate(Gate::Scalar);
        spec.layout = Layout::Bthd;
        spec.lengths = Lengths::Padded("lengths".into());
        spec.fill.nan = true;
        let lengths: f64 = spec
            .random_inputs(3)
            .iter()
            .filter(|(name, _)| &**name == "lengths")
            .flat_map(|(_, tensor)| tensor.to_f64())
            .sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of lengths")]
        let hidden = 60 - lengths as usize;
        for (name, count) in counted(&spec) {
            let expected = match &*name {
                "k" => hidden * 2 * 4,
                "v" => hidden * 4 * 6 + 1,
                "g" | "beta" => hidden * 4,
                _ => 0,
            };
            assert_eq!(count, expected, "{name}");
        }
        spec.fill.nan = false;
        assert!(counted(&spec).iter().all(|(_, count)| *count == 0));
    }
}
