//! The function-scope arrays of a function, and which of their uses have constant indexes.

use rustc_hash::FxHashMap;
use wgsl_parse::syntax::{
    AssignmentOperator, DeclarationKind, Expression, Ident, LiteralExpression, Statement, TypeExpression,
};

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::tree::{Expr, Node, Stmt, as_ident, each_operand, mentions, walk};

/// More scalars than this do not help, and the text grows with every one.
const MAX_SCALARS: usize = 16_384;

/// The arrays of a function.
///
/// Found by identity, not by name: all uses of a local share one [`Ident`], and comparing it costs neither its lock nor its
/// text. This is where large kernels spend their time.
#[derive(Default)]
pub(crate) struct Arrays {
    /// In the order of their declarations, so that the names made here do not depend on the run.
    pub(crate) list: Vec<Candidate>,
    pub(crate) places: FxHashMap<Ident, usize>,
}

/// An array that may be taken apart.
pub(crate) struct Candidate {
    pub(crate) ident: Ident,
    /// Lengths, outermost first, as many as are known.
    pub(crate) lengths: Vec<usize>,
    /// The type at each depth: the array's own first, the innermost element's last.
    pub(crate) types: Vec<TypeExpression>,
    /// How many dimensions every use indexes with constants.
    pub(crate) depth: usize,
    /// Names of the elements, in order; filled when the depth is final.
    pub(crate) names: Vec<Ident>,
    /// Whether anything reads or assigns it. Arrays that only a folded-away branch used leave no declaration.
    pub(crate) used: bool,
}

impl Candidate {
    /// The place in `names` of the first element under these indexes.
    pub(crate) fn position(&self, indexes: &[&Expr]) -> Option<usize> {
        let mut position = 0;
        for (dimension, length) in self.lengths[..self.depth].iter().enumerate() {
            let index = match indexes.get(dimension) {
                Some(index) => usize::try_from(constant_index(index)?).ok()?,
                None => 0,
            };
            position = position * length + index;
        }
        Some(position)
    }
}

