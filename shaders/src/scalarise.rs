//! Turning function-scope arrays into scalars.
//!
//! An array whose every use has a constant index becomes one variable an element: `s[1][2]` becomes `s_1_2`. Drivers keep
//! indexed arrays in memory, or behind a chain of selects, even when every index is a literal; named scalars live in
//! registers.
//!
//! Only the outer dimensions that are indexed everywhere are taken apart: rows that are also used whole stay arrays.

use rustc_hash::FxHashMap;
use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AssignmentOperator, AssignmentStatement, CompoundStatement, Declaration, DeclarationKind, Expression,
    Function, FunctionCall, Ident, IndexingExpression, LiteralExpression, Statement, TypeExpression,
};

use crate::context::{Context, at};
use crate::error::{Error, ErrorKind};
use crate::tree::{
    Expr, Node, Stmt, as_ident, call, each_operand, ident_expr, ident_node, mentions, named, walk,
};

/// More scalars than this help nobody, and the text grows with every one.
const MAX_SCALARS: usize = 16_384;

/// The arrays of a function.
///
/// Found by identity, not by name: all uses of a local share one [`Ident`], and comparing it costs neither its lock nor its
/// text. This is where large kernels spend their time.
#[derive(Default)]
struct Arrays {
    /// In the order of their declarations, so that the names made here do not depend on the run.
    list: Vec<Candidate>,
    places: FxHashMap<Ident, usize>,
}

/// An array that may be taken apart.
struct Candidate {
    ident: Ident,
    /// Lengths, outermost first, as many as are known.
    lengths: Vec<usize>,
    /// The type at each depth: the array's own first, the innermost element's last.
    types: Vec<TypeExpression>,
    /// How many dimensions every use indexes with constants.
    depth: usize,
    /// Names of the elements, in order; filled when the depth is final.
    names: Vec<Ident>,
    /// Whether anything reads or assigns it. What only a folded-away branch used leaves no declaration.
    used: bool,
}

