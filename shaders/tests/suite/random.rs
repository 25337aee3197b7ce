//! Random programs: as written, rolled and unrolled, each must do the same.
//!
//! They call functions that take pointers to arrays, which the specialiser inlines.

use std::fmt::Write as _;

use foveal_shaders::{ErrorKind, Library, Request};
use proptest::prelude::*;

/// Writes a program. Constant sub-expressions never overflow (that would be an error of its own, tested elsewhere):
/// subtraction and division start from run-time values.
struct Generator {
    state: u64,
    out: String,
    /// Names of u32 values in scope.
    values: Vec<String>,
    /// Loop variables in scope, with their largest value.
    counters: Vec<(String, u32)>,
    loops: usize,
    budget: usize,
}

/// Local arrays: name and lengths.
const ARRAYS: [(&str, &[u32]); 3] = [("a", &[4]), ("m", &[3, 2]), ("data", &[16])];

impl Generator {
    fn below(&mut self, n: usize) -> usize {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    fn one_of<'s>(&mut self, choices: &[&'s str]) -> &'s str {
        choices[self.below(choices.len())]
    }

    fn leaf(&mut self) -> String {
        match self.below(5) {
            0 => format!("{}u", self.below(9)),
            1 => self.one_of(&["N", "TWICE", "THREE"]).to_owned(),
            2 if !self.counters.is_empty() => {
                let at = self.below(self.counters.len());
                self.counters[at].0.clone()
            }
            _ => {
                let at = self.below(self.values.len());
                self.values[at].clone()
            }
        }
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf();
        }
        match self.below(9) {
            0 | 1 => self.leaf(),
            2 => self.element(depth - 1),
            3 => {
                let op = self.one_of(&["-", "/", "%", "<<", ">>"]);
                let right = self.value(depth - 1);
                let right = if op.len() == 2 { format!("({right} % 32u)") } else { format!("({right})") };
                format!("((x + {}) {op} {right})", self.leaf())
            }
            4 => format!("select({}, {}, {})", self.value(depth - 1), self.leaf(), self.condition(depth - 1)),
            5 => format!("min({}, {})", self.value(depth - 1), self.leaf()),
            _ => {
                let op = self.one_of(&["+", "*", "^", "&", "+", "*"]);
                let (left, right) = (self.value(depth - 1), self.value(depth - 1));
                // Small enough factors, and the outer remainder, keep constants from overflowing.
                format!("(({left} % 8191u) {op} ({right} % 8191u))")
            }
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.below(5) {
            0 if depth > 0 => {
                let op = self.one_of(&["&&", "||"]);
                format!("({} {op} {})", self.condition(depth - 1), self.condition(depth - 1))
            }
            1 => self.one_of(&["ON", "!ON"]).to_owned(),
            _ => {
                let op = self.one_of(&["<", "<=", ">", ">=", "==", "!="]);
                format!("({} {op} {})", self.leaf(), self.value(depth.min(1)))
            }
        }
    }

    fn element(&mut self, depth: usize) -> String {
        let (name, lengths) = ARRAYS[self.below(ARRAYS.len())];
        let mut text = name.to_owned();
        for length in lengths {
            let fitting: Vec<_> =
                self.counters.iter().filter(|(_, max)| max < length).map(|(n, _)| n.clone()).collect();
            let index = match self.below(4) {
                0 => format!("{}u", self.below(*length as usize)),
                1 if depth > 0 => format!("({}) % {length}u", self.value(depth - 1)),
                _ if fitting.is_empty() => format!("{}u", self.below(*length as usize)),
                _ => fitting[self.below(fitting.len())].clone(),
            };
            let _ = write!(text, "[{index}]");
        }
        text
    }

    fn block(&mut self, statements: usize) {
        let values = self.values.len();
        self.out.push_str("{\n");
        for _ in 0..statements {
            self.statement();
        }
        self.out.push_str("}\n");
        self.values.truncate(values);
    }

    fn statement(&mut self) {
        if self.budget == 0 {
            return;
        }
        self.budget -= 1;
        let size = 1 + self.below(3);
        match self.below(14) {
            12 => self.call(),
            13 => {
                let (row, value) = (self.below(3), self.value(1));
                let _ = writeln!(self.out, "mix_row(&m[{row}u], {value});");
            }
            0 | 1 if self.loops < 3 => self.for_loop(size),
            2 => {
                let condition = self.condition(2);
                let _ = write!(self.out, "if ({condition}) ");
                self.block(size);
                if self.below(2) == 0 {
                    self.out.push_str("else ");
                    self.block(size);
                }
            }
            3 => self.block(size),
            4 | 5 => {
                // Names come again in other scopes and iterations.
                let name = format!("t{}", self.below(3));
                let (kind, value) = (self.one_of(&["let", "let", "var"]), self.value(2));
                if self.values.contains(&name) {
                    let _ = writeln!(self.out, "s = {value};");
                } else {
                    let _ = writeln!(self.out, "{kind} {name} = {value};");
                    self.values.push(name);
                }
            }
            6 => self.out.push_str("a = array<u32, 4>(x, 2u, s, 4u);\n"),
            7 => self.out.push_str("m[1u] = array<u32, 2>();\n"),
            8 if self.loops > 0 => {
                let (condition, jump) = (self.condition(1), self.one_of(&["break", "continue", "return"]));
                if self.below(3) == 0 {
                    let _ = writeln!(self.out, "if ({condition}) {{ {jump}; }}");
                }
            }
            9 => {
                let value = self.value(2);
                let _ = writeln!(self.out, "s = {value};");
            }
            _ => {
                let op = self.one_of(&["=", "+=", "*=", "^=", "-="]);
                let (target, value) = (self.element(1), self.value(2));
                let _ = writeln!(self.out, "{target} {op} {value};");
            }
        }
    }

    fn call(&mut self) {
        let (at, value) = (self.value(1), self.value(2));
        match self.below(4) {
            0 => {
                let _ = writeln!(self.out, "mix_rows(&m, &s, {at});");
            }
            1 => {
                let name = format!("r{}", self.below(3));
                if !self.values.contains(&name) {
                    let _ = writeln!(self.out, "let {name} = mix(&a, {at}, {value});");
                    self.values.push(name);
                }
            }
            2 => {
                let to = self.below(4);
                let _ = writeln!(self.out, "a[{to}u] = mix(&a, {at}, {value});");
            }
            _ => {
                let counter = self.counters.last().map_or("2u", |(name, _)| name).to_owned();
                let _ = writeln!(self.out, "s = mix(&a, {counter}, {value});");
            }
        }
    }

    fn for_loop(&mut self, size: usize) {
        let name = ["i", "j", "k"][self.loops];
        let (header, max) = match self.below(6) {
            0 => (format!("var {name} = 0u; {name} < N; {name}++"), 3),
            1 => (format!("var {name} = 3u; {name} != 0u; {name}--"), 3),
            2 => (format!("var {name}: u32 = 0u; {name} <= UNROLL_TWO; {name} += 2u"), 2),
            3 => (format!("var {name} = 1u; {name} < 2u; {name} = {name} + 1u"), 1),
            4 if !self.counters.is_empty() => {
                let (outer, max) = self.counters[0].clone();
                (format!("var {name} = 0u; {name} <= {outer}; {name} += 1u"), max)
            }
            _ => (format!("var {name} = 0u; {name} < 2u; {name}++"), 1),
        };
        let _ = write!(self.out, "for ({header}) ");
        self.counters.push((name.to_owned(), max));
        self.loops += 1;
        self.block(size);
        self.loops -= 1;
        self.counters.pop();
    }

    fn program(seed: u64, budget: usize) -> String {
        // Their locals have the names of the caller's.
        let head = "fn mix(p: ptr<function, array<u32, N>>, at: u32, v: u32) -> u32 {
    var t0 = v;
    let i = at % N;
    for (var j = 0u; j < N; j++) { (*p)[j] ^= t0 + i; t0 += (*p)[j]; }
    if (at < THREE) { (*p)[at] += v; }
    return t0 ^ i;
}
fn mix_row(m: ptr<function, array<u32, 2>>, x: u32) {
    for (var i = 0u; i < UNROLL_TWO; i += 1u) { (*m)[i] += x; }
    swap(&(*m)[0], &(*m)[1]);
}
fn swap(a: ptr<function, u32>, b: ptr<function, u32>) { let s = *a; *a = *b; *b = s; }
fn mix_rows(rows: ptr<function, array<array<u32, 2>, THREE>>, total: ptr<function, u32>, at: u32) {
    for (var t1 = 0u; t1 < THREE; t1++) { mix_row(&(*rows)[t1], at + t1); }
    *total += (*rows)[at % THREE][1];
    mix_row(&(*rows)[*total % THREE], *total);
}
const N: u32 = 4u;
const TWICE: u32 = 2u * N;
const THREE: u32 = 3u;
const UNROLL_TWO: u32 = 2u;
const ON: bool = true;
@group(0) @binding(0) var<storage, read_write> data: array<u32, 16>;
@compute @workgroup_size(1) fn main(@builtin(local_invocation_index) x: u32) {
var s = 1u;
var a: array<u32, N>;
var m: array<array<u32, 2>, THREE>;
";
        let values = vec!["s".to_owned(), "x".to_owned()];
        let mut generator =
            Self { state: seed, out: head.to_owned(), values, counters: Vec::new(), loops: 0, budget };
        while generator.budget > 0 {
            generator.statement();
        }
        generator.out.push_str("data[0u] ^= s + a[0u] + 3u * a[3u] + 5u * m[2u][1u];\n}\n");
        generator.out
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unrolled_and_rolled_programs_do_the_same(seed in any::<u64>(), budget in 3_usize..40, x in 0_u32..9) {
        let text = Generator::program(seed, budget);
        let library = Library::empty().with_modules(&[("a", &text)]).unwrap();
        let data: Vec<u32> = (0..16).map(|i| i * 37 + 5).collect();
        let expected = crate::interpreter::run(&text, x, data.clone());
        for unroll in [false, true] {
            let kernel = match library.specialise(&Request::new("a").unroll(unroll)) {
                Ok(kernel) => kernel,
                // Out of the generator's hands, and rare.
                Err(e) => {
                    prop_assert!(e.kind() == ErrorKind::Constant, "{e}\n{text}");
                    continue;
                }
            };
            let found = crate::interpreter::run(&kernel.text, x, data.clone());
            prop_assert!(found == expected, "{found:?}\n{expected:?}\n{text}\n{}", kernel.text);
            crate::support::validate(&kernel.text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-+*/%<>=!&|^~.,;:(){}\\[\\]a-c0-9 ]{0,80}") {
        let text = format!("const a: u32 = 2u; @compute @workgroup_size(1) fn main() {{ let b = {text}; }}");
        if let Ok(library) = Library::empty().with_modules(&[("a", &text)]) {
            let _ = library.specialise(&Request::new("a"));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in "\\PC{0,200}") {
        let _ = Library::empty().with_modules(&[("a", &text)]);
    }
}
