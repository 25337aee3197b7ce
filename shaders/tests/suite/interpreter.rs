//! Runs a kernel of integers, arrays, functions and control flow on the CPU, by WGSL's run-time rules: integers wrap, division by zero
//! gives the dividend. Enough to tell whether two texts are one program.

use std::collections::HashMap;

use wgsl_parse::syntax::{
    AssignmentOperator, BinaryOperator as Op, Expression, Function, FunctionCall, GlobalDeclaration,
    LiteralExpression, Statement, TranslationUnit, TypeExpression, UnaryOperator,
};
use wgsl_parse::syntax::{ExpressionNode as Expr, StatementNode as Stmt};

/// A value of a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    U32(u32),
    I32(i32),
    Bool(bool),
    Array(Vec<Value>),
    /// To a local: its scope, its name, and the indexes from there.
    Pointer(usize, String, Vec<usize>),
}

enum Flow {
    Next,
    Break,
    Continue,
    Return(Option<Value>),
}

struct Machine {
    globals: HashMap<String, Value>,
    functions: HashMap<String, Function>,
    scopes: Vec<HashMap<String, Value>>,
    /// The first scope of the function that runs.
    frame: usize,
    steps: usize,
}

/// Runs `main` with `x` as its parameter; the buffer `data` before and after.
pub(crate) fn run(text: &str, x: u32, data: Vec<u32>) -> Vec<u32> {
    let unit: TranslationUnit = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut machine = Machine {
        globals: HashMap::new(),
        functions: HashMap::new(),
        scopes: Vec::new(),
        frame: 0,
        steps: 0,
    };
    machine.globals.insert("data".into(), Value::Array(data.into_iter().map(Value::U32).collect()));
    for global in &unit.global_declarations {
        if let GlobalDeclaration::Declaration(d) = global.node()
            && let Some(init) = &d.initializer
        {
            let value = machine.eval(init);
            machine.globals.insert(d.ident.to_string(), value);
        }
    }
    for global in &unit.global_declarations {
        if let GlobalDeclaration::Function(f) = global.node() {
            machine.functions.insert(f.ident.to_string(), f.clone());
        }
    }
    machine.function("main", vec![Value::U32(x)]);
    let Some(Value::Array(data)) = machine.globals.remove("data") else { unreachable!() };
    data.into_iter().map(|v| if let Value::U32(v) = v { v } else { panic!("{v:?}") }).collect()
}

impl Machine {
    fn function(&mut self, name: &str, arguments: Vec<Value>) -> Option<Value> {
        let f = self.functions[name].clone();
        let names = f.parameters.iter().map(|p| p.ident.to_string());
        let frame = std::mem::replace(&mut self.frame, self.scopes.len());
        self.scopes.push(names.zip(arguments).collect());
        let flow = self.statements(&f.body.statements);
        self.scopes.truncate(self.frame);
        self.frame = frame;
        if let Flow::Return(value) = flow { value } else { None }
    }

    fn block(&mut self, statements: &[Stmt]) -> Flow {
        self.scopes.push(HashMap::new());
        let flow = self.statements(statements);
        self.scopes.pop();
        flow
    }

    fn statements(&mut self, statements: &[Stmt]) -> Flow {
        for statement in statements {
            match self.statement(statement) {
                Flow::Next => {}
                flow => return flow,
            }
        }
        Flow::Next
    }

    fn statement(&mut self, statement: &Stmt) -> Flow {
        self.steps += 1;
        assert!(self.steps < 10_000_000, "the program does not end");
        match statement.node() {
            Statement::Void => {}
            Statement::Compound(b) => return self.block(&b.statements),
            Statement::Declaration(d) => {
                let value = match (&d.initializer, &d.ty) {
                    (Some(e), _) => self.eval(e),
                    (None, Some(ty)) => self.zero(ty),
                    (None, None) => unreachable!(),
                };
                self.scopes.last_mut().unwrap().insert(d.ident.to_string(), value);
            }
            Statement::Assignment(s) => {
                let mut value = self.eval(&s.rhs);
                let op = match s.operator {
                    AssignmentOperator::Equal => None,
                    AssignmentOperator::PlusEqual => Some(Op::Addition),
                    AssignmentOperator::MinusEqual => Some(Op::Subtraction),
                    AssignmentOperator::TimesEqual => Some(Op::Multiplication),
                    AssignmentOperator::XorEqual => Some(Op::BitwiseXor),
                    other => panic!("{other}"),
                };
                if let Some(op) = op {
                    let old = self.eval(&s.lhs);
                    value = binary(op, &old, &value);
                }
                *self.place(&s.lhs) = value;
            }
            Statement::Increment(s) => self.step(&s.expression, Op::Addition),
            Statement::Decrement(s) => self.step(&s.expression, Op::Subtraction),
            Statement::If(s) => {
                if self.truth(&s.if_clause.expression) {
                    return self.block(&s.if_clause.body.statements);
                }
                for clause in &s.else_if_clauses {
                    if self.truth(&clause.expression) {
                        return self.block(&clause.body.statements);
                    }
                }
                if let Some(clause) = &s.else_clause {
                    return self.block(&clause.body.statements);
                }
            }
            Statement::For(s) => {
                self.scopes.push(HashMap::new());
                let flow = self.for_loop(s);
                self.scopes.pop();
                return flow;
            }
            Statement::Break(_) => return Flow::Break,
            Statement::Continue(_) => return Flow::Continue,
            Statement::Return(s) => return Flow::Return(s.expression.as_ref().map(|e| self.eval(e))),
            Statement::FunctionCall(s) => {
                let arguments = s.call.arguments.iter().map(|a| self.eval(a)).collect();
                self.function(&s.call.ty.ident.name(), arguments);
            }
            other => panic!("{other}"),
        }
        Flow::Next
    }

