//! Values of options that several rows read, or that take more than a line.

use serde_json::Value;

use super::{Attention, Pages, Quantised, Scale};
use crate::{Error, spec::options::Input};

/// A number of pages, which tensors that are there have already.
pub(super) fn parse_of_pages(
    spec: &mut Attention,
    input: &Input<'_>,
    field: fn(&mut Pages) -> &mut usize,
) -> Result<(), Error> {
    let number = input.count()?;
    let given = input.given.tensors.is_some();
    let Some(pages) = &mut spec.pages else {
        return Err(input.expected("nothing without the option `block_table`"));
    };
    let field = field(pages);
    if given && *field != number {
        return Err(input.expected(&format!("{field} as in k")));
    }
    if number == 0 {
        return Err(input.expected("at least 1"));
    }
    *field = number;
    Ok(())
}

/// The scales, of which one is named, and its name.
pub(super) fn quantised<'s>(
    spec: &'s mut Attention,
    input: &Input<'_>,
) -> Result<(&'s mut Quantised, String), Error> {
    let name = input.text()?.to_owned();
    Ok((spec.quantised.get_or_insert_with(|| Quantised::new("", "")), name))
}

pub(super) fn of_scales<'s>(spec: &'s mut Attention, input: &Input<'_>) -> Result<&'s mut Quantised, Error> {
    let missing = || input.expected("nothing without the options `k_scale` and `v_scale`");
    spec.quantised.as_mut().ok_or_else(missing)
}

/// A number, the text of one, or `auto`. Whether the number makes sense is a matter of validation.
pub(super) fn parse_splits(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    let number = match input.value {
        Value::String(text) if text == "auto" => {
            spec.splits = None;
            return Ok(());
        }
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|splits| usize::try_from(splits).ok()),
    };
    spec.splits = Some(number.ok_or_else(|| input.expected("`auto` or a number from 1 to 256"))?);
    Ok(())
}

/// A number, the text of one, or the name of a tensor.
pub(super) fn parse_scale(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    let (number, text) = match input.value {
        Value::String(text) => (text.parse().ok(), Some(text)),
        value => (value.as_f64(), None),
    };
    let is_name = |text: &&String| text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match (number, text) {
        (Some(number), _) => spec.scale = number.into(),
        (None, Some(text)) if is_name(&text) => spec.scale = Scale::PerHead(text.clone()),
        (None, Some(text)) => {
            return Err(Error::invalid(
                input.name,
                format!("expected a number or a tensor's name, got `{text}`"),
            ));
        }
        (None, None) => return Err(input.expected("a number or a tensor's name")),
    }
    Ok(())
}

/// The tensors that are turned: of q alone, or of k too.
pub(super) fn parse_rope_of(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    spec.rotary.keys = match input.text()? {
        "qk" => true,
        "q" => false,
        other => return Err(Error::no_word("rope_of", &["qk", "q"], other)),
    };
    Ok(())
}