impl Context<'_> {
    /// The arrays of a function that has been folded and unrolled, and how many dimensions of each can be taken apart.
    pub(crate) fn arrays(&mut self, statements: &[Stmt]) -> Result<Arrays, Error> {
        let mut arrays = Arrays::default();
        self.find_arrays(statements, &mut arrays)?;
        if arrays.list.is_empty() {
            return Ok(arrays);
        }
        let mut uses = Uses { arrays: &mut arrays, cx: self, error: None };
        uses.statements(statements);
        uses.error.map_or(Ok(arrays), Err)
    }

    fn find_arrays(&mut self, statements: &[Stmt], arrays: &mut Arrays) -> Result<(), Error> {
        let mut declarations = Vec::new();
        walk(statements, &mut |node| {
            if let Node::Declaration(d) = node {
                declarations.push(d);
            }
        });
        for d in declarations {
            let ty = match (&d.ty, d.initializer.as_ref().map(wgsl_parse::span::Spanned::node)) {
                (Some(ty), _) => ty,
                (None, Some(Expression::FunctionCall(c))) => &c.ty,
                _ => continue,
            };
            if *self.resolve(ty).ident.name() != "array" {
                continue;
            }
            let (lengths, types) = self.dimensions(ty)?;
            // The total bounds the text; a dimension that would exceed it stays as it is.
            let mut total = 1_usize;
            let fitting = lengths.iter().take_while(|length| {
                total = total.saturating_mul(**length);
                total <= MAX_SCALARS
            });
            let mut depth = fitting.count();
            if d.kind == DeclarationKind::Const {
                depth = 0;
            }
            if let Some(init) = &d.initializer {
                depth = depth.min(self.constructor_depth(init, &lengths));
            }
            arrays.places.insert(d.ident.clone(), arrays.list.len());
            arrays.list.push(Candidate {
                ident: d.ident.clone(),
                lengths,
                types,
                depth,
                names: Vec::new(),
                used: false,
            });
        }
        Ok(())
    }

    /// How many dimensions of an expression can be taken apart: it is a constructor that far down.
    fn constructor_depth(&self, e: &Expr, lengths: &[usize]) -> usize {
        match (e.node(), lengths) {
            (_, []) => 0,
            (Expression::Parenthesized(p), _) => self.constructor_depth(&p.expression, lengths),
            (Expression::FunctionCall(c), [length, inner @ ..])
                if *self.resolve(&c.ty).ident.name() == "array" =>
            {
                if c.arguments.is_empty() {
                    // Zero all the way.
                    return lengths.len();
                }
                if c.arguments.len() != *length {
                    return 0;
                }
                1 + c.arguments.iter().map(|a| self.constructor_depth(a, inner)).min().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The constant dimensions of an array type, and the types down to the element.
    fn dimensions(&mut self, ty: &TypeExpression) -> Result<(Vec<usize>, Vec<TypeExpression>), Error> {
        let mut ty = self.resolve(ty).clone();
        let (mut lengths, mut types) = (Vec::new(), Vec::new());
        while *ty.ident.name() == "array"
            && let Some([element, length]) = ty.template_args.as_deref()
        {
            let known = self.at_module_scope(self.file, |cx| cx.expr(&length.expression))?.1;
            let length = known.and_then(|k| k.num.as_i64()).and_then(|v| usize::try_from(v).ok());
            let Expression::TypeOrIdentifier(element) = element.expression.node() else { break };
            let (Some(length), element) = (length, self.resolve(element).clone()) else { break };
            lengths.push(length);
            types.push(std::mem::replace(&mut ty, element));
        }
        types.push(ty);
        Ok((lengths, types))
    }
}

/// The variable that an expression is or indexes.
fn root(e: &Expr) -> Option<&Ident> {
    match e.node() {
        Expression::Indexing(i) => root(&i.base),
        Expression::Parenthesized(p) => root(&p.expression),
        _ => as_ident(e),
    }
}

/// The indexes on the way to the root, outermost first.
pub(crate) fn indexes(e: &Expr) -> Vec<&Expr> {
    match e.node() {
        Expression::Indexing(i) => {
            let mut indexes = indexes(&i.base);
            indexes.push(&i.index);
            indexes
        }
        Expression::Parenthesized(p) => indexes(&p.expression),
        _ => Vec::new(),
    }
}

impl Arrays {
    /// The array that an expression is or indexes.
    pub(crate) fn place_of(&self, e: &Expr) -> Option<usize> {
        self.places.get(root(e)?).copied()
    }
}

fn constant_index(e: &Expr) -> Option<i64> {
    match e.node() {
        Expression::Literal(LiteralExpression::U32(v)) => Some((*v).into()),
        Expression::Literal(LiteralExpression::I32(v)) => Some((*v).into()),
        Expression::Literal(LiteralExpression::AbstractInt(v)) => Some(*v),
        _ => None,
    }
}

/// Finds how each array is used.
struct Uses<'u, 'l> {
    arrays: &'u mut Arrays,
    cx: &'u Context<'l>,
    error: Option<Error>,
}

impl Uses<'_, '_> {
    fn statements(&mut self, statements: &[Stmt]) {
        // The targets of assignments that build a whole array: they are rewritten, not counted as uses.
        let mut built: Option<*const Expr> = None;
        walk(statements, &mut |node| match node {
            Node::Statement(s) => built = self.building(s).map(std::ptr::from_ref),
            Node::Expr(e) if built.is_some_and(|target| std::ptr::eq(target, e)) => {}
            Node::Expr(e) => self.expr(e),
            _ => {}
        });
    }

    /// The target, if a statement assigns a constructor to an array or a row, so that it can be taken apart.
    fn building<'s>(&mut self, statement: &'s Stmt) -> Option<&'s Expr> {
        let Statement::Assignment(s) = statement.node() else { return None };
        let place = self.arrays.place_of(&s.lhs)?;
        let indexes = indexes(&s.lhs);
        let candidate = self.arrays.list.get_mut(place)?;
        let rest = candidate.lengths.get(indexes.len()..)?;
        let constant = indexes.iter().all(|index| constant_index(index).is_some());
        if s.operator != AssignmentOperator::Equal || rest.is_empty() || !constant {
            return None;
        }
        candidate.used = true;
        let built = self.cx.constructor_depth(&s.rhs, rest);
        // A constructor that reads the array would see elements that were assigned just before.
        let name = candidate.ident.to_string();
        if built == 0 || mentions(&s.rhs, &mut |other| other == name) {
            return None;
        }
        candidate.depth = candidate.depth.min(indexes.len() + built);
        self.check_bounds(place, &indexes);
        Some(&s.lhs)
    }

    fn expr(&mut self, e: &Expr) {
        if matches!(e.node(), Expression::Indexing(_) | Expression::TypeOrIdentifier(_))
            && let Some(place) = self.arrays.place_of(e)
        {
            let indexes = indexes(e);
            let constant = indexes.iter().take_while(|index| constant_index(index).is_some()).count();
            if let Some(candidate) = self.arrays.list.get_mut(place) {
                candidate.depth = candidate.depth.min(constant);
                candidate.used = true;
            }
            self.check_bounds(place, &indexes);
            indexes.into_iter().skip(constant).for_each(|index| self.expr(index));
            return;
        }
        each_operand(e, &mut |operand| self.expr(operand));
    }

    fn check_bounds(&mut self, place: usize, indexes: &[&Expr]) {
        let Some(candidate) = self.arrays.list.get(place) else { return };
        for (index, length) in indexes.iter().zip(&candidate.lengths) {
            if let Some(v) = constant_index(index)
                && !usize::try_from(v).is_ok_and(|v| v < *length)
            {
                let name = &candidate.ident;
                let message = format!("index {v} is outside of `{name}`, which has {length} elements here");
                let error = self.cx.error(ErrorKind::Bounds, index.span(), message);
                self.error.get_or_insert(error);
            }
        }
    }
}