    fn for_loop(&mut self, s: &wgsl_parse::syntax::ForStatement) -> Flow {
        self.statement(s.initializer.as_ref().unwrap());
        while self.truth(s.condition.as_ref().unwrap()) {
            match self.block(&s.body.statements) {
                Flow::Break => break,
                Flow::Return(value) => return Flow::Return(value),
                Flow::Next | Flow::Continue => {}
            }
            self.statement(s.update.as_ref().unwrap());
        }
        Flow::Next
    }

    fn step(&mut self, target: &Expr, op: Op) {
        let old = self.eval(target);
        let one = if matches!(old, Value::I32(_)) { Value::I32(1) } else { Value::U32(1) };
        *self.place(target) = binary(op, &old, &one);
    }

    fn place(&mut self, e: &Expr) -> &mut Value {
        match e.node() {
            Expression::TypeOrIdentifier(ty) => {
                let name = ty.ident.name();
                let local =
                    self.scopes[self.frame..].iter_mut().rev().find_map(|scope| scope.get_mut(&*name));
                local.or_else(|| self.globals.get_mut(&*name)).unwrap_or_else(|| panic!("{name}"))
            }
            Expression::Indexing(i) => {
                let index = match self.eval(&i.index) {
                    Value::U32(v) => v as usize,
                    other => panic!("{other:?}"),
                };
                let Value::Array(elements) = self.place(&i.base) else { panic!("{}", i.base) };
                &mut elements[index]
            }
            Expression::Parenthesized(p) => self.place(&p.expression),
            Expression::Unary(u) if u.operator == UnaryOperator::Indirection => {
                let Value::Pointer(scope, name, path) = self.eval(&u.operand) else {
                    panic!("{}", u.operand)
                };
                let mut place = self.scopes[scope].get_mut(&name).unwrap();
                for index in path {
                    let Value::Array(elements) = place else { panic!("{name}") };
                    place = &mut elements[index];
                }
                place
            }
            other => panic!("{other}"),
        }
    }

    fn pointer(&mut self, e: &Expr) -> Value {
        match e.node() {
            Expression::Parenthesized(p) => self.pointer(&p.expression),
            Expression::Unary(u) if u.operator == UnaryOperator::Indirection => self.eval(&u.operand),
            Expression::Indexing(i) => {
                let (pointer, index) = (self.pointer(&i.base), self.eval(&i.index));
                let (Value::Pointer(scope, name, mut path), Value::U32(index)) = (pointer, index) else {
                    panic!("{}", i.base)
                };
                path.push(index as usize);
                Value::Pointer(scope, name, path)
            }
            other => {
                let name = other.to_string();
                let has = |scope: &usize| self.scopes[*scope].contains_key(&name);
                Value::Pointer((self.frame..self.scopes.len()).rev().find(has).unwrap(), name, Vec::new())
            }
        }
    }

    fn truth(&mut self, e: &Expr) -> bool {
        matches!(self.eval(e), Value::Bool(true))
    }

