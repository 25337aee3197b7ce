//! Final text whose loops end after a number of turns, as drivers that bound them have it: for tests of what hosts plan.

use wgsl_parse::syntax::TranslationUnit;

use crate::error::{Error, ErrorKind};
use crate::print::Printer;

/// Private to an invocation, so that all of its loops share it.
const TURNS_LEFT: &str = "foveal_turns_left";

/// `text`, the final text of a kernel, with loops that end once those of an invocation have taken `turns` together. A loop that
/// makes n turns takes n + 1 every time it is entered: the last is the one in which its condition fails.
///
/// # Errors
/// Text that is not WGSL.
pub fn bound_loops(text: &str, turns: u32) -> Result<String, Error> {
    let unit: TranslationUnit = text.parse().map_err(|error| {
        Error::new(ErrorKind::Syntax, "final text", None, format!("it is not WGSL: {error}"))
    })?;
    let mut printer = Printer::bounded(TURNS_LEFT);
    let directives =
        text.lines().filter(|line| line.starts_with("enable ") || line.starts_with("diagnostic("));
    for line in directives {
        printer.raw(line);
        printer.raw("\n");
    }
    printer.raw(&format!("var<private> {TURNS_LEFT}: u32 = {turns}u;\n"));
    let failed = |_| Error::new(ErrorKind::Syntax, "final text", None, "the text could not be written");
    for global in &unit.global_declarations {
        printer.global(global.node()).map_err(failed)?;
    }
    Ok(printer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_counts_its_turns_before_it_tests_its_condition() {
        let text = "enable f16;
            fn main() {
                for (var i = 0u; i < 4u; i += 1u) { while i > 2u { break; } }
                loop { continuing { break if true; } }
            }";
        let bounded = bound_loops(text, 9).unwrap();
        assert!(bounded.starts_with("enable f16;\nvar<private> foveal_turns_left: u32 = 9u;\n"), "{bounded}");
        assert_eq!(bounded.matches("foveal_turns_left -= 1u;").count(), 3, "{bounded}");
        assert!(bounded.contains("for (var i = 0u; ; i += 1u) {"), "{bounded}");
        assert!(
            bounded.contains("if (!(i < 4u)) { break; }") && bounded.contains("if (!(i > 2u)) { break; }"),
            "{bounded}"
        );
        // And it is WGSL.
        assert!(bounded.parse::<TranslationUnit>().is_ok(), "{bounded}");
        assert!(bound_loops("fn (", 1).is_err());
    }
}
