//! Sizes and alignments of types, by WGSL's rules.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{Attribute, Expression, GlobalDeclaration, TypeExpression};

use crate::context::Context;
use crate::error::{Error, ErrorKind};

/// Size and alignment in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) size: u32,
    pub(crate) align: u32,
}

/// A type, taken apart as far as layouts need it.
pub(crate) enum Kind {
    /// Name and size of the scalar.
    Scalar(String, u32),
    Vector(String, u32, u32),
    /// Scalar name, its size, columns, rows.
    Matrix(String, u32, u32, u32),
    Array(TypeExpression, Option<u32>),
    Struct(Vec<(String, Layout, TypeExpression)>),
}

impl Context<'_> {
    pub(crate) fn layout(&mut self, ty: &TypeExpression, span: Span) -> Result<Layout, Error> {
        Ok(match self.kind(ty, span)? {
            Kind::Scalar(_, size) => Layout { size, align: size },
            Kind::Vector(_, size, n) => Layout { size: size * n, align: vector_align(size, n) },
            Kind::Matrix(_, size, columns, rows) => {
                let align = vector_align(size, rows);
                Layout { size: align * columns, align }
            }
            Kind::Array(element, length) => {
                let element = self.layout(&element, span)?;
                let size = stride(element).checked_mul(length.unwrap_or(1));
                let size = size
                    .ok_or_else(|| self.error(ErrorKind::Interface, span, "an array of more than 4 GiB"))?;
                Layout { size, align: element.align }
            }
            Kind::Struct(members) => {
                let align = members.iter().map(|(_, layout, _)| layout.align).max().unwrap_or(1);
                let end = members
                    .iter()
                    .zip(offsets(&members))
                    .last()
                    .map(|((_, l, _), at)| at.saturating_add(l.size));
                let size = end.unwrap_or(0).checked_next_multiple_of(align);
                let size = size.ok_or_else(|| {
                    self.error(ErrorKind::Interface, span, "a structure of more than 4 GiB")
                })?;
                Layout { size, align }
            }
        })
    }

    /// Takes a type apart.
    pub(crate) fn kind(&mut self, ty: &TypeExpression, span: Span) -> Result<Kind, Error> {
        self.deeper(span, |cx| cx.kind_of(ty, span))
    }

    fn kind_of(&mut self, ty: &TypeExpression, span: Span) -> Result<Kind, Error> {
        let ty = self.resolve(ty).clone();
        let name = ty.ident.to_string();
        let arguments = ty.template_args.as_deref().unwrap_or_default();
        let inner = match arguments.first().map(|a| a.expression.node()) {
            Some(Expression::TypeOrIdentifier(ty)) => Some(ty.clone()),
            _ => None,
        };
        if let Some(size) = scalar_size(&name) {
            return Ok(Kind::Scalar(name, size));
        }
        if let Some(GlobalDeclaration::Struct(s)) = self.linked.global(&name) {
            let mut members = Vec::new();
            for member in &s.members {
                let mut layout = self.layout(&member.ty, span)?;
                for attribute in &member.attributes {
                    match attribute.node() {
                        Attribute::Align(e) => layout.align = self.constant_u32(e)?.max(1),
                        Attribute::Size(e) => layout.size = self.constant_u32(e)?,
                        _ => {}
                    }
                }
                members.push((member.ident.to_string(), layout, member.ty.clone()));
            }
            return Ok(Kind::Struct(members));
        }
        let unknown = |cx: &Self| {
            cx.error(ErrorKind::Interface, span, format!("the size of the type `{ty}` is not known"))
        };
        if name == "atomic" {
            return self.kind(&inner.ok_or_else(|| unknown(self))?, span);
        }
        if name == "array" {
            let length = match arguments.get(1) {
                Some(length) => Some(self.constant_u32(&length.expression)?),
                None => None,
            };
            return Ok(Kind::Array(inner.ok_or_else(|| unknown(self))?, length));
        }
        let element = |cx: &Self, letter: &str| -> Result<(String, u32), Error> {
            let scalar = match (letter, &inner) {
                ("f", None) => "f32".to_owned(),
                ("i", None) => "i32".to_owned(),
                ("u", None) => "u32".to_owned(),
                ("h", None) => "f16".to_owned(),
                ("", Some(inner)) => cx.resolve(inner).ident.to_string(),
                _ => return Err(unknown(cx)),
            };
            let size = scalar_size(&scalar).ok_or_else(|| unknown(cx))?;
            Ok((scalar, size))
        };
        let digit =
            |at: usize| name.get(at..=at).and_then(|d| d.parse().ok()).filter(|d| (2..=4).contains(d));
        if name.starts_with("vec")
            && let Some(n) = digit(3)
        {
            let (scalar, size) = element(self, &name[4..])?;
            return Ok(Kind::Vector(scalar, size, n));
        }
        if name.starts_with("mat")
            && name.get(4..5) == Some("x")
            && let (Some(columns), Some(rows)) = (digit(3), digit(5))
        {
            let (scalar, size) = element(self, &name[6..])?;
            return Ok(Kind::Matrix(scalar, size, columns, rows));
        }
        Err(unknown(self))
    }
}

fn scalar_size(name: &str) -> Option<u32> {
    match name {
        "f32" | "u32" | "i32" | "bool" => Some(4),
        "f16" => Some(2),
        _ => None,
    }
}

/// A vector of three is aligned as one of four.
pub(crate) fn vector_align(scalar: u32, components: u32) -> u32 {
    scalar * if components == 2 { 2 } else { 4 }
}

pub(crate) fn stride(element: Layout) -> u32 {
    element.size.checked_next_multiple_of(element.align).unwrap_or(u32::MAX)
}

/// Where the members of a structure begin.
pub(crate) fn offsets(members: &[(String, Layout, TypeExpression)]) -> impl Iterator<Item = u32> {
    let mut end = 0_u32;
    members.iter().map(move |(_, layout, _)| {
        let at = end.checked_next_multiple_of(layout.align).unwrap_or(u32::MAX);
        end = at.saturating_add(layout.size);
        at
    })
}
