//! Small tools over the syntax tree: making nodes, and walks that see every expression and every name.

use wgsl_parse::span::{Span, Spanned};
use wgsl_parse::syntax::{
    AssignmentOperator, Attribute, Attributes, BinaryOperator, CaseSelector, CompoundStatement, Declaration,
    Expression, ExpressionNode, FunctionCall, GlobalDeclaration, Ident, LiteralExpression, Statement,
    StatementNode, TypeExpression, UnaryOperator,
};

pub(crate) type Expr = ExpressionNode;
pub(crate) type Stmt = StatementNode;

/// `name`, as a type or an identifier.
pub(crate) fn named(name: &str) -> TypeExpression {
    TypeExpression { path: None, ident: Ident::new(name.to_owned()), template_args: None }
}

pub(crate) fn name_expr(name: &str, span: Span) -> Expr {
    Spanned::new(Expression::TypeOrIdentifier(named(name)), span)
}

pub(crate) fn ident_expr(ident: Ident, span: Span) -> Expr {
    Spanned::new(ident_node(ident), span)
}

pub(crate) fn ident_node(ident: Ident) -> Expression {
    Expression::TypeOrIdentifier(TypeExpression { path: None, ident, template_args: None })
}

pub(crate) fn call(name: &str, arguments: Vec<Expr>, span: Span) -> Expr {
    Spanned::new(Expression::FunctionCall(FunctionCall { ty: named(name), arguments }), span)
}

/// The identifier, if the expression is one (parentheses do not count).
pub(crate) fn as_ident(e: &Expr) -> Option<&Ident> {
    match e.node() {
        Expression::TypeOrIdentifier(ty) if ty.template_args.is_none() && ty.path.is_none() => {
            Some(&ty.ident)
        }
        _ => None,
    }
}

/// Whether the expression is the identifier `name`.
pub(crate) fn is_ident(e: &Expr, name: &str) -> bool {
    as_ident(e).is_some_and(|ident| *ident.name() == name)
}

/// The operation of a compound assignment; `None` for `=`.
pub(crate) fn operation(op: AssignmentOperator) -> Option<BinaryOperator> {
    Some(match op {
        AssignmentOperator::Equal => return None,
        AssignmentOperator::PlusEqual => BinaryOperator::Addition,
        AssignmentOperator::MinusEqual => BinaryOperator::Subtraction,
        AssignmentOperator::TimesEqual => BinaryOperator::Multiplication,
        AssignmentOperator::DivisionEqual => BinaryOperator::Division,
        AssignmentOperator::ModuloEqual => BinaryOperator::Remainder,
        AssignmentOperator::AndEqual => BinaryOperator::BitwiseAnd,
        AssignmentOperator::OrEqual => BinaryOperator::BitwiseOr,
        AssignmentOperator::XorEqual => BinaryOperator::BitwiseXor,
        AssignmentOperator::ShiftRightAssign => BinaryOperator::ShiftRight,
        AssignmentOperator::ShiftLeftAssign => BinaryOperator::ShiftLeft,
    })
}

/// Calls `f` for each direct operand of an expression, template arguments included.
pub(crate) fn each_operand<'a>(e: &'a Expr, f: &mut dyn FnMut(&'a Expr)) {
    match e.node() {
        Expression::Literal(_) => {}
        Expression::Parenthesized(p) => f(&p.expression),
        Expression::NamedComponent(c) => f(&c.base),
        Expression::Indexing(i) => {
            f(&i.base);
            f(&i.index);
        }
        Expression::Unary(u) => f(&u.operand),
        Expression::Binary(b) => {
            f(&b.left);
            f(&b.right);
        }
        Expression::FunctionCall(c) => {
            c.ty.template_args.iter().flatten().for_each(|arg| f(&arg.expression));
            c.arguments.iter().for_each(f);
        }
        Expression::TypeOrIdentifier(ty) => {
            ty.template_args.iter().flatten().for_each(|arg| f(&arg.expression));
        }
    }
}

/// Calls `f` for every name that an expression mentions: variables, constants, functions, types. Members are not names.
pub(crate) fn each_name(e: &Expr, f: &mut dyn FnMut(&Ident)) {
    match e.node() {
        Expression::FunctionCall(c) => f(&c.ty.ident),
        Expression::TypeOrIdentifier(ty) => f(&ty.ident),
        _ => {}
    }
    each_operand(e, &mut |operand| each_name(operand, f));
}

