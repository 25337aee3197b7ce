//! Multiply-adds in the assembly of each compiler, loop by loop.

use std::collections::BTreeMap;

use super::Maker;
use crate::parts::{HOT_FMAS, HOT_SHARE, analyse};

/// One line of assembly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    label: Option<String>,
    /// Where it may jump to.
    target: Option<String>,
    /// Instructions: more than one where an instruction repeats itself.
    count: u32,
    fmas: u32,
}

/// The share of multiply-adds among all instructions of the hot loops together. `None` without such a loop, or without assembly.
pub(super) fn fma_share(maker: Maker, representations: &[(String, String)]) -> Option<f64> {
    let of = |name: &str| representations.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str());
    match maker {
        Maker::Amd => {
            let parts = analyse(of("Assembly")?);
            let hot = parts.iter().filter(|part| part.hot()).map(|part| &part.counts);
            share(hot.map(|counts| (counts.fma_instructions, counts.instructions)))
        }
        Maker::Nvidia => of_loops(&of("NAK assembly")?.lines().filter_map(nak).collect::<Vec<_>>()),
        Maker::Qualcomm => of_loops(&of("IR3 Assembly")?.lines().filter_map(ir3).collect::<Vec<_>>()),
        Maker::Apple => None,
    }
}

/// A line such as `@!p0 bra pT L27 // delay=1` or `block 4 L9 [3] -> {`.
fn nak(text: &str) -> Option<Line> {
    let code = text.split("//").next().unwrap_or_default().trim();
    if code.starts_with("block") {
        return Some(Line {
            label: code.split_whitespace().nth(2).map(ToOwned::to_owned),
            ..Line::default()
        });
    }
    let code = code.split_once(" = ").map_or(code, |(_, operation)| operation);
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with('@'));
    let operation = words.next().filter(|word| word.starts_with(char::is_alphabetic))?;
    let target = if operation == "bra" { words.last().map(ToOwned::to_owned) } else { None };
    let fma = operation.starts_with("ffma") || operation.starts_with("hfma2");
    Some(Line { label: None, target, count: 1, fmas: u32::from(fma) })
}

/// A line such as `(ss)(rpt1)mad.f32 r9.y, r16.y, (r)r19.y, (r)r9.y` or `l911:`.
fn ir3(text: &str) -> Option<Line> {
    let mut code = text.trim();
    if code.starts_with([';', '@']) || code.starts_with("Native") {
        return None;
    }
    if let Some(label) = code.strip_suffix(':') {
        return Some(Line { label: Some(label.to_owned()), ..Line::default() });
    }
    let mut count = 1;
    while let Some((flag, rest)) = code.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        count += flag.strip_prefix("rpt").and_then(|times| times.parse::<u32>().ok()).unwrap_or(0);
        code = rest.trim_start();
    }
    let (operation, operands) = code.split_once(' ').unwrap_or((code, ""));
    if operation.is_empty() {
        return None;
    }
    let jumps = operation.starts_with("br") || operation == "jump";
    let target = if jumps { operands.rsplit('#').next().map(ToOwned::to_owned) } else { None };
    let fma = operation.starts_with("mad.f");
    Some(Line { label: None, target, count, fmas: if fma { count } else { 0 } })
}

/// Of the loops without a loop inside.
fn of_loops(lines: &[Line]) -> Option<f64> {
    let labels: BTreeMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((line.label.as_deref()?, at))).collect();
    let back = |(at, line): (usize, &Line)| {
        let start = *labels.get(line.target.as_deref()?)?;
        (start <= at).then_some((start, at))
    };
    let loops: Vec<(usize, usize)> = lines.iter().enumerate().filter_map(back).collect();
    let innermost = loops.iter().filter(|&&(start, end)| {
        !loops.iter().any(|&other| other != (start, end) && other.0 >= start && other.1 <= end)
    });
    let counted = innermost.filter_map(|&(start, end)| {
        let sum = |of: fn(&Line) -> u32| lines.get(start..=end).map_or(0, |l| l.iter().map(of).sum());
        let (fmas, all) = (sum(|line| line.fmas), sum(|line| line.count));
        let hot = fmas >= HOT_FMAS && f64::from(fmas) >= HOT_SHARE * f64::from(all);
        hot.then_some((fmas, all))
    });
    share(counted)
}

/// Multiply-adds of instructions.
fn share(counts: impl Iterator<Item = (u32, u32)>) -> Option<f64> {
    let (fmas, all) = counts.fold((0, 0), |(fmas, all), (more, of)| (fmas + more, all + of));
    (all > 0).then(|| f64::from(fmas) / f64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_of_nvidias_compiler() {
        let mut text =
            "block 0 L1 [] -> {\n r1 = mov c[0x0][0x38] // delay=1\n} -> [1]\nblock 1 L2 [] -> {\n"
                .to_owned();
        text.push_str(&" r6 = ffma.ftz r3 r6 r6 // delay=1\n".repeat(12));
        text.push_str(" r7 = iadd3 r7 r1 rZ\n r8 = ldc.b32 c[0x1][+0x0]\n @!p0 bra pT L1 // delay=5\n bra !up0 L2 // delay=1\n}");
        // The inner loop goes from L2 to the last line, the outer one from L1 to the line before: neither holds the other.
        let share = fma_share(Maker::Nvidia, &[("NAK assembly".to_owned(), text)]);
        assert!(share.is_some_and(|share| (share - 12.0 / 16.0).abs() < 1e-9), "{share:?}");
    }

    #[test]
    fn repeated_instructions_of_adrenos_compiler_count_as_often() {
        let text = "; 3 loops\nl10:\n(ss)(rpt3)mad.f32 r9.y, r16.y, (r)r19.y, (r)r9.y\nl12:\n(rpt3)mad.f32 r1.x, r2.x, (r)r3.x, \
                    (r)r1.x\n(rpt3)mad.f32 r1.x, r2.x, (r)r3.x, (r)r1.x\n(nop1) add.u r1.y, r1.y, 1\nbr !p0.y, #l12\njump #l10\n";
        let share = fma_share(Maker::Qualcomm, &[("IR3 Assembly".to_owned(), text.to_owned())]);
        assert!(share.is_some_and(|share| (share - 0.8).abs() < 1e-9), "{share:?}");
    }

    #[test]
    fn code_without_hot_loops_has_no_share() {
        let text = "block 0 L1 [] -> {\n r6 = ffma r3 r6 r6\n bra pT L1\n}";
        assert_eq!(fma_share(Maker::Nvidia, &[("NAK assembly".to_owned(), text.to_owned())]), None);
        assert_eq!(fma_share(Maker::Apple, &[]), None);
    }
}