impl Context<'_> {
    /// Scalarises a function that has been folded and unrolled. Returns the names of the arrays that it still has.
    pub(crate) fn scalarise(&mut self, function: &mut Function) -> Result<Vec<String>, Error> {
        let mut arrays = Arrays::default();
        self.find_arrays(&function.body.statements, &mut arrays)?;
        if arrays.list.is_empty() {
            return Ok(Vec::new());
        }
        let mut uses = Uses { arrays: &mut arrays, cx: self, error: None };
        uses.statements(&function.body.statements);
        if let Some(error) = uses.error {
            return Err(error);
        }

        let mut left = Vec::new();
        for candidate in &mut arrays.list {
            let name = candidate.ident.to_string();
            if candidate.depth < candidate.lengths.len() || candidate.lengths.is_empty() {
                left.push(name.clone());
            }
            if candidate.depth == 0 {
                arrays.places.remove(&candidate.ident);
                continue;
            }
            let mut suffixes = vec![String::new()];
            for length in &candidate.lengths[..candidate.depth] {
                suffixes =
                    suffixes.iter().flat_map(|s| (0..*length).map(move |n| format!("{s}_{n}"))).collect();
            }
            candidate.names = self.family(&name, &suffixes);
        }
        left.sort_unstable();
        if !arrays.places.is_empty() {
            Rewrite { arrays: &arrays }.block(&mut function.body);
        }
        Ok(left)
    }

    /// New names of one base: `a_0, a_1`, or `a2_0, a2_1` if one of those is taken.
    fn family(&mut self, name: &str, suffixes: &[String]) -> Vec<Ident> {
        let linked = self.linked;
        self.names
            .family(name, suffixes, |name| linked.items.contains_key(name))
            .into_iter()
            .map(Ident::new)
            .collect()
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
fn indexes(e: &Expr) -> Vec<&Expr> {
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
    fn place_of(&self, e: &Expr) -> Option<usize> {
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

/// Writes scalars in place of arrays.
struct Rewrite<'r> {
    arrays: &'r Arrays,
}

impl Rewrite<'_> {
    fn block(&self, block: &mut CompoundStatement) {
        let mut out = Vec::with_capacity(block.statements.len());
        for mut statement in std::mem::take(&mut block.statements) {
            let span = statement.span();
            match statement.node() {
                Statement::Declaration(d) if self.declaration(d, span, &mut out) => continue,
                Statement::Assignment(s) if self.assignment(s, span, &mut out) => continue,
                _ => {}
            }
            self.statement(&mut statement);
            out.push(statement);
        }
        block.statements = out;
    }

    /// Takes an array's declaration apart. `false`: not such a statement.
    fn declaration(&self, d: &Declaration, span: Span, out: &mut Vec<Stmt>) -> bool {
        let Some(place) = self.arrays.places.get(&d.ident) else { return false };
        let candidate = &self.arrays.list[*place];
        if !candidate.used && d.initializer.is_none() {
            return true;
        }
        let ty = &candidate.types[candidate.depth];
        let values = match &d.initializer {
            Some(init) => self.elements(init, candidate, 0),
            None => Vec::new(),
        };
        let mut values = values.into_iter();
        for ident in &candidate.names {
            let mut initializer = values.next().flatten();
            if initializer.is_none() && d.kind == DeclarationKind::Let {
                initializer = Some(zero(ty, span));
            }
            let (attributes, ident, ty) = (Vec::new(), ident.clone(), Some(ty.clone()));
            let d = Declaration { attributes, kind: d.kind, ident, ty, initializer };
            out.push(at(Statement::Declaration(d), span));
        }
        true
    }

    /// Takes `array = constructor` apart. `false`: not such a statement.
    fn assignment(&self, s: &AssignmentStatement, span: Span, out: &mut Vec<Stmt>) -> bool {
        let Some(place) = self.arrays.place_of(&s.lhs) else { return false };
        let (candidate, indexes) = (&self.arrays.list[place], indexes(&s.lhs));
        if indexes.len() >= candidate.depth {
            return false;
        }
        let Some(first) = candidate.position(&indexes) else { return false };
        let values = self.elements(&s.rhs, candidate, indexes.len());
        for (ident, value) in candidate.names.iter().skip(first).zip(values) {
            let lhs = ident_expr(ident.clone(), span);
            let rhs = value.unwrap_or_else(|| zero(&candidate.types[candidate.depth], span));
            let s = AssignmentStatement { operator: AssignmentOperator::Equal, lhs, rhs };
            out.push(at(Statement::Assignment(s), span));
        }
        true
    }

    /// The elements of a constructor from dimension `from` down; `None` is zero.
    fn elements(&self, e: &Expr, candidate: &Candidate, from: usize) -> Vec<Option<Expr>> {
        if from == candidate.depth {
            let mut e = e.clone();
            self.expr(&mut e);
            return vec![Some(e)];
        }
        match e.node() {
            Expression::Parenthesized(p) => self.elements(&p.expression, candidate, from),
            Expression::FunctionCall(c) if !c.arguments.is_empty() => {
                c.arguments.iter().flat_map(|a| self.elements(a, candidate, from + 1)).collect()
            }
            _ => vec![None; candidate.lengths[from..candidate.depth].iter().product()],
        }
    }

    fn statement(&self, statement: &mut Stmt) {
        match &mut **statement {
            Statement::Void | Statement::Break(_) | Statement::Continue(_) | Statement::Discard(_) => {}
            Statement::Compound(block) => self.block(block),
            Statement::Assignment(s) => {
                self.expr(&mut s.lhs);
                self.expr(&mut s.rhs);
            }
            Statement::Increment(s) => self.expr(&mut s.expression),
            Statement::Decrement(s) => self.expr(&mut s.expression),
            Statement::If(s) => {
                self.expr(&mut s.if_clause.expression);
                self.block(&mut s.if_clause.body);
                for clause in &mut s.else_if_clauses {
                    self.expr(&mut clause.expression);
                    self.block(&mut clause.body);
                }
                if let Some(clause) = &mut s.else_clause {
                    self.block(&mut clause.body);
                }
            }
            Statement::Switch(s) => {
                self.expr(&mut s.expression);
                s.clauses.iter_mut().for_each(|clause| self.block(&mut clause.body));
            }
            Statement::Loop(s) => {
                self.block(&mut s.body);
                if let Some(continuing) = &mut s.continuing {
                    self.block(&mut continuing.body);
                    continuing.break_if.iter_mut().for_each(|end| self.expr(&mut end.expression));
                }
            }
            Statement::For(s) => {
                s.initializer.iter_mut().for_each(|statement| self.statement(statement));
                s.condition.iter_mut().for_each(|e| self.expr(e));
                s.update.iter_mut().for_each(|statement| self.statement(statement));
                self.block(&mut s.body);
            }
            Statement::While(s) => {
                self.expr(&mut s.condition);
                self.block(&mut s.body);
            }
            Statement::Return(s) => s.expression.iter_mut().for_each(|e| self.expr(e)),
            Statement::FunctionCall(s) => s.call.arguments.iter_mut().for_each(|e| self.expr(e)),
            Statement::ConstAssert(s) => self.expr(&mut s.expression),
            Statement::Declaration(d) => d.initializer.iter_mut().for_each(|e| self.expr(e)),
        }
    }

    /// What stands for an indexed array.
    fn scalar(&self, e: &Expr) -> Option<Expression> {
        if !matches!(e.node(), Expression::Indexing(_)) {
            return None;
        }
        let candidate = self.arrays.list.get(self.arrays.place_of(e)?)?;
        let indexes = indexes(e);
        // Uses index at least `depth` dimensions; whole rows are rewritten in `assignment`.
        let (taken, rest) = indexes.split_at(candidate.depth.min(indexes.len()));
        let name = candidate.names.get(candidate.position(taken)?)?;
        let span = e.span();
        let mut scalar = ident_node(name.clone());
        for index in rest {
            let mut index = (*index).clone();
            self.expr(&mut index);
            scalar = Expression::Indexing(IndexingExpression { base: at(scalar, span), index });
        }
        Some(scalar)
    }

    fn expr(&self, e: &mut Expr) {
        if let Some(scalar) = self.scalar(e) {
            // Into the same box.
            **e = scalar;
            return;
        }
        match &mut **e {
            Expression::Literal(_) | Expression::TypeOrIdentifier(_) => {}
            Expression::Parenthesized(p) => self.expr(&mut p.expression),
            Expression::NamedComponent(c) => self.expr(&mut c.base),
            Expression::Indexing(i) => {
                self.expr(&mut i.base);
                self.expr(&mut i.index);
            }
            Expression::Unary(u) => self.expr(&mut u.operand),
            Expression::Binary(b) => {
                self.expr(&mut b.left);
                self.expr(&mut b.right);
            }
            Expression::FunctionCall(c) => c.arguments.iter_mut().for_each(|a| self.expr(a)),
        }
    }
}

impl Candidate {
    /// The place in `names` of the first element under these indexes.
    fn position(&self, indexes: &[&Expr]) -> Option<usize> {
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

/// The zero value of a type.
fn zero(ty: &TypeExpression, span: Span) -> Expr {
    let literal = match (ty.ident.name().as_str(), &ty.template_args) {
        ("f32", None) => LiteralExpression::F32(0.0),
        ("f16", None) => LiteralExpression::F16(0.0),
        ("u32", None) => LiteralExpression::U32(0),
        ("i32", None) => LiteralExpression::I32(0),
        ("bool", None) => LiteralExpression::Bool(false),
        (name, None) => return call(name, Vec::new(), span),
        (name, Some(arguments)) => {
            let ty = TypeExpression { template_args: Some(arguments.clone()), ..named(name) };
            let call = FunctionCall { ty, arguments: Vec::new() };
            return at(Expression::FunctionCall(call), span);
        }
    };
    at(Expression::Literal(literal), span)
}
