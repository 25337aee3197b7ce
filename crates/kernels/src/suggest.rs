//! Names that were probably meant.

/// `; did you mean X?` for the candidate that `got` is probably a misspelling of, or nothing.
#[must_use]
pub fn did_you_mean<'a>(got: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(got, candidates).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"))
}

/// The candidate that `name` is probably a misspelling of.
pub(crate) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 40;
    if name.chars().nth(LONGEST).is_some() {
        return None;
    }
    let typed = name.to_lowercase();
    // A name of two letters is one edit from half of the others.
    let allowed = match typed.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let measured = candidates.into_iter().filter(|candidate| candidate.len() <= LONGEST).map(|candidate| {
        let lower = candidate.to_lowercase();
        // Among equals, what only lacks its end is likelier.
        ((strsim::osa_distance(&typed, &lower), !lower.starts_with(&typed)), candidate)
    });
    let best = measured.min_by_key(|(edits, _)| *edits)?;
    (best.0.0 <= allowed).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("tield", ["naive", "tiled"]), "; did you mean `tiled`?");
        assert_eq!(did_you_mean("xyz", ["naive", "tiled"]), "");
    }
}