    fn eval(&mut self, e: &Expr) -> Value {
        match e.node() {
            Expression::Literal(LiteralExpression::U32(v)) => Value::U32(*v),
            // Lengths of arrays only.
            Expression::Literal(LiteralExpression::AbstractInt(v)) => Value::U32(u32::try_from(*v).unwrap()),
            Expression::Literal(LiteralExpression::I32(v)) => Value::I32(*v),
            Expression::Literal(LiteralExpression::Bool(v)) => Value::Bool(*v),
            Expression::Parenthesized(p) => self.eval(&p.expression),
            Expression::TypeOrIdentifier(_) | Expression::Indexing(_) => self.place(e).clone(),
            Expression::Unary(u) if u.operator == UnaryOperator::AddressOf => self.pointer(&u.operand),
            Expression::Unary(u) if u.operator == UnaryOperator::Indirection => self.place(e).clone(),
            Expression::Unary(u) => match (u.operator, self.eval(&u.operand)) {
                (UnaryOperator::LogicalNegation, Value::Bool(v)) => Value::Bool(!v),
                (UnaryOperator::Negation, Value::I32(v)) => Value::I32(v.wrapping_neg()),
                (UnaryOperator::BitwiseComplement, Value::U32(v)) => Value::U32(!v),
                other => panic!("{other:?}"),
            },
            Expression::Binary(b) => {
                let left = self.eval(&b.left);
                match (b.operator, &left) {
                    (Op::ShortCircuitAnd, Value::Bool(false)) | (Op::ShortCircuitOr, Value::Bool(true)) => {
                        left
                    }
                    (Op::ShortCircuitAnd | Op::ShortCircuitOr, _) => self.eval(&b.right),
                    (op, _) => binary(op, &left, &self.eval(&b.right)),
                }
            }
            Expression::FunctionCall(c) => self.call(c),
            other => panic!("{other}"),
        }
    }

    fn call(&mut self, c: &FunctionCall) -> Value {
        let name = c.ty.ident.to_string();
        if c.arguments.is_empty() {
            return self.zero(&c.ty);
        }
        let arguments: Vec<_> = c.arguments.iter().map(|a| self.eval(a)).collect();
        if self.functions.contains_key(&name) {
            return self.function(&name, arguments).unwrap();
        }
        match (name.as_str(), arguments.as_slice()) {
            ("array", _) => Value::Array(arguments),
            ("u32", [Value::I32(v)]) => Value::U32(v.cast_unsigned()),
            ("u32" | "i32", [same]) => same.clone(),
            ("min", [Value::U32(a), Value::U32(b)]) => Value::U32(*a.min(b)),
            ("select", [no, yes, Value::Bool(which)]) => (if *which { yes } else { no }).clone(),
            other => panic!("{other:?}"),
        }
    }

    fn zero(&mut self, ty: &TypeExpression) -> Value {
        match (ty.ident.to_string().as_str(), ty.template_args.as_deref()) {
            ("u32", _) => Value::U32(0),
            ("i32", _) => Value::I32(0),
            ("array", Some([element, length])) => {
                let Expression::TypeOrIdentifier(element) = element.expression.node() else { panic!() };
                let Value::U32(length) = self.eval(&length.expression) else { panic!() };
                let zero = self.zero(element);
                Value::Array(vec![zero; length as usize])
            }
            other => panic!("{other:?}"),
        }
    }
}

fn binary(op: Op, a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::U32(a), Value::U32(b)) => match op {
            Op::Addition => Value::U32(a.wrapping_add(*b)),
            Op::Subtraction => Value::U32(a.wrapping_sub(*b)),
            Op::Multiplication => Value::U32(a.wrapping_mul(*b)),
            Op::Division => Value::U32(a.checked_div(*b).unwrap_or(*a)),
            Op::Remainder => Value::U32(a.checked_rem(*b).unwrap_or(0)),
            Op::BitwiseXor => Value::U32(a ^ b),
            Op::BitwiseAnd => Value::U32(a & b),
            Op::ShiftLeft => Value::U32(a.wrapping_shl(*b)),
            Op::ShiftRight => Value::U32(a.wrapping_shr(*b)),
            _ => compare(op, a, b),
        },
        (Value::I32(a), Value::I32(b)) => match op {
            Op::Addition => Value::I32(a.wrapping_add(*b)),
            Op::Subtraction => Value::I32(a.wrapping_sub(*b)),
            Op::Multiplication => Value::I32(a.wrapping_mul(*b)),
            _ => compare(op, a, b),
        },
        (Value::Bool(a), Value::Bool(b)) => compare(op, a, b),
        other => panic!("{op} {other:?}"),
    }
}

fn compare<T: PartialOrd>(op: Op, a: &T, b: &T) -> Value {
    Value::Bool(match op {
        Op::Equality => a == b,
        Op::Inequality => a != b,
        Op::LessThan => a < b,
        Op::LessThanEqual => a <= b,
        Op::GreaterThan => a > b,
        Op::GreaterThanEqual => a >= b,
        other => panic!("{other}"),
    })
}
