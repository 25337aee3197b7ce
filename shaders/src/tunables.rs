//! Which constants are tunables, and what a request sets them to.

use rustc_hash::FxHashMap;

use wgsl_parse::syntax::{Declaration, DeclarationKind, Expression, GlobalDeclaration, UnaryOperator};

use crate::error::{Error, ErrorKind, suggestion};
use crate::link::Linked;
use crate::request::{Request, Tunable, Value, ValueType};
use crate::tree::Expr;
use crate::value::Num;

/// The tunables of a linked set, sorted by name.
pub(crate) fn list(linked: &Linked<'_>) -> Vec<Tunable> {
    let mut found: Vec<_> = linked
        .items
        .iter()
        .filter_map(|(name, item)| {
            let (ty, default) = tunable(item.global.node())?;
            let module = linked.files[item.file].source.name().to_owned();
            Some(Tunable { name: (*name).to_owned(), ty, default, module })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The values that a request sets, checked.
pub(crate) fn settings<'r>(
    linked: &Linked<'_>,
    request: &'r Request,
) -> Result<FxHashMap<&'r str, Value>, Error> {
    let mut values = FxHashMap::default();
    for (name, value) in &request.tunables {
        let fail = |message: String| Err(Error::new(ErrorKind::Tunable, &request.module, None, message));
        let Some(global) = linked.global(name) else {
            let tunables = list(linked);
            let hint = suggestion(name, tunables.iter().map(|t| t.name.as_str()));
            return fail(format!("there is no tunable `{name}`{hint}"));
        };
        let Some((ty, _)) = tunable(global) else {
            return fail(match global {
                GlobalDeclaration::Declaration(Declaration {
                    kind: DeclarationKind::Const,
                    initializer: Some(init),
                    ..
                }) if literal(init).is_none() => {
                    format!("`{name}` cannot be set: it is derived, as `{init}`; set what it is derived from")
                }
                _ => format!(
                    "`{name}` cannot be set: a tunable is `const NAME: T = literal;` with T one of bool, u32, i32, f32 \
                     and a name in capitals"
                ),
            });
        };
        if value.ty() != ty {
            return fail(format!("`{name}` is of type {ty}; {value} is of type {}", value.ty()));
        }
        if let Value::F32(v) = value
            && !v.is_finite()
        {
            return fail(format!("`{name}` must be finite: WGSL has no literal for {v}"));
        }
        if values.insert(name.as_str(), *value).is_some() {
            return fail(format!("`{name}` is set twice"));
        }
    }
    Ok(values)
}

/// Type and default, if the declaration is a tunable.
fn tunable(global: &GlobalDeclaration) -> Option<(ValueType, Value)> {
    let GlobalDeclaration::Declaration(Declaration {
        kind: DeclarationKind::Const,
        ident,
        ty: Some(ty),
        initializer: Some(init),
        ..
    }) = global
    else {
        return None;
    };
    let name = ident.name();
    let screaming = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !screaming {
        return None;
    }
    let ty_name = ty.ident.name();
    let num = literal(init)?.convert(&ty_name).ok()??;
    let value = match num {
        Num::Bool(v) => Value::Bool(v),
        Num::U32(v) => Value::U32(v),
        Num::I32(v) => Value::I32(v),
        Num::F32(v) => Value::F32(v),
        Num::Int(_) | Num::Float(_) => return None,
    };
    Some((ValueType::from_name(&ty_name)?, value))
}

/// The value of a literal, possibly negative.
fn literal(e: &Expr) -> Option<Num> {
    match e.node() {
        Expression::Literal(literal) => Num::of_literal(literal),
        Expression::Parenthesized(p) => literal(&p.expression),
        Expression::Unary(u) if u.operator == UnaryOperator::Negation => Some(match literal(&u.operand)? {
            Num::Int(v) => Num::Int(v.checked_neg()?),
            Num::I32(v) => Num::I32(v.checked_neg()?),
            Num::Float(v) => Num::Float(-v),
            Num::F32(v) => Num::F32(-v),
            Num::Bool(_) | Num::U32(_) => return None,
        }),
        _ => None,
    }
}