/// Whether an expression mentions a name for which `test` holds.
pub(crate) fn mentions(e: &Expr, test: &mut dyn FnMut(&str) -> bool) -> bool {
    let mut found = false;
    each_name(e, &mut |ident| found = found || test(&ident.name()));
    found
}

pub(crate) fn each_name_in_type(ty: &TypeExpression, f: &mut dyn FnMut(&Ident)) {
    f(&ty.ident);
    ty.template_args.iter().flatten().for_each(|arg| each_name(&arg.expression, f));
}

/// Nodes that a walk over statements meets, in source order.
pub(crate) enum Node<'a> {
    Expr(&'a Expr),
    Type(&'a TypeExpression),
    /// A local declaration, before its type and initialiser.
    Declaration(&'a Declaration),
    Statement(&'a Stmt),
}

/// Walks statements with everything in them. Expressions are met whole; their operands are the visitor's business.
pub(crate) fn walk<'a>(statements: &'a [Stmt], f: &mut dyn FnMut(Node<'a>)) {
    for statement in statements {
        walk_statement(statement, f);
    }
}

fn walk_block<'a>(block: &'a CompoundStatement, f: &mut dyn FnMut(Node<'a>)) {
    walk_attributes(&block.attributes, f);
    walk(&block.statements, f);
}

fn walk_statement<'a>(statement: &'a Stmt, f: &mut dyn FnMut(Node<'a>)) {
    f(Node::Statement(statement));
    match statement.node() {
        Statement::Void | Statement::Break(_) | Statement::Continue(_) | Statement::Discard(_) => {}
        Statement::Compound(block) => walk_block(block, f),
        Statement::Assignment(s) => {
            f(Node::Expr(&s.lhs));
            f(Node::Expr(&s.rhs));
        }
        Statement::Increment(s) => f(Node::Expr(&s.expression)),
        Statement::Decrement(s) => f(Node::Expr(&s.expression)),
        Statement::If(s) => {
            walk_attributes(&s.attributes, f);
            f(Node::Expr(&s.if_clause.expression));
            walk_block(&s.if_clause.body, f);
            for clause in &s.else_if_clauses {
                f(Node::Expr(&clause.expression));
                walk_block(&clause.body, f);
            }
            if let Some(clause) = &s.else_clause {
                walk_block(&clause.body, f);
            }
        }
        Statement::Switch(s) => {
            walk_attributes(&s.attributes, f);
            f(Node::Expr(&s.expression));
            for clause in &s.clauses {
                for selector in &clause.case_selectors {
                    if let CaseSelector::Expression(e) = selector {
                        f(Node::Expr(e));
                    }
                }
                walk_block(&clause.body, f);
            }
        }
        Statement::Loop(s) => {
            walk_attributes(&s.attributes, f);
            walk_block(&s.body, f);
            if let Some(continuing) = &s.continuing {
                walk_block(&continuing.body, f);
                if let Some(end) = &continuing.break_if {
                    f(Node::Expr(&end.expression));
                }
            }
        }
        Statement::For(s) => {
            walk_attributes(&s.attributes, f);
            s.initializer.iter().for_each(|statement| walk_statement(statement, f));
            s.condition.iter().for_each(|e| f(Node::Expr(e)));
            s.update.iter().for_each(|statement| walk_statement(statement, f));
            walk_block(&s.body, f);
        }
        Statement::While(s) => {
            walk_attributes(&s.attributes, f);
            f(Node::Expr(&s.condition));
            walk_block(&s.body, f);
        }
        Statement::Return(s) => s.expression.iter().for_each(|e| f(Node::Expr(e))),
        Statement::FunctionCall(s) => {
            f(Node::Type(&s.call.ty));
            s.call.arguments.iter().for_each(|e| f(Node::Expr(e)));
        }
        Statement::ConstAssert(s) => f(Node::Expr(&s.expression)),
        Statement::Declaration(d) => walk_declaration(d, f),
    }
}

fn walk_declaration<'a>(d: &'a Declaration, f: &mut dyn FnMut(Node<'a>)) {
    walk_attributes(&d.attributes, f);
    f(Node::Declaration(d));
    d.ty.iter().for_each(|ty| f(Node::Type(ty)));
    d.initializer.iter().for_each(|e| f(Node::Expr(e)));
}

fn walk_attributes<'a>(attributes: &'a Attributes, f: &mut dyn FnMut(Node<'a>)) {
    for attribute in attributes {
        match attribute.node() {
            Attribute::Align(e)
            | Attribute::Binding(e)
            | Attribute::BlendSrc(e)
            | Attribute::Group(e)
            | Attribute::Id(e)
            | Attribute::Location(e)
            | Attribute::Size(e) => f(Node::Expr(e)),
            Attribute::WorkgroupSize(size) => {
                [Some(&size.x), size.y.as_ref(), size.z.as_ref()]
                    .into_iter()
                    .flatten()
                    .for_each(|e| f(Node::Expr(e)));
            }
            Attribute::Custom(custom) => custom.arguments.iter().flatten().for_each(|e| f(Node::Expr(e))),
            _ => {}
        }
    }
}

/// Walks a module-scope declaration with everything in it.
pub(crate) fn walk_global<'a>(global: &'a GlobalDeclaration, f: &mut dyn FnMut(Node<'a>)) {
    match global {
        GlobalDeclaration::Void => {}
        GlobalDeclaration::Declaration(d) => walk_declaration(d, f),
        GlobalDeclaration::TypeAlias(alias) => f(Node::Type(&alias.ty)),
        GlobalDeclaration::Struct(s) => {
            for member in &s.members {
                walk_attributes(&member.attributes, f);
                f(Node::Type(&member.ty));
            }
        }
        GlobalDeclaration::Function(function) => {
            walk_attributes(&function.attributes, f);
            for parameter in &function.parameters {
                walk_attributes(&parameter.attributes, f);
                f(Node::Type(&parameter.ty));
            }
            walk_attributes(&function.return_attributes, f);
            function.return_type.iter().for_each(|ty| f(Node::Type(ty)));
            walk_block(&function.body, f);
        }
        GlobalDeclaration::ConstAssert(assert) => f(Node::Expr(&assert.expression)),
    }
}

/// Parts of a declaration.
pub(crate) enum Mention<'a> {
    /// A name, and whether it is that of a type or of a function that is called.
    Name(&'a Ident, bool),
    Literal(&'a LiteralExpression),
}

/// Calls `f` for every name and literal of a module-scope declaration, its locals included, its own name not.
pub(crate) fn each_mention<'a>(global: &'a GlobalDeclaration, f: &mut dyn FnMut(Mention<'a>)) {
    walk_global(global, &mut |node| match node {
        Node::Expr(e) => each_mention_in(e, f),
        Node::Type(ty) => {
            f(Mention::Name(&ty.ident, true));
            ty.template_args.iter().flatten().for_each(|arg| each_mention_in(&arg.expression, f));
        }
        Node::Declaration(_) | Node::Statement(_) => {}
    });
}

fn each_mention_in<'a>(e: &'a Expr, f: &mut dyn FnMut(Mention<'a>)) {
    match e.node() {
        Expression::FunctionCall(c) => f(Mention::Name(&c.ty.ident, true)),
        Expression::TypeOrIdentifier(ty) => f(Mention::Name(&ty.ident, ty.template_args.is_some())),
        Expression::Literal(literal) => f(Mention::Literal(literal)),
        _ => {}
    }
    each_operand(e, &mut |operand| each_mention_in(operand, f));
}

/// The name that a module-scope declaration declares.
pub(crate) fn global_ident(global: &GlobalDeclaration) -> Option<&Ident> {
    match global {
        GlobalDeclaration::Declaration(d) => Some(&d.ident),
        GlobalDeclaration::TypeAlias(alias) => Some(&alias.ident),
        GlobalDeclaration::Struct(s) => Some(&s.ident),
        GlobalDeclaration::Function(function) => Some(&function.ident),
        GlobalDeclaration::Void | GlobalDeclaration::ConstAssert(_) => None,
    }
}

/// The number of `&&` and `||` in an expression.
pub(crate) fn count_short_circuits(e: &Expr) -> usize {
    let here = match e.node() {
        Expression::Binary(b) => {
            matches!(b.operator, BinaryOperator::ShortCircuitAnd | BinaryOperator::ShortCircuitOr).into()
        }
        // `&&x` is one token to the lexer.
        Expression::Unary(u) if u.operator == UnaryOperator::AddressOf => {
            matches!(u.operand.node(), Expression::Unary(inner) if inner.operator == UnaryOperator::AddressOf)
                .into()
        }
        _ => 0,
    };
    let mut count = here;
    each_operand(e, &mut |operand| count += count_short_circuits(operand));
    count
}
