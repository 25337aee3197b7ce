//! Queries that see no key, as the outputs tell.

use super::Attention;
use crate::HostTensor;

impl Attention {
    /// How many queries of all heads see nothing, and of how many. They are the rows whose lse is -inf. Without lse, or
    /// where it counts a sink, rows of zeros in o are counted, which is the same unless v has nothing else.
    pub(super) fn rows_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        if self.sink_logits.is_none()
            && let Some(lse) = output("lse")
        {
            let blind = lse.iter().filter(|&&lse| lse == f64::NEG_INFINITY).count();
            return Some([blind, lse.len()]);
        }
        let v = inputs.iter().find(|(name, _)| *name == "v").map(|(_, v)| v)?;
        let o = output("o")?;
        let rows = o.chunks_exact(self.value_dim.max(1));
        let all = rows.len();
        let zeros = rows.filter(|row| row.iter().all(|&value| value == 0.0)).count();
        // Looked at last: there are no such rows as a rule.
        (zeros == 0 || v.to_f64().iter().any(|&value| value != 0.0)).then_some([zeros, all])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;
    use crate::check::Reference;
    use crate::{Problem, check::Rows};

    /// As the problem's own reference has it.
    fn counted(spec: &Attention, named: &[&str]) -> Option<[usize; 2]> {
        let inputs = spec.random_inputs(1);
        let inputs: Vec<(&str, &HostTensor)> =
            inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let expected = spec.reference(&inputs, Rows::All).unwrap();
        spec.queries_without_keys(&inputs, &|name| {
            let found = expected.iter().find(|output| output.name == name && named.contains(&name));
            found.map(|output| output.values.clone())
        })
    }

    #[test]
    fn queries_that_see_nothing_are_counted_by_lse_or_by_their_rows() {
        let mask = |text: &str| crate::attention::Mask::parse(text).unwrap();
        let mut spec = Attention::new(Shape::bhtd(2, 3, 10, 8));
        spec.lse = true;
        for (text, expected) in [("q >= 7", 2 * 3 * 7), ("causal", 0), ("k > q", 2 * 3)] {
            let masked = spec.clone().mask(mask(text));
            assert_eq!(counted(&masked, &["o", "lse"]), Some([expected, 60]), "{text}");
            assert_eq!(counted(&masked, &["o"]), Some([expected, 60]), "{text}");
            assert_eq!(counted(&masked, &[]), None, "{text}");
        }
        let mut sinks = spec.mask(mask("q >= 7"));
        sinks.sink_logits = Some("sinks".into());
        assert_eq!(counted(&sinks, &["o", "lse"]), Some([42, 60]), "lse counts the sink");
    }
}
